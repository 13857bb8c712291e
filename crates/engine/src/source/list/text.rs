//! The text of a list, decompressed, through a window of bounded size.

use super::inputs::Input;
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use windrow_model::Error;
use windrow_model::limits::{LIST_LINE_BYTES, LIST_READ_BYTES};

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Where bytes come from.
enum Bytes {
    /// A file in which one can seek.
    File(File),
    /// Read from front to back.
    Stream(Box<dyn Read + Send>),
}

/// What the window begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    /// The text is at its end.
    End,
    /// A line of so many bytes, its end included where it has one.
    Line(usize),
    /// A line that is longer than [`LIST_LINE_BYTES`].
    Long,
}

/// The text of one input.
pub(super) struct Text {
    shown: String,
    bytes: Bytes,
    window: Vec<u8>,
    /// What is read and not consumed: `window[start..end]`.
    start: usize,
    end: usize,
    /// Bytes from `start` on that hold no line end.
    scanned: usize,
    /// Bytes of the text before `start`.
    offset: u64,
    /// Lines before `start`.
    lines: u64,
    /// Nothing comes any more.
    ended: bool,
    /// The input gives its bytes as they come into being: reading more may take long.
    live: bool,
    /// The last reading brought less than was asked for.
    short: bool,
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Text {{ offset: {}, lines: {} }}", self.offset, self.lines)
    }
}

impl Text {
    /// Opens an input at its beginning, behind a byte order mark if it has one. What is compressed
    /// shows it by its first bytes, whatever it is called.
    pub(super) fn open(input: &Input) -> Result<Self, Error> {
        let shown = input.shown();
        let unreadable = |why: io::Error| Error::environment(&shown, "cannot read").why(why);
        let (file, live): (Box<dyn Read + Send>, _) = match &input.path {
            None => (Box::new(io::stdin()), true),
            Some(path) => {
                let mut file = File::open(path).map_err(unreadable)?;
                if file.metadata().map_err(unreadable)?.is_file() {
                    let mut head = [0; 4];
                    let len = read_full(&mut file, &mut head).map_err(unreadable)?;
                    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
                    if len == 0 && input.compressed {
                        return Err(Error::environment(shown, "is empty")
                            .why("a compressed file has at least a header"));
                    }
                    let bytes = match compression(&head[..len]) {
                        None => Bytes::File(file),
                        Some(kind) => Bytes::Stream(kind.decoder(file).map_err(unreadable)?),
                    };
                    return Self::new(shown, bytes, false);
                }
                (Box::new(file), true)
            }
        };
        Self::of(shown, file, live)
    }

    /// The text of anything that can be read, from front to back.
    pub(super) fn of(
        shown: String,
        mut bytes: Box<dyn Read + Send>,
        live: bool,
    ) -> Result<Self, Error> {
        let unreadable = |why: io::Error| Error::environment(&shown, "cannot read").why(why);
        let mut head = [0; 4];
        let len = read_full(&mut bytes, &mut head).map_err(unreadable)?;
        let whole = io::Cursor::new(head).take(len as u64).chain(bytes);
        let bytes = match compression(&head[..len]) {
            None => Box::new(whole),
            Some(kind) => kind.decoder(whole).map_err(unreadable)?,
        };
        Self::new(shown, Bytes::Stream(bytes), live)
    }

    fn new(shown: String, bytes: Bytes, live: bool) -> Result<Self, Error> {
        let mut text = Self {
            shown,
            bytes,
            window: vec![0; LIST_READ_BYTES],
            start: 0,
            end: 0,
            scanned: 0,
            offset: 0,
            lines: 0,
            ended: false,
            live,
            short: false,
        };
        while text.window().len() < BOM.len() && text.fill()? {}
        match text.window() {
            window if window.starts_with(BOM) => text.consume(BOM.len(), 0),
            [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] => {
                return Err(Error::usage(text.shown, "is UTF-16")
                    .hint("lists are UTF-8: iconv -f UTF-16 -t UTF-8"));
            }
            _ => {}
        }
        Ok(text)
    }

    /// What is read and not consumed.
    pub(super) fn window(&self) -> &[u8] {
        &self.window[self.start..self.end]
    }

    /// Bytes of the text before the window.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Lines before the window.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// Whether more may come, and may have to be waited for.
    pub(super) fn is_live(&self) -> bool {
        self.live && !self.ended
    }

    /// Takes bytes, with so many line ends among them, off the window.
    pub(super) fn consume(&mut self, bytes: usize, lines: u64) {
        self.start += bytes;
        self.offset += bytes as u64;
        self.lines += lines;
        self.scanned = self.scanned.saturating_sub(bytes);
    }

    /// Reads more into the window; `false` at the end. The window grows up to one line and what is
    /// read at once.
    pub(super) fn fill(&mut self) -> Result<bool, Error> {
        if self.ended {
            return Ok(false);
        }
        if self.start > 0 {
            self.window.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.window.len() - self.end < LIST_READ_BYTES / 4 {
            let len = (self.window.len() * 2).min(LIST_LINE_BYTES + LIST_READ_BYTES);
            self.window.resize(len.max(self.end + LIST_READ_BYTES / 4), 0);
        }
        let room = &mut self.window[self.end..];
        let read = loop {
            let read = match &mut self.bytes {
                Bytes::File(file) => file.read(room),
                Bytes::Stream(stream) => stream.read(room),
            };
            match read {
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(Error::environment(&self.shown, "cannot read").why(why)),
                Ok(read) => break read,
            }
        };
        self.short = read < room.len();
        self.end += read;
        self.ended = read == 0;
        Ok(read > 0)
    }

    /// What comes next, at most one line of it.
    pub(super) fn ahead(&mut self) -> Result<Ahead, Error> {
        loop {
            let window = &self.window[self.start..self.end];
            match memchr::memchr(b'\n', &window[self.scanned..]) {
                Some(at) if self.scanned + at > LIST_LINE_BYTES => return Ok(Ahead::Long),
                Some(at) => return Ok(Ahead::Line(self.scanned + at + 1)),
                None if window.len() > LIST_LINE_BYTES => return Ok(Ahead::Long),
                None => {}
            }
            self.scanned = window.len();
            if !self.fill()? {
                return Ok(match self.window().len() {
                    0 => Ahead::End,
                    len => Ahead::Line(len),
                });
            }
        }
    }

    /// Where the line ends that begins `from` bytes into the window, with its end; `None` where the
    /// text ends there. A line without end is cut where a line is too long.
    pub(super) fn line_from(&mut self, from: usize) -> Result<Option<usize>, Error> {
        let mut scanned = from;
        loop {
            let window = self.window();
            if let Some(at) = memchr::memchr(b'\n', &window[scanned..]) {
                return Ok(Some(scanned + at + 1));
            }
            scanned = window.len();
            if scanned > LIST_LINE_BYTES || !self.fill()? {
                return Ok((scanned > from).then_some(scanned));
            }
        }
    }

    /// Whether the next line may have to be waited for.
    pub(super) fn would_wait(&self) -> bool {
        self.live
            && self.short
            && !self.ended
            && memchr::memchr(b'\n', &self.window()[self.scanned..]).is_none()
    }

    /// Takes a line off, however long it is.
    pub(super) fn skip_line(&mut self) -> Result<(), Error> {
        loop {
            match memchr::memchr(b'\n', self.window()) {
                Some(at) => {
                    self.consume(at + 1, 1);
                    return Ok(());
                }
                None => self.consume(self.window().len(), 0),
            }
            if !self.fill()? {
                self.lines += 1;
                return Ok(());
            }
        }
    }

    /// Goes on to a place where a line begins: seeks where that can be done, else reads up to it.
    pub(super) fn jump(&mut self, offset: u64, lines: u64) -> Result<(), Error> {
        let other = || {
            Error::usage(&self.shown, "is not the list that it was")
                .hint("a run can only go on with the list that it began with")
        };
        if offset == self.offset {
            self.lines = lines;
            return Ok(());
        }
        if offset < self.offset {
            return Err(other());
        }
        // Before the place a line ends; if not, it is another file.
        if let Bytes::File(file) = &mut self.bytes {
            let sought = file.seek(SeekFrom::Start(offset - 1));
            sought.map_err(|why| Error::environment(&self.shown, "cannot seek").why(why))?;
            (self.start, self.end, self.scanned) = (0, 0, 0);
            (self.offset, self.ended) = (offset - 1, false);
        }
        while self.offset < offset - 1 {
            let left = usize::try_from(offset - 1 - self.offset).unwrap_or(usize::MAX);
            self.consume(left.min(self.window().len()), 0);
            if self.offset < offset - 1 && !self.fill()? {
                break;
            }
        }
        if self.window().is_empty() {
            self.fill()?;
        }
        if self.offset != offset - 1 || self.window().first() != Some(&b'\n') {
            return Err(Error::usage(&self.shown, "is not the list that it was")
                .hint("a run can only go on with the list that it began with"));
        }
        self.consume(1, 0);
        self.lines = lines;
        Ok(())
    }
}

/// How a text is compressed.
#[derive(Debug, Clone, Copy)]
enum Compression {
    Gzip,
    Zstd,
}

/// Tells by the first bytes (RFC 1952 section 2.3.1, RFC 8878 section 3.1).
fn compression(head: &[u8]) -> Option<Compression> {
    match head {
        [0x1F, 0x8B, ..] => Some(Compression::Gzip),
        [0x28, 0xB5, 0x2F, 0xFD] | [0x50..=0x5F, 0x2A, 0x4D, 0x18] => Some(Compression::Zstd),
        _ => None,
    }
}

impl Compression {
    /// Decompresses member after member, frame after frame. Zstandard frames with windows beyond
    /// 128 MiB are refused, so that memory has an end.
    fn decoder(self, bytes: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
        let bytes = BufReader::with_capacity(LIST_READ_BYTES / 2, bytes);
        Ok(match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(bytes)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(bytes)?),
        })
    }
}

fn read_full(bytes: &mut impl Read, head: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < head.len() {
        match bytes.read(&mut head[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    Ok(len)
}
