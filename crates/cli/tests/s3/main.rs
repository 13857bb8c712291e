//! Presigned URLs against a server that verifies them (s3s-fs), in a binary of its own: its
//! dependencies are many.

#[path = "../it/support.rs"]
#[allow(dead_code, reason = "shared with the other tests of the command")]
mod support;

mod server;
mod sign;

mod buckets;
mod fetched;
mod inventory;
mod listing;
mod moto;
mod pipeline;
mod refused;
mod styles;
mod throttled;
mod written;

use server::{ACCESS_KEY, Server, TOKEN};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use support::{Objects, Place};
use windrow_testkit::{Finished, Tree, Windrow};

/// A folder with a list, and a call that fetches it.
struct Job {
    place: Place,
    urls: Vec<String>,
}

impl Job {
    fn new(urls: Vec<String>) -> Self {
        Self { place: Place::new(), urls }
    }

    /// Another list for the same destination.
    fn with(self, urls: Vec<String>) -> Self {
        Self { urls, ..self }
    }

    fn list(&self) -> PathBuf {
        let path = self.place.at("urls.txt");
        std::fs::write(&path, self.urls.join("\n")).expect("a list");
        path
    }

    /// `windrow get LIST`, with everything said that can be.
    fn get(&self) -> Windrow {
        self.place.get(self.list().to_str().expect("a path of UTF-8")).arg("-v")
    }

    /// Asserts that nothing that is secret was written or said.
    fn keeps_secrets(&self, done: &Finished) {
        const DIGITS: usize = 16;
        let signature = |url: &String| {
            let at = url.rfind("X-Amz-Signature=").expect("a signed URL") + 16;
            url.as_bytes()[at..at + DIGITS].to_vec()
        };
        let signatures: HashSet<Vec<u8>> = self.urls.iter().map(signature).collect();
        let encoded = sign::uri_encode(TOKEN, true);
        let words = [ACCESS_KEY, TOKEN, encoded.as_str(), "canary"];
        let check = |place: &str, bytes: &[u8]| {
            for word in words {
                let found = bytes.windows(word.len()).any(|part| part == word.as_bytes());
                assert!(!found, "{word} in {place}");
            }
            let found = bytes.windows(DIGITS).any(|part| signatures.contains(part));
            assert!(!found, "a signature in {place}");
        };
        check("stderr", done.stderr.as_bytes());
        check("stdout", done.stdout.as_bytes());
        for (path, bytes) in Tree::read(done.dest.as_ref().expect("a destination")).0 {
            check(&path.display().to_string(), &bytes);
        }
    }
}

/// What is to be stored: body by name.
fn objects<'o>(
    server: &Server,
    bodies: impl IntoIterator<Item = (&'o String, &'o Vec<u8>)>,
) -> Objects {
    bodies.into_iter().map(|(key, body)| (server.name(key), body.clone())).collect()
}

/// Keys that servers, paths and signatures have opinions of.
const ODD_KEYS: [&str; 17] = [
    "a space",
    "two  spaces/and a/ path",
    "plus+plus",
    "100%",
    "%41 is not A",
    "%2F is no slash",
    "%2E%2E is no step",
    "Grüße/Ünïcode ☃",
    "日本語.txt",
    "equals=and&amp?question#hash",
    "tilde~dot.dash-under_score",
    "quotes'\"`<>[]{}|\\^",
    "comma,semi;colon:at@dollar$bang!star*(paren)",
    "..hidden/.dots",
    "con/aux/nul",
    "UPPER and lower",
    "upper and lower",
];

/// Uploads an object under each of them: body by key.
fn upload_odd(server: &Server) -> BTreeMap<String, Vec<u8>> {
    let one = |&key: &&str| {
        let body = format!("this is {key}").into_bytes();
        server.upload(key, &body);
        (key.to_owned(), body)
    };
    ODD_KEYS.iter().map(one).collect()
}
