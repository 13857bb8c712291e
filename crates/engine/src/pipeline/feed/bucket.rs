//! Reads the listing of a bucket, several pages at once, and gives them in order.
//!
//! Pages that are under way are tasks of this core: they go on while nobody reads. What to ask for is
//! the affair of [`Split`].

use super::Read;
use super::server::{Asker, Askers, not_of_a_bucket, shown_bucket};
use crate::source::ListingError;
use crate::source::bucket::{self, Bucket, Chunk, Page, Split};
use std::rc::Rc;
use tokio::task::{JoinError, JoinSet};
use windrow_model::{Error, Sheet};

pub(super) struct BucketReader {
    bucket: Rc<Bucket>,
    /// Path of the service.
    service: Rc<str>,
    shown: String,
    /// Pages asked for at once, at most.
    width: usize,
    askers: Askers,
    idle: Vec<Asker>,
    under_way: JoinSet<Came>,
    split: Split,
    /// When the run began, in seconds since 1970.
    began: u64,
    /// Objects that were not wanted.
    left_out: u64,
}

/// An answer: who asked, for what, and what came.
type Came = (Asker, u64, Result<Page, Error>);

impl BucketReader {
    pub(super) fn new(askers: Askers, bucket: &Bucket, width: usize, began: u64) -> Self {
        let server = askers.server();
        Self {
            bucket: Rc::new(bucket.clone()),
            service: server.url.base.as_str().into(),
            shown: shown_bucket(server).unwrap_or_default(),
            width,
            askers,
            idle: Vec::new(),
            under_way: JoinSet::new(),
            split: Split::new(&bucket.prefix, None, width),
            began,
            left_out: 0,
        }
    }

    /// Objects that filters left out since the last call.
    pub(super) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    /// Goes to the page behind the key `marker`; `None` stands for the first.
    pub(super) fn enter(&mut self, marker: Option<String>) {
        self.under_way = JoinSet::new();
        self.split = Split::new(&self.bucket.prefix, marker, self.width);
    }

    /// Reads the page where the reader is; `None` behind the last.
    ///
    /// A page that is only looked at (one `read` behind one `enter`) costs one request.
    pub(super) async fn read(&mut self) -> Result<Option<Read>, Error> {
        while let Some(came) = self.under_way.try_join_next() {
            self.accept(came)?;
        }
        self.send();
        loop {
            if let Some(chunk) = self.split.take() {
                return Ok(Some(self.told(chunk)));
            }
            if self.split.is_finished() {
                return Ok(None);
            }
            self.send();
            match self.under_way.join_next().await {
                Some(came) => self.accept(came)?,
                None => {
                    let what = "a listing that asks for nothing";
                    return Err(Error::environment(self.shown.clone(), what)
                        .hint("this is a bug of windrow; please report it"));
                }
            }
        }
    }

    /// Asks for what is to be asked for now.
    fn send(&mut self) {
        while let Some(ask) = self.split.ask() {
            let mut asker = self.idle.pop().unwrap_or_else(|| self.askers.one());
            let path = self.bucket.request(&self.service, ask.after.as_deref());
            let first = self.split.answered() == 0;
            self.under_way.spawn_local(async move {
                let read = |body: &[u8]| bucket::read(body).map_err(ListingError::Shape);
                let page = asker.page(&path, first, read).await;
                (asker, ask.id, page)
            });
        }
    }

    fn accept(&mut self, came: Result<Came, JoinError>) -> Result<(), Error> {
        let (asker, id, page) = match came {
            Ok(came) => came,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Nobody ends one of them alone.
            Err(_) => return Ok(()),
        };
        self.idle.push(asker);
        for _ in 0..self.askers.slow.take() {
            self.split.slow_down();
        }
        match page {
            Ok(page) => {
                let accepted = self.split.accept(id, page);
                accepted.map_err(|error| not_of_a_bucket(self.shown.clone(), &error))
            }
            Err(error) if self.split.give_up(id) => Err(error),
            Err(_) => Ok(()),
        }
    }

    fn told(&mut self, chunk: Chunk) -> Read {
        let Chunk { mut page, asked, next } = chunk;
        let prefix = self.bucket.prefix.len();
        self.left_out += self.bucket.filter.apply(&mut page, prefix, self.began);
        let sheet = Sheet { names: page.keys, details: None, listed: page.listed };
        Read { sheet, asked, next }
    }
}
