//! `failures.jsonl` of an earlier run as a source: what failed there is fetched again.

use serde::Deserialize;
use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use windrow_model::Error;
use windrow_model::percent::{self, Keep};
use windrow_model::task::Names;
use windrow_model::url::Url;

/// Lines that are read at once: what a page is to a listing.
const PAGE_LINES: usize = 1000;

/// Bytes of one line, at most: a name of 64 KiB, encoded three ways, and some words.
const LINE_BYTES: u64 = 1 << 20;

/// What of a line matters here.
#[derive(Deserialize)]
struct Line<'l> {
    #[serde(borrow)]
    name: Cow<'l, str>,
    #[serde(borrow)]
    name_encoded: Option<Cow<'l, str>>,
    #[serde(borrow)]
    url: Cow<'l, str>,
}

impl Line<'_> {
    fn name(&self) -> Option<Cow<'_, [u8]>> {
        match &self.name_encoded {
            Some(encoded) => percent::decode(encoded.as_bytes()).map(Cow::Owned),
            None => Some(Cow::Borrowed(self.name.as_bytes())),
        }
    }
}

/// Where the objects of a file are: one server, and one path but for the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts {
    /// The server.
    pub url: Url,
    /// Path of an object, with `{name}` or `{+name}` where its name goes.
    pub get_path: String,
}

/// Learns from the first line of a file where its objects are. `get_path` is the user's, for
/// addresses whose secrets were cut.
///
/// # Errors
/// Not such a file, or its addresses lack what was cut.
pub fn whereabouts(path: &Path, get_path: Option<&str>) -> Result<Whereabouts, Error> {
    let shown = path.display().to_string();
    let mut list = FailedList::open(path, None, None)?;
    let mut line = Vec::new();
    if !list.line(&mut line)? {
        return Err(Error::usage(shown, "has no line: nothing failed"));
    }
    let wrong = |why: &str| {
        Error::usage(&shown, "not a list of failed objects").why(why).hint(
            "SOURCE is a server with a listing, as in http://localhost:8080, or the failures.jsonl \
             of an earlier run",
        )
    };
    let parsed: Line<'_> =
        serde_json::from_slice(&line).map_err(|error| wrong(&error.to_string()))?;
    let name = parsed.name().ok_or_else(|| wrong("the name is not well encoded"))?;
    let url = Url::parse(&parsed.url).map_err(wrong)?;
    let origin = Url { origin: url.origin, base: String::new(), query: None };
    let name = name.into_owned();
    if let Some(get_path) = get_path {
        return Ok(Whereabouts { url: origin, get_path: get_path.to_owned() });
    }
    if parsed.url.contains("=***") {
        return Err(Error::usage(shown, "its addresses have no secrets any more")
            .hint("say what they were: --get-path '/get/{name}?key=...'"));
    }
    // Only a name with a `/` tells the two forms apart: the first such decides.
    let mut told = form(&name, &parsed.url).ok_or_else(|| wrong("the address lacks the name"))?;
    let mut decided = name.contains(&b'/');
    while !decided && list.line(&mut line)? {
        let Ok(parsed) = serde_json::from_slice::<Line<'_>>(&line) else { continue };
        let Some(name) = parsed.name().filter(|name| name.contains(&b'/')) else { continue };
        told = form(&name, &parsed.url).ok_or_else(|| wrong("an address lacks its name"))?;
        decided = true;
    }
    Ok(Whereabouts { url: origin, get_path: told })
}

/// The path of an object with the place of its name marked.
fn form(name: &[u8], url: &str) -> Option<String> {
    let start = url.match_indices('/').nth(2).map_or(url.len(), |(at, _)| at);
    let path = &url[start..];
    [("{name}", Keep::UNRESERVED), ("{+name}", Keep::UNRESERVED_AND_SLASH)].iter().find_map(
        |(mark, keep)| {
            let mut encoded = Vec::new();
            percent::encode_into(name, keep, &mut encoded);
            let encoded = String::from_utf8_lossy(&encoded);
            let at = path.rfind(&*encoded).filter(|_| !encoded.is_empty())?;
            Some(format!("{}{mark}{}", &path[..at], &path[at + encoded.len()..]))
        },
    )
}

/// Reads the names of a file, some at a time.
#[derive(Debug)]
pub struct FailedList {
    path: PathBuf,
    file: BufReader<std::fs::File>,
    /// Bytes read so far.
    at: u64,
    /// What every address is to be, but for the name.
    pattern: Option<Pattern>,
}

/// What stands before and behind the name in an address.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// Scheme, host and path up to the name.
    pub before: String,
    /// What comes behind it.
    pub behind: String,
    /// How the name is written.
    pub keep: Keep,
}

impl FailedList {
    /// Opens a file, at a marker that [`FailedList::page`] gave.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(
        path: &Path,
        marker: Option<&str>,
        pattern: Option<Pattern>,
    ) -> Result<Self, Error> {
        let shown = path.display().to_string();
        let wrong = |why: io::Error| Error::environment(&shown, "cannot read").why(why);
        let mut file = std::fs::File::open(path).map_err(wrong)?;
        let at = match marker {
            None => 0,
            Some(marker) => {
                marker.parse().map_err(|_| Error::usage(&shown, "is not what it was"))?
            }
        };
        file.seek(SeekFrom::Start(at)).map_err(wrong)?;
        let file = BufReader::with_capacity(64 << 10, file);
        Ok(Self { path: path.to_owned(), file, at, pattern })
    }

    /// The next names, and the marker behind them if there are more.
    ///
    /// # Errors
    /// It cannot be read, or a line is not as it should be.
    pub fn page(&mut self) -> Result<(Names, Option<String>), Error> {
        let mut names = Names::default();
        let mut line = Vec::new();
        while names.len() < PAGE_LINES {
            let begin = self.at;
            if !self.line(&mut line)? {
                break;
            }
            let wrong = |why: String| {
                let subject = format!("{}, the line at byte {begin}", self.path.display());
                Error::usage(subject, "cannot be used").why(why)
            };
            let parsed: Line<'_> =
                serde_json::from_slice(&line).map_err(|error| wrong(error.to_string()))?;
            let name = parsed.name().ok_or_else(|| wrong("an odd name_encoded".into()))?;
            if let Some(pattern) = &self.pattern
                && !pattern.fits(&name, &parsed.url)
            {
                return Err(wrong("it is of another server or path than the first".into())
                    .hint("a run has one server: split the file"));
            }
            names.push(&name).map_err(|_| wrong("too many names".into()))?;
        }
        let more = self.file.fill_buf().map(|rest| !rest.is_empty());
        let more = more.map_err(|why| self.unreadable(why))?;
        Ok((names, more.then(|| self.at.to_string())))
    }

    /// Reads a line without its end; `false` at the end of the file.
    fn line(&mut self, line: &mut Vec<u8>) -> Result<bool, Error> {
        loop {
            line.clear();
            let mut limited = io::Read::take(&mut self.file, LINE_BYTES);
            let read = limited.read_until(b'\n', line);
            let read = read.map_err(|why| self.unreadable(why))?;
            self.at += read as u64;
            if read as u64 == LINE_BYTES {
                return Err(self.unreadable(io::Error::other("a line without end")));
            }
            if read == 0 {
                return Ok(false);
            }
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            if !line.is_empty() {
                return Ok(true);
            }
        }
    }

    fn unreadable(&self, why: io::Error) -> Error {
        Error::environment(self.path.display().to_string(), "cannot read").why(why)
    }
}

impl Pattern {
    fn fits(&self, name: &[u8], url: &str) -> bool {
        let mut expected = self.before.clone().into_bytes();
        percent::encode_into(name, &self.keep, &mut expected);
        expected.extend_from_slice(self.behind.as_bytes());
        expected == url.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(lines: &[&str]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines.join("\n")).unwrap();
        file
    }

    #[test]
    fn the_first_line_says_where() {
        for (name, url, expected) in [
            ("a b", "http://h:1/get/a%20b", Some("/get/{name}")),
            ("a/b", "http://h:1/x/a/b?v=1", Some("/x/{+name}?v=1")),
            ("a/b", "http://h:1/x/a%2Fb", Some("/x/{name}")),
            ("n", "http://h:1/get/m", None),
            ("n", "http://h:1/get/n?key=***", None),
        ] {
            let line = serde_json::json!({ "name": name, "url": url, "class": "server" });
            let file = file(&["", &line.to_string()]);
            let found = whereabouts(file.path(), None).ok().map(|found| found.get_path);
            assert_eq!(found.as_deref(), expected, "{url}");
        }
        assert!(whereabouts(file(&["http://h/x"]).path(), None).is_err());
        assert!(whereabouts(file(&[]).path(), None).is_err());
    }

    #[test]
    fn names_come_in_pages_that_can_be_entered_again() {
        let lines: Vec<_> = (0..2500)
            .map(|n| format!(r#"{{"name":"n{n}","url":"http://h/get/n{n}","attempts":6}}"#))
            .collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let file = file(&lines);
        let pattern = Pattern {
            before: "http://h/get/".into(),
            behind: String::new(),
            keep: Keep::UNRESERVED,
        };
        let (mut marker, mut seen) = (None, Vec::new());
        loop {
            let open = FailedList::open(file.path(), marker.as_deref(), Some(pattern.clone()));
            let (names, next) = open.unwrap().page().unwrap();
            seen.extend(names.iter().map(<[u8]>::to_vec));
            match next {
                Some(next) => marker = Some(next),
                None => break,
            }
        }
        assert_eq!(seen.len(), 2500);
        assert_eq!(seen[2499], b"n2499");
    }

    #[test]
    fn lines_of_other_servers_are_refused() {
        let file = file(&[
            r#"{"name":"a","url":"http://h/get/a"}"#,
            r#"{"name":"b","url":"http://other/get/b"}"#,
        ]);
        let pattern = Pattern {
            before: "http://h/get/".into(),
            behind: String::new(),
            keep: Keep::UNRESERVED,
        };
        let mut list = FailedList::open(file.path(), None, Some(pattern)).unwrap();
        let error = list.page().unwrap_err().to_string();
        assert!(error.contains("byte 36"), "{error}");
    }
}
