//! Three ways of making a small file, as bare loops: what a file costs before any client.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open, openat, renameat};
use rustix::io::{Errno, Result, write};

const BODY: [u8; 100] = [b'w'; 100];

/// A way of making a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    /// Create, write, close. Not atomic: a crash leaves a part under the final name.
    Plain,
    /// `O_TMPFILE`, write, `linkat`, close.
    Link,
    /// Create under a temporary name, write, `renameat`, close.
    Rename,
}

/// All of them, with their names on the command line and in the table.
pub(crate) const WAYS: [(Way, &str, &str); 3] = [
    (Way::Plain, "plain", "create, write, close (not atomic)"),
    (Way::Link, "link", "`O_TMPFILE`, write, `linkat`"),
    (Way::Rename, "rename", "temporary name, write, `renameat`"),
];

/// `create-loop WAY DIR N PREFIX`: makes N files of 100 bytes in DIR, named `PREFIX-000000000` on.
pub(crate) fn run(args: &[String]) -> std::result::Result<(), String> {
    let usage = || "create-loop: WAY DIR N PREFIX".to_owned();
    let [way, folder, count, prefix] = args else { return Err(usage()) };
    let (way, ..) = WAYS.into_iter().find(|(_, name, _)| name == way).ok_or_else(usage)?;
    let count: usize = count.parse().map_err(|_| usage())?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(folder.as_str(), flags, Mode::empty())
        .and_then(|folder| create_all(way, &folder, count, prefix))
        .map_err(|why| format!("create-loop: {why}"))
}

fn create_all(way: Way, folder: &OwnedFd, count: usize, prefix: &str) -> Result<()> {
    for nth in 0..count {
        let name = format!("{prefix}-{nth:09}");
        match way {
            Way::Plain => drop(body(folder, &name)?),
            Way::Link => {
                let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
                let file = openat(folder, ".", flags, Mode::from(0o644))?;
                write(&file, &BODY)?;
                link(&file, folder, &name)?;
            }
            Way::Rename => {
                let temporary = format!(".{name}");
                let file = body(folder, &temporary)?;
                renameat(folder, temporary.as_str(), folder, name.as_str())?;
                drop(file);
            }
        }
    }
    Ok(())
}

fn body(folder: &OwnedFd, name: &str) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(folder, name, flags, Mode::from(0o644))?;
    write(&file, &BODY)?;
    Ok(file)
}

/// By descriptor where the kernel lets this user, else by its name under `/proc`.
fn link(file: &OwnedFd, folder: &OwnedFd, name: &str) -> Result<()> {
    match linkat(file.as_fd(), "", folder, name, AtFlags::EMPTY_PATH) {
        Err(Errno::NOENT | Errno::PERM) => {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            linkat(CWD, path, folder, name, AtFlags::SYMLINK_FOLLOW)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_makes_whole_files_and_nothing_else() {
        for (_, name, _) in WAYS {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().to_str().unwrap().to_owned();
            run(&[name.to_owned(), path, "7".to_owned(), "a".to_owned()]).unwrap();
            let mut names: Vec<_> =
                folder.path().read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            assert_eq!(names.len(), 7, "{name}");
            assert_eq!(names[6], "a-000000006", "{name}");
            for file in names {
                assert_eq!(std::fs::read(folder.path().join(file)).unwrap(), BODY, "{name}");
            }
        }
    }
}
