//! What a destination in S3 needs.

use super::*;

/// Where the state of a run lies, and how objects are put.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Destination (DEST is s3://BUCKET[/PREFIX])")]
pub(crate) struct DestArgs {
    /// Directory for the state of a run whose DEST is a bucket, and for packs until they are there
    #[arg(long, value_name = "DIR", env = "WINDROW_JOB")]
    pub(crate) job: Option<PathBuf>,

    /// Address of the S3 service to write to [default: as --endpoint-url]
    #[arg(long, value_name = "URL", env = "WINDROW_DEST_ENDPOINT_URL")]
    pub(crate) dest_endpoint_url: Option<String>,

    /// Region of the bucket to write to [default: as --region]
    #[arg(long, value_name = "REGION", env = "WINDROW_DEST_REGION")]
    pub(crate) dest_region: Option<String>,

    /// Profile of who writes [default: as --profile]
    #[arg(long, value_name = "NAME", env = "WINDROW_DEST_PROFILE")]
    pub(crate) dest_profile: Option<String>,

    /// Write without credentials
    #[arg(long, env = "WINDROW_DEST_NO_SIGN_REQUEST")]
    pub(crate) dest_no_sign_request: bool,

    /// Objects put at once over all cores [default: as many as the service takes]
    #[arg(
        long,
        value_name = "N",
        env = "WINDROW_DEST_CONCURRENCY",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=4096)
    )]
    pub(crate) dest_concurrency: Option<usize>,

    /// Replace no object that is there with other content: it fails, with class `name`
    #[arg(long, env = "WINDROW_IF_NONE_MATCH")]
    pub(crate) if_none_match: bool,

    /// Keep x-amz-meta-*, Cache-Control, Content-Disposition, Content-Language and Expires of objects,
    /// not only Content-Type and Content-Encoding
    #[arg(long, env = "WINDROW_KEEP_METADATA")]
    pub(crate) keep_metadata: bool,
}
