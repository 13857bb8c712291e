//! 100,000 objects of a bucket to files, to packs, and to another bucket, killed and taken up.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use windrow_model::Corpus;
use windrow_testkit::torture::Random;

use super::Torture;
use crate::cmd::{cargo, check};

const OBJECTS: u64 = 100_000;

/// Kills for each line.
const KILLS: u64 = 8;

const ACCESS_KEY: &str = "AKIAWINDROWTORTURE01";
const SECRET: &str = "windrow/torture/secret/of/nobody";

/// s3s-fs over a folder, until it is dropped.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(folder: &Path) -> Result<Self, String> {
        check(cargo(&["build", "--release", "--locked", "-p", "xtask", "--example", "s3_server"]))?;
        let program = crate::bench::target_folder()?.join("release/examples/s3_server");
        let mut child = Command::new(program)
            .arg(folder)
            .args([ACCESS_KEY, SECRET])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|why| format!("s3_server: {why}"))?;
        let mut url = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut url).map_err(|why| format!("s3_server: {why}"))?;
        }
        Ok(Self { child, url: url.trim().to_owned() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn run(torture: &Torture) -> Result<(), String> {
    let root = torture.folder.path().join("buckets");
    let lake = root.join("s3/lake");
    let corpus = Corpus { count: OBJECTS, size: 300, seed: torture.seed };
    let wrong = |why: std::io::Error| format!("{}: {why}", root.display());
    for folder in 0..100 {
        std::fs::create_dir_all(lake.join(format!("{folder:02}"))).map_err(wrong)?;
    }
    let mut expected = BTreeMap::new();
    let (mut name, mut body) = (Vec::new(), Vec::new());
    for ordinal in 0..OBJECTS {
        name.clear();
        body.clear();
        corpus.name_into(ordinal, &mut name);
        corpus.body_into(ordinal, &mut body);
        let key = format!("{:02}/{}", ordinal % 100, String::from_utf8_lossy(&name));
        std::fs::write(lake.join(&key), &body).map_err(wrong)?;
        expected.insert(key, crc(&body));
    }
    // s3s-fs walks all files for each page of a listing: here it is about what comes behind that.
    let keys = root.join("keys.txt");
    let lines: String = expected.keys().map(|key| format!("{key}\n")).collect();
    std::fs::write(&keys, lines).map_err(wrong)?;
    let server = Server::start(&root.join("s3"))?;
    let mut broken = Vec::new();
    for (nth, (what, bucket)) in
        [("files", false), ("tar", false), ("files", true), ("tar", true)].into_iter().enumerate()
    {
        let job = root.join(format!("job-{nth}"));
        let out = format!("out-{nth}");
        std::fs::create_dir(root.join("s3").join(&out)).map_err(wrong)?;
        let call = || {
            let mut get = Command::new(&torture.windrow);
            get.args(["get", "s3://lake", "--endpoint-url", &server.url, "--format", what]);
            get.arg("--keys").arg(&keys);
            get.args(["--quiet", "--progress", "none", "--shard-size", "5000"]);
            match bucket {
                true => get.args(["-o", &format!("s3://{out}"), "--job"]).arg(&job),
                false => get.arg("-o").arg(&job),
            };
            get.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET);
            get.env("AWS_EC2_METADATA_DISABLED", "true").env_remove("AWS_SESSION_TOKEN");
            get
        };
        let began = Instant::now();
        let seed = torture.seed ^ (nth as u64) << 40;
        let kills = match struck(seed, torture.rounds.unwrap_or(KILLS), call) {
            Ok(kills) => kills,
            Err(why) => {
                broken.push(format!("{what}, bucket {bucket}: {why}"));
                continue;
            }
        };
        let found = match (what, bucket) {
            ("files", false) => tree(&job)?,
            ("files", true) => tree(&root.join("s3").join(&out))?,
            (_, false) => unpacked(torture, &job, &root.join(format!("plain-{nth}")))?,
            (_, true) => members(&root.join("s3").join(&out))?,
        };
        let lost = expected.iter().filter(|(key, sum)| found.get(*key) != Some(sum)).count();
        let more = found.len() + lost - expected.len().min(found.len() + lost);
        println!(
            "buckets to {what}{}: {kills} kills, {} objects, {lost} lost or other, {more} more, {:.0} s",
            if bucket { " in a bucket" } else { "" },
            found.len(),
            began.elapsed().as_secs_f64()
        );
        if lost + more > 0 || found.len() != expected.len() {
            broken.push(format!("{what}, bucket {bucket}: {lost} lost, {more} more"));
        }
    }
    std::fs::remove_dir_all(&root).map_err(wrong)?;
    if broken.is_empty() { Ok(()) } else { Err(broken.join("; ")) }
}

/// Runs a line as often as it is to be killed, and once more to its end. Gives how often it was killed
/// before its end.
pub(super) fn struck(seed: u64, times: u64, line: impl Fn() -> Command) -> Result<u64, String> {
    let wrong = |why: std::io::Error| format!("the line: {why}");
    let (mut random, mut kills) = (Random(seed), 0);
    for _ in 0..times {
        let mut run = line().spawn().map_err(wrong)?;
        // Long enough for some of it to be recorded, short enough for some to be left.
        std::thread::sleep(Duration::from_millis(400) + random.part_of(Duration::from_secs(2)));
        kills += u64::from(run.try_wait().map_err(wrong)?.is_none());
        let _ = run.kill();
        run.wait().map_err(wrong)?;
    }
    let done = line().status().map_err(wrong)?;
    if done.success() { Ok(kills) } else { Err(format!("the last run ended with {done}")) }
}

/// Checksums of the files below a folder, without those that are the server's or windrow's own.
pub(super) fn tree(folder: &Path) -> Result<BTreeMap<String, u32>, String> {
    let mut found = BTreeMap::new();
    for (path, body) in windrow_testkit::Tree::read(folder).0 {
        let path = path.to_string_lossy().into_owned();
        if !path.starts_with('.') {
            found.insert(path, crc(&body));
        }
    }
    Ok(found)
}

fn unpacked(
    torture: &Torture,
    dest: &Path,
    plain: &PathBuf,
) -> Result<BTreeMap<String, u32>, String> {
    let mut extract = Command::new(&torture.windrow);
    extract.arg("extract").arg(dest).arg("-o").arg(plain).arg("--quiet");
    check(extract)?;
    tree(plain)
}

/// What GNU tar finds in the packs of a bucket.
pub(super) fn members(bucket: &Path) -> Result<BTreeMap<String, u32>, String> {
    let plain = bucket.with_extension("plain");
    std::fs::create_dir(&plain).map_err(|why| format!("{}: {why}", plain.display()))?;
    for entry in std::fs::read_dir(bucket).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "tar") {
            let mut tar = Command::new("tar");
            // Nothing may be there twice.
            tar.arg("--keep-old-files").arg("-xf").arg(entry.path()).arg("-C").arg(&plain);
            check(tar)?;
        }
    }
    tree(&plain)
}

pub(super) fn crc(body: &[u8]) -> u32 {
    // FNV-1a: enough to tell bodies of a corpus apart.
    body.iter().fold(0x811C_9DC5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
