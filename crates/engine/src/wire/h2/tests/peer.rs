//! A server that sends frames by hand (RFC 9113 section 6), right ones and wrong ones.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;

/// END_STREAM; of SETTINGS and PING: ACK.
pub(super) const END: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// `:status: 200`.
pub(super) const OK: &[u8] = &[0x88];

/// Error codes (RFC 9113 section 7).
pub(super) const NO_ERROR: u32 = 0;
pub(super) const INTERNAL_ERROR: u32 = 2;
pub(super) const REFUSED_STREAM: u32 = 7;
pub(super) const CANCEL: u32 = 8;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

/// A field that is not indexed (RFC 7541 section 6.2.2).
pub(super) fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        assert!(text.len() < 127);
        bytes.push(text.len() as u8);
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// The head of a response with status 200 and a length.
pub(super) fn sized(len: usize) -> Vec<u8> {
    [OK, &field("content-length", &len.to_string())].concat()
}

pub(super) struct Peer {
    io: DuplexStream,
}

impl Peer {
    /// Reads the preface and says how many streams are allowed.
    pub(super) async fn accept(mut io: DuplexStream, streams: Option<u32>) -> Self {
        let mut preface = [0; 24];
        io.read_exact(&mut preface).await.unwrap();
        assert!(preface.starts_with(b"PRI * HTTP/2.0"));
        let mut peer = Self { io };
        peer.allow(streams).await;
        peer
    }

    /// Says how many streams are allowed.
    pub(super) async fn allow(&mut self, streams: Option<u32>) {
        let mut settings = Vec::new();
        if let Some(streams) = streams {
            settings.extend_from_slice(&3_u16.to_be_bytes());
            settings.extend_from_slice(&streams.to_be_bytes());
        }
        self.send(SETTINGS, 0, 0, &settings).await;
    }

    /// The next frame; `None` at the end.
    pub(super) async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.io.read_exact(&mut head).await.ok()?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; len as usize];
        self.io.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if head[3] == SETTINGS && head[4] & END == 0 {
            self.send(SETTINGS, END, 0, &[]).await;
        }
        Some(Frame { kind: head[3], stream, payload })
    }

    /// Waits for a request; gives its stream, `None` at the end.
    pub(super) async fn next_request(&mut self) -> Option<u32> {
        loop {
            let frame = self.frame().await?;
            if frame.kind == HEADERS {
                return Some(frame.stream);
            }
        }
    }

    /// The same where there is one.
    pub(super) async fn request(&mut self) -> u32 {
        self.next_request().await.expect("a request")
    }

    /// Waits for a reset; gives the stream and the error code.
    pub(super) async fn reset(&mut self) -> (u32, u32) {
        loop {
            let frame = self.frame().await.expect("a reset");
            if frame.kind == RST_STREAM {
                return (frame.stream, u32::from_be_bytes(frame.payload.try_into().unwrap()));
            }
        }
    }

    /// Reads to the end of the connection.
    pub(super) async fn end(mut self) {
        while self.frame().await.is_some() {}
    }

    /// Sends a frame. What cannot be sent any more is not.
    pub(super) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let len = (payload.len() as u32).to_be_bytes();
        let mut bytes = vec![len[1], len[2], len[3], kind, flags];
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        self.io.write_all(&bytes).await.is_ok()
    }

    /// Answers a request with a small body.
    pub(super) async fn answer(&mut self, stream: u32, body: &[u8]) {
        self.send(HEADERS, END_HEADERS, stream, &sized(body.len())).await;
        self.send(DATA, END, stream, body).await;
    }

    pub(super) async fn rst(&mut self, stream: u32, code: u32) {
        self.send(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
    }

    pub(super) async fn go_away(&mut self, last: u32, code: u32) {
        let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
        self.send(GOAWAY, 0, 0, &payload).await;
    }
}
