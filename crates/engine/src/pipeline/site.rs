//! The servers of a run: what all cores share of each, and what one core has beside it.

use super::plan::{Plan, Signing};
use crate::content::coding;
use crate::schedule::{Board, ClockOffset, Key, NamedBy, Origin, Outage, board};
use crate::wire::h1::Template;
use crate::wire::sigv4::Signer;
use crate::wire::{Network, Target, Trust};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use windrow_model::Error;
use windrow_model::limits::ORIGINS;
use windrow_model::url::{self, Scheme};

/// What one core has beside a server's tasks.
#[derive(Debug)]
pub(super) struct Here {
    pub(super) target: Rc<Target>,
    /// Requests with what the user has sent along.
    pub(super) template: Template,
    /// Requests as they are written down, without secrets, where they are.
    pub(super) shown: Option<Template>,
    /// Requests without.
    pub(super) bare: Template,
    /// Links that have a connection, or try to have one.
    pub(super) links: usize,
    /// Whether it speaks HTTP/2, as of the last connection; `None` where that is to be found out.
    pub(super) http2: Option<bool>,
    /// Its address is a private one, as far as is known.
    pub(super) private: bool,
    /// Of these, such as waited when they were put here.
    pub(super) idle: Vec<u32>,
}

impl board::Keep for Here {
    fn is_kept(&self) -> bool {
        self.links > 0
    }
}

/// What all cores share of the servers: health, pauses, rates.
#[derive(Debug)]
pub(super) struct Origins {
    seed: u64,
    /// The source has one server, that is waited for.
    single: bool,
    /// Requests a second to each.
    rate: Option<f64>,
    /// What time it is to them.
    pub(super) clock: Arc<ClockOffset>,
    known: Mutex<HashMap<url::Origin, Arc<Origin>>>,
}

impl Origins {
    pub(super) fn new(plan: &Plan) -> Self {
        let single = plan.source.server().is_some();
        Self {
            seed: plan.seed,
            single,
            rate: plan.rate_per_host,
            clock: Arc::default(),
            known: Mutex::default(),
        }
    }

    /// What is shared of a server.
    pub(super) fn of(&self, server: &url::Origin, now: Instant) -> Arc<Origin> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(origin) = known.get(server) {
            return Arc::clone(origin);
        }
        if known.len() >= ORIGINS {
            // Those that no core has to do with; what was learned of them is lost.
            known.retain(|_, origin| Arc::strong_count(origin) > 1);
        }
        let seed = self.seed ^ (known.len() as u64).rotate_left(17);
        let origin = match self.single && known.is_empty() {
            true => Origin::new(now, seed),
            false => Origin::one_of_many(now, seed),
        };
        let origin = Arc::new(origin.capped(self.rate));
        known.insert(server.clone(), Arc::clone(&origin));
        origin
    }

    /// The outage of the only server.
    pub(super) fn outage(&self, now: Instant) -> Option<Outage> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.len() {
            1 => known.values().next()?.outage(now),
            _ => None,
        }
    }
}

/// Makes what one core needs of a server.
#[derive(Debug)]
pub(super) struct Sites {
    origins: Arc<Origins>,
    network: Arc<Network>,
    plan: Arc<Plan>,
}

impl Sites {
    /// # Errors
    /// A header line that is none.
    pub(super) fn new(
        plan: &Arc<Plan>,
        origins: Arc<Origins>,
        network: Arc<Network>,
    ) -> Result<Self, Error> {
        template("localhost", plan, Own::Sent, None)?;
        Ok(Self { origins, network, plan: Arc::clone(plan) })
    }

    /// Whether a redirect from https to http is followed.
    pub(super) fn allows_insecure_redirect(&self) -> bool {
        self.plan.insecure_redirect
    }

    /// What is needed of a server.
    pub(super) fn make(&mut self, key: &Key) -> (Arc<Origin>, Here) {
        (self.origins.of(&key.origin, Instant::now()), self.here(key))
    }

    /// What one core needs of a server, apart from what all share.
    pub(super) fn here(&self, key: &Key) -> Here {
        let authority = key.origin.authority();
        let trust = match key.named_by {
            NamedBy::Source => Trust::User,
            NamedBy::Redirect { private } => Trust::Redirect { from_private: private },
        };
        let target = Target::new(Arc::clone(&self.network), key.origin.clone(), trust);
        let made = |own| {
            let proxy = target.proxy_header().filter(|_| own != Own::Shown);
            let made = template(&authority, &self.plan, own, proxy);
            let made = made.expect("tried with another host");
            let signing = self.plan.source.server().and_then(|server| server.signing.as_ref());
            let made = match signing.filter(|_| own == Own::Sent) {
                Some(signing) => made.signed(Rc::new(self.signer(signing, &authority))),
                None => made,
            };
            match target.absolute_form() {
                Some(front) => made.absolute(front),
                None => made,
            }
        };
        Here {
            // What is the user's is for servers that the user named.
            template: made(if key.named_by == NamedBy::Source { Own::Sent } else { Own::Kept }),
            bare: made(Own::Kept),
            shown: self.plan.format.wants_requests().then(|| made(Own::Shown)),
            target: Rc::new(target),
            links: 0,
            http2: match key.origin.scheme {
                Scheme::Https if self.plan.network.http2 => None,
                _ => Some(false),
            },
            private: false,
            idle: Vec::new(),
        }
    }

    /// What signs requests to the server that the user named.
    fn signer(&self, signing: &Signing, authority: &str) -> Signer {
        let extra = self.plan.headers.iter();
        let extra = extra.map(|(name, value)| (name.as_str(), value.as_str()));
        let extra: Vec<_> =
            extra.filter(|(name, _)| name.to_ascii_lowercase().starts_with("x-amz-")).collect();
        let identity = Arc::clone(&signing.identity);
        Signer::new(identity, authority.to_owned(), signing.region.clone(), &extra)
    }

    /// The server that is waited for, if nothing is left to do but to wait for such as are down.
    pub(super) fn outage(&self, board: &mut Board<Here>, now: Instant) -> Option<(String, Outage)> {
        let single = board.is_single();
        let mut least: Option<(String, Outage)> = None;
        for (_, site) in board.sites() {
            if !single && site.desk.pending() == 0 {
                continue;
            }
            let outage = site.desk.access().origin().outage(now)?;
            if least.as_ref().is_none_or(|(_, least)| outage.lasted < least.lasted) {
                least = Some((site.key().origin.to_string(), outage));
            }
        }
        least
    }
}

/// What becomes of the header lines that the user has sent along, and that may be secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    Sent,
    /// To a server that the user did not name.
    Kept,
    /// For people: their names.
    Shown,
}

/// Requests to a server; `proxy` is what a proxy on the way wants to see.
fn template(
    authority: &str,
    plan: &Plan,
    own: Own,
    proxy: Option<(&str, &str)>,
) -> Result<Template, Error> {
    let coding = if plan.compressed { coding::accept() } else { "identity" };
    let ours = [
        ("User-Agent", concat!("windrow/", env!("CARGO_PKG_VERSION"))),
        ("Accept", "*/*"),
        ("Accept-Encoding", coding),
    ];
    // Who windrow is, is no secret.
    let agent = |name: &str| name.eq_ignore_ascii_case("user-agent");
    let theirs = || plan.headers.iter().filter(|(name, _)| own != Own::Kept || agent(name));
    let given = |name: &str| theirs().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let ours = ours.into_iter().filter(|(name, _)| !given(name));
    let value = |name: &str, value| if own == Own::Shown && !agent(name) { "***" } else { value };
    let theirs = theirs().map(|(name, text)| (name.as_str(), value(name, text.as_str())));
    Template::new(authority, ours.chain(theirs).chain(proxy)).map_err(|name| {
        Error::usage(format!("--header '{name}'"), "not a header line")
            .why("a name is letters, digits and `-`; a value has no control characters")
    })
}
