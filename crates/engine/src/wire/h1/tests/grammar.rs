/// Choices made by bytes, so that a list of bytes stands for a response: the shorter and smaller
/// the bytes, the simpler it is. Behind the last byte every choice is the first one.
#[derive(Debug)]
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl Choices<'_> {
    /// A number below `bound`, which is at most 65,536.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let mut number = self.byte();
        if bound > 256 {
            number = number << 8 | self.byte();
        }
        number % bound
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn byte(&mut self) -> usize {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                usize::from(byte)
            }
            None => 0,
        }
    }
}

/// A response that windrow accepts, and what it says.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) bytes: Vec<u8>,
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// Where the body begins, framing included.
    pub(crate) body_at: usize,
    pub(crate) keep_alive: bool,
    /// Only the end of the connection ends the body.
    pub(crate) until_close: bool,
}

/// What bodies are made of: much of it looks like framing.
const PIECES: [&[u8]; 9] = [
    b"a",
    b"\r\n",
    b"0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad",
    b"5\r\nchunk\r\n",
    b"\n\n",
    b"\r",
    b"\0\xFF\x80",
    b"some more of an ordinary body",
];

/// Fields that change nothing.
const FIELDS: [&str; 12] = [
    "Server: x",
    "X-Empty:",
    "x-spaces: \t a  b \t",
    "Content-Type: text/html; charset=utf-8",
    "Content-Lengths: 9",
    "Transfer-Encodings: chunked",
    "X-Content-Length: 1",
    "TE: chunked",
    "Trailer: Content-Length",
    "Content-Encoding: gzip",
    "X-Folded: one\r\n two",
    "X-Text: \u{e9}, \u{65e5}",
];

/// Makes a valid response whose body begins with `mark`, if it has one.
pub(crate) fn response(choices: &mut Choices<'_>, mark: &str) -> Response {
    let mut out = Vec::new();
    for _ in 0..choices.below(8).saturating_sub(5) {
        let fields = ["", "Link: </a>; rel=preload\r\n", "Content-Length: 5\r\nX: y\r\n"];
        let head = format!("HTTP/1.1 {}\r\n", choices.pick(&["100 Continue", "103", "199 x"]));
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(choices.pick(&fields).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let http_1_1 = !choices.once_in(6);
    let status = choices.pick(&[200, 200, 206, 404, 503, 204, 304, 300, 600, 999]);
    let reason = choices.pick(&["", " ", " OK", " Not so \u{e9}", " 100 HTTP/1.1"]);
    let version = if http_1_1 { "HTTP/1.1" } else { "HTTP/1.0" };
    let mut lines = vec![format!("{version} {status}{reason}")];
    for _ in 0..choices.below(3) {
        lines.push(choices.pick(&FIELDS).to_owned());
    }
    let (connection, keep, close) = choices.pick(&[
        ("", false, false),
        ("Connection: close", false, true),
        ("connection: Keep-Alive", true, false),
        ("Connection: keep-alive\r\nX: y\r\nCONNECTION: \tclose ", true, true),
        ("Connection: x,close", false, true),
        ("Connection: keep-alive , x", true, false),
        ("Connection: not-close, closed", false, false),
        ("Connection: x,\r\n\tkeep-alive", true, false),
    ]);
    lines.push(connection.to_owned());
    let mut body = mark.as_bytes().to_vec();
    for _ in 0..choices.below(5) {
        body.extend_from_slice(choices.pick(&PIECES));
    }
    let empty = matches!(status, 204 | 304);
    if empty {
        body.clear();
    }
    let framing = choices.below(if empty { 3 } else { 5 });
    let mut coded = body.clone();
    let mut until_close = false;
    match framing {
        _ if empty => {
            lines.push(
                choices.pick(&["", "Content-Length: 77", "Transfer-Encoding: chunked"]).into(),
            );
        }
        0 | 1 => lines.push(length(choices, body.len())),
        2 | 3 if http_1_1 => {
            lines.push(
                choices
                    .pick(&["Transfer-Encoding: chunked", "TRANSFER-encoding:\tChunked "])
                    .into(),
            );
            coded = chunked(choices, &body);
        }
        _ => until_close = true,
    }
    let end = choices.pick(&["\r\n", "\r\n", "\r\n", "\n"]);
    for line in lines.iter().filter(|line| !line.is_empty()) {
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(end.as_bytes());
    }
    out.extend_from_slice(end.as_bytes());
    let body_at = out.len();
    out.extend_from_slice(&coded);
    let keep_alive = (http_1_1 || keep) && !close && !until_close;
    Response { bytes: out, status, body, body_at, keep_alive, until_close }
}

fn length(choices: &mut Choices<'_>, length: usize) -> String {
    match choices.below(5) {
        0 | 1 => format!("Content-Length: {length}"),
        2 => format!("content-length:\t00{length} "),
        3 => format!("Content-Length: {length}, {length}"),
        _ => format!("Content-Length: {length}\r\nContent-length:{length}"),
    }
}

/// The chunked form of a body.
fn chunked(choices: &mut Choices<'_>, mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while !body.is_empty() {
        let len = 1 + choices.below(body.len().min(40));
        let size = match choices.below(4) {
            0 | 1 => format!("{len:x}"),
            2 => format!("{len:X}"),
            _ => format!("{len:016x}"),
        };
        let extension = choices.pick(&["", "", ";a=b", ";a;b=\"c;d\"", " ;x", "\t"]);
        out.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
        out.extend_from_slice(&body[..len]);
        out.extend_from_slice(b"\r\n");
        body = &body[len..];
    }
    out.extend_from_slice(choices.pick(&["0\r\n", "0\r\n", "000\r\n", "0;last\r\n"]).as_bytes());
    out.extend_from_slice(
        choices
            .pick(&["", "", "X-Sum: 1\r\n", "A: b\r\nContent-Length: 7\r\n", "e:\r\n"])
            .as_bytes(),
    );
    out.extend_from_slice(b"\r\n");
    out
}

/// What is put into responses to damage them.
const DAMAGE: [&[u8]; 50] = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b"0",
    b"1",
    b"f",
    b"-",
    b"+",
    b",",
    b":",
    b";",
    b"\x7F",
    b"\x80",
    b"\x0B",
    b"\x0C",
    b"_",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 204\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 099 x\r\n",
    b"HTTP/2 200\r\n",
    b"\r\nContent-Length: 5\r\n",
    b"\r\nContent-Length: 0\r\n",
    b"\r\nContent-Length: +5\r\n",
    b"\r\nContent-Length: -1\r\n",
    b"\r\nContent-Length: 5,5\r\n",
    b"\r\nContent-Length: 5, 6\r\n",
    b"\r\nContent-Length:\r\n",
    b"\r\nContent-Length: 18446744073709551616\r\n",
    b"\r\nContent-Length : 5\r\n",
    b"\r\nContent-Length: 5\r\n 5\r\n",
    b"\r\nTransfer-Encoding: chunked\r\n",
    b"\r\nTransfer-Encoding: gzip, chunked\r\n",
    b"\r\nTransfer-Encoding: chunked, identity\r\n",
    b"\r\nTransfer-Encoding: identity\r\n",
    b"\r\nTransfer-Encoding:\r\n chunked\r\n",
    b"\r\nTransfer-Encoding: \x0Bchunked\r\n",
    b"\r\nTransfer-Encoding\r\n",
    b"0\r\n\r\n",
    b"0x5\r\n",
    b"00000000000000005\r\n",
    b"fffffffffffffffff\r\n",
    b"FFFFFFFFFFFFFFFF\r\n",
    b";ext\r\n",
];

/// Damages a response in up to four places.
pub(crate) fn damage(choices: &mut Choices<'_>, bytes: &mut Vec<u8>) {
    for _ in 0..choices.pick(&[0, 1, 1, 1, 1, 2, 2, 4]) {
        // Half of the places are in front, where the head is.
        let near = if choices.once_in(2) { bytes.len() } else { bytes.len().min(60) };
        let at = choices.below(near.min(65_535) + 1);
        match choices.below(6) {
            0 | 1 => drop(bytes.splice(at..at, choices.pick(&DAMAGE).iter().copied())),
            2 => {
                // In the place of a line end, so that a field stays a field.
                let line = bytes.iter().skip(at).position(|&b| b == b'\n').map(|n| at + n);
                let line = line.unwrap_or(at);
                let from = line.saturating_sub(1);
                let to = (line + 1).min(bytes.len());
                drop(bytes.splice(from..to, choices.pick(&DAMAGE).iter().copied()));
            }
            3 => {
                let to = (at + 1 + choices.below(8)).min(bytes.len());
                drop(bytes.drain(at..to));
            }
            4 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << choices.below(8);
                }
            }
            _ => {
                let to = (at + 1 + choices.below(30)).min(bytes.len());
                let again = bytes[at..to].to_vec();
                drop(bytes.splice(at..at, again));
            }
        }
    }
    if choices.once_in(8) {
        bytes.truncate(choices.below(bytes.len().min(65_535) + 1));
    }
}
