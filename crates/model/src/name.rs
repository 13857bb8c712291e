//! From an object's name to the path under which it is stored, and back.
//!
//! Names are the server's and hostile until proven otherwise; a stored path never leaves the
//! destination, two names never share one path, and every path leads back to its name. The rule
//! (docs/SEMANTICS.md has it with examples):
//!
//! - A name is cut at every `/` into components: all but the last are directories, the last is a
//!   file.
//! - A *plain* component is stored as it is.
//! - Any other is stored as `%=` (a file) or `%@` (a directory) and its bytes, all but letters,
//!   digits, `-`, `_` and `~` as `%XX`. Not plain are: the empty component, `.` and `..`; one with
//!   a control character (0-31, 127-159) or with bytes that are not UTF-8; one longer than 255 bytes;
//!   one that begins with `%=`, `%@` or `%+`; and, as the first of a name, `.windrow` in any case.
//! - What is still longer than 255 bytes when encoded is cut into several components, of which
//!   every one but the last begins with `%+`.
//!
//! A plain component may be stored in its encoded form too: that is how a file `a` finds its place
//! beside `a/b`. As the marks of files and directories differ, that second place is always free.
//! Reading back does not care which form was chosen.

use crate::percent::{self, Keep};

/// Longest component that file systems take (`NAME_MAX` of Linux), in bytes.
pub const COMPONENT_BYTES: usize = 255;

/// Directory of windrow's own state at a destination; no object is stored there.
pub const STATE_DIR: &str = ".windrow";

/// What a component is at its place in a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The last of its name.
    File,
    /// Any other.
    Directory,
}

impl Kind {
    fn mark(self) -> &'static [u8] {
        match self {
            Self::File => b"%=",
            Self::Directory => b"%@",
        }
    }
}

const CONTINUED: &[u8] = b"%+";

/// An encoded component holds no dot, so no cut of it can read as `.` or `..`.
const KEEP: Keep = Keep::letters_digits_and(b"-_~");

/// Appends the stored path of `name` to `out`; its components are separated by `/`.
pub fn to_path(name: &[u8], out: &mut Vec<u8>) {
    let mut components = name.split(|&b| b == b'/').peekable();
    let mut first = true;
    while let Some(component) = components.next() {
        let kind = if components.peek().is_some() { Kind::Directory } else { Kind::File };
        if is_plain(component, first) {
            out.extend_from_slice(component);
        } else {
            encode_component(component, kind, out);
        }
        if kind == Kind::Directory {
            out.push(b'/');
        }
        first = false;
    }
}

/// Appends the encoded form of one component to `out`: its other place, when the plain one is
/// taken by a file where a directory is needed, or the reverse.
pub fn encode_component(component: &[u8], kind: Kind, out: &mut Vec<u8>) {
    let mut stored = kind.mark().to_vec();
    percent::encode_into(component, &KEEP, &mut stored);
    let mut rest = stored.as_slice();
    while rest.len() > COMPONENT_BYTES {
        let (piece, tail) = rest.split_at(COMPONENT_BYTES - CONTINUED.len());
        out.extend_from_slice(CONTINUED);
        out.extend_from_slice(piece);
        out.push(b'/');
        rest = tail;
    }
    out.extend_from_slice(rest);
}

/// The name that a stored path stands for; `None` if windrow stores nothing under that path.
pub fn from_path(path: &[u8]) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(path.len());
    let mut continued: Vec<u8> = Vec::new();
    let mut first = true;
    let mut pieces = path.split(|&b| b == b'/').peekable();
    while let Some(piece) = pieces.next() {
        if let Some(piece) = piece.strip_prefix(CONTINUED) {
            continued.extend_from_slice(piece);
            // The rest of the component is still to come.
            pieces.peek()?;
            continue;
        }
        let kind = if pieces.peek().is_some() { Kind::Directory } else { Kind::File };
        if piece.is_empty() {
            return None;
        }
        if !continued.is_empty() {
            continued.extend_from_slice(piece);
            name.extend(percent::decode(continued.strip_prefix(kind.mark())?)?);
            continued.clear();
        } else if let Some(encoded) = piece.strip_prefix(kind.mark()) {
            name.extend(percent::decode(encoded)?);
        } else if is_plain(piece, first) {
            name.extend_from_slice(piece);
        } else {
            return None;
        }
        if kind == Kind::Directory {
            name.push(b'/');
        }
        first = false;
    }
    Some(name)
}

/// Whether a component, the `first` of its name or a later one, is stored as it is.
pub fn is_plain(component: &[u8], first: bool) -> bool {
    // Most names are plain ASCII that neither begin with a dot nor with a percent sign.
    match component.first() {
        None => return false,
        Some(b'%') if matches!(component.get(1), Some(b'=' | b'@' | b'+')) => return false,
        Some(b'.')
            if component == b"."
                || component == b".."
                || (first && component.eq_ignore_ascii_case(STATE_DIR.as_bytes())) =>
        {
            return false;
        }
        _ => {}
    }
    component.len() <= COMPONENT_BYTES
        && match classes(component) {
            (true, _) => false,
            (false, false) => true,
            (false, true) => is_harmless_utf8(component),
        }
}

/// Whether there are control characters among these bytes, and whether there are others than ASCII. Looks at
/// every one without a branch: for names of ten bytes that takes a third of the time.
fn classes(bytes: &[u8]) -> (bool, bool) {
    bytes.iter().fold((false, false), |(control, foreign), &byte| {
        (control | (byte < b' ') | (byte == 0x7F), foreign | (byte >= 0x80))
    })
}

/// UTF-8 without the control characters that have two bytes: terminals take U+009B for ESC `[`.
fn is_harmless_utf8(component: &[u8]) -> bool {
    std::str::from_utf8(component).is_ok_and(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn stored(name: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        to_path(name, &mut out);
        out
    }

    fn assert_safe(path: &[u8]) {
        for (index, component) in path.split(|&b| b == b'/').enumerate() {
            assert!(!component.is_empty() && component != b"." && component != b"..");
            assert!(component.len() <= COMPONENT_BYTES);
            let text = std::str::from_utf8(component).unwrap();
            assert!(!text.chars().any(char::is_control));
            assert!(index > 0 || !component.eq_ignore_ascii_case(b".windrow"));
        }
    }

    #[test]
    fn ordinary_names_are_stored_as_they_are() {
        for name in [
            "a",
            "a.txt",
            "a/b/c.jpg",
            "100%.txt",
            "a%20b",
            "x%=y",
            "ünï cödé/日本語",
            "-rf",
            "~",
            "...",
            ".hidden",
            "a\\b",
            "C:",
            "con",
            "a/.windrow/b",
            "trailing ",
            "trailing.",
            "'\"$`|",
        ] {
            assert_eq!(stored(name.as_bytes()), name.as_bytes(), "{name}");
            assert_eq!(from_path(name.as_bytes()).unwrap(), name.as_bytes(), "{name}");
        }
    }

    #[test]
    fn dangerous_names_are_encoded() {
        for (name, path) in [
            (&b""[..], "%="),
            (b"..", "%=%2E%2E"),
            (b".", "%=%2E"),
            (b"../../etc/passwd", "%@%2E%2E/%@%2E%2E/etc/passwd"),
            (b"/etc/passwd", "%@/etc/passwd"),
            (b"dir/", "dir/%="),
            (b"a//b", "a/%@/b"),
            (b"nul\0", "%=nul%00"),
            (b"\x1b[2J", "%=%1B%5B2J"),
            ("\u{9b}2J".as_bytes(), "%=%C2%9B2J"),
            ("next\u{85}line/x".as_bytes(), "%@next%C2%85line/x"),
            (b"line\nline", "%=line%0Aline"),
            (b"\xff", "%=%FF"),
            (b"%=x", "%=%25%3Dx"),
            (b"%+x", "%=%25%2Bx"),
            (b".windrow/summary.json", "%@%2Ewindrow/summary.json"),
            (b"%@x", "%=%25%40x"),
            (b".WINDROW", "%=%2EWINDROW"),
        ] {
            assert_eq!(String::from_utf8(stored(name)).unwrap(), path);
            assert_eq!(from_path(path.as_bytes()).unwrap(), name);
        }
    }

    #[test]
    fn long_names_are_cut_and_come_back() {
        for len in [255, 256, 260, 700, 10_000] {
            for unit in ["a", "é", "%", "."] {
                let name = unit.repeat(len);
                let path = stored(name.as_bytes());
                assert_safe(&path);
                assert_eq!(from_path(&path).unwrap(), name.as_bytes(), "{unit} x {len}");
            }
        }
        assert_eq!(stored(&[b'a'; 255]), [b'a'; 255]);
    }

    #[test]
    fn what_windrow_never_stores_has_no_name() {
        for path in [
            "", "..", "a//b", "a/", ".windrow", "%+a", "%+a/b", "%=%4", "a
b", "%+%=a/", "%=a/b",
            "a/%@b",
        ] {
            assert_eq!(from_path(path.as_bytes()), None, "{path}");
        }
    }

    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"..".to_vec()),
            Just(b".".to_vec()),
            Just(b"/".to_vec()),
            Just(b"%=".to_vec()),
            Just(b"%+".to_vec()),
            Just(b"%@".to_vec()),
            Just(b".windrow".to_vec()),
            Just(vec![b'x'; 254]),
            Just("é".as_bytes().to_vec()),
            Just("\u{9b}".as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_name_is_safe_and_comes_back(name in hostile()) {
            let path = stored(&name);
            assert_safe(&path);
            prop_assert_eq!(from_path(&path), Some(name.clone()));
            // The other form of each component, too.
            let mut other = Vec::new();
            let last = name.iter().filter(|&&b| b == b'/').count();
            for (index, component) in name.split(|&b| b == b'/').enumerate() {
                if index > 0 { other.push(b'/'); }
                let kind = if index == last { Kind::File } else { Kind::Directory };
                encode_component(component, kind, &mut other);
            }
            assert_safe(&other);
            prop_assert_eq!(from_path(&other), Some(name));
        }

        #[test]
        fn two_names_never_share_a_path(names in prop::collection::vec(hostile(), 2..40)) {
            let mut seen: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
            for name in names {
                if let Some(earlier) = seen.insert(stored(&name), name.clone()) {
                    prop_assert_eq!(earlier, name);
                }
            }
        }
    }
}
