//! The listing of a bucket: `ListObjectsV2` of S3, and `ListObjects` for services that have only that.
//!
//! A page is asked for by the key behind which it begins (`start-after`, `marker`), not by a
//! continuation token: the key of a page that was taken is known for ever, a token may be forgotten by
//! the server. So a listing can also be entered anywhere, and is, in many places at once
//! ([`Split`]).
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjects.html>.

mod filter;
mod guess;
mod page;
mod split;

pub use filter::{Filter, Moment};
pub use page::{Page, Refusal, read, refusal};
pub(crate) use page::{Tag, each_text};
pub use split::{Ask, Chunk, Split};

use windrow_model::limits::LISTING_WIDTH;
use windrow_model::percent::{self, Keep};

/// What of which bucket is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Only keys that begin so.
    pub prefix: String,
    /// Only keys behind this one, in the order of UTF-8 bytes.
    pub start_after: Option<String>,
    /// The bucket is part of the path, `/BUCKET/KEY`; else of the host.
    pub in_path: bool,
    /// By `ListObjects` in place of `ListObjectsV2`.
    pub version_1: bool,
    /// Pages asked for at once, at most.
    pub width: usize,
    /// Which of its objects are wanted.
    pub filter: Filter,
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            name: String::new(),
            prefix: String::new(),
            start_after: None,
            in_path: false,
            version_1: false,
            width: LISTING_WIDTH,
            filter: Filter::default(),
        }
    }
}

impl Bucket {
    /// The path before keys, without a `/` at its end.
    pub fn base(&self) -> String {
        match self.in_path {
            true => {
                let mut base = b"/".to_vec();
                percent::escape_into(self.name.as_bytes(), &Keep::UNRESERVED, &mut base);
                String::from_utf8_lossy(&base).into_owned()
            }
            false => String::new(),
        }
    }

    /// Path and query of the page behind the key `after`, parameters in order; `service` stands before
    /// every path.
    pub fn request(&self, service: &str, after: Option<&str>) -> Vec<u8> {
        let mut path = format!("{service}{}/?encoding-type=url", self.base()).into_bytes();
        let mut add = |name: &str, value: &str| {
            path.extend_from_slice(name.as_bytes());
            percent::escape_into(value.as_bytes(), &Keep::UNRESERVED, &mut path);
        };
        // They are signed in the order of their names.
        let after = after.or(self.start_after.as_deref());
        match (self.version_1, after) {
            (false, _) => add("&list-type=2&max-keys=1000", ""),
            (true, Some(after)) => {
                add("&marker=", after);
                add("&max-keys=1000", "");
            }
            (true, None) => add("&max-keys=1000", ""),
        }
        if !self.prefix.is_empty() {
            add("&prefix=", &self.prefix);
        }
        if let (false, Some(after)) = (self.version_1, after) {
            add("&start-after=", after);
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_asked_for_by_keys() {
        let mut bucket = Bucket {
            name: "b".into(),
            prefix: "a b/".into(),
            start_after: Some("a b/0".into()),
            in_path: true,
            ..Bucket::default()
        };
        let text =
            |bucket: &Bucket, after| String::from_utf8(bucket.request("/s3", after)).unwrap();
        let query =
            "/s3/b/?encoding-type=url&list-type=2&max-keys=1000&prefix=a%20b%2F&start-after=";
        assert_eq!(text(&bucket, None), format!("{query}a%20b%2F0"));
        assert_eq!(text(&bucket, Some("a b/é&")), format!("{query}a%20b%2F%C3%A9%26"));
        bucket.version_1 = true;
        assert_eq!(
            text(&bucket, Some("x+")),
            "/s3/b/?encoding-type=url&marker=x%2B&max-keys=1000&prefix=a%20b%2F"
        );
        bucket.start_after = None;
        bucket.prefix.clear();
        assert_eq!(text(&bucket, None), "/s3/b/?encoding-type=url&max-keys=1000");
    }
}
