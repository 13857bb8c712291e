//! Good and bad snippets for every rule.

use std::path::Path;

use super::{Problem, check, readme};

/// The rules that `text` at `path` breaks, each with its line.
fn broken(path: &str, text: &str) -> Vec<(&'static str, usize)> {
    let mut problems = Vec::new();
    check(&crate::root(), path, text, &mut problems);
    problems.iter().map(|Problem { rule, line, .. }| (*rule, *line)).collect()
}

#[track_caller]
fn good(path: &str, text: &str) {
    let broken = broken(path, text);
    assert!(broken.is_empty(), "{path}: {text:?} breaks {broken:?}");
}

#[track_caller]
fn bad(path: &str, text: &str, rule: &'static str, line: usize) {
    assert_eq!(broken(path, text), [(rule, line)], "{path}: {text:?}");
}

const SINK: &str = "crates/engine/src/sink/tar.rs";

#[test]
fn a_stage_may_not_name_another() {
    for text in [
        "use crate::wire::Codec;",
        "use crate::{wire};",
        "use crate::{report::Report, wire::{self, h1}};",
        "use crate::{\nreport,\n};\nuse super::super::wire as w;".replace('\n', " ").as_str(),
        "use super::super::{ledger, super::super::x};",
        "pub(crate) use crate::source::Page;",
        "pub(in crate::wire) fn f() {}",
        "fn f() -> crate::schedule::Clock { loop {} }",
        "mod tests { use super::super::super::transform::Step; }",
        "mod tests { fn f() { super::super::super::wire::go(); } }",
        "macro_rules! m { () => { $crate::wire::X } }",
        "use crate::r#wire::Codec;",
        "use crate::*;",
        "use crate as engine;",
        "use {std::fmt, crate::wire};",
    ] {
        bad(SINK, text, "stages", 1);
    }
    bad("crates/engine/src/sink/mod.rs", "\nuse super::wire::Codec;", "stages", 2);
    bad("crates/engine/src/sink.rs", "use super::wire::Codec;", "stages", 1);
    bad("crates/engine/src/wire/h1/head.rs", "use crate::{wire::h1, sink::Tar};", "stages", 1);
}

#[test]
fn a_stage_may_name_itself_and_what_is_no_stage() {
    for text in [
        "use crate::sink::files;",
        "use super::{files, Sink};",
        "use super::super::report::Report;",
        "use crate::{report, rt::Core, sink::{self, Sink}};",
        "use std::{fmt, sync::mpsc as wire};",
        "use windrow_model::Receipt;",
        "// use crate::wire::Codec;",
        "/// See [`crate::wire::Codec`].\nfn f() {}",
        "const TEXT: &str = \"crate::wire\";",
        "fn f(self) { self.wire.go(); wire::go(); let sink = source; }",
        "mod wire { pub fn g() {} }",
        "mod tests { use super::*; fn f() { super::super::open(); } }",
        "pub(crate) fn f() {}",
        "use ::wire::Codec;",
    ] {
        good(SINK, text);
    }
}

#[test]
fn only_pipeline_joins_stages() {
    let both = "use crate::{wire::Codec, sink::Tar};";
    good("crates/engine/src/pipeline.rs", both);
    good("crates/engine/src/pipeline/core.rs", both);
    good("crates/engine/src/inspect/verify.rs", both);
    good("crates/engine/src/plan.rs", "use crate::wire::Codec; use crate::wire::Pool;");
    bad("crates/engine/src/plan.rs", "use crate::wire::Codec;\nuse crate::sink::Tar;", "stages", 2);
    bad("crates/engine/src/report.rs", "use crate::wire::Codec;", "stages", 1);
    bad("crates/engine/src/rt/core.rs", "use super::super::ledger::Frame;", "stages", 1);
    good("crates/engine/src/rt/core.rs", "use crate::report::Counters;");
}

#[test]
fn lib_declares_and_exports() {
    let lib = "crates/engine/src/lib.rs";
    good(lib, "pub mod wire;\npub mod sink;\npub use wire::Codec;\npub use crate::sink::{Tar};");
    bad(lib, "pub mod wire;\nfn f() { wire::go() }", "stages", 2);
    bad(lib, "fn f() { crate::wire::go() }", "stages", 1);
}

#[test]
fn other_crates_and_tests_are_free() {
    good("crates/cli/src/main.rs", "use crate::{wire, sink}; use windrow_engine::sink::Tar;");
    good("crates/engine/tests/it.rs", "use windrow_engine::{wire, sink};");
}

#[test]
fn crates_depend_one_way() {
    let engine = "crates/engine/Cargo.toml";
    good(engine, "[dependencies]\nwindrow-model.workspace = true\ntokio = \"1\"\n");
    good(engine, "[dev-dependencies]\nwindrow-testkit.workspace = true\n");
    good(engine, "[dependencies]\n# windrow-cli\n[package]\nname = \"windrow-engine\"");
    bad(engine, "[dependencies]\nwindrow-testkit.workspace = true\n", "crates", 2);
    bad(engine, "[dependencies]\nx = { package = \"windrow-cli\", path = \"y\" }", "crates", 2);
    bad(engine, "[dependencies.windrow-server]\nworkspace = true", "crates", 1);
    bad(engine, "[target.'cfg(unix)'.dependencies]\nwindrow-server = \"1\"", "crates", 2);
    bad("crates/model/Cargo.toml", "[build-dependencies]\nwindrow-cli = \"1\"", "crates", 2);
    bad("crates/cli/Cargo.toml", "[dependencies]\nwindrow-testkit = \"1\"", "crates", 2);
    bad("crates/new/Cargo.toml", "[package]", "crates", 1);
    good("fuzz/Cargo.toml", "[dependencies]\nwindrow-engine = { path = \"../crates/engine\" }");
}

#[test]
fn length_has_a_limit() {
    good("a.rs", &"\n".repeat(800));
    bad("a.rs", &"\n".repeat(801), "length", 1);
}

#[test]
fn unfinished_work_is_seen() {
    bad("a.rs", "fn f() {\n    todo!()\n}", "markers", 2);
    bad("a.rs", "fn f() { dbg!(1); }", "markers", 1);
    bad("a.rs", "fn f() { std::unimplemented!() }", "markers", 1);
    bad("a.rs", "// FIXME later", "markers", 1);
    bad("a.rs", "/* a\nXXX */", "markers", 2);
    bad("a.toml", "a = 1 # HACK", "markers", 1);
    good("a.rs", "const TEXT: &str = \"FIXME todo!()\"; // HACKS, XXXX; todo\nfn todo() {}");
}

#[test]
fn tests_do_not_sleep() {
    let sleep = "fn f() { std::thread::sleep(T); }";
    good("crates/cli/src/a.rs", sleep);
    good("crates/cli/src/a.rs", &format!("#[cfg(not(test))] mod x {{ {sleep} }}"));
    bad("crates/cli/tests/a.rs", sleep, "sleeps", 1);
    bad("crates/cli/src/a/tests.rs", "async fn f() { tokio::time::sleep(T).await }", "sleeps", 1);
    bad("crates/cli/src/a.rs", &format!("#[cfg(test)]\nmod tests {{ {sleep} }}"), "sleeps", 2);
    bad("crates/cli/tests/a.rs", "use std::thread::sleep;", "sleeps", 1);
    good("crates/cli/src/a.rs", &format!("#[cfg(test)]\nmod tests {{ }}\n{sleep}"));
    good("crates/cli/src/a.rs", &format!("#[cfg(test)]\nmod tests;\n{sleep}"));
    good("crates/cli/tests/a.rs", &format!("{sleep} // tidy: sleep-ok: the clock is simulated"));
    bad("crates/cli/tests/a.rs", &format!("{sleep} // tidy: sleep-ok:"), "sleeps", 1);
}

#[test]
fn unsafe_gives_its_reason() {
    bad("a.rs", "fn f() {\n    unsafe { g() }\n}", "unsafe", 2);
    bad("a.rs", "// SAFETY: too far\n\n\n\nunsafe fn f() {}", "unsafe", 5);
    good("a.rs", "// SAFETY: g has no conditions.\n// More.\n\nunsafe { g() }");
    good("a.rs", "#![forbid(unsafe_code)]\n// unsafe\nconst A: &str = \"unsafe\";");
}

#[test]
fn machine_paths_are_seen() {
    for folder in ["work", "root", "home", "Users"] {
        bad("a.md", &format!("\nsee /{folder}/x"), "paths", 2);
        bad("a.rs", &format!("const A: &str = \"/{folder}/x\";"), "paths", 1);
        good("a.md", &format!("http://host/{folder}/x and src/{folder}/"));
        good("a.rs", &format!("f(\"/{folder}/x\"); // tidy: path-ok"));
        good("Cargo.lock", &format!("/{folder}/x"));
    }
}

#[test]
fn links_lead_somewhere() {
    good("docs/A.md", "[a](../xtask/Cargo.toml) [b](#here) [c](../xtask/src/main.rs#L1 \"title\")");
    good("A.md", "[a](xtask) [b](/xtask/Cargo.toml) [c](https://example.org/x) ![d](<Cargo.toml>)");
    good("A.md", "`[a](nowhere)`\n```\n[a](nowhere)\n```\n");
    bad("A.md", "one\n[a](nowhere.md)", "links", 2);
    bad("docs/A.md", "[a](xtask/Cargo.toml)", "links", 1);
    bad("A.md", "[a](xtask) and [b](nowhere.md#x)", "links", 1);
    bad("A.md", "[a]: nowhere.md", "links", 1);
    bad("A.md", "[a](../outside.md)", "links", 1);
}

#[test]
fn readme_names_the_command() {
    let mut problems = Vec::new();
    readme("run `cargo xtask test`", &mut problems);
    assert!(problems.is_empty());
    readme("run it", &mut problems);
    assert_eq!(problems.len(), 1);
}

#[test]
fn the_rules_hold_for_this_file_list() {
    // The fixtures above name real files: the top of the repository must be found.
    assert!(Path::new(&crate::root()).join("xtask/Cargo.toml").is_file());
}
