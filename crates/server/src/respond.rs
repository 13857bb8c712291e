//! Request to answer: which path means what, and how an answer is put into bytes.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;

use windrow_model::{Corpus, Ordinal, percent};

use crate::coding::Bomb;
use crate::directory::Directory;
use crate::faults::{Play, Stage};
use crate::request::{Connection, Method, Request};
use crate::synthetic::Synthetic;

/// Bytes of a body that are put into the output at a time. A body up to this size is answered
/// in one go with its neighbours; of a longer one no more than this is in memory.
///
/// A multiple of eight, for the synthetic corpus is generated in words.
pub(crate) const PIECE_BYTES: usize = 256 << 10;

/// What the server serves.
#[derive(Debug)]
pub(crate) enum Site {
    Synthetic(Synthetic),
    Directory(Directory),
    /// One of the others, which misbehaves on demand.
    Rehearsed(Stage),
}

impl Site {
    /// The marker at which page `index` begins, the first being page 0; `None` for that and for
    /// pages that there are not.
    pub(crate) fn marker(&self, index: usize) -> Option<String> {
        match self {
            Self::Synthetic(synthetic) => synthetic.marker(index),
            Self::Directory(directory) => directory.marker(index),
            Self::Rehearsed(_) => None,
        }
    }
}

/// The statuses this server answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    BadRequest,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    LengthRequired,
    HeadTooLarge,
    Failed,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Self::BadRequest => "400 Bad Request",
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed\r\nAllow: GET, HEAD",
            Self::LengthRequired => "411 Length Required",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::Failed => "500 Internal Server Error",
        }
    }
}

/// An answer other than 200, with a line of text for a person.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: Status,
    text: Cow<'static, str>,
}

impl Refusal {
    pub(crate) fn new(status: Status, text: impl Into<Cow<'static, str>>) -> Self {
        Self { status, text: text.into() }
    }

    pub(crate) fn method() -> Self {
        Self::new(Status::MethodNotAllowed, "this server answers GET and HEAD")
    }

    pub(crate) fn no_object() -> Self {
        Self::new(Status::NotFound, "no object has this name")
    }

    pub(crate) fn marker() -> Self {
        Self::new(
            Status::BadRequest,
            "no page begins at this next-marker; take it from NextMarker of the page before",
        )
    }

    /// Appends the whole answer.
    pub(crate) fn into_answer(self, method: Method, connection: Connection, out: &mut Vec<u8>) {
        let length = self.text.len() as u64 + 1;
        head_into(self.status.line(), "text/plain; charset=utf-8", length, connection, out);
        if method != Method::Head {
            out.extend_from_slice(self.text.as_bytes());
            out.push(b'\n');
        }
    }
}

/// The part of a body that is still to come.
#[derive(Debug)]
pub(crate) enum Body {
    Synthetic {
        corpus: Corpus,
        ordinal: Ordinal,
        from: u64,
    },
    File {
        file: File,
        left: u64,
    },
    Bomb(Bomb),
    /// Not sent as it should be.
    Play(Box<Play>),
}

/// What comes behind a piece of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    More,
    /// More, after such a silence.
    Pause(Duration),
    Last(After),
}

/// What becomes of the connection after a body, beside what its request asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Stays,
    Closes,
    Resets,
}

impl Body {
    /// Bytes to come.
    pub(crate) fn left(&self) -> u64 {
        match self {
            Self::Synthetic { corpus, from, .. } => corpus.size - from,
            Self::File { left, .. } => *left,
            Self::Bomb(bomb) => bomb.left(),
            Self::Play(play) => play.left(),
        }
    }

    /// Appends the next piece.
    ///
    /// Reading a file may wait for the disk, and the other connections of this thread wait with
    /// it. That is accepted: files that are served for a trial lie in the page cache.
    ///
    /// # Errors
    /// When the announced length cannot be kept; the connection has to break off.
    pub(crate) fn piece_into(&mut self, out: &mut Vec<u8>) -> io::Result<Piece> {
        let more = match self {
            Self::Synthetic { corpus, ordinal, from } => {
                let len = piece(corpus.size - *from);
                corpus.body_part_into(*ordinal, *from, len, out);
                *from += len as u64;
                *from < corpus.size
            }
            Self::File { file, left } => {
                let len = piece(*left);
                out.reserve(len);
                let got = Read::by_ref(file).take(len as u64).read_to_end(out)?;
                if got < len {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                *left -= len as u64;
                *left > 0
            }
            Self::Bomb(bomb) => bomb.piece_into(PIECE_BYTES, out),
            Self::Play(play) => return play.piece_into(out),
        };
        Ok(if more { Piece::More } else { Piece::Last(After::Stays) })
    }
}

/// How much of `left` bytes goes into the next piece.
pub(crate) fn piece(left: u64) -> usize {
    usize::try_from(left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES))
}

/// Appends the answer to one request, or its beginning: the body that is returned follows.
///
/// Every answer to a well-formed request passes through here; [`Site::Rehearsed`] is where a server
/// misbehaves on demand.
#[inline(always)] // Into the session's loop; what calls it beside that is not in a hurry.
pub(crate) fn answer(site: &Site, request: &Request<'_>, out: &mut Vec<u8>) -> Option<Body> {
    let start = out.len();
    route(site, request, out).unwrap_or_else(|refusal| {
        out.truncate(start);
        refusal.into_answer(request.method, request.connection, out);
        None
    })
}

#[inline(always)]
fn route(site: &Site, request: &Request<'_>, out: &mut Vec<u8>) -> Result<Option<Body>, Refusal> {
    if request.method == Method::Other {
        return Err(Refusal::method());
    }
    let target = origin_form(request.target);
    if let Some(name) = target.strip_prefix(b"/get/") {
        return match site {
            Site::Synthetic(synthetic) => synthetic.get(name, request, out),
            Site::Directory(directory) => directory.get(&name_of(name)?, request, out),
            Site::Rehearsed(stage) => Ok(stage.object(request, out)),
        };
    }
    let (path, query) = split_query(target);
    if path != b"/list" {
        if let Site::Rehearsed(stage) = site
            && path == STATS
        {
            page_into(request, out, |out| {
                stage.stats_into(query, out);
                Ok(())
            })?;
            return Ok(None);
        }
        if let Site::Rehearsed(stage) = site
            && stage.is_hop(target)
        {
            return Ok(stage.object(request, out));
        }
        return Err(Refusal::new(
            Status::NotFound,
            "this server offers GET /list, GET /list?next-marker=MARKER and GET /get/NAME",
        ));
    }
    let marker = marker_of(query);
    if let Site::Rehearsed(stage) = site {
        return Ok(stage.listing(request, marker, out));
    }
    page_into(request, out, |out| list_into(site, marker, out))?;
    Ok(None)
}

/// Appends the page that begins at `marker`, as JSON.
pub(crate) fn list_into(
    site: &Site,
    marker: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    match site {
        Site::Synthetic(synthetic) => synthetic.list(marker, out),
        Site::Directory(directory) => directory.list(marker, out),
        // A stage stands before a site that is none.
        Site::Rehearsed(_) => Err(Refusal::no_object()),
    }
}

/// The path and query of `http://host/path?query`, which every server has to accept
/// (RFC 9112 section 3.2.2).
#[inline(always)]
pub(crate) fn origin_form(target: &[u8]) -> &[u8] {
    match target.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case(b"http://") => {
            let rest = &target[7..];
            memchr::memchr(b'/', rest).map_or(b"", |slash| &rest[slash..])
        }
        _ => target,
    }
}

pub(crate) fn split_query(target: &[u8]) -> (&[u8], &[u8]) {
    memchr::memchr(b'?', target).map_or((target, b""), |at| (&target[..at], &target[at + 1..]))
}

/// The object's name in what follows `/get/`: without the query, decoded.
pub(crate) fn name_of(raw: &[u8]) -> Result<Cow<'_, [u8]>, Refusal> {
    let (name, _) = split_query(raw);
    if memchr::memchr(b'%', name).is_none() {
        return Ok(Cow::Borrowed(name));
    }
    percent::decode(name).map(Cow::Owned).ok_or_else(Refusal::no_object)
}

/// The value of `next-marker`, as sent; an empty one asks for the first page.
fn marker_of(query: &[u8]) -> Option<&[u8]> {
    query
        .split(|&byte| byte == b'&')
        .find_map(|pair| pair.strip_prefix(b"next-marker="))
        .filter(|marker| !marker.is_empty())
}

/// Where a server that counts tells what it counted.
const STATS: &[u8] = b"/-/stats";

const JSON_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";

/// Renders JSON straight into the output; its length is filled in afterwards.
pub(crate) fn page_into(
    request: &Request<'_>,
    out: &mut Vec<u8>,
    render: impl FnOnce(&mut Vec<u8>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    /// Digits of the largest length.
    const GAP: usize = 20;
    out.extend_from_slice(JSON_HEAD);
    let gap = out.len();
    out.extend_from_slice(&[b' '; GAP]);
    end_head_into(request.connection, out);
    let body = out.len();
    render(out)?;
    let length = (out.len() - body).to_string();
    if request.method == Method::Head {
        out.truncate(body);
    }
    out[gap..gap + length.len()].copy_from_slice(length.as_bytes());
    out.drain(gap + length.len()..gap + GAP);
    Ok(())
}

/// Appends the head of an answer that carries an object.
pub(crate) fn object_head_into(length: u64, connection: Connection, out: &mut Vec<u8>) {
    head_into("200 OK", "application/octet-stream", length, connection, out);
}

/// Appends the head of an answer; more header lines may follow the status in its text.
pub(crate) fn head_into(
    status: &str,
    kind: &str,
    length: u64,
    connection: Connection,
    out: &mut Vec<u8>,
) {
    write!(out, "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}")
        .expect("a vector takes what is written");
    end_head_into(connection, out);
}

fn end_head_into(connection: Connection, out: &mut Vec<u8>) {
    out.extend_from_slice(match connection {
        Connection::Stays => b"\r\n\r\n",
        Connection::KeptAlive => b"\r\nConnection: keep-alive\r\n\r\n",
        Connection::Closes => b"\r\nConnection: close\r\n\r\n",
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        Site::Synthetic(Synthetic::new(Corpus { count: 5, size: 10, seed: 1 }, 2))
    }

    fn answered(method: Method, target: &str, connection: Connection) -> String {
        let accepts = Default::default();
        let request = Request { method, target: target.as_bytes(), connection, accepts };
        let mut out = b"before".to_vec();
        assert!(answer(&site(), &request, &mut out).is_none());
        assert!(out.starts_with(b"before"));
        String::from_utf8_lossy(&out[6..]).into_owned()
    }

    #[test]
    fn a_page_states_its_length() {
        for target in ["/list", "/list?", "/list?next-marker=", "/list?a=b", "http://h:1/list"] {
            let page = answered(Method::Get, target, Connection::Stays);
            let (head, body) = page.split_once("\r\n\r\n").unwrap();
            assert_eq!(
                head,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 82"
            );
            assert_eq!(body.len(), 82);
            let only = answered(Method::Head, target, Connection::Closes);
            assert_eq!(only, format!("{head}\r\nConnection: close\r\n\r\n"));
        }
    }

    #[test]
    fn other_paths_and_methods_are_refused() {
        use Connection::Stays;
        for target in ["/", "/get", "/list/", "/lists", "*", "http://h", "/LIST", "x", "/base/list"]
        {
            let answer = answered(Method::Get, target, Stays);
            assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{target}: {answer}");
            assert!(answer.contains("GET /get/NAME"));
        }
        let answer = answered(Method::Other, "/list", Stays);
        assert!(answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n"));
        for marker in ["x", "5", "-1", "+1", "%zz", "01", "99999999999999999999999"] {
            let answer = answered(Method::Get, &format!("/list?next-marker={marker}"), Stays);
            assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{marker}: {answer}");
        }
        let head = answered(Method::Head, "/get/nothing", Stays);
        assert!(head.starts_with("HTTP/1.1 404 ") && head.ends_with("\r\n\r\n"), "{head}");
    }

    #[test]
    fn names_are_decoded_and_lose_their_query() {
        assert_eq!(*name_of(b"a%2Fb/c?d%").unwrap(), *b"a/b/c");
        assert_eq!(*name_of(b"%00").unwrap(), *b"\0");
        assert!(name_of(b"%0").is_err());
    }
}
