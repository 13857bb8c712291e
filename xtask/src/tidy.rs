//! `cargo xtask tidy`: the rules of this repository that no compiler knows.

mod code;
mod crates;
mod lex;
mod stages;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;
use std::path::Path;

use crate::cmd::{command, output};

/// One broken rule.
#[derive(Debug)]
struct Problem {
    path: String,
    line: usize,
    rule: &'static str,
    what: String,
}

impl Problem {
    fn at(path: &str, line: usize, rule: &'static str, what: String) -> Self {
        Self { path: path.to_owned(), line, rule, what }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.what)
    }
}

/// Checks every file that git tracks or would track.
///
/// Errors: how many rules are broken; each is printed before.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    if let Some(arg) = args.first() {
        return Err(format!("tidy {arg}: takes no options"));
    }
    let root = crate::root();
    let list = output(command("git", &["ls-files", "-co", "--exclude-standard", "-z"]))?;
    let mut problems = Vec::new();
    let mut count = 0usize;
    for path in list.split('\0').filter(|path| !path.is_empty()) {
        let file = root.join(path);
        // Deleted and not yet committed, or a link: neither is text of ours.
        if !file.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
            continue;
        }
        let bytes = std::fs::read(&file).map_err(|why| format!("{path}: cannot read: {why}"))?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        count += 1;
        check(&root, path, &text, &mut problems);
    }
    if !root.join("README.md").is_file() {
        readme("", &mut problems);
    }
    for problem in &problems {
        println!("{problem}");
    }
    println!("tidy: {count} files, problems: {}", problems.len());
    if problems.is_empty() {
        Ok(())
    } else {
        Err("rules are broken, each is listed above".to_owned())
    }
}

/// Applies to one file all rules that are about it.
fn check(root: &Path, path: &str, text: &str, problems: &mut Vec<Problem>) {
    let name = path.rsplit('/').next().unwrap_or_default();
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    if extension == "lock" {
        return;
    }
    text::machine_paths(path, text, problems);
    match extension {
        "rs" => {
            let source = lex::lex(text);
            stages::check(path, &source, problems);
            code::check(path, text, &source, problems);
        }
        "toml" => {
            comment_marks(path, text, problems);
            if name == "Cargo.toml" {
                crates::check(path, text, problems);
            }
        }
        "sh" | "yml" | "yaml" | "py" => comment_marks(path, text, problems),
        "md" => {
            text::links(root, path, text, problems);
            if path == "README.md" {
                readme(text, problems);
            }
        }
        _ => {}
    }
}

/// Markers of unfinished work behind a `#`.
fn comment_marks(path: &str, text: &str, problems: &mut Vec<Problem>) {
    for (nth, line) in text.lines().enumerate() {
        let Some((_, comment)) = line.split_once('#') else { continue };
        for word in code::marks(comment) {
            let what = format!("`{word}` in a comment");
            problems.push(Problem::at(path, nth + 1, "markers", what));
        }
    }
}

/// The two commands of a newcomer include the one that proves the checkout.
fn readme(text: &str, problems: &mut Vec<Problem>) {
    if !text.contains("cargo xtask test") {
        let what = "does not say `cargo xtask test`".to_owned();
        problems.push(Problem::at("README.md", 1, "readme", what));
    }
}
