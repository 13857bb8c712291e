//! A file server that behaves, but for what a test says otherwise.

use super::{Request, Script, Step, http};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use windrow_model::percent;

/// The body that belongs to a name, unless a test gives another: from 0 to 2,047 bytes, different
/// for different names.
pub fn body_of(name: &[u8]) -> Vec<u8> {
    // FNV-1a.
    let hash = name.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    let mut body = format!("{hash:016x} ").into_bytes();
    body.extend_from_slice(&name[..name.len().min(64)]);
    body.into_iter().cycle().take((hash ^ (hash >> 43)) as usize % 2048).collect()
}

/// Names in one or more pages, each with [`body_of`] behind it.
///
/// Names may be any bytes; those that are not UTF-8 stand as they are in the JSON of a page.
#[derive(Debug, Clone)]
pub struct Site {
    names: Arc<Vec<Vec<u8>>>,
    known: Arc<HashSet<Vec<u8>>>,
    page: usize,
}

impl Site {
    /// A site of these names, on pages of 1,000.
    pub fn new<N: Into<Vec<u8>>>(names: impl IntoIterator<Item = N>) -> Self {
        let names: Vec<Vec<u8>> = names.into_iter().map(Into::into).collect();
        let known = names.iter().cloned().collect();
        Self { names: Arc::new(names), known: Arc::new(known), page: 1000 }
    }

    /// `count` names `n0`, `n1`, ...
    pub fn numbered(count: usize) -> Self {
        Self::new((0..count).map(|number| format!("n{number}")))
    }

    /// With pages of so many names.
    #[must_use]
    pub fn pages_of(self, page: usize) -> Self {
        Self { page, ..self }
    }

    /// What a run should store: name -> body.
    pub fn objects(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.known.iter().map(|name| (name.clone(), body_of(name))).collect()
    }

    /// Starts a server that behaves.
    pub fn start(&self) -> Script {
        self.start_but(|_, _| None)
    }

    /// Starts a server that behaves, except where `but` says what to do instead. It is given the
    /// request, and the name of the object if it is for one.
    pub fn start_but(
        &self,
        but: impl Fn(&Request, Option<&str>) -> Option<Vec<Step>> + Send + Sync + 'static,
    ) -> Script {
        let site = self.clone();
        Script::start(move |request| {
            let name = name_of(&request.target);
            let name = name.as_deref().map(String::from_utf8_lossy);
            but(request, name.as_deref()).unwrap_or_else(|| site.answer(request))
        })
    }

    /// What a server that behaves does.
    pub fn answer(&self, request: &Request) -> Vec<Step> {
        if let Some(name) = name_of(&request.target) {
            return match self.known.contains(&name) {
                true => http::send_ok(&body_of(&name)),
                false => http::send_status("404 Not Found"),
            };
        }
        let first = match request.target.strip_prefix("/list") {
            Some("") => Some(0),
            Some(rest) => rest.strip_prefix("?next-marker=").and_then(|page| page.parse().ok()),
            None => None,
        };
        let Some(first) = first else { return http::send_status("404 Not Found") };
        let end = self.names.len().min(first + self.page);
        let marker = (end < self.names.len()).then(|| end.to_string());
        let names = self.names.get(first..end).unwrap_or_default();
        http::send_ok(&http::page_of_bytes(names, marker.as_deref()))
    }
}

/// The object's name in a target, decoded.
fn name_of(target: &str) -> Option<Vec<u8>> {
    let name = target.strip_prefix("/get/")?;
    Some(percent::decode(name.as_bytes()).expect("a target is percent-encoded"))
}
