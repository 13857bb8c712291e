//! Reads lists: of addresses, and of what failed earlier.

use super::Read;
use crate::source::list::{List, ListPage, ListSpec};
use crate::source::{FailedList, Pattern};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;
use windrow_model::limits::LIST_PAGES;
use windrow_model::{Error, Exit};

/// A `failures.jsonl` of an earlier run.
pub(super) struct FailedReader {
    path: PathBuf,
    pattern: Pattern,
    list: Option<(FailedList, Option<String>)>,
}

impl FailedReader {
    pub(super) fn new(path: &Path, pattern: Pattern) -> Self {
        Self { path: path.to_owned(), pattern, list: None }
    }

    pub(super) fn enter(&mut self, marker: Option<String>) -> Result<(), Error> {
        let pattern = Some(self.pattern.clone());
        self.list = Some((FailedList::open(&self.path, marker.as_deref(), pattern)?, marker));
        Ok(())
    }

    pub(super) fn read(&mut self) -> Result<Option<Read>, Error> {
        let Some((mut open, asked)) = self.list.take() else { return Ok(None) };
        let (names, next) = open.page()?;
        if next.is_some() {
            self.list = Some((open, next.clone()));
        }
        Ok(Some(Read { sheet: names.into(), asked, next }))
    }
}

/// A list of addresses. It is read and parsed on a thread of its own, a few pages ahead.
pub(super) struct ListReader {
    spec: ListSpec,
    /// The list may be another file than the one that the markers are of: pages are found by
    /// counting.
    counts: bool,
    pages: Option<mpsc::Receiver<Result<ListPage, Error>>>,
    /// The page in front, that was read to see where it begins.
    front: Option<ListPage>,
    /// A page was taken.
    begun: bool,
}

impl ListReader {
    pub(super) fn new(spec: &ListSpec, counts: bool) -> Self {
        Self { spec: spec.clone(), counts, pages: None, front: None, begun: false }
    }

    /// Goes to the page of a marker; `None` stands for the first.
    ///
    /// What can be read only once is read on, up to that page.
    pub(super) async fn enter(&mut self, marker: Option<String>) -> Result<(), Error> {
        let forward = self.counts || self.spec.is_stream();
        if !forward {
            self.begun = false;
            self.front = None;
            return self.open(marker);
        }
        if self.pages.is_none() || (marker.is_none() && self.begun) {
            if self.begun && self.spec.is_stream() {
                return Err(Error::usage("-", "standard input cannot be read twice")
                    .hint("the list has changed since the earlier run: give it as a file"));
            }
            (self.begun, self.front) = (false, None);
            self.open(None)?;
        }
        let Some(marker) = marker else { return Ok(()) };
        let wanted = self.spec.position(&marker)?;
        loop {
            let page = match self.front.take() {
                Some(page) => page,
                None => match self.receive().await? {
                    Some(page) => page,
                    None => return Ok(()),
                },
            };
            let at = match &page.asked {
                Some(asked) => self.spec.position(asked)?,
                None => 0,
            };
            if at >= wanted {
                self.front = Some(page);
                return Ok(());
            }
            self.begun = true;
        }
    }

    pub(super) async fn read(&mut self) -> Result<Option<Read>, Error> {
        self.begun = true;
        let page = match self.front.take() {
            Some(page) => page,
            None => match self.receive().await? {
                Some(page) => page,
                None => return Ok(None),
            },
        };
        let ListPage { sheet, asked, next } = page;
        Ok(Some(Read { sheet, asked, next }))
    }

    async fn receive(&mut self) -> Result<Option<ListPage>, Error> {
        match &mut self.pages {
            Some(pages) => pages.recv().await.transpose(),
            None => Ok(None),
        }
    }

    fn open(&mut self, marker: Option<String>) -> Result<(), Error> {
        let (send, pages) = mpsc::channel(LIST_PAGES);
        self.pages = Some(pages);
        let spec = self.spec.clone();
        let read = move || {
            let mut list = match List::open(&spec, marker.as_deref()) {
                Ok(list) => list,
                Err(error) => {
                    let _ = send.blocking_send(Err(error));
                    return;
                }
            };
            // Ends when nobody takes the pages any more, too.
            while let Some(page) = list.page().transpose() {
                let last = page.is_err();
                if send.blocking_send(page).is_err() || last {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("list".into()).spawn(read);
        thread
            .map(drop)
            .map_err(|error| Error::environment("list", "cannot start a thread").why(error))
    }
}
