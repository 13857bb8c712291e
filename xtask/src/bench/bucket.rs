//! A real server of S3 in a process of its own, who may ask it, and what of other programs can.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Bench;
use super::child::{Server, Usage, measure};
use super::windrow::{Got, summary};

const ACCESS_KEY: &str = "AKIAWINDROWBENCH0001";
const SECRET: &str = "windrow/bench/secret/of/nobody+1";

/// Gives a command the credentials, and nothing of the user's own.
pub(crate) fn credentials(command: &mut Command) {
    command
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    for name in ["AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"] {
        command.env_remove(name);
    }
}

/// s3s-fs over a folder.
#[derive(Debug)]
pub(crate) struct Buckets {
    pub(crate) server: Server,
    folder: PathBuf,
}

impl Buckets {
    /// Starts it; `folder` is where its buckets are.
    pub(crate) fn start(bench: &Bench, folder: &Path) -> Result<Self, String> {
        let mut command = Command::new(bench.binaries.example("s3_server")?);
        command.arg(folder).args([ACCESS_KEY, SECRET]);
        Ok(Self { server: Server::printing_url(command)?, folder: folder.to_path_buf() })
    }

    pub(crate) fn url(&self) -> &str {
        &self.server.url
    }

    /// Makes a bucket, and says where its objects are.
    pub(crate) fn bucket(&self, name: &str) -> Result<PathBuf, String> {
        let path = self.folder.join(name);
        std::fs::create_dir(&path).map_err(|why| format!("bucket {name}: {why}"))?;
        Ok(path)
    }
}

/// `windrow get` from or to buckets, with credentials, and what it cost.
pub(crate) struct Call<'a> {
    pub(crate) bench: &'a Bench,
    pub(crate) source: &'a str,
    /// A folder or a bucket.
    pub(crate) output: &'a str,
    /// Where the state is; of a folder, that folder.
    pub(crate) job: &'a Path,
    pub(crate) objects: usize,
    pub(crate) core: Option<usize>,
    pub(crate) args: &'a [&'a str],
}

impl Call<'_> {
    pub(crate) fn run(&self, limit: Duration, scratch: &Path) -> Result<(Got, Usage), String> {
        let mut get = self.bench.binaries.windrow();
        credentials(&mut get);
        get.args(["get", self.source, "-o", self.output, "--progress", "none"]).args(self.args);
        if self.output.starts_with("s3://") {
            get.arg("--job").arg(self.job);
        }
        let usage = measure(get, self.core, limit, scratch)?;
        Ok((summary(self.job, &usage, self.objects)?, usage))
    }
}

/// A program of a Python package: past the little script that a manager of versions puts before it,
/// and past one that only starts the binary of the package.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    const WHERE: &str = r#"
import importlib.util, os, shutil, sys, sysconfig
name = sys.argv[1]
spec = importlib.util.find_spec(name)
places = [sysconfig.get_path("scripts")]
if spec and spec.origin:
    places.insert(0, os.path.join(os.path.dirname(spec.origin), "bin"))
print(shutil.which(name, path=os.pathsep.join(places)) or "")
"#;
    let said = Command::new("python3").args(["-c", WHERE, name]).stderr(Stdio::null()).output();
    let said = String::from_utf8(said.ok()?.stdout).ok()?;
    let path = PathBuf::from(said.trim());
    match path.is_file() {
        true => Some(path),
        // Installed in another way.
        false => crate::cmd::found(name).then(|| PathBuf::from(name)),
    }
}

/// Whether Python has all of these modules.
pub(crate) fn modules(names: &str) -> bool {
    let import = format!("import {names}");
    let tried = Command::new("python3").args(["-c", &import]).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

/// Files below a folder that are not ours, so that nobody is fast by storing nothing.
pub(crate) fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let seen = entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    seen.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => files(&entry.path()),
        _ => 1,
    })
    .sum()
}

/// A folder in memory if there is one with room for so many bytes; it is deleted when this is dropped.
pub(crate) fn in_memory(
    bench: &Bench,
    bytes: u64,
) -> Result<(tempfile::TempDir, &'static str), String> {
    let make = |folder: &Path| tempfile::Builder::new().prefix("windrow-bench-").tempdir_in(folder);
    let memory = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(memory).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    if room > bytes
        && let Ok(folder) = make(memory)
    {
        return Ok((folder, "tmpfs"));
    }
    bench.room(bytes)?;
    make(&bench.folder).map(|folder| (folder, "disk")).map_err(|why| format!("bench folder: {why}"))
}
