//! The paged listing of a file server: `GET /list`, `GET /list?next-marker=T`.

use super::page::Fields;
use std::fmt;
use windrow_model::percent::{self, Keep};
use windrow_model::task::Names;

/// The shape of a listing API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Path of the listing.
    pub list_path: String,
    /// Path of an object, with `{name}` where its name goes; `{+name}` keeps the `/` of a name
    /// (RFC 6570 section 3.2.2 and 3.2.3).
    pub get_path: String,
    /// Field that holds the names.
    pub names_field: String,
    /// Fields that may hold the marker of the next page.
    pub marker_fields: Vec<String>,
    /// Parameter in which the marker goes back.
    pub marker_param: String,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            list_path: "/list".into(),
            get_path: "/get/{name}".into(),
            names_field: "FileNames".into(),
            marker_fields: vec!["NextMarker".into(), "NextFile".into()],
            marker_param: "next-marker".into(),
        }
    }
}

/// Why a listing cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListingError {
    /// Not JSON, or not of the expected shape.
    Shape(String),
    /// The names' field is missing.
    NoNames,
    /// The server gave a marker that it gave before: the listing would never end.
    Cycle(String),
}

impl fmt::Display for ListingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(why) => write!(f, "the answer is no page of a listing: {why}"),
            Self::NoNames => f.write_str("the answer has no field with names"),
            Self::Cycle(marker) => {
                write!(f, "the listing runs in a circle: marker `{}` again", marker.escape_debug())
            }
        }
    }
}

impl std::error::Error for ListingError {}

/// Walks a listing: says what to ask, takes the answer, until there is no next page.
#[derive(Debug)]
pub struct Listing {
    api: Api,
    base: String,
    /// Marker of the page to ask for; `None` for the first.
    marker: Option<String>,
    finished: bool,
    pages: u64,
    /// The marker that later ones are compared to, renewed at page 1, 2, 4, 8 ... (Brent's cycle
    /// finder): any circle is found, and one marker is all that is kept.
    landmark: Option<String>,
}

impl Listing {
    /// A listing from its first page; `base` stands before every path.
    pub fn new(api: Api, base: impl Into<String>) -> Self {
        Self { api, base: base.into(), marker: None, finished: false, pages: 0, landmark: None }
    }

    /// The same from the page on that `marker` stands for; `None` for the first.
    pub fn enter(api: Api, base: impl Into<String>, marker: Option<String>) -> Self {
        Self { marker, ..Self::new(api, base) }
    }

    /// The marker of the next page; `None` for the first, and after the last.
    pub fn marker(&self) -> Option<&str> {
        self.marker.as_deref()
    }

    /// Path and query of the next page; `None` after the last.
    pub fn request(&self) -> Option<Vec<u8>> {
        if self.finished {
            return None;
        }
        let mut path = format!("{}{}", self.base, self.api.list_path).into_bytes();
        if let Some(marker) = &self.marker {
            path.push(if self.api.list_path.contains('?') { b'&' } else { b'?' });
            percent::encode_into(self.api.marker_param.as_bytes(), &Keep::UNRESERVED, &mut path);
            path.push(b'=');
            percent::encode_into(marker.as_bytes(), &Keep::UNRESERVED, &mut path);
        }
        Some(path)
    }

    /// Takes the answer to [`Listing::request`] and gives its names.
    ///
    /// # Errors
    /// See [`ListingError`]; the listing has not moved.
    pub fn accept(&mut self, body: &[u8]) -> Result<Names, ListingError> {
        let fields = Fields { names: &self.api.names_field, markers: &self.api.marker_fields };
        let page = fields.read(body).map_err(|error| ListingError::Shape(error.to_string()))?;
        let names = page.names.ok_or(ListingError::NoNames)?;
        if let Some(marker) = &page.marker
            && (self.marker.as_ref() == Some(marker) || self.landmark.as_ref() == Some(marker))
        {
            return Err(ListingError::Cycle(marker.clone()));
        }
        self.pages += 1;
        self.finished = page.marker.is_none();
        self.marker = page.marker;
        if self.pages.is_power_of_two() {
            self.landmark.clone_from(&self.marker);
        }
        Ok(names)
    }

    /// Pages taken so far.
    pub fn pages(&self) -> u64 {
        self.pages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(names: &[&str], marker: Option<&str>) -> Vec<u8> {
        let mut page = serde_json::json!({ "FileNames": names });
        if let Some(marker) = marker {
            page["NextMarker"] = marker.into();
        }
        page.to_string().into_bytes()
    }

    #[test]
    fn walks_all_pages() {
        let mut listing = Listing::new(Api::default(), "/base");
        assert_eq!(listing.request().unwrap(), b"/base/list");
        assert_eq!(listing.accept(&page(&["a", "b"], Some("x/y z&"))).unwrap().len(), 2);
        assert_eq!(listing.request().unwrap(), b"/base/list?next-marker=x%2Fy%20z%26");
        assert_eq!(listing.accept(&page(&[], Some("3"))).unwrap().len(), 0);
        assert_eq!(listing.accept(&page(&["c"], None)).unwrap().len(), 1);
        assert_eq!(listing.request(), None);
        assert_eq!(listing.pages(), 3);
    }

    #[test]
    fn the_api_can_have_another_shape() {
        let api = Api {
            list_path: "/v2/files?bucket=b".into(),
            names_field: "items".into(),
            marker_fields: vec!["cursor".into()],
            marker_param: "after".into(),
            ..Api::default()
        };
        let mut listing = Listing::new(api, "");
        let names = listing.accept(br#"{"items": ["n"], "cursor": 9, "NextMarker": "no"}"#);
        assert_eq!(names.unwrap().len(), 1);
        assert_eq!(listing.request().unwrap(), b"/v2/files?bucket=b&after=9");
    }

    #[test]
    fn every_circle_is_found() {
        for (tail, circle) in [(0, 1), (0, 2), (1, 1), (3, 5), (10, 1), (7, 100)] {
            let mut listing = Listing::new(Api::default(), "");
            let mut at = 0;
            let found = (0..1000).find_map(|_| {
                at = if at + 1 < tail + circle { at + 1 } else { tail };
                listing.accept(&page(&["n"], Some(&format!("m{at}")))).err()
            });
            assert!(matches!(found, Some(ListingError::Cycle(_))), "{tail} + {circle}: {found:?}");
        }
    }

    #[test]
    fn a_refused_page_can_be_asked_again() {
        let mut listing = Listing::new(Api::default(), "");
        listing.accept(&page(&["a"], Some("2"))).unwrap();
        assert!(listing.accept(b"<html>busy</html>").is_err());
        assert_eq!(listing.accept(b"{}"), Err(ListingError::NoNames));
        assert_eq!(listing.request().unwrap(), b"/list?next-marker=2");
        assert!(listing.accept(&page(&["b"], None)).is_ok());
    }
}
