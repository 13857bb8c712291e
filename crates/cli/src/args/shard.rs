//! `windrow shard`.

use super::*;

/// `windrow shard`
#[derive(Debug, clap::Args)]
pub(crate) struct Shard {
    /// Files of lines, decompressed if their names end in .gz or .zst; `-` is standard input
    /// [default: -]
    #[arg(value_name = "FILE", env = "WINDROW_FILES")]
    pub(crate) files: Vec<PathBuf>,

    /// How many shards: a line goes to DIR/{i}.txt with i = murmur3_x86_32(key) % N, as Python's
    /// mmh3.hash(key, signed=False) % N has it
    #[arg(long, value_name = "N", env = "WINDROW_SHARDS",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::SHARDS)))]
    pub(crate) shards: u32,

    /// Directory of the files; what is in them stays, and lines are appended
    #[arg(short, long = "output", value_name = "DIR", env = "WINDROW_OUTPUT")]
    pub(crate) output: PathBuf,

    /// What of a line is hashed: `line`, `json:FIELD` of a JSON object, `column:N` from 1 on. Lines
    /// without it go to DIR/unmatched.txt, and are an exit code of 1
    #[arg(long, value_name = "KEY", default_value = "line", env = "WINDROW_KEY",
          value_parser = parse_key)]
    pub(crate) key: Key,

    /// What stands between columns, one byte [default: a tab]
    #[arg(long, value_name = "C", env = "WINDROW_DELIMITER", value_parser = parse_delimiter)]
    pub(crate) delimiter: Option<u8>,

    /// `jsonl`: files are DIR/{i}.jsonl, and what is no JSON goes to DIR/unmatched.txt
    #[arg(long, default_value = "txt", env = "WINDROW_FORMAT", value_enum)]
    pub(crate) format: LineFormat,

    /// After how long what was read is in the files, however little it is
    #[arg(long, value_name = "T", default_value = "1s", env = "WINDROW_FLUSH_INTERVAL",
          value_parser = parse_duration)]
    pub(crate) flush_interval: Duration,

    /// Memory for lines that wait to be written
    #[arg(long, value_name = "BYTES", default_value = "64MiB", env = "WINDROW_MEMORY",
          value_parser = parse_bytes)]
    pub(crate) memory: u64,

    /// With 1, one thread does everything; with more, a second one writes, and a third decompresses
    /// [default: all cores]
    #[arg(long, value_name = "N", env = "WINDROW_CORES")]
    pub(crate) cores: Option<usize>,

    /// Write the summary, as JSON, to this file too
    #[arg(long, value_name = "FILE", env = "WINDROW_SUMMARY")]
    pub(crate) summary: Option<PathBuf>,

    /// Say nothing but errors
    #[arg(short, long, env = "WINDROW_QUIET")]
    pub(crate) quiet: bool,
}

/// What of a line is hashed, as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    Line,
    Json(String),
    Column(NonZeroUsize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LineFormat {
    /// Files are DIR/{i}.txt
    Txt,
    /// Files are DIR/{i}.jsonl
    Jsonl,
}

fn parse_key(text: &str) -> Result<Key, String> {
    let wrong = || "`line`, `json:FIELD` or `column:N`, as in json:id or column:1".to_owned();
    match text.split_once(':') {
        None if text == "line" => Ok(Key::Line),
        Some(("json", field)) if !field.is_empty() => Ok(Key::Json(field.to_owned())),
        Some(("column", number)) => number.parse().map(Key::Column).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

fn parse_delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [b'\n'] => Err("a line has no line end within".into()),
        &[byte] => Ok(byte),
        _ => Err("one byte, such as `,`, or `\\t` for a tab".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_lines() {
        assert_eq!(parse_key("line"), Ok(Key::Line));
        assert_eq!(parse_key("json:a:b"), Ok(Key::Json("a:b".into())));
        assert_eq!(parse_key("column:3"), Ok(Key::Column(NonZeroUsize::new(3).unwrap())));
        for text in ["", "json", "json:", "column", "column:", "column:0", "column:-1", "id"] {
            assert!(parse_key(text).is_err(), "{text}");
        }
        assert_eq!([",", "\\t", "\t"].map(parse_delimiter), [Ok(b','), Ok(b'\t'), Ok(b'\t')]);
        assert!(["", ",,", "\n", "é"].iter().all(|text| parse_delimiter(text).is_err()));
    }
}
