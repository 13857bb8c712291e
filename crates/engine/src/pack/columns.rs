//! Which columns a pack has, in forms that have any: what `--columns name,body,url` chooses.
//! There is always at least one.

/// What can be written down of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Its name.
    Name,
    /// Its body.
    Body,
    /// Bytes of the body.
    Size,
    /// Where it was asked for.
    Url,
    /// Status code of the answer.
    Status,
    /// The answer's `Content-Type`.
    ContentType,
    /// The answer's `ETag`.
    Etag,
    /// The answer's `Last-Modified`.
    LastModified,
    /// SHA-256 of the body.
    Sha256,
    /// When the answer was complete.
    FetchedAt,
    /// Its position in the source.
    Ordinal,
}

impl Column {
    /// Every column, in the order of the documentation.
    pub const ALL: [Column; 11] = [
        Column::Name,
        Column::Body,
        Column::Size,
        Column::Url,
        Column::Status,
        Column::ContentType,
        Column::Etag,
        Column::LastModified,
        Column::Sha256,
        Column::FetchedAt,
        Column::Ordinal,
    ];

    /// As it is called in packs and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Column::Name => "name",
            Column::Body => "body",
            Column::Size => "size",
            Column::Url => "url",
            Column::Status => "status",
            Column::ContentType => "content_type",
            Column::Etag => "etag",
            Column::LastModified => "last_modified",
            Column::Sha256 => "sha256",
            Column::FetchedAt => "fetched_at",
            Column::Ordinal => "ordinal",
        }
    }

    /// The column of that name.
    pub fn of(name: &[u8]) -> Option<Column> {
        Column::ALL.into_iter().find(|column| column.name().as_bytes() == name)
    }
}

/// A set of columns, at least one. In which order they are written is up to the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns(u16);

impl Columns {
    /// Those columns.
    pub fn of(columns: impl IntoIterator<Item = Column>) -> Columns {
        Columns(columns.into_iter().fold(0, |set, column| set | 1 << column as u16))
    }

    /// Every column there is.
    pub fn all() -> Columns {
        Columns::of(Column::ALL)
    }

    /// What a line of JSON has unless told otherwise: name, size and body; url, status and
    /// content_type where they are known.
    pub fn of_lines() -> Columns {
        use Column::{Body, ContentType, Name, Size, Status, Url};
        Columns::of([Name, Size, Body, Url, Status, ContentType])
    }

    /// Reads a list of names with commas between them, white space around them allowed.
    ///
    /// # Errors
    /// Says in a few words what is wrong: an unknown column, one that is named twice, none.
    pub fn parse(text: &str) -> Result<Columns, String> {
        let mut columns = Columns(0);
        for name in text.split(',').map(str::trim) {
            if name.is_empty() {
                return Err("a name is missing in the list of columns".to_owned());
            }
            let Some(column) = Column::of(name.as_bytes()) else {
                let known = Column::ALL.map(Column::name).join(", ");
                return Err(format!("no column is called {name:?}; there are {known}"));
            };
            if columns.has(column) {
                return Err(format!("column {name:?} is named twice"));
            }
            columns.0 |= 1 << column as u16;
        }
        Ok(columns)
    }

    /// Whether it is one of them.
    pub fn has(self, column: Column) -> bool {
        self.0 & (1 << column as u16) != 0
    }

    /// All of them, in the order of [`Column::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Column> {
        Column::ALL.into_iter().filter(move |&column| self.has(column))
    }

    /// Whether any of them tells of the answer, so that somebody has to keep what is known of it.
    pub fn of_answers(self) -> bool {
        use Column::{ContentType, Etag, FetchedAt, LastModified, Status, Url};
        let answers = [Url, Status, ContentType, Etag, LastModified, FetchedAt];
        self.0 & Columns::of(answers).0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        let columns = Columns::parse("name, body,sha256").unwrap();
        assert_eq!(columns, Columns::of([Column::Body, Column::Name, Column::Sha256]));
        assert!(columns.has(Column::Sha256) && !columns.has(Column::Size));
        assert!(!columns.of_answers() && Columns::of_lines().of_answers());
        let all = Column::ALL.map(Column::name).join(",");
        assert_eq!(Columns::parse(&all), Ok(Columns::all()));
        for (wrong, says) in [
            ("", "missing"),
            ("name,", "missing"),
            ("name,name", "twice"),
            ("Name", "there are name, body, size"),
        ] {
            let error = Columns::parse(wrong).unwrap_err();
            assert!(error.contains(says), "{wrong}: {error}");
        }
    }
}
