//! Which crate may depend on which, read from the manifests.

use super::Problem;

/// Every crate of the repository and the windrow crates it may depend on. Dev-dependencies are
/// free: they reach no user.
const ARROWS: [(&str, &[&str]); 8] = [
    ("crates/model", &[]),
    ("crates/prefetch", &[]),
    ("crates/engine", &["windrow-model", "windrow-prefetch"]),
    ("crates/server", &["windrow-model"]),
    ("crates/testkit", &["windrow-model"]),
    ("crates/cli", &["windrow-engine", "windrow-server", "windrow-model"]),
    ("crates/python", &["windrow-engine", "windrow-model"]),
    ("xtask", &["windrow-testkit", "windrow-model"]),
];

/// Checks one manifest; the root's and those outside the table's folders say nothing.
pub(crate) fn check(path: &str, text: &str, problems: &mut Vec<Problem>) {
    let Some(folder) = path.strip_suffix("/Cargo.toml") else { return };
    let allowed = ARROWS.iter().find(|(name, _)| *name == folder).map(|(_, allowed)| *allowed);
    let Some(allowed) = allowed else {
        if folder.starts_with("crates/") {
            let what = "a crate that the table in xtask/src/tidy/crates.rs does not know";
            problems.push(Problem::at(path, 1, "crates", what.to_owned()));
        }
        return;
    };
    for (line, name) in dependencies(text) {
        if !allowed.contains(&name) {
            let what = format!("{folder} must not depend on {name}");
            problems.push(Problem::at(path, line, "crates", what));
        }
    }
}

/// The windrow crates named in `[dependencies]` and its kin, dev-dependencies left out.
fn dependencies(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut counts = false;
    for (nth, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(section) = line.strip_prefix('[') {
            counts = section.contains("dependencies") && !section.contains("dev-dependencies");
        }
        if counts {
            let mut names = line.split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_'));
            let name = names.rfind(|name| name.starts_with("windrow-"));
            found.extend(name.map(|name| (nth + 1, name)));
        }
    }
    found
}
