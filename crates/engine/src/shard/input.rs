//! What is divided into lines: files, compressed or not, and streams that may never end.

use super::ahead::{Ahead, Fill};
use super::files::{fatal, identity};
use flate2::bufread::MultiGzDecoder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{self, CWD, FileType, Mode, OFlags};
use rustix::io::{self, Errno};
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;
use windrow_model::Error;
use windrow_model::limits::{SHARD_AHEAD_BYTES, SHARD_PIPE_BYTES, SHARD_READ_BYTES};

/// What is divided into lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Standard input, as it comes.
    Stdin,
    /// A file, decompressed where its name ends in `.gz` or `.zst`.
    File(PathBuf),
}

impl Input {
    /// How messages call it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Stdin => "standard input".into(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// Device and inode of what is there to be read.
    pub(super) fn identity(&self) -> Result<(u64, u64), Error> {
        let stat = match self {
            Self::Stdin => fs::fstat(std::io::stdin().as_fd()),
            Self::File(path) => fs::statat(CWD, path, fs::AtFlags::empty()),
        };
        let stat = stat.map_err(|errno| match errno {
            Errno::NOENT => Error::usage(self.shown(), "no such file"),
            _ => fatal(&self.shown(), "cannot read", errno),
        })?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(Error::usage(self.shown(), "is a directory"));
        }
        Ok(identity(&stat))
    }

    /// Opens it; with `ahead`, a compressed file that is not small is read by a thread of its own.
    pub(super) fn open(&self, ahead: bool) -> Result<Reader, Error> {
        let shown = self.shown();
        let unreadable = |errno| fatal(&shown, "cannot read", errno);
        let broken = |error: std::io::Error| Error::environment(&shown, "cannot read").why(error);
        let file: File = match self {
            Self::Stdin => std::io::stdin().as_fd().try_clone_to_owned().map_err(broken)?.into(),
            Self::File(path) => {
                // Without O_NONBLOCK a FIFO that nobody writes to would not be left on a signal.
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
                fs::openat(CWD, path, flags, Mode::empty()).map_err(unreadable)?.into()
            }
        };
        let stat = fs::fstat(&file).map_err(unreadable)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let live = kind != FileType::RegularFile;
        if kind == FileType::Fifo {
            // Fewer, larger reads. An unprivileged user has a bound on all pipes together.
            let _ = fcntl_setpipe_size(&file, SHARD_PIPE_BYTES);
        }
        let coded = match self {
            Self::File(path) if !live => path.extension().and_then(|extension| extension.to_str()),
            _ => None,
        };
        let buffered = |file| BufReader::with_capacity(SHARD_READ_BYTES, file);
        let bytes = match coded {
            Some("gz") => Bytes::Coded(Box::new(MultiGzDecoder::new(buffered(file)))),
            Some("zst") => Bytes::Coded(Box::new(
                zstd::stream::read::Decoder::with_buffer(buffered(file)).map_err(broken)?,
            )),
            _ => Bytes::Plain(file),
        };
        let large = u64::try_from(stat.st_size).is_ok_and(|size| size >= SHARD_AHEAD_BYTES);
        let bytes = match bytes {
            Bytes::Coded(_) if ahead && large => {
                match Ahead::start(Named { shown: shown.clone(), bytes }) {
                    Ok(ahead) => Bytes::Ahead(ahead),
                    Err(named) => named.bytes,
                }
            }
            bytes => bytes,
        };
        Ok(Reader { shown, bytes, live })
    }
}

enum Bytes {
    Plain(File),
    Coded(Box<dyn Read + Send>),
    Ahead(Ahead),
}

impl Bytes {
    fn read(&mut self, shown: &str, buffer: &mut Vec<u8>, most: usize) -> Result<Got, Error> {
        let read = match self {
            Self::Plain(file) => match io::read(file, &mut buffer[..most]) {
                Err(Errno::INTR | Errno::AGAIN) => return Ok(Got::Nothing),
                read => read.map_err(|errno| fatal(shown, "cannot read", errno))?,
            },
            Self::Coded(stream) => match stream.read(&mut buffer[..most]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {
                    return Ok(Got::Nothing);
                }
                read => {
                    read.map_err(|error| Error::environment(shown, "cannot decompress").why(error))?
                }
            },
            Self::Ahead(ahead) => return ahead.next(buffer),
        };
        Ok(if read == 0 { Got::End } else { Got::Bytes(read) })
    }
}

/// What the thread that reads ahead has of a [`Reader`].
struct Named {
    shown: String,
    bytes: Bytes,
}

impl Fill for Named {
    fn fill(&mut self, buffer: &mut Vec<u8>) -> Result<Got, Error> {
        let most = buffer.len();
        self.bytes.read(&self.shown, buffer, most)
    }
}

/// An input that is read.
pub(super) struct Reader {
    shown: String,
    bytes: Bytes,
    /// Its bytes come as others write them, and come once.
    live: bool,
}

/// What reading brought.
#[derive(Debug)]
pub(super) enum Got {
    Bytes(usize),
    /// Nothing now; there may be later.
    Nothing,
    End,
}

impl Reader {
    /// Whether its bytes come as others write them, and come once.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// Bytes that may have been written to it and not read.
    pub(super) fn capacity(&self) -> usize {
        match &self.bytes {
            Bytes::Plain(file) => fcntl_getpipe_size(file).unwrap_or(SHARD_PIPE_BYTES),
            Bytes::Coded(_) | Bytes::Ahead(_) => 0,
        }
    }

    /// Waits for bytes, so long, or until there is something in `wake`. Whether there are any; of a
    /// file there always are.
    pub(super) fn wait(
        &self,
        limit: Option<Duration>,
        wake: Option<BorrowedFd<'_>>,
    ) -> Result<bool, Error> {
        let (true, Bytes::Plain(file)) = (self.live, &self.bytes) else { return Ok(true) };
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let other = wake.unwrap_or(file.as_fd());
        let mut waited =
            [file.as_fd(), other].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let count = if wake.is_some() { 2 } else { 1 };
        match poll(&mut waited[..count], limit.as_ref()) {
            // Hung up and broken ones say so when they are read.
            Ok(_) => Ok(!waited[0].revents().is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(fatal(&self.shown, "cannot read", errno)),
        }
    }

    /// Reads what is there: of what others write at most `most` bytes, to the front of the buffer, and
    /// of a file as much as fits into it.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>, most: usize) -> Result<Got, Error> {
        self.bytes.read(&self.shown, buffer, most)
    }
}
