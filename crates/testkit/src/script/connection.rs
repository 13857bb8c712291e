//! One connection under a script.

use super::{Request, Shared, Step};
use crate::wait;
use rustix::net::sockopt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Whether the connection goes on.
#[derive(PartialEq, Eq)]
enum After {
    Open,
    Over,
}

pub(super) struct Connection<'s> {
    stream: TcpStream,
    number: usize,
    shared: &'s Shared,
    /// Requests so far.
    requests: usize,
    /// Bytes that came and belong to later requests.
    input: Vec<u8>,
}

impl<'s> Connection<'s> {
    pub(super) fn new(stream: TcpStream, number: usize, shared: &'s Shared) -> Self {
        Self { stream, number, shared, requests: 0, input: Vec::new() }
    }

    /// Until one of the two sides ends it. A peer that is gone is no trouble: the script goes on
    /// where that does not matter, and the connection ends where it does.
    pub(super) fn serve(mut self) {
        // Each piece of a drip in its own packet.
        let _ = self.stream.set_nodelay(true);
        // No test takes so long; a thread that waits for ever would hide which one hangs.
        let _ = self.stream.set_read_timeout(Some(wait::LIMIT * 2));
        let _ = self.stream.set_write_timeout(Some(wait::LIMIT * 2));
        while let Some(request) = self.request() {
            for step in (self.shared.answer)(&request) {
                if self.step(step) == After::Over {
                    return;
                }
            }
        }
    }

    fn step(&mut self, step: Step) -> After {
        match step {
            Step::Send(bytes) => return self.send(&bytes),
            Step::Drip(bytes, size) => {
                for piece in bytes.chunks(size) {
                    if self.send(piece) == After::Over {
                        return After::Over;
                    }
                    // The peer's turn.
                    std::thread::yield_now();
                }
            }
            Step::Endless(bytes) => {
                // In large pieces: a system call for each few bytes would take all the time.
                let bytes = bytes.repeat((64 << 10) / bytes.len().max(1) + 1);
                while self.send(&bytes) == After::Open {
                    if self.shared.ending.load(Ordering::Acquire) {
                        break;
                    }
                }
                return After::Over;
            }
            Step::Trickle(bytes, period) => {
                for byte in bytes {
                    let ending = self.shared.ending.load(Ordering::Acquire);
                    if ending || self.send(&[byte]) == After::Over {
                        return After::Over;
                    }
                    std::thread::sleep(period); // tidy: sleep-ok: this is what the server is like
                }
            }
            Step::ReadRequest => {
                if self.request().is_none() {
                    return After::Over;
                }
            }
            Step::AwaitPeer => {
                if self.input.is_empty() {
                    let _ = self.stream.peek(&mut [0]);
                }
            }
            Step::Await(gate) => gate.pass(),
            Step::Open(gate) => gate.open(),
            Step::HalfClose => {
                let _ = self.stream.shutdown(Shutdown::Write);
            }
            Step::Close => {
                // Closed with input unread it would be a reset.
                let _ = self.stream.shutdown(Shutdown::Write);
                self.drain();
                return After::Over;
            }
            Step::Reset => {
                let _ = sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
                // A second descriptor would keep the connection open.
                self.shared.record().open.remove(&self.number);
                return After::Over;
            }
            Step::Hang => {
                self.drain();
                return After::Over;
            }
        }
        After::Open
    }

    fn send(&mut self, bytes: &[u8]) -> After {
        match self.stream.write_all(bytes) {
            Ok(()) => After::Open,
            Err(_) => After::Over,
        }
    }

    fn drain(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(1..) = self.stream.read(&mut buffer) {}
    }

    /// Reads one request and records it; `None` when the peer sends no more.
    fn request(&mut self) -> Option<Request> {
        let end = loop {
            if let Some(at) = self.input.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            let mut buffer = [0; 16 << 10];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        };
        let rest = self.input.split_off(end + 4);
        let head = std::mem::replace(&mut self.input, rest);
        let head = std::str::from_utf8(&head[..end]).expect("a request head is ASCII");
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let mut words = first.split(' ');
        let (Some(method), Some(target), Some("HTTP/1.1"), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            panic!("not a request line: {first}");
        };
        let headers = lines.map(|line| match line.split_once(": ") {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => panic!("not a header line: {line}"),
        });
        let headers = headers.collect();
        let mut record = self.shared.record();
        let asked = record.asked.entry(target.to_owned()).or_default();
        let request = Request {
            connection: self.number,
            number: self.requests,
            attempt: *asked,
            method: method.to_owned(),
            target: target.to_owned(),
            headers,
            time: Instant::now(),
        };
        *asked += 1;
        record.requests.push(request.clone());
        self.requests += 1;
        Some(request)
    }
}
