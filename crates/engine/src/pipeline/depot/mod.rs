//! An S3 service as a destination: joins what sinks want put with the wire.
//!
//! Objects go by `PUT`, large ones and packs by multipart uploads. A request that had no answer may have been
//! carried out: before it is sent again the object is looked at. A service that is down is waited for, as long
//! as a source would be.

mod hands;
mod parts;

use super::plan::{Plan, Signing};
use crate::disk::{Disk, File};
use crate::rt::{Control, TICK};
use crate::schedule::RetryPolicy;
use crate::sink::depot::{Refused, Told, Upload, UploadBody};
use crate::wire::{NetworkOptions, Patience};
use hands::{Cargo, Hands};
use parts::Large;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use tokio::task::{JoinSet, LocalSet};
use windrow_model::limits::{
    KEY_BYTES, STOP_GRACE, UPLOAD_PART_BYTES, UPLOAD_PARTS_AT_ONCE, WHOLE_UPLOAD_BYTES,
};
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
    /// KiB of files that one core has in memory.
    memory: u32,
    /// This run, by the name that its packs have with them; and whether it forgot another one here.
    run: String,
    fresh: bool,
    control: Arc<Control>,
    /// Where uploads in parts are noted while they go on.
    disk: Arc<dyn Disk>,
    notes: AtomicU64,
}

impl Depot {
    /// The destination of a plan, if it is in an object store.
    pub(super) fn of(
        plan: &Plan,
        run: u64,
        control: &Arc<Control>,
        disk: Arc<dyn Disk>,
    ) -> Option<Self> {
        let remote = plan.remote.clone()?;
        let mut base = remote.url.base.clone().into_bytes();
        if remote.in_path {
            base.push(b'/');
            percent::escape_into(remote.bucket.as_bytes(), &Keep::UNRESERVED, &mut base);
        }
        let part = plan.memory / 8 / plan.cores as u64 / UPLOAD_PART_BYTES;
        Some(Self(Arc::new(Store {
            base,
            network: NetworkOptions { http2: false, ..plan.network.clone() },
            connect_timeout: plan.connect_timeout,
            patience: plan.patience,
            retry: plan.retry,
            seed: plan.seed,
            most: plan.uploads,
            parts: usize::try_from(part).unwrap_or(1).clamp(1, UPLOAD_PARTS_AT_ONCE),
            memory: u32::try_from((plan.memory / 8 / plan.cores as u64) >> 10)
                .unwrap_or(u32::MAX >> 3)
                .clamp(1, u32::MAX >> 3),
            run: format!("{run:016x}"),
            fresh: plan.fresh,
            control: Arc::clone(control),
            disk,
            notes: AtomicU64::new(0),
            remote,
        })))
    }

    /// Looks whether the destination is there, and gives up uploads in parts that an earlier process left. To be
    /// called before anything is put. Gives a line for people if some cannot be given up.
    ///
    /// # Errors
    /// The destination cannot be reached or is not there, or the environment's.
    pub(super) fn begin(&self) -> Result<Option<String>, Error> {
        let noted = parts::noted(&*self.0.disk)?;
        self.0.notes.store(parts::behind(&noted), std::sync::atomic::Ordering::Relaxed);
        alone(async || {
            Hands::new(&self.0)?.check().await?;
            parts::give_up(&self.0, noted).await
        })?
    }
}

/// Runs something that needs the network, and waits for it, on a thread of its own: whoever asks may be inside
/// a runtime, which must not begin another.
fn alone<T: Send, F: Future<Output = T>>(what: impl FnOnce() -> F + Send) -> Result<T, Error> {
    let cannot = |why| Error::environment("uploads", "cannot begin").why(why);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("upload".into());
        let thread = thread.spawn_scoped(scope, || here(what()));
        match thread.map_err(cannot)?.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Runs something that needs the network on this thread, which is nobody else's.
fn here<T>(what: impl Future<Output = T>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Error::environment("uploads", "cannot begin").why(why))?;
    Ok(LocalSet::new().block_on(&runtime, what))
}

impl crate::sink::Depot for Depot {
    fn objects(&self, uploads: async_channel::Receiver<Upload>, told: &mut dyn FnMut(Vec<Told>)) {
        let store = Arc::clone(&self.0);
        let left = uploads.clone();
        let ran = here(put_all(store, uploads, told)).and_then(|ran| ran);
        if let Err(error) = ran {
            // Who hands objects over waits for an answer to each.
            while let Ok(upload) = left.recv_blocking() {
                told(vec![upload.told(Err(Refused::Run(error.clone())))]);
            }
        }
    }

    fn file(&self, name: &str, file: Box<dyn File>) -> Result<(), Error> {
        let store = Arc::clone(&self.0);
        let path = store.path(name.as_bytes()).map_err(|failure| store.wrong(failure.detail))?;
        let put = alone(async move || {
            let hands = Hands::new(&store)?;
            let size = file.size().map_err(|errno| store.wrong("cannot read a pack").why(errno))?;
            let mut read = |at: u64, buffer: &mut [u8]| match file.read_at(buffer, at) {
                Ok(read) if read == buffer.len() => Ok(()),
                Ok(_) => Err(store.wrong("a pack is shorter than it was")),
                Err(errno) => Err(store.wrong("cannot read a pack").why(errno)),
            };
            // What another run put there, or somebody else, is not replaced.
            let found = hands.head(&path).await.ok().flatten();
            if let Some(found) = found.filter(|found| found.status == 200)
                && found.run.as_deref() != Some(store.run.as_str())
                && !(store.fresh && found.run.is_some())
            {
                let error = store.wrong("something else has the name of a pack");
                let name = String::from_utf8_lossy(&path).into_owned();
                return Err(error.why(name).hint(
                    "windrow did not write it in this run: another PREFIX, or move it, then run the \
                     same command again",
                ));
            }
            let headers = [("x-amz-meta-windrow-run".to_owned(), store.run.clone())];
            let put = if size <= WHOLE_UPLOAD_BYTES {
                let mut body = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
                read(0, &mut body)?;
                let cargo = Cargo { path: &path, body: &body, headers: &headers, replace: true };
                hands.put(&cargo).await
            } else {
                let large = Large { path: &path, size, headers: &headers, replace: true };
                parts::put(&hands, &large, &mut read).await
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

    /// The service and the bucket.
    fn at(&self) -> String {
        format!("{}{}", self.remote.url, self.remote.bucket)
    }

    fn wrong(&self, what: &str) -> Error {
        Error::environment(self.remote.shown(), what)
    }
}

/// Puts objects as they come, until there are no more.
async fn put_all(
    store: Arc<Store>,
    uploads: async_channel::Receiver<Upload>,
    told: &mut dyn FnMut(Vec<Told>),
) -> Result<(), Error> {
    let hands = Rc::new(Hands::new(&store)?);
    let mut under_way = JoinSet::new();
    let mut ended = false;
    let mut ticks = tokio::time::interval(TICK);
    let mut stopped = None;
    while !ended || !under_way.is_empty() {
        if store.control.by_signal()
            && stopped.get_or_insert_with(Instant::now).elapsed() >= STOP_GRACE
        {
            // Time to stop is over: what has no answer is pending.
            under_way.shutdown().await;
            while let Ok(upload) = uploads.recv().await {
                told(vec![upload.told(Err(Refused::Left))]);
            }
            return Ok(());
        }
        tokio::select! {
            _ = ticks.tick() => {}
            upload = uploads.recv(), if !ended && under_way.len() < hands.limit() => match upload {
                Ok(upload) => {
                    hands.busy(!uploads.is_empty());
                    under_way.spawn_local(put_one(Rc::clone(&hands), Arc::clone(&store), upload));
                }
                Err(_) => ended = true,
            },
            Some(done) = under_way.join_next(), if !under_way.is_empty() => {
                // With others that are done by now: who records is woken once for all of them.
                let mut all = Vec::new();
                let mut next = Some(done);
                while let Some(done) = next {
                    match done {
                        Ok(done) => all.push(done),
                        Err(error) if error.is_panic() => {
                            std::panic::resume_unwind(error.into_panic())
                        }
                        Err(_) => {}
                    }
                    next = under_way.try_join_next();
                }
                told(all);
            }
        }
    }
    Ok(())
}

async fn put_one(hands: Rc<Hands>, store: Arc<Store>, upload: Upload) -> Told {
    let result = put(&hands, &store, &upload).await;
    upload.told(result)
}

async fn put(hands: &Hands, store: &Store, upload: &Upload) -> Result<(), Refused> {
    let path = store.path(&upload.name).map_err(Refused::Object)?;
    let headers = &upload.headers;
    let whole = |body| Cargo { path: &path, body, headers, replace: !store.remote.if_none_match };
    match &upload.body {
        UploadBody::Memory(body) => hands.put(&whole(body)).await,
        UploadBody::Spool(spool) => {
            // So much of files is in memory at once, over all of them.
            let at_once = WHOLE_UPLOAD_BYTES.max(UPLOAD_PART_BYTES * store.parts as u64);
            let most = spool.len().min(at_once);
            let permits = u32::try_from(most >> 10).unwrap_or(u32::MAX).clamp(1, store.memory);
            let _permit = hands.memory.acquire_many(permits).await;
            let mut read = |at: u64, buffer: &mut [u8]| spool.read_at(at, buffer);
            if spool.len() > WHOLE_UPLOAD_BYTES {
                let (size, replace) = (spool.len(), !store.remote.if_none_match);
                let large = Large { path: &path, size, headers, replace };
                return parts::put(hands, &large, &mut read).await;
            }
            let mut body = vec![0; usize::try_from(spool.len()).unwrap_or(usize::MAX)];
            read(0, &mut body).map_err(Refused::Run)?;
            hands.put(&whole(&body)).await
        }
    }
}
