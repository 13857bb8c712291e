//! Which stage of the engine mentions which: the flow stays a row, not a net.
//!
//! A stage folder names no other stage (but `transform/` may use the decoders of `content/`), `rt/` and `report.rs` name none, `lib.rs` only declares
//! and re-exports; `pipeline.rs` (or `pipeline/`) alone puts stages together. `inspect/`, which reads
//! what a run left behind, may name them too.

use super::Problem;
use super::lex::{Kind, Source};

/// The folders of `crates/engine/src`, in flow order.
const STAGES: [&str; 7] = ["source", "schedule", "wire", "content", "transform", "sink", "ledger"];

const ENGINE: &str = "crates/engine/src/";

/// Checks one file; nothing to say about files outside the engine.
pub(crate) fn check(path: &str, source: &Source<'_>, problems: &mut Vec<Problem>) {
    let Some(inside) = path.strip_prefix(ENGINE) else { return };
    let place = Place::of(inside);
    if place == Place::Pipeline {
        return;
    }
    let mut first_stage = None;
    for mention in mentions(inside, source) {
        let what = match mention.what {
            What::Root => {
                if place == Place::Lib {
                    continue;
                }
                "everything of the crate's root, stages too: name what you need".to_owned()
            }
            What::Stage(stage) => match place {
                Place::Stage(own) if own == stage => continue,
                // What undoes a coding of the answer undoes that of the object, too.
                Place::Stage("transform") if stage == "content" => continue,
                Place::Stage(own) => {
                    format!("stage `{own}` mentions stage `{stage}`: only pipeline.rs joins stages")
                }
                Place::None => format!("mentions stage `{stage}`: this place may name no stage"),
                Place::Lib if mention.in_use => continue,
                Place::Lib => format!("lib.rs only declares and re-exports, and uses `{stage}`"),
                Place::One if *first_stage.get_or_insert(stage) == stage => continue,
                Place::One => format!(
                    "mentions stage `{stage}` besides `{}`: only pipeline.rs joins stages",
                    first_stage.unwrap_or_default()
                ),
                Place::Pipeline => continue,
            },
        };
        // `use crate::wire::{self, h1}` is one mistake.
        let again = |last: &Problem| last.line == mention.line && last.what == what;
        if !problems.last().is_some_and(again) {
            problems.push(Problem::at(path, mention.line, "stages", what));
        }
    }
}

/// What the rules say about a file of the engine.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Stage(&'static str),
    Pipeline,
    Lib,
    /// `rt/` and `report.rs`.
    None,
    /// Any other file: one stage at most.
    One,
}

impl Place {
    fn of(inside: &str) -> Self {
        let top = inside.split('/').next().unwrap_or_default();
        let top = top.strip_suffix(".rs").unwrap_or(top);
        match top {
            "lib" => Self::Lib,
            "pipeline" | "inspect" => Self::Pipeline,
            "rt" | "report" => Self::None,
            _ => STAGES.iter().find(|stage| **stage == top).map_or(Self::One, |s| Self::Stage(s)),
        }
    }
}

struct Mention {
    line: usize,
    what: What,
    /// Within a `use` or `mod` item.
    in_use: bool,
}

enum What {
    Stage(&'static str),
    /// `use crate::*`, `use crate as x`: hides which stage is meant.
    Root,
}

/// The module path of a file: `wire/h1/mod.rs` and `wire/h1.rs` are both `[wire, h1]`.
fn module(inside: &str) -> Vec<&str> {
    let path = inside.strip_suffix(".rs").unwrap_or(inside);
    let mut parts: Vec<&str> = path.split('/').collect();
    if matches!(parts.last(), Some(&"mod" | &"lib")) {
        parts.pop();
    }
    parts
}

/// Every mention of a stage by a path from the crate's root, however it is written.
fn mentions(inside: &str, source: &Source<'_>) -> Vec<Mention> {
    let mut walk = Walk { source, module: module(inside), braces: Vec::new(), found: Vec::new() };
    let mut at = 0;
    while at < source.tokens.len() {
        at = walk.item(at);
    }
    walk.found
}

struct Walk<'s, 'a> {
    source: &'s Source<'a>,
    /// The module that the walk is in, inline modules included.
    module: Vec<&'a str>,
    /// For each open brace: did it open an inline module?
    braces: Vec<bool>,
    found: Vec<Mention>,
}

impl<'a> Walk<'_, 'a> {
    fn kind(&self, at: usize) -> Option<Kind<'a>> {
        self.source.tokens.get(at).map(|token| token.kind)
    }

    /// Reads what starts at `at`; returns where the next thing starts.
    fn item(&mut self, at: usize) -> usize {
        let after_colons = at > 0 && self.kind(at - 1) == Some(Kind::Colons);
        match self.kind(at) {
            Some(Kind::Word("use")) => self.tree(at + 1, &[]),
            Some(Kind::Word("mod")) => {
                if let (Some(Kind::Word(name)), true) =
                    (self.kind(at + 1), self.source.is_punct(at + 2, '{'))
                {
                    self.module.push(name);
                    self.braces.push(true);
                    return at + 3;
                }
                // `mod wire;` declares and is no mention.
                at + 2
            }
            Some(Kind::Word(_)) if !after_colons => {
                let (path, next) = self.path(at);
                // `self.wire` is a field and `crate` alone (as in `pub(crate)`) no path.
                if path.len() > 1 {
                    self.resolve(&path, at, false);
                }
                next
            }
            Some(Kind::Punct('{')) => {
                self.braces.push(false);
                at + 1
            }
            Some(Kind::Punct('}')) => {
                if self.braces.pop() == Some(true) {
                    self.module.pop();
                }
                at + 1
            }
            _ => at + 1,
        }
    }

    /// `a::b::c` starting at `at`.
    fn path(&self, mut at: usize) -> (Vec<&'a str>, usize) {
        let mut path = Vec::new();
        while let Some(Kind::Word(word)) = self.kind(at) {
            path.push(word);
            at += 1;
            match (self.kind(at), self.kind(at + 1)) {
                (Some(Kind::Colons), Some(Kind::Word(_))) => at += 1,
                _ => break,
            }
        }
        (path, at)
    }

    /// A use tree: `a::{b, c::d as e, *}`, with what stands before it in `prefix`.
    fn tree(&mut self, start: usize, prefix: &[&'a str]) -> usize {
        let mut at = start;
        if self.kind(at) == Some(Kind::Colons) {
            at += 1; // `::name` is another crate's.
            while !matches!(self.kind(at), Some(Kind::Punct(';')) | None) {
                at += 1;
            }
            return at;
        }
        let (mut path, next) = self.path(at);
        at = next;
        path.splice(0..0, prefix.iter().copied());
        let in_group = self.kind(at) == Some(Kind::Colons) || self.source.is_punct(at, '{');
        if self.kind(at) == Some(Kind::Colons) {
            at += 1;
        }
        if in_group && self.source.is_punct(at, '{') {
            at += 1;
            while !matches!(self.kind(at), Some(Kind::Punct('}')) | None) {
                at = self.tree(at, &path);
                if self.source.is_punct(at, ',') {
                    at += 1;
                } else if !self.source.is_punct(at, '}') {
                    break;
                }
            }
            return at + 1;
        }
        if self.source.is_punct(at, '*') {
            path.push("*");
            at += 1;
        }
        if path.len() > 1 && path.last() == Some(&"self") {
            path.pop();
        }
        self.resolve(&path, start, true);
        if self.source.is_word(at, "as") {
            at += 2;
        }
        at.max(start + 1)
    }

    /// Follows `crate`, `super` and `self` from here and notes what the path reaches.
    fn resolve(&mut self, path: &[&'a str], at: usize, in_use: bool) {
        let mut module = self.module.clone();
        let mut rest = path;
        match rest.split_first() {
            Some((&"crate", more)) => {
                module.clear();
                rest = more;
            }
            Some((&("super" | "self"), _)) => {
                while let Some((first, more)) = rest.split_first() {
                    match *first {
                        "super" => drop(module.pop()),
                        "self" => {}
                        _ => break,
                    }
                    rest = more;
                }
            }
            // A bare name: a child module, a local or another crate. Only the crate's root
            // has the stages for children.
            _ if module.is_empty() => {}
            _ => return,
        }
        let bare = path.first().is_some_and(|first| !matches!(*first, "crate" | "super" | "self"));
        module.extend(rest);
        let line = self.source.tokens.get(at).map_or(0, |token| token.line);
        let what = match module.first() {
            None | Some(&"*") if !bare => What::Root,
            Some(first) => match STAGES.iter().find(|stage| *stage == first) {
                Some(stage) => What::Stage(stage),
                None => return,
            },
            None => return,
        };
        self.found.push(Mention { line, what, in_use });
    }
}
