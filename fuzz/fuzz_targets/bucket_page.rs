//! Any bytes as pages of a bucket's listing, a NUL between two, as answers to whatever is asked for
//! next: no panic, keys in order and none twice, no more of them than bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windrow_engine::source::bucket::{Split, read, refusal};

fuzz_target!(|input: &[u8]| {
    let mut split = Split::new("", None, 4);
    let mut asked = Vec::new();
    let mut last: Option<Vec<u8>> = None;
    let mut pages = 0;
    for body in input.split(|&b| b == 0).take(100) {
        let _ = refusal(body);
        let Ok(page) = read(body) else { continue };
        assert!(page.keys.len() <= body.len());
        assert!(page.listed.len() == page.keys.len() && page.modified.len() == page.keys.len());
        asked.extend(std::iter::from_fn(|| split.ask()));
        // The latest first: answers come in any order.
        let Some(ask) = asked.pop() else { break };
        if split.accept(ask.id, page).is_err() {
            break;
        }
        while let Some(chunk) = split.take() {
            pages += 1;
            // One page that is all there is may be in any order.
            if chunk.next.is_none() && pages == 1 {
                break;
            }
            for key in chunk.page.keys.iter() {
                assert!(last.as_deref().is_none_or(|last| last < key));
                last = Some(key.to_vec());
            }
        }
    }
});
