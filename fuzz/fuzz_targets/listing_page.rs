//! Any bytes as pages of a listing, a NUL between two: no panic, no question asked twice in a row,
//! a refused page moves nothing, no more names than bytes, and only harmless requests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windrow_engine::source::{Api, Listing};

fuzz_target!(|input: &[u8]| {
    let mut listing = Listing::new(Api::default(), "/base");
    let pages: Vec<&[u8]> = input.split(|&b| b == 0).collect();
    // All, the last again, all again: so markers come back at once and later.
    for page in pages.iter().chain(pages.last()).chain(&pages).take(100) {
        let Some(before) = listing.request() else { break };
        let count = listing.pages();
        match listing.accept(page) {
            Ok(names) => {
                assert!(names.len() <= page.len());
                assert_eq!(listing.pages(), count + 1);
                assert_ne!(listing.request().as_ref(), Some(&before), "the same again");
            }
            Err(error) => {
                assert_eq!(listing.request(), Some(before), "moved in spite of {error}");
                assert_eq!(listing.pages(), count);
            }
        }
        if let Some(path) = listing.request() {
            assert!(path == b"/base/list" || path.starts_with(b"/base/list?next-marker="));
            assert!(path.iter().all(u8::is_ascii_graphic), "{}", path.escape_ascii());
        }
    }
});
