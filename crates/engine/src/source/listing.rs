//! The paged listing of a file server: `GET /list`, `GET /list?next-marker=T`.

use super::page::Fields;
use super::trail::{Fingerprint, Trail};
use std::fmt;
use windrow_model::limits::{LISTING_BARREN_PAGES, MARKER_BYTES};
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
    Circle(String),
    /// The page has the names of the one before it, and says that there is more.
    SamePage,
    /// So many pages in a row brought nothing, each saying that there is more.
    Barren(u32),
    /// The marker is longer than [`MARKER_BYTES`].
    LongMarker(usize),
    /// Behind this key of a bucket comes one that should stand before it.
    Unordered(String),
}

impl ListingError {
    /// Whether the answers are pages, but the way from one to the next is broken.
    pub fn is_paging(&self) -> bool {
        !matches!(self, Self::Shape(_) | Self::NoNames)
    }
}

impl fmt::Display for ListingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(why) => write!(f, "the answer is no page of a listing: {why}"),
            Self::NoNames => f.write_str("the answer has no field with names"),
            Self::Circle(marker) => {
                // Enough to find it in a server's log.
                let begin: String = marker.chars().take(100).collect();
                let more = if begin.len() < marker.len() { "..." } else { "" };
                let begin = begin.escape_debug();
                write!(f, "the listing runs in a circle: marker `{begin}{more}` again")
            }
            Self::SamePage => {
                f.write_str("the listing runs in a circle: another marker, the same names again")
            }
            Self::Barren(pages) => {
                write!(f, "the listing leads nowhere: {pages} pages in a row without a new name")
            }
            Self::LongMarker(bytes) => write!(f, "the marker of the next page has {bytes} bytes"),
            Self::Unordered(key) => {
                let begin: String = key.chars().take(100).collect();
                let begin = begin.escape_debug();
                write!(f, "the keys are not in the order of their bytes, behind `{begin}`")
            }
        }
    }
}

impl std::error::Error for ListingError {}

/// Walks a listing: says what to ask, takes the answer, until there is no next page.
///
/// No marker is asked for twice: a page that leads back is refused with its names, before the
/// next question. So is one that brings the names of the page before it.
#[derive(Debug)]
pub struct Listing {
    api: Api,
    base: String,
    /// Marker of the page to ask for; `None` for the first.
    marker: Option<String>,
    finished: bool,
    pages: u64,
    /// Every marker so far.
    trail: Trail,
    /// What the last page held.
    last: Option<Content>,
    /// Pages in a row that brought no new name.
    barren: u32,
}

/// What pages are compared by. Names are in a listing once, so that pages with the same ends are
/// the same page.
#[derive(Debug, PartialEq, Eq)]
struct Content {
    names: usize,
    ends: [Fingerprint; 2],
}

impl Listing {
    /// A listing from its first page; `base` stands before every path.
    pub fn new(api: Api, base: impl Into<String>) -> Self {
        Self {
            api,
            base: base.into(),
            marker: None,
            finished: false,
            pages: 0,
            trail: Trail::default(),
            last: None,
            barren: 0,
        }
    }

    /// The same from the page on that `marker` stands for; `None` for the first.
    pub fn enter(api: Api, base: impl Into<String>, marker: Option<String>) -> Self {
        let mut listing = Self::new(api, base);
        if marker.is_some() {
            listing.go_to(marker);
        }
        listing
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
        let content = self.content(&names);
        let known = content.is_some() && content == self.last;
        let barren = if names.is_empty() || known { self.barren + 1 } else { 0 };
        // The last page may be as it likes: it leads nowhere.
        if let Some(marker) = &page.marker {
            if marker.len() > MARKER_BYTES {
                return Err(ListingError::LongMarker(marker.len()));
            }
            if self.trail.has(self.trail.fingerprint(marker.as_bytes())) {
                return Err(ListingError::Circle(marker.clone()));
            }
            // One name may be listed twice in a row; not two, and the same two again.
            if known && names.len() > 1 {
                return Err(ListingError::SamePage);
            }
            if barren > LISTING_BARREN_PAGES {
                return Err(ListingError::Barren(barren));
            }
        }
        self.pages += 1;
        self.barren = barren;
        self.last = content.or(self.last.take());
        self.go_to(page.marker);
        Ok(names)
    }

    /// Pages taken so far.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// The page of this marker is the next; there is none without a marker.
    fn go_to(&mut self, marker: Option<String>) {
        self.finished = marker.is_none();
        if let Some(marker) = &marker {
            self.trail.note(self.trail.fingerprint(marker.as_bytes()));
        }
        self.marker = marker;
    }

    fn content(&self, names: &Names) -> Option<Content> {
        let (first, last) = (names.get(0)?, names.get(names.len() - 1)?);
        let ends = [self.trail.fingerprint(first), self.trail.fingerprint(last)];
        Some(Content { names: names.len(), ends })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

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

    /// Walks a listing of which every page is a function of its number; gives how many pages were
    /// taken, and what ended it.
    fn walk(pages: impl Fn(usize) -> Vec<u8>) -> (usize, ListingError) {
        let mut listing = Listing::new(Api::default(), "");
        for number in 0..10_000 {
            let before = listing.request().expect("not finished");
            if let Err(error) = listing.accept(&pages(number)) {
                assert_eq!(listing.request(), Some(before), "moved in spite of {error}");
                assert_eq!(listing.pages(), number as u64);
                return (number, error);
            }
        }
        panic!("goes on for ever");
    }

    #[test]
    fn a_circle_ends_with_the_page_that_leads_back() {
        for (tail, circle) in [(0, 1), (0, 2), (1, 1), (3, 5), (10, 1), (7, 100), (0, 50)] {
            // Marker `m0` leads to page 1, and so on; what leads back is the last of the circle.
            let found = walk(|number| {
                let name = format!("n{number}");
                let at = if number < tail + circle { number } else { tail };
                page(&[&name], Some(&format!("m{at}")))
            });
            let expected = ListingError::Circle(format!("m{tail}"));
            assert_eq!(found, (tail + circle, expected), "{tail} + {circle}");
        }
    }

    #[test]
    fn a_marker_has_one_meaning_in_every_type() {
        let mut listing = Listing::new(Api::default(), "");
        listing.accept(br#"{"FileNames": ["a"], "NextMarker": 7}"#).unwrap();
        listing.accept(br#"{"FileNames": ["b"], "NextMarker": 8}"#).unwrap();
        let again = listing.accept(br#"{"FileNames": ["c"], "NextFile": "7"}"#);
        assert_eq!(again, Err(ListingError::Circle("7".into())));
        // No marker and the empty one are the end, and not the first page again.
        for end in [r#"null"#, r#""""#] {
            let mut listing = Listing::new(Api::default(), "");
            listing.accept(&page(&["a"], Some("7"))).unwrap();
            let last = format!(r#"{{"FileNames": ["a"], "NextMarker": {end}}}"#);
            assert_eq!(listing.accept(last.as_bytes()).unwrap().len(), 1);
            assert_eq!(listing.request(), None);
        }
    }

    #[test]
    fn empty_pages_are_borne_for_a_while() {
        let most = LISTING_BARREN_PAGES;
        let empty = |number: usize| page(&[], Some(&format!("m{number}")));
        assert_eq!(walk(empty), (most as usize, ListingError::Barren(most + 1)));
        // A name in time, and they are counted anew; the last page may be empty in any case.
        let mut listing = Listing::new(Api::default(), "");
        for number in 0..5 * most as usize {
            let marker = format!("m{number}");
            let names = if number % most as usize == 0 { &[&*marker][..] } else { &[] };
            listing.accept(&page(names, Some(&marker))).unwrap();
        }
        assert_eq!(listing.accept(&page(&[], None)).unwrap().len(), 0);
        // A marker that stays where it is needs no patience.
        let stuck = walk(|_| page(&[], Some("here")));
        assert_eq!(stuck, (1, ListingError::Circle("here".into())));
    }

    #[test]
    fn a_server_that_makes_new_markers_for_the_same_page_is_found() {
        let same = walk(|number| page(&["a", "b"], Some(&format!("m{number}"))));
        assert_eq!(same, (1, ListingError::SamePage));
        // Empty pages between do not hide it.
        let same = walk(|number| match number % 2 {
            0 => page(&["a", "b"], Some(&format!("m{number}"))),
            _ => page(&[], Some(&format!("m{number}"))),
        });
        assert_eq!(same, (2, ListingError::SamePage));
        // A name that is listed twice in a row is none of this, nor is the last page.
        let mut listing = Listing::new(Api::default(), "");
        for (names, marker) in [
            (&["a"][..], Some("1")),
            (&["a"], Some("2")),
            (&["a", "b"], Some("3")),
            (&["b", "a"], Some("4")),
            (&["b", "a"], None),
        ] {
            assert_eq!(listing.accept(&page(names, marker)).unwrap().len(), names.len());
        }
        let most = LISTING_BARREN_PAGES;
        let single = walk(|number| page(&["a"], Some(&format!("m{number}"))));
        assert_eq!(single, (most as usize + 1, ListingError::Barren(most + 1)));
    }

    #[test]
    fn a_marker_without_end_is_refused() {
        let mut listing = Listing::new(Api::default(), "");
        listing.accept(&page(&["a"], Some(&"m".repeat(MARKER_BYTES)))).unwrap();
        let long = "m".repeat(MARKER_BYTES + 1);
        let refused = listing.accept(&page(&["b"], Some(&long)));
        assert_eq!(refused, Err(ListingError::LongMarker(MARKER_BYTES + 1)));
        let circle = listing.accept(&page(&["b"], Some(&long[1..]))).unwrap_err();
        assert!(circle.to_string().len() < 200, "{circle}");
    }

    proptest! {
        /// Any server whose next marker depends on the marker that it is asked for, and on nothing
        /// else: its listing ends by itself, or at the first marker that comes again.
        #[test]
        fn no_marker_is_asked_for_twice(
            next in prop::collection::vec(prop::option::weighted(0.95, 0..40_usize), 40),
        ) {
            let mut listing = Listing::new(Api::default(), "");
            let mut asked = HashSet::new();
            let mut at = 0;
            loop {
                let Some(request) = listing.request() else {
                    prop_assert_eq!(next[at], None);
                    break;
                };
                prop_assert!(asked.insert(request.clone()));
                // The first page is that of marker 0, as far as its content goes.
                at = match request.strip_prefix(b"/list?next-marker=") {
                    Some(marker) => std::str::from_utf8(marker).unwrap().parse().unwrap(),
                    None => 0,
                };
                let marker = next[at].map(|marker| marker.to_string());
                let name = format!("n{}", asked.len());
                match listing.accept(&page(&[&name], marker.as_deref())) {
                    Ok(names) => prop_assert_eq!(names.len(), 1),
                    Err(error) => {
                        let again = marker.unwrap();
                        let path = format!("/list?next-marker={again}").into_bytes();
                        prop_assert!(asked.contains(&path), "{again} was not asked for before");
                        prop_assert_eq!(error, ListingError::Circle(again));
                        break;
                    }
                }
            }
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
