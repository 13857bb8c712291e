//! Which objects of a bucket are wanted: by key, size and age.
//!
//! What is not is not there: it is neither listed nor counted. That costs nothing but the look at it,
//! however many there are.

use super::page::Page;
use crate::glob::Glob;
use std::fmt;
use windrow_model::limits::FILTER_GLOBS;

/// What an object has to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these patterns fits the key behind the prefix, unless there are none.
    include: Vec<Pattern>,
    /// And none of these.
    exclude: Vec<Pattern>,
    /// Bytes, at least.
    pub least: Option<u64>,
    /// Bytes, at most.
    pub most: Option<u64>,
    /// Written then or later.
    pub newer_than: Option<Moment>,
    /// Written before.
    pub older_than: Option<Moment>,
}

/// A pattern, and how it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    text: String,
    glob: Glob,
}

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Seconds since 1970.
    At(u64),
    /// Seconds before the run began.
    Ago(u64),
}

impl Moment {
    fn unix(self, began: u64) -> u64 {
        match self {
            Self::At(moment) => moment,
            Self::Ago(seconds) => began.saturating_sub(seconds),
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(moment) => write!(f, "{moment}"),
            Self::Ago(seconds) => write!(f, "{seconds}s ago"),
        }
    }
}

impl Filter {
    /// Only keys that one of these patterns fits, and none of those.
    ///
    /// # Errors
    /// A pattern that is none, or too many.
    pub fn keys(mut self, include: &[String], exclude: &[String]) -> Result<Self, String> {
        for (patterns, texts) in [(&mut self.include, include), (&mut self.exclude, exclude)] {
            if texts.len() > FILTER_GLOBS {
                return Err(format!("more than {FILTER_GLOBS} patterns"));
            }
            for text in texts {
                let glob = Glob::new(text.as_bytes());
                let glob =
                    glob.ok_or_else(|| format!("`{text}` is no pattern: a `[` has no end"))?;
                patterns.push(Pattern { text: text.clone(), glob });
            }
        }
        Ok(self)
    }

    /// Whether it lets everything pass.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether what it lets pass depends on when the run began.
    pub fn has_ages(&self) -> bool {
        let moments = [self.newer_than, self.older_than];
        moments.iter().flatten().any(|moment| matches!(moment, Moment::Ago(_)))
    }

    /// Takes out of a page what is not wanted; says how much. Keys are looked at behind their first
    /// `prefix` bytes; `began` is when the run began, in seconds since 1970.
    pub fn apply(&self, page: &mut Page, prefix: usize, began: u64) -> u64 {
        if self.is_empty() {
            return 0;
        }
        let before = page.keys.len();
        let newer = self.newer_than.map(|moment| moment.unix(began));
        let older = self.older_than.map(|moment| moment.unix(began));
        page.retain(|page, index| {
            let size = page.listed.get(index).map_or(u64::MAX, |listed| listed.size);
            let modified = page.modified.get(index).copied().unwrap_or(0);
            // What is not known keeps nothing out.
            let sized = size == u64::MAX
                || self.least.is_none_or(|least| size >= least)
                    && self.most.is_none_or(|most| size <= most);
            let timed = modified == 0
                || newer.is_none_or(|newer| modified >= newer)
                    && older.is_none_or(|older| modified < older);
            sized && timed && self.wants(page.keys.get(index).unwrap_or_default(), prefix)
        });
        (before - page.keys.len()) as u64
    }

    fn wants(&self, key: &[u8], prefix: usize) -> bool {
        let rest = key.get(prefix..).unwrap_or_default();
        let fits = |pattern: &Pattern| pattern.glob.matches(rest);
        (self.include.is_empty() || self.include.iter().any(fits)) && !self.exclude.iter().any(fits)
    }
}

/// What makes runs with other filters other runs.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (what, patterns) in [("include", &self.include), ("exclude", &self.exclude)] {
            parts.extend(patterns.iter().map(|pattern| format!("{what} {:?}", pattern.text)));
        }
        let mut add = |what: &str, value: Option<String>| {
            parts.extend(value.map(|value| format!("{what} {value}")));
        };
        add("bytes at least", self.least.map(|bytes| bytes.to_string()));
        add("bytes at most", self.most.map(|bytes| bytes.to_string()));
        add("newer than", self.newer_than.map(|moment| moment.to_string()));
        add("older than", self.older_than.map(|moment| moment.to_string()));
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windrow_model::task::Listed;

    fn page() -> Page {
        let mut page = Page::default();
        for (index, key) in ["p/a.jpg", "p/b.png", "p/sub/c.jpg", "p/d.txt"].iter().enumerate() {
            page.keys.push(key.as_bytes()).unwrap();
            page.listed.push(Listed { size: 100 * index as u64, ..Listed::default() });
            page.modified.push(1000 + 10 * index as u64);
        }
        page
    }

    fn passed(filter: &Filter, began: u64) -> String {
        let mut page = page();
        let out = filter.apply(&mut page, 2, began);
        assert_eq!(out as usize + page.keys.len(), 4);
        assert!(page.listed.len() == page.keys.len() && page.modified.len() == page.keys.len());
        let last = |key: &[u8]| key[key.len() - 5] as char;
        page.keys.iter().map(last).collect()
    }

    #[test]
    fn objects_are_wanted_or_not() {
        let keys = |include: &[&str], exclude: &[&str]| {
            let owned =
                |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
            Filter::default().keys(&owned(include), &owned(exclude)).unwrap()
        };
        assert_eq!(passed(&Filter::default(), 0), "abcd");
        assert_eq!(passed(&keys(&["*.jpg"], &[]), 0), "ac");
        assert_eq!(passed(&keys(&["*.jpg", "d*"], &[]), 0), "acd");
        assert_eq!(passed(&keys(&[], &["sub/*"]), 0), "abd");
        assert_eq!(passed(&keys(&["*.jpg"], &["sub/*"]), 0), "a");
        assert_eq!(passed(&keys(&["p/*"], &[]), 0), "");
        let filter = |least, most, newer_than, older_than| Filter {
            least,
            most,
            newer_than,
            older_than,
            ..Filter::default()
        };
        assert_eq!(passed(&filter(Some(100), None, None, None), 0), "bcd");
        assert_eq!(passed(&filter(Some(100), Some(200), None, None), 0), "bc");
        assert_eq!(passed(&filter(None, None, Some(Moment::At(1010)), None), 0), "bcd");
        assert_eq!(passed(&filter(None, None, None, Some(Moment::At(1010))), 0), "a");
        assert_eq!(passed(&filter(None, None, Some(Moment::Ago(20)), None), 1040), "cd");
        assert!(filter(None, None, Some(Moment::Ago(20)), None).has_ages());
        assert!(Filter::default().keys(&["[".to_owned()], &[]).is_err());
        let both = keys(&["a"], &["b"]);
        assert_eq!(both.to_string(), "include \"a\", exclude \"b\"");
        assert!(!both.is_empty() && Filter::default().is_empty());
    }
}
