//! Which columns of a list are read.

use super::ListSpec;
use windrow_model::Error;

/// Names under which the column of the URLs is found where the user names none, best first.
const URL_NAMES: [&str; 3] = ["url", "uri", "link"];

/// Columns that a message lists, at most, and bytes of each.
const SHOWN_COLUMNS: usize = 20;
const SHOWN_BYTES: usize = 40;

/// Indices of the columns that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Columns {
    pub url: usize,
    pub name: Option<usize>,
    pub size: Option<usize>,
    pub digest: Option<usize>,
}

impl Columns {
    /// Finds them among the names of all columns.
    pub(super) fn find<S: AsRef<str>>(
        shown: &str,
        names: &[S],
        spec: &ListSpec,
    ) -> Result<Self, Error> {
        let named = |wanted: &Option<String>| {
            let Some(wanted) = wanted else { return Ok(None) };
            match position(names, wanted) {
                None => Err(missing(shown, &format!("`{wanted}`"), names)),
                found => Ok(found),
            }
        };
        let url = match &spec.url_col {
            Some(_) => named(&spec.url_col)?,
            None => URL_NAMES.iter().find_map(|name| position(names, name)),
        };
        let url = url.or((names.len() == 1).then_some(0));
        let Some(url) = url else {
            return Err(missing(shown, "`url`", names).hint("name one with --url-col"));
        };
        let verify = spec.verify_col.as_ref().map(|(column, _)| column.clone());
        Ok(Self {
            url,
            name: named(&spec.name_col)?,
            size: named(&spec.size_col)?,
            digest: named(&verify)?,
        })
    }
}

/// How well a name stands for the column of the URLs where the user names none: the less the better.
pub(super) fn url_rank(name: &str) -> Option<usize> {
    let rank = URL_NAMES.iter().position(|known| name.eq_ignore_ascii_case(known))?;
    Some(2 * rank + usize::from(name != URL_NAMES[rank]))
}

/// The column of that name; where none has exactly that one, the first that has it in other case.
fn position<S: AsRef<str>>(names: &[S], wanted: &str) -> Option<usize> {
    let exact = names.iter().position(|name| name.as_ref() == wanted);
    exact.or_else(|| names.iter().position(|name| name.as_ref().eq_ignore_ascii_case(wanted)))
}

/// The usage error of a column that is not there.
pub(super) fn missing<S: AsRef<str>>(shown: &str, column: &str, names: &[S]) -> Error {
    let mut list = String::new();
    for name in names.iter().take(SHOWN_COLUMNS) {
        if !list.is_empty() {
            list.push_str(", ");
        }
        let short: String = name.as_ref().chars().take(SHOWN_BYTES).collect();
        list.extend(short.escape_debug());
    }
    if names.len() > SHOWN_COLUMNS {
        list.push_str(", ...");
    }
    Error::usage(shown, format!("has no column {column}")).why(format!("its columns are {list}"))
}
