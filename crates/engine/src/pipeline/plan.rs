//! What a run is to do, with every choice made.

use super::depot::Remote;
use super::gathering::Gathering;
use crate::pack::PackOptions;
use crate::report::Report;
use crate::schedule::RetryPolicy;
use crate::shard::Division;
use crate::sink::{Format, ShardSize};
use crate::source::Api;
use crate::source::bucket::Bucket;
use crate::source::inventory::Inventory;
use crate::source::list::ListSpec;
use crate::transform::{Chain, PoolOptions};
use crate::wire::sigv4::Identity;
use crate::wire::{NetworkOptions, Patience};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use windrow_model::limits::{
    AUTO_CONNECTIONS_MOST, AUTO_CONNECTIONS_PER_CORE, AUTO_PIPELINED_CONNECTIONS_PER_CORE,
    COMMIT_INTERVAL, COMMIT_PACKS, CONCURRENCY, CORE_FDS, DIRECTORY_HANDLES, GET_SHARDS,
    HELD_BATCHES, HELD_FILES, LEAST_CORE_FDS, MIN_SPEED, MIN_SPEED_WINDOW, OBJECT_BYTES,
    PACK_BLOCK_BYTES, PACK_BLOCKS, PIPELINE_DEPTH, REDIRECTS, RESERVED_FDS, SHARD_BLOCK_BYTES,
    TRANSFORM_TIMEOUT, UPLOAD_CONNECTIONS,
};
use windrow_model::url::Url;
use windrow_model::{Error, FailureClass};

/// When a pack is full, unless somebody says otherwise.
pub(super) const SHARD_SIZE: ShardSize = ShardSize { objects: 10_000, bytes: 256 << 20 };

/// Memory for bodies and buffers in bytes, unless somebody says otherwise.
pub(super) const MEMORY: u64 = 256 << 20;

/// What a run is to do. [`Plan::new`] has the defaults of the command line.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the objects are.
    pub source: Source,
    /// The directory to write to; that of the job where [`Plan::remote`] is.
    pub dest: PathBuf,
    /// Where in an object store objects and packs go, and not to that directory.
    pub remote: Option<Remote>,
    /// Form of the output.
    pub format: Format,
    /// When a pack is full.
    pub shard_size: ShardSize,
    /// Which pack an object goes to, where its content or name decides: that of its shard. The number
    /// of a pack leaves the shard as remainder when it is divided by the number of shards.
    pub division: Option<Division>,
    /// What packs tell of their objects.
    pub pack: PackOptions,
    /// What is done with bodies before they are stored.
    pub transform: Option<Chain>,
    /// Threads for that; 0 for one on each core of the machine.
    pub transform_threads: usize,
    /// Time for one object there.
    pub transform_timeout: Duration,
    /// Threads that fetch; 0 for one on each core of the machine.
    pub cores: usize,
    /// Requests in flight over all cores; `None` for a choice by windrow.
    pub concurrency: Option<usize>,
    /// Requests in flight on one connection.
    pub pipeline: usize,
    /// When to try again.
    pub retry: RetryPolicy,
    /// How long responses may take.
    pub patience: Patience,
    /// Whether the last requests of a run may be sent a second time.
    pub hedge: bool,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// Memory for bodies and buffers, in bytes.
    pub memory: u64,
    /// A larger object fails, with class `too_large`.
    pub max_object_size: u64,
    /// How servers are reached.
    pub network: NetworkOptions,
    /// Requests started in each second, at most; retries included.
    pub rate: Option<f64>,
    /// Of these, so many may start at once after a pause.
    pub rate_burst: u32,
    /// The same for each server.
    pub rate_per_host: Option<f64>,
    /// Ask for bodies with a coding (gzip, br, zstd), and undo it.
    pub compressed: bool,
    /// Bytes received in each second, at most.
    pub limit_rate: Option<u64>,
    /// Requests under way to one server; `None` for no such bound.
    pub per_host: Option<usize>,
    /// The list may be another than that of the earlier run: its pages are found by counting, and
    /// objects by their names.
    pub resume_by_name: bool,
    /// Redirects of one object that are followed.
    pub max_redirect: u32,
    /// A redirect from https to http is followed too.
    pub insecure_redirect: bool,
    /// Stop at the end of so many tasks.
    pub limit: Option<u64>,
    /// Stop when so many objects failed.
    pub max_failures: Option<MaxFailures>,
    /// Header lines beside those that windrow sends.
    pub headers: Vec<(String, String)>,
    /// Forget an earlier run at the destination.
    pub fresh: bool,
    /// What of an earlier run to take up.
    pub only: Only,
    /// Time between two commits.
    pub commit_interval: Duration,
    /// Seed of the jitter.
    pub seed: u64,
    /// Connections of all cores together; settled before a run.
    pub(super) connections: usize,
    /// Requests in flight at first, where their number is found while the run goes on.
    pub(super) start: usize,
    /// Directory handles that there is room for on each core; settled before a run.
    pub(super) directories: usize,
    /// Files that wait for their names, in one list of one core.
    pub(super) held_files: usize,
    /// Full packs without a name that there is room for on each core; settled before a run.
    pub(super) held_packs: usize,
    /// Connections of each core to where objects are put; settled before a run.
    pub(super) uploads: usize,
    /// Pages of a bucket's listing that are asked for at once, at most; settled before a run.
    pub(super) listers: usize,
}

/// Where the objects of a run are.
#[derive(Debug, Clone)]
pub enum Source {
    /// At one server, that has a listing.
    Server(Box<Server>),
    /// At the addresses of a list.
    List(Box<ListSpec>),
}

/// A server with a listing.
#[derive(Debug, Clone)]
pub struct Server {
    /// The server, and the path before those of its API.
    pub url: Url,
    /// Shape of its API.
    pub api: Api,
    /// Where the names come from.
    pub names: NamesFrom,
    /// The server is an S3 service, and this is what of it is fetched.
    pub bucket: Option<Bucket>,
    /// How requests are signed.
    pub signing: Option<Signing>,
}

/// Where the names of a server's objects come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamesFrom {
    /// Its listing.
    Listing,
    /// The `failures.jsonl` of an earlier run.
    Failed(PathBuf),
    /// A file of keys, one a line.
    Keys(PathBuf),
    /// An inventory of the bucket.
    Inventory(Inventory),
}

/// How requests to an S3 service are signed.
#[derive(Debug, Clone)]
pub struct Signing {
    /// Who asks.
    pub identity: Arc<Identity>,
    /// Where the bucket is.
    pub region: String,
}

impl Source {
    /// The server, if there is one.
    pub(super) fn server(&self) -> Option<&Server> {
        match self {
            Self::Server(server) => Some(server),
            Self::List(_) => None,
        }
    }
}

impl From<Url> for Source {
    fn from(url: Url) -> Self {
        Self::Server(Box::new(Server {
            url,
            api: Api::default(),
            names: NamesFrom::Listing,
            bucket: None,
            signing: None,
        }))
    }
}

impl From<ListSpec> for Source {
    fn from(list: ListSpec) -> Self {
        Self::List(Box::new(list))
    }
}

/// What of an earlier run to take up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Only {
    /// What is pending, and what failed.
    #[default]
    All,
    /// What is pending.
    Pending,
    /// What failed, with one of these classes; with any if there are none.
    Failed(Vec<FailureClass>),
}

/// How many failed objects are too many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxFailures {
    /// More than so many.
    Count(u64),
    /// More than this part (0.0-1.0) of the objects that have an outcome, once there are 100.
    Part(f64),
}

impl MaxFailures {
    /// Whether `failed` of `settled` objects are too many.
    pub fn exceeded(self, failed: u64, settled: u64) -> bool {
        match self {
            Self::Count(most) => failed > most,
            Self::Part(part) => settled >= 100 && failed as f64 > part * settled as f64,
        }
    }
}

impl Plan {
    /// A plan with the defaults.
    pub fn new(source: impl Into<Source>, dest: impl Into<PathBuf>, format: Format) -> Self {
        Self {
            source: source.into(),
            dest: dest.into(),
            remote: None,
            format,
            shard_size: SHARD_SIZE,
            division: None,
            pack: PackOptions::default(),
            transform: None,
            transform_threads: 0,
            transform_timeout: TRANSFORM_TIMEOUT,
            cores: 0,
            concurrency: None,
            pipeline: 1,
            retry: RetryPolicy::default(),
            patience: Patience {
                silence: Duration::from_secs(30),
                total: None,
                min_speed: MIN_SPEED,
                window: MIN_SPEED_WINDOW,
            },
            hedge: true,
            connect_timeout: Duration::from_secs(10),
            memory: MEMORY,
            max_object_size: OBJECT_BYTES,
            network: NetworkOptions::default(),
            rate: None,
            rate_burst: 1,
            rate_per_host: None,
            compressed: false,
            limit_rate: None,
            per_host: None,
            resume_by_name: false,
            max_redirect: REDIRECTS,
            insecure_redirect: false,
            limit: None,
            max_failures: None,
            headers: Vec::new(),
            fresh: false,
            only: Only::All,
            commit_interval: COMMIT_INTERVAL,
            seed: 0,
            connections: 1,
            start: 1,
            directories: 0,
            held_files: 1,
            held_packs: 1,
            uploads: 0,
            listers: 1,
        }
    }

    /// Settles what was left open, within the limits of the machine; `files` is how many files
    /// the process may open.
    ///
    /// # Errors
    /// A figure outside its bounds.
    pub(super) fn settle(mut self, files: usize) -> Result<Self, Error> {
        let bounds = |name: &str, value: usize, most: usize| match value {
            0 => Err(Error::usage(name, "must be at least 1")),
            value if value > most => Err(Error::usage(name, format!("must be at most {most}"))),
            _ => Ok(()),
        };
        if self.cores == 0 {
            self.cores = crate::rt::machine::cores();
        }
        check_division(self.division.as_ref(), self.format, self.memory)?;
        bounds("--cores", self.cores, 1024)?;
        bounds("--pipeline", self.pipeline, PIPELINE_DEPTH)?;
        // No core that may put nothing.
        let puts = self.remote.as_ref().and_then(|remote| remote.concurrency);
        self.cores = self.cores.min(puts.unwrap_or(usize::MAX)).max(1);
        let connections = match self.concurrency {
            Some(concurrency) => {
                bounds("--concurrency", concurrency, CONCURRENCY)?;
                self.pipeline = self.pipeline.min(concurrency);
                concurrency / self.pipeline
            }
            None => {
                let pipelined = self.pipeline > 1;
                self.start = match pipelined {
                    true => AUTO_PIPELINED_CONNECTIONS_PER_CORE * self.cores * self.pipeline,
                    false => AUTO_CONNECTIONS_PER_CORE * self.cores,
                };
                (CONCURRENCY / self.pipeline).min(AUTO_CONNECTIONS_MOST)
            }
        };
        // No core without a connection.
        self.cores = self.cores.min(connections);
        // Fewer cores rather than none: some connections, directories and files for each.
        let fixed = |cores: usize| RESERVED_FDS + cores * CORE_FDS;
        while self.cores > 1 && files < fixed(self.cores) + self.cores * LEAST_CORE_FDS {
            self.cores -= 1;
        }
        let room = files.saturating_sub(fixed(self.cores));
        let share = room / 4 / self.cores;
        let held = Held::of(self.format, share, self.lanes());
        let mut taken = held.files;
        if let Some(remote) = &self.remote {
            let wanted = remote.concurrency.map(|all| all / self.cores);
            let most = wanted.unwrap_or(*UPLOAD_CONNECTIONS.end());
            self.uploads = most.min(share).max(1);
            let files = if self.format == Format::Files { 0 } else { held.files };
            // One that is closed and the one in its place.
            taken = files + self.uploads * 2;
        }
        self.directories = held.directories;
        (self.held_files, self.held_packs) = (held.held_files, held.held_packs);
        let mut room = room.saturating_sub(self.cores * taken);
        self.listers = self.pages_at_once().min(room / 16).max(1);
        // The first of them is reserved.
        room = room.saturating_sub(self.listers - 1);
        // A connection and the file that a large body on it goes to.
        let room = room / 2;
        if room < self.cores {
            let what = format!("{files} open files are too few");
            let hint = match &self.division {
                None => "64 are enough".to_owned(),
                Some(division) => format!("each of the {} shards is one", division.shards),
            };
            return Err(Error::environment("ulimit -n", what).hint(hint));
        }
        self.connections = connections.min(room);
        Ok(self)
    }

    /// Pages of a listing that may be of use at once.
    fn pages_at_once(&self) -> usize {
        let bucket = self.source.server().and_then(|server| server.bucket.as_ref());
        let width = bucket.map_or(1, |bucket| bucket.width);
        // What a page brings is enough for a while, where objects are fetched at a rate.
        let rates = self.rate.into_iter().chain(self.rate_per_host);
        let slow = rates.map(|rate| (rate / 500.0).ceil() as usize).min().unwrap_or(usize::MAX);
        let limit = self.limit.map_or(u64::MAX, |limit| limit.div_ceil(1000));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        width.min(slow).min(limit).max(1)
    }

    /// Packs that one core has open.
    fn lanes(&self) -> usize {
        let shards = self.division.as_ref().map_or(1, |division| division.shards as usize);
        shards.div_ceil(self.cores)
    }

    /// The source, for people and for the run's file.
    pub(super) fn source(&self) -> String {
        let whole = |path: &PathBuf| match path.to_str() {
            Some("-") => "-".to_owned(),
            _ => std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string(),
        };
        match &self.source {
            Source::Server(server) => match (&server.names, &server.bucket) {
                (NamesFrom::Failed(path), _) => whole(path),
                (_, Some(bucket)) => format!("s3://{}/{}", bucket.name, bucket.prefix),
                (_, None) => server.url.to_string(),
            },
            Source::List(list) => list.inputs.iter().map(whole).collect::<Vec<_>>().join(" "),
        }
    }

    /// What was chosen, for people.
    pub(super) fn setting(&self) -> String {
        let Self { cores, connections, pipeline, .. } = self;
        let spool = self.spool_above() >> 10;
        let flight = match self.concurrency {
            Some(_) => {
                format!("{connections} connections, {pipeline} requests in flight on each")
            }
            None => format!(
                "requests in flight as it is fastest, {} at first and {} at most",
                self.start,
                connections * pipeline
            ),
        };
        format!("{cores} cores, {flight}; bodies above {spool} KiB go by way of the disk")
    }

    /// What finds the number of requests in flight, where that is left to windrow.
    pub(super) fn crowd(&self) -> Option<Gathering> {
        if self.concurrency.is_some() {
            return None;
        }
        let most = self.connections * self.pipeline;
        Some(Gathering::new(self.cores, self.start.min(most), self.cores, most))
    }

    /// Requests in flight, at most, as far as is known.
    pub(super) fn in_flight(&self, report: &Report) -> usize {
        let found = usize::try_from(report.concurrency.load(Ordering::Relaxed)).unwrap_or(0);
        match self.concurrency {
            Some(_) => self.connections * self.pipeline,
            None => found.max(self.start.min(self.connections * self.pipeline)),
        }
    }

    /// Connections that read at once, as far as is known.
    pub(super) fn readers(&self) -> usize {
        match self.concurrency {
            Some(_) => self.connections,
            None => self.start,
        }
    }

    /// How bodies are transformed: a quarter of the memory is for those on their way.
    pub(super) fn pool_options(&self) -> PoolOptions {
        PoolOptions {
            threads: self.transform_threads,
            queue_bytes: self.memory / 4,
            timeout: self.transform_timeout,
            max_output: self.max_object_size,
            ..PoolOptions::default()
        }
    }

    /// Connections of one core.
    pub(super) fn links(&self, core: usize) -> usize {
        self.connections / self.cores + usize::from(core < self.connections % self.cores)
    }

    /// Size of the blocks in which packs are written: an eighth of the memory for all of them.
    pub(super) fn block_bytes(&self) -> usize {
        Self::block_bytes_of(self.memory, self.cores, self.lanes())
    }

    /// The same for so many cores that have so many packs open each.
    pub(super) fn block_bytes_of(memory: u64, cores: usize, lanes: usize) -> usize {
        let blocks = PACK_BLOCKS - 1 + lanes;
        let share = memory / 8 / (cores * blocks) as u64;
        let least =
            if blocks > PACK_BLOCKS { SHARD_BLOCK_BYTES } else { *PACK_BLOCK_BYTES.start() };
        usize::try_from(share).unwrap_or(usize::MAX).clamp(least, *PACK_BLOCK_BYTES.end())
    }

    /// Bodies above this size go to disk before they go to the sink.
    pub(super) fn spool_above(&self) -> usize {
        let share = self.memory / 2 / self.cores as u64 / 8;
        usize::try_from(share).unwrap_or(usize::MAX).clamp(16 << 10, 4 << 20)
    }

    /// Bytes of all bodies that one core has in memory; what comes beyond goes to disk, too.
    pub(super) fn bodies_bytes(&self) -> usize {
        usize::try_from(self.memory / 2 / self.cores as u64).unwrap_or(usize::MAX)
    }
}

/// Whether there can be that many packs at once.
pub(super) fn check_division(
    division: Option<&Division>,
    format: Format,
    memory: u64,
) -> Result<(), Error> {
    let Some(&Division { shards, .. }) = division else { return Ok(()) };
    if shards == 0 || shards > GET_SHARDS {
        return Err(Error::usage("--shards", format!("must be 1 to {GET_SHARDS}")));
    }
    if format.packs().is_none() {
        let what = format!("format {} has no packs", format.name());
        return Err(Error::usage("--shards", what).hint("add --format jsonl or another"));
    }
    let each = (format.encoder_bytes() + SHARD_BLOCK_BYTES) as u64;
    let need = u64::from(shards) * each;
    if need > memory {
        let what = format!("{shards} packs at once take {} MiB", need >> 20);
        let hint = format!(
            "--memory {}MiB, or at most {} shards; --format jsonl takes the least",
            (need >> 20) + 1,
            memory / each
        );
        return Err(Error::usage("--shards", what).hint(hint));
    }
    Ok(())
}

/// Files that the output holds open, on one core.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) directories: usize,
    pub(super) held_files: usize,
    pub(super) held_packs: usize,
    /// All of them.
    pub(super) files: usize,
}

impl Held {
    /// Of a share of the files that may be open; so many packs are written at once.
    pub(super) fn of(format: Format, share: usize, lanes: usize) -> Self {
        let mut held = Self { directories: 0, held_files: 1, held_packs: 1, files: 0 };
        match format {
            Format::Files => {
                held.directories = DIRECTORY_HANDLES.min(share);
                // Beside each file its directory may be held.
                held.held_files = (2 * share / (HELD_BATCHES * 2)).clamp(1, *HELD_FILES.end());
                held.files = held.directories + held.held_files * HELD_BATCHES * 2;
            }
            Format::Null => {}
            _ => {
                held.held_packs = share.clamp(1, COMMIT_PACKS);
                held.files = held.held_packs + lanes;
            }
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(format: Format, cores: usize, files: usize) -> Result<Plan, Error> {
        let url = Url::parse("http://127.0.0.1:1").expect("a URL");
        let mut plan = Plan::new(url, "out", format);
        plan.cores = cores;
        plan.settle(files)
    }

    #[test]
    fn a_run_fits_into_the_open_files_that_there_are() {
        for format in Format::ALL {
            for cores in [1, 2, 3, 8, 64, 1024] {
                for files in (64..2000).chain([4096, 65_536, usize::MAX]) {
                    let plan = settled(format, cores, files).expect("64 are enough");
                    let Plan { cores: own, connections, directories, .. } = plan;
                    assert!(own >= 1 && own <= cores && connections >= own);
                    let held = match format {
                        Format::Files => directories + plan.held_files * HELD_BATCHES * 2,
                        Format::Null => 0,
                        _ => plan.held_packs,
                    };
                    let used = RESERVED_FDS + own * (CORE_FDS + held) + connections * 2;
                    assert!(used <= files, "{used} of {files} for {cores} cores");
                    if format == Format::Files {
                        assert!(directories >= 4 && plan.held_files >= 2, "{files}, {cores}");
                    }
                }
            }
        }
        let plan = settled(Format::Tar, 2, 1 << 20).expect("plenty");
        assert_eq!((plan.cores, plan.connections), (2, AUTO_CONNECTIONS_MOST));
        assert_eq!(plan.start, 2 * AUTO_CONNECTIONS_PER_CORE);
        assert!(settled(Format::Tar, 2, 30).is_err());
    }
}
