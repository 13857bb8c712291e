//! Every bound of windrow, in one place.
//!
//! Memory follows these figures and `--memory`, never the number of objects. A bound that a user
//! may change is a default here and a field of the plan there.

mod transform;

use std::time::Duration;
pub use transform::*;

/// Tasks in one lease, at most. Small enough that cores finish together, large enough that the
/// shared queue is touched once per some hundreds of objects.
pub const LEASE_TASKS: usize = 256;

/// Leases that wait in the shared queue, at most; the listing pauses when it is full.
pub const QUEUE_LEASES: usize = 32;

/// Leases that one core holds beside the one it works on.
pub const CORE_LEASES: usize = 2;

/// Tasks of one core that wait for their next attempt, at most; a core takes no new task while
/// that many wait.
pub const CORE_WAITING: usize = 4096;

/// Bytes of one listing page, at most.
pub const PAGE_BYTES: usize = 64 << 20;

/// Markers of a listing that are known exactly, at most, at 16 bytes each: enough for 10^9 objects
/// on pages of 1,000. Of more than that a part is known, so that memory has an end.
pub const LISTING_MARKERS: usize = 1 << 20;

/// The latest markers of a listing, that are known however many there are.
pub const LISTING_MARKERS_LATE: usize = 8 << 10;

/// Pages in a row without a new name, at most, while the listing says that there is more. Servers
/// that filter, or walk over what is deleted, give empty pages; a listing that gives nothing else
/// never ends.
pub const LISTING_BARREN_PAGES: u32 = 1000;

/// Bytes of one marker, at most: it goes back in the first line of a request.
pub const MARKER_BYTES: usize = 16 << 10;

/// Bytes of one response head, at most, interim (1xx) responses not counted together with it.
pub const HEAD_BYTES: usize = 64 << 10;

/// Header lines in one response head, at most.
pub const HEAD_LINES: usize = 128;

/// Interim (1xx) responses before a final one, at most.
pub const INTERIM_RESPONSES: u32 = 32;

/// Bytes of one chunk-size line with its extensions, at most.
pub const CHUNK_LINE_BYTES: usize = 4 << 10;

/// Bytes of all chunk extensions of one body, at most.
pub const CHUNK_EXTENSION_BYTES: u64 = 16 << 10;

/// Bytes of the trailer section of one chunked body, at most.
pub const TRAILER_BYTES: usize = 16 << 10;

/// Bytes of a refused response (404, 503 ...) that are read to keep its connection; a longer one
/// closes it.
pub const DISCARD_BYTES: u64 = 256 << 10;

/// Bytes that one core reads from a socket in one call.
pub const READ_BYTES: usize = 256 << 10;

/// Bytes of one object, at most, unless `--max-object-size` says otherwise.
pub const OBJECT_BYTES: u64 = 1 << 30;

/// Bytes of one name in a listing, at most; a longer one fails its object, not the run.
pub const NAME_BYTES: usize = 64 << 10;

/// Levels of directories that one name may ask for, at most.
pub const NAME_DEPTH: usize = 256;

/// Requests in flight on one connection (`--pipeline`), at most.
pub const PIPELINE_DEPTH: usize = 1024;

/// Requests in flight over all cores (`--concurrency`), at most.
pub const CONCURRENCY: usize = 65_536;

/// Connections for each core that a run begins with when `--concurrency` is `auto`.
pub const AUTO_CONNECTIONS_PER_CORE: usize = 64;

/// The same where requests are pipelined.
pub const AUTO_PIPELINED_CONNECTIONS_PER_CORE: usize = 4;

/// File descriptors kept for what a process has once: the terminal, the destination, signals.
pub const RESERVED_FDS: usize = 24;

/// File descriptors kept for what each core has: its runtime, an open pack, a file on its way.
pub const CORE_FDS: usize = 8;

/// Where fewer than so many beside those are left for each core, fewer cores work.
pub const LEAST_CORE_FDS: usize = 16;

/// Directory handles that one core of the files sink keeps open, at most.
pub const DIRECTORY_HANDLES: usize = 64;

/// How long a connection is waited with when this machine has no descriptor or port for it.
pub const STARVED: Duration = Duration::from_millis(250);

/// Bytes that one core collects before it writes to its open pack, at most and at least; between
/// them `--memory` decides.
pub const PACK_BLOCK_BYTES: std::ops::RangeInclusive<usize> = (64 << 10)..=(1 << 20);

/// Bytes that are asked for ahead of writing them, of a block or of a shard's lines: one small object of
/// a tar file, with its padding.
pub const PACK_AHEAD_BYTES: usize = 1536;

/// Size of the first blocks of a core, at most; they grow with what was stored, see [`REDO_PART`].
/// A write of 64 KiB costs the disk's driver as much as one of 1 MiB: with first blocks of that size
/// an object of 100 bytes took twice the CPU.
pub const PACK_FIRST_BLOCK_BYTES: usize = 256 << 10;

/// Blocks of one core: one is filled, one is written, one waits.
pub const PACK_BLOCKS: usize = 3;

/// Room of a block beyond its size, for headers: a name of [`NAME_BYTES`] takes three times as
/// many bytes when every one is encoded.
pub const PACK_SLACK_BYTES: usize = 256 << 10;

/// Body buffers up to this size are kept for the next body.
pub const KEPT_BUFFER_BYTES: usize = 256 << 10;

/// A body of so many bytes is worth memory of its own.
pub const PARTED_BYTES: usize = 32 << 10;

/// An idle connection is not used again after this time: below the smallest keep-alive time of
/// common servers (Node.js closes after 5 s).
pub const IDLE_CONNECTION: Duration = Duration::from_secs(4);

/// How long requests under way may take when the run is to stop; then they are given up.
pub const STOP_GRACE: Duration = Duration::from_secs(4);

/// Longest pause that a server can ask for (`Retry-After`).
pub const PAUSE_CAP: Duration = Duration::from_secs(300);

/// First step of the backoff; the n-th wait is drawn from `0..min(BACKOFF_CAP, BACKOFF_BASE * 2^n)`.
pub const BACKOFF_BASE: Duration = Duration::from_millis(200);

/// Longest wait of the backoff.
pub const BACKOFF_CAP: Duration = Duration::from_secs(30);

/// Full packs of one core that wait for a commit, at most: they are open files.
pub const COMMIT_PACKS: usize = 16;

/// What one core writes between two commits, at most: objects, and bytes.
pub const COMMIT_OBJECTS: u64 = 100_000;

/// See [`COMMIT_OBJECTS`].
pub const COMMIT_BYTES: u64 = 64 << 20;

/// Time between two commits, unless `--commit-interval` says otherwise.
pub const COMMIT_INTERVAL: Duration = Duration::from_secs(5);

/// Directories that are synced one by one for a batch of files; for more of them the whole file
/// system is.
pub const SYNCED_DIRECTORIES: usize = 4;

/// Lists of files of one core that wait for their names: one is filled, one is synced.
pub const HELD_BATCHES: usize = 2;

/// Files in one such list, at least and at most: each is an open file, or is about to be. Between them the list grows
/// with what was stored, see [`REDO_PART`].
pub const HELD_FILES: std::ops::RangeInclusive<usize> = 256..=2048;

/// Small files that a core writes in a row.
pub const WRITTEN_FILES: usize = 64;

/// A body that is no larger waits in memory for others; larger ones are written at once.
pub const HELD_BODY_BYTES: usize = 2 << 10;

/// A process that is killed loses what it had in hand. Each core has at most this part of what it
/// stored in hand, in one block or list (or their smallest size): 1/256.
pub const REDO_PART: u64 = 256;

/// Objects of one page in the ledger of what a program writes.
pub const WRITER_PAGE: u64 = 4096;

/// Objects after which a program's writer looks at the clock.
pub const WRITER_TICK_OBJECTS: u32 = 256;

/// Packs that are synced one by one; more of them by one call for the file system.
pub const SYNCED_PACKS: usize = 8;

/// Shards that `get` divides objects among, at most: each has an open file and buffers.
pub const GET_SHARDS: u32 = 10_000;

/// Bytes of a body on disk that are read to find the field that decides its shard, at most.
pub const SHARD_KEY_BODY_BYTES: u64 = 64 << 20;

/// Blocks in which packs are written have at least so many bytes where there is one for each shard.
pub const SHARD_BLOCK_BYTES: usize = 16 << 10;

/// Objects of one shard that are in hand, at least before they are written because they are many.
pub const SHARD_HAND_OBJECTS: u64 = 16;

/// Objects that a core has in hand for a pack, at least before they are written because they are
/// many: between this and two of [`REDO_PART`] it is the number that decides, however few bytes they are.
pub const HAND_OBJECTS: u64 = 700;

/// Files of one core get their names after so long, however few they are. That takes a sync, so it
/// is not done more often.
pub const HAND_OVER_FILES: Duration = Duration::from_secs(1);

/// What one core has in hand for a pack is written after so long, however little it is.
pub const HAND_OVER: Duration = Duration::from_millis(200);
/// Failures in a row on one core after which its origin is suspected to be down.
pub const OUTAGE_STREAK: u32 = 10;

/// Requests that one core has under way when an origin is back; each answer allows one more, so
/// they double with every round trip.
pub const RAMP_START: usize = 4;

/// From so many requests under way on one core, the ramp is over.
pub const RAMP_END: usize = 256;

/// How long before the first failure of a streak an outage is taken to have begun: cores notice
/// it at different moments.
pub const OUTAGE_SLACK: Duration = Duration::from_secs(1);

/// First wait between two probes of an origin that is down; it doubles.
pub const PROBE_BASE: Duration = Duration::from_millis(100);

/// Longest wait between two probes; also, how long a probe without an answer holds back the next.
pub const PROBE_CAP: Duration = Duration::from_secs(2);

/// How long an origin may be down before a run gives up, unless `--outage-max` says otherwise.
pub const OUTAGE_MAX: Duration = Duration::from_secs(15 * 60);

/// Outages of one origin that are remembered, to know which failures were theirs.
pub const OUTAGES_KEPT: usize = 64;

/// How often an object that may be final is looked at again, while others are under way whose
/// answers will tell whether it is to blame itself.
pub const TRIAL_PERIOD: Duration = Duration::from_millis(100);

/// How often a core notes an object that it fetched, to ask for it again when it is in doubt
/// whether the origin is down.
pub const REFERENCE_PERIOD: Duration = Duration::from_secs(1);

/// Bytes of an object noted for that, at most.
pub const REFERENCE_BYTES: u64 = 64 << 10;

/// Retries that an origin gets ahead of any success, and at most saved up.
pub const BUDGET_TOKENS: f64 = 500.0;

/// What a success adds to the budget: one retry for ten successes.
pub const BUDGET_PER_SUCCESS: f64 = 0.1;

/// What the budget gains each second in any case.
pub const BUDGET_PER_SECOND: f64 = 10.0;

/// Bytes each second below which a response is given up, unless `--min-speed` says otherwise.
pub const MIN_SPEED: u64 = 1;

/// Time over which that is an average.
pub const MIN_SPEED_WINDOW: Duration = Duration::from_secs(20);

/// At the end of a run a request is sent a second time when it is out for so many times as long
/// as 95 of 100 took.
pub const HEDGE_FACTOR: u32 = 4;

/// No request is sent a second time sooner.
pub const HEDGE_FLOOR: Duration = Duration::from_millis(500);

/// One request of so many may be a second one, or [`HEDGES_OUT`] in all if that is more.
pub const HEDGE_SHARE: u64 = 20;

/// Second requests under way at once, over all cores (and at least one for each).
pub const HEDGES_OUT: usize = 16;

/// A body of which so much has come is not asked for a second time: it is under way.
pub const HEDGE_BYTES: u64 = 256 << 10;

/// Names of files that `verify` holds at once, at 32 bytes each (256 MiB): of more files than that
/// it looks at one share after the other, and walks the tree for each.
pub const VERIFY_NAMES: u64 = 8 << 20;

/// A server that is one of many, and never answered, is given up when so many probes failed.
pub const GIVE_UP_PROBES: u32 = 6;

/// Tasks that one core holds of a source with many servers, beside those under way: what is sent
/// next is chosen among them.
pub const CORE_AHEAD: usize = 4096;

/// Servers that one core remembers; those with tasks or connections are remembered in any case, and
/// there are at most [`CORE_AHEAD`] and the connections of such.
pub const CORE_SITES: usize = 1024;

/// Servers of which one core looks at the next, to find one with less than its share under way.
pub const SITES_LOOKED_AT: usize = 32;

/// Servers of which a run remembers what all cores share, while no core has to do with them.
pub const ORIGINS: usize = 65_536;

/// Redirects of one object that are followed, unless `--max-redirect` says otherwise.
pub const REDIRECTS: u32 = 5;

/// Pages of a list that are read ahead of the queue of leases.
pub const LIST_PAGES: usize = 8;

/// Objects of one page of a URL list, at most. A task that waits holds its page.
pub const LIST_PAGE_OBJECTS: usize = 256;

/// Bytes of a URL list that make one page, at most, where its lines are long.
pub const LIST_PAGE_BYTES: usize = 1 << 20;

/// Bytes of one line of a URL list (of one record, where fields are quoted), at most; a longer one
/// fails its object.
pub const LIST_LINE_BYTES: usize = 1 << 20;

/// Bytes of a URL list that are read at once.
pub const LIST_READ_BYTES: usize = 256 << 10;

/// Bytes of a URL in a list, at most, as written; a longer one fails its object.
pub const LIST_URL_BYTES: usize = 32 << 10;

/// Bytes of a host's name (RFC 1035 section 2.3.4).
pub const HOST_BYTES: usize = 255;

/// Hosts whose addresses are remembered, at most; the oldest goes first.
pub const DNS_HOSTS: usize = 64 << 10;

/// Lookups of names under way at once, unless told otherwise. Resolvers of home routers and of
/// single machines collapse under more.
pub const DNS_LOOKUPS: usize = 64;

/// How long an answer of the DNS holds, whatever it says itself.
pub const DNS_TTL: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3600);

/// How long an answer without a time of its own holds: one of the hosts file or of the system's
/// resolver.
pub const DNS_TTL_UNKNOWN: Duration = Duration::from_secs(60);

/// How long it holds at most that there is no such host.
pub const DNS_NEGATIVE_TTL: Duration = Duration::from_secs(30);

/// How long it holds that a lookup failed (RFC 9520 section 3.2: at least 1 s).
pub const DNS_FAILURE_TTL: Duration = Duration::from_secs(1);

/// How long one lookup may take, all its attempts included.
pub const DNS_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the addresses of one family wait for those of the other.
pub const DNS_OTHER_FAMILY: Duration = Duration::from_millis(250);

/// Addresses of one host that are used, at most.
pub const HOST_ADDRESSES: usize = 16;

/// Time between two attempts to connect to addresses of one host, while the first has no result
/// (RFC 8305 section 5).
pub const CONNECT_STAGGER: Duration = Duration::from_millis(250);

/// How long an address that failed is tried after the others.
pub const ADDRESS_FAILED: Duration = Duration::from_secs(10);

/// Bytes of a proxy's answer to `CONNECT`, at most.
pub const TUNNEL_HEAD_BYTES: usize = 16 << 10;

/// Servers whose TLS sessions are kept for the next handshake, at most.
pub const TLS_SESSIONS: usize = 1024;

/// Bytes of one file of certificates or keys, at most.
pub const PEM_BYTES: u64 = 16 << 20;

/// Requests a second below and above which a cap means nothing: one in eleven days, and more than
/// a machine sends.
pub const RATE_MIN: f64 = 1e-6;

/// See [`RATE_MIN`].
pub const RATE_MAX: f64 = 1e7;

/// How late a request may start and its successors still keep to the old slots. Timers have
/// milliseconds; and a window of 1 s may hold so much more than a second's worth, of which the
/// promise of 1 % leaves 2 ms for what happens between the grant and the wire.
pub const RATE_LATE: Duration = Duration::from_millis(7);

/// The same for bytes, which are paid for afterwards.
pub const BYTE_RATE_LATE: Duration = Duration::from_millis(40);

/// Bytes that all cores together read at once under `--limit-rate`, at most.
pub const READ_MAX: usize = 256 << 10;

/// Bytes that one core reads at once, at least, if its share of [`READ_MAX`] is not less.
pub const READ_MIN: usize = 4 << 10;

/// One read under `--limit-rate` is what comes in so long.
pub const READ_SPAN: Duration = Duration::from_millis(25);

/// An upload whose name nobody heard is one that the service says was begun within so much of the
/// moment, by the clock of this machine: S3 takes no request that is further off. (Where windrow corrects
/// its clock by more, such an upload is not found again.)
pub const UPLOAD_BEGUN_WITHIN: Duration = Duration::from_secs(15 * 60);

/// A core that waits for many answers looks for them after this part of what one takes.
pub const LULL_SHARE: u32 = 16;

/// The longest such wait.
pub const LULL_MOST: Duration = Duration::from_millis(1);

/// Where bodies wait for transforms, it is such a part of what those have to do.
pub const LULL_WORK_SHARE: u32 = 8;

/// The longest there.
pub const LULL_WORK: Duration = Duration::from_millis(4);

/// Every so many ticks there is none, to see how answers come without it.
pub const LULL_LOOK: u32 = 40;

/// The shortest: the system's timers add about 50 us of their own.
pub const LULL_LEAST: Duration = Duration::from_micros(100);

/// Behind a throttled answer an origin is sent this share of what it seems to bear.
pub const THROTTLE_CUT: f64 = 0.95;

/// Requests a second below which an origin that throttles is not slowed down.
pub const THROTTLE_FLOOR: f64 = 0.05;

/// How long the limit takes to double before a ceiling was met.
pub const THROTTLE_RAMP: Duration = Duration::from_millis(350);

/// How long the limit takes back to a ceiling that was met once. It doubles where the ceiling is
/// found in the same place again.
pub const THROTTLE_SCALE: Duration = Duration::from_secs(2);

/// The longest; an origin that bears twice as much is noticed half of that later.
pub const THROTTLE_SCALE_CAP: Duration = Duration::from_secs(8);

/// The longest where the server asks for pauses.
pub const THROTTLE_SCALE_PAUSED: Duration = Duration::from_secs(3600);

/// Share of the time that may be spent in pauses which looking for the ceiling brings about.
pub const THROTTLE_LOSS: f64 = 0.04;

/// A limit that is hardly used for so long is dropped.
pub const THROTTLE_IDLE: Duration = Duration::from_secs(10);

/// The shortest round in which `-c auto` measures.
pub const CROWD_ROUND: Duration = Duration::from_millis(50);

/// The longest measurement, however slow the answers are.
pub const CROWD_ROUND_CAP: Duration = Duration::from_secs(2);

/// How long `-c auto` stays with a limit that is new; longer each time when nothing better is found.
pub const CROWD_HOLD: Duration = Duration::from_millis(250);

/// The longest, so that a server that got faster is noticed.
pub const CROWD_HOLD_CAP: Duration = Duration::from_secs(4);

/// Share of requests that may fail before the limit is halved.
pub const CROWD_FAILURES: f64 = 0.02;

/// Connections over all cores, at most, when `--concurrency` is `auto`.
pub const AUTO_CONNECTIONS_MOST: usize = 16_384;

/// Requests in flight on one HTTP/2 connection, unless something says otherwise; the server may
/// allow fewer.
pub const H2_STREAMS: usize = 100;

/// Bytes that one HTTP/2 connection reads before what they brought is passed on. What waits inside
/// is bounded by this and not by the windows, because what was passed on is gone.
pub const H2_READ_BYTES: usize = 64 << 10;

/// Bytes that a server may send of one body over HTTP/2 before it hears that they were taken.
pub const H2_STREAM_WINDOW: u32 = 1 << 20;

/// The same for all bodies of one HTTP/2 connection.
pub const H2_CONNECTION_WINDOW: u32 = 8 << 20;

/// Responses that one HTTP/2 connection cancels, at most, before it is replaced: servers take many
/// resets for an attack, and each is remembered for a while.
pub const H2_RESETS: usize = 256;

/// Checksums of one body that are compared, at most; what a response says beyond is not.
pub const BODY_CHECKS: usize = 8;

/// Bytes in which a body comes out when its coding is undone.
pub const DECODED_PIECE_BYTES: usize = 64 << 10;

/// Bytes that may come out of one coded byte, at most, on average: what gzip can do at best
/// (1,032), so that what passes it is made to.
pub const DECODED_RATIO: u64 = 1000;

/// Bytes that may come out of a body whatever went in.
pub const DECODED_FREE_BYTES: u64 = 1 << 20;

/// Largest window of a zstd frame, as a power of two: 8 MiB, what RFC 9659 section 3 allows.
pub const ZSTD_WINDOW_LOG: u32 = 23;

/// Blocks in which a forecast remembers when the URLs of a list expire, at 24 bytes each.
pub const FORECAST_BLOCKS: usize = 4096;

/// Samples of servers' clocks that are kept.
pub const CLOCK_SAMPLES: usize = 16;

/// Samples of one server among them, at most.
pub const CLOCK_SAMPLES_OF_ONE: usize = 5;

/// Samples that have to agree before the own clock is corrected, at least.
pub const CLOCK_QUORUM: usize = 3;

/// How far from a server's clock the own one may be and is taken to be right.
pub const CLOCK_SLACK: Duration = Duration::from_secs(2);

/// An answer that took longer says too little about its server's clock.
pub const CLOCK_ROUND_TRIP: Duration = Duration::from_secs(10);

/// Samples of servers' clocks are forgotten after so long.
pub const CLOCK_MEMORY: Duration = Duration::from_secs(15 * 60);

/// How often a core looks at the time that servers tell.
pub const CLOCK_PERIOD: Duration = Duration::from_secs(1);

/// Requests of one core that are sent although their URLs seem to have expired, to learn what time
/// it is to the server: one in each [`CLOCK_PERIOD`], as no second counts twice. More than
/// [`CLOCK_QUORUM`], as two may fall into the same second or be lost.
pub const CLOCK_LEARNERS: u32 = 4;

/// Where servers do not tell the time, the own clock is believed after so long.
pub const CLOCK_TRUST: Duration = Duration::from_secs(10);

/// Servers whose objects `--dry-run` counts one by one.
pub const SURVEY_HOSTS: usize = 65_536;

/// Pages of a list without any URL that expires, after which none is looked for.
pub const SURVEY_PAGES: u64 = 10;

/// Tasks at servers that take none now, that one core holds beside [`CORE_AHEAD`].
pub const CORE_AHEAD_HELD: usize = 4 * CORE_AHEAD;

/// How often a core looks for servers that it can forget.
pub const FORGET_PERIOD: Duration = Duration::from_millis(100);

/// With so few requests under way on a core, answers 503 are not because of too many at once.
pub const FEW_AT_ONCE: usize = 4;

/// Failures are recorded in lists of so many.
pub const FAILURES_AT_ONCE: usize = 1024;

/// Objects of a pack that is of use only when it is whole, at first: nothing of it is kept when the
/// process is killed.
pub const WHOLE_PACK_OBJECTS: u64 = 500;

/// Such a pack is ended, however few objects it has, after so long or a hundredth of the time so
/// far, whichever is longer: a slow source's objects are not all lost with the process.
pub const WHOLE_PACK_TIME: Duration = Duration::from_secs(60);

/// Later on such a pack holds one of so many objects that its core has stored.
pub const WHOLE_PACK_PART: u64 = 100;

/// Bytes of a body that are compared with a corpus, at most, where packs are not tar files.
pub const AGAINST_BYTES: usize = 64 << 20;

/// Bytes in which an encoder of a pack hands on what it makes of a body.
pub const PACK_PIECE_BYTES: usize = 64 << 10;

/// Bytes of one value beside the body in a line of JSON, at most, when it is read.
pub const JSONL_VALUE_BYTES: usize = 64 << 10;

/// Levels of a JSON body that is inlined, at most: with the line around it these are the 128 that
/// common parsers take.
pub const JSON_DEPTH: u32 = 127;

/// Bytes that are gathered, before they are compressed, for one zstd frame of a pack; a frame holds
/// up to twice as many when its last record is large. One object costs the decoding of one frame.
pub const ZST_FRAME_BYTES: usize = 512 << 10;

/// Records of fewer bytes are compressed with fixed codes in WARC files.
pub const WARC_SMALL_BYTES: u64 = 2 << 10;

/// Bytes of one head in a WARC file, at most, when it is read: that of a record, or that of the
/// answer in it. Names of [`NAME_BYTES`] take three times as many when they are percent-encoded.
pub const WARC_HEAD_BYTES: usize = 512 << 10;

/// Bytes of all columns, before compression, after which a row group of a Parquet file is closed.
/// They are held compressed until then, by each core.
pub const PARQUET_GROUP_BYTES: usize = 16 << 20;

/// Bytes of one page of a Parquet file before compression, unless a single value is longer: what is read
/// of each column to find one object.
pub const PARQUET_PAGE_BYTES: usize = 128 << 10;

/// A longer body has a row group of its own, and passes through in pieces. Also, what a page of
/// several values may have at most.
pub const PARQUET_ALONE_BYTES: usize = 4 << 20;

/// Compressed bytes of such a body that are kept; of a longer result only the length is, and the
/// body is compressed a second time.
pub const PARQUET_KEPT_BYTES: usize = 16 << 20;

/// Bytes of one body in a Parquet file, at most: a page has less than 2^31, and what is raw in
/// zstd is longer by 3 bytes for each 128 KiB.
pub const PARQUET_BODY_BYTES: u64 = (1 << 31) - (1 << 16);

/// Bytes of a name, a URL or the header lines of one row of a Parquet file, at most.
pub const PARQUET_TEXT_BYTES: usize = 1 << 20;

/// Bytes of the footer of a Parquet file that is read, at most. Ours has about 1 KiB for each row group.
pub const PARQUET_FOOTER_BYTES: usize = 64 << 20;

/// Bytes of one offset index of a Parquet file that is read, at most.
pub const PARQUET_INDEX_BYTES: usize = 16 << 20;

/// Bytes of the head of one page of a Parquet file that is read, at most. Ours have less than 40.
pub const PARQUET_HEAD_BYTES: usize = 4 << 10;

/// Entries that wait for their place in an index, at 24 bytes each; then they are written.
pub const INDEX_GATHER: usize = 256 << 10;

/// The same where many packs are written at once, at least.
pub const INDEX_GATHER_LEAST: usize = 1024;

/// Files of an index that are merged at once; of more, several at a time in several passes.
pub const INDEX_FAN_IN: usize = 128;

/// Bytes of an index that are written at once.
pub const INDEX_WRITE_BYTES: usize = 1 << 20;

/// Files of an index that are looked at for one name without a word; more are merged first.
pub const INDEX_FILES: usize = 32;

/// Bytes of what is known of one answer beside a packed body, at most: a head of
/// [`HEAD_BYTES`], most of its bytes escaped, and a URL.
pub const META_BYTES: u64 = 1 << 20;

/// Shards that lines are divided among, at most.
pub const SHARDS: u32 = 100_000;

/// Memory for lines on their way to the files of their shards, over all shards.
pub const SHARD_MEMORY: usize = 64 << 20;

/// The least memory for them: some bytes for each of [`SHARDS`].
pub const SHARD_MEMORY_LEAST: usize = 8 << 20;

/// Bytes that one shard collects before they are written, at most.
pub const SHARD_WRITE_BYTES: usize = 64 << 10;

/// Groups of lines that are handed to the writing thread together, each of at most
/// [`SHARD_WRITE_BYTES`]: it is woken once for all of them.
pub const SHARD_BATCH_GROUPS: usize = 4;

/// Batches of them. More keep the threads apart when many groups are full at once, and cost more than
/// that brings: buffers that a core has not touched for long are in no cache of it.
pub const SHARD_BATCHES: usize = 4;

/// Bytes that are read at once of what is divided into lines.
pub const SHARD_READ_BYTES: usize = 256 << 10;

/// Buffers of so many bytes that a compressed file is read into ahead of what is divided.
pub const SHARD_READS_AHEAD: usize = 3;

/// A smaller one is not.
pub const SHARD_AHEAD_BYTES: u64 = 1 << 20;

/// What a pipe to read from is asked to hold, in bytes.
pub const SHARD_PIPE_BYTES: usize = 1 << 20;

/// Bytes of a line that is held in memory, its end counted in; a longer one goes by way of the disk.
pub const SHARD_LINE_BYTES: usize = 8 << 20;

/// Files of shards that are kept open, at most, where the system allows that many.
pub const SHARD_FILES_OPEN: usize = 4096;

/// Descriptors that are left to others, of those that the system allows.
pub const SHARD_FILES_SPARED: usize = 32;

/// After a flush that the clock asked for, dividing goes on for so many times as long as it took. With
/// very many shards it takes seconds, and most of the time would go into writes of a line or two.
pub const SHARD_FLUSH_SHARE: u32 = 4;

/// But not longer, if a disk was stuck.
pub const SHARD_FLUSH_REST: Duration = Duration::from_secs(10);

/// After a read that brought little, more is let come for so long before the next.
pub const SHARD_PAUSE: Duration = Duration::from_millis(1);

/// Objects of one core that wait for a place in an object store, or are on their way there, at most.
pub const UPLOADS_WAITING: usize = 1024;

/// Of these, such as lie in a file each.
pub const UPLOAD_SPOOLS: usize = 8;

/// Connections of one core to an object store that is written to: at first, and at most. Between them it is
/// the number that the store takes without asking to slow down.
pub const UPLOAD_CONNECTIONS: std::ops::RangeInclusive<usize> = 8..=128;

/// What is larger goes to an object store in parts.
pub const WHOLE_UPLOAD_BYTES: u64 = 32 << 20;

/// Bytes of a part, at least (S3: 5 MiB to 5 GiB, but for the last).
pub const UPLOAD_PART_BYTES: u64 = 16 << 20;

/// Parts of one object, at most (S3: 10,000).
pub const UPLOAD_PARTS: u64 = 9_000;

/// Parts of one object that are on their way at once.
pub const UPLOAD_PARTS_AT_ONCE: usize = 4;

/// Bytes of a key of an object store, at most (S3).
pub const KEY_BYTES: usize = 1024;

/// Bytes of an answer to an upload that are read.
pub const UPLOAD_ANSWER_BYTES: u64 = 64 << 10;

/// Pages of a bucket's listing that are asked for at once, unless `--list-concurrency` says otherwise.
pub const LISTING_WIDTH: usize = 32;

/// The same, at most.
pub const LISTING_WIDTH_MOST: usize = 256;

/// Pages of a bucket's listing that came before their turn and wait for it, for each that may be asked
/// for at once.
pub const LISTING_AHEAD: usize = 2;

/// Bytes of such pages, at most, beside the page whose turn it is and those that are under way.
pub const LISTING_AHEAD_BYTES: usize = 32 << 20;

/// Bytes of one page of a bucket's listing, at most: 1,000 keys of 1,024 bytes, each byte in three, with
/// what is said of them. As many of them as are asked for at once may be in memory.
pub const BUCKET_PAGE_BYTES: usize = 8 << 20;

/// Patterns of `--include`, and of `--exclude`, at most.
pub const FILTER_GLOBS: usize = 1000;

/// Bytes of the manifest of an inventory, at most; each of its files takes about 250.
pub const INVENTORY_MANIFEST_BYTES: usize = BUCKET_PAGE_BYTES;

/// Bytes of a file of an inventory that are asked for at once.
pub const INVENTORY_PIECE_BYTES: u64 = 4 << 20;

/// Objects of an inventory that make a page; it may have up to as many more, where a filter left some out.
pub const INVENTORY_PAGE_OBJECTS: usize = 1000;

/// Rows of an inventory that are looked at for one page, at most.
pub const INVENTORY_PAGE_ROWS: u64 = 100_000;

/// Bytes of one row of an inventory in CSV, at most.
pub const INVENTORY_ROW_BYTES: usize = 64 << 10;

/// Columns of an inventory in CSV, at most.
pub const INVENTORY_COLUMNS: usize = 256;
