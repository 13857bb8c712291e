//! `windrow shard`: every line in the file that its hash says, whatever happens on the way.

use crate::support::{Place, entries, windrow};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{PipeWriter, Write};
use std::path::Path;
use std::process::Command;
use windrow_engine::content::murmur3_32;
use windrow_testkit::child::Process;
use windrow_testkit::{Finished, Windrow, wait};

/// Makes and checks with Python's mmh3. Arguments: `make FILE`, or `check FILE DIR N`.
const MMH3: &str = r#"
import os, random, sys
try:
    import mmh3
except ImportError:
    sys.exit(77)
if sys.argv[1] == "make":
    rng = random.Random(5)
    def character():
        while True:
            bound = rng.choice([0x80, 0x80, 0x800, 0x10000, 0x110000])
            code = rng.randrange(bound)
            if code != 10 and not 0xD800 <= code <= 0xDFFF:
                return chr(code)
    with open(sys.argv[2], "wb") as file:
        for _ in range(200_000):
            text = "".join(character() for _ in range(rng.randrange(30)))
            file.write(text.encode() + b"\n")
else:
    file, folder, shards = sys.argv[2], sys.argv[3], int(sys.argv[4])
    expected = {}
    with open(file, "rb") as lines:
        for line in lines:
            text = line[:-1].decode()
            shard = mmh3.hash(text, signed=False) % shards
            expected.setdefault(f"{shard}.txt", []).append(line)
    assert sorted(os.listdir(folder)) == sorted(expected), os.listdir(folder)
    for name, lines in expected.items():
        with open(os.path.join(folder, name), "rb") as found:
            assert found.read() == b"".join(lines), name
"#;

/// `false` where Python has no mmh3.
fn mmh3(args: &[&str]) -> bool {
    let mut command = Command::new("python3");
    let output = command.args(["-c", MMH3]).args(args).env("PYTHONUTF8", "1").output();
    let output = output.expect("python3: apt-get install python3");
    if output.status.code() == Some(77) {
        eprintln!("not tested: Python has no mmh3: pip install mmh3");
        return false;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

/// `windrow shard` into `out`, with a summary in `summary`.
fn shard(place: &Place, shards: u32) -> Windrow {
    let shards = shards.to_string();
    let call = windrow().args(["shard", "--shards", &shards, "-o"]).arg(place.at("out"));
    call.arg("--summary").arg(place.at("summary"))
}

/// A call that reads from a pipe.
struct Fed {
    process: Process,
    input: PipeWriter,
}

impl Fed {
    fn start(call: &Windrow) -> Self {
        let (reader, input) = std::io::pipe().expect("a pipe");
        let mut command = call.command();
        let process = Process::spawn(command.stdin(reader)).expect("windrow can be started");
        Self { process, input }
    }

    fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.input.write_all(bytes.as_ref()).expect("windrow reads");
    }

    /// Closes the pipe.
    fn end(self) -> Finished {
        let Self { process, input } = self;
        drop(input);
        finished(process)
    }

    /// The pipe stays open.
    fn signal(self, signal: Signal) -> Finished {
        self.process.signal(signal);
        let Self { process, input } = self;
        let done = finished(process);
        drop(input);
        done
    }
}

fn finished(mut process: Process) -> Finished {
    let status = process.wait(wait::LIMIT);
    let status = status.unwrap_or_else(|| panic!("windrow does not end: {}", process.stderr()));
    Finished {
        code: status.code(),
        signal: None,
        stdout: process.stdout(),
        stderr: process.stderr(),
        summary: None,
        dest: None,
    }
}

/// Feeds all of it through a pipe.
fn fed(call: &Windrow, bytes: impl AsRef<[u8]>) -> Finished {
    let mut fed = Fed::start(call);
    fed.write(bytes);
    fed.end()
}

/// One thread does everything, or others write and decompress.
const WAYS: [[&str; 2]; 2] = [["--cores", "1"], ["--cores", "2"]];

fn figure(place: &Place, name: &str) -> u64 {
    let json = fs::read(place.at("summary")).expect("a summary");
    let json: Value = serde_json::from_slice(&json).expect("JSON");
    json[name].as_u64().unwrap_or_else(|| panic!("{name}: {json:#}"))
}

/// The files by name.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |name: String| {
        let content = fs::read(folder.join(&name)).expect("a file that can be read");
        (name, content)
    };
    entries(folder).into_iter().map(read).collect()
}

/// What the files must be for lines that each end with LF.
fn divided<'l>(
    lines: impl IntoIterator<Item = &'l [u8]>,
    shards: u32,
) -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for line in lines {
        let key = line.strip_suffix(b"\n").expect("a line has an end");
        let name = format!("{}.txt", murmur3_32(key) % shards);
        files.entry(name).or_default().extend_from_slice(line);
    }
    files
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

#[track_caller]
fn assert_divided(place: &Place, text: &[u8], shards: u32) {
    assert_same(&files(&place.at("out")), &divided(lines(text), shards));
}

/// Says the name of the first file that differs, and not what is in it.
#[track_caller]
fn assert_same(found: &BTreeMap<String, Vec<u8>>, expected: &BTreeMap<String, Vec<u8>>) {
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected));
    for (name, content) in found {
        let lens = (content.len(), expected[name].len());
        assert!(*content == expected[name], "{name} differs, of {lens:?} bytes");
    }
}

fn numbered(count: usize) -> Vec<u8> {
    (0..count).flat_map(|nth| format!("message {nth}\n").into_bytes()).collect()
}

#[test]
fn shards_are_those_of_mmh3() {
    let place = Place::new();
    let file = place.at("lines").display().to_string();
    if !mmh3(&["make", &file]) {
        return;
    }
    let text = fs::read(&file).expect("a file of lines");
    for shards in [1, 7, 100, 4096] {
        for (from_pipe, way) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
            let _ = fs::remove_dir_all(place.at("out"));
            let call = shard(&place, shards).args(WAYS[way]);
            if from_pipe {
                fed(&call, &text).expect(0);
            } else {
                call.arg(&file).run().expect(0);
            }
            let folder = place.at("out").display().to_string();
            assert!(mmh3(&["check", &file, &folder, &shards.to_string()]));
            assert_eq!(figure(&place, "lines"), 200_000);
            assert_eq!(figure(&place, "bytes"), text.len() as u64);
            assert_eq!(figure(&place, "bytes_written"), text.len() as u64);
        }
    }
}

#[test]
fn bytes_stay_as_they_are() {
    let place = Place::new();
    let text = b"crlf\r\n\n\n\0nul\0\n\xFF\xFE\x80\n \t \nr\rr\nlast without end";
    fed(&shard(&place, 5), text).expect(0).says(["8 lines"]);
    assert_divided(&place, &[&text[..], b"\n"].concat(), 5);
}

#[test]
fn nothing_comes_of_nothing() {
    let place = Place::new();
    fed(&shard(&place, 5), "").expect(0).says(["0 lines"]);
    assert_eq!(entries(&place.at("out")), [""; 0]);
}

#[test]
fn quiet_is_quiet() {
    let place = Place::new();
    let done = fed(&shard(&place, 5).arg("-q"), "a\n").expect(0);
    assert_eq!((done.stderr.as_str(), done.stdout.as_str()), ("", ""));
}

#[test]
fn a_second_run_appends() {
    let place = Place::new();
    let text = numbered(1000);
    let (first, second) = text.split_at(text.len() / 3);
    // The cut is within a line: what the first run ends with becomes a line of its own.
    fed(&shard(&place, 10), first).expect(0);
    let done = fed(&shard(&place, 10), second).expect(0);
    assert!(!done.stderr.contains("note"), "{}", done.stderr);
    assert_divided(&place, &[first, b"\n", second].concat(), 10);
}

#[test]
fn a_line_without_end_gets_one_before_another_follows() {
    let place = Place::new();
    fs::create_dir(place.at("out")).expect("a folder");
    place.file("out/0.txt", "was there\nwithout end");
    place.file("out/notes.md", "others' files stay");
    fed(&shard(&place, 1), "new\n").expect(0);
    let content = fs::read_to_string(place.at("out/0.txt")).expect("text");
    assert_eq!(content, "was there\nwithout end\nnew\n");
    assert_eq!(entries(&place.at("out")), ["0.txt", "notes.md"]);
    // With nothing to append it is left alone.
    place.file("out/0.txt", "without end");
    fed(&shard(&place, 1), "").expect(0);
    assert_eq!(fs::read_to_string(place.at("out/0.txt")).expect("text"), "without end");
}

#[test]
fn other_shards_than_before_are_noticed() {
    let place = Place::new();
    fed(&shard(&place, 10), numbered(100)).expect(0);
    fed(&shard(&place, 11), numbered(100)).expect(0).says(["note: ", "another --shards or --key"]);
}

#[test]
fn a_signal_while_the_pipe_stays_open() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        for (way, shards) in [(0, 100), (1, 100), (1, 3)] {
            let place = Place::new();
            // Larger than the pipe: when it is all written, windrow is at work. Of three shards groups
            // are full many times.
            let text = numbered(200_000);
            let call = shard(&place, shards).args(["--flush-interval", "1h"]).args(WAYS[way]);
            let mut fed = Fed::start(&call);
            fed.write(&text);
            fed.write("the beginning of");
            fed.signal(signal).expect(code).says(["200,000 lines", "stopped within a line"]);
            let mut found = files(&place.at("out"));
            let unfinished = found.remove("unfinished.txt");
            assert_eq!(unfinished.as_deref(), Some(&b"the beginning of\n"[..]));
            assert_same(&found, &divided(lines(&text), shards));
            assert_eq!(figure(&place, "unwritten"), 0);
        }
    }
}

#[test]
fn a_signal_while_nothing_comes() {
    let place = Place::new();
    let mut fed = Fed::start(&shard(&place, 3));
    fed.write("one\n");
    wait::until("the line", || entries_or_none(&place.at("out")).len() == 1);
    fed.signal(Signal::TERM).expect(143).says(["1 lines"]);
    assert_divided(&place, b"one\n", 3);
}

#[test]
fn a_signal_while_more_comes_than_can_be_read() {
    for way in WAYS {
        let place = Place::new();
        let mut fed = Fed::start(&shard(&place, 3).args(way));
        let mut input = fed.input.try_clone().expect("a descriptor");
        let writer = std::thread::spawn(move || {
            let text = numbered(1000);
            while input.write_all(&text).is_ok() {}
        });
        let len = || fs::metadata(place.at("out/0.txt")).map_or(0, |file| file.len());
        wait::until("lines", || len() > 5 << 20);
        fed.process.signal(Signal::TERM);
        let status = fed.process.wait(wait::LIMIT).expect("windrow ends");
        assert_eq!(status.code(), Some(143));
        writer.join().expect("the writer ends when nobody reads");
        let mut found = files(&place.at("out"));
        found.remove("unfinished.txt");
        let count = |content: &Vec<u8>| lines(content).count() as u64;
        assert_eq!(found.values().map(count).sum::<u64>(), figure(&place, "lines"));
        for (name, content) in &found {
            assert_eq!(divided(lines(content), 3).keys().collect::<Vec<_>>(), [name]);
        }
    }
}

#[test]
fn a_signal_while_nobody_opens_a_fifo() {
    let place = Place::new();
    let fifo = place.at("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from(0o600),
        0,
    )
    .expect("a fifo");
    let running = shard(&place, 3).arg(&fifo).start();
    wait::until("the folder", || place.at("out").exists());
    running.signal(Signal::TERM);
    running.finish().expect(143);
}

fn entries_or_none(folder: &Path) -> Vec<String> {
    if folder.exists() { entries(folder) } else { Vec::new() }
}

#[test]
fn lines_are_there_after_the_flush_interval() {
    let place = Place::new();
    let mut fed = Fed::start(&shard(&place, 1).args(["--flush-interval", "20ms"]));
    let out = place.at("out/0.txt");
    let holds = |text: &str| fs::read_to_string(&out).is_ok_and(|content| content == text);
    fed.write("one\n");
    wait::until("the first line", || holds("one\n"));
    fed.write("tw");
    fed.write("o\nthr");
    wait::until("the second line", || holds("one\ntwo\n"));
    fed.write("ee\n");
    wait::until("the third line", || holds("one\ntwo\nthree\n"));
    fed.end().expect(0);
    assert!(holds("one\ntwo\nthree\n"));
}

#[test]
fn what_was_handed_over_is_there_after_the_flush_interval_too() {
    for way in WAYS {
        let place = Place::new();
        let call = shard(&place, 3).args(["--flush-interval", "20ms"]).args(way);
        let mut fed = Fed::start(&call);
        let mut text = Vec::new();
        // Each time some groups are full, and some lines are behind those.
        for _ in 0..5 {
            let more = numbered(30_000);
            fed.write(&more);
            text.extend_from_slice(&more);
            let len = || -> u64 {
                let len =
                    |name| fs::metadata(place.at("out").join(name)).map_or(0, |file| file.len());
                ["0.txt", "1.txt", "2.txt"].map(len).iter().sum()
            };
            wait::until("all of it", || len() == text.len() as u64);
            assert_divided(&place, &text, 3);
        }
        fed.end().expect(0);
        assert_divided(&place, &text, 3);
    }
}

#[test]
fn a_kill_leaves_no_gap_and_the_next_run_appends() {
    for way in WAYS {
        let place = Place::new();
        let call = shard(&place, 10).args(way);
        let mut killed = Fed::start(&call);
        let mut input = killed.input.try_clone().expect("a descriptor");
        let writer = std::thread::spawn(move || {
            for nth in 0_u64.. {
                if writeln!(input, "{nth}").is_err() {
                    break;
                }
            }
        });
        let len = || fs::metadata(place.at("out/0.txt")).map_or(0, |file| file.len());
        wait::until("lines", || len() > 1 << 20);
        killed.process.signal(Signal::KILL);
        killed.process.wait(wait::LIMIT).expect("it is gone");
        drop(killed);
        writer.join().expect("the writer ends when nobody reads");
        let before = files(&place.at("out"));
        // The folder is free, a line that was cut is ended, and all else is behind that.
        fed(&call, "again\n").expect(0);
        let found = files(&place.at("out"));
        let target = format!("{}.txt", murmur3_32(b"again") % 10);
        let mut numbers = 0;
        for (name, content) in &before {
            let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            // Of each file the beginning is there, in order and without a gap.
            let expected: BTreeMap<_, _> = [(name.clone(), content[..whole].to_vec())].into();
            assert_same(&divided(lines(&content[..whole]), 10), &expected);
            let numbered: Vec<u64> = lines(&content[..whole])
                .map(|line| {
                    std::str::from_utf8(line).expect("digits").trim_end().parse().expect("a number")
                })
                .collect();
            let last = numbered.last().copied().unwrap_or(0);
            let shard = |nth: &u64| format!("{}.txt", murmur3_32(nth.to_string().as_bytes()) % 10);
            assert!(numbered.iter().copied().eq((0..=last).filter(|nth| shard(nth) == *name)));
            numbers += numbered.len();
            if *name == target {
                assert!(found[name].starts_with(content));
                assert!(found[name].ends_with(b"\nagain\n"));
            } else {
                assert!(found[name] == *content, "{name}");
            }
        }
        assert!(numbers > 100_000, "{numbers}");
    }
}

#[test]
fn many_shards_with_few_descriptors() {
    let place = Place::new();
    let text = numbered(300_000);
    let limit = ["-c", "ulimit -n 256 && exec \"$@\"", "sh"].map(OsString::from);
    let call = shard(&place, 100_000).under("sh", &limit);
    fed(&call, &text).expect(0).says(["300,000 lines"]);
    assert_divided(&place, &text, 100_000);
    assert!(figure(&place, "max_rss_bytes") < 150 << 20, "{}", figure(&place, "max_rss_bytes"));

    // All of them again, with memory for a few lines of each, and each of them due all the time.
    let call = call.args(["--memory", "8MiB", "--flush-interval", "1ms"]);
    fed(&call, &text).expect(0).says(["300,000 lines"]);
    assert_divided(&place, &[&text[..], &text].concat(), 100_000);
    assert!(figure(&place, "max_rss_bytes") < 100 << 20, "{}", figure(&place, "max_rss_bytes"));

    // And once more, with so few that hardly any can stay open.
    let limit = ["-c", "ulimit -n 16 && exec \"$@\"", "sh"].map(OsString::from);
    let call = shard(&place, 1000).under("sh", &limit);
    let _ = fs::remove_dir_all(place.at("out"));
    fed(&call, &text).expect(0);
    assert_divided(&place, &text, 1000);
}

#[test]
fn a_line_longer_than_memory() {
    let place = Place::new();
    let long = vec![b'x'; 30 << 20];
    let text = [&b"before\n"[..], &long, b"\nafter\n"].concat();
    fed(&shard(&place, 1).args(["--memory", "8MiB"]), &text).expect(0).says(["3 lines"]);
    assert_divided(&place, &text, 1);
    assert!(figure(&place, "max_rss_bytes") < 48 << 20, "{}", figure(&place, "max_rss_bytes"));
}

#[test]
fn several_files_some_of_them_compressed() {
    let place = Place::new();
    let text = numbered(3000);
    let (plain, rest) = text.split_at(20_003);
    let (gzip, zstd) = rest.split_at(9_999);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(gzip).expect("memory");
    let sources = [
        place.file("a", plain),
        place.file("b.gz", encoder.finish().expect("memory")),
        place.file("c.zst", zstd::encode_all(zstd, 1).expect("memory")),
    ];
    shard(&place, 10).args(&sources).run().expect(0);
    // A file that ends within a line ends it.
    assert_divided(&place, &[plain, b"\n", gzip, b"\n", zstd].concat(), 10);

    let broken = place.file("d.gz", "no gzip");
    shard(&place, 10).arg(broken).run().expect(4).says(["d.gz: cannot decompress"]);
}

#[test]
fn large_compressed_files() {
    let place = Place::new();
    let text = numbered(400_000);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&text).expect("memory");
    let gzip = encoder.finish().expect("memory");
    // A smaller one would not be decompressed by another thread.
    assert!(gzip.len() > 1 << 20, "{}", gzip.len());
    let (whole, broken) =
        (place.file("a.gz", &gzip), place.file("b.gz", &gzip[..gzip.len() - (64 << 10)]));
    let sources = [whole, place.file("c.zst", zstd::encode_all(&text[..], 1).expect("memory"))];
    for way in WAYS {
        let _ = fs::remove_dir_all(place.at("out"));
        shard(&place, 10).args(way).args(&sources).run().expect(0);
        assert_divided(&place, &[&text[..], &text].concat(), 10);

        // What came before the error is there: whole lines, from the first on.
        let _ = fs::remove_dir_all(place.at("out"));
        let done = shard(&place, 10).args(way).arg(&broken).run().expect(4);
        done.says(["b.gz: cannot decompress"]);
        let count = usize::try_from(figure(&place, "lines")).expect("a number");
        assert!((300_000..400_000).contains(&count), "{count}");
        let begun: Vec<u8> = lines(&text).take(count).flatten().copied().collect();
        assert_divided(&place, &begun, 10);
    }
}

#[test]
fn fields_of_json() {
    let place = Place::new();
    let text = concat!(
        "{\"id\":\"a\",\"n\":1}\n",
        "{\"n\":2,\"id\":\"\\u0061\"}\r\n",
        "{\"id\":7}\n",
        "{\"n\":3}\n",
        "no json\n",
        "\n",
    );
    let call = shard(&place, 1000).args(["--key", "json:id"]);
    let done = fed(&call, text).expect(1);
    done.says(["6 lines", "no shard for 3 lines: 1 without the key, 2 no JSON", "unmatched.txt"]);
    let name = |key: &str| format!("{}.txt", murmur3_32(key.as_bytes()) % 1000);
    let all: Vec<&[u8]> = lines(text.as_bytes()).collect();
    let mut expected = BTreeMap::from([("unmatched.txt".to_owned(), all[3..].concat())]);
    expected.insert(name("a"), all[..2].concat());
    expected.insert(name("7"), all[2].to_vec());
    assert_same(&files(&place.at("out")), &expected);
}

#[test]
fn columns() {
    for (delimiter, args) in
        [("\t", &[][..]), (",", &["--delimiter", ","]), ("\t", &["--delimiter", "\\t"])]
    {
        let place = Place::new();
        let text = format!("1{delimiter}a{delimiter}x\n2{delimiter}a\r\nnone\n");
        let call = shard(&place, 1000).args(["--key", "column:2"]).args(args);
        fed(&call, &text).expect(1).says(["no shard for 1 lines: 1 without the key"]);
        let all: Vec<&[u8]> = lines(text.as_bytes()).collect();
        let expected = BTreeMap::from([
            (format!("{}.txt", murmur3_32(b"a") % 1000), all[..2].concat()),
            ("unmatched.txt".to_owned(), all[2].to_vec()),
        ]);
        assert_same(&files(&place.at("out")), &expected);
    }
}

#[test]
fn jsonl_holds_json() {
    let place = Place::new();
    let call = shard(&place, 1).args(["--format", "jsonl"]);
    fed(&call, "{\"a\":1}\n{\"a\":\n[2]\n").expect(1).says(["1 no JSON"]);
    let found = files(&place.at("out"));
    let text = |name: &str| String::from_utf8_lossy(&found[name]).into_owned();
    assert_eq!(text("0.jsonl"), "{\"a\":1}\n[2]\n");
    assert_eq!(text("unmatched.txt"), "{\"a\":\n");
}

#[test]
fn one_writer_at_a_time() {
    let place = Place::new();
    let mut first = Fed::start(&shard(&place, 1));
    first.write("one\n");
    wait::until("the line", || place.at("out/0.txt").exists());
    fed_refused(&shard(&place, 1)).expect(4).says(["in use by another windrow", "hint: "]);
    first.write("two\n");
    first.end().expect(0);
    assert_divided(&place, b"one\ntwo\n", 1);
}

/// Nothing is written: it may end before it reads.
fn fed_refused(call: &Windrow) -> Finished {
    Fed::start(call).end()
}

#[test]
fn what_cannot_be_done_is_said() {
    let place = Place::new();
    let lines = place.file("lines", "a\n");
    for shards in ["0", "100001", "-1", "x"] {
        let call = windrow().args(["shard", "--shards", shards, "-o"]).arg(place.at("out"));
        call.run().expect(2);
    }
    shard(&place, 1).arg(place.at("nothing")).run().expect(2).says(["nothing: no such file"]);
    shard(&place, 1).arg(place.path()).run().expect(2).says(["is a directory"]);
    shard(&place, 1).args(["-", &lines, "-"]).run().expect(2).says(["once only"]);
    shard(&place, 1).args(["--delimiter", ",", &lines]).run().expect(2).says(["column:N"]);
    shard(&place, 1).args(["--cores", "0", &lines]).run().expect(2).says(["at least 1"]);
    shard(&place, 1).args(["--memory", "1k", &lines]).run().expect(2).says(["at least 8 MiB"]);
    assert_eq!(place.entries(), ["lines"]);

    // An output that is an input would never end.
    shard(&place, 1).arg(&lines).run().expect(0);
    let own = place.at("out/0.txt");
    shard(&place, 1).arg(&own).run().expect(2).says(["is read and would be written", "hint: "]);
    assert_eq!(fs::read_to_string(&own).expect("text"), "a\n");

    // Nothing is written through a link, or into what is no file.
    fs::remove_file(&own).expect("a file");
    std::os::unix::fs::symlink(&lines, &own).expect("a link");
    shard(&place, 1).arg(&lines).run().expect(4).says(["0.txt: cannot open for appending"]);
    assert_eq!(fs::read_to_string(&lines).expect("text"), "a\n");
    fs::remove_file(&own).expect("a link");
    fs::create_dir(&own).expect("a folder");
    shard(&place, 1).arg(&lines).run().expect(4).says(["0.txt: ", "lost: 1 lines"]);
}

#[test]
fn a_file_that_cannot_be_written_does_not_keep_others_from_it() {
    for way in WAYS {
        let place = Place::new();
        let text = numbered(200_000);
        let source = place.file("lines", &text);
        fs::create_dir_all(place.at("out/1.txt")).expect("a folder in the way");
        let done = shard(&place, 3).args(way).arg(source).run().expect(4);
        done.says(["1.txt: cannot open for appending", "lost: "]);
        fs::remove_dir(place.at("out/1.txt")).expect("a folder");
        let found = files(&place.at("out"));
        let whole = divided(lines(&text), 3);
        let mut written = 0;
        for (name, content) in &found {
            assert!(whole[name].starts_with(content) && content.ends_with(b"\n"), "{name}");
            written += lines(content).count() as u64;
        }
        assert_eq!(found.len(), 2);
        assert!(written > 1000, "{written}");
        assert_eq!(written + figure(&place, "unwritten"), figure(&place, "lines"));
    }
}

/// Runs windrow with its folder on a file system of 2 MiB, and copies what is there then.
const SMALL_DISK: &str = r#"
mount -t tmpfs -o size=2m,nr_inodes=0 none "$DISK" || exit 77
"$@"
code=$?
cp -a "$DISK/out" "$COPY" || exit 78
exit $code
"#;

#[test]
fn a_full_disk_tears_no_line() {
    let cases = [(400_000, 10), (400_000, 2_000)].into_iter();
    for ((count, shards), way) in cases.flat_map(|case| WAYS.map(|way| (case, way))) {
        let place = Place::new();
        let disk = place.at("disk");
        fs::create_dir(&disk).expect("a folder to mount on");
        let source = place.file("lines", numbered(count));
        let shards_text = shards.to_string();
        let call = windrow().args(["shard", "--shards", &shards_text, "--memory", "8MiB", "-o"]);
        let call = call
            .arg(disk.join("out"))
            .args(way)
            .arg("--summary")
            .arg(place.at("summary"))
            .arg(source);
        let call = call.command();
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", SMALL_DISK, "sh"]).arg(call.get_program());
        command.args(call.get_args()).env("DISK", &disk).env("COPY", place.at("copy"));
        let Ok(process) = Process::spawn(&mut command) else {
            eprintln!("not tested: there is no `unshare`");
            return;
        };
        let done = finished(process);
        if done.code == Some(77) || done.stderr.contains("unshare failed") {
            eprintln!("not tested: no mount namespace: {}", done.stderr);
            return;
        }
        done.expect(4).says(["No space left on device", "hint: ", "lost: "]);
        let found = files(&place.at("copy"));
        let count = |content: &Vec<u8>| lines(content).count() as u64;
        let written = found.values().map(count).sum::<u64>();
        assert_eq!(written + figure(&place, "unwritten"), figure(&place, "lines"));
        assert!(written > 10_000, "{written}");
        // Of each file the beginning is there, in order and without a gap.
        let whole = divided(lines(&numbered(400_000)), shards);
        for (name, content) in &found {
            assert!(whole[name].starts_with(content), "{name}");
            assert!(content.is_empty() || content.ends_with(b"\n"), "{name}");
        }
    }
}
