//! What a list is, as runs are told apart by; and its markers, for those who count.

use super::marker::Mark;
use super::{ListSpec, Naming};
use windrow_model::Error;

impl ListSpec {
    /// Whether it can be read only once: standard input, or a pipe.
    pub fn is_stream(&self) -> bool {
        let once = |path: &std::path::PathBuf| {
            path.as_os_str() == "-" || !(path.is_file() || path.is_dir())
        };
        self.inputs.iter().any(once)
    }

    /// How many objects of the list stand before a marker.
    ///
    /// # Errors
    /// It is no marker of a list.
    pub fn position(&self, marker: &str) -> Result<u64, Error> {
        let sampled = marker.strip_prefix("s1:").and_then(|index| index.parse().ok());
        let position = sampled.or_else(|| Mark::parse(marker).map(|mark| mark.position));
        position.ok_or_else(|| Error::usage("list", "cannot go on").why("an odd marker"))
    }

    /// What decides which objects there are, beside the list itself, and their names.
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        let naming = match self.naming {
            Naming::Url => "url",
            Naming::Ordinal => "ordinal",
        };
        let sample = self.sample.map(|sample| format!("{} of {}", sample.count, sample.seed));
        let mut all = vec![("name", naming.to_owned())];
        let rest = [
            ("url-col", self.url_col.clone()),
            ("name-col", self.name_col.clone()),
            ("sample", sample),
        ];
        all.extend(rest.into_iter().filter_map(|(key, value)| Some((key, value?))));
        all
    }
}
