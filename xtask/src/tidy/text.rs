//! Rules for every text file: no path of one person's machine, links that lead somewhere.

use std::path::{Component, Path, PathBuf};

use super::Problem;

/// Folders that exist on one machine only. (Cut in two, or this file would break its own rule.)
const MACHINE: [&str; 4] =
    [concat!("/", "work/"), concat!("/", "root/"), concat!("/", "home/"), concat!("/", "Users/")];

/// What a line carries whose path is an example and not a place.
const PATH_OK: &str = "tidy: path-ok";

/// Checks one text file for absolute paths of a machine.
pub(crate) fn machine_paths(path: &str, text: &str, problems: &mut Vec<Problem>) {
    for (nth, line) in text.lines().enumerate() {
        let found = MACHINE.iter().find(|folder| {
            // Within a longer path or URL (`host/home/`) it is none of a machine's.
            line.match_indices(**folder).any(|(at, _)| {
                let before = line.get(..at).and_then(|head| head.chars().last());
                !before.is_some_and(|c| c.is_alphanumeric() || "_-.~*}$".contains(c))
            })
        });
        if let Some(folder) = found.filter(|_| !line.contains(PATH_OK)) {
            let what = format!("names a folder of one machine, `{folder}`");
            problems.push(Problem::at(path, nth + 1, "paths", what));
        }
    }
}

/// Checks that the links of a Markdown file that point into the repository find their file.
pub(crate) fn links(root: &Path, path: &str, text: &str, problems: &mut Vec<Problem>) {
    for (line, target) in targets(text) {
        let file = target.split(['#', '?']).next().unwrap_or_default();
        let outside = file.contains("://") || file.starts_with("mailto:");
        if file.is_empty() || outside {
            continue;
        }
        let from = Path::new(path).parent().unwrap_or(Path::new(""));
        let joined = match file.strip_prefix('/') {
            Some(from_root) => PathBuf::from(from_root),
            None => from.join(file.replace("%20", " ")),
        };
        let what = match flatten(&joined) {
            None => format!("the link `{target}` leaves the repository"),
            Some(inside) if !root.join(&inside).exists() => {
                format!("the link `{target}` leads nowhere")
            }
            Some(_) => continue,
        };
        problems.push(Problem::at(path, line, "links", what));
    }
}

/// Resolves `..`; `None` when that climbs out.
fn flatten(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if out.pop() => {}
            Component::ParentDir => return None,
            Component::Normal(name) => out.push(name),
            _ => {}
        }
    }
    Some(out)
}

/// The targets of `[text](target)`, `![text](target)` and `[name]: target`, with their lines;
/// those in code are left out.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fence: Option<&str> = None;
    for (nth, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            _ => {}
        }
        if fence.is_some() || mark.is_some() {
            continue;
        }
        if let Some((_, target)) = trimmed.strip_prefix('[').and_then(|l| l.split_once("]: ")) {
            found.push((nth + 1, clean(target)));
        }
        // Every other piece between backquotes is code.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let mut rest = prose.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let end = after.find(')').unwrap_or(after.len());
            found.push((nth + 1, clean(after.get(..end).unwrap_or_default())));
            rest = after.get(end..).unwrap_or_default();
        }
    }
    found
}

/// The target without `<>` and without a title.
fn clean(target: &str) -> String {
    let target = target.trim();
    match target.strip_prefix('<').and_then(|t| t.split_once('>')) {
        Some((inner, _)) => inner.to_owned(),
        None => target.split_whitespace().next().unwrap_or_default().to_owned(),
    }
}
