//! Rules for single Rust files: length, markers of unfinished work, sleeps in tests, unsafe.

use super::Problem;
use super::lex::{Kind, Source};

/// Longer files are split. A flat table may be listed in [`LONG`].
const MAX_LINES: usize = 800;

/// Files that may be longer, each with its reason.
const LONG: [(&str, &str); 0] = [];

/// Macros that stand for code still to be written.
const MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// Words of a comment that stand for work still to be done.
const MARKERS: [&str; 3] = ["FIXME", "XXX", "HACK"];

/// What a line with an allowed sleep carries, a reason behind it.
const SLEEP_OK: &str = "tidy: sleep-ok:";

/// How far above `unsafe` its reason may stand.
const SAFETY_LINES: usize = 3;

/// Checks one Rust file.
pub(crate) fn check(path: &str, text: &str, source: &Source<'_>, problems: &mut Vec<Problem>) {
    let lines = text.lines().count();
    if lines > MAX_LINES && !LONG.iter().any(|(file, _)| *file == path) {
        let what = format!("{lines} lines, more than {MAX_LINES}: split it");
        problems.push(Problem::at(path, 1, "length", what));
    }
    markers(path, source, problems);
    sleeps(path, source, problems);
    reasons(path, source, problems);
}

fn markers(path: &str, source: &Source<'_>, problems: &mut Vec<Problem>) {
    for (at, token) in source.tokens.iter().enumerate() {
        let Kind::Word(word) = token.kind else { continue };
        if MACROS.contains(&word) && source.is_punct(at + 1, '!') {
            problems.push(Problem::at(path, token.line, "markers", format!("`{word}!`")));
        }
    }
    for (line, comment) in &source.comments {
        for word in marks(comment) {
            problems.push(Problem::at(path, *line, "markers", format!("`{word}` in a comment")));
        }
    }
}

/// The markers in a piece of text, as whole words.
pub(crate) fn marks(text: &str) -> impl Iterator<Item = &'static str> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    words.filter_map(|word| MARKERS.iter().find(|mark| **mark == word).copied())
}

/// A test that sleeps is slow on a good day and fails on a bad one.
fn sleeps(path: &str, source: &Source<'_>, problems: &mut Vec<Problem>) {
    let all = path.split('/').any(|part| part == "tests" || part == "tests.rs");
    let spans = if all { Vec::new() } else { test_spans(source) };
    for (at, token) in source.tokens.iter().enumerate() {
        if !source.is_word(at, "sleep") || at < 2 {
            continue;
        }
        let from_time = source.tokens.get(at - 1).is_some_and(|t| t.kind == Kind::Colons)
            && (source.is_word(at - 2, "thread") || source.is_word(at - 2, "time"));
        let in_test = all || spans.iter().any(|(from, to)| (*from..*to).contains(&at));
        let allowed = source.comments.iter().any(|(line, comment)| {
            *line == token.line
                && comment.split_once(SLEEP_OK).is_some_and(|(_, why)| !why.trim().is_empty())
        });
        if from_time && in_test && !allowed {
            let what = format!("a test sleeps: wait for an event, or say `// {SLEEP_OK} why`");
            problems.push(Problem::at(path, token.line, "sleeps", what));
        }
    }
}

/// The token ranges of modules under `#[cfg(test)]` (or any `cfg(..)` that names `test`).
fn test_spans(source: &Source<'_>) -> Vec<(usize, usize)> {
    let mut spans = Vec::new();
    for at in 0..source.tokens.len() {
        let attribute = source.is_punct(at, '#') && source.is_punct(at + 1, '[');
        if !attribute || !source.is_word(at + 2, "cfg") {
            continue;
        }
        let Some(close) = (at..source.tokens.len()).find(|next| source.is_punct(*next, ']')) else {
            continue;
        };
        let negated = (at..close).any(|next| source.is_word(next, "not"));
        if negated || !(at..close).any(|next| source.is_word(next, "test")) {
            continue;
        }
        // The item's body: from its first brace to the one that closes it; `;` ends it before.
        let Some(open) = (close..source.tokens.len())
            .find(|next| source.is_punct(*next, '{') || source.is_punct(*next, ';'))
            .filter(|next| source.is_punct(*next, '{'))
        else {
            continue;
        };
        let mut depth = 0usize;
        let end = (open..source.tokens.len()).find(|next| {
            if source.is_punct(*next, '{') {
                depth += 1;
            } else if source.is_punct(*next, '}') {
                depth -= 1;
            }
            depth == 0
        });
        spans.push((open, end.unwrap_or(source.tokens.len())));
    }
    spans
}

/// `unsafe` needs a `SAFETY:` comment on its line or within the three above.
fn reasons(path: &str, source: &Source<'_>, problems: &mut Vec<Problem>) {
    for (at, token) in source.tokens.iter().enumerate() {
        if !source.is_word(at, "unsafe") {
            continue;
        }
        let near = token.line.saturating_sub(SAFETY_LINES)..=token.line;
        let said = source
            .comments
            .iter()
            .any(|(line, comment)| near.contains(line) && comment.contains("SAFETY:"));
        if !said {
            let what = "`unsafe` without a `SAFETY:` comment in the three lines above";
            problems.push(Problem::at(path, token.line, "unsafe", what.to_owned()));
        }
    }
}
