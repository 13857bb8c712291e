//! A server that says yes to whatever is put, for a benchmark: only for load, and no judge of anything.
//!
//! `put_server` prints its URL, reads what is sent and answers 200, until it is killed. It checks no
//! signature and keeps nothing. One thread: a client that keeps it busy does not pay for waking it at
//! each request.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the URL is what it has to say")]

use std::error::Error;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The tag is none of a body, as of an object that was put in parts.
const YES: &[u8] = b"HTTP/1.1 200 OK\r\nETag: \"0123456789abcdef0123456789abcdef-1\"\r\n\
    x-amz-request-id: 1\r\nContent-Length: 0\r\n\r\n";

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("http://{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // A client that goes away is no error.
            tokio::spawn(async move { answer(stream).await.ok() });
        }
    })
}

async fn answer(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    let (mut length, mut waits) = (0, false);
    while stream.read_until(b'\n', &mut line).await? > 0 {
        if line == b"\r\n" {
            if std::mem::take(&mut waits) {
                stream.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            }
            let mut body = (&mut stream).take(std::mem::take(&mut length));
            tokio::io::copy(&mut body, &mut tokio::io::sink()).await?;
            stream.get_mut().write_all(YES).await?;
        } else {
            let header = String::from_utf8_lossy(&line).to_ascii_lowercase();
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            waits |= header.starts_with("expect:");
        }
        line.clear();
    }
    Ok(())
}
