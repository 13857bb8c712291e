//! Files that are not what they should be.

use super::*;
use proptest::prelude::*;
use windrow_model::Exit;

/// What is read of a list, and the error at its end, where there has to be one.
fn broken(spec: &ListSpec) -> (Vec<Entry>, Error) {
    match List::open(spec, None) {
        Err(error) => (Vec::new(), error),
        Ok(mut list) => {
            let (entries, error) = read(&mut list);
            (entries, error.expect("an error"))
        }
    }
}

#[test]
fn what_was_read_before_the_end_is_given() {
    let text: String =
        (0..200_000).map(|n| format!("https://h/{n}{}\n", n * 7919 % 1000)).collect();
    let (_dir, spec) = file("l.txt", &text);
    let whole = all(&spec);
    for (name, packed) in
        [("l.txt.gz", gzip(text.as_bytes())), ("l.txt.zst", zstandard(text.as_bytes()))]
    {
        let cut = &packed[..packed.len() / 2];
        let mut bent = packed.clone();
        let end = bent.len();
        bent[end * 3 / 4..].iter_mut().for_each(|byte| *byte ^= 0x55);
        for (what, bytes) in [("cut", cut), ("bent", &bent[..])] {
            let (_dir, spec) = file(name, bytes);
            let (entries, error) = broken(&spec);
            assert_eq!(error.exit(), Exit::Environment, "{name} {what}");
            assert!(entries.len() > 50_000, "{name} {what}: {}", entries.len());
            assert!(whole.starts_with(&entries[..entries.len() - 1]), "{name} {what}");
        }
        let (_dir, spec) = file(name, "");
        assert_eq!(broken(&spec).1.exit(), Exit::Environment);
        // Behind a file in order.
        let (dir, mut spec) = file("a.txt", "https://h/a\n");
        spec.inputs.push(dir.path().join(name));
        std::fs::write(&spec.inputs[1], cut).unwrap();
        assert_eq!(broken(&spec).0[0], entry("h/a", "https://h/a"));
    }
}

#[test]
fn what_is_not_there_or_no_list_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("utf16.txt"), b"\xFF\xFEh\0t\0").unwrap();
    std::fs::create_dir(path("empty")).unwrap();
    for (inputs, exit, what) in [
        (vec![path("none.txt")], Exit::Environment, "cannot read"),
        (vec![path("utf16.txt")], Exit::Usage, "is UTF-16"),
        (vec![path("empty")], Exit::Usage, "has no list in it"),
        (vec![], Exit::Usage, "has no file"),
        (vec!["-".into(), "-".into()], Exit::Usage, "once only"),
    ] {
        let error = List::open(&ListSpec { inputs, ..ListSpec::default() }, None).unwrap_err();
        assert_eq!(error.exit(), exit, "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
}

proptest! {
    #[test]
    fn a_bent_parquet_file_is_an_error_or_a_list(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l.parquet");
        let urls: Vec<_> = (0..90).map(|n| format!("https://h/{n}")).collect();
        let urls: Vec<_> = urls.iter().map(|url| Some(url.as_str())).collect();
        parquet_file(&path, &[("url", &urls)], 40);
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, flip) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        std::fs::write(&path, bytes).unwrap();
        let spec = ListSpec { inputs: vec![path], ..ListSpec::default() };
        if let Ok(mut list) = List::open(&spec, None) {
            // A bent file may claim any number of rows; a hundred pages tell.
            for _ in 0..100 {
                match list.page() {
                    Ok(Some(page)) => drop(entries_of(&page.sheet)),
                    Ok(None) => break,
                    Err(error) => {
                        prop_assert_eq!(error.exit(), Exit::Environment);
                        break;
                    }
                }
            }
        }
    }
}
