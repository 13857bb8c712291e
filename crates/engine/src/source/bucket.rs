//! The listing of a bucket: `ListObjectsV2` of S3.
//!
//! A page is asked for by the key behind which it begins (`start-after`), not by a continuation
//! token: the key of a page that was taken is known for ever, a token may be forgotten by the server.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>.

use super::listing::ListingError;
use quick_xml::Reader;
use quick_xml::events::Event;
use windrow_model::limits::MARKER_BYTES;
use windrow_model::percent::{self, Keep};
use windrow_model::task::Names;

/// What of which bucket is listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Only keys that begin so.
    pub prefix: String,
    /// Only keys behind this one, in the order of UTF-8 bytes.
    pub start_after: Option<String>,
    /// The bucket is part of the path, `/BUCKET/KEY`; else of the host.
    pub in_path: bool,
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
}

/// Walks the listing of a bucket.
#[derive(Debug)]
pub struct BucketListing {
    bucket: Bucket,
    /// Path of the bucket, with what stands before it at the service.
    base: String,
    /// The last key of the page before; `None` for the first page.
    marker: Option<String>,
    finished: bool,
    pages: u64,
}

/// What an answer of a bucket says that is no page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusal {
    /// `NoSuchBucket`, `SignatureDoesNotMatch`, ...
    pub code: String,
    /// For people.
    pub message: String,
    /// The region where the bucket is, if the answer tells.
    pub region: Option<String>,
}

impl BucketListing {
    /// A listing from the page on behind the key `marker`; `None` for the first. `service` stands
    /// before every path.
    pub fn enter(bucket: Bucket, service: &str, marker: Option<String>) -> Self {
        let base = format!("{service}{}", bucket.base());
        Self { bucket, base, marker, finished: false, pages: 0 }
    }

    /// The key behind which the next page begins; `None` for the first, and after the last.
    pub fn marker(&self) -> Option<&str> {
        self.marker.as_deref()
    }

    /// Pages taken so far.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Path and query of the next page, its parameters in order; `None` after the last.
    pub fn request(&self) -> Option<Vec<u8>> {
        if self.finished {
            return None;
        }
        let mut path =
            format!("{}/?encoding-type=url&list-type=2&max-keys=1000", self.base).into_bytes();
        let mut add = |name: &str, value: &str| {
            path.extend_from_slice(name.as_bytes());
            percent::escape_into(value.as_bytes(), &Keep::UNRESERVED, &mut path);
        };
        if !self.bucket.prefix.is_empty() {
            add("&prefix=", &self.bucket.prefix);
        }
        if let Some(after) = self.marker.as_deref().or(self.bucket.start_after.as_deref()) {
            add("&start-after=", after);
        }
        Some(path)
    }

    /// Takes the answer to [`BucketListing::request`] and gives its keys.
    ///
    /// # Errors
    /// It is no page, or leads back; the listing has not moved.
    pub fn accept(&mut self, body: &[u8]) -> Result<Names, ListingError> {
        let page = read(body).map_err(ListingError::Shape)?;
        let after = self.marker.as_deref().or(self.bucket.start_after.as_deref());
        // Keys come in the order of their bytes: what is not behind the marker was there before.
        if let (Some(after), Some(first)) = (after, page.names.get(0))
            && first <= after.as_bytes()
        {
            return Err(ListingError::Circle(after.to_owned()));
        }
        let last = page.names.len().checked_sub(1).and_then(|last| page.names.get(last));
        let marker = match (page.truncated, last) {
            (false, _) => None,
            (true, None) => return Err(ListingError::Barren(1)),
            (true, Some(last)) if last.len() > MARKER_BYTES => {
                return Err(ListingError::LongMarker(last.len()));
            }
            // Else the next page would begin somewhere else.
            (true, Some(last)) => Some(String::from_utf8(last.to_vec()).map_err(|_| {
                ListingError::Shape("a key that is not UTF-8 ends a page".to_owned())
            })?),
        };
        self.pages += 1;
        self.finished = marker.is_none();
        self.marker = marker;
        Ok(page.names)
    }
}

struct Page {
    names: Names,
    truncated: bool,
}

/// Reads a `ListBucketResult`.
fn read(body: &[u8]) -> Result<Page, String> {
    let mut names = Names::default();
    let (mut truncated, mut encoded, mut known) = (None, false, false);
    let mut keys: Vec<Vec<u8>> = Vec::new();
    each_text(body, |path, text| {
        known |= path.first() == Some(&"ListBucketResult");
        match path {
            ["ListBucketResult", "IsTruncated"] => truncated = Some(text == "true"),
            ["ListBucketResult", "EncodingType"] => encoded = text == "url",
            ["ListBucketResult", "Contents", "Key"] => keys.push(text.as_bytes().to_vec()),
            _ => {}
        }
    })?;
    let Some(truncated) = truncated.filter(|_| known) else {
        return Err("no ListBucketResult".to_owned());
    };
    // Some servers say that they encode, and do not.
    encoded &= keys.iter().all(|key| is_encoded(key));
    for key in keys {
        match encoded {
            true => {
                // The form of HTML: a space is `+`.
                let spaced: Vec<u8> =
                    key.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
                let key = percent::decode(&spaced).ok_or("a key that cannot be decoded")?;
                names.push(&key).map_err(|_| LONG)?;
            }
            false => names.push(&key).map_err(|_| LONG)?,
        }
    }
    Ok(Page { names, truncated })
}

/// Whether a key can be one that was encoded for a URL.
fn is_encoded(key: &[u8]) -> bool {
    let plain = |&byte: &u8| byte.is_ascii_graphic() && !b"\"#&<>?[]\\^`{|}".contains(&byte);
    key.iter().all(plain) && percent::decode(key).is_some()
}

/// S3 has keys of 1,024 bytes at most.
const LONG: &str = "a key that is too long";

/// What an answer says that is an error.
pub fn refusal(body: &[u8]) -> Option<Refusal> {
    let mut refusal = Refusal::default();
    each_text(body, |path, text| match path {
        ["Error", "Code"] => text.clone_into(&mut refusal.code),
        ["Error", "Message"] => text.clone_into(&mut refusal.message),
        ["Error", "Region"] => refusal.region = Some(text.to_owned()),
        _ => {}
    })
    .ok()?;
    (!refusal.code.is_empty()).then_some(refusal)
}

/// Elements inside one another, at most.
const DEPTH: usize = 8;

/// Shows the text of each element with the names of those around it, outermost first.
pub(crate) fn each_text(body: &[u8], mut see: impl FnMut(&[&str], &str)) -> Result<(), String> {
    let mut reader = Reader::from_reader(body);
    let mut path: Vec<String> = Vec::new();
    let mut text = String::new();
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(start) => {
                if path.len() == DEPTH {
                    return Err("elements inside one another, too many".to_owned());
                }
                path.push(String::from_utf8_lossy(start.local_name().as_ref()).into_owned());
                text.clear();
            }
            Event::Text(part) => text.push_str(&part.decode().map_err(|error| error.to_string())?),
            Event::GeneralRef(entity) => {
                let character =
                    match entity.resolve_char_ref().map_err(|error| error.to_string())? {
                        Some(character) => character,
                        None => match entity.as_ref() {
                            b"amp" => '&',
                            b"lt" => '<',
                            b"gt" => '>',
                            b"quot" => '"',
                            b"apos" => '\'',
                            _ => return Err("an entity that nobody knows".to_owned()),
                        },
                    };
                text.push(character);
            }
            Event::CData(part) => {
                text.push_str(&String::from_utf8_lossy(&part));
            }
            Event::End(_) => {
                let names: Vec<&str> = path.iter().map(String::as_str).collect();
                see(&names, &text);
                path.pop();
                text.clear();
            }
            Event::Eof if path.is_empty() => return Ok(()),
            Event::Eof => return Err("it ends too early".to_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(keys: &[&str], truncated: bool) -> Vec<u8> {
        let contents = keys.iter().map(|key| {
            format!("<Contents><Key>{key}</Key><Size>3</Size><Owner><ID>x</ID></Owner></Contents>")
        });
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3\">\
             <Name>b</Name><EncodingType>url</EncodingType><IsTruncated>{truncated}</IsTruncated>\
             {}</ListBucketResult>",
            contents.collect::<String>()
        )
        .into_bytes()
    }

    fn texts(names: &Names) -> Vec<String> {
        (0..names.len())
            .map(|nth| String::from_utf8(names.get(nth).unwrap().to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn pages_follow_keys() {
        let bucket = Bucket {
            name: "b".into(),
            prefix: "a b/".into(),
            start_after: Some("a b/0".into()),
            in_path: true,
        };
        let mut listing = BucketListing::enter(bucket, "/s3", None);
        let query =
            "/s3/b/?encoding-type=url&list-type=2&max-keys=1000&prefix=a%20b%2F&start-after=";
        assert_eq!(listing.request().unwrap(), format!("{query}a%20b%2F0").as_bytes());
        let names =
            listing.accept(&page(&["a+b/1", "a+b/gr%C3%BC%C3%9Fe%2B", "a+b/&#37;C3%A9%26"], true));
        assert_eq!(texts(&names.unwrap()), ["a b/1", "a b/grüße+", "a b/é&"]);
        assert_eq!(listing.marker(), Some("a b/é&"));
        assert_eq!(listing.request().unwrap(), format!("{query}a%20b%2F%C3%A9%26").as_bytes());
        let names = listing.accept(&page(&["a+b/%F0%9F%A6%80"], false)).unwrap();
        assert_eq!(texts(&names), ["a b/🦀"]);
        assert_eq!((listing.request(), listing.pages()), (None, 2));
    }

    #[test]
    fn what_is_no_page_moves_nothing() {
        let mut listing = BucketListing::enter(Bucket::default(), "", Some("m".into()));
        let before = listing.request();
        for bad in
            [&b""[..], b"{}", b"<a></a>", b"<ListBucketResult>", b"<html><body>hello</body></html>"]
        {
            assert!(matches!(listing.accept(bad), Err(ListingError::Shape(_))), "{bad:?}");
        }
        let circle = listing.accept(&page(&["m"], true));
        assert_eq!(circle, Err(ListingError::Circle("m".into())));
        assert!(listing.accept(&page(&[], true)).is_err());
        let deep = [b"<a>".repeat(100), b"</a>".repeat(100)].concat();
        assert!(listing.accept(&deep).is_err());
        assert_eq!(listing.request(), before);
    }

    #[test]
    fn servers_that_only_say_that_they_encode() {
        for raw in ["100%", "a b", "%41 c", "gr\u{fc}n", "a?b"] {
            let mut listing = BucketListing::enter(Bucket::default(), "", None);
            let names = listing.accept(&page(&["%41+", raw], false)).unwrap();
            assert_eq!(texts(&names), ["%41+", raw]);
        }
    }

    #[test]
    fn errors_are_read() {
        let body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'a' is \
                     wrong; expecting &apos;b&apos;</Message><Region>b</Region></Error>";
        let refusal = refusal(body).unwrap();
        assert_eq!(refusal.code, "AuthorizationHeaderMalformed");
        assert_eq!(refusal.region.as_deref(), Some("b"));
        assert!(refusal.message.ends_with("expecting 'b'"));
        assert_eq!(super::refusal(b"<Error></Error>"), None);
        assert_eq!(super::refusal(b"no"), None);
    }
}
