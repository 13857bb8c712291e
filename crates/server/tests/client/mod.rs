//! A client that reads answers one after the other.

#![allow(dead_code, reason = "each test file takes what it needs")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use windrow_model::{Corpus, percent};
use windrow_server::{Content, Options, Server};

pub(crate) fn options(content: Content) -> Options {
    Options { threads: 2, ..Options::new("127.0.0.1:0".parse().unwrap(), content) }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// A client that reads answers one after the other.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) unread: Vec<u8>,
}

impl Client {
    pub(crate) fn new(server: &Server) -> Self {
        let stream = TcpStream::connect(server.addr()).unwrap();
        // A server that falls silent fails the test instead of hanging it.
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { stream, unread: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Reads more; whether the server has ended.
    pub(crate) fn fill(&mut self) -> bool {
        let mut part = vec![0; 64 << 10];
        let count = self.stream.read(&mut part).unwrap();
        self.unread.extend_from_slice(&part[..count]);
        count == 0
    }

    pub(crate) fn head(&mut self) -> String {
        loop {
            if let Some(at) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.unread.drain(..at + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            assert!(!self.fill(), "the answer ends in its head: {:?}", self.unread);
        }
    }

    pub(crate) fn read(&mut self) -> Answer {
        let head = self.head();
        let status = head.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let length = head.split("Content-Length: ").nth(1).unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        while self.unread.len() < length {
            assert!(!self.fill(), "the answer ends in its body");
        }
        Answer { status, head, body: self.unread.drain(..length).collect() }
    }

    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.send(request(target)).read()
    }

    /// Asserts that the server closes without another byte.
    pub(crate) fn assert_over(&mut self) {
        assert!(self.unread.is_empty() && self.fill(), "more came: {:?}", self.unread);
    }

    pub(crate) fn list(&mut self) -> (Vec<String>, usize) {
        let (mut names, mut pages) = (Vec::new(), 0);
        let mut target = "/list".to_owned();
        loop {
            let page = self.get(&target);
            assert_eq!(page.status, 200, "{}", String::from_utf8_lossy(&page.body));
            pages += 1;
            let page: Value = serde_json::from_slice(&page.body).unwrap();
            for name in page["FileNames"].as_array().unwrap() {
                names.push(name.as_str().unwrap().to_owned());
            }
            let Some(marker) = page.get("NextMarker") else { return (names, pages) };
            target = format!("/list?next-marker={}", encoded(marker.as_str().unwrap()));
        }
    }
}

pub(crate) fn request(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")
}

pub(crate) fn encoded(text: &str) -> String {
    let mut out = Vec::new();
    percent::encode_into(text.as_bytes(), &percent::Keep::UNRESERVED, &mut out);
    String::from_utf8(out).unwrap()
}

pub(crate) fn name(corpus: &Corpus, ordinal: u64) -> String {
    let mut out = Vec::new();
    corpus.name_into(ordinal, &mut out);
    String::from_utf8(out).unwrap()
}
