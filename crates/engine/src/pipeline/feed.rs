//! Reads the listing and fills the queue of leases, as far ahead as the queue allows.

use super::plan::Plan;
use crate::report::Report;
use crate::rt::{Control, Stop, TICK};
use crate::schedule::{Fault, Origin, Probe};
use crate::sink::Destination;
use crate::source::{Listing, ListingError};
use crate::wire::h1::Template;
use crate::wire::{Client, Fetched, Target};
use async_channel::Sender;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use windrow_model::limits::{LEASE_TASKS, PAGE_BYTES};
use windrow_model::{Error, Failure, FailureClass, Lease};

pub(super) struct Feed {
    pub(super) plan: Arc<Plan>,
    pub(super) dest: Arc<Destination>,
    pub(super) target: Rc<Target>,
    pub(super) template: Template,
    pub(super) queue: Sender<Lease>,
    pub(super) report: Arc<Report>,
    pub(super) control: Arc<Control>,
    pub(super) origin: Arc<Origin>,
}

/// Reads the listing to its end, or stops the run.
///
/// # Cancel
/// What is in the queue stays there.
pub(super) async fn list(feed: Feed) {
    if let Err(error) = feed.pages().await {
        feed.control.stop(Stop::Error(error));
    }
}

impl Feed {
    async fn pages(&self) -> Result<(), Error> {
        let plan = &self.plan;
        let mut client = Client::new(
            Rc::clone(&self.target),
            self.template.clone(),
            plan.connect_timeout,
            plan.patience,
            PAGE_BYTES as u64,
        );
        let mut listing = Listing::new(plan.api.clone(), plan.url.base.as_str());
        let mut next = 0_u64;
        while let Some(path) = listing.request() {
            let mut names = self.page(&mut client, &mut listing, &path).await?;
            if listing.pages() == 1 {
                // The source is there: now the destination is this run's.
                self.dest.begin(plan.format, &plan.url.to_string())?;
            }
            let room = plan.limit.map_or(u64::MAX, |limit| limit - next);
            names.truncate(usize::try_from(room).unwrap_or(usize::MAX));
            let count = names.len() as u64;
            self.report.pages.store(listing.pages(), Ordering::Relaxed);
            // Small enough that every core gets some of a short listing.
            let size = names.len().div_ceil(plan.cores * 4).clamp(16, LEASE_TASKS);
            for lease in Lease::cut(names, next, size) {
                // Counted before it can be fetched, so that no one sees more stored than listed.
                self.report.listed.fetch_add(lease.len() as u64, Ordering::Release);
                let len = lease.len() as u64;
                if self.queue.send(lease).await.is_err() {
                    self.report.listed.fetch_sub(len, Ordering::Release);
                    return Ok(());
                }
            }
            next += count;
            if self.control.stopping() {
                return Ok(());
            }
            if count == room {
                break;
            }
        }
        self.report.listing_done.store(true, Ordering::Release);
        Ok(())
    }

    /// One page, asked for again while the failure may pass. Like an object, it is not blamed for
    /// an outage, once the source has answered at all.
    async fn page(
        &self,
        client: &mut Client,
        listing: &mut Listing,
        path: &[u8],
    ) -> Result<windrow_model::task::Names, Error> {
        let mut began = Instant::now();
        let mut attempts = 0;
        loop {
            let trial = self.wait_for_origin(listing.pages() == 0).await;
            let sent = Instant::now();
            let answer = client.get(path).await;
            let now = Instant::now();
            let failure = match answer {
                Ok(fetched) => match Failure::of_status(fetched.status) {
                    None => {
                        if trial {
                            self.origin.probe_answered(sent, now, &Probe::Trial);
                        }
                        match listing.accept(&fetched.body) {
                            Ok(names) => return Ok(names),
                            Err(error) => return Err(self.not_a_listing(path, &fetched, &error)),
                        }
                    }
                    Some(failure) if !failure.retry() => {
                        return Err(self.refused(path, &fetched, failure, listing.pages() == 0));
                    }
                    Some(failure) => {
                        if let Some(pause) = fetched.retry_after {
                            self.origin.pause(now, pause, failure);
                        }
                        failure
                    }
                },
                // At the first contact nobody listening is a wrong address, not bad luck.
                Err(failure)
                    if !failure.retry()
                        || (listing.pages() == 0 && failure.class == FailureClass::Connect) =>
                {
                    return Err(self.unreachable(path, failure));
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
            let wait = self.plan.retry.wait(attempts, began.elapsed(), random);
            if wait.is_none() && (listing.pages() == 0 || !self.is_outage(sent, now, failure).await)
            {
                return Err(self.unreachable(path, failure));
            }
            if wait.is_none() {
                (attempts, began) = (0, Instant::now());
            }
            tokio::time::sleep(wait.unwrap_or_default()).await;
            if self.control.stopping() {
                return Err(self.unreachable(path, failure));
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

    fn shown(&self, path: &[u8]) -> String {
        format!("{}{}", self.plan.url.origin, String::from_utf8_lossy(path))
    }

    fn unreachable(&self, path: &[u8], failure: Failure) -> Error {
        let error = Error::environment(self.shown(path), "cannot read the listing").why(failure);
        match failure.class {
            FailureClass::Connect => {
                error.hint("is the server running, and on this port? `windrow serve` starts one")
            }
            _ => error,
        }
    }

    /// The server answered, but with a status that no other attempt will change.
    fn refused(&self, path: &[u8], fetched: &Fetched, failure: Failure, first: bool) -> Error {
        let error = Error::usage(self.shown(path), "cannot read the listing").why(failure);
        let error = match (failure.class, &fetched.location) {
            (FailureClass::Redirect, Some(location)) => {
                return error.hint(format!(
                    "the server points to `{}`: give that address as SOURCE",
                    location.escape_debug()
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
    fn not_a_listing(&self, path: &[u8], fetched: &Fetched, error: &ListingError) -> Error {
        let begin = String::from_utf8_lossy(&fetched.body[..fetched.body.len().min(30)]);
        let kind = fetched.content_type.as_deref().unwrap_or("no content type");
        let fields = (&self.plan.api.names_field, self.plan.api.marker_fields.join("` or `"));
        let hint = match error {
            ListingError::Cycle(_) => {
                "the server's paging is broken: it gives the same pages again".into()
            }
            ListingError::Shape(_) | ListingError::NoNames => format!(
                "asked for JSON with names in `{}` and the next marker in `{}`, got {} that begins \
                 with `{}`; --names-field, --marker-field and --list-path say what your server has",
                fields.0,
                fields.1,
                kind.escape_debug(),
                begin.escape_debug()
            ),
        };
        Error::usage(self.shown(path), "not a listing").why(error).hint(hint)
    }
}
