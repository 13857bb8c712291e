//! What a source in S3 needs.

use super::*;

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
    pub(crate) s3_style: S3Style,

    /// Fetch these keys of the bucket, one a line, without listing it; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "start_after", env = "WINDROW_KEYS")]
    pub(crate) keys: Option<PathBuf>,

    /// Only keys behind this one, in the order of their bytes
    #[arg(long, value_name = "KEY", env = "WINDROW_START_AFTER")]
    pub(crate) start_after: Option<String>,
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
    /// The service, if it is not that of AWS.
    pub(crate) fn endpoint(&self) -> Option<String> {
        let by_env = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let endpoint = self.endpoint_url.clone();
        endpoint.or_else(|| by_env("AWS_ENDPOINT_URL_S3")).or_else(|| by_env("AWS_ENDPOINT_URL"))
    }
}
