//! Any bytes as a list of URLs in any form of text: no panic, every page hangs together, and a list
//! entered again at a marker goes on as it did before. Parquet is left out: its library panics where
//! a file contradicts itself; windrow catches that, libFuzzer does not let it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Write;
use windrow_engine::source::list::{DigestKind, Form, List, ListPage, ListSpec, Naming};
use windrow_model::task::Details;

/// A list that claims to have more pages than that is not read further.
const PAGES: usize = 20;

fuzz_target!(|input: (u8, &[u8])| {
    let (kind, bytes) = input;
    let forms = [Form::Txt, Form::Csv, Form::Tsv, Form::Jsonl];
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    let column = |name: &str, bit: u8| (kind >> bit & 1 == 1).then(|| name.to_owned());
    let spec = ListSpec {
        inputs: vec![file.path().to_owned()],
        form: Some(forms[usize::from(kind) % forms.len()]),
        name_col: column("name", 4),
        size_col: column("size", 5),
        verify_col: column("sum", 6).map(|name| (name, DigestKind::Crc32c)),
        naming: if kind >> 7 == 1 { Naming::Ordinal } else { Naming::Url },
        ..ListSpec::default()
    };
    let Ok(mut list) = List::open(&spec, None) else { return };
    let mut marker: Option<String> = None;
    for _ in 0..PAGES {
        let Ok(Some(page)) = list.page() else { break };
        check(&page);
        assert_eq!(page.asked, marker);
        let mut again = List::open(&spec, marker.as_deref()).expect("it was opened before");
        assert_eq!(again.page().expect("it was read before"), Some(page.clone()));
        marker = page.next;
        if marker.is_none() {
            assert!(matches!(list.page(), Ok(None)), "a page behind the last one");
            break;
        }
    }
});

fn check(page: &ListPage) {
    let details = page.sheet.details.as_ref().expect("a list has details");
    let count = page.sheet.names.len();
    assert!(count > 0 && details.origin.len() == count && details.targets.len() == count);
    for (index, target) in details.targets.iter().enumerate() {
        assert!(!page.sheet.names.get(index).unwrap_or_default().is_empty());
        let nowhere = details.origin[index] == Details::NOWHERE;
        assert_eq!(nowhere, details.malformed(index).is_some());
        assert_eq!(nowhere, target.is_empty());
        assert!(nowhere || target[0] == b'/' && target.iter().all(u8::is_ascii_graphic));
        assert!(nowhere || (details.origin[index] as usize) < details.origins.len());
    }
}
