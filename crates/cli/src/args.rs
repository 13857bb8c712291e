//! The command line. Every flag has an environment variable `WINDROW_*`.

mod dest;
mod pack;
mod read;
mod s3;
mod shard;
mod transform;

pub(crate) use dest::DestArgs;
pub(crate) use pack::{PackArgs, Repack};
pub(crate) use read::{Cat, Extract, Ls, Status, Verify};
pub(crate) use s3::{S3Args, S3Style};

pub(crate) use shard::{Key, LineFormat, Shard};
pub(crate) use transform::TransformArgs;

use crate::units::{parse_byte_rate, parse_bytes, parse_duration, parse_rate};
use clap::{ArgGroup, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;
use windrow_engine::pipeline::{MaxFailures, Only};
use windrow_engine::source::list::{DigestKind, Form};
use windrow_engine::wire::Allowed;
use windrow_engine::{Format, ShardSize};
use windrow_model::{FailureClass, limits};
use windrow_server::{Allow, ClockOffset, Coding, Faults, Knee, Redirect, SignKey};

/// Fetch millions to billions of small objects, as fast as the hardware allows, losing none.
#[derive(Debug, Parser)]
#[command(name = "windrow", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Examples:
  windrow demo                                  try it: serve, fetch and check a million objects
  windrow get http://host:8080 -o out/          empty a file server into files
  windrow get http://host:8080 -o out/ --format tar --pipeline 64
  windrow get urls.txt -o images/ --sample 1000
  windrow get urls.parquet -o docs/ --format tar --rate 500/s
  windrow get s3://photos/2024/ -o out/ --format parquet
  windrow cat out/ 2024/07.jpg > 07.jpg         one object of a pack
  windrow repack out/ -o new/ --format jsonl    another form for what is there
  windrow status out/                           how a run stands, and how to go on with it
  windrow verify out/                           read all of it again, and compare
  windrow shard --shards 100 -o logs/ < lines   lines to logs/0.txt ... logs/99.txt by their hash
  windrow serve --dir some/folder               serve a folder to windrow or anybody

Exit codes: 0 every object stored, or all is right · 1 some failed, or something is wrong ·
2 usage · 3 stopped by a rule · 4 the environment · 130/143 after a signal and a clean stop")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Reads the command line and the environment; on a mistake, says so and ends the process.
pub(crate) fn parse() -> Args {
    // Help names the variables and not what they hold: that may be a secret.
    let command = Args::command()
        .mut_subcommands(|command| command.mut_args(|arg| arg.hide_env_values(true)));
    Args::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetch every object of a source into a destination
    Get(Box<Get>),
    /// Tell how a run stands and how to go on with it, and change nothing
    Status(Status),
    /// Read everything that a run stored again, and compare it with what was recorded
    Verify(Verify),
    /// List the names of the objects that a run stored
    Ls(Ls),
    /// Write the body of an object to standard output
    Cat(Cat),
    /// Write objects as files into a directory
    Extract(Extract),
    /// Write the objects of a destination into another one, in any form
    Repack(Repack),
    /// Divide lines among files by the hash of a key: murmur3_x86_32(key) % N
    Shard(Shard),
    /// Serve objects that windrow can fetch: a folder, or a corpus that needs no disk
    Serve(Box<Serve>),
    /// Serve, fetch and check objects on this machine, and say what a billion would take
    Demo(Demo),
}

/// `windrow get`
#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    /// Where the objects are: http(s)://HOST:PORT/BASE, a server with a listing (port and base may be
    /// left out); or lists of URLs: .txt, .csv, .tsv, .jsonl or .parquet files, .gz or .zst too, a
    /// folder of them, `-` for standard input, the failures.jsonl of an earlier run
    #[arg(env = "WINDROW_SOURCE", required = true, num_args = 1.., value_delimiter = None)]
    pub(crate) source: Vec<String>,

    /// Directory to write to, or s3://BUCKET[/PREFIX] together with --job
    #[arg(short, long = "output", value_name = "DEST", env = "WINDROW_OUTPUT")]
    pub(crate) output: PathBuf,

    /// Form of the output; a file costs 20-100 times what a place in a pack costs
    #[arg(long, default_value = "files", env = "WINDROW_FORMAT", value_enum)]
    pub(crate) format: FormatArg,

    /// Requests in flight over all cores
    #[arg(short, long, value_name = "N|auto", default_value = "auto", env = "WINDROW_CONCURRENCY",
          value_parser = parse_auto)]
    pub(crate) concurrency: Auto,

    /// Threads that fetch [default: all cores]
    #[arg(long, value_name = "N", env = "WINDROW_CORES")]
    pub(crate) cores: Option<usize>,

    /// Requests in flight on one connection; the server must answer in order (RFC 9112 section 9.3.2)
    #[arg(long, value_name = "N", default_value_t = 1, env = "WINDROW_PIPELINE")]
    pub(crate) pipeline: usize,

    /// Attempts after the first
    #[arg(long, value_name = "N", default_value_t = 5, env = "WINDROW_RETRY")]
    pub(crate) retry: u32,

    /// No attempt on an object begins so long after its first failed [default: none]
    #[arg(long, value_name = "T", env = "WINDROW_RETRY_MAX_TIME", value_parser = parse_duration)]
    pub(crate) retry_max_time: Option<Duration>,

    /// How long the server may be down before the run gives up, with exit 4 and nothing failed
    #[arg(long, value_name = "T", default_value = "15m", env = "WINDROW_OUTAGE_MAX",
          value_parser = parse_duration)]
    pub(crate) outage_max: Duration,

    /// How long a server may send nothing while it owes an answer: to the first byte, and later
    #[arg(long, value_name = "T", default_value = "30s", env = "WINDROW_TIMEOUT",
          value_parser = parse_duration)]
    pub(crate) timeout: Duration,

    /// How long a whole attempt may take, from its turn on the connection on [default: none]
    #[arg(long, value_name = "T", env = "WINDROW_TOTAL_TIMEOUT", value_parser = parse_duration)]
    pub(crate) total_timeout: Option<Duration>,

    /// An answer that comes slower is dropped and asked for again; bytes a second, 0 for any
    #[arg(long, value_name = "B/s", default_value = "1", env = "WINDROW_MIN_SPEED",
          value_parser = parse_bytes)]
    pub(crate) min_speed: u64,

    /// Time over which --min-speed is an average
    #[arg(long, value_name = "T", default_value = "20s", env = "WINDROW_MIN_SPEED_WINDOW",
          value_parser = parse_duration)]
    pub(crate) min_speed_window: Duration,

    /// Do not send the last requests of a run a second time when they take too long
    #[arg(long, env = "WINDROW_NO_HEDGE")]
    pub(crate) no_hedge: bool,

    /// How long connecting may take
    #[arg(long, value_name = "T", default_value = "10s", env = "WINDROW_CONNECT_TIMEOUT",
          value_parser = parse_duration)]
    pub(crate) connect_timeout: Duration,

    /// What to do when an object fails for good
    #[arg(long, default_value = "continue", env = "WINDROW_ON_ERROR", value_enum)]
    pub(crate) on_error: OnError,

    /// Stop when more than so many objects failed [default: none]
    #[arg(long, value_name = "N|P%", env = "WINDROW_MAX_FAILURES", value_parser = parse_max_failures)]
    pub(crate) max_failures: Option<MaxFailures>,

    /// A larger object fails, with class too_large
    #[arg(long, value_name = "BYTES", default_value = "1GiB", env = "WINDROW_MAX_OBJECT_SIZE",
          value_parser = parse_bytes)]
    pub(crate) max_object_size: u64,

    /// Fetch only the first N objects of the source
    #[arg(long, value_name = "N", env = "WINDROW_LIMIT")]
    pub(crate) limit: Option<u64>,

    /// How often results become durable
    #[arg(long, value_name = "T", default_value = "5s", env = "WINDROW_COMMIT_INTERVAL",
          value_parser = parse_duration)]
    pub(crate) commit_interval: Duration,

    /// What of an earlier run to take up: `pending`, `failed`, `failed:CLASS,...` [default: both]
    #[arg(long, value_name = "WHAT", env = "WINDROW_ONLY", value_parser = parse_only)]
    pub(crate) only: Option<Only>,

    /// Forget an earlier run in DEST, and begin from nothing
    #[arg(long, env = "WINDROW_FRESH")]
    pub(crate) fresh: bool,

    /// Requests started in each second, at most, retries included: 500/s, 100/m, 5000/h, or a bare
    /// number for seconds. 429 answers are heeded with and without
    #[arg(long, value_name = "N/s", env = "WINDROW_RATE", value_parser = parse_rate)]
    pub(crate) rate: Option<f64>,

    /// Of these, so many may start at once after a pause
    #[arg(long, value_name = "N", default_value_t = 1, env = "WINDROW_RATE_BURST",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate_burst: u32,

    /// The same as --rate, for each host
    #[arg(long, value_name = "N/s", env = "WINDROW_RATE_PER_HOST", value_parser = parse_rate)]
    pub(crate) rate_per_host: Option<f64>,

    /// Bytes received in each second, at most
    #[arg(long, value_name = "BYTES/s", env = "WINDROW_LIMIT_RATE", value_parser = parse_byte_rate)]
    pub(crate) limit_rate: Option<u64>,

    /// Requests under way to one host, at most [default: no such bound]
    #[arg(long, value_name = "N", env = "WINDROW_CONCURRENCY_PER_HOST")]
    pub(crate) concurrency_per_host: Option<usize>,

    /// Redirects of one object that are followed; headers given here never leave the host that
    /// SOURCE names
    #[arg(long, value_name = "N", default_value_t = 5, env = "WINDROW_MAX_REDIRECT")]
    pub(crate) max_redirect: u32,

    /// Ask for compressed bodies (gzip, br, zstd) and store them decompressed
    #[arg(long, env = "WINDROW_COMPRESSED")]
    pub(crate) compressed: bool,

    /// Show what would be done, and fetch nothing: objects, hosts, expiry, budgets
    #[arg(long, env = "WINDROW_DRY_RUN")]
    pub(crate) dry_run: bool,

    /// Follow redirects from https to http too
    #[arg(long, env = "WINDROW_INSECURE_REDIRECT")]
    pub(crate) insecure_redirect: bool,

    /// A header line to send with every request; may be given again
    #[arg(long, value_name = "K: V", env = "WINDROW_HEADER")]
    pub(crate) header: Vec<String>,

    /// User-Agent to send [default: windrow/VERSION]
    #[arg(long, value_name = "TEXT", env = "WINDROW_USER_AGENT")]
    pub(crate) user_agent: Option<String>,

    /// Write the summary, as JSON, to this file too (always also DEST/.windrow/summary.json)
    #[arg(long, value_name = "FILE", env = "WINDROW_SUMMARY")]
    pub(crate) summary: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) show: Show,

    #[command(flatten)]
    pub(crate) packs: PackArgs,

    #[command(flatten)]
    pub(crate) transforms: TransformArgs,

    #[command(flatten)]
    pub(crate) s3: S3Args,

    #[command(flatten)]
    pub(crate) dest: DestArgs,

    #[command(flatten)]
    pub(crate) list: ListArgs,

    #[command(flatten)]
    pub(crate) api: Api,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Show {
    /// Progress on stderr: a bar on a terminal, else a line every few seconds
    #[arg(long, default_value = "auto", env = "WINDROW_PROGRESS", value_enum)]
    pub(crate) progress: ProgressArg,

    /// Say nothing but errors
    #[arg(short, long, env = "WINDROW_QUIET")]
    pub(crate) quiet: bool,

    /// Say also what was chosen: cores, connections
    #[arg(short, long, env = "WINDROW_VERBOSE")]
    pub(crate) verbose: bool,
}

/// How servers are reached.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connections")]
pub(crate) struct NetworkArgs {
    /// Offer HTTP/2 to https servers, 100 requests at once on a connection
    #[arg(long, env = "WINDROW_HTTP2")]
    pub(crate) http2: bool,

    /// Certificates of authorities to believe, in PEM, in place of the system's; may be given again
    #[arg(long, value_name = "FILE", env = "WINDROW_CACERT")]
    pub(crate) cacert: Vec<PathBuf>,

    /// Certificate of this client, in PEM, perhaps with its key
    #[arg(long, value_name = "FILE", env = "WINDROW_CERT")]
    pub(crate) cert: Option<PathBuf>,

    /// Its private key, in PEM
    #[arg(long, value_name = "FILE", env = "WINDROW_KEY", requires = "cert")]
    pub(crate) key: Option<PathBuf>,

    /// An address, range or host that may be asked though it is link-local, a cloud's metadata
    /// service, or private and chosen by a public server's redirect; may be given again
    #[arg(long, value_name = "ADDRESS", env = "WINDROW_ALLOW_PRIVATE")]
    pub(crate) allow_private: Vec<Allowed>,

    /// Do not use the proxies that HTTP_PROXY, HTTPS_PROXY and ALL_PROXY name
    #[arg(long, env = "WINDROW_NO_PROXY")]
    pub(crate) no_proxy: bool,
}

/// What a list of URLs looks like.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Lists of URLs")]
pub(crate) struct ListArgs {
    /// How a list is written [default: by its extension, txt for standard input]
    #[arg(long, value_name = "FORM", env = "WINDROW_LIST_FORMAT", value_parser = parse_form)]
    pub(crate) list_format: Option<Form>,

    /// Column of the URLs [default: url, uri or link, or the only one]
    #[arg(long, value_name = "NAME", env = "WINDROW_URL_COL")]
    pub(crate) url_col: Option<String>,

    /// Column of the names under which objects are stored [default: see --name]
    #[arg(long, value_name = "NAME", env = "WINDROW_NAME_COL")]
    pub(crate) name_col: Option<String>,

    /// Names without a column: HOST/PATH?QUERY of the URL without its signature, or the position in
    /// the list
    #[arg(long, default_value = "url", env = "WINDROW_NAME", value_enum)]
    pub(crate) name: NameArg,

    /// Column of the sizes in bytes; a body of another size fails
    #[arg(long, value_name = "NAME", env = "WINDROW_SIZE_COL")]
    pub(crate) size_col: Option<String>,

    /// Column of the checksums (hex or base64), and their kind: md5, sha1, sha256, crc32, crc32c
    #[arg(long, value_name = "NAME:KIND", env = "WINDROW_VERIFY_COL", value_parser = parse_verify)]
    pub(crate) verify_col: Option<(String, DigestKind)>,

    /// Fetch N objects of the list, drawn at random
    #[arg(long, value_name = "N", env = "WINDROW_SAMPLE")]
    pub(crate) sample: Option<u64>,

    /// What --sample draws: the same seed, the same objects
    #[arg(long, value_name = "S", default_value_t = 0, env = "WINDROW_SEED")]
    pub(crate) seed: u64,

    /// `name`: the list was made anew (signed again, another file); objects are known by their names
    #[arg(long, value_name = "HOW", env = "WINDROW_RESUME_BY", value_enum)]
    pub(crate) resume_by: Option<ResumeBy>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NameArg {
    /// HOST:PORT/PATH?QUERY, without what signs it
    Url,
    /// The position in the list, from 0 on, in 12 digits, and the URL's extension
    Ordinal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResumeBy {
    /// By the names of the objects
    Name,
}

fn parse_form(text: &str) -> Result<Form, String> {
    let names = || Form::ALL.map(|(name, _)| name).join(", ");
    Form::named(text).ok_or_else(|| format!("one of {}", names()))
}

fn parse_verify(text: &str) -> Result<(String, DigestKind), String> {
    let wrong = || "COLUMN:KIND, as in checksum:md5; kinds are md5, sha1, sha256, crc32, crc32c";
    let (column, kind) = text.rsplit_once(':').ok_or_else(wrong)?;
    let kind = DigestKind::named(kind).ok_or_else(wrong)?;
    Ok((column.to_owned(), kind))
}

/// The shape of the listing server's API.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Shape of the server's API")]
pub(crate) struct Api {
    /// Path of the listing
    #[arg(long, value_name = "PATH", default_value = "/list", env = "WINDROW_LIST_PATH")]
    pub(crate) list_path: String,

    /// Path of an object; `{+name}` instead of `{name}` leaves the `/` of a name as it is
    #[arg(long, value_name = "PATH", default_value = "/get/{name}", env = "WINDROW_GET_PATH")]
    pub(crate) get_path: String,

    /// JSON field that holds the names
    #[arg(long, value_name = "NAME", default_value = "FileNames", env = "WINDROW_NAMES_FIELD")]
    pub(crate) names_field: String,

    /// JSON field that holds the marker of the next page [default: NextMarker or NextFile]
    #[arg(long, value_name = "NAME", env = "WINDROW_MARKER_FIELD")]
    pub(crate) marker_field: Option<String>,

    /// Query parameter in which the marker goes back
    #[arg(long, value_name = "NAME", default_value = "next-marker", env = "WINDROW_MARKER_PARAM")]
    pub(crate) marker_param: String,
}

/// `windrow serve`
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("content").args(["synthetic", "dir"]).required(true))]
pub(crate) struct Serve {
    /// Address to listen on; port 0 takes any free one. The URL is printed on stdout
    #[arg(long, default_value = "127.0.0.1:8080", env = "WINDROW_ADDR")]
    pub(crate) addr: SocketAddr,

    /// Serve N objects whose names and bodies are functions of the seed
    #[arg(long, value_name = "N", env = "WINDROW_SYNTHETIC",
          value_parser = parse_count)]
    pub(crate) synthetic: Option<u64>,

    /// Bytes of each synthetic object
    #[arg(long, value_name = "B", default_value = "100", env = "WINDROW_SIZE",
          value_parser = parse_bytes)]
    pub(crate) size: u64,

    /// Seed of the synthetic objects
    #[arg(long, value_name = "S", default_value_t = 0, env = "WINDROW_SEED")]
    pub(crate) seed: u64,

    /// Serve the files of a folder
    #[arg(long, value_name = "DIR", env = "WINDROW_DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// Names on one page of the listing
    #[arg(long, value_name = "N", default_value_t = 1000, env = "WINDROW_PAGE")]
    pub(crate) page: usize,

    /// Answer every request so much later
    #[arg(long, value_name = "T", default_value = "0s", env = "WINDROW_LATENCY",
          value_parser = parse_duration)]
    pub(crate) latency: Duration,

    /// Threads [default: all cores]
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        env = "WINDROW_THREADS"
    )]
    pub(crate) threads: usize,

    /// Misbehave at these rates, as in `503=1%,reset-body=0.2%,mix=5%`; docs/FAULTS.md has all
    #[arg(long, value_name = "SPEC", env = "WINDROW_FAULTS")]
    pub(crate) faults: Option<Faults>,

    /// Allow so many requests for objects, as in 500/s or 60/m, and answer 429 to the others;
    /// docs/FAULTS.md has the ways of counting
    #[arg(long, value_name = "SPEC", env = "WINDROW_ALLOW")]
    pub(crate) allow: Option<Allow>,

    /// Work on K requests for objects at once, each as long as --latency says, while others wait;
    /// `K,hard` answers 503 to the others, `K,slow` gets slower with each
    #[arg(long, value_name = "K[,hard|slow]", env = "WINDROW_KNEE")]
    pub(crate) knee: Option<Knee>,

    /// Answer each request for an object up to so much later, by a chance that --seed decides
    #[arg(long, value_name = "T", default_value = "0s", env = "WINDROW_JITTER",
          value_parser = parse_duration)]
    pub(crate) jitter: Duration,

    /// Give objects only to those whose URL is signed with this secret and has not expired
    #[arg(long, value_name = "SECRET", env = "WINDROW_SIGN_KEY")]
    pub(crate) sign_key: Option<SignKey>,

    /// Be wrong about the time by so much, as in -2h or +90s, and tell it in every Date
    #[arg(long, value_name = "T", env = "WINDROW_CLOCK_OFFSET", allow_hyphen_values = true)]
    pub(crate) clock_offset: Option<ClockOffset>,

    /// Serve nothing; print the URL of every synthetic object, one a line, signed with --sign-key
    #[arg(long, env = "WINDROW_PRINT_URLS", requires = "synthetic")]
    pub(crate) print_urls: bool,

    /// How long the signed URLs that are printed are good for
    #[arg(long, value_name = "T", default_value = "1h", env = "WINDROW_EXPIRES_IN",
          value_parser = parse_duration)]
    pub(crate) expires_in: Duration,

    /// What the URLs that are printed begin with [default: http://ADDR]
    #[arg(long, value_name = "URL", env = "WINDROW_BASE")]
    pub(crate) base: Option<String>,

    /// Send those who ask for an object on: N times before they get it, `loop` for ever, `to=URL` to
    /// another server; `status=CODE` behind it chooses among 301, 302, 303, 307 and 308
    #[arg(long, value_name = "SPEC", env = "WINDROW_REDIRECT")]
    pub(crate) redirect: Option<Redirect>,

    /// Tell the checksums of each object: Content-MD5, Digest and x-amz-checksum-crc32c
    #[arg(long, env = "WINDROW_CHECKSUMS")]
    pub(crate) checksums: bool,

    /// Encode objects (gzip, br or zstd) for clients that accept it
    #[arg(long, value_name = "CODING", env = "WINDROW_CONTENT_ENCODING")]
    pub(crate) content_encoding: Option<Coding>,

    /// Count requests and tell at /-/stats; --faults and the limits do, too
    #[arg(long, env = "WINDROW_STATS")]
    pub(crate) stats: bool,

    /// End when standard input does: for a parent that must not leave a server behind
    #[arg(long, hide = true, env = "WINDROW_WITH_PARENT")]
    pub(crate) with_parent: bool,
}

/// `windrow demo`
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// Objects of 100 bytes
    #[arg(long, value_name = "N", default_value = "1000000", env = "WINDROW_OBJECTS",
          value_parser = parse_count)]
    pub(crate) objects: u64,

    #[command(flatten)]
    pub(crate) show: Show,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum FormatArg {
    /// Each object a file
    Files,
    /// Packs that every tar reads, and WebDataset
    Tar,
    /// Packs with a row for each object
    Parquet,
    /// Packs with a line of JSON for each object
    Jsonl,
    /// The same, compressed by zstd
    #[value(name = "jsonl.zst")]
    JsonlZst,
    /// WARC 1.1, as crawlers write it (.warc.gz)
    Warc,
    /// Nothing: fetch and throw away
    Null,
}

impl From<FormatArg> for Format {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Files => Self::Files,
            FormatArg::Tar => Self::Tar,
            FormatArg::Parquet => Self::Parquet,
            FormatArg::Jsonl => Self::Jsonl,
            FormatArg::JsonlZst => Self::JsonlZst,
            FormatArg::Warc => Self::Warc,
            FormatArg::Null => Self::Null,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnError {
    /// Go on with the others
    Continue,
    /// Begin nothing more, finish what runs
    Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressArg {
    Auto,
    Bar,
    Plain,
    Json,
    None,
}

/// A number, or windrow's choice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Auto(pub(crate) Option<usize>);

fn parse_auto(text: &str) -> Result<Auto, String> {
    match text {
        "auto" => Ok(Auto(None)),
        number => match number.parse() {
            Ok(0) | Err(_) => Err("a number of requests, at least 1, or `auto`".into()),
            Ok(number) => Ok(Auto(Some(number))),
        },
    }
}

fn parse_max_failures(text: &str) -> Result<MaxFailures, String> {
    let wrong = || "a number of objects (10) or a part of them (0.5%)".to_owned();
    match text.strip_suffix('%') {
        Some(percent) => match percent.parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => {
                Ok(MaxFailures::Part(percent / 100.0))
            }
            _ => Err(wrong()),
        },
        None => text.parse().map(MaxFailures::Count).map_err(|_| wrong()),
    }
}

fn parse_only(text: &str) -> Result<Only, String> {
    match text.split_once(':') {
        None if text == "pending" => Ok(Only::Pending),
        None if text == "failed" => Ok(Only::Failed(Vec::new())),
        Some(("failed", classes)) => {
            let class = |name: &str| {
                let found = FailureClass::ALL.into_iter().find(|class| class.name() == name);
                found.ok_or_else(|| {
                    let known: Vec<_> = FailureClass::ALL.iter().map(|c| c.name()).collect();
                    format!("no class `{name}`; there are {}", known.join(", "))
                })
            };
            classes.split(',').map(class).collect::<Result<_, _>>().map(Only::Failed)
        }
        _ => Err("`pending`, `failed`, or `failed:CLASS,...`, as in failed:timeout,server".into()),
    }
}

/// A number of objects; `1e9` and `1_000_000` are numbers too.
fn parse_count(text: &str) -> Result<u64, String> {
    let digits = text.replace(['_', ','], "");
    if let Ok(number) = digits.parse() {
        return Ok(number);
    }
    match digits.parse::<f64>() {
        Ok(number) if number.fract() == 0.0 && (0.0..=1e15).contains(&number) => Ok(number as u64),
        _ => Err("a number of objects, such as 1000000 or 1e6".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_flag_has_its_environment_variable() {
        for command in Args::command().get_subcommands() {
            for arg in command.get_arguments().filter(|arg| arg.get_id() != "help") {
                let env = arg.get_env().and_then(|env| env.to_str()).unwrap_or_default();
                let expected = format!("WINDROW_{}", arg.get_id().as_str().to_uppercase());
                assert_eq!(env, expected, "{}", command.get_name());
            }
        }
    }

    #[test]
    fn counts_can_be_written_short() {
        assert_eq!(parse_count("1e6"), Ok(1_000_000));
        assert_eq!(parse_count("1_000"), Ok(1000));
        assert!(["", "x", "-1", "1.5", "1e99"].iter().all(|text| parse_count(text).is_err()));
    }
}
