//! Reads lists: of addresses, and of what failed earlier.

use super::Read;
use crate::source::keys::KeyList;
use crate::source::list::{List, ListPage, ListSpec};
use crate::source::{FailedList, Pattern};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;
use windrow_model::Error;
use windrow_model::limits::LIST_PAGES;

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

/// Keys in a file.
pub(super) struct KeyReader {
    path: PathBuf,
    list: Option<(KeyList, Option<String>)>,
}

impl KeyReader {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), list: None }
    }

    pub(super) fn enter(&mut self, marker: Option<String>) -> Result<(), Error> {
        self.list = Some((KeyList::open(&self.path, marker.as_deref())?, marker));
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
    /// Objects before the next page.
    position: u64,
}

impl ListReader {
    pub(super) fn new(spec: &ListSpec, counts: bool) -> Self {
        Self { spec: spec.clone(), counts, pages: None, front: None, position: 0 }
    }

    /// Goes to the page of a marker; `None` stands for the first.
    pub(super) async fn enter(&mut self, marker: Option<String>) -> Result<(), Error> {
        let wanted = match &marker {
            Some(marker) => self.spec.position(marker)?,
            None => 0,
        };
        if !self.counts {
            (self.position, self.front) = (wanted, None);
            return self.open(marker);
        }
        if self.pages.is_none() || wanted < self.position {
            (self.position, self.front) = (0, None);
            self.open(None)?;
        }
        while let Some(page) = self.receive().await? {
            let at = match &page.asked {
                Some(asked) => self.spec.position(asked)?,
                None => 0,
            };
            self.position = at;
            if at + page.sheet.names.len() as u64 > wanted {
                // Where pages have other borders than they had, this is not the page that was
                // asked for, and is found to be another.
                self.front = Some(page);
                break;
            }
        }
        Ok(())
    }

    pub(super) async fn read(&mut self) -> Result<Option<Read>, Error> {
        let Some(page) = self.receive().await? else { return Ok(None) };
        self.position += page.sheet.names.len() as u64;
        let ListPage { sheet, asked, next } = page;
        Ok(Some(Read { sheet, asked, next }))
    }

    async fn receive(&mut self) -> Result<Option<ListPage>, Error> {
        if let Some(page) = self.front.take() {
            return Ok(Some(page));
        }
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
