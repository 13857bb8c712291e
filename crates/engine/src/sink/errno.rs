//! What an error of the file system means for a run.

use super::SinkError;
use rustix::io::Errno;
use windrow_model::{Error, Failure, FailureClass};

/// Sorts an error at `subject` while doing `what`: the object's fault, or the end of the run.
pub(super) fn sort(subject: &str, what: &str, errno: Errno) -> SinkError {
    match errno {
        Errno::NAMETOOLONG | Errno::ILSEQ | Errno::INVAL => {
            let detail = "the file system does not take this name";
            SinkError::Object(Failure::new(FailureClass::Name, detail))
        }
        _ => SinkError::Run(fatal(subject, what, errno)),
    }
}

/// An error that ends the run, with advice where there is some.
pub(super) fn fatal(subject: &str, what: &str, errno: Errno) -> Error {
    let error = Error::environment(subject, what).why(std::io::Error::from(errno));
    match errno {
        Errno::NOSPC => error.hint(
            "free some space (`df`) or inodes (`df -i`); packs (`--format tar`) need few inodes",
        ),
        Errno::DQUOT => error.hint("the disk quota is used up"),
        Errno::ACCESS | Errno::PERM => error.hint("choose a directory that you may write to"),
        Errno::ROFS => error.hint("the file system is mounted read-only"),
        Errno::MFILE | Errno::NFILE => error.hint("raise the limit of open files: `ulimit -n`"),
        _ => error,
    }
}
