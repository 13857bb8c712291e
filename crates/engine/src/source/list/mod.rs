//! Lists of URLs as a source: `.txt`, `.csv`, `.tsv`, `.jsonl` and `.parquet` files, the text forms
//! also compressed (gzip, Zstandard), standard input, several files, or a directory of them.
//!
//! A list is read page by page, never whole: memory is some megabytes however long it is. What a
//! line lacks to be an object (a URL, UTF-8, a field) makes it a malformed object with the number of
//! its line; only what ends the reading (a file that is not there or corrupt) is an error.
//!
//! How objects are named is told in `naming.rs`. A malformed line is named `line-N`, or
//! `file-F-line-N` where there are several files. Nothing is sent, resolved or stored here.
//!
//! All of it blocks, so it wants a thread of its own. A page of 1,000 objects takes less than a
//! millisecond, so that a pass over the whole list (for a forecast) is just a loop over its pages.

pub(in crate::source) mod columnar;
mod columns;
mod csv;
mod digest;
mod expiry;
mod inputs;
mod jsonl;
mod marker;
mod naming;
mod page;
mod parquet;
mod sample;
#[cfg(test)]
mod tests;
mod text;
mod told;
mod txt;

pub use digest::DigestKind;
pub use expiry::expiry;
pub use inputs::Form;
pub use naming::without_secrets;
pub use sample::Sample;

use self::csv::Csv;
use self::jsonl::Jsonl;
use self::parquet::Parquet;
use inputs::Input;
use marker::Mark;
use page::Page;
use sample::{Picker, Reservoir};
use std::path::PathBuf;
use text::Text;
use txt::Txt;
use windrow_model::{Error, Sheet};

/// Why a line of more than 1 MiB is malformed.
const LONG: &str = "longer than 1 MiB";

/// What a list is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListSpec {
    /// Files; `-` is standard input, a directory stands for the list files in it, in the order of
    /// their names.
    pub inputs: Vec<PathBuf>,
    /// How they are written; `None`: by their extensions, and standard input is [`Form::Txt`].
    pub form: Option<Form>,
    /// The column of the URLs; `None`: `url`, `uri` or `link` in any case, or the only one.
    pub url_col: Option<String>,
    /// The column of the names; `None`: see [`ListSpec::naming`].
    pub name_col: Option<String>,
    /// The column of the lengths in bytes.
    pub size_col: Option<String>,
    /// The column of the checksums, and what they are.
    pub verify_col: Option<(String, DigestKind)>,
    /// How objects are named where no column does.
    pub naming: Naming,
    /// Only so many of the objects.
    pub sample: Option<Sample>,
}

/// How objects are named where no column does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Naming {
    /// After their URL; those of a list of failed objects keep the names that they have.
    #[default]
    Url,
    /// After their position in the list, from 0 on: twelve digits, and the extension of the path
    /// where that is 1-5 letters and digits.
    Ordinal,
}

/// Some objects of a list, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// The objects, with details.
    pub sheet: Sheet,
    /// The marker that the page begins at; `None` is the beginning of the list.
    pub asked: Option<String>,
    /// The marker behind the page. `None`: it is the last one. Where a pipe is read, the end may be
    /// known only when the next page is asked for, and that is then `None`.
    pub next: Option<String>,
}

/// Reads the objects of one file.
trait Rows: Send {
    /// Adds objects to the page until it is full (or, where the file is a pipe, more would have to be
    /// waited for); `false` at the end of the file. An error leaves what was added.
    fn read(&mut self, page: &mut Page) -> Result<bool, Error>;

    /// Whether another object comes; goes on to it over what is none.
    fn more(&mut self) -> Result<bool, Error>;

    /// Goes on to a place that [`Rows::at`] gave.
    fn jump(&mut self, offset: u64, lines: u64) -> Result<(), Error>;

    /// Bytes of the text and lines before the next object.
    fn at(&self) -> (u64, u64);

    /// Whether to ask for more may take long: the file is a pipe or the like, and not at its end.
    fn is_live(&self) -> bool;
}

/// Objects that stand in lines of text.
trait TextRows: Send {
    /// The text.
    fn text(&self) -> &Text;

    /// See [`TextRows::text`].
    fn text_mut(&mut self) -> &mut Text;

    /// Whether a line is no object, and not malformed either.
    fn is_none(line: &[u8]) -> bool;

    /// See [`Rows::read`].
    fn read(&mut self, page: &mut Page) -> Result<bool, Error>;
}

impl<T: TextRows> Rows for T {
    fn read(&mut self, page: &mut Page) -> Result<bool, Error> {
        TextRows::read(self, page)
    }

    fn more(&mut self) -> Result<bool, Error> {
        txt::skip(self.text_mut(), T::is_none)
    }

    fn jump(&mut self, offset: u64, lines: u64) -> Result<(), Error> {
        self.text_mut().jump(offset, lines)
    }

    fn at(&self) -> (u64, u64) {
        (self.text().offset(), self.text().lines())
    }

    fn is_live(&self) -> bool {
        self.text().is_live()
    }
}

/// A file without anything in it.
struct Nothing;

impl Rows for Nothing {
    fn read(&mut self, _: &mut Page) -> Result<bool, Error> {
        Ok(false)
    }

    fn more(&mut self) -> Result<bool, Error> {
        Ok(false)
    }

    fn jump(&mut self, _: u64, _: u64) -> Result<(), Error> {
        Ok(())
    }

    fn at(&self) -> (u64, u64) {
        (0, 0)
    }

    fn is_live(&self) -> bool {
        false
    }
}

/// A list that is read.
pub struct List {
    spec: ListSpec,
    inputs: Vec<Input>,
    /// Where the next page begins.
    mark: Mark,
    /// What [`ListPage::asked`] of the next page is.
    asked: Option<String>,
    /// The file that is read.
    rows: Option<Box<dyn Rows>>,
    page: Page,
    /// The sample, once the list was read, and the next of its objects.
    sampled: Option<(Reservoir, usize)>,
    /// What ended the reading.
    failed: Option<Error>,
}

impl std::fmt::Debug for List {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "List {{ files: {}, mark: {} }}", self.inputs.len(), self.mark)
    }
}

impl List {
    /// Opens a list, at a marker that one of its pages gave with the same `spec`.
    ///
    /// Every file (but pipes) is opened once, so that one that is not there or lacks a column is
    /// known before the first object is fetched.
    ///
    /// # Errors
    /// Usage: no such form or column, an odd marker. Environment: what cannot be read.
    pub fn open(spec: &ListSpec, marker: Option<&str>) -> Result<List, Error> {
        let inputs = inputs::find(&spec.inputs, spec.form)?;
        for input in &inputs {
            if input.is_lasting() || input.form == Form::Parquet {
                open(input, spec)?;
            } else if let Some(path) = &input.path {
                let missing = |why| Error::environment(input.shown(), "cannot read").why(why);
                path.metadata().map_err(missing)?;
            }
        }
        let odd = || Error::usage("list", "cannot go on").why("an odd marker");
        let mut list = List {
            page: Page::new(spec.naming, spec.verify_col.as_ref().map(|&(_, kind)| kind)),
            spec: spec.clone(),
            inputs,
            mark: Mark::default(),
            asked: marker.map(str::to_owned),
            rows: None,
            sampled: None,
            failed: None,
        };
        match (marker, spec.sample) {
            (None, _) => {}
            (Some(marker), None) => {
                let mark = Mark::parse(marker).filter(|mark| mark.file < list.inputs.len());
                list.mark = mark.ok_or_else(odd)?;
            }
            // Which objects are in a sample is known only at the end of the list.
            (Some(marker), Some(_)) => {
                let index = marker.strip_prefix("s1:").and_then(|index| index.parse().ok());
                list.sampled = Some((Reservoir::default(), index.ok_or_else(odd)?));
            }
        }
        Ok(list)
    }

    /// The next objects: at most
    /// [`LIST_PAGE_OBJECTS`](windrow_model::limits::LIST_PAGE_OBJECTS), of one file; `None` at the end.
    ///
    /// The first page of a sample takes a pass over the whole list.
    ///
    /// # Errors
    /// A file cannot be read any further; what was read before it was given. From then on every
    /// call gives that error.
    pub fn page(&mut self) -> Result<Option<ListPage>, Error> {
        match self.spec.sample {
            None => self.read(),
            Some(sample) => self.sample(sample),
        }
    }

    fn read(&mut self) -> Result<Option<ListPage>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        while self.mark.file < self.inputs.len() {
            let ended = self.fill();
            if self.page.is_empty() {
                match ended {
                    Ok(true) => {
                        self.rows = None;
                        self.mark = self.mark.behind();
                    }
                    Ok(false) => self.note(),
                    Err(error) => return Err(self.fail(error)),
                }
                continue;
            }
            let asked = self.asked.take();
            self.note();
            let more = match ended {
                Err(error) => {
                    self.fail(error);
                    true
                }
                Ok(ended) => self.find_next(ended),
            };
            self.asked = more.then(|| self.mark.to_string());
            let sheet = self.page.finish();
            return Ok(Some(ListPage { sheet, asked, next: self.asked.clone() }));
        }
        Ok(None)
    }

    /// Reads objects into the page; whether the file is at its end.
    fn fill(&mut self) -> Result<bool, Error> {
        let number = (self.inputs.len() > 1).then_some(self.mark.file + 1);
        self.page.begin(number, self.mark.position);
        self.rows()?;
        match &mut self.rows {
            Some(rows) => rows.read(&mut self.page).map(|more| !more),
            None => Ok(true),
        }
    }

    /// The file of the mark, opened there.
    fn rows(&mut self) -> Result<&mut Box<dyn Rows>, Error> {
        let rows = match self.rows.take() {
            Some(rows) => rows,
            None => {
                let mut rows = open(&self.inputs[self.mark.file], &self.spec)?;
                if self.mark.offset > 0 {
                    rows.jump(self.mark.offset, self.mark.lines)?;
                }
                rows
            }
        };
        Ok(self.rows.insert(rows))
    }

    /// Moves the mark to where the file is.
    fn note(&mut self) {
        if let Some(rows) = &self.rows {
            (self.mark.offset, self.mark.lines) = rows.at();
        }
        self.mark.position = self.page.position();
    }

    /// Goes on to the next object, if there is one: over blank lines and empty files. Does not wait
    /// for a pipe.
    fn find_next(&mut self, ended: bool) -> bool {
        let mut ended = ended;
        loop {
            if !ended {
                let more = match self.rows() {
                    Ok(rows) if rows.is_live() => return true,
                    Ok(rows) => rows.more(),
                    Err(error) => Err(error),
                };
                match more {
                    Ok(true) => {
                        self.note();
                        return true;
                    }
                    Ok(false) => {}
                    Err(error) => {
                        self.fail(error);
                        return true;
                    }
                }
            }
            self.rows = None;
            self.mark = self.mark.behind();
            ended = false;
            match self.inputs.get(self.mark.file) {
                None => return false,
                // Opening a pipe may take long.
                Some(input) if !input.is_lasting() => return true,
                Some(_) => {}
            }
        }
    }

    fn fail(&mut self, error: Error) -> Error {
        self.rows = None;
        self.failed = Some(error.clone());
        error
    }

    fn sample(&mut self, sample: Sample) -> Result<Option<ListPage>, Error> {
        let from = self.sampled.as_ref().map_or(0, |&(_, from)| from);
        if self.sampled.as_ref().is_none_or(|(reservoir, _)| reservoir.len() == 0) {
            self.sampled = Some((self.collect(sample)?, from));
        }
        let Some((reservoir, next)) = &mut self.sampled else { return Ok(None) };
        if from >= reservoir.len() {
            return Ok(None);
        }
        let sheet = reservoir.sheet(from);
        *next = from + sheet.names.len().max(1);
        let after = (*next < reservoir.len()).then(|| format!("s1:{next}"));
        let asked = std::mem::replace(&mut self.asked, after.clone());
        Ok(Some(ListPage { sheet, asked, next: after }))
    }

    /// Reads the list to its end for a sample.
    fn collect(&mut self, sample: Sample) -> Result<Reservoir, Error> {
        let mut reservoir = Reservoir::default();
        let asked = self.asked.take();
        self.page.picker = Some(Picker::new(sample));
        while let Some(page) = self.read()? {
            if let Some(picker) = &mut self.page.picker {
                reservoir.add(&page.sheet, picker);
            }
        }
        if let Some(picker) = &self.page.picker {
            reservoir.settle(picker);
        }
        self.asked = asked;
        Ok(reservoir)
    }
}

impl Mark {
    /// The beginning of the next file.
    fn behind(self) -> Self {
        Mark { file: self.file + 1, offset: 0, lines: 0, position: self.position }
    }
}

/// Opens a file at its beginning; that of a text is behind its byte order mark and header.
fn open(input: &Input, spec: &ListSpec) -> Result<Box<dyn Rows>, Error> {
    match (input.form, &input.path) {
        (Form::Parquet, Some(path)) if input.is_lasting() && !input.compressed => {
            Ok(Box::new(Parquet::open(path, &input.shown(), spec)?))
        }
        (Form::Parquet, _) => Err(Error::usage(input.shown(), "cannot be read from front to back")
            .why("a parquet file tells at its end what is in it")
            .hint("save it to a file, uncompressed: parquet compresses by itself")),
        (form, _) => open_text(Text::open(input)?, form, &input.shown(), spec),
    }
}

fn open_text(text: Text, form: Form, shown: &str, spec: &ListSpec) -> Result<Box<dyn Rows>, Error> {
    let delimiter = match form {
        Form::Jsonl => return Ok(Box::new(Jsonl::open(text, shown, spec)?)),
        Form::Csv => b',',
        Form::Tsv => b'\t',
        Form::Txt | Form::Parquet => return Ok(Box::new(Txt(text))),
    };
    Ok(match Csv::open(text, delimiter, shown, spec)? {
        Some(csv) => Box::new(csv),
        None => Box::new(Nothing),
    })
}
