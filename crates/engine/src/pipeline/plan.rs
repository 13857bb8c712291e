//! What a run is to do, with every choice made.

use crate::schedule::RetryPolicy;
use crate::sink::{Format, ShardSize};
use crate::source::Api;
use std::path::PathBuf;
use std::time::Duration;
use windrow_model::limits::{
    AUTO_CONNECTIONS_PER_CORE, AUTO_PIPELINED_CONNECTIONS_PER_CORE, COMMIT_INTERVAL, CONCURRENCY,
    DIRECTORY_HANDLES, HELD_BATCHES, HELD_FILES, OBJECT_BYTES, PACK_BLOCK_BYTES, PACK_BLOCKS,
    PIPELINE_DEPTH, RESERVED_FDS,
};
use windrow_model::url::Url;
use windrow_model::{Error, FailureClass};

/// What a run is to do. [`Plan::new`] has the defaults of the command line.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub url: Url,
    /// Shape of its API.
    pub api: Api,
    /// The names come from this `failures.jsonl` and not from a listing.
    pub failed_list: Option<PathBuf>,
    /// The directory to write to.
    pub dest: PathBuf,
    /// Form of the output.
    pub format: Format,
    /// When a pack is full.
    pub shard_size: ShardSize,
    /// Threads that fetch; 0 for one on each core of the machine.
    pub cores: usize,
    /// Requests in flight over all cores; `None` for a choice by windrow.
    pub concurrency: Option<usize>,
    /// Requests in flight on one connection.
    pub pipeline: usize,
    /// When to try again.
    pub retry: RetryPolicy,
    /// How long a server may send nothing while it owes a response.
    pub timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// Memory for bodies and buffers, in bytes.
    pub memory: u64,
    /// A larger object fails, with class `too_large`.
    pub max_object_size: u64,
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
    /// Files that wait for their names, in one list of one core.
    pub(super) held_files: usize,
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
    pub fn new(url: Url, dest: impl Into<PathBuf>, format: Format) -> Self {
        Self {
            url,
            api: Api::default(),
            failed_list: None,
            dest: dest.into(),
            format,
            shard_size: ShardSize { objects: 10_000, bytes: 256 << 20 },
            cores: 0,
            concurrency: None,
            pipeline: 1,
            retry: RetryPolicy::default(),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            memory: 256 << 20,
            max_object_size: OBJECT_BYTES,
            limit: None,
            max_failures: None,
            headers: Vec::new(),
            fresh: false,
            only: Only::All,
            commit_interval: COMMIT_INTERVAL,
            seed: 0,
            connections: 1,
            held_files: 1,
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
        bounds("--cores", self.cores, 1024)?;
        bounds("--pipeline", self.pipeline, PIPELINE_DEPTH)?;
        let connections = match self.concurrency {
            Some(concurrency) => {
                bounds("--concurrency", concurrency, CONCURRENCY)?;
                self.pipeline = self.pipeline.min(concurrency);
                concurrency / self.pipeline
            }
            None if self.pipeline > 1 => AUTO_PIPELINED_CONNECTIONS_PER_CORE * self.cores,
            None => AUTO_CONNECTIONS_PER_CORE * self.cores,
        };
        // No core without a connection.
        self.cores = self.cores.min(connections);
        let handles = match self.format {
            Format::Files => DIRECTORY_HANDLES,
            _ => 4,
        };
        let kept = RESERVED_FDS + self.cores * (handles + 4);
        let room = files.saturating_sub(kept);
        if room < self.cores {
            let what = format!("{files} open files are too few for {} cores", self.cores);
            return Err(Error::environment("ulimit -n", what)
                .hint("raise the limit, or use fewer cores: `--cores 1`"));
        }
        self.connections = connections.min(room);
        // Beside the file its directory may be held.
        let held = (room - self.connections) / (self.cores * HELD_BATCHES * 2);
        self.held_files = held.clamp(1, *HELD_FILES.end());
        Ok(self)
    }

    /// The source, for people and for the run's file.
    pub(super) fn source(&self) -> String {
        match &self.failed_list {
            Some(path) => {
                let whole = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                whole.display().to_string()
            }
            None => self.url.to_string(),
        }
    }

    /// What was chosen, for people.
    pub(super) fn setting(&self) -> String {
        let Self { cores, connections, pipeline, .. } = self;
        let spool = self.spool_above() >> 10;
        format!(
            "{cores} cores, {connections} connections, {pipeline} requests in flight on each; \
             bodies above {spool} KiB go by way of the disk"
        )
    }

    /// Connections of one core.
    pub(super) fn links(&self, core: usize) -> usize {
        self.connections / self.cores + usize::from(core < self.connections % self.cores)
    }

    /// Size of the blocks in which packs are written: an eighth of the memory for all of them.
    pub(super) fn block_bytes(&self) -> usize {
        let share = self.memory / 8 / (self.cores * PACK_BLOCKS) as u64;
        usize::try_from(share)
            .unwrap_or(usize::MAX)
            .clamp(*PACK_BLOCK_BYTES.start(), *PACK_BLOCK_BYTES.end())
    }

    /// Bodies above this size go to disk before they go to the sink.
    pub(super) fn spool_above(&self) -> usize {
        // Of the pipelined requests of a connection only one has a body under way.
        let share = self.memory / 2 / (self.connections as u64).max(1);
        usize::try_from(share).unwrap_or(usize::MAX).clamp(16 << 10, 4 << 20)
    }
}
