//! One page of a bucket's listing: the XML of `ListObjects`, of both versions, and of errors.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};
use windrow_model::calendar;
use windrow_model::percent;
use windrow_model::task::{Etag, Listed, Names};

/// Objects of a listing, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Their keys.
    pub keys: Names,
    /// What is said of each.
    pub listed: Vec<Listed>,
    /// When each was written, in seconds since 1970; 0 where that is not said.
    pub modified: Vec<u64>,
    /// More come behind them.
    pub truncated: bool,
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

impl Refusal {
    /// What it says, in one line of bounded length.
    pub fn shown(&self) -> String {
        let said = self.code.chars().chain(": ".chars()).chain(self.message.chars().take(200));
        // Quotes are what these texts are full of, and do no harm.
        said.flat_map(|c| match c {
            '\'' | '"' => vec![c],
            c => c.escape_debug().collect(),
        })
        .collect()
    }
}

impl Page {
    /// The last key, if it is UTF-8.
    pub fn last(&self) -> Option<&str> {
        std::str::from_utf8(self.keys.get(self.keys.len().checked_sub(1)?)?).ok()
    }

    /// Memory that it takes, about.
    pub fn bytes(&self) -> usize {
        self.keys.bytes() + self.keys.len() * (4 + size_of::<Listed>() + 8)
    }

    /// Forgets the objects from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.keys.truncate(len);
        self.listed.truncate(len);
        self.modified.truncate(len);
    }

    /// Keeps the objects that `wanted` names by their index.
    pub fn retain(&mut self, mut wanted: impl FnMut(&Self, usize) -> bool) {
        let picks: Vec<usize> = (0..self.keys.len()).filter(|&index| wanted(self, index)).collect();
        if picks.len() == self.keys.len() {
            return;
        }
        let mut keys = Names::default();
        for (to, &from) in picks.iter().enumerate() {
            // A part of what fitted fits.
            let _ = keys.push(self.keys.get(from).unwrap_or_default());
            self.listed.swap(to, from);
            self.modified.swap(to, from);
        }
        self.keys = keys;
        self.truncate(picks.len());
    }
}

/// Reads a `ListBucketResult`.
///
/// # Errors
/// What is wrong with it, for people.
pub fn read(body: &[u8]) -> Result<Page, String> {
    let mut page = Page::default();
    let (mut truncated, mut encoded, mut known) = (None, false, false);
    // Keys as they are written.
    let mut raw = Names::default();
    let (mut listed, mut modified) = (Listed::default(), 0);
    each_text(body, |path, text| match path {
        [Tag::Result] => known = true,
        [Tag::Result, Tag::Truncated] => truncated = Some(text == "true"),
        [Tag::Result, Tag::Encoding] => encoded = text == "url",
        [Tag::Result, Tag::Contents] if raw.len() > page.listed.len() => {
            page.listed.push(std::mem::take(&mut listed));
            page.modified.push(std::mem::take(&mut modified));
        }
        // A second key of one object is none.
        [Tag::Result, Tag::Contents, Tag::Key] if raw.len() == page.listed.len() => {
            // A page is bounded far below 4 GiB.
            let _ = raw.push(text.as_bytes());
        }
        [Tag::Result, Tag::Contents, Tag::Size] => listed.size = text.parse().unwrap_or(u64::MAX),
        [Tag::Result, Tag::Contents, Tag::Etag] => listed.etag = Etag::read(text.as_bytes()),
        [Tag::Result, Tag::Contents, Tag::Modified] => {
            modified = calendar::seconds(text).unwrap_or(0);
        }
        _ => {}
    })?;
    let Some(truncated) = truncated.filter(|_| known) else {
        return Err("no ListBucketResult".to_owned());
    };
    page.truncated = truncated;
    // Some servers say that they encode, and do not.
    encoded &= raw.iter().all(is_encoded);
    if !encoded {
        page.keys = raw;
        return Ok(page);
    }
    let mut spaced = Vec::new();
    for key in raw.iter() {
        if memchr::memchr2(b'+', b'%', key).is_none() {
            page.keys.push(key).map_err(|_| LONG)?;
            continue;
        }
        // The form of HTML: a space is `+`.
        spaced.clear();
        spaced.extend(key.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }));
        let key = percent::decode(&spaced).ok_or("a key that cannot be decoded")?;
        page.keys.push(&key).map_err(|_| LONG)?;
    }
    Ok(page)
}

/// Bytes that a key may have that was encoded for a URL.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        plain[byte as usize] = !matches!(
            byte,
            b'"' | b'#'
                | b'&'
                | b'<'
                | b'>'
                | b'?'
                | b'['
                | b']'
                | b'\\'
                | b'^'
                | b'`'
                | b'{'
                | b'|'
                | b'}'
        );
        byte += 1;
    }
    plain
};

/// Whether a key can be one that was encoded for a URL.
fn is_encoded(key: &[u8]) -> bool {
    let plain = key.iter().all(|&byte| PLAIN[usize::from(byte)]);
    plain && (memchr::memchr(b'%', key).is_none() || percent::decode(key).is_some())
}

/// S3 has keys of 1,024 bytes at most.
const LONG: &str = "a key that is too long";

/// What an answer says that is an error.
pub fn refusal(body: &[u8]) -> Option<Refusal> {
    let mut refusal = Refusal::default();
    each_text(body, |path, text| match path {
        [Tag::Error, Tag::Code] => text.clone_into(&mut refusal.code),
        [Tag::Error, Tag::Message] => text.clone_into(&mut refusal.message),
        [Tag::Error, Tag::Region] => refusal.region = Some(text.to_owned()),
        _ => {}
    })
    .ok()?;
    (!refusal.code.is_empty()).then_some(refusal)
}

/// Elements inside one another, at most.
const DEPTH: usize = 8;

/// The elements that are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    Result,
    Truncated,
    Encoding,
    Contents,
    Key,
    Size,
    Etag,
    Modified,
    Error,
    Code,
    Message,
    Region,
    Upload,
    UploadId,
    Initiated,
    Other,
}

impl Tag {
    fn of(name: &[u8]) -> Self {
        match name {
            b"Contents" => Self::Contents,
            b"Key" => Self::Key,
            b"Size" => Self::Size,
            b"ETag" => Self::Etag,
            b"LastModified" => Self::Modified,
            b"ListBucketResult" => Self::Result,
            b"IsTruncated" => Self::Truncated,
            b"EncodingType" => Self::Encoding,
            b"Error" => Self::Error,
            b"Code" => Self::Code,
            b"Message" => Self::Message,
            b"Region" => Self::Region,
            b"Upload" => Self::Upload,
            b"UploadId" => Self::UploadId,
            b"Initiated" => Self::Initiated,
            _ => Self::Other,
        }
    }
}

/// Shows the text of each element with those around it, outermost first.
pub(crate) fn each_text(body: &[u8], mut see: impl FnMut(&[Tag], &str)) -> Result<(), String> {
    let mut reader = Reader::from_reader(body);
    // Names at ends are not remembered: a fifth of the time.
    reader.config_mut().check_end_names = false;
    let mut path: Vec<Tag> = Vec::with_capacity(DEPTH);
    let mut text = String::new();
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(start) => {
                if path.len() == DEPTH {
                    return Err("elements inside one another, too many".to_owned());
                }
                path.push(Tag::of(start.local_name().as_ref()));
                text.clear();
            }
            Event::Text(part) => text.push_str(&part.decode().map_err(|error| error.to_string())?),
            Event::GeneralRef(entity) => text.push(character(&entity)?),
            Event::CData(part) => text.push_str(&String::from_utf8_lossy(&part)),
            Event::End(_) => {
                see(&path, &text);
                path.pop();
                text.clear();
            }
            Event::Eof if path.is_empty() => return Ok(()),
            Event::Eof => return Err("it ends too early".to_owned()),
            _ => {}
        }
    }
}

fn character(entity: &BytesRef<'_>) -> Result<char, String> {
    if let Some(character) = entity.resolve_char_ref().map_err(|error| error.to_string())? {
        return Ok(character);
    }
    Ok(match entity.as_ref() {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        _ => return Err("an entity that nobody knows".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(keys: &[&str], truncated: bool) -> Vec<u8> {
        let contents = keys.iter().map(|key| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2009-10-12T17:50:30.000Z</LastModified>\
                 <ETag>&quot;fba9dede5f27731c9771645a39863328&quot;</ETag><Size>3</Size>\
                 <Owner><ID>x</ID></Owner></Contents>"
            )
        });
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3\">\
             <Name>b</Name><EncodingType>url</EncodingType><IsTruncated>{truncated}</IsTruncated>\
             {}</ListBucketResult>",
            contents.collect::<String>()
        )
        .into_bytes()
    }

    fn texts(page: &Page) -> Vec<String> {
        page.keys.iter().map(|key| String::from_utf8(key.to_vec()).unwrap()).collect()
    }

    #[test]
    fn objects_are_read() {
        let keys = ["a+b/1", "a+b/gr%C3%BC%C3%9Fe%2B", "a+b/&#37;C3%A9%26", "plain"];
        let page = read(&page(&keys, true)).unwrap();
        assert_eq!(texts(&page), ["a b/1", "a b/grüße+", "a b/é&", "plain"]);
        assert!(page.truncated);
        let etag = Etag::read(b"fba9dede5f27731c9771645a39863328");
        assert!(etag.md5().is_some());
        assert_eq!(page.listed, [Listed { size: 3, etag }; 4]);
        assert_eq!(page.modified, [1_255_369_830; 4]);
        let mut some = page;
        some.retain(|page, index| page.keys.get(index).is_some_and(|key| key.ends_with(b"&")));
        assert_eq!((texts(&some), some.listed.len()), (vec!["a b/é&".to_owned()], 1));
    }

    #[test]
    fn objects_may_say_nothing_but_their_keys() {
        let body = b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a b</Key>\
                     <Key>c</Key></Contents><Contents><Size>1</Size></Contents><Contents><Key>d</Key>\
                     <Size>x</Size></Contents></ListBucketResult>";
        let page = read(body).unwrap();
        assert_eq!(texts(&page), ["a b", "d"]);
        assert_eq!(page.listed[0], Listed::default());
        assert_eq!(page.modified, [0, 0]);
    }

    #[test]
    fn what_is_no_page() {
        let deep = [b"<a>".repeat(100), b"</a>".repeat(100)].concat();
        for bad in [
            &b""[..],
            b"{}",
            b"<a></a>",
            b"<ListBucketResult>",
            b"<html><body>hello</body></html>",
            &deep,
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn servers_that_only_say_that_they_encode() {
        for raw in ["100%", "a b", "%41 c", "gr\u{fc}n", "a?b"] {
            let page = read(&page(&["%41+", raw], false)).unwrap();
            assert_eq!(texts(&page), ["%41+", raw]);
        }
    }

    #[test]
    fn errors_are_read() {
        let body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'a' is \
                     wrong; expecting &apos;b&apos;</Message><Region>b</Region></Error>";
        let refusal = refusal(body).unwrap();
        assert_eq!(refusal.code, "AuthorizationHeaderMalformed");
        assert_eq!(refusal.region.as_deref(), Some("b"));
        let shown = "AuthorizationHeaderMalformed: the region 'a' is wrong; expecting 'b'";
        assert_eq!(refusal.shown(), shown);
        let hostile = Refusal { message: format!("\n\u{1b}[2J\"{}", "x".repeat(999)), ..refusal };
        assert!(hostile.shown().ends_with(&"x".repeat(190)) && hostile.shown().len() < 250);
        assert!(!hostile.shown().contains(char::is_control));
        assert_eq!(super::refusal(b"<Error></Error>"), None);
        assert_eq!(super::refusal(b"no"), None);
    }
}
