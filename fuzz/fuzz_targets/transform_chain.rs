//! Any text as transforms: a chain or an error of one line; and what a chain is described as is the same chain.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windrow_engine::transform::Chain;

fuzz_target!(|text: &str| {
    let specs: Vec<String> = text.split('\n').map(str::to_owned).collect();
    match Chain::parse(&specs) {
        Ok(chain) => {
            let described = chain.describe();
            let again: Vec<String> = serde_json::from_str(&described).unwrap();
            assert_eq!(Chain::parse(&again).unwrap().describe(), described);
        }
        Err(error) => assert!(!error.to_string().contains('\n')),
    }
});
