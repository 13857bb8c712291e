//! Reads the keys of an inventory, file by file.
//!
//! A file that is in a bucket is fetched whole, in pieces, into a file without a name beside the work of
//! the run, and compared with what the manifest says of it before its first row is read. Rows are read on
//! a thread of their own, a few pages ahead; one file is there at a time.

use super::super::record::Record;
use super::Read;
use super::server::{Asker, Askers, Wanted};
use crate::source::bucket::Bucket;
use crate::source::inventory::{
    Data, DataFile, Inventory, Manifest, Mark, Piece, Rows, Want, Whereabouts, check,
};
use rustix::fs::{CWD, Mode, OFlags, openat, unlink};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;
use windrow_model::limits::{INVENTORY_MANIFEST_BYTES, INVENTORY_PIECE_BYTES, LIST_PAGES};
use windrow_model::percent::{self, Keep};
use windrow_model::{Error, Sheet};

pub(super) struct InventoryReader {
    asker: Asker,
    inventory: Inventory,
    want: Arc<Want>,
    /// Where files that have no name yet may be.
    work: PathBuf,
    manifest: Option<Arc<Manifest>>,
    /// The file that is there, whole and checked.
    held: Option<(usize, Data)>,
    /// Pages of the file of `at`, from there on.
    pages: Option<mpsc::Receiver<Result<Piece, Error>>>,
    /// Where the next page begins; `None` at the end.
    at: Option<Mark>,
    /// What [`Read::asked`] of it is.
    asked: Option<String>,
    /// Whether the service ever answered.
    answered: bool,
    left_out: u64,
}

impl InventoryReader {
    /// Of a bucket; `askers` ask where the files are.
    pub(super) fn new(
        inventory: &Inventory,
        bucket: &Bucket,
        askers: &Askers,
        record: &Record,
    ) -> Self {
        Self {
            asker: askers.one(),
            inventory: inventory.clone(),
            want: Arc::new(Want {
                bucket: bucket.name.clone(),
                prefix: bucket.prefix.clone(),
                filter: bucket.filter.clone(),
                began: record.began(),
            }),
            work: record.work(),
            manifest: None,
            held: None,
            pages: None,
            at: None,
            asked: None,
            answered: false,
            left_out: 0,
        }
    }

    /// Objects that filters left out since the last call.
    pub(super) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    /// Goes to the page of a marker; `None` stands for the first.
    pub(super) async fn enter(&mut self, marker: Option<String>) -> Result<(), Error> {
        let manifest = self.manifest().await?;
        let mark = match &marker {
            None => Some(Mark::default()),
            Some(marker) => Mark::parse(marker),
        };
        let mark = mark.ok_or_else(|| {
            Error::usage(self.inventory.manifest.to_string(), "cannot go on").why("an odd marker")
        })?;
        // On in the same file costs less than from its beginning.
        while self.pages.is_some()
            && let Some(at) = self.at.filter(|at| at.file == mark.file && at.row < mark.row)
        {
            let piece = self.receive().await?;
            self.at = piece.next.map(|row| Mark { row, ..at });
        }
        if self.at != Some(mark) {
            self.pages = None;
        }
        // An inventory that became shorter has no such page.
        self.at = (mark.file < manifest.files.len() || marker.is_none()).then_some(mark);
        self.asked = marker;
        Ok(())
    }

    /// Reads the page where the reader is; `None` behind the last.
    pub(super) async fn read(&mut self) -> Result<Option<Read>, Error> {
        let Some(at) = self.at else { return Ok(None) };
        let manifest = self.manifest().await?;
        let piece = match at.file < manifest.files.len() {
            true => {
                if self.pages.is_none() {
                    self.open(&manifest, at).await?;
                }
                self.receive().await?
            }
            false => Piece::default(),
        };
        self.left_out += piece.left_out;
        self.at = match piece.next {
            Some(row) => Some(Mark { row, ..at }),
            None => {
                self.pages = None;
                let next = Mark { file: at.file + 1, row: 0 };
                (next.file < manifest.files.len()).then_some(next)
            }
        };
        let next = self.at.map(|at| at.to_string());
        let asked = std::mem::replace(&mut self.asked, next.clone());
        let sheet = Sheet { names: piece.page.keys, details: None, listed: piece.page.listed };
        Ok(Some(Read { sheet, asked, next }))
    }

    async fn receive(&mut self) -> Result<Piece, Error> {
        let piece = match &mut self.pages {
            Some(pages) => pages.recv().await,
            None => None,
        };
        piece.unwrap_or_else(|| {
            Err(Error::environment("inventory", "its reader ended")
                .hint("this is a bug of windrow; please report it"))
        })
    }

    /// Sees to it that the file of a mark is there, and reads it from the mark on.
    async fn open(&mut self, manifest: &Arc<Manifest>, at: Mark) -> Result<(), Error> {
        let Some(file) = manifest.files.get(at.file) else { return Ok(()) };
        let shown = format!("s3://{}/{}", manifest.destination, file.key.escape_debug());
        let data = match self.held.take().filter(|(held, _)| *held == at.file) {
            Some((_, data)) => data,
            None => self.data(&manifest.destination, file, &shown).await?,
        };
        self.held = Some((at.file, data.clone()));
        let (send, pages) = mpsc::channel(LIST_PAGES);
        self.pages = Some(pages);
        let (want, manifest) = (Arc::clone(&self.want), Arc::clone(manifest));
        on_thread(move || {
            let mut rows = match Rows::open(data, &manifest.form, &shown, at.row) {
                Ok(rows) => rows,
                Err(error) => return drop(send.blocking_send(Err(error))),
            };
            // Ends when nobody takes the pages any more, too.
            loop {
                let piece = rows.piece(&want);
                let last = piece.as_ref().map_or(true, |piece| piece.next.is_none());
                if send.blocking_send(piece).is_err() || last {
                    return;
                }
            }
        })
    }

    /// A file of the inventory: one that lies beside the manifest, or that of the bucket; it is what
    /// the manifest says.
    async fn data(&mut self, bucket: &str, said: &DataFile, shown: &str) -> Result<Data, Error> {
        let (file, shown) = match self.beside(&said.key) {
            Some(path) => {
                let shown = path.display().to_string();
                let file = File::open(&path)
                    .map_err(|why| Error::environment(&shown, "cannot read").why(why))?;
                (file, shown)
            }
            None => (self.fetch(bucket, said, shown).await?, shown.to_owned()),
        };
        let data =
            Data::of(file).map_err(|why| Error::environment(&shown, "cannot read").why(why))?;
        let (send, checked) = tokio::sync::oneshot::channel();
        let (own, said) = (data.clone(), said.clone());
        on_thread(move || drop(send.send(check(&own, &said, &shown))))?;
        checked.await.unwrap_or(Ok(()))?;
        Ok(data)
    }

    /// The file of a key, where the manifest is a file too: below its folder under the whole key, in the
    /// same folder, or in the folder `data` beside that, as S3 lays them out.
    fn beside(&self, key: &str) -> Option<PathBuf> {
        let Whereabouts::File(manifest) = &self.inventory.manifest else { return None };
        let folder = manifest.parent().unwrap_or(Path::new(""));
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        let whole = Path::new(key).components().all(plain).then(|| folder.join(key));
        let name = Path::new(key.rsplit('/').next().unwrap_or_default());
        let name = (name.components().count() == 1 && name.components().all(plain)).then_some(name);
        let near = name.map(|name| folder.join(name));
        let data = name.map(|name| folder.join("..").join("data").join(name));
        [whole, near, data].into_iter().flatten().find(|path| path.is_file())
    }

    async fn manifest(&mut self) -> Result<Arc<Manifest>, Error> {
        if let Some(manifest) = &self.manifest {
            return Ok(Arc::clone(manifest));
        }
        let shown = self.inventory.manifest.to_string();
        let body = match self.inventory.manifest.clone() {
            Whereabouts::File(path) => read_manifest(&path, &shown)?,
            Whereabouts::Object { bucket, key } => {
                let path = self.path(&bucket, &key);
                let wanted = Wanted { shown: &shown, part: None };
                self.asker.file(&path, wanted, true).await?
            }
        };
        self.answered |= !matches!(self.inventory.manifest, Whereabouts::File(_));
        let manifest = Arc::new(Manifest::read(&body, &self.want.bucket, &shown)?);
        self.manifest = Some(Arc::clone(&manifest));
        Ok(manifest)
    }

    /// Fetches an object, a piece after the other.
    async fn fetch(&mut self, bucket: &str, said: &DataFile, shown: &str) -> Result<File, Error> {
        let work = self.work.display().to_string();
        let failed = |why: std::io::Error| Error::environment(&work, "cannot write").why(why);
        let file = nameless(&self.work).map_err(|errno| failed(errno.into()))?;
        let path = self.path(bucket, &said.key);
        let mut at = 0;
        while at < said.size {
            let end = said.size.min(at + INVENTORY_PIECE_BYTES);
            let wanted = Wanted { shown, part: Some((at..end, said.size)) };
            let bytes = self.asker.file(&path, wanted, !self.answered).await?;
            self.answered = true;
            file.write_all_at(&bytes, at).map_err(failed)?;
            at += bytes.len() as u64;
        }
        Ok(file)
    }

    /// Where an object of the service is.
    fn path(&self, bucket: &str, key: &str) -> Vec<u8> {
        let mut path = format!("{}/{bucket}/", self.inventory.service.base).into_bytes();
        percent::encode_into(key.as_bytes(), &Keep::UNRESERVED_AND_SLASH, &mut path);
        path
    }
}

fn read_manifest(path: &Path, shown: &str) -> Result<Vec<u8>, Error> {
    let wrong = |why: std::io::Error| Error::usage(shown, "cannot read the inventory").why(why);
    let file = File::open(path).map_err(wrong)?;
    let mut body = Vec::new();
    let most = INVENTORY_MANIFEST_BYTES as u64;
    file.take(most + 1).read_to_end(&mut body).map_err(wrong)?;
    match body.len() as u64 > most {
        true => Err(Error::usage(shown, "is not the manifest of an inventory")
            .why(format!("it has more than {} MiB", most >> 20))),
        false => Ok(body),
    }
}

/// A file that is gone when it is closed.
fn nameless(folder: &Path) -> Result<File, rustix::io::Errno> {
    use rustix::io::Errno;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    match openat(CWD, folder, flags | OFlags::TMPFILE, Mode::from(0o600)) {
        Ok(file) => return Ok(file.into()),
        // File systems without nameless files.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {}
        Err(errno) => return Err(errno),
    }
    let path = folder.join("inventory");
    let file = openat(CWD, &path, flags | OFlags::CREATE | OFlags::TRUNC, Mode::from(0o600))?;
    unlink(&path)?;
    Ok(file.into())
}

fn on_thread(work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let thread = std::thread::Builder::new().name("inventory".into()).spawn(work);
    thread
        .map(drop)
        .map_err(|error| Error::environment("inventory", "cannot start a thread").why(error))
}
