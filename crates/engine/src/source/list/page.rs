//! Makes a page of the rows of a list: cuts URLs, names objects, sorts out what is malformed.

use super::digest::{self, DigestKind};
use super::sample::Picker;
use super::{Naming, expiry, naming};
use std::collections::HashMap;
use windrow_model::Sheet;
use windrow_model::limits::{
    HOST_BYTES, LIST_PAGE_BYTES, LIST_PAGE_OBJECTS, LIST_URL_BYTES, NAME_BYTES,
};
use windrow_model::task::{Details, Expected, Malformed};
use windrow_model::url::{Parts, encode_target, is_sendable};

/// What a row says of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'r> {
    pub url: Result<&'r [u8], &'static str>,
    pub name: Name<'r>,
    pub size: Size<'r>,
    pub digest: Option<&'r [u8]>,
}

/// What a row says of an object's name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Name<'r> {
    /// Nothing: there is a rule.
    ByRule,
    /// There is a column for it, perhaps without a value here.
    Column(Option<&'r [u8]>),
    /// The name in a list of failed objects, which a number may stand in place of.
    Failed(&'r [u8]),
}

/// What a row says of an object's length.
#[derive(Debug, Clone, Copy)]
pub(super) enum Size<'r> {
    Unsaid,
    Text(&'r [u8]),
    Number(u64),
    /// Something else than a number.
    Odd,
}

impl<'r> Row<'r> {
    /// A row that has a URL and nothing else.
    pub(super) fn of(url: &'r [u8]) -> Self {
        Row { url: Ok(url), name: Name::ByRule, size: Size::Unsaid, digest: None }
    }
}

/// A page on the way.
#[derive(Debug)]
pub(super) struct Page {
    naming: Naming,
    verify: Option<DigestKind>,
    /// Number of the file, from 1 on, where there are several.
    file: Option<usize>,
    /// Objects of the list before the next row.
    position: u64,
    /// Bytes of the list that went into this page.
    taken: usize,
    sheet: Sheet,
    details: Details,
    /// Objects of a page, at most: [`LIST_PAGE_OBJECTS`], and less in tests.
    pub most: usize,
    /// Says which rows are wanted, where not all are.
    pub picker: Option<Picker>,
    servers: Servers,
    /// The target where it cannot be sent as written, and the name.
    target: Vec<u8>,
    name: Vec<u8>,
    parameters: naming::Parameters,
}

/// The servers of a page.
#[derive(Debug, Default)]
struct Servers {
    /// Index of each by its head, which tells it from all others.
    known: HashMap<Vec<u8>, u32>,
    /// Scheme and authority of the last row, as written.
    last: Vec<u8>,
    /// What names at that server begin with, and its index.
    head: Vec<u8>,
    index: u32,
}

impl Page {
    pub(super) fn new(naming: Naming, verify: Option<DigestKind>) -> Self {
        Self {
            naming,
            verify,
            file: None,
            position: 0,
            taken: 0,
            sheet: Sheet::default(),
            details: Details::default(),
            most: LIST_PAGE_OBJECTS,
            picker: None,
            servers: Servers::default(),
            target: Vec::new(),
            name: Vec::new(),
            parameters: Vec::new(),
        }
    }

    /// Says from where the next rows are.
    pub(super) fn begin(&mut self, file: Option<usize>, position: u64) {
        self.file = file;
        self.position = position;
        self.taken = 0;
    }

    /// Objects of the list before the next row.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sheet.names.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.sheet.names.len() >= self.most || self.taken >= LIST_PAGE_BYTES
    }

    /// Counts bytes of the list.
    pub(super) fn take(&mut self, bytes: usize) {
        self.taken += bytes;
    }

    /// The page, and a new one in its place.
    pub(super) fn finish(&mut self) -> Sheet {
        let mut sheet = std::mem::take(&mut self.sheet);
        sheet.details = Some(Box::new(std::mem::take(&mut self.details)));
        self.servers.known.clear();
        self.servers.last.clear();
        sheet
    }

    /// Whether the next row is wanted; if not, it only counts.
    pub(super) fn wants_next(&mut self) -> bool {
        let Some(picker) = &mut self.picker else { return true };
        let wanted = picker.wants(self.position);
        if !wanted {
            self.position += 1;
        }
        wanted
    }

    /// Adds a row, `line` of its file.
    pub(super) fn push(&mut self, line: u64, row: &Row<'_>) {
        match self.accept(row) {
            Ok(()) => self.position += 1,
            Err(why) => self.malformed(line, why),
        }
    }

    /// Adds a line that names no object.
    pub(super) fn malformed(&mut self, line: u64, why: &'static str) {
        use std::io::Write;
        let index = self.sheet.names.len();
        self.name.clear();
        // Writing to memory cannot fail.
        let _ = match self.file {
            None => write!(self.name, "line-{line}"),
            Some(file) => write!(self.name, "file-{file}-line-{line}"),
        };
        let _ = self.sheet.names.push(&self.name);
        let details = &mut self.details;
        let _ = details.targets.push(b"");
        details.origin.push(Details::NOWHERE);
        if !details.expiry.is_empty() {
            details.expiry.push(0);
        }
        if !details.expected.is_empty() {
            details.expected.push(Expected::default());
        }
        // A page has fewer than 2^32 objects.
        details.malformed.push(Malformed { index: index as u32, line, why });
        self.position += 1;
    }

    /// Adds an object, or nothing where something is wrong with it.
    fn accept(&mut self, row: &Row<'_>) -> Result<(), &'static str> {
        let url = row.url?.trim_ascii();
        if url.is_empty() {
            return Err("no URL");
        }
        if url.len() > LIST_URL_BYTES {
            return Err("the URL is longer than 32 KiB");
        }
        let url = std::str::from_utf8(url).map_err(|_| "not UTF-8")?;
        if memchr::memchr(b'*', url.as_bytes()).is_some() && url.contains("=***") {
            return Err("its secrets were cut");
        }
        let written = self.servers.written(url, &mut self.details)?.as_bytes();
        let expected = Expected {
            size: match row.size {
                Size::Unsaid => None,
                Size::Number(size) => Some(size),
                Size::Text(text) if text.trim_ascii().is_empty() => None,
                Size::Text(text) => Some(digest::size(text).ok_or("the size is no number")?),
                Size::Odd => return Err("the size is no number"),
            },
            digest: match (self.verify, row.digest) {
                (Some(kind), Some(text)) if !text.trim_ascii().is_empty() => {
                    Some(kind.parse(text).ok_or("the checksum is not as it should be")?)
                }
                _ => None,
            },
        };
        let target = match is_sendable(written) {
            true => written,
            false => {
                self.target.clear();
                encode_target(written, &mut self.target);
                &self.target
            }
        };
        let name = match (row.name, self.naming) {
            (Name::Column(name), _) => name.ok_or("no name")?,
            (Name::Failed(name), Naming::Url) => name,
            (_, Naming::Ordinal) => {
                self.name.clear();
                digits(self.position, &mut self.name);
                naming::extension(target, &mut self.name);
                &self.name
            }
            (Name::ByRule, Naming::Url) => {
                self.name.clear();
                self.name.extend_from_slice(&self.servers.head);
                naming::name_of(target, &mut self.parameters, &mut self.name);
                &self.name
            }
        };
        if name.is_empty() {
            return Err("the name is empty");
        }
        if name.len() > NAME_BYTES {
            return Err("the name is longer than 64 KiB");
        }
        let index = self.sheet.names.len();
        let details = &mut self.details;
        // Both are bounded far below 4 GiB: by the bounds of a page, a URL and a name.
        self.sheet.names.push(name).map_err(|_| "the page is full")?;
        if details.targets.push(target).is_err() {
            self.sheet.names.truncate(index);
            return Err("the page is full");
        }
        details.origin.push(self.servers.index);
        let target = std::str::from_utf8(target).unwrap_or_default();
        let expires = expiry(target).unwrap_or(0);
        if expires != 0 || !details.expiry.is_empty() {
            details.expiry.resize(index, 0);
            details.expiry.push(expires);
        }
        if expected != Expected::default() || !details.expected.is_empty() {
            details.expected.resize(index, Expected::default());
            details.expected.push(expected);
        }
        Ok(())
    }
}

impl Servers {
    /// Cuts a URL: notes its server, gives path and query as written.
    fn written<'u>(
        &mut self,
        url: &'u str,
        details: &mut Details,
    ) -> Result<&'u str, &'static str> {
        // What `Parts::of` accepted once it accepts again, whatever path comes behind it, but for
        // a fragment.
        if !self.last.is_empty()
            && url.as_bytes().starts_with(&self.last)
            && matches!(url.as_bytes().get(self.last.len()), None | Some(b'/' | b'?'))
            && memchr::memchr(b'#', url.as_bytes()).is_none()
        {
            return Ok(&url[self.last.len()..]);
        }
        let parts = Parts::of(url)?;
        if parts.host.len() > HOST_BYTES {
            return Err("the host is longer than 255 bytes");
        }
        let origin = parts.origin();
        self.head.clear();
        naming::head(&origin, &mut self.head);
        self.index = match self.known.get(&self.head) {
            Some(&index) => index,
            None => {
                // A page has fewer than 2^32 objects, and no more servers.
                let index = details.origins.len() as u32;
                details.origins.push(origin);
                self.known.insert(self.head.clone(), index);
                index
            }
        };
        self.last.clear();
        self.last.extend_from_slice(&url.as_bytes()[..url.len() - parts.target.len()]);
        Ok(parts.target)
    }
}

/// At least twelve digits.
fn digits(mut number: u64, out: &mut Vec<u8>) {
    let mut text = [b'0'; 20];
    let mut at = text.len();
    while number > 0 {
        at -= 1;
        text[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&text[at.min(text.len() - 12)..]);
}
