//! `--redirect SPEC`: objects that are elsewhere. The grammar is told in docs/FAULTS.md.
//!
//! The way to an object leads over `/r1/get/NAME`, `/r2/get/NAME` and so on. Where a request
//! stands is in its path, so that the server remembers nothing.

use std::fmt;
use std::str::FromStr;

/// Most hops that can be asked for.
const MAX_HOPS: u32 = 1000;

/// Where a server sends those who ask for an object; read from text such as `2` or
/// `to=http://127.0.0.1:8081,status=307`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    text: String,
    way: Way,
    to: Option<String>,
    status: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Hops(u32),
    /// There and back, for ever.
    Loop,
}

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Leads {
    /// To the object of this path.
    Here,
    /// To another place, with this status.
    On {
        status: &'static str,
        location: Vec<u8>,
    },
    Nowhere,
}

impl FromStr for Redirect {
    type Err = String;

    /// # Errors
    /// A text that begins with the piece that is wrong.
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut way, mut to, mut status) = (None, None, None);
        for piece in text.split(',').map(str::trim) {
            let why = |why: &str| Err(format!("`{piece}`: {why}"));
            let again = match piece.split_once('=') {
                Some(("to", base))
                    if base.starts_with("http://") || base.starts_with("https://") =>
                {
                    let plain = base.bytes().all(|byte| byte.is_ascii_graphic());
                    if !plain {
                        return why("a URL has printable characters of ASCII only");
                    }
                    to.replace(base.trim_end_matches('/').to_owned()).is_some()
                }
                Some(("to", _)) => return why("a URL begins with http:// or https://"),
                Some(("status", code)) => match code.parse() {
                    Ok(code) if line(code).is_some() => status.replace(code).is_some(),
                    _ => return why("a status to redirect with is 301, 302, 303, 307 or 308"),
                },
                None if piece == "loop" => way.replace(Way::Loop).is_some(),
                _ => match piece.parse() {
                    Ok(hops) if (1..=MAX_HOPS).contains(&hops) && !piece.starts_with('+') => {
                        way.replace(Way::Hops(hops)).is_some()
                    }
                    _ => {
                        return why(
                            "redirects are a number of hops up to 1000, loop, to=URL, status=CODE",
                        );
                    }
                },
            };
            if again {
                return why("given twice");
            }
        }
        if way == Some(Way::Loop) && to.is_some() {
            return Err("`loop`: what leads to another server leads in no circle".into());
        }
        if way.is_none() && to.is_none() {
            return Err(format!("`{text}`: say how many hops, or loop, or to=URL"));
        }
        let (way, status) = (way.unwrap_or(Way::Hops(1)), status.unwrap_or(302));
        Ok(Self { text: text.to_owned(), way, to, status })
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Redirect {
    /// Where a target leads of which [`behind_hops`] found this many hops and this rest.
    pub(crate) fn leads(&self, hops: u32, rest: &[u8]) -> Leads {
        let status = line(self.status).unwrap_or("302 Found");
        let location = match (self.way, &self.to) {
            (Way::Loop, _) if hops > 1 => return Leads::Nowhere,
            (Way::Loop, _) if hops == 1 => rest.to_vec(),
            (Way::Loop, _) => [b"/r1", rest].concat(),
            // The last hop is the one to the other server.
            (Way::Hops(last), Some(base)) if hops + 1 == last => [base.as_bytes(), rest].concat(),
            (Way::Hops(last), None) if hops == last => return Leads::Here,
            (Way::Hops(last), _) if hops >= last => return Leads::Nowhere,
            _ => [format!("/r{}", hops + 1).as_bytes(), rest].concat(),
        };
        Leads::On { status, location }
    }
}

/// How many hops a target is away from its beginning, and the target without them:
/// `/r2/get/a` is 2 and `/get/a`. `None` if it is neither an object nor on the way to one.
pub(crate) fn behind_hops(target: &[u8]) -> Option<(u32, &[u8])> {
    if target.starts_with(b"/get/") {
        return Some((0, target));
    }
    let rest = target.strip_prefix(b"/r")?;
    let slash = memchr::memchr(b'/', rest)?;
    let (digits, rest) = rest.split_at(slash);
    let canonical = digits.iter().all(u8::is_ascii_digit) && digits.first() != Some(&b'0');
    let hops: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (canonical && hops <= MAX_HOPS && rest.starts_with(b"/get/")).then_some((hops, rest))
}

fn line(status: u16) -> Option<&'static str> {
    Some(match status {
        301 => "301 Moved Permanently",
        302 => "302 Found",
        303 => "303 See Other",
        307 => "307 Temporary Redirect",
        308 => "308 Permanent Redirect",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Redirect {
        text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    /// The targets on the way, and what is at its end.
    fn way(spec: &str) -> (Vec<String>, Leads) {
        let redirect = read(spec);
        let mut passed = Vec::new();
        let mut target = b"/get/a?b".to_vec();
        loop {
            let Some((hops, rest)) = behind_hops(&target) else { return (passed, Leads::Nowhere) };
            match redirect.leads(hops, rest) {
                Leads::On { location, .. } if passed.len() < 9 => {
                    passed.push(String::from_utf8(location.clone()).unwrap());
                    target = location;
                }
                end => return (passed, end),
            }
        }
    }

    #[test]
    fn the_way_is_as_long_as_was_asked_for() {
        for (spec, passed) in [
            ("1", &["/r1/get/a?b"][..]),
            ("3,status=308", &["/r1/get/a?b", "/r2/get/a?b", "/r3/get/a?b"]),
        ] {
            let (found, end) = way(spec);
            assert_eq!(
                (&found[..], end),
                (&passed.iter().map(|s| s.to_string()).collect::<Vec<_>>()[..], Leads::Here)
            );
        }
        let (passed, _) = way("to=http://h:1/x/");
        assert_eq!(passed, ["http://h:1/x/get/a?b"]);
        let (passed, _) = way("2,to=https://h");
        assert_eq!(passed, ["/r1/get/a?b", "https://h/get/a?b"]);
        let (passed, _) = way("loop");
        assert_eq!((passed.len(), &*passed[0], &*passed[1]), (9, "/r1/get/a?b", "/get/a?b"));
    }

    #[test]
    fn other_paths_lead_nowhere() {
        for target in [
            "/list",
            "/r/get/a",
            "/r0/get/a",
            "/r01/get/a",
            "/r1001/get/a",
            "/r-1/get/a",
            "/r+1/get/a",
            "/r1/list",
            "/r1get/a",
            "/r99999999999/get/a",
        ] {
            assert_eq!(behind_hops(target.as_bytes()), None, "{target}");
        }
        for (spec, hops) in [("2", 3), ("loop", 2), ("to=http://h", 1)] {
            assert_eq!(read(spec).leads(hops, b"/get/a"), Leads::Nowhere, "{spec}");
        }
    }

    #[test]
    fn a_wrong_piece_is_named_with_what_would_be_right() {
        for (text, piece, says) in [
            ("", "``", "a number of hops"),
            ("0", "`0`", "up to 1000"),
            ("1001", "`1001`", "up to 1000"),
            ("+1", "`+1`", "up to 1000"),
            ("loops", "`loops`", "loop"),
            ("status=301", "`status=301`", "how many hops"),
            ("1,status=300", "`status=300`", "301, 302"),
            ("to=h:80", "`to=h:80`", "http://"),
            ("to=http://h h", "`to=http://h h`", "ASCII"),
            ("1,2", "`2`", "twice"),
            ("loop,to=http://h", "`loop`", "no circle"),
        ] {
            let why = text.parse::<Redirect>().expect_err(text);
            assert!(why.starts_with(&format!("{piece}: ")) && why.contains(says), "{text}: {why}");
        }
        assert_eq!(read("2, status=301").to_string(), "2, status=301");
    }
}
