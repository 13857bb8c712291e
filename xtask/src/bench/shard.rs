//! Lines to shards: `windrow shard`, beside what people do without it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};

use super::Bench;
use super::child::{CLIENT_CORE, SERVER_CORE, Usage, measure, measure_fed};
use super::report::{Row, Target};
use crate::cmd::found;

/// For one run, of whatever tool.
const LIMIT: Duration = Duration::from_secs(300);

/// Of a message, its line end not counted.
const BYTES: usize = 40;

/// Messages that are made; more are the same again.
const BLOCK: usize = 100_000;

/// Grouped in memory, written at the end: the fastest of the ways in plain Python.
const PYTHON: &str = r#"
import sys, mmh3
folder, shards = sys.argv[1], int(sys.argv[2])
digest = getattr(mmh3, "mmh3_32_uintdigest", None) or (lambda key: mmh3.hash(key, 0, False))
groups = [[] for _ in range(shards)]
for line in sys.stdin.buffer:
    groups[digest(line[:-1]) % shards].append(line)
for shard, lines in enumerate(groups):
    with open(f"{folder}/{shard}.txt", "ab") as file:
        file.writelines(lines)
"#;

/// What the system alone takes: reads from a pipe and writes to files by turns, as large as those of
/// windrow, no line looked at. The start of the interpreter counts, some hundredths of a second: of a
/// short run it is the larger part.
const BARE: &str = r#"
import fcntl, os, sys
folder, shards = sys.argv[1], int(sys.argv[2])
flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
files = [os.open(f"{folder}/{shard}.txt", flags, 0o644) for shard in range(shards)]
fcntl.fcntl(0, 1031, 1 << 20)  # F_SETPIPE_SZ
buffer = memoryview(bytearray(256 << 10))
turn = 0
while got := os.readv(0, [buffer]):
    for start in range(0, got, 64 << 10):
        os.write(files[turn % shards], buffer[start:min(start + (64 << 10), got)])
        turn += 1
"#;

/// By turns and not by hash, which awk has none of: less work.
const AWK: &str = r#"{ print > (folder "/" (NR % shards) ".txt") }"#;

/// CPU per message, from a pipe, on one core; and what more cores bring by the clock, from a file.
pub(crate) fn shard(bench: &Bench) -> Result<Vec<Row>, String> {
    let [many, few] = bench.counts.shard;
    bench.room(2 * (many * (BYTES + 1)) as u64)?;
    let block = block();
    let file = bench.fresh("lines");
    lines(&block, many, &file)?;
    let measured = |tool: &Tool, messages: usize| {
        bench.settle();
        let folder = bench.fresh_folder("shard")?;
        let command = tool.command(bench, &folder);
        let usage = match tool {
            Tool::File(_) => {
                let mut command = command;
                command.arg(&file);
                measure(command, None, LIMIT, &bench.folder)?
            }
            Tool::Wide => fed(command, None, &block, messages, &bench.folder)?,
            _ => fed(command, CLIENT_CORE, &block, messages, &bench.folder)?,
        };
        let written = size(&folder)?;
        super::remove(&folder);
        let wanted = (messages * (BYTES + 1)) as u64;
        if written != wanted {
            return Err(format!("{tool:?}: {written} bytes written of {wanted}"));
        }
        let us = usage.cpu_us / messages as f64;
        println!(
            "  {tool:?}: {us:.3} us, {:.1} M/s, {} MiB",
            messages as f64 / usage.wall_seconds / 1e6,
            usage.peak_rss_bytes >> 20
        );
        Ok((us, usage.wall_seconds))
    };
    let cost = |tool: &Tool, messages| measured(tool, messages).map(|(us, _)| us);
    let mut others = vec![Tool::Awk];
    let python = Command::new("python3").args(["-c", "import mmh3"]).stderr(Stdio::null()).status();
    if python.is_ok_and(|status| status.success()) {
        others.insert(0, Tool::Python);
    } else {
        println!("  note: Python has no mmh3: pip install mmh3");
    }
    if found("parallel") {
        others.push(Tool::Parallel);
    } else {
        println!("  note: no GNU parallel: apt-get install parallel");
    }
    let mut floors = vec![Tool::Cat];
    if found("python3") {
        floors.insert(0, Tool::Bare);
    }
    let (mut own, mut wide, mut faster, mut all) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut above = vec![Vec::new(); floors.len()];
    let mut ratios = vec![Vec::new(); others.len()];
    for _ in 0..bench.rounds {
        let one = cost(&Tool::Windrow(100), many)?;
        for (tool, above) in floors.iter().zip(&mut above) {
            above.push(one / cost(tool, many)?);
        }
        // Of as many lines, starts included, as in the runs of the others.
        let same = cost(&Tool::Windrow(100), few)?;
        for (tool, ratios) in others.iter().zip(&mut ratios) {
            // Some of them take very long on a machine that is busy: that is no reason to have no row.
            match cost(tool, few) {
                Ok(us) => ratios.push(us / same),
                Err(why) => println!("  note: {why}"),
            }
        }
        let (_, alone) = measured(&Tool::File(Some(1)), many)?;
        let (_, together) = measured(&Tool::File(None), many)?;
        faster.push(alone / together);
        all.push(cost(&Tool::Wide, many)?);
        wide.push(cost(&Tool::Windrow(100_000), many)?);
        own.push(one);
    }
    let row = |what, figures, unit, target| Row { name: "shard", what, figures, unit, target };
    let mut rows = vec![row(
        format!(
            "`windrow shard --shards 100`, {many} lines of {BYTES} bytes from a pipe: CPU each"
        ),
        own,
        "us",
        // Of a short run the start is a large part.
        (many == super::FULL.shard[0]).then_some(Target::Most(0.06)),
    )];
    for (tool, above) in floors.iter().zip(above) {
        let what = match tool {
            Tool::Bare => "a bare loop of as large reads and writes of the same files",
            _ => "`cat > file`",
        };
        rows.push(row(format!("the same, in CPU of {what}"), above, "x", None));
    }
    for (tool, ratios) in others.iter().zip(ratios).filter(|(_, ratios)| !ratios.is_empty()) {
        let (what, target) = match tool {
            Tool::Python => ("Python's mmh3, grouped in memory", Some(Target::Least(10.0))),
            Tool::Awk => ("awk, by turns", None),
            _ => ("GNU parallel --shard, 4 jobs of cat (each is a Perl of 140 MB)", None),
        };
        rows.push(row(format!("{what}, {few} lines, in CPU of windrow's"), ratios, "x", target));
    }
    rows.push(row("the same from a pipe, on all cores: CPU each".to_owned(), all, "us", None));
    let what = "the same from a file, on all cores: by the clock, as fast as --cores 1".to_owned();
    rows.push(row(what, faster, "x", None));
    rows.push(row("the same with --shards 100000: CPU each".to_owned(), wide, "us", None));
    Ok(rows)
}

#[derive(Debug)]
enum Tool {
    Windrow(u32),
    /// With 100 shards, from a pipe, on all cores.
    Wide,
    /// The same from a file, with so many cores.
    File(Option<usize>),
    Bare,
    Cat,
    Python,
    Awk,
    Parallel,
}

impl Tool {
    fn command(&self, bench: &Bench, folder: &Path) -> Command {
        let named = |program: &str, args: &[&str]| {
            let mut command = Command::new(program);
            command.args(args);
            command
        };
        match self {
            Self::Windrow(_) | Self::Wide | Self::File(_) => {
                let (shards, cores) = match self {
                    Self::Windrow(shards) => (*shards, None),
                    Self::File(cores) => (100, *cores),
                    _ => (100, None),
                };
                let mut command = bench.binaries.windrow();
                command.args(["shard", "--shards", &shards.to_string(), "-o"]).arg(folder);
                if let Some(cores) = cores {
                    command.args(["--cores", &cores.to_string()]);
                }
                command
            }
            Self::Python | Self::Bare => {
                let script = if matches!(self, Self::Bare) { BARE } else { PYTHON };
                let mut command = named("python3", &["-c", script]);
                command.arg(folder).arg("100");
                command
            }
            Self::Cat => {
                let mut command = named("sh", &["-c", "exec cat > 0.txt"]);
                command.current_dir(folder);
                command
            }
            Self::Awk => {
                let variable = format!("folder={}", folder.display());
                named("awk", &["-v", &variable, "-v", "shards=100", AWK])
            }
            Self::Parallel => {
                let args = ["--will-cite", "--pipe", "--shard", "1", "-j4", "cat > {#}.txt"];
                let mut command = named("parallel", &args);
                command.current_dir(folder);
                command
            }
        }
    }
}

/// Runs a tool that reads so many messages from a pipe; what it costs to write them is not counted.
fn fed(
    command: Command,
    core: Option<usize>,
    block: &[u8],
    messages: usize,
    scratch: &Path,
) -> Result<Usage, String> {
    let (reader, mut writer) = std::io::pipe().map_err(|why| format!("pipe: {why}"))?;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if let Some(core) = SERVER_CORE {
                let mut one = CpuSet::new();
                one.set(core);
                // Where that cannot be, the figures are a little worse.
                sched_setaffinity(None, &one).ok();
            }
            // A tool that ends early says so itself.
            write(block, messages, &mut writer).ok();
        });
        measure_fed(command, reader.into(), core, LIMIT, scratch)
    })
}

/// Writes so many messages.
fn write(block: &[u8], messages: usize, to: &mut impl Write) -> std::io::Result<()> {
    let mut left = messages * (BYTES + 1);
    while left > 0 {
        let piece = &block[..left.min(block.len())];
        to.write_all(piece)?;
        left -= piece.len();
    }
    Ok(())
}

/// A file of so many messages.
fn lines(block: &[u8], messages: usize, path: &Path) -> Result<(), String> {
    std::fs::File::create(path)
        .and_then(|mut file| write(block, messages, &mut file))
        .map_err(|why| format!("bench folder: {why}"))
}

/// Messages of random letters and digits.
fn block() -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    let mut state: u64 = 1;
    let mut block = Vec::with_capacity(BLOCK * (BYTES + 1));
    for _ in 0..BLOCK {
        for _ in 0..BYTES {
            // Knuth's MMIX generator; its high bits are the good ones.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            block.push(LETTERS[(state >> 58) as usize]);
        }
        block.push(b'\n');
    }
    block
}

/// Bytes of all files of a folder.
fn size(folder: &Path) -> Result<u64, String> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder).map_err(|why| format!("bench folder: {why}"))? {
        let entry = entry.and_then(|entry| entry.metadata());
        sum += entry.map_err(|why| format!("bench folder: {why}"))?.len();
    }
    Ok(sum)
}
