//! Any bytes as an image: no panic in a decoder that is not caught, bounded memory, and what is written can be
//! read again and has the size that was asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use windrow_engine::transform::{Chain, Lane, Object, Outcome};

thread_local! {
    static LANE: RefCell<Lane> = RefCell::default();
}

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, bytes) = input;
    // Without it half of the inputs would be no image.
    let magic: &[u8] = match choice % 8 {
        0 => b"\xFF\xD8\xFF",
        1 => b"\x89PNG\r\n\x1A\n",
        2 => b"RIFF\0\x10\0\0WEBP",
        3 => b"GIF89a",
        4 => b"II*\0",
        5 => b"BM",
        _ => b"",
    };
    let object = Object { body: [magic, bytes].concat(), ..Object::default() };
    let specs = [
        "resize=16,format=png",
        "resize=20x10,mode=crop",
        "resize=9,mode=fill,only-shrink",
        "verify",
    ];
    let chain = Chain::parse(&[specs[usize::from(choice / 8) % 4].to_owned()]).unwrap();
    LANE.with_borrow_mut(|lane| {
        let sized = Chain::parse(&["drop-if=width>0".to_owned()]).unwrap();
        let _ = sized.apply(object.clone(), lane);
        match chain.apply(object, lane) {
            Ok(Outcome::Keep(made)) if choice / 8 % 4 < 3 => {
                // What was made is an image, and a whole one.
                let again =
                    Chain::parse(&["verify".to_owned(), "drop-if=width>16384".to_owned()]).unwrap();
                assert!(matches!(again.apply(made, lane), Ok(Outcome::Keep(_))));
            }
            Ok(_) => {}
            // A decoder's panic is caught and told, and is to be known all the same.
            Err(failed) => {
                assert_ne!(failed.failure.detail, "the transform panicked", "{failed:?}")
            }
        }
    });
});
