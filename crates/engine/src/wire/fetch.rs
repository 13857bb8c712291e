//! One request at a time, with its whole response in memory: for listings, and for what is written to
//! object stores.

use super::h1::{Broken, Exchange, Head, Interest, Loss, Session, Template};
use super::pace::{Pace, Patience};
use super::sigv4::{Act, Identity};
use super::stream::Stream;
use super::target::{NoConnection, Target};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use windrow_model::limits::STARVED;
use windrow_model::{Failure, FailureClass};

/// A response, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Status code.
    pub status: u16,
    /// `Content-Type`, if it was text.
    pub content_type: Option<String>,
    /// `Location`, if it was text.
    pub location: Option<String>,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
    /// The server's time, in seconds since 1970.
    pub date: Option<u64>,
    /// Where the bucket is (`x-amz-bucket-region`).
    pub region: Option<String>,
    /// `x-amz-meta-windrow-run`, if it was text.
    pub run: Option<String>,
    /// `ETag`, if it was text.
    pub etag: Option<String>,
    /// `Content-Length`, of an answer to `HEAD` too.
    pub length: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// What is signed of it.
    pub act: Act<'a>,
    /// Path and query, percent-encoded, the parameters in the order of their names.
    pub path: &'a [u8],
    /// Header lines that are not signed; none may hold a control character.
    pub lines: &'a [(&'a str, &'a str)],
    /// The body, where the method has one.
    pub body: Option<&'a [u8]>,
}

/// Asks one origin for one thing after the other, on one connection that is kept.
#[derive(Debug)]
pub struct Client {
    target: Rc<Target>,
    template: Template,
    connect_timeout: Duration,
    patience: Patience,
    /// Most bytes of one body.
    bound: u64,
    kept: Option<(Stream, Session<()>)>,
    buffer: Vec<u8>,
}

impl Client {
    /// A client that is not connected yet; bodies are at most `bound` bytes long.
    pub fn new(
        target: Rc<Target>,
        template: Template,
        connect_timeout: Duration,
        patience: Patience,
        bound: u64,
    ) -> Self {
        let buffer = vec![0; 128 << 10];
        Self { target, template, connect_timeout, patience, bound, kept: None, buffer }
    }

    /// Whose requests these are, where they are signed.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.template.identity()
    }

    /// Asks for `path` (path and query, percent-encoded).
    ///
    /// # Errors
    /// The attempt's failure; a status is none. A kept connection that proves closed is replaced
    /// once, silently.
    ///
    /// # Cancel
    /// Dropping it drops the connection.
    pub async fn get(&mut self, path: &[u8]) -> Result<Fetched, Failure> {
        self.send(&Ask { act: Act::GET, path, lines: &[], body: None }).await
    }

    /// Sends a request and waits for the answer. One with a body is sent once: where the connection ends
    /// without an answer nobody knows whether it was carried out.
    ///
    /// # Errors
    /// The attempt's failure; a status is none.
    ///
    /// # Cancel
    /// Dropping it drops the connection.
    pub async fn send(&mut self, ask: &Ask<'_>) -> Result<Fetched, Failure> {
        let closed = || {
            let detail = "the server closed the connection without an answer";
            Err(Failure::new(FailureClass::Reset, detail))
        };
        if let Some((stream, session)) = self.kept.take() {
            match self.attempt(stream, session, ask).await {
                Some(result) => return result,
                None if ask.body.is_some() => return closed(),
                None => {}
            }
        }
        let begun = Instant::now();
        let stream = loop {
            match self.target.connect_http1(self.connect_timeout).await {
                Ok(stream) => break stream,
                // The objects' connections come and go.
                Err(NoConnection::Starved(_)) if begun.elapsed() < self.connect_timeout => {
                    tokio::time::sleep(STARVED).await;
                }
                Err(NoConnection::Starved(failure) | NoConnection::Failed(failure)) => {
                    return Err(failure);
                }
            }
        };
        self.attempt(stream, Session::new(1), ask).await.unwrap_or_else(closed)
    }

    /// `None` if the connection closed before an answer began.
    async fn attempt(
        &mut self,
        mut stream: Stream,
        mut session: Session<()>,
        ask: &Ask<'_>,
    ) -> Option<Result<Fetched, Failure>> {
        let mut request = Vec::new();
        let length = ask.body.map(<[u8]>::len);
        self.template.render_act(&ask.act, ask.lines, length, ask.path, &mut request);
        let mut answer = Answer { bound: self.bound, ..Answer::default() };
        match ask.act.method {
            "HEAD" => session.sent_head(()),
            _ => session.sent(()),
        }
        let mut pace = Pace::new(self.patience, Instant::now());
        pace.begin(Instant::now());
        let body = ask.body.unwrap_or_default();
        if body.len() <= AT_ONCE {
            request.extend_from_slice(body);
        }
        let mut written = in_time(&pace, write_all(&mut stream, &request)).await;
        for piece in body.chunks(AT_ONCE).filter(|_| body.len() > AT_ONCE) {
            if !matches!(written, Ok(Ok(()))) {
                break;
            }
            // The server is not silent while it takes what it is sent.
            pace.begin(Instant::now());
            written = in_time(&pace, write_all(&mut stream, piece)).await;
        }
        pace.begin(Instant::now());
        let broken = match written {
            // Who refuses a body says why, and closes.
            Ok(Err(_)) if body.is_empty() => Some(Broken::Closed),
            Ok(_) => self.read(&mut stream, &mut session, &mut answer, pace).await,
            Err(broken) => Some(broken),
        };
        if answer.complete {
            if broken.is_none() && !session.closing() {
                self.kept = Some((stream, session));
            }
            return Some(Ok(answer.into()));
        }
        match broken {
            Some(Broken::Failed(failure)) => Some(Err(failure)),
            _ => None,
        }
    }

    /// Reads until the answer is complete (`None`) or the connection is to be closed.
    async fn read(
        &mut self,
        stream: &mut Stream,
        session: &mut Session<()>,
        answer: &mut Answer,
        mut pace: Pace,
    ) -> Option<Broken> {
        let mut filled = 0;
        loop {
            let read = match in_time(&pace, stream.read(&mut self.buffer[filled..])).await {
                Ok(read) => read,
                Err(broken) => return Some(broken),
            };
            let len = match read {
                Ok(len) => len,
                Err(_) if session.between_responses() && filled == 0 => {
                    return Some(Broken::Closed);
                }
                Err(error) => {
                    if let Some(failure) = super::dial::tls_failure(&error) {
                        return Some(Broken::Failed(failure));
                    }
                    let detail = "the connection was reset inside the response";
                    return Some(Broken::Failed(Failure::new(FailureClass::Reset, detail)));
                }
            };
            if len == 0 {
                return Some(session.end_of_input(&self.buffer[..filled], answer));
            }
            filled += len;
            pace.received(len, false, true, true, Instant::now());
            match session.receive(&self.buffer[..filled], answer) {
                Ok(used) => {
                    self.buffer.copy_within(used..filled, 0);
                    filled -= used;
                }
                Err(broken) => return Some(broken),
            }
            if answer.complete {
                return None;
            }
        }
    }
}

/// Waits for something that the server is to do in time.
async fn in_time<T>(pace: &Pace, what: impl Future<Output = T>) -> Result<T, Broken> {
    match pace.deadline() {
        None => Ok(what.await),
        Some((at, late)) => {
            let ended = tokio::time::timeout_at(at.into(), what).await;
            ended.map_err(|_| Broken::Failed(late.failure()))
        }
    }
}

async fn write_all(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Bytes of a body that are written at once.
const AT_ONCE: usize = 256 << 10;

/// Collects one response.
#[derive(Default)]
struct Answer {
    status: u16,
    content_type: Option<String>,
    location: Option<String>,
    retry_after: Option<Duration>,
    date: Option<u64>,
    region: Option<String>,
    run: Option<String>,
    etag: Option<String>,
    length: Option<u64>,
    body: Vec<u8>,
    bound: u64,
    complete: bool,
}

impl From<Answer> for Fetched {
    fn from(answer: Answer) -> Self {
        let Answer { status, content_type, location, retry_after, date, region, etag, .. } = answer;
        let Answer { run, length, body, .. } = answer;
        Fetched {
            status,
            content_type,
            location,
            retry_after,
            date,
            region,
            run,
            etag,
            length,
            body,
        }
    }
}

impl Exchange for Answer {
    type Ticket = ();

    fn head(&mut self, (): &mut (), head: &Head, raw: &[u8]) -> Interest {
        let text = |name| {
            let value = super::h1::header(raw, name)?;
            std::str::from_utf8(value).ok().map(|text| text.trim().to_owned())
        };
        self.status = head.status;
        self.retry_after = super::h1::retry_after(raw, SystemTime::now());
        self.content_type = text("content-type");
        self.location = text("location");
        self.date = super::h1::date(raw);
        self.region = text("x-amz-bucket-region");
        self.run = text("x-amz-meta-windrow-run");
        self.etag = text("etag");
        self.length = text("content-length").and_then(|length| length.parse().ok());
        Interest::Take
    }

    fn whole(&mut self, (): (), body: &[u8]) {
        self.body.extend_from_slice(body);
        self.complete = true;
    }

    fn data(&mut self, (): &mut (), bytes: &[u8]) -> Result<(), Failure> {
        if (self.body.len() + bytes.len()) as u64 > self.bound {
            return Err(Failure::new(FailureClass::TooLarge, "the response is too large"));
        }
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self, (): ()) {
        self.complete = true;
    }

    fn lost(&mut self, (): (), _: Loss) {}
}
