//! Patterns of names.

/// A pattern: `*` stands for any number of bytes, `/` among them, as in tar and the tools of S3;
/// `?` for one character; `[abc]`, `[a-z]` and `[!a-z]` for one ASCII character; `\` takes the meaning
/// from the next. It must fit the whole name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<Token>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Byte(u8),
    One,
    Class { not: bool, ranges: Vec<(u8, u8)> },
    Any,
}

impl Glob {
    /// Reads a pattern; `None` where a `[` has no end.
    pub fn new(pattern: &[u8]) -> Option<Self> {
        let (mut tokens, mut rest) = (Vec::new(), pattern);
        while let Some((&byte, behind)) = rest.split_first() {
            rest = behind;
            tokens.push(match byte {
                // Several stand for no more than one, and would be tried much longer.
                b'*' if tokens.last() == Some(&Token::Any) => continue,
                b'*' => Token::Any,
                b'?' => Token::One,
                b'[' => class(&mut rest)?,
                b'\\' => match rest.split_first() {
                    Some((&byte, behind)) => {
                        rest = behind;
                        Token::Byte(byte)
                    }
                    None => Token::Byte(b'\\'),
                },
                byte => Token::Byte(byte),
            });
        }
        Some(Self(tokens))
    }

    /// Whether a name fits. Takes time by the length of the name times that of the pattern at most.
    pub fn matches(&self, name: &[u8]) -> bool {
        let (mut token, mut at) = (0, 0);
        // Where to go on when nothing fits: behind the last star, one byte further.
        let mut again = None;
        loop {
            let step = match self.0.get(token) {
                Some(Token::Any) => {
                    again = Some((token + 1, at));
                    token += 1;
                    continue;
                }
                Some(one) => one.fits(&name[at..]),
                None if at == name.len() => return true,
                None => None,
            };
            match (step, again) {
                (Some(bytes), _) => (token, at) = (token + 1, at + bytes),
                (None, Some((behind, from))) if from < name.len() => {
                    (token, at) = (behind, from + 1);
                    again = Some((behind, from + 1));
                }
                _ => return false,
            }
        }
    }
}

impl Token {
    /// Bytes that fit at the front.
    fn fits(&self, name: &[u8]) -> Option<usize> {
        let first = *name.first()?;
        match self {
            Self::Byte(byte) => (first == *byte).then_some(1),
            Self::One => {
                let chunk = name[..name.len().min(4)].utf8_chunks().next()?;
                Some(chunk.valid().chars().next().map_or(1, char::len_utf8))
            }
            Self::Class { not, ranges } => {
                let within = ranges.iter().any(|&(from, to)| (from..=to).contains(&first));
                (within != *not).then_some(1)
            }
            Self::Any => None,
        }
    }
}

/// Reads a class whose `[` is behind.
fn class(rest: &mut &[u8]) -> Option<Token> {
    let not = matches!(rest.first(), Some(b'!' | b'^'));
    let body = &rest[usize::from(not)..];
    // One that comes first is no end.
    let end = 1 + memchr::memchr(b']', body.get(1..)?)?;
    let (mut inner, mut ranges) = (&body[..end], Vec::new());
    while let Some((&from, behind)) = inner.split_first() {
        match behind {
            [b'-', to, behind @ ..] => {
                ranges.push((from, *to));
                inner = behind;
            }
            _ => {
                ranges.push((from, from));
                inner = behind;
            }
        }
    }
    *rest = &body[end + 1..];
    Some(Token::Class { not, ranges })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_fit_or_do_not() {
        for (pattern, fits, fails) in [
            ("*", &["", "a", "a/b"][..], &[][..]),
            ("", &[""], &["a"]),
            ("*.jpg", &[".jpg", "a.jpg", "a/b.jpg", "a.jpg.jpg"], &["a.jpg.png", "jpg"]),
            ("a/*/c", &["a/b/c", "a//c", "a/b/d/c"], &["a/c", "b/a/b/c"]),
            ("?", &["a", "ü", "日", "/"], &["", "ab"]),
            ("[a-cx]1", &["a1", "x1"], &["d1", "a", "1", "[a-cx]1"]),
            ("[!a-c]", &["d", "-"], &["a", ""]),
            ("[]]", &["]"], &["["]),
            ("[a-]", &["a", "-"], &["b"]),
            ("\\*\\", &["*\\"], &["a\\"]),
            ("**a**b**", &["ab", "xaxbx"], &["ba"]),
        ] {
            let glob = Glob::new(pattern.as_bytes()).unwrap();
            for name in fits {
                assert!(glob.matches(name.as_bytes()), "{pattern} {name}");
            }
            for name in fails {
                assert!(!glob.matches(name.as_bytes()), "{pattern} {name}");
            }
        }
        for pattern in ["[", "[a", "[]", "a[!"] {
            assert!(Glob::new(pattern.as_bytes()).is_none(), "{pattern}");
        }
    }

    /// The same by trying everything.
    fn slow(tokens: &[Token], name: &[u8]) -> bool {
        match tokens.split_first() {
            None => name.is_empty(),
            Some((Token::Any, rest)) => (0..=name.len()).any(|at| slow(rest, &name[at..])),
            Some((one, rest)) => one.fits(name).is_some_and(|bytes| slow(rest, &name[bytes..])),
        }
    }

    proptest! {
        #[test]
        fn as_by_trying_everything(pattern in "[ab*?]{0,7}", name in "[ab]{0,8}") {
            let glob = Glob::new(pattern.as_bytes()).unwrap();
            prop_assert_eq!(glob.matches(name.as_bytes()), slow(&glob.0, name.as_bytes()));
        }

        #[test]
        fn anything_is_a_pattern(
            pattern in prop::collection::vec(any::<u8>(), 0..12),
            name in prop::collection::vec(any::<u8>(), 0..12),
        ) {
            let _ = Glob::new(&pattern).map(|glob| glob.matches(&name));
        }
    }
}
