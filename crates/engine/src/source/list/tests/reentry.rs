//! However a list comes, is cut into pages and entered again, its entries are the same.

use super::*;
use proptest::prelude::*;
use std::io::Read;

/// Gives its bytes in pieces of these sizes, in turn.
struct Dribble {
    bytes: std::io::Cursor<Vec<u8>>,
    sizes: Vec<usize>,
    turn: usize,
}

impl Read for Dribble {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        self.turn += 1;
        let size = self.sizes[self.turn % self.sizes.len()].min(room.len());
        self.bytes.read(&mut room[..size])
    }
}

/// A list on standard input that is not standard input.
fn dribbling(spec: &ListSpec, text: &[u8], sizes: &[usize], marker: Option<&str>) -> List {
    let form = spec.form.or_else(|| Form::of(&spec.inputs[0])).unwrap();
    let spec = ListSpec { inputs: vec!["-".into()], form: Some(form), ..spec.clone() };
    let mut list = List::open(&spec, marker).unwrap();
    let bytes =
        Dribble { bytes: std::io::Cursor::new(text.to_vec()), sizes: sizes.into(), turn: 0 };
    let text = Text::of("standard input".into(), Box::new(bytes), true).unwrap();
    let mut rows = open_text(text, form, "standard input", &spec).unwrap();
    if list.mark.offset > 0 {
        rows.jump(list.mark.offset, list.mark.lines).unwrap();
    }
    list.rows = Some(rows);
    list
}

/// Enters a list again at each marker that pages of `most` objects give.
fn reenter(spec: &ListSpec, most: usize, whole: &[Entry]) -> Result<(), TestCaseError> {
    let mut list = List::open(spec, None).unwrap();
    list.page.most = most;
    let mut seen = 0;
    while let Some(page) = list.page().unwrap() {
        seen += page.sheet.names.len();
        let Some(next) = page.next else {
            prop_assert_eq!(seen, whole.len(), "the last page");
            prop_assert_eq!(list.page().unwrap(), None);
            break;
        };
        let (rest, error) = read(&mut List::open(spec, Some(&next)).unwrap());
        prop_assert_eq!(error, None);
        prop_assert_eq!(&rest, &whole[seen..], "at {}", next);
    }
    prop_assert_eq!(seen, whole.len());
    Ok(())
}

fn texts() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let line = |parts: &'static [&'static str]| {
        prop::collection::vec(prop::sample::select(parts), 0..40).prop_map(|parts| parts.concat())
    };
    const ENDS: [&str; 4] = ["\n", "\r\n", "", "\n\n"];
    prop_oneof![
        line(&["\n", "\r\n", "# c\n", "https://h/a\n", "http://H:8/b?c ", "no", "\u{e9}", " \n"])
            .prop_map(|text| ("l.txt", text)),
        line(&[
            "\n",
            "\r\n",
            "\"",
            "\"\"",
            ",",
            "https://h/a,1\n",
            "\"https://h/b\nc\",2\r\n",
            "x"
        ])
        .prop_map(|text| ("l.csv", format!("url,n\n{text}"))),
        line(&[
            "\n",
            "\r\n",
            "{\"url\":\"https://h/a\"}\n",
            "{\"url\":\"",
            "https://h/b\"}",
            "{}",
            "1"
        ])
        .prop_map(|text| ("l.jsonl", format!("{{\"url\":\"https://h/0\"}}\n{text}"))),
    ]
    .prop_flat_map(|(name, text)| {
        (Just(name), prop::sample::select(&ENDS[..]), any::<bool>()).prop_map(
            move |(name, end, mark)| {
                let mark = if mark { "\u{feff}" } else { "" };
                (name, format!("{mark}{text}{end}").into_bytes())
            },
        )
    })
}

proptest! {
    #[test]
    fn entries_do_not_depend_on_pages(
        (name, text) in texts(),
        most in 1..5_usize,
        sizes in prop::collection::vec(1..9_usize, 1..5),
    ) {
        let (_dir, spec) = file(name, &text);
        let whole = all(&spec);
        reenter(&spec, most, &whole)?;
        let (_dir, packed) = file(&format!("{name}.gz"), gzip(&text));
        reenter(&packed, most, &whole)?;
        // Through a pipe: pages as they come, entered again at each of them.
        let mut list = dribbling(&spec, &text, &sizes, None);
        list.page.most = most;
        let mut seen = Vec::new();
        while let Some(page) = list.page().unwrap() {
            seen.extend(entries_of(&page.sheet));
            if let Some(next) = page.next {
                let (rest, error) = read(&mut dribbling(&spec, &text, &sizes, Some(&next)));
                prop_assert_eq!(error, None);
                prop_assert_eq!(&rest[..], &whole[seen.len()..]);
            }
        }
        prop_assert_eq!(seen, whole);
    }

    #[test]
    fn entries_do_not_depend_on_row_groups(
        rows in prop::collection::vec(prop::option::weighted(0.8, "https://[a-c]/[a-z]{0,3}|x"), 1..60),
        group in 1..30_usize,
        most in 1..9_usize,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l.parquet");
        let values: Vec<_> = rows.iter().map(|row| row.as_deref()).collect();
        parquet_file(&path, &[("other", &values), ("url", &values)], group);
        let spec = ListSpec { inputs: vec![path], ..ListSpec::default() };
        let whole = all(&spec);
        let malformed = whole.iter().filter(|entry| entry.said.is_err()).count();
        let odd = values.iter().filter(|row| row.is_none_or(|url| url == "x")).count();
        prop_assert_eq!((whole.len(), malformed), (rows.len(), odd));
        reenter(&spec, most, &whole)?;
    }

    #[test]
    fn odd_markers_are_refused(marker in "l1:[0-9:]{0,12}|[ -~]{0,9}") {
        let (_dir, spec) = file("l.txt", "https://h/a\nhttps://h/b\n");
        if let Ok(mut list) = List::open(&spec, Some(&marker)) {
            let (entries, _) = read(&mut list);
            prop_assert!(entries.len() <= 2);
        }
    }
}

#[test]
fn a_pipe_gives_what_it_has() {
    // The first page comes when the first lines are there, not when a thousand are.
    let text = "https://h/a\nhttps://h/b\nhttps://h/c\n".repeat(100);
    let (_dir, spec) = file("l.txt", &text);
    let mut list = dribbling(&spec, text.as_bytes(), &[30], None);
    let page = list.page().unwrap().unwrap();
    assert!((1..=3).contains(&page.sheet.names.len()), "{}", page.sheet.names.len());
    assert_eq!(read(&mut dribbling(&spec, text.as_bytes(), &[30], None)).0, all(&spec));
}

#[test]
fn another_list_is_noticed() {
    let text: String = (0..1500).map(|n| format!("https://h/{n}\n")).collect();
    for name in ["l.txt", "l.txt.gz"] {
        let store = |path: &Path, text: &str| match name {
            "l.txt" => std::fs::write(path, text).unwrap(),
            _ => std::fs::write(path, gzip(text.as_bytes())).unwrap(),
        };
        let (_dir, spec) = file(name, "");
        store(&spec.inputs[0], &text);
        let page = List::open(&spec, None).unwrap().page().unwrap().unwrap();
        for other in [format!("x{text}"), text[..3000].to_owned(), "https://h/\n".to_owned()] {
            store(&spec.inputs[0], &other);
            let error = List::open(&spec, page.next.as_deref()).unwrap().page().unwrap_err();
            assert!(error.to_string().ends_with("is not the list that it was"), "{error}");
        }
    }
}
