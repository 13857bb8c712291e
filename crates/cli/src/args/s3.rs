//! What a source in S3 needs.

use super::*;
use windrow_engine::source::bucket::{Filter, Moment};
use windrow_model::limits::LISTING_WIDTH_MOST;
use windrow_model::{Error, calendar};

/// Where a bucket is, and who asks.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Buckets (SOURCE is s3://BUCKET[/PREFIX])")]
pub(crate) struct S3Args {
    /// Address of an S3 service [env: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL] [default: that of AWS]
    #[arg(long, value_name = "URL", env = "WINDROW_ENDPOINT_URL")]
    pub(crate) endpoint_url: Option<String>,

    /// Region of the bucket [default: as AWS_REGION or the profile says, else us-east-1]
    #[arg(long, value_name = "REGION", env = "WINDROW_REGION")]
    pub(crate) region: Option<String>,

    /// Profile of the files in ~/.aws [default: as AWS_PROFILE says]
    #[arg(long, value_name = "NAME", env = "WINDROW_PROFILE")]
    pub(crate) profile: Option<String>,

    /// Ask without credentials: for what is public
    #[arg(long, env = "WINDROW_NO_SIGN_REQUEST")]
    pub(crate) no_sign_request: bool,

    /// Pay for requests to a bucket whose owner does not
    #[arg(long, env = "WINDROW_REQUEST_PAYER")]
    pub(crate) request_payer: bool,

    /// Where the bucket stands in URLs: in the path, or in the name of the host [default: path with
    /// --endpoint-url, else host]
    #[arg(
        long,
        value_name = "STYLE",
        default_value = "auto",
        hide_default_value = true,
        env = "WINDROW_S3_STYLE",
        value_enum
    )]
    s3_style: S3Style,

    /// The same as --s3-style path
    #[arg(long, conflicts_with = "s3_style", env = "WINDROW_FORCE_PATH_STYLE")]
    force_path_style: bool,

    /// Fetch these keys of the bucket, one a line, without listing it; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "start_after", env = "WINDROW_KEYS")]
    pub(crate) keys: Option<PathBuf>,

    /// Fetch what an inventory of the bucket names, without listing it: its manifest.json, a file or
    /// s3://BUCKET/KEY; the filters below go by its columns
    #[arg(
        long,
        value_name = "MANIFEST",
        conflicts_with_all = ["keys", "start_after"],
        env = "WINDROW_INVENTORY"
    )]
    pub(crate) inventory: Option<String>,

    /// Only keys behind this one, in the order of their bytes
    #[arg(long, value_name = "KEY", env = "WINDROW_START_AFTER")]
    pub(crate) start_after: Option<String>,

    /// Only keys that this pattern fits behind PREFIX; `*` stands for anything, `/` too. May be given
    /// again: any of them will do
    #[arg(long, value_name = "GLOB", conflicts_with = "keys", env = "WINDROW_INCLUDE")]
    pub(crate) include: Vec<String>,

    /// No keys that this pattern fits, whatever --include says; may be given again
    #[arg(long, value_name = "GLOB", conflicts_with = "keys", env = "WINDROW_EXCLUDE")]
    pub(crate) exclude: Vec<String>,

    /// Only objects of so many bytes, as in 1KiB..10MiB, 1.. or ..10MiB; both ends are in
    #[arg(
        long,
        value_name = "MIN..MAX",
        conflicts_with = "keys",
        env = "WINDROW_IF_SIZE",
        value_parser = parse_sizes
    )]
    pub(crate) if_size: Option<Sizes>,

    /// Only objects written then or later: a date (2024-02-29, 2024-02-29T12:00:00Z), or so long before
    /// the run began (7d)
    #[arg(
        long,
        value_name = "WHEN",
        conflicts_with = "keys",
        env = "WINDROW_NEWER_THAN",
        value_parser = parse_moment
    )]
    pub(crate) newer_than: Option<Moment>,

    /// Only objects written before
    #[arg(
        long,
        value_name = "WHEN",
        conflicts_with = "keys",
        env = "WINDROW_OLDER_THAN",
        value_parser = parse_moment
    )]
    pub(crate) older_than: Option<Moment>,

    /// Pages of the listing to ask for at once, at most [default: 32]
    #[arg(long, value_name = "N", env = "WINDROW_LIST_CONCURRENCY", value_parser = parse_width)]
    pub(crate) list_concurrency: Option<usize>,

    /// List by ListObjects in place of ListObjectsV2: for services that have only that
    #[arg(long, env = "WINDROW_LIST_OBJECTS_V1")]
    pub(crate) list_objects_v1: bool,
}

/// Bytes: at least, at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes(Option<u64>, Option<u64>);

fn parse_sizes(text: &str) -> Result<Sizes, String> {
    let wrong = || "MIN..MAX, as in 1KiB..10MiB, 1.. or ..10MiB".to_owned();
    let (least, most) = text.split_once("..").ok_or_else(wrong)?;
    let end = |text: &str| match text.is_empty() {
        true => Ok(None),
        false => parse_bytes(text).map(Some),
    };
    match (end(least)?, end(most)?) {
        (None, None) => Err(wrong()),
        (Some(least), Some(most)) if least > most => Err("the least is more than the most".into()),
        (least, most) => Ok(Sizes(least, most)),
    }
}

fn parse_moment(text: &str) -> Result<Moment, String> {
    if let Some(moment) = calendar::seconds(text) {
        return Ok(Moment::At(moment));
    }
    let ago = parse_duration(text).ok().filter(|_| !text.bytes().all(|byte| byte.is_ascii_digit()));
    ago.map(|ago| Moment::Ago(ago.as_secs())).ok_or_else(|| {
        "a date (2024-02-29, 2024-02-29T12:00:00Z), or a time before now (7d, 12h)".to_owned()
    })
}

fn parse_width(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=LISTING_WIDTH_MOST).contains(number));
    number.ok_or_else(|| format!("a number of pages, 1 to {LISTING_WIDTH_MOST}"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum S3Style {
    /// As it is most likely
    Auto,
    /// URL/BUCKET/KEY
    Path,
    /// BUCKET.HOST/KEY
    Virtual,
}

impl S3Args {
    /// Where the bucket stands in URLs.
    pub(crate) fn style(&self) -> S3Style {
        if self.force_path_style { S3Style::Path } else { self.s3_style }
    }

    /// Which objects are wanted.
    pub(crate) fn filter(&self) -> Result<Filter, Error> {
        let Sizes(least, most) = self.if_size.unwrap_or(Sizes(None, None));
        let mut filter = Filter::default();
        (filter.least, filter.most) = (least, most);
        (filter.newer_than, filter.older_than) = (self.newer_than, self.older_than);
        let filter = filter.keys(&self.include, &self.exclude);
        filter.map_err(|why| Error::usage("--include, --exclude", "not to be used").why(why))
    }

    /// The service, if it is not that of AWS.
    pub(crate) fn endpoint(&self) -> Option<String> {
        let by_env = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let endpoint = self.endpoint_url.clone();
        endpoint.or_else(|| by_env("AWS_ENDPOINT_URL_S3")).or_else(|| by_env("AWS_ENDPOINT_URL"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_moments() {
        let sizes = |text| parse_sizes(text).map(|Sizes(least, most)| (least, most));
        assert_eq!(sizes("1KiB..10MiB"), Ok((Some(1 << 10), Some(10 << 20))));
        assert_eq!(sizes("1.."), Ok((Some(1), None)));
        assert_eq!(sizes("..0"), Ok((None, Some(0))));
        assert!(["", "..", "5", "5..1", "x..", "1...2"].iter().all(|text| sizes(text).is_err()));
        assert_eq!(parse_moment("1970-01-02"), Ok(Moment::At(86_400)));
        assert_eq!(parse_moment("7d"), Ok(Moment::Ago(7 * 86_400)));
        assert!(
            ["", "5", "yesterday", "2024-02-30", "-1d"].iter().all(|t| parse_moment(t).is_err())
        );
    }
}
