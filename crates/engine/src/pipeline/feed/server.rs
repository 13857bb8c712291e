//! Reads the listing of a server, page by page; and how pages are asked for.

use super::super::plan::{Plan, Server};
use super::{Lister, Read};
use crate::rt::{Control, TICK};
use crate::schedule::{Fault, Origin, Probe, RetryPolicy};
use crate::source::bucket;
use crate::source::{Listing, ListingError};
use crate::wire::fetch::Ask;
use crate::wire::h1::Template;
use crate::wire::sigv4::Act;
use crate::wire::{Client, Fetched, Target};
use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use windrow_model::limits::{BUCKET_PAGE_BYTES, PAGE_BYTES};
use windrow_model::{Error, Failure, FailureClass, url};

/// Asks for pages, one after the other, on a connection of its own.
pub(super) struct Asker {
    server: Rc<Server>,
    retry: RetryPolicy,
    control: Arc<Control>,
    origin: Arc<Origin>,
    client: Client,
    /// Whom it asks.
    at: url::Origin,
    /// Times that the server asked for fewer requests, of all askers.
    slow: Rc<Cell<usize>>,
}

/// A file that is asked for, and no page.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'a> {
    /// It, for people.
    pub(super) shown: &'a str,
    /// Only these bytes, of so many.
    pub(super) part: Option<(Range<u64>, u64)>,
}

/// What askers are made of.
pub(super) struct Askers {
    plan: Arc<Plan>,
    server: Rc<Server>,
    target: Rc<Target>,
    template: Template,
    origin: Arc<Origin>,
    control: Arc<Control>,
    pub(super) slow: Rc<Cell<usize>>,
}

impl Askers {
    pub(super) fn new(
        plan: &Arc<Plan>,
        server: &Server,
        lister: &Lister,
        control: &Arc<Control>,
    ) -> Self {
        Self {
            plan: Arc::clone(plan),
            server: Rc::new(server.clone()),
            target: Rc::clone(&lister.target),
            template: lister.template.clone(),
            origin: Arc::clone(&lister.origin),
            control: Arc::clone(control),
            slow: Rc::default(),
        }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    pub(super) fn one(&self) -> Asker {
        let bound = if self.server.bucket.is_some() { BUCKET_PAGE_BYTES } else { PAGE_BYTES };
        let client = Client::new(
            Rc::clone(&self.target),
            self.template.clone(),
            self.plan.connect_timeout,
            self.plan.patience,
            bound as u64,
        );
        Asker {
            server: Rc::clone(&self.server),
            retry: self.plan.retry,
            control: Arc::clone(&self.control),
            origin: Arc::clone(&self.origin),
            client,
            at: self.target.origin().clone(),
            slow: Rc::clone(&self.slow),
        }
    }
}

/// The listing of a server's own API.
pub(super) struct ServerReader {
    asker: Asker,
    listing: Listing,
}

impl ServerReader {
    pub(super) fn new(askers: &Askers) -> Self {
        let asker = askers.one();
        let listing = Listing::new(asker.server.api.clone(), asker.server.url.base.as_str());
        Self { asker, listing }
    }

    /// Goes to the page of a marker; `None` stands for the first.
    pub(super) fn enter(&mut self, marker: Option<String>) {
        let Server { api, url, .. } = &*self.asker.server;
        self.listing = Listing::enter(api.clone(), url.base.as_str(), marker);
    }

    /// Reads the page where the reader is; `None` behind the last.
    pub(super) async fn read(&mut self) -> Result<Option<Read>, Error> {
        let Some(path) = self.listing.request() else { return Ok(None) };
        let asked = self.listing.marker().map(str::to_owned);
        let first = self.listing.pages() == 0;
        let names = self.asker.page(&path, first, |body| self.listing.accept(body)).await?;
        let next = self.listing.marker().map(str::to_owned);
        Ok(Some(Read { sheet: names.into(), asked, next }))
    }
}

impl Asker {
    /// One page, asked for again while the failure may pass. Like an object, it is not blamed for
    /// an outage, once the source has answered at all.
    pub(super) async fn page<T>(
        &mut self,
        path: &[u8],
        first: bool,
        mut accept: impl FnMut(&[u8]) -> Result<T, ListingError>,
    ) -> Result<T, Error> {
        self.ask(path, None, first, |fetched| accept(&fetched.body)).await
    }

    /// The bytes of a file, in the same way.
    pub(super) async fn file(
        &mut self,
        path: &[u8],
        wanted: Wanted<'_>,
        first: bool,
    ) -> Result<Vec<u8>, Error> {
        let take = |fetched: &Fetched| {
            let body = fetched.body.clone();
            let Some((part, whole)) = &wanted.part else { return Ok(body) };
            let len = body.len() as u64;
            let fits = match fetched.status {
                206 => len == part.end - part.start,
                // All of it, where a part was asked for.
                _ => part.start == 0 && len == *whole,
            };
            let asked = part.end - part.start;
            let why = || ListingError::Shape(format!("{len} bytes came in place of {asked}"));
            if fits { Ok(body) } else { Err(why()) }
        };
        self.ask(path, Some(&wanted), first, take).await
    }

    async fn ask<T>(
        &mut self,
        path: &[u8],
        wanted: Option<&Wanted<'_>>,
        first: bool,
        mut accept: impl FnMut(&Fetched) -> Result<T, ListingError>,
    ) -> Result<T, Error> {
        let part = wanted.and_then(|wanted| wanted.part.as_ref());
        let range = part.map(|(part, _)| format!("bytes={}-{}", part.start, part.end - 1));
        let line = range.as_deref().map(|range| ("Range", range));
        let lines = line.as_slice();
        let mut began = Instant::now();
        let mut attempts = 0;
        loop {
            let trial = self.wait_for_origin(first).await;
            let sent = Instant::now();
            let ask = Ask { act: Act::GET, path, lines, body: None };
            let answer = self.client.send(&ask).await;
            let now = Instant::now();
            let failure = match answer {
                Ok(fetched) => match failure_of(fetched.status, line.is_some()) {
                    None => {
                        if trial {
                            self.origin.probe_answered(sent, now, &Probe::Trial);
                        }
                        match accept(&fetched) {
                            Ok(page) => return Ok(page),
                            Err(error) => {
                                return Err(self.not_a_listing(path, &fetched, &error, wanted));
                            }
                        }
                    }
                    // Signed by a clock that was wrong: once more, by the server's.
                    Some(_) if self.is_clock(&fetched, sent) => continue,
                    Some(failure) if !failure.retry() => {
                        return Err(self.refused(path, &fetched, failure, first, wanted));
                    }
                    Some(failure) => {
                        if matches!(failure.status, 429 | 503) {
                            self.slow.set(self.slow.get() + 1);
                        }
                        if let Some(pause) = fetched.retry_after {
                            self.origin.pause(sent, now, pause, failure);
                        }
                        failure
                    }
                },
                // At the first contact nobody listening is a wrong address, not bad luck.
                Err(failure)
                    if !failure.retry() || (first && failure.class == FailureClass::Connect) =>
                {
                    return Err(self.unreachable(path, failure, wanted));
                }
                Err(failure) => failure,
            };
            if trial {
                self.origin.probe_failed(sent, now, &Probe::Trial);
            }
            attempts += 1;
            let random =
                u64::from(std::process::id()) << 32 | u64::from(began.elapsed().subsec_nanos());
            let random = random.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let wait = self.retry.wait(attempts, began.elapsed(), random);
            if wait.is_none() && (first || !self.is_outage(sent, now, failure).await) {
                return Err(self.unreachable(path, failure, wanted));
            }
            if wait.is_none() {
                (attempts, began) = (0, Instant::now());
            }
            tokio::time::sleep(wait.unwrap_or_default()).await;
            if self.control.stopping() {
                return Err(self.unreachable(path, failure, wanted));
            }
        }
    }

    /// Whether the origin was down when a page failed for the last time that it may. Where that
    /// is not known, the cores' probe tells.
    async fn is_outage(&self, sent: Instant, failed: Instant, failure: Failure) -> bool {
        loop {
            match self.origin.fault(sent, failed) {
                Fault::Origin => return true,
                Fault::Object => return false,
                Fault::Unknown => self.origin.suspect(failed, Instant::now(), failure),
            }
            if !self.origin.has_reference() || self.control.stopping() {
                return true;
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// The listing waits like every other request. True if it goes as the probe: while nothing
    /// was fetched, the cores may have nothing to ask for.
    async fn wait_for_origin(&self, first: bool) -> bool {
        loop {
            let now = Instant::now();
            let free = match first {
                true => self.origin.paused_for(now).is_zero(),
                false => self.origin.flows(now),
            };
            if free || self.control.stopping() {
                return false;
            }
            if !first && !self.origin.has_reference() && self.origin.probe(now, true).is_some() {
                return true;
            }
            // In steps, so that a wish to stop is heard.
            tokio::time::sleep(TICK).await;
        }
    }

    fn is_clock(&self, fetched: &Fetched, sent: Instant) -> bool {
        let identity = self.client.identity();
        fetched.status == 403
            && identity.is_some_and(|own| fetched.date.is_some_and(|date| own.learn(date, sent)))
    }

    /// The address for people, without the query of `--list-path`: it may be signed.
    fn shown(&self, path: &[u8], wanted: Option<&Wanted<'_>>) -> String {
        if let Some(wanted) = wanted {
            return format!("{} at {}", wanted.shown, self.at);
        }
        if let Some(shown) = shown_bucket(&self.server) {
            return shown;
        }
        let path = String::from_utf8_lossy(path);
        let path = match self.server.api.list_path.split_once('?') {
            Some((_, query)) => path.replacen(&format!("?{query}"), "?...", 1),
            None => path.into_owned(),
        };
        format!("{}{path}", self.server.url.origin)
    }

    fn unreachable(&self, path: &[u8], failure: Failure, wanted: Option<&Wanted<'_>>) -> Error {
        let error = Error::environment(self.shown(path, wanted), what(wanted)).why(failure);
        match failure.class {
            FailureClass::Connect => {
                error.hint("is the server running, and on this port? `windrow serve` starts one")
            }
            _ => error,
        }
    }

    /// The server answered, but with a status that no other attempt will change.
    fn refused(
        &self,
        path: &[u8],
        fetched: &Fetched,
        failure: Failure,
        first: bool,
        wanted: Option<&Wanted<'_>>,
    ) -> Error {
        let error = Error::usage(self.shown(path, wanted), what(wanted));
        if self.server.bucket.is_some() {
            let right = if wanted.is_some() { "s3:GetObject" } else { "s3:ListBucket" };
            return by_bucket(error, fetched, failure, right);
        }
        let error = error.why(failure);
        let error = match (failure.class, &fetched.location) {
            (FailureClass::Redirect, Some(location)) => {
                return error.hint(format!(
                    "the server points to `{}`: give that address as SOURCE",
                    without_secrets(location).escape_debug()
                ));
            }
            _ => error,
        };
        match failure.class {
            FailureClass::NotFound if first => error.hint(
                "SOURCE is a server with a listing; where its paths differ, say so: \
                 --list-path /list --get-path /get/{name}",
            ),
            FailureClass::Forbidden => {
                error.hint("does it want a key? --header 'Authorization: ...' sends one")
            }
            _ => error,
        }
    }

    /// The server answered with something that is no page.
    fn not_a_listing(
        &self,
        path: &[u8],
        fetched: &Fetched,
        error: &ListingError,
        wanted: Option<&Wanted<'_>>,
    ) -> Error {
        let shown = self.shown(path, wanted);
        if wanted.is_some() {
            let error = match error {
                ListingError::Shape(why) => why.clone(),
                other => other.to_string(),
            };
            return Error::environment(shown, what(wanted)).why(error);
        }
        if self.server.bucket.is_some() {
            return not_of_a_bucket(shown, error);
        }
        let begin = String::from_utf8_lossy(&fetched.body[..fetched.body.len().min(30)]);
        let kind = fetched.content_type.as_deref().unwrap_or("no content type");
        let fields = (&self.server.api.names_field, self.server.api.marker_fields.join("` or `"));
        let hint = if error.is_paging() {
            format!(
                "the server's paging is broken, or it wants the marker in another parameter than \
                 `{}`: --marker-param",
                self.server.api.marker_param
            )
        } else {
            format!(
                "asked for JSON with names in `{}` and the next marker in `{}`, got {} that begins \
                 with `{}`; --names-field, --marker-field and --list-path say what your server has",
                fields.0,
                fields.1,
                kind.escape_debug(),
                begin.escape_debug()
            )
        };
        Error::usage(shown, "not a listing").why(error).hint(hint)
    }
}

/// What could not be done.
fn what(wanted: Option<&Wanted<'_>>) -> &'static str {
    match wanted {
        None => "cannot read the listing",
        Some(_) => "cannot read the inventory",
    }
}

/// What a status comes to; where a part was asked for, it may come.
fn failure_of(status: u16, part: bool) -> Option<Failure> {
    Failure::of_status(status).filter(|_| !(part && status == 206))
}

/// A bucket for people.
pub(super) fn shown_bucket(server: &Server) -> Option<String> {
    let bucket = server.bucket.as_ref()?;
    Some(format!("s3://{}/{} at {}", bucket.name, bucket.prefix, server.url.origin))
}

/// A service answered with something that is no page of a bucket.
pub(super) fn not_of_a_bucket(shown: String, why: &ListingError) -> Error {
    let error = Error::usage(shown, "not the listing of a bucket").why(why);
    match why {
        ListingError::Unordered(_) => {
            error.hint("a bucket that is listed in no order is fetched by its keys: --keys FILE")
        }
        _ => error.hint("is that the endpoint of an S3 service? --endpoint-url"),
    }
}

/// What a bucket's answer says that is no page.
fn by_bucket(error: Error, fetched: &Fetched, failure: Failure, right: &str) -> Error {
    let Some(refusal) = bucket::refusal(&fetched.body) else { return error.why(failure) };
    let error = error.why(refusal.shown());
    let region = refusal.region.or_else(|| fetched.region.clone());
    match refusal.code.as_str() {
        "NoSuchBucket" => error.hint("the name behind s3://, and --endpoint-url, say which it is"),
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "NotSignedUp" => {
            error.hint("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile, are wrong")
        }
        "ExpiredToken" | "InvalidToken" => {
            error.hint("the session's credentials are to be renewed")
        }
        "RequestTimeTooSkewed" => error.hint("the clock of this machine is wrong"),
        "AccessDenied" => {
            error.hint(format!("{right} is wanted; a public bucket is read with --no-sign-request"))
        }
        _ => match region {
            Some(region) => error.hint(format!("--region {}", region.escape_debug())),
            None => error,
        },
    }
}

/// An address without what may be secret in it: user, query, fragment.
fn without_secrets(address: &str) -> String {
    let plain = address.split(['?', '#']).next().unwrap_or_default();
    match plain.split_once("//") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit('@').next().unwrap_or_default();
            format!("{scheme}//{host}{path}")
        }
        None => plain.to_owned(),
    }
}
