//! What a body is to be, and whether it is.
//!
//! Two witnesses speak: the source (a list's size and checksum columns) and the header lines of the
//! response. The listing of a bucket is one of the second kind: it says what header lines say, of
//! the version of the object that it saw. They speak of two things. What the source says holds for the bytes as they are
//! *stored*: that is what its user looks at, and whether `--compressed` was given must not change
//! it. What header lines say holds for the bytes as they are *sent*, before a `Content-Encoding` is
//! undone (RFC 9530 section 2; RFC 1864 and S3 likewise). Where nothing is undone, these are the
//! same bytes and are read once ([`Form::Plain`]).
//!
//! Every checksum that is understood must match. One that is malformed, or of an algorithm that is
//! not known, is as if it were not there: it says nothing about the body. Of header lines are read:
//!
//! - `Content-MD5` (RFC 1864); `Digest` (RFC 3230); `Repr-Digest` and `Content-Digest` (RFC 9530),
//!   which are the same where no part of an object was asked for.
//! - `x-amz-checksum-*`, unless it is a checksum of parts' checksums (`x-amz-checksum-type:
//!   COMPOSITE`, or `-N` behind the value).
//! - `x-goog-hash`, unless the server undid a coding itself: the checksum is that of the object as
//!   it is kept (`x-goog-stored-content-encoding: gzip` without `Content-Encoding`).
//! - `ETag` where it is an MD5: 32 digits, strong, from a server that speaks as S3 does
//!   (`x-amz-request-id`), unless the object is encrypted with a key of KMS or of the client, or
//!   lies in a directory bucket, whose tags are random.

use super::sum::{Algorithm, Hashers, Sum, hex32};
use windrow_model::limits::BODY_CHECKS;
use windrow_model::task::{Digest, Etag, Expected};
use windrow_model::{Failure, FailureClass};

/// Which bytes of a body are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As they came, a coding still on them: what the header lines say.
    Sent,
    /// As they are stored, the coding undone: what the source says.
    Stored,
    /// Bytes that are stored as they came: what both say.
    Plain,
}

/// What one body is to be. Small, without anything on the heap.
#[derive(Debug, Clone, Copy, Default)]
pub struct Checks {
    size: Option<u64>,
    /// The size and this are what the listing of a bucket says.
    listed: Option<Etag>,
    /// What the response says.
    etag: Option<Etag>,
    /// The first `len` are set. More than there is room for are not compared.
    said: [Option<Said>; BODY_CHECKS],
    len: u8,
    /// `x-amz-request-id`: a server that speaks as S3 does.
    s3: bool,
    /// The `ETag` is no MD5, whatever it looks like.
    opaque_etag: bool,
    /// `x-amz-checksum-*` are those of parts' checksums.
    composite: bool,
    /// The object is kept with a coding on it (GCS), and it is sent with one.
    kept_coded: bool,
    sent_coded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Said {
    by: By,
    sum: Sum,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Source,
    Header,
    Amazon,
    Google,
    Etag,
}

impl Checks {
    /// What the source says of the body.
    pub fn of(expected: Expected) -> Self {
        let mut checks = Self { size: expected.size, ..Self::default() };
        match expected.digest {
            Some(Digest::Etag(etag)) => {
                checks.listed = Some(etag);
                checks.add(By::Etag, etag.md5().map(Sum::Md5));
            }
            digest => checks.add(By::Source, digest.and_then(Sum::of_digest)),
        }
        checks
    }

    /// Reads one header line of the response. Lines come in any order; names of any case.
    pub fn learn(&mut self, name: &[u8], value: &[u8]) {
        // Lengths first: most lines are dismissed by one comparison.
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        match name.len() {
            4 if is("etag") => self.etag(value.trim_ascii()),
            6 if is("digest") => self.list(By::Header, value, digest),
            11 if is("content-md5") => {
                self.add(By::Header, Sum::of_base64(Algorithm::Md5, value.trim_ascii()));
            }
            11 if is("repr-digest") => self.list(By::Header, value, structured_digest),
            11 if is("x-goog-hash") => self.list(By::Google, value, google_hash),
            14 if is("content-digest") => self.list(By::Header, value, structured_digest),
            16 if is("x-amz-request-id") => self.s3 = true,
            16 if is("content-encoding") => self.sent_coded |= coded(value),
            19 if is("x-amz-checksum-type") => {
                self.composite |= value.trim_ascii().eq_ignore_ascii_case(b"composite");
            }
            19 if is("x-amz-storage-class") => {
                self.opaque_etag |= value.trim_ascii().eq_ignore_ascii_case(b"express_onezone");
            }
            18..=24 => self.amazon(name, value),
            28 if is("x-amz-server-side-encryption") => {
                let value = value.trim_ascii();
                self.opaque_etag |= !value.eq_ignore_ascii_case(b"AES256");
            }
            30 if is("x-goog-stored-content-encoding") => self.kept_coded |= coded(value),
            47 if is("x-amz-server-side-encryption-customer-algorithm") => self.opaque_etag = true,
            _ => {}
        }
    }

    /// What the response says, if it is not of the version that was listed.
    pub fn changed(&self) -> Option<Failure> {
        let (listed, etag) = (self.listed.filter(Etag::is_some)?, self.etag?);
        let detail = "the object changed after it was listed";
        (listed != etag).then_some(Failure::new(FailureClass::Changed, detail))
    }

    /// Whether there is nothing to compare those bytes with.
    pub fn is_empty(&self, form: Form) -> bool {
        self.size_of(form).is_none() && self.of_form(form).next().is_none()
    }

    /// What compares those bytes as they come; `None` where there is nothing to compare.
    pub fn checker(&self, form: Form) -> Option<Checker> {
        if self.is_empty(form) {
            return None;
        }
        let mut hashers = Hashers::default();
        for said in self.of_form(form) {
            hashers.begin(said.sum.algorithm());
        }
        Some(Checker { checks: *self, form, hashers, size: 0 })
    }

    fn add(&mut self, by: By, sum: Option<Sum>) {
        let Some(sum) = sum else { return };
        let said = Some(Said { by, sum });
        let len = usize::from(self.len);
        if self.said.iter().take(len).any(|known| *known == said) {
            return;
        }
        if let Some(place) = self.said.get_mut(len) {
            *place = said;
            self.len += 1;
        }
    }

    /// A list of `algorithm=value`; what of it makes no sense is passed over.
    fn list(&mut self, by: By, value: &[u8], read: fn(&[u8], &[u8]) -> Option<Sum>) {
        for item in value.split(|&b| b == b',') {
            if let Some(at) = memchr::memchr(b'=', item) {
                self.add(by, read(item[..at].trim_ascii(), item[at + 1..].trim_ascii()));
            }
        }
    }

    fn amazon(&mut self, name: &[u8], value: &[u8]) {
        const PREFIX: &[u8] = b"x-amz-checksum-";
        let Some((prefix, rest)) = name.split_at_checked(PREFIX.len()) else { return };
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return;
        }
        let is = |word: &str| rest.eq_ignore_ascii_case(word.as_bytes());
        let algorithm = match () {
            () if is("crc32") => Algorithm::Crc32,
            () if is("crc32c") => Algorithm::Crc32c,
            () if is("sha1") => Algorithm::Sha1,
            () if is("sha256") => Algorithm::Sha256,
            () if is("sha512") => Algorithm::Sha512,
            () if is("md5") => Algorithm::Md5,
            () if is("crc64nvme") => Algorithm::Crc64Nvme,
            () => return,
        };
        // `-N` behind the value is no base64.
        self.add(By::Amazon, Sum::of_base64(algorithm, value.trim_ascii()));
    }

    fn etag(&mut self, value: &[u8]) {
        if let [b'"', _, .., b'"'] = value {
            let etag = Etag::read(value);
            self.etag = Some(etag).filter(Etag::is_some);
            self.add(By::Etag, etag.md5().map(Sum::Md5));
        }
    }

    fn size_of(&self, form: Form) -> Option<u64> {
        let other = if self.listed.is_some() { Form::Stored } else { Form::Sent };
        self.size.filter(|_| form != other)
    }

    /// What is said of those bytes, and is to be believed.
    fn of_form(&self, form: Form) -> impl Iterator<Item = &Said> {
        self.said.iter().take(self.len.into()).flatten().filter(move |said| match said.by {
            By::Source => form != Form::Sent,
            _ if form == Form::Stored => false,
            By::Header => true,
            By::Amazon => !self.composite,
            By::Google => !self.kept_coded || self.sent_coded,
            By::Etag => self.s3 && !self.opaque_etag,
        })
    }

    fn compare_size(&self, form: Form, size: u64) -> Result<(), Failure> {
        match self.size_of(form) {
            Some(expected) if expected != size => Err(Failure::new(
                FailureClass::Checksum,
                "the body has another length than the list says",
            )),
            _ => Ok(()),
        }
    }

    /// Compares with what `compute` gives, asked once for each algorithm.
    fn compare(
        &self,
        form: Form,
        mut compute: impl FnMut(Algorithm) -> Option<Sum>,
    ) -> Result<(), Failure> {
        let mut known = [None; BODY_CHECKS];
        for said in self.of_form(form) {
            let algorithm = said.sum.algorithm();
            let same = |sum: &Sum| sum.algorithm() == algorithm;
            let sum = match known.iter().flatten().find(|sum| same(sum)) {
                Some(sum) => Some(*sum),
                None => {
                    let sum = compute(algorithm);
                    if let Some(free) = known.iter_mut().find(|place| place.is_none()) {
                        *free = sum;
                    }
                    sum
                }
            };
            if sum != Some(said.sum) {
                return Err(Failure::new(FailureClass::Checksum, detail(said.by, algorithm)));
            }
        }
        Ok(())
    }
}

/// Compares a body that is there as a whole.
///
/// # Errors
/// [`FailureClass::Checksum`] with what differs, the length first.
pub fn check_whole(checks: &Checks, form: Form, body: &[u8]) -> Result<(), Failure> {
    checks.compare_size(form, body.len() as u64)?;
    checks.compare(form, |algorithm| Some(Sum::of_body(algorithm, body)))
}

/// Compares a body as its bytes come. About 1.2 KiB, nothing of it on the heap.
#[derive(Debug, Clone)]
pub struct Checker {
    checks: Checks,
    form: Form,
    hashers: Hashers,
    size: u64,
}

impl Checker {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size = self.size.saturating_add(bytes.len() as u64);
        self.hashers.update(bytes);
    }

    /// Says whether it was what it was to be, when all bytes have come.
    ///
    /// # Errors
    /// As [`check_whole`].
    pub fn finish(mut self) -> Result<(), Failure> {
        self.checks.compare_size(self.form, self.size)?;
        self.checks.compare(self.form, |algorithm| self.hashers.take(algorithm))
    }
}

/// Whether a list of codings names one.
fn coded(value: &[u8]) -> bool {
    let mut names = value.split(|&b| b == b',').map(<[u8]>::trim_ascii);
    names.any(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"))
}

/// `Digest` (RFC 3230 section 4.3.2). Its values are base64, but CRC-32C is hexadecimal (IANA's
/// registry of HTTP Digest Algorithm Values).
fn digest(name: &[u8], value: &[u8]) -> Option<Sum> {
    match algorithm(name)? {
        Algorithm::Crc32c => hex32(value).map(Sum::Crc32c),
        algorithm => Sum::of_base64(algorithm, value),
    }
}

/// `Repr-Digest` and `Content-Digest` (RFC 9530 section 2 and 3): a dictionary of byte sequences
/// (RFC 9651 section 3.3.5), parameters behind them passed over.
fn structured_digest(name: &[u8], value: &[u8]) -> Option<Sum> {
    let item = value.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    let [b':', text @ .., b':'] = item else { return None };
    Sum::of_base64(algorithm(name)?, text)
}

/// `x-goog-hash`: `crc32c=...` and `md5=...`, both base64.
fn google_hash(name: &[u8], value: &[u8]) -> Option<Sum> {
    let algorithm = algorithm(name)?;
    matches!(algorithm, Algorithm::Crc32c | Algorithm::Md5)
        .then(|| Sum::of_base64(algorithm, value))?
}

/// The algorithms of the registry of HTTP Digest Algorithm Values that are worth comparing.
fn algorithm(name: &[u8]) -> Option<Algorithm> {
    let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
    Some(match () {
        () if is("md5") => Algorithm::Md5,
        () if is("sha") => Algorithm::Sha1,
        () if is("sha-256") => Algorithm::Sha256,
        () if is("sha-512") => Algorithm::Sha512,
        () if is("crc32c") => Algorithm::Crc32c,
        () => return None,
    })
}

fn detail(by: By, algorithm: Algorithm) -> &'static str {
    macro_rules! details {
        ($($algorithm:ident $name:literal),*) => {
            match (by, algorithm) {
                (By::Etag, _) => "the body has another MD5 than its ETag says",
                $((By::Source, Algorithm::$algorithm) =>
                    concat!("the body has another ", $name, " than the list says"),
                (_, Algorithm::$algorithm) =>
                    concat!("the body has another ", $name, " than the server says"),)*
            }
        };
    }
    details!(Md5 "MD5", Sha1 "SHA-1", Sha256 "SHA-256", Sha512 "SHA-512", Crc32 "CRC-32",
        Crc32c "CRC-32C", Crc64Nvme "CRC-64/NVME")
}

#[cfg(test)]
mod tests;
