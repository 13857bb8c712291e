//! What each form says.

use super::*;
use windrow_model::limits::LIST_PAGE_OBJECTS;
use windrow_model::task::{Digest, Expected};

#[test]
fn txt_has_one_url_a_line() {
    let (_dir, spec) = file(
        "l.txt",
        b"\xEF\xBB\xBF# comment\r\n\r\n https://h/a \r\n  # more\nhttps://h/b c\nnot a url\n\xFF\nhttps://H/?X-Amz-Signature=s\nhttps://h/\xC3\xA9\nhttps://h/f#g\nhttps://h/=***\nhttp://[::1]:9/z",
    );
    let expected = [
        entry("h/a", "https://h/a"),
        entry("h/b%20c", "https://h/b%20c"),
        bad("line-6", 6, "not an http or https URL"),
        bad("line-7", 7, "not UTF-8"),
        entry("h/", "https://h/?X-Amz-Signature=s"),
        entry("h/%C3%A9", "https://h/%C3%A9"),
        bad("line-10", 10, "a fragment (`#`) names nothing on a server; in a name it is `%23`"),
        bad("line-11", 11, "its secrets were cut"),
        entry("[::1]:9/z", "http://[::1]:9/z"),
    ];
    assert_eq!(all(&spec), expected);
    // Whatever way they come.
    let text = std::fs::read(&spec.inputs[0]).unwrap();
    let (one, two) = text.split_at(text.len() / 2);
    for (name, bytes) in [
        ("l.txt.gz", [gzip(one), gzip(two)].concat()),
        ("l.txt.zst", [zstandard(one), zstandard(two)].concat()),
        ("l.txt", [gzip(one), gzip(two)].concat()),
    ] {
        let (_dir, spec) = file(name, bytes);
        assert_eq!(all(&spec), expected, "{name}");
    }
    let (_dir, spec) = file("l.txt", "\n# nothing\n\n");
    assert_eq!(all(&spec), []);
    let (_dir, spec) = file("l.txt", "");
    assert_eq!(all(&spec), []);
}

#[test]
fn csv_has_fields_and_quotes() {
    let text = "\u{feff}id,URL,file\n\
        1,https://h/a,x/1\r\n\
        \n\
        \"2\",\"https://h/b?c,d\",\"two \"\"2\"\"\nlines\"\r\n\
        3,https://h/c\n\
        4,,x\n\
        5,https://h/e,\n\
        6,https://h/a\"b,six\n\
        7,https://h/g,\"se\r\nven\"";
    let (_dir, mut spec) = file("l.csv", text);
    assert_eq!(
        all(&spec),
        [
            entry("h/a", "https://h/a"),
            entry("h/b?c,d", "https://h/b?c,d"),
            bad("line-6", 6, "not as many fields as in the header"),
            bad("line-7", 7, "no URL"),
            entry("h/e", "https://h/e"),
            entry("h/a%22b", "https://h/a%22b"),
            entry("h/g", "https://h/g"),
        ]
    );
    spec.name_col = Some("file".into());
    let names: Vec<_> = all(&spec).into_iter().map(|entry| entry.name).collect();
    assert_eq!(
        names,
        ["x/1", "two \"2\"\nlines", "line-6", "line-7", "line-8", "six", "se\r\nven"]
    );
    let (_dir, spec) = file("l.tsv", "n\tlink\n1\thttps://h/a,b\n\"2\"\t\"https://h/c\td\"\n");
    assert_eq!(all(&spec), [entry("h/a,b", "https://h/a,b"), entry("h/c%09d", "https://h/c%09d")]);
    let (_dir, spec) = file("l.csv", "");
    assert_eq!(all(&spec), []);
}

#[test]
fn a_stray_quote_costs_one_line() {
    for end in ["", "\n", "\n2,https://h/c\n", &"\n2,https://h/c".repeat(100_000)] {
        let (_dir, spec) = file("l.csv", format!("id,url\n\"1,https://h/a\n2,https://h/b{end}"));
        let found = all(&spec);
        assert_eq!(found[0], bad("line-2", 2, "a quote that is not closed"));
        assert_eq!(found[1], entry("h/b", "https://h/b"));
        assert_eq!(found.len(), 2 + end.matches("url").count() + end.matches("h/c").count());
    }
}

#[test]
fn columns_are_found_or_told() {
    for (header, url_col, expected) in [
        ("a,url,uri", None, Ok(1)),
        ("a,Uri,link", None, Ok(1)),
        ("address", None, Ok(0)),
        ("a,b", Some("b"), Ok(1)),
        ("a,b", Some("B"), Ok(1)),
        ("\"a\",\" b \"", Some("b"), Ok(1)),
        ("a,b", None, Err("has no column `url`: its columns are a, b")),
        ("url,b", Some("c"), Err("has no column `c`: its columns are url, b")),
        ("https://h/a", None, Err("has no header line: there is a URL in its first line")),
        ("\"a", None, Err("has no header line: a quote in its first line is not closed")),
    ] {
        let row = ["https://h/0,https://h/1,https://h/2", "https://h/0,https://h/1", "https://h/0"]
            [3 - header.split(',').count()];
        let (_dir, mut spec) = file("l.csv", format!("{header}\n{row}\n"));
        spec.url_col = url_col.map(str::to_owned);
        match expected {
            Ok(index) => assert_eq!(all(&spec)[0].name, format!("h/{index}"), "{header}"),
            Err(why) => {
                let error = List::open(&spec, None).unwrap_err();
                assert!(error.to_string().ends_with(why), "{error}");
                assert_eq!(error.exit(), windrow_model::Exit::Usage);
            }
        }
    }
}

#[test]
fn jsonl_has_objects() {
    let text = concat!(
        r#"{"url":"https://h/a","n":1}"#,
        "\n\n",
        r#" {"x":[{"url":"no"}],"URL":"https:\/\/h\/b","file":"b\u00e9"} "#,
        "\r\n",
        r#"{"only":"https://h/c"}"#,
        "\n{\"url\":\"https://h/d\"\n[1]\n{\"url\":7,\"a\":1}\n{\"url\":null,\"a\":1}\n",
        r#"{"a":"https://h/e","b":1}"#,
        "\n",
        r#"{"url":"https://h/f"} x"#,
        "\n",
        r#"{"url":"https://h/no","url":"https://h/last","link":"https://h/l"}"#,
    );
    let (_dir, spec) = file("l.jsonl", text);
    assert_eq!(
        all(&spec),
        [
            entry("h/a", "https://h/a"),
            entry("h/b", "https://h/b"),
            entry("h/c", "https://h/c"),
            bad("line-5", 5, "not a JSON object"),
            bad("line-6", 6, "not a JSON object"),
            bad("line-7", 7, "the URL is no text"),
            bad("line-8", 8, "the URL is no text"),
            bad("line-9", 9, "no URL"),
            bad("line-10", 10, "not a JSON object"),
            entry("h/last", "https://h/last"),
        ]
    );
    let (_dir, mut spec) =
        file("l.jsonl", "{\"u\":\"https://h/a\",\"f\":\"x\"}\n{\"u\":\"https://h/b\"}\n");
    spec.url_col = Some("u".into());
    spec.name_col = Some("f".into());
    assert_eq!(all(&spec), [entry("x", "https://h/a"), bad("line-2", 2, "no name")]);
    spec.url_col = None;
    let error = List::open(&spec, None).unwrap_err().to_string();
    assert!(error.ends_with("has no column `url`: its columns are f, u"), "{error}");
}

#[test]
fn failed_objects_keep_their_names() {
    let text = concat!(
        r#"{"ordinal":7,"name":"a b","url":"http://h/get/a%20b","class":"server","attempts":6}"#,
        "\n",
        r#"{"ordinal":8,"name":"?","name_encoded":"%FF%41","url":"http://h/get/x","class":"server"}"#,
        "\n",
        r#"{"ordinal":9,"name":"c","url":"http://h/get/c?key=***","class":"server"}"#,
        "\n",
        r#"{"ordinal":9,"name":"d","name_encoded":"%F","url":"http://h/get/c","class":"server"}"#,
        "\n",
        r#"{"name":"no failure","url":"http://h/get/e"}"#,
    );
    let (_dir, mut spec) = file("failures.jsonl", text);
    assert_eq!(
        all(&spec),
        [
            entry("a b", "http://h/get/a%20b"),
            entry("\u{fffd}A", "http://h/get/x"),
            bad("line-3", 3, "its secrets were cut"),
            bad("line-4", 4, "an odd name_encoded"),
            entry("h:80/get/e", "http://h/get/e"),
        ]
    );
    spec.naming = Naming::Ordinal;
    assert_eq!(all(&spec)[1].name, "000000000001");
}

#[test]
fn numbers_stand_for_names() {
    let (_dir, mut spec) =
        file("l.txt", "https://h/a.JPG?b.c\nno\nhttps://h/a\n#\nhttps://h/.tar.gz\n");
    spec.naming = Naming::Ordinal;
    let names: Vec<_> = all(&spec).into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["000000000000.jpg", "line-2", "000000000002", "000000000003.gz"]);
}

#[test]
fn sizes_checksums_and_expiry_go_along() {
    let text = "url,n,sum\n\
        https://h/a,5,e3069283\n\
        https://h/b,,\n\
        https://h/c,x,\n\
        https://h/d,1,zz\n\
        https://h/e?Expires=77&Signature=s,,4waSgw==\n";
    let (_dir, mut spec) = file("l.csv", text);
    spec.size_col = Some("n".into());
    spec.verify_col = Some(("sum".into(), DigestKind::Crc32c));
    let page = List::open(&spec, None).unwrap().page().unwrap().unwrap();
    let details = page.sheet.details.as_ref().unwrap();
    let digest = Some(Digest::Crc32c(0xe306_9283));
    let none = Expected::default();
    assert_eq!(
        details.expected,
        [Expected { size: Some(5), digest }, none, none, none, Expected { size: None, digest }]
    );
    assert_eq!(details.expiry, [0, 0, 0, 0, 77]);
    let whys: Vec<_> = details.malformed.iter().map(|line| (line.line, line.why)).collect();
    assert_eq!(whys, [(4, "the size is no number"), (5, "the checksum is not as it should be")]);
    assert_eq!((page.asked, page.next), (None, None));
    let line = r#"{"url":"https://h/a","n":5,"sum":"e3069283"}"#;
    let (_dir, json) = file("l.jsonl", format!("{line}\n{}", line.replace('5', "-5")));
    spec.inputs = json.inputs;
    let page = List::open(&spec, None).unwrap().page().unwrap().unwrap();
    let details = page.sheet.details.unwrap();
    assert_eq!(details.expected[0], Expected { size: Some(5), digest });
    assert_eq!(details.malformed[0].why, "the size is no number");
}

#[test]
fn what_is_too_long_is_passed_over() {
    let long = "x".repeat(3 << 20);
    let path = "x".repeat(33 << 10);
    let host = "x".repeat(300);
    let (_dir, spec) = file(
        "l.txt",
        format!("https://h/{long}\nhttps://h/a\nhttps://h/{path}\nhttps://{host}/\n{long}"),
    );
    assert_eq!(
        all(&spec),
        [
            bad("line-1", 1, "longer than 1 MiB"),
            entry("h/a", "https://h/a"),
            bad("line-3", 3, "the URL is longer than 32 KiB"),
            bad("line-4", 4, "the host is longer than 255 bytes"),
            bad("line-5", 5, "longer than 1 MiB"),
        ]
    );
}

#[test]
fn several_files_and_directories() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("b.txt"), "https://h/b\nno\n").unwrap();
    std::fs::write(path("c.txt"), "\n").unwrap();
    std::fs::write(path("d.csv.gz"), gzip(b"url\nhttps://h/d\n")).unwrap();
    std::fs::write(path("a.jsonl"), "{\"url\":\"https://h/a\"}").unwrap();
    for other in ["README", ".x.txt", "_SUCCESS"] {
        std::fs::write(path(other), "no list").unwrap();
    }
    let mut spec = ListSpec { inputs: vec![dir.path().into()], ..ListSpec::default() };
    assert_eq!(
        all(&spec),
        [
            entry("h/a", "https://h/a"),
            entry("h/b", "https://h/b"),
            bad("file-2-line-2", 2, "not an http or https URL"),
            entry("h/d", "https://h/d"),
        ]
    );
    spec.inputs = vec![path("b.txt"), path("README")];
    assert!(List::open(&spec, None).unwrap_err().to_string().contains("README: what is it?"));
    spec.form = Some(Form::Txt);
    assert_eq!(all(&spec).last(), Some(&bad("file-2-line-1", 1, "not an http or https URL")));
}

#[test]
fn a_sample_is_a_part_in_order() {
    let text: String = (0..25_000)
        .map(|n| match n % 10 {
            3 => format!("line {n}\n"),
            _ => format!("# comment\nhttps://h{}/{n}\n", n % 7),
        })
        .collect();
    let (_dir, mut spec) = file("l.txt", text);
    let whole = all(&spec);
    for count in [0, 1, 1500, 24_999, 25_000, 30_000] {
        spec.sample = Some(Sample { count, seed: 5 });
        let some = all(&spec);
        assert_eq!(some.len() as u64, count.min(25_000));
        let mut rest = whole.iter();
        assert!(some.iter().all(|entry| rest.any(|other| other == entry)), "in order, each once");
        if count == 1500 {
            let page = List::open(&spec, None).unwrap().page().unwrap().unwrap();
            assert_eq!(page.sheet.names.len(), LIST_PAGE_OBJECTS);
            let mut again = List::open(&spec, page.next.as_deref()).unwrap();
            assert_eq!(read(&mut again).0, some[LIST_PAGE_OBJECTS..]);
        }
    }
    spec.sample = Some(Sample { count: 25_000, seed: 9 });
    assert_eq!(all(&spec), whole);
}
