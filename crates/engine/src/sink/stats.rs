//! What is written beside each pack: the statistics that users of img2dataset look at, under the
//! names and with the fields that they have there (`00000_stats.json`).

use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};
use windrow_model::FailedObject;

/// What a core did while a pack was open.
#[derive(Debug)]
pub(super) struct Stats {
    /// All of the pack is known here.
    pub(super) whole: bool,
    began: SystemTime,
    stored: u64,
    bytes: u64,
    /// Failures, by status or class.
    failed: BTreeMap<String, u64>,
}

impl Default for Stats {
    fn default() -> Self {
        let (stored, bytes, failed) = (0, 0, BTreeMap::new());
        Self { whole: false, began: UNIX_EPOCH, stored, bytes, failed }
    }
}

#[derive(Serialize)]
struct File<'a> {
    count: u64,
    successes: u64,
    failed_to_download: u64,
    failed_to_resize: u64,
    duration: f64,
    bytes_downloaded: u64,
    start_time: f64,
    end_time: f64,
    status_dict: BTreeMap<&'a str, u64>,
}

impl Stats {
    /// Of a pack that is begun now; `whole` is false if an earlier process began it.
    pub(super) fn new(whole: bool) -> Self {
        Self { whole, began: SystemTime::now(), ..Self::default() }
    }

    #[inline]
    pub(super) fn stored(&mut self, bytes: u64) {
        self.stored += 1;
        self.bytes += bytes;
    }

    pub(super) fn failed(&mut self, failed: FailedObject) {
        let what = match failed.status {
            0 => failed.class.name().to_owned(),
            status => format!("HTTP {status}"),
        };
        *self.failed.entry(what).or_default() += 1;
    }

    /// The file.
    pub(super) fn json(&self) -> Vec<u8> {
        let seconds = |time: SystemTime| {
            time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
        };
        let failed: u64 = self.failed.values().sum();
        let mut status_dict: BTreeMap<_, _> =
            self.failed.iter().map(|(what, count)| (what.as_str(), *count)).collect();
        status_dict.insert("success", self.stored);
        let (start_time, end_time) = (seconds(self.began), seconds(SystemTime::now()));
        let file = File {
            count: self.stored + failed,
            successes: self.stored,
            failed_to_download: failed,
            failed_to_resize: 0,
            duration: end_time - start_time,
            bytes_downloaded: self.bytes,
            start_time,
            end_time,
            status_dict,
        };
        serde_json::to_vec_pretty(&file).unwrap_or_default()
    }
}
