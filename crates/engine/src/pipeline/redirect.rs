//! Redirects, by a rule of our own: a server may send a request on a few times, to where nothing
//! that is meant for the first server goes along.

use super::flights::FlightId;
use super::worker::{Extra, Worker};
use crate::schedule::{Address, Detour, Key, NamedBy};
use crate::wire::h1::header;
use windrow_model::url::{Scheme, resolve};
use windrow_model::{Failure, FailureClass};

impl Worker {
    /// Notes where a redirect leads. Gives the failure that it is if it is not followed.
    pub(super) fn follow(&mut self, id: &FlightId, head: &[u8], failure: Failure) -> Failure {
        let refused = |detail| Failure { class: FailureClass::Redirect, detail, ..failure };
        if !matches!(failure.status, 301 | 302 | 303 | 307 | 308) {
            return failure;
        }
        let Some(Ok(ticket)) = self.flights.errand(id).map(|errand| errand.ticket()) else {
            return failure;
        };
        let hops = ticket.hops() + 1;
        if hops > self.max_redirect {
            return match self.max_redirect {
                0 => failure,
                _ => refused("the server redirects too often"),
            };
        }
        let Some(location) = header(head, "location") else {
            return refused("the server redirects and does not say where to");
        };
        let Ok(location) = std::str::from_utf8(location.trim_ascii()) else {
            return refused("the server redirects to what is no URL");
        };
        let mut own = Vec::new();
        let (target, bare) = match ticket.address() {
            Address::Target(target) => (target, false),
            Address::Detour(detour) => (&*detour.target, detour.bare),
            Address::Name(name) => {
                if let Some(route) = &self.route {
                    route.render(name, &mut own);
                }
                (&own[..], false)
            }
        };
        let site = self.flights.cargo_at(id.index()).map_or(0, |flight| flight.site);
        let site = self.board.site(site);
        let from = site.key();
        // The target is what was sent: ASCII.
        let target = std::str::from_utf8(target).unwrap_or("/");
        let (origin, target) = match resolve(&from.origin, target, location) {
            Ok(resolved) => resolved,
            Err(_) => return refused("the server redirects to what is no URL"),
        };
        let allowed = self.sites.allows_insecure_redirect();
        if (from.origin.scheme, origin.scheme) == (Scheme::Https, Scheme::Http) && !allowed {
            return refused("the server redirects from https to http (--insecure-redirect)");
        }
        let (key, bare) = match origin == from.origin {
            true => (from.clone(), bare),
            false => {
                let named_by = NamedBy::Redirect { private: site.extra.private };
                (Key { origin, named_by }, true)
            }
        };
        let detour = Detour { target: target.into_bytes().into(), bare, hops };
        self.flights.cargo(id).extra = Some(Box::new(Extra::Hop((key, detour))));
        failure
    }
}
