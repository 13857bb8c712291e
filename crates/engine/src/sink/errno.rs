//! What an error of the file system means for a run.

use super::SinkError;
use super::hand::TAKEN;
use rustix::io::Errno;
use windrow_model::{Error, Failure, FailureClass};

/// The failure of one object that an error stands for; `None` where it ends the run.
pub(super) fn of_object(errno: Errno) -> Option<Failure> {
    match errno {
        Errno::NAMETOOLONG | Errno::ILSEQ | Errno::INVAL => {
            let detail = "the file system does not take this name";
            Some(Failure::new(FailureClass::Name, detail))
        }
        Errno::ISDIR | Errno::NOTDIR | Errno::LOOP | Errno::EXIST => Some(TAKEN),
        _ => None,
    }
}

/// Sorts an error at `subject` while doing `what`: the object's fault, or the end of the run.
pub(super) fn sort(subject: &str, what: &str, errno: Errno) -> SinkError {
    match of_object(errno) {
        Some(failure) => SinkError::Object(failure),
        None => SinkError::Run(fatal(subject, what, errno)),
    }
}

/// An error that ends the run, with advice where there is some.
pub(super) fn fatal(subject: &str, what: &str, errno: Errno) -> Error {
    let error = Error::environment(subject, what).why(std::io::Error::from(errno));
    match errno {
        Errno::NOSPC => error.hint(
            "free some space (`df`) or inodes (`df -i`), then run the same command again; packs \
             (`--format tar`) need few inodes",
        ),
        Errno::FBIG => error.hint(
            "raise the limit on the size of files (`ulimit -f`), or make packs smaller: \
             --shard-size",
        ),
        Errno::DQUOT => error.hint("the disk quota is used up"),
        Errno::ACCESS | Errno::PERM => error.hint("choose a directory that you may write to"),
        Errno::ROFS => error.hint("the file system is mounted read-only"),
        Errno::MFILE | Errno::NFILE => error.hint("raise the limit of open files: `ulimit -n`"),
        Errno::IO => error.hint(
            "the disk could not keep what it was given (see `dmesg`); what is recorded is safe, \
             the rest is fetched again when the same command is run again",
        ),
        _ => error,
    }
}
