//! Lists of URLs: every form of them, how objects are named, and what is wrong with a line.

use crate::support::{Objects, Place, assert_same, by_url, pack_sizes, stored, urls, windrow};
use std::io::Write as _;
use std::path::Path;
use windrow_testkit::script::{Site, body_of, http};
use windrow_testkit::{Finished, Script, Windrow};

const FORMATS: [&[&str]; 2] = [&["--format", "files"], &["--format", "tar", "--shard-size", "7"]];

/// `windrow get SOURCE ...` into `out`, of several sources.
fn get(place: &Place, sources: &[&str]) -> Windrow {
    place.get(sources[0]).args(&sources[1..])
}

/// `windrow get -` that reads a file as its standard input.
fn piped(place: &Place, stdin: &str) -> Windrow {
    let script = r#"in="$0"; exec "$@" < "$in""#;
    get(place, &["-"]).under("sh", &["-c".into(), script.into(), stdin.into()])
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).expect("it can be done");
    out.finish().expect("it can be done")
}

fn zstandard(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).expect("it can be done")
}

/// A parquet file of columns of text, in row groups of 7.
fn parquet_file(path: &Path, columns: &[(&str, Vec<String>)]) {
    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::writer::SerializedFileWriter;
    use std::sync::Arc;
    let fields: String =
        columns.iter().map(|(name, _)| format!("REQUIRED BYTE_ARRAY {name} (UTF8); ")).collect();
    let schema = parquet::schema::parser::parse_message_type(&format!("message l {{ {fields} }}"));
    let file = std::fs::File::create(path).expect("it can be done");
    let mut writer =
        SerializedFileWriter::new(file, Arc::new(schema.expect("it can be done")), Arc::default())
            .expect("it can be done");
    let rows = columns[0].1.len();
    for from in (0..rows).step_by(7) {
        let mut group = writer.next_row_group().expect("it can be done");
        for (_, values) in columns {
            let values = &values[from..rows.min(from + 7)];
            let values: Vec<_> = values.iter().map(|value| ByteArray::from(&**value)).collect();
            let mut column = group.next_column().expect("it can be done").expect("it can be done");
            column
                .typed::<ByteArrayType>()
                .write_batch(&values, None, None)
                .expect("it can be done");
            column.close().expect("it can be done");
        }
        group.close().expect("it can be done");
    }
    writer.close().expect("it can be done");
}

/// The numbers of what was fetched, from names that end in `n7` or `000000000007`.
fn numbers(objects: &Objects) -> Vec<usize> {
    let number = |name: &Vec<u8>| {
        let name = String::from_utf8_lossy(name).into_owned();
        name.rsplit_once("/n").and_then(|(_, number)| number.parse().ok()).expect("a number")
    };
    let mut numbers: Vec<_> = objects.keys().map(number).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn every_form() {
    let site = Site::numbered(40);
    let server = site.start();
    let url = server.url();
    let all: Vec<_> = (0..40).map(|number| format!("{url}/get/n{number}")).collect();
    let place = Place::new();
    let rows = |head: &str, row: &dyn Fn(&str) -> String| {
        let rows: String = all.iter().map(|url| row(url)).collect();
        format!("{head}{rows}")
    };
    let plain = rows("", &|url| format!("{url}\n"));
    let odd = rows("\u{feff}# a comment\r\n\r\n", &|url| format!("{url}\r\n \r\n  # more\r\n"));
    let csv = rows("id,URL,note\r\n", &|url| format!("7,\"{url}\",\"a, \"\"b\"\"\nc\"\r\n"));
    let tsv = rows("note\turl\n", &|url| format!("x, y\t{url}\n"));
    let jsonl = rows("", &|url| format!("{{\"note\": [1, {{}}], \"url\": \"{url}\"}}\n\n"));
    let sources = [
        place.file("plain.txt", plain.trim_end()),
        place.file("odd.txt", &odd),
        place.file("l.urls", &plain),
        place.file("l.csv", &csv),
        place.file("l.tsv", &tsv),
        place.file("l.jsonl", &jsonl),
        place.file("l.ndjson", &jsonl),
        place.file("l.txt.gz", gzip(odd.as_bytes())),
        place.file("l.csv.zst", zstandard(csv.as_bytes())),
        place.file("l.jsonl.gz", gzip(jsonl.as_bytes())),
        // What it is shows in its first bytes, whatever it is called.
        place.file("gzip.txt", gzip(plain.as_bytes())),
        place.at("l.parquet").to_str().expect("it can be done").to_owned(),
    ];
    parquet_file(&place.at("l.parquet"), &[("url", all)]);
    let expected = by_url(&url, &site.objects());
    for (number, source) in sources.iter().enumerate() {
        let get = windrow().get(source, &place.at(&format!("out-{number}")));
        let done = get.args(FORMATS[number % 2]).run().complete(40);
        assert_same(&stored(&done), &expected);
    }
}

#[test]
fn several_files_a_folder_and_standard_input() {
    let site = Site::numbered(30);
    let server = site.start();
    let part = |from: usize, to: usize| -> String {
        (from..to).map(|number| format!("{}/get/n{number}\n", server.url())).collect()
    };
    let place = Place::new();
    std::fs::create_dir(place.at("lists")).expect("it can be done");
    place.file("lists/b.txt", part(0, 10));
    place.file("lists/a.csv.gz", gzip(format!("url\n{}", part(10, 20)).as_bytes()));
    place.file("lists/README.md", "no list");
    place.file("lists/.hidden.txt", "no list");
    let rest = place.file("rest", part(20, 30));
    let folder = place.at("lists");
    let folder = folder.to_str().expect("it can be done");
    let expected = by_url(&server.url(), &site.objects());

    let get = get(&place, &[folder, &rest]).args(["--list-format", "txt"]);
    get.run().expect(1);
    let place = Place::new();
    let rest = place.file("rest.txt", part(20, 30));
    let done = crate::lists::get(&place, &[&rest, folder]).run().complete(30);
    assert_same(&stored(&done), &expected);

    let place = Place::new();
    let all = place.file("all", part(0, 30));
    assert_same(&stored(&piped(&place, &all).run().complete(30)), &expected);
    let place = Place::new();
    let csv = place.file("csv", format!("link,n\n{}", part(0, 30).replace('\n', ",1\n")));
    let done = piped(&place, &csv).args(["--list-format", "csv"]).run().complete(30);
    assert_same(&stored(&done), &expected);
    let place = Place::new();
    let packed = place.file("packed", gzip(part(0, 30).as_bytes()));
    assert_same(&stored(&piped(&place, &packed).run().complete(30)), &expected);
}

#[test]
fn columns_of_urls_and_names() {
    let site = Site::numbered(12);
    let server = site.start();
    let url = server.url();
    let place = Place::new();
    let address = |number: usize| format!("{url}/get/n{number}");
    let name = |number: usize| format!("set {}/im\u{e9}-{number}.jpg", number % 3);
    let expected: Objects = (0..12)
        .map(|number| (name(number).into_bytes(), body_of(format!("n{number}").as_bytes())))
        .collect();
    let rows = |row: &dyn Fn(usize) -> String| (0..12).map(row).collect::<String>();
    let csv = rows(&|n| format!("http://wrong/,{},{}\n", name(n), address(n)));
    let jsonl = rows(&|n| format!("{{\"at\":\"{}\",\"file\":\"{}\"}}\n", address(n), name(n)));
    let columns = [("at", (0..12).map(address).collect()), ("file", (0..12).map(name).collect())];
    parquet_file(&place.at("l.parquet"), &columns);
    let parquet = place.at("l.parquet").to_str().expect("it can be done").to_owned();
    let sources =
        [place.file("l.csv", format!("url,file,at\n{csv}")), place.file("l.jsonl", jsonl), parquet];
    for (number, source) in sources.iter().enumerate() {
        let get = windrow().get(source, &place.at(&format!("out-{number}")));
        let get = get.args(["--url-col", "at", "--name-col", "file"]).args(FORMATS[number % 2]);
        assert_same(&stored(&get.run().complete(12)), &expected);
    }
}

#[test]
fn names_that_urls_give() {
    let server = Script::start(|request| http::send_ok(request.target.as_bytes()));
    let host = server.url().replace("http://", "");
    let place = Place::new();
    let cases = [
        ("", "/"),
        ("/a/b.jpg?v=2&w=3", "/a/b.jpg?v=2&w=3"),
        ("/a%20b", "/a%20b"),
        ("/a b\u{e9}", "/a%20b%C3%A9"),
        ("/signed?X-Amz-Signature=canary&X-Amz-Date=20990101T000000Z&X-Amz-Expires=9", "/signed"),
        ("/sas?sv=1&sig=canary&se=2099-01-01&part=7", "/sas?part=7"),
        ("/cf?Key-Pair-Id=canary&Signature=canary&Expires=4070908800", "/cf"),
    ];
    let list: String = cases.iter().map(|(url, _)| format!("{}{url}\n", server.url())).collect();
    let list = place.file(
        "l.txt",
        list + &server.url().to_uppercase().replace("HTTP", "http") + "/UP?token=canary\n",
    );
    let done = get(&place, &[&list]).run().complete(8);
    let mut found = stored(&done);
    for (_, name) in cases {
        let name = format!("{host}{name}");
        assert!(found.remove(name.as_bytes()).is_some(), "{name}: {:?}", found.keys());
    }
    let (last, _) = found.pop_first().expect("one is left");
    let last = String::from_utf8(last).expect("it can be done");
    let hashed = last.strip_prefix(&format!("{host}/UP?token=~")).expect("a hash").to_owned();
    assert!(hashed.len() == 16 && hashed.bytes().all(|b| b.is_ascii_hexdigit()), "{last}");
    assert!(server.targets("/UP").contains(&"/UP?token=canary".to_owned()), "asked with it");
}

#[test]
fn numbers_for_names() {
    let site = Site::new(["a.jpg", "b.tar.gz", "c", "d.JPG"]);
    let server = site.start();
    let place = Place::new();
    let list = place.file("l.txt", format!("{}no url\n", urls(&server.url(), &site.objects())));
    let done = get(&place, &[&list]).args(["--name", "ordinal"]).run().expect(1).sum_holds();
    let expected: Objects = [
        ("000000000000.jpg", "a.jpg"),
        ("000000000001.gz", "b.tar.gz"),
        ("000000000002", "c"),
        ("000000000003.jpg", "d.JPG"),
    ]
    .map(|(number, name)| (number.into(), body_of(name.as_bytes())))
    .into();
    assert_same(&stored(&done), &expected);
}

#[test]
fn a_name_twice() {
    let site = Site::numbered(3);
    let server = site.start();
    let url = server.url();
    for (format, members) in [("files", 0), ("tar", 4)] {
        let place = Place::new();
        let rows = [("same", "n0"), ("other", "n1"), ("same", "n2"), ("other", "n1")];
        let rows = rows.map(|(name, object)| format!("{url}/get/{object},{name}\n")).concat();
        let list = place.file("l.csv", format!("url,name\n{rows}"));
        let before = server.targets("/get/").len();
        // One after the other, so that the last listed is the last stored.
        let one = ["--name-col", "name", "--cores", "1", "-c", "1", "--format", format];
        let done = windrow().get(&list, &place.at("out")).args(one).run().complete(4);
        assert_eq!(server.targets("/get/").len() - before, 4, "each line is fetched");
        if format == "tar" {
            assert_eq!(pack_sizes(&place.at("out")), [members], "both are members");
        } else {
            let expected: Objects = [("same", "n2"), ("other", "n1")]
                .map(|(n, o)| (n.into(), body_of(o.as_bytes())))
                .into();
            assert_same(&done.tree().objects(), &expected);
        }
        let found = windrow().arg("verify").arg(place.at("out")).run();
        assert_eq!(found.code, Some(0), "{}{}", found.stdout, found.stderr);
        // Nothing is done again.
        windrow().get(&list, &place.at("out")).args(one).run().complete(4);
        assert_eq!(server.targets("/get/").len() - before, 4);
    }
}

/// The failed lines: name, line, what is wrong.
fn malformed(done: &Finished) -> Vec<(String, u64, String)> {
    let mut lines: Vec<_> = done
        .failures()
        .iter()
        .map(|line| {
            assert_eq!(line["class"], "malformed", "{line}");
            let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
            (text("name"), line["line"].as_u64().unwrap_or(0), text("error"))
        })
        .collect();
    lines.sort_unstable();
    lines
}

#[test]
fn lines_that_are_no_objects() {
    let site = Site::numbered(5);
    let server = site.start();
    let url = server.url();
    let good = urls(&url, &site.objects());
    let expected = by_url(&url, &site.objects());
    let place = Place::new();
    let long = "x".repeat(2 << 20);
    let mut txt = b"no url\n# fine\n\nftp://h/x\nhttp://\nhttp://u:pw@h/\n\xff\xfe\n".to_vec();
    txt.extend_from_slice(good.as_bytes());
    txt.extend_from_slice(
        format!("http://h/{long}\nhttp://h:99999/\n{url}/get/n0#part").as_bytes(),
    );
    let list = place.file("l.txt", txt);
    for format in FORMATS {
        let place = Place::new();
        let done = get(&place, &[&list]).args(format).run().expect(1).sum_holds();
        let lines: Vec<_> =
            malformed(&done).iter().map(|(name, line, _)| (name.clone(), *line)).collect();
        // A URL with a fragment is none: what is behind the `#` would never be asked for.
        let told: Vec<_> =
            [1, 13, 14, 15, 4, 5, 6, 7].map(|line| (format!("line-{line}"), line)).into();
        assert_eq!(lines, told);
        let done = done.figures([("failed", 8), ("stored", 5)]);
        assert_same(&stored(&done), &expected);
        assert!(!done.stderr.contains("pw"), "{}", done.stderr);
        // Again: they fail again, and nothing is asked for.
        let asked = server.requests().len();
        let done = get(&place, &[&list]).args(format).run().expect(1).sum_holds();
        assert_eq!((malformed(&done).len(), server.requests().len()), (8, asked));
    }
    // The other forms.
    let row = |rest: &str| format!("{url}/get/n0{rest}\n");
    let csv = format!("url,name,size\n{}{}{}", row(",a,5"), row(""), row(",,1"));
    let jsonl =
        format!("{{\n[]\n{{\"url\": 7}}\n{{\"name\":\"x\"}}\n{{\"url\":\"{url}/get/n0\"}}\n");
    let cases = [("l.csv", csv, vec![3, 4]), ("l.jsonl", jsonl, vec![1, 2, 3, 4])];
    for (name, text, wrong) in cases {
        let place = Place::new();
        let list = place.file(name, text);
        let columns: &[&str] = if name == "l.csv" { &["--name-col", "name"] } else { &[] };
        let done = get(&place, &[&list]).args(columns).run().expect(1).sum_holds();
        let lines: Vec<_> = malformed(&done).iter().map(|&(_, line, _)| line).collect();
        assert_eq!(lines, wrong, "{name}: {:?}", malformed(&done));
        done.figures([("stored", 1)]);
    }
    // Of several files: which.
    let place = Place::new();
    let (a, b) = (place.file("a.txt", &good), place.file("b.txt", "\nno\n"));
    let done = get(&place, &[&a, &b]).run().expect(1).sum_holds();
    let [(name, line, _)] = &malformed(&done)[..] else { panic!("one line") };
    assert_eq!((&**name, *line), ("file-2-line-2", 2));
    assert_same(&stored(&done), &expected);
}

#[test]
fn lists_that_are_none() {
    let place = Place::new();
    let there = place.file("l.csv", "address,name\nhttp://127.0.0.1:9/,n\n");
    let jsonl = place.file("l.jsonl", "{\"address\":\"http://127.0.0.1:9/\"}\n");
    let odd = place.file("list.doc", "");
    let utf16 = place.file("utf16.txt", b"\xFF\xFEh\0t\0");
    std::fs::create_dir(place.at("empty")).expect("it can be done");
    let empty = place.at("empty").to_str().expect("it can be done").to_owned();
    parquet_file(&place.at("l.parquet"), &[("address", vec!["x".into()]), ("b", vec!["y".into()])]);
    let parquet = place.at("l.parquet").to_str().expect("it can be done").to_owned();
    let cut = place.file("cut.parquet", b"PAR1");
    let missing = place.at("missing.txt").to_str().expect("it can be done").to_owned();
    let cases: [(&[&str], &[&str], &[&str]); 12] = [
        (&[&missing], &[], &["missing.txt", "no such file"]),
        (&[&there, &missing], &[], &["missing.txt", "no such file"]),
        (&[&there], &[], &["l.csv", "no column `url`", "address, name", "--url-col"]),
        (&[&there], &["--url-col", "link"], &["no column `link`", "address, name"]),
        (&[&there], &["--url-col", "address", "--name-col", "file"], &["no column `file`"]),
        (&[&parquet], &[], &["l.parquet", "no column `url`", "address, b", "--url-col"]),
        (&[&odd], &[], &["list.doc", "hint: ", "--list-format"]),
        (&["-", "-"], &[], &["standard input", "once"]),
        (&[&empty], &[], &["has no list in it", "hint: "]),
        (&[&there, "http://127.0.0.1:9"], &[], &["one of several sources", "hint: "]),
        (&[&there], &["--verify-col", "x:md4"], &["--verify-col", "md5"]),
        (&[&there], &["--list-format", "xml"], &["--list-format", "csv"]),
    ];
    for (sources, flags, says) in cases {
        let done = get(&place, sources).args(flags).run();
        let done = done.expect(2).says(says.iter().copied());
        assert!(!place.at("out").exists() && done.stdout.is_empty(), "no trace is left");
    }
    // What is there and is none.
    for (source, flags) in [(&cut, &[][..]), (&utf16, &[]), (&jsonl, &["--url-col", "link"])] {
        let done = get(&place, &[source]).args(flags).run();
        assert!(matches!(done.code, Some(2 | 4)), "{source}: {:?} {}", done.code, done.stderr);
        assert!(
            done.stderr.contains(source.rsplit('/').next().expect("it can be done")),
            "{}",
            done.stderr
        );
    }
}

#[test]
fn a_part_of_a_list() {
    let site = Site::numbered(3000);
    let server = site.start();
    let list: String = (0..3000).map(|n| format!("{}/get/n{n}\n", server.url())).collect();
    let drawn = |flags: &[&str]| {
        let place = Place::new();
        let list = place.file("l.txt", &list);
        let done = get(&place, &[&list]).args(["--format", "tar"]).args(flags).run().expect(0);
        let again = get(&place, &[&list]).args(["--format", "tar"]).args(flags).run().expect(0);
        again.sum_holds().figures([("requests", 0)]);
        numbers(&stored(&done.sum_holds()))
    };
    assert_eq!(drawn(&["--limit", "12"]), (0..12).collect::<Vec<_>>());
    let one = drawn(&["--sample", "50", "--seed", "1"]);
    assert_eq!(one.len(), 50);
    assert!(one.iter().any(|&number| number > 2000) && one.iter().any(|&number| number < 1000));
    assert_eq!(drawn(&["--sample", "50", "--seed", "1"]), one);
    assert_ne!(drawn(&["--sample", "50", "--seed", "2"]), one);
    let some = drawn(&["--sample", "50", "--seed", "1", "--limit", "20"]);
    assert_eq!(some, one[..20]);
    assert_eq!(drawn(&["--sample", "5000"]).len(), 3000);
    // Of a pipe, too.
    let place = Place::new();
    let pipe = place.file("pipe", &list);
    let done = piped(&place, &pipe).args(["--sample", "50", "--seed", "1"]).run().complete(50);
    assert_eq!(numbers(&stored(&done)), one);
}
