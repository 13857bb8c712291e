//! Just enough of a Rust lexer: identifiers, punctuation and comments with their line numbers.
//!
//! String and character literals vanish, so a rule never trips over text in a message.

/// One token of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// An identifier, keyword or number (raw identifiers without their `r#`).
    Word(&'a str),
    /// `::`
    Colons,
    /// Any other single character.
    Punct(char),
}

/// A token and the line it stands on, counted from 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind<'a>,
    pub(crate) line: usize,
}

/// The code and the comments of one file.
#[derive(Debug, Default)]
pub(crate) struct Source<'a> {
    pub(crate) tokens: Vec<Token<'a>>,
    /// Every line of every comment, with its line number from 1.
    pub(crate) comments: Vec<(usize, &'a str)>,
}

impl Source<'_> {
    /// Is `word` the identifier at `index`?
    pub(crate) fn is_word(&self, index: usize, word: &str) -> bool {
        self.tokens.get(index).is_some_and(|token| token.kind == Kind::Word(word))
    }

    /// Is `punct` the character at `index`?
    pub(crate) fn is_punct(&self, index: usize, punct: char) -> bool {
        self.tokens.get(index).is_some_and(|token| token.kind == Kind::Punct(punct))
    }
}

/// Cuts `text` into tokens. Text that is no Rust gives some tokens and never a panic.
pub(crate) fn lex(text: &str) -> Source<'_> {
    let mut lexer = Lexer { text, at: 0, line: 1, out: Source::default() };
    while lexer.step() {}
    lexer.out
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    out: Source<'a>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Moves on by `len` bytes and counts the lines among them.
    fn skip(&mut self, len: usize) -> &'a str {
        let piece = self.rest().get(..len).unwrap_or_else(|| self.rest());
        self.line += piece.matches('\n').count();
        self.at += piece.len();
        piece
    }

    fn push(&mut self, kind: Kind<'a>) {
        self.out.tokens.push(Token { kind, line: self.line });
    }

    fn step(&mut self) -> bool {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return false };
        if rest.starts_with("//") {
            let len = rest.find('\n').unwrap_or(rest.len());
            self.comment(len);
        } else if rest.starts_with("/*") {
            self.comment(block_comment(rest));
        } else if let Some(len) = string(rest).or_else(|| raw_string(rest)) {
            self.skip(len);
        } else if first == '\'' {
            // A character literal, or else the tick of a lifetime.
            self.skip(character(rest).unwrap_or(1));
        } else if first.is_alphanumeric() || first == '_' {
            let rest = rest.strip_prefix("r#").unwrap_or(rest);
            self.at += self.rest().len() - rest.len();
            let len = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
            let word = self.skip(len.unwrap_or(rest.len()));
            self.push(Kind::Word(word));
        } else if rest.starts_with("::") {
            self.push(Kind::Colons);
            self.skip(2);
        } else {
            if !first.is_whitespace() {
                self.push(Kind::Punct(first));
            }
            self.skip(first.len_utf8());
        }
        true
    }

    fn comment(&mut self, len: usize) {
        let line = self.line;
        let text = self.skip(len);
        self.out.comments.extend(text.lines().enumerate().map(|(nth, text)| (line + nth, text)));
    }
}

/// Length of a block comment; they nest.
fn block_comment(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0usize);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length of `"..."`, `b"..."` or `c"..."`, if one starts here.
fn string(text: &str) -> Option<usize> {
    let open = if text.starts_with(['b', 'c']) { 1 } else { 0 };
    let body = text.get(open..)?.strip_prefix('"')?;
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(open + 1 + at + 1),
            _ => {}
        }
    }
    Some(text.len())
}

/// Length of `r"..."`, `r#"..."#`, `br"..."` or `cr"..."`, if one starts here.
fn raw_string(text: &str) -> Option<usize> {
    let open = if text.starts_with(['b', 'c']) { 1 } else { 0 };
    let hashes_on = text.get(open..)?.strip_prefix('r')?;
    let hashes = hashes_on.len() - hashes_on.trim_start_matches('#').len();
    let body = hashes_on.get(hashes..)?.strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let head = open + 1 + hashes + 1;
    Some(body.find(&close).map_or(text.len(), |at| head + at + close.len()))
}

/// Length of `'x'` or `'\n'`; `None` for a lifetime.
fn character(text: &str) -> Option<usize> {
    let body = text.strip_prefix('\'')?;
    let first = body.chars().next()?;
    if first == '\\' {
        let escape = 1 + body.get(1..)?.chars().next()?.len_utf8();
        return Some(1 + escape + body.get(escape..)?.find('\'')? + 1);
    }
    body.get(first.len_utf8()..)?.starts_with('\'').then_some(1 + first.len_utf8() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        let word = |token: &Token<'static>| match token.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        };
        // The leak is a few bytes of one test.
        let text: &'static str = Box::leak(text.to_owned().into_boxed_str());
        lex(text).tokens.iter().filter_map(word).collect()
    }

    #[test]
    fn literals_and_comments_vanish() {
        let text = concat!(
            "let a = \"crate::wire \\\" b\"; // c\n",
            "let d = r#\"e \" f\"#; /* g /* h */ i */\n",
            "fn k<'l>(m: &'l str) -> char { 'n' }\n",
            "let o = ('\\'', b'p', b\"q\", br\"r\", '\"', 's');",
        );
        let seen = words(text);
        for hidden in ["crate", "c", "e", "f", "g", "h", "i", "n", "p", "q", "r", "s"] {
            assert!(!seen.contains(&hidden), "{hidden} in {seen:?}");
        }
        for shown in ["a", "d", "k", "l", "m", "char", "o"] {
            assert!(seen.contains(&shown), "{shown} not in {seen:?}");
        }
    }

    #[test]
    fn lines_are_counted_through_literals() {
        let source = lex("a\n\"x\ny\"\nb /* c\nd */ e");
        let lines: Vec<_> = source.tokens.iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 4, 5]);
        assert_eq!(source.comments, [(4, "/* c"), (5, "d */")]);
    }

    #[test]
    fn text_that_never_ends_is_no_panic() {
        for text in ["\"", "r#\"", "/*", "'", "'\\", "b'", "r#", "\u{20ac}'\u{20ac}"] {
            lex(text);
        }
    }
}
