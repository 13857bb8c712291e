//! `exec-worker`: the example of docs/TRANSFORMS.md, and workers that misbehave.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;
use windrow_engine::transform::{Chain, Done, Object, Outcome, Pool, PoolOptions};
use windrow_model::Error;

const DOCS: &str = include_str!("../../../docs/TRANSFORMS.md");

/// A worker that does what the body says.
const ODD: &str = r#"
import os, struct, sys, time
folder = sys.argv[1]
def lives():
    path = folder + "/lives"
    number = int(open(path).read()) if os.path.exists(path) else 0
    open(path, "w").write(str(number + 1))
    return number
life = lives() if "once" in sys.argv else 0
if "mute" in sys.argv:
    time.sleep(1000)
if "never" in sys.argv or life > 0:
    sys.exit("no model\nhere")
out = os.fdopen(1, "wb", 0)
if "loud" in sys.argv:
    out.write(b"Loading model...\n")
out.write(b"windrow-worker 1\n")
inp = sys.stdin.buffer
def answer(outcome, media, body):
    out.write(struct.pack("<IIQ", outcome, len(media), len(body)) + media + body)
while head := inp.read(24):
    ordinal, name, media, body = struct.unpack("<QIIQ", head)
    name, media, body = inp.read(name), inp.read(media), inp.read(body)
    what = body.decode()
    if what == "die":
        sys.exit("no way\nat all")
    elif what == "hang":
        time.sleep(1000)
    elif what == "large":
        out.write(struct.pack("<IIQ", 0, 0, 1 << 40))
    elif what == "outcome":
        answer(7, b"", b"")
    elif what == "rest":
        answer(0, b"", b"")
        out.write(b"more")
        time.sleep(0)
    elif what == "half":
        out.write(struct.pack("<IIQ", 0, 0, 100) + b"half")
        os._exit(4)
    elif what == "drop":
        answer(1, b"", b"")
    elif what == "fail":
        answer(2, b"", b"\n\x1b[31m because\nmore")
    elif what == "big":
        answer(0, b"", b"x" * 1000000)
    elif what == "last":
        answer(0, b"", b"last words")
        os._exit(0)
    elif what == "enough":
        answer(0, b"", b"enough")
        inp.read(24)
        os._exit(0)
    elif what == "quit":
        os._exit(0)
    else:
        print("talks" * 10000, file=sys.stderr)
        answer(0, b"text/" + media, name + b":%d:" % ordinal + body)
"#;

fn has_python() -> bool {
    let has = Command::new("python3").args(["-c", ""]).output().is_ok_and(|o| o.status.success());
    if !has {
        eprintln!("skipped: python3 does not run\nhint: apt-get install python3");
    }
    has
}

fn write(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("worker.py");
    std::fs::write(&path, script).expect("a folder of the test");
    path
}

fn options(threads: usize) -> PoolOptions {
    PoolOptions { threads, max_output: 2 << 20, ..PoolOptions::default() }
}

/// Passes bodies through a worker.
fn run(command: &str, options: PoolOptions, bodies: &[&[u8]]) -> Result<Vec<Done>, Error> {
    let chain = Chain::parse(&[format!("exec-worker={command}")])?;
    let pool = Pool::start(chain, options)?;
    let (wake, woken) = channel();
    let mut client = pool.client(move || {
        let _ = wake.send(());
    });
    for (key, body) in bodies.iter().enumerate() {
        let (name, ordinal) = (format!("name {key}").into_bytes(), key as u64);
        let content_type = Some("plain".to_owned());
        let body = body.to_vec();
        let object = Object { name, body, content_type, ordinal, expected_sha256: None };
        client.submit(ordinal, object).expect("there is room");
    }
    let mut done = Vec::new();
    loop {
        client.take(&mut done)?;
        if client.outstanding() == 0 {
            done.sort_by_key(|done| done.key);
            return Ok(done);
        }
        woken.recv().expect("the client lives");
    }
}

fn told(done: &Done) -> String {
    match &done.result {
        Ok(Outcome::Keep(object)) => String::from_utf8_lossy(&object.body).into_owned(),
        Ok(Outcome::Drop) => "dropped".to_owned(),
        Err(failure) => format!("{failure}: {}", done.why.as_deref().unwrap_or("-")),
    }
}

#[test]
fn the_example_of_the_docs_works() {
    if !has_python() {
        return;
    }
    let (_, behind) = DOCS.split_once("```python\n").unwrap();
    let (script, _) = behind.split_once("```").unwrap();
    let wanted = "return body.upper()";
    assert!(script.contains(wanted));
    let script = script.replace(
        wanted,
        "if body == b'drop': return None\n    if body == b'fail': raise ValueError('bad')\n    return body.upper()",
    );
    let folder = tempfile::tempdir().unwrap();
    let command = format!("python3 {}", write(folder.path(), &script).display());
    let large = vec![b'a'; 1 << 20];
    let mut bodies: Vec<&[u8]> = Vec::new();
    for _ in 0..100 {
        bodies.extend_from_slice(&[b"text", b"", b"drop", b"fail", &large]);
    }
    let done = run(&command, options(3), &bodies).unwrap();
    assert_eq!(done.len(), bodies.len());
    for (done, body) in done.iter().zip(&bodies) {
        match *body {
            b"drop" => assert_eq!(told(done), "dropped"),
            b"fail" => assert_eq!(told(done), "the worker says that it failed: bad"),
            body => assert_eq!(told(done).as_bytes(), body.to_ascii_uppercase()),
        }
    }
}

#[test]
fn only_the_object_at_fault_fails() {
    if !has_python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), ODD);
    let command = format!("python3 {} {}", file.display(), folder.path().display());
    let bodies: [&[u8]; 14] = [
        b"a", b"die", b"b", b"hang", b"large", b"c", b"outcome", b"half", b"drop", b"fail", b"big",
        b"last", b"d", b"e",
    ];
    let options = PoolOptions { timeout: Duration::from_secs(3), ..options(1) };
    let done = run(&command, options, &bodies).unwrap();
    let told: Vec<String> = done.iter().map(told).collect();
    let big = "x".repeat(1_000_000);
    let expected = [
        "name 0:0:a",
        "the worker died: exit code 1: no way",
        "name 2:2:b",
        "the command took too long: -",
        "the result of the command is larger than --max-object-size: -",
        "name 5:5:c",
        "the worker does not keep to the protocol: the outcome is none of 0, 1, 2",
        "the worker died: exit code 4",
        "dropped",
        "the worker says that it failed: because",
        &big,
        "last words",
        "name 12:12:d",
        "name 13:13:e",
    ];
    for (told, expected) in told.iter().zip(expected) {
        // The escape's letters stay; what a terminal would obey does not.
        assert_eq!(told.replace("[31m ", ""), expected);
    }
    match &done[0].result {
        Ok(Outcome::Keep(object)) => assert_eq!(object.content_type.as_deref(), Some("text/plain")),
        other => panic!("{other:?}"),
    }
}

/// A worker that has had enough ends: what it was sent meanwhile is another's, and nobody's fault.
#[test]
fn what_a_worker_left_undone_is_done_by_another() {
    if !has_python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), ODD);
    let command = format!("python3 {} {}", file.display(), folder.path().display());
    let bodies: [&[u8]; 7] = [b"enough", b"a", b"last", b"b", b"quit", b"quit", b"c"];
    let done = run(&command, options(1), &bodies).unwrap();
    let told: Vec<String> = done.iter().map(told).collect();
    // The same object ends every worker: it is that object's fault.
    let died = "the worker died: exit code 0";
    let expected = ["enough", "name 1:1:a", "last words", "name 3:3:b", died, died, "name 6:6:c"];
    assert_eq!(told, expected);
}

/// What comes behind an answer is found with the next object at the latest, which is then at fault.
#[test]
fn answers_nobody_asked_for_are_no_results() {
    if !has_python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), ODD);
    let command = format!("python3 {} {}", file.display(), folder.path().display());
    let done = run(&command, options(1), &[b"rest", b"a", b"b"]).unwrap();
    let told: Vec<String> = done.iter().map(told).collect();
    assert_ne!(told[1], "more");
    assert_eq!(told[2], "name 2:2:b");
}

#[test]
fn workers_that_never_come_up_end_the_run() {
    if !has_python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), ODD);
    let command =
        |mode: &str| format!("python3 {} {} {mode}", file.display(), folder.path().display());
    let error = run(&command("never"), options(1), &[]).unwrap_err();
    let told = "--transform exec-worker: the worker never came up: exit code 1: no model";
    assert_eq!(error.to_string(), told);
    assert_eq!(error.exit().code(), 4);
    let error = run("true", options(1), &[]).unwrap_err().to_string();
    assert_eq!(error, "--transform exec-worker: the worker never came up: exit code 0");
    let error = run(&command("loud"), options(1), &[]).unwrap_err().to_string();
    assert!(error.ends_with("it said `Loading model...\\n`"), "{error}");
    // It was up once, and dies with its first object.
    let error = run(&command("once"), options(1), &[b"die", b"a", b"b"]).unwrap_err();
    assert_eq!(error.to_string(), told);
}

/// Processes that are ended leave no zombies, whichever way they ended.
#[test]
fn nothing_is_left_behind() {
    if !has_python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), ODD);
    let command = format!("python3 {} {}", file.display(), folder.path().display());
    run(&command, options(2), &[b"a", b"die", b"last", b"b"]).unwrap();
    // Of this folder's processes none is left.
    let mark = folder.path().to_str().unwrap().to_owned();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(line) = std::fs::read(process.path().join("cmdline")) else { continue };
        assert!(!String::from_utf8_lossy(&line).contains(&mark), "{process:?}");
    }
}
