//! An S3 service as a destination: joins what sinks want put with the wire.
//!
//! Objects go by `PUT`, large ones and packs by multipart uploads. A request that had no answer may have been
//! carried out: before it is sent again the object is looked at. A service that is down is waited for, as long
//! as a source would be.

mod hands;
mod parts;

use super::plan::{Plan, Signing};
use crate::disk::{Disk, File};
use crate::rt::Control;
use crate::schedule::RetryPolicy;
use crate::sink::depot::{Refused, Told, Upload, UploadBody};
use crate::wire::{NetworkOptions, Patience};
use hands::{Cargo, Hands};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::task::{JoinSet, LocalSet};
use windrow_model::limits::{KEY_BYTES, UPLOAD_PARTS_AT_ONCE, WHOLE_UPLOAD_BYTES};
use windrow_model::percent::{self, Keep};
use windrow_model::url::Url;
use windrow_model::{Error, Failure, FailureClass};

/// Where in an object store a run puts what it fetched.
#[derive(Debug, Clone)]
pub struct Remote {
    /// The service, and what stands before every path at it.
    pub url: Url,
    /// The bucket.
    pub bucket: String,
    /// The bucket is part of the path, `/BUCKET/KEY`; else of the host.
    pub in_path: bool,
    /// Before every key.
    pub prefix: String,
    /// How requests are signed; `None` for a service that does not ask who it is.
    pub signing: Option<Signing>,
    /// An object that is there already, with other content, is not replaced.
    pub if_none_match: bool,
    /// Objects keep every header line that says something of them.
    pub keep_metadata: bool,
    /// Requests under way on all cores; `None` for as many as the service takes.
    pub concurrency: Option<usize>,
}

impl Remote {
    /// For people, and for the run's file.
    pub fn shown(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }
}

/// A destination in an object store, for the sinks of a run.
#[derive(Debug, Clone)]
pub(super) struct Depot(Arc<Store>);

#[derive(Debug)]
struct Store {
    remote: Remote,
    /// Path of the bucket.
    base: Vec<u8>,
    network: NetworkOptions,
    connect_timeout: Duration,
    patience: Patience,
    retry: RetryPolicy,
    seed: u64,
    /// Requests under way of one core, at most.
    most: usize,
    /// Parts of one file on their way at once.
    parts: usize,
    control: Arc<Control>,
    /// Where uploads in parts are noted while they go on.
    disk: Arc<dyn Disk>,
    notes: AtomicU64,
}

impl Depot {
    /// The destination of a plan, if it is in an object store.
    pub(super) fn of(plan: &Plan, control: &Arc<Control>, disk: Arc<dyn Disk>) -> Option<Self> {
        let remote = plan.remote.clone()?;
        let mut base = remote.url.base.clone().into_bytes();
        if remote.in_path {
            base.push(b'/');
            percent::escape_into(remote.bucket.as_bytes(), &Keep::UNRESERVED, &mut base);
        }
        let part = plan.memory / 8 / plan.cores as u64 / windrow_model::limits::UPLOAD_PART_BYTES;
        Some(Self(Arc::new(Store {
            base,
            network: NetworkOptions { http2: false, ..plan.network.clone() },
            connect_timeout: plan.connect_timeout,
            patience: plan.patience,
            retry: plan.retry,
            seed: plan.seed,
            most: plan.uploads,
            parts: usize::try_from(part).unwrap_or(1).clamp(1, UPLOAD_PARTS_AT_ONCE),
            control: Arc::clone(control),
            disk,
            notes: AtomicU64::new(0),
            remote,
        })))
    }

    /// Gives up uploads in parts that an earlier process left. To be called before anything is put.
    ///
    /// # Errors
    /// The service cannot be asked, or the environment's.
    pub(super) fn clear(&self) -> Result<(), Error> {
        let noted = parts::noted(&*self.0.disk)?;
        if noted.is_empty() {
            return Ok(());
        }
        let store = Arc::clone(&self.0);
        alone(async move { parts::give_up(&store, noted).await })?
    }
}

/// Runs something that needs the network on this thread.
fn alone<T>(what: impl Future<Output = T>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Error::environment("uploads", "cannot begin").why(why))?;
    Ok(LocalSet::new().block_on(&runtime, what))
}

impl crate::sink::Depot for Depot {
    fn objects(&self, uploads: async_channel::Receiver<Upload>, told: &mut dyn FnMut(Told)) {
        let store = Arc::clone(&self.0);
        let left = uploads.clone();
        let ran = alone(put_all(store, uploads, told)).and_then(|ran| ran);
        if let Err(error) = ran {
            // Who hands objects over waits for an answer to each.
            while let Ok(upload) = left.recv_blocking() {
                let bytes = upload.len();
                told(Told { upload, bytes, result: Err(Refused::Run(error.clone())) });
            }
        }
    }

    fn file(&self, name: &str, file: &dyn File) -> Result<(), Error> {
        let store = Arc::clone(&self.0);
        let path = store.path(name.as_bytes()).map_err(|failure| store.wrong(failure.detail))?;
        let put = alone(async {
            let hands = Hands::new(&store)?;
            let size = file.size().map_err(|errno| store.wrong("cannot read a pack").why(errno))?;
            let mut read = |at: u64, buffer: &mut [u8]| match file.read_at(buffer, at) {
                Ok(read) if read == buffer.len() => Ok(()),
                Ok(_) => Err(store.wrong("a pack is shorter than it was")),
                Err(errno) => Err(store.wrong("cannot read a pack").why(errno)),
            };
            let put = if size <= WHOLE_UPLOAD_BYTES {
                let mut body = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
                read(0, &mut body)?;
                // A pack belongs to this run, whatever has its name.
                hands.put(&Cargo { path: &path, body: &body, headers: &[], replace: true }).await
            } else {
                parts::put(&hands, &path, size, &[], true, &mut read).await
            };
            put.map_err(|refused| match refused {
                Refused::Run(error) => error,
                Refused::Object(failure) => store.wrong("the service refused a pack").why(failure),
                Refused::Left => store.wrong("there was no answer in time"),
            })
        });
        put.and_then(|put| put)
    }

    fn shown(&self) -> String {
        self.0.remote.shown()
    }
}

impl Store {
    /// The path of an object.
    fn path(&self, name: &[u8]) -> Result<Vec<u8>, Failure> {
        let key = [self.remote.prefix.as_bytes(), name].concat();
        if key.len() > KEY_BYTES {
            return Err(Failure::new(FailureClass::Name, "the key is longer than 1024 bytes"));
        }
        if name.is_empty() {
            return Err(Failure::new(FailureClass::Name, "the name is empty"));
        }
        let mut path = self.base.clone();
        path.push(b'/');
        percent::encode_into(&key, &Keep::UNRESERVED_AND_SLASH, &mut path);
        Ok(path)
    }

    fn wrong(&self, what: &str) -> Error {
        Error::environment(self.remote.shown(), what)
    }
}

/// Puts objects as they come, until there are no more.
async fn put_all(
    store: Arc<Store>,
    uploads: async_channel::Receiver<Upload>,
    told: &mut dyn FnMut(Told),
) -> Result<(), Error> {
    let hands = Rc::new(Hands::new(&store)?);
    let mut under_way = JoinSet::new();
    let mut ended = false;
    while !ended || !under_way.is_empty() {
        tokio::select! {
            upload = uploads.recv(), if !ended && under_way.len() < hands.limit() => match upload {
                Ok(upload) => {
                    hands.busy(!uploads.is_empty());
                    under_way.spawn_local(put_one(Rc::clone(&hands), Arc::clone(&store), upload));
                }
                Err(_) => ended = true,
            },
            Some(done) = under_way.join_next(), if !under_way.is_empty() => match done {
                Ok(done) => told(done),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            },
        }
    }
    Ok(())
}

async fn put_one(hands: Rc<Hands>, store: Arc<Store>, upload: Upload) -> Told {
    let bytes = upload.len();
    let result = put(&hands, &store, &upload).await;
    Told { upload, bytes, result }
}

async fn put(hands: &Hands, store: &Store, upload: &Upload) -> Result<(), Refused> {
    let path = store.path(&upload.name).map_err(Refused::Object)?;
    let headers = &upload.headers;
    let whole = |body| Cargo { path: &path, body, headers, replace: !store.remote.if_none_match };
    match &upload.body {
        UploadBody::Memory(body) => hands.put(&whole(body)).await,
        UploadBody::Spool(spool) => {
            let mut read = |at: u64, buffer: &mut [u8]| spool.read_at(at, buffer);
            if spool.len() > WHOLE_UPLOAD_BYTES {
                let replace = !store.remote.if_none_match;
                return parts::put(hands, &path, spool.len(), headers, replace, &mut read).await;
            }
            let mut body = vec![0; usize::try_from(spool.len()).unwrap_or(usize::MAX)];
            read(0, &mut body).map_err(Refused::Run)?;
            hands.put(&whole(&body)).await
        }
    }
}
