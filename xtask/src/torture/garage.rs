//! The same against Garage, a store that other people wrote and run: objects put, listed, fetched and
//! packed, killed and taken up.
//!
//! `cargo install` builds it the first time, which takes a quarter of an hour; a `garage` in the
//! PATH is used as it is.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use windrow_model::Corpus;
use windrow_testkit::Windrow;

use super::Torture;
use super::buckets::{crc, members, struck, tree};
use crate::cmd::{cargo, check, found};

const VERSION: &str = "2.5.0";

/// Objects that are put, beside the odd ones.
const OBJECTS: u64 = 100_000;

/// Bytes of one that goes in parts.
const LARGE: usize = 40 << 20;

const KILLS: u64 = 3;

/// Garage wants keys of its own form: GK and 12 bytes, and 32 bytes, in hexadecimal digits.
const ACCESS_KEY: &str = "GK77696e64726f77746f7274";
const SECRET: &str = "77696e64726f772f746f72747572652f7365637265742f6f662f6e6f626f6479";

/// How long it may take to come up.
const UP: Duration = Duration::from_secs(60);

/// A node of its own, until it is dropped.
struct Garage {
    program: PathBuf,
    config: PathBuf,
    url: String,
    child: Child,
}

impl Drop for Garage {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Garage {
    fn start(program: PathBuf, folder: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|why| format!("garage: {why}"))?;
        let [rpc, api] = [port()?, port()?];
        let config = folder.join("garage.toml");
        let shown = folder.display();
        let text = format!(
            "metadata_dir = \"{shown}/meta\"\ndata_dir = \"{shown}/data\"\ndb_engine = \"sqlite\"\n\
             replication_factor = 1\nrpc_bind_addr = \"127.0.0.1:{rpc}\"\n\
             rpc_public_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = \"{SECRET}\"\n\
             [s3_api]\ns3_region = \"garage\"\napi_bind_addr = \"127.0.0.1:{api}\"\n\
             root_domain = \".s3.garage.localhost\"\n"
        );
        std::fs::write(&config, text).map_err(|why| format!("garage: {why}"))?;
        let log = std::fs::File::create(folder.join("log")).map_err(|why| format!("log: {why}"))?;
        let child = Command::new(&program)
            .arg("-c")
            .arg(&config)
            .args(["server", "--single-node"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|why| format!("garage: {why}"))?;
        let garage = Self { program, config, url: format!("http://127.0.0.1:{api}"), child };
        let begun = Instant::now();
        while let Err(why) = garage.says(&["status"]) {
            if begun.elapsed() > UP {
                return Err(format!("it never came up: {why}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        garage.says(&["key", "import", "--yes", "-n", "torture", ACCESS_KEY, SECRET])?;
        Ok(garage)
    }

    fn says(&self, args: &[&str]) -> Result<(), String> {
        let said = Command::new(&self.program).arg("-c").arg(&self.config).args(args).output();
        let said = said.map_err(|why| format!("garage: {why}"))?;
        let why = String::from_utf8_lossy(&said.stderr);
        if said.status.success() { Ok(()) } else { Err(format!("garage {}: {why}", args[0])) }
    }

    fn bucket(&self, name: &str) -> Result<(), String> {
        self.says(&["bucket", "create", name])?;
        let allow = ["bucket", "allow", "--read", "--write", "--owner", name, "--key", ACCESS_KEY];
        self.says(&allow)
    }
}

pub(super) fn run(torture: &Torture) -> Result<(), String> {
    let root = torture.folder.path().join("garage");
    let source = root.join("source");
    let expected = fill(&source, torture.seed)?;
    let garage = Garage::start(program()?, &root.join("node"))?;
    for bucket in ["lake", "copy", "packs"] {
        garage.bucket(bucket)?;
    }
    let server = Windrow::new(&torture.windrow).serve_dir(&source);
    let call = |from: &str, to: &str, job: &str, format: &str| {
        let mut get = Command::new(&torture.windrow);
        get.args(["get", from, "--format", format, "--quiet", "--progress", "none"]);
        get.args(["--endpoint-url", &garage.url, "--region", "garage", "--shard-size", "500"]);
        let job = root.join(job);
        match to {
            "" => get.arg("-o").arg(job),
            bucket => get.args(["-o", bucket, "--job"]).arg(job),
        };
        get.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET);
        get.env("AWS_EC2_METADATA_DISABLED", "true").env_remove("AWS_SESSION_TOKEN");
        get
    };
    let (times, mut all) = (torture.rounds.unwrap_or(KILLS), 0);
    for (nth, (from, to, job, format)) in [
        (server.url.as_str(), "s3://lake", "job-put", "files"),
        ("s3://lake", "", "listed", "files"),
        ("s3://lake", "", "tar", "tar"),
        ("s3://lake", "s3://copy", "job-copy", "files"),
        ("s3://lake", "s3://packs", "job-packs", "tar"),
        ("s3://copy", "", "copied", "files"),
        ("s3://packs", "", "packed", "files"),
    ]
    .into_iter()
    .enumerate()
    {
        let line = || call(from, to, job, format);
        let begun = Instant::now();
        let kills = struck(torture.seed ^ (nth as u64) << 40, times, line)?;
        all += kills;
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "garage: {format} to {}: {kills} kills, {seconds:.0} s",
            [to, job][usize::from(to.is_empty())]
        );
    }
    let mut unpack = Command::new(&torture.windrow);
    unpack.arg("extract").arg(root.join("tar")).arg("-o").arg(root.join("plain")).arg("--quiet");
    check(unpack)?;
    let mut broken = Vec::new();
    if all == 0 {
        broken.push("no line was killed before its end".to_owned());
    }
    for (what, found) in [
        ("listed and fetched", tree(&root.join("listed"))?),
        ("to tar", tree(&root.join("plain"))?),
        ("to another bucket", tree(&root.join("copied"))?),
        ("to packs in another bucket", members(&root.join("packed"))?),
    ] {
        let lost = expected.iter().filter(|(key, sum)| found.get(*key) != Some(sum)).count();
        println!("garage: {what}: {} objects, {lost} lost or other", found.len());
        if lost > 0 || found.len() != expected.len() {
            broken.push(format!("{what}: {lost} lost, {} of {}", found.len(), expected.len()));
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(broken.join("; ")) }
}

/// Makes what is put, and gives its checksums.
fn fill(source: &Path, seed: u64) -> Result<BTreeMap<String, u32>, String> {
    let corpus = Corpus { count: OBJECTS, size: 300, seed };
    let mut all: Vec<(String, Vec<u8>)> = (0..OBJECTS)
        .map(|ordinal| {
            let (mut name, mut body) = (Vec::new(), Vec::new());
            corpus.name_into(ordinal, &mut name);
            corpus.body_into(ordinal, &mut body);
            (format!("{:02}/{}", ordinal % 50, String::from_utf8_lossy(&name)), body)
        })
        .collect();
    let mut large = Vec::new();
    Corpus { count: 1, size: LARGE as u64, seed }.body_into(0, &mut large);
    all.push(("large/body".to_owned(), large));
    all.push(("large/none".to_owned(), Vec::new()));
    for name in ["a b+c", "%2F%25", "ü/語", "~!$&'()*,;=:@", "q?x=1#y", "<&>\""] {
        all.push((format!("odd/{name}"), name.as_bytes().to_vec()));
    }
    let mut sums = BTreeMap::new();
    for (key, body) in all {
        let path = source.join(&key);
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let written = written.and_then(|()| std::fs::write(&path, &body));
        written.map_err(|why| format!("{}: {why}", path.display()))?;
        sums.insert(key, crc(&body));
    }
    Ok(sums)
}

/// The program; built if it is nowhere.
fn program() -> Result<PathBuf, String> {
    if found("garage") {
        return Ok("garage".into());
    }
    let root = crate::bench::target_folder()?.join("garage");
    let program = root.join("bin/garage");
    if !program.is_file() {
        println!("garage: building it, once");
        let mut install = cargo(&["install", "garage", "--version", VERSION, "--locked"]);
        install.args(["--no-default-features", "--features", "bundled-libs,sqlite", "--root"]);
        install.arg(&root).env("CARGO_TARGET_DIR", root.join("target"));
        // Its speed does not matter, that of its build does.
        install.env("CARGO_PROFILE_RELEASE_LTO", "off");
        install.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
        install.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        check(install)?;
    }
    Ok(program)
}

/// A port that was free a moment ago.
fn port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|why| format!("a port: {why}"))?;
    Ok(listener.local_addr().map_err(|why| format!("a port: {why}"))?.port())
}
