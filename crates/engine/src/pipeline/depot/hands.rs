//! Requests to the service: how many at once, what their answers mean, and when they are sent again.

use super::Store;
use crate::sink::depot::Refused;
use crate::source::bucket::{self, Refusal};
use crate::wire::fetch::Ask;
use crate::wire::h1::Template;
use crate::wire::sigv4::{Act, NO_PAYLOAD, Signer};
use crate::wire::{Client, Fetched, Network, Target, Trust};
use md5::Md5;
use sha2::{Digest, Sha256};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use windrow_model::digits::Base64Encoder;
use windrow_model::limits::{UPLOAD_ANSWER_BYTES, UPLOAD_CONNECTIONS};
use windrow_model::{Error, Failure, FailureClass};

/// One thread's connections to the service.
pub(super) struct Hands {
    pub(super) store: Arc<Store>,
    target: Rc<Target>,
    template: Template,
    idle: RefCell<Vec<Client>>,
    /// Requests under way, at most, as far as the service takes them.
    limit: Cell<f64>,
    /// It asked to slow down once: from then on the limit grows by one for each round, and before that it
    /// doubles.
    learned: Cell<bool>,
    /// More waits than is under way.
    busy: Cell<bool>,
    /// Nothing was answered well since.
    down: Cell<Option<Instant>>,
    /// Answers that were none of a service in trouble.
    answered: Cell<u64>,
    /// The service has taken an object.
    accepted: Cell<bool>,
    /// It is of no use to send anything more.
    over: Cell<bool>,
    random: Cell<u64>,
    /// KiB of files that may be in memory.
    pub(super) memory: Semaphore,
}

/// An object to be put as a whole.
pub(super) struct Cargo<'a> {
    pub(super) path: &'a [u8],
    pub(super) body: &'a [u8],
    pub(super) headers: &'a [(String, String)],
    /// In place of one that is there.
    pub(super) replace: bool,
}

/// What is at a path when a request was carried out.
pub(super) enum There<'a> {
    /// An object with this content.
    Whole(&'a Cargo<'a>),
    /// One of so many bytes, put in parts, with this tag.
    Parts { path: &'a [u8], size: u64, tag: &'a str },
}

/// Whether something is there, as far as the service tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Same,
    /// It has the length, and a tag that says nothing of the content.
    Alike,
    Other,
    None,
    /// It cannot be asked.
    Unknown,
}

/// What an answer means.
enum Verdict {
    Well(Fetched),
    /// To be sent again.
    Again {
        failure: Failure,
        pause: Duration,
        /// The service has too much to do.
        slow: bool,
        /// It may have been carried out.
        unsure: bool,
    },
    /// There is an object already.
    Taken,
    Refused(Refused),
}

impl Hands {
    pub(super) fn new(store: &Arc<Store>) -> Result<Self, Error> {
        let remote = &store.remote;
        let network = Network::new(store.network.clone())?;
        let origin = remote.url.origin.clone();
        let authority = origin.authority();
        let target = Target::new(network, origin, Trust::User);
        let agent = ("User-Agent", concat!("windrow/", env!("CARGO_PKG_VERSION")));
        let lines = std::iter::once(agent).chain(target.proxy_header());
        let template = Template::new(&authority, lines)
            .map_err(|name| Error::usage(name, "not a header line"))?;
        let template = match &remote.signing {
            None => template,
            Some(signing) => {
                let identity = Arc::clone(&signing.identity);
                let region = signing.region.clone();
                template.signed(Rc::new(Signer::new(identity, authority, region, &[])))
            }
        };
        let template = match target.absolute_form() {
            Some(front) => template.absolute(front),
            None => template,
        };
        let first = (*UPLOAD_CONNECTIONS.start()).min(store.most);
        Ok(Self {
            target: Rc::new(target),
            template,
            idle: RefCell::default(),
            limit: Cell::new(if remote.concurrency.is_some() { store.most } else { first } as f64),
            learned: Cell::new(false),
            busy: Cell::new(false),
            down: Cell::new(None),
            answered: Cell::new(0),
            accepted: Cell::new(false),
            over: Cell::new(false),
            memory: Semaphore::new(store.memory as usize),
            random: Cell::new(store.seed ^ 0x9E37_79B9_7F4A_7C15),
            store: Arc::clone(store),
        })
    }

    /// Requests that may be under way.
    pub(super) fn limit(&self) -> usize {
        self.limit.get() as usize
    }

    /// Whether something waits beside what is under way.
    pub(super) fn busy(&self, busy: bool) {
        self.busy.set(busy);
    }

    /// Puts an object as a whole.
    pub(super) async fn put(&self, cargo: &Cargo<'_>) -> Result<(), Refused> {
        let payload = sha256(cargo.body);
        let (signed, mut lines) = split(cargo.headers);
        if !cargo.replace {
            lines.push(("if-none-match", "*"));
        }
        let sum = self.store.remote.signing.is_none().then(|| base64(&Md5::digest(cargo.body)));
        if let Some(sum) = &sum {
            // Without a signature nothing else says what the body is.
            lines.push(("content-md5", sum));
        }
        let act = Act { method: "PUT", payload: &payload, headers: &signed };
        let ask = Ask { act, path: cargo.path, lines: &lines, body: Some(cargo.body) };
        let answer = self.insist(&ask, Some(&There::Whole(cargo))).await?;
        if answer.etag.is_none() {
            let what = "took an object and gave no tag for it: is that an S3 service?";
            return Err(Refused::Run(self.store.wrong(what)));
        }
        self.accepted.set(true);
        Ok(())
    }

    /// Sends a request until it is answered well. `there` is how it can be seen whether one without an answer
    /// was carried out.
    pub(super) async fn insist(
        &self,
        ask: &Ask<'_>,
        there: Option<&There<'_>>,
    ) -> Result<Fetched, Refused> {
        let began = Instant::now();
        let (mut attempts, mut rounds, mut maybe) = (0, 0, false);
        let mut answered = None;
        loop {
            let (failure, pause, unsure) = match self.send(ask).await? {
                Verdict::Well(fetched) => return Ok(fetched),
                Verdict::Refused(refused) => {
                    self.over.set(self.over.get() || matches!(refused, Refused::Run(_)));
                    return Err(refused);
                }
                Verdict::Taken => match self.look(there).await? {
                    Seen::Same => return Ok(nothing()),
                    // An attempt of ours may have put it there.
                    Seen::Alike if maybe => return Ok(nothing()),
                    Seen::Alike | Seen::Other => return Err(Refused::Object(TAKEN)),
                    // It is gone again, or nobody can say: the next attempt does.
                    Seen::None | Seen::Unknown => {
                        attempts += 1;
                        (TAKEN, Duration::ZERO, false)
                    }
                },
                Verdict::Again { failure, pause, slow, unsure } => {
                    answered.get_or_insert(self.answered.get());
                    self.unwell(slow);
                    attempts += u32::from(!slow);
                    maybe |= unsure;
                    (failure, pause, unsure)
                }
            };
            if self.store.control.stopping() || self.over.get() {
                return Err(Refused::Left);
            }
            let most = self.store.retry.longest_outage();
            if self.down.get().is_some_and(|since| since.elapsed() >= most) {
                self.over.set(true);
                let what = format!("gave up: no request was answered for {} s", most.as_secs());
                let error = self.store.wrong(&what).why(failure);
                return Err(Refused::Run(error.hint(
                    "nothing failed because of it; what is missing is pending (--outage-max waits \
                     longer)",
                )));
            }
            // Others are answered: it is this one's fault.
            let others = answered.is_none_or(|answered| self.answered.get() > answered);
            if (others && attempts > self.store.retry.retries) || began.elapsed() >= most {
                return Err(Refused::Object(failure));
            }
            rounds += 1;
            let wait = self.store.retry.backoff(rounds, self.random());
            tokio::time::sleep(wait.max(pause)).await;
            if unsure && self.look(there).await? == Seen::Same {
                return Ok(nothing());
            }
        }
    }

    async fn send(&self, ask: &Ask<'_>) -> Result<Verdict, Refused> {
        if self.over.get() {
            return Err(Refused::Left);
        }
        let mut client = self.client();
        let sent = Instant::now();
        let answer = client.send(ask).await;
        let verdict = match answer {
            Err(failure) => Verdict::of_failure(failure, self),
            Ok(fetched) => self.judge(fetched, sent),
        };
        self.idle.borrow_mut().push(client);
        if !matches!(verdict, Verdict::Again { .. }) {
            self.well();
        }
        Ok(verdict)
    }

    fn client(&self) -> Client {
        let client = self.idle.borrow_mut().pop();
        client.unwrap_or_else(|| {
            let store = &self.store;
            let (target, template) = (Rc::clone(&self.target), self.template.clone());
            let (timeout, patience) = (store.connect_timeout, store.patience);
            Client::new(target, template, timeout, patience, UPLOAD_ANSWER_BYTES)
        })
    }

    /// Whether there is a bucket that can be reached: what would meet every object is told at once.
    pub(super) async fn check(&self) -> Result<(), Error> {
        let bucket = match self.store.base.as_slice() {
            [] => b"/",
            base => base,
        };
        let act = Act { method: "HEAD", payload: NO_PAYLOAD, headers: &[] };
        let mut client = self.client();
        let begun = Instant::now();
        let mut answer = client.send(&Ask { act, path: bucket, lines: &[], body: None }).await;
        if answer.as_ref().is_ok_and(|found| found.status == 403 && self.is_clock(found, begun)) {
            answer = client.send(&Ask { act, path: bucket, lines: &[], body: None }).await;
        }
        let wrong = |what| self.store.wrong(what);
        match answer {
            Err(failure) => match failure.class {
                FailureClass::Connect
                | FailureClass::Dns
                | FailureClass::Tls
                | FailureClass::Blocked => {
                    Err(wrong("cannot be reached").why(failure).hint("--dest-endpoint-url"))
                }
                // It may be better in a moment.
                _ => Ok(()),
            },
            Ok(found) => match (found.status, found.region) {
                (404, _) => Err(wrong("there is no such bucket").hint("windrow makes no buckets")),
                (301 | 307 | 400, Some(region)) => {
                    let hint = format!("--dest-region {}", region.escape_debug());
                    Err(wrong("the bucket is in another region").hint(hint))
                }
                // Who may write may not be allowed to look.
                _ => Ok(()),
            },
        }
    }

    fn judge(&self, fetched: Fetched, sent: Instant) -> Verdict {
        let refusal = bucket::refusal(&fetched.body);
        let code = refusal.as_ref().map_or("", |refusal| refusal.code.as_str());
        let failure = Failure::of_status(fetched.status).unwrap_or(LATE_ERROR);
        let pause = fetched.retry_after.unwrap_or_default();
        let again = |slow, unsure| Verdict::Again { failure, pause, slow, unsure };
        match (fetched.status, code) {
            (200..=299, "") => Verdict::Well(fetched),
            (503, _) | (429, _) | (_, "SlowDown" | "TooManyRequests") => again(true, false),
            // An error that comes behind a 200 is one all the same.
            (200..=299, "InternalError" | "OperationAborted") => again(false, true),
            // It will never do that.
            (501 | 505, _) => Verdict::Refused(Refused::Object(failure)),
            (408 | 500..=599, _) | (_, "RequestTimeout") => again(false, true),
            (412, _) => Verdict::Taken,
            (404, "NoSuchUpload") => {
                let failure = Failure { class: FailureClass::NotFound, ..failure };
                Verdict::Refused(Refused::Object(failure))
            }
            (409, "OperationAborted" | "ConditionalRequestConflict") => again(false, true),
            (403, _) if self.is_clock(&fetched, sent) => again(true, false),
            // Damaged on the way.
            (_, "BadDigest" | "XAmzContentSHA256Mismatch" | "InvalidPart" | "IncompleteBody") => {
                again(false, true)
            }
            (400, "EntityTooLarge") | (413, _) => {
                let detail = "the object is larger than the service takes";
                Verdict::Refused(Refused::Object(Failure::new(FailureClass::TooLarge, detail)))
            }
            (
                400,
                "KeyTooLongError" | "InvalidURI" | "InvalidObjectName" | "XMinioInvalidObjectName",
            ) => {
                let detail = "the service does not take this key";
                Verdict::Refused(Refused::Object(Failure::new(FailureClass::Name, detail)))
            }
            // Others were taken: it is about this one.
            (400 | 403, code) if self.accepted.get() && !OF_ALL.contains(&code) => {
                let detail = "the destination refuses this object";
                Verdict::Refused(Refused::Object(Failure { detail, ..failure }))
            }
            _ => Verdict::Refused(Refused::Run(self.refused(&fetched, refusal, failure))),
        }
    }

    /// Whether a request was refused because it was signed by a clock that is wrong.
    fn is_clock(&self, fetched: &Fetched, sent: Instant) -> bool {
        let identity = self.template.identity();
        identity.is_some_and(|own| fetched.date.is_some_and(|date| own.learn(date, sent)))
    }

    /// The service takes nothing from whoever asks.
    fn refused(&self, fetched: &Fetched, refusal: Option<Refusal>, failure: Failure) -> Error {
        let error = self.store.wrong("the service does not take objects");
        let Some(refusal) = refusal else { return error.why(failure) };
        let error = error.why(refusal.shown());
        let region = refusal.region.or_else(|| fetched.region.clone());
        match (refusal.code.as_str(), region) {
            ("NoSuchBucket", _) => error.hint("windrow makes no buckets: is that its name?"),
            ("InvalidAccessKeyId" | "SignatureDoesNotMatch", _) => error.hint(
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile (--dest-profile), are \
                 wrong",
            ),
            ("ExpiredToken" | "InvalidToken", _) => {
                error.hint("the session's credentials are to be renewed; then run the same again")
            }
            ("AccessDenied", _) => error.hint("s3:PutObject is wanted"),
            (_, Some(region)) => error.hint(format!("--dest-region {}", region.escape_debug())),
            _ => error,
        }
    }

    /// Whether an object is there with this content, as far as the service can tell: by its length, and by its
    /// tag where that is an MD5, or one of MD5s.
    async fn look(&self, there: Option<&There<'_>>) -> Result<Seen, Refused> {
        let (path, size, expected) = match there {
            None => return Ok(Seen::Unknown),
            Some(There::Whole(cargo)) => {
                (cargo.path, cargo.body.len() as u64, hex(&Md5::digest(cargo.body)))
            }
            Some(There::Parts { path, size, tag }) => (*path, *size, (*tag).to_owned()),
        };
        let Some(found) = self.head(path).await? else { return Ok(Seen::Unknown) };
        if found.status == 404 {
            return Ok(Seen::None);
        }
        let tag = found.etag.unwrap_or_default().trim_matches('"').to_ascii_lowercase();
        let says = |tag: &str| {
            let sum = tag.split('-').next().unwrap_or_default();
            sum.len() == 32 && sum.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        Ok(match found.length == Some(size) {
            true if tag == expected => Seen::Same,
            true if !says(&tag) || tag.contains('-') != expected.contains('-') => Seen::Alike,
            _ => Seen::Other,
        })
    }

    /// What the service says of an object: that it is there, or 404; `None` if it says neither.
    pub(super) async fn head(&self, path: &[u8]) -> Result<Option<Fetched>, Refused> {
        let act = Act { method: "HEAD", payload: NO_PAYLOAD, headers: &[] };
        let ask = Ask { act, path, lines: &[], body: None };
        if self.over.get() {
            return Err(Refused::Left);
        }
        let mut client = self.client();
        let answer = client.send(&ask).await;
        self.idle.borrow_mut().push(client);
        let answer = answer.ok().filter(|found| matches!(found.status, 200 | 404));
        if answer.is_some() {
            self.well();
        }
        Ok(answer)
    }

    fn well(&self) {
        self.down.set(None);
        self.answered.set(self.answered.get() + 1);
        let most = self.store.most as f64;
        if self.busy.get() && self.store.remote.concurrency.is_none() {
            let limit = self.limit.get();
            let more = if self.learned.get() { 1.0 / limit } else { 1.0 };
            self.limit.set((limit + more).min(most));
        }
    }

    fn unwell(&self, slow: bool) {
        if self.down.get().is_none() {
            self.down.set(Some(Instant::now()));
        }
        if slow && self.store.remote.concurrency.is_none() {
            self.learned.set(true);
            // Every one that is under way is told the same: each takes a little.
            let limit = self.limit.get();
            self.limit.set((limit - limit.sqrt() / 2.0).max(1.0));
        }
    }

    fn random(&self) -> u64 {
        // xorshift64 (Marsaglia, "Xorshift RNGs", 2003): only for jitter.
        let mut value = self.random.get();
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
        self.random.set(value);
        value
    }
}

impl Verdict {
    /// There was no answer.
    fn of_failure(failure: Failure, hands: &Hands) -> Self {
        match failure.class {
            FailureClass::Tls | FailureClass::Blocked | FailureClass::Forbidden => {
                let error = hands.store.wrong("cannot be reached").why(failure);
                Self::Refused(Refused::Run(error))
            }
            FailureClass::Connect | FailureClass::Dns => {
                Self::Again { failure, pause: Duration::ZERO, slow: false, unsure: false }
            }
            _ => Self::Again { failure, pause: Duration::ZERO, slow: false, unsure: true },
        }
    }
}

const TAKEN: Failure = Failure {
    class: FailureClass::Name,
    status: 412,
    detail: "another object has the place of this name",
};

const LATE_ERROR: Failure = Failure {
    class: FailureClass::Server,
    status: 200,
    detail: "the service answered with an error behind a success",
};

/// What the service says when it takes nothing from whoever asks.
const OF_ALL: [&str; 15] = [
    "",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "NoSuchBucket",
    "AccountProblem",
    "AllAccessDisabled",
    "NotSignedUp",
    "InvalidSecurity",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "AuthorizationHeaderMalformed",
    "QuotaExceeded",
];

/// What stands for the answer that did not come, of something that is there all the same: its tag is empty.
fn nothing() -> Fetched {
    Fetched {
        status: 200,
        content_type: None,
        location: None,
        retry_after: None,
        date: None,
        region: None,
        run: None,
        etag: Some(String::new()),
        length: None,
        body: Vec::new(),
    }
}

fn base64(bytes: &[u8]) -> String {
    let (mut encoder, mut out) = (Base64Encoder::default(), Vec::new());
    encoder.push(bytes, &mut out);
    encoder.finish(&mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// Header lines, as name and value.
type Lines<'a> = Vec<(&'a str, &'a str)>;

/// Header lines that are signed, and those that are not.
pub(super) fn split(headers: &[(String, String)]) -> (Lines<'_>, Lines<'_>) {
    let lines = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    lines.partition(|(name, _)| name.starts_with("x-amz-"))
}

/// SHA-256 in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digits = b"0123456789abcdef";
    let pair = |byte: &u8| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]];
    bytes.iter().flat_map(pair).map(char::from).collect()
}
