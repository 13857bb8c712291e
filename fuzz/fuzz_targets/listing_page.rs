//! Any bytes as pages of a listing: no panic, no circle, and no more names than bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windrow_engine::source::{Api, Listing};

fuzz_target!(|input: (&[u8], &[u8])| {
    let (first, second) = input;
    let mut listing = Listing::new(Api::default(), "/base");
    // The first page twice in a row, too: behind the third page only the last marker tells.
    for page in [first, second, first, first, second] {
        let Some(before) = listing.request() else { break };
        let pages = listing.pages();
        match listing.accept(page) {
            Ok(names) => {
                assert!(names.len() <= page.len());
                assert_eq!(listing.pages(), pages + 1);
                // The same question again would be a circle.
                assert_ne!(listing.request().as_ref(), Some(&before));
            }
            Err(error) => {
                assert_eq!(listing.request(), Some(before), "moved in spite of {error}");
                assert_eq!(listing.pages(), pages);
            }
        }
        if let Some(path) = listing.request() {
            assert!(path.starts_with(b"/base/list?next-marker=") || path == b"/base/list");
            assert!(path.iter().all(u8::is_ascii_graphic), "{}", path.escape_ascii());
        }
    }
});
