//! Bodies that are checked against what the list and the server say of them, and decoded.

use crate::support::{Objects, Place, all_right, assert_same, by_url, stored, urls, windrow};
use md5::{Digest, Md5};
use std::io::Write as _;
use windrow_model::Corpus;
use windrow_testkit::script::{Site, body_of, http};
use windrow_testkit::{Finished, Script, Step};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn sizes_and_checksums_of_the_list() {
    let site = Site::numbered(30);
    let server = site.start();
    let row = |(number, (name, body)): (usize, (Vec<u8>, Vec<u8>))| {
        let name = String::from_utf8(name).expect("it can be done");
        let size = match number {
            3 => (body.len() + 1).to_string(),
            4 => String::new(),
            5 => "many".into(),
            _ => body.len().to_string(),
        };
        let sum = match number {
            7 => hex(&Md5::digest(b"another")),
            8 => String::new(),
            9 => "abc".into(),
            _ => hex(&Md5::digest(&body)),
        };
        format!("{}/get/{name},{size},{sum}\n", server.url())
    };
    let rows: String = site.objects().into_iter().enumerate().map(row).collect();
    let text = format!("url,bytes,sum\n{rows}");
    for format in ["files", "tar"] {
        let place = Place::new();
        let list = place.file("l.csv", &text);
        let args = ["--size-col", "bytes", "--verify-col", "sum:md5", "--format", format];
        let done = place.get(&list).args(args).args(["--retry", "1"]).run().expect(1).sum_holds();
        assert_eq!((done.failed("checksum"), done.failed("malformed")), (2, 2));
        let wrong: Vec<_> = site.objects().into_keys().collect();
        let mut expected = by_url(&server.url(), &site.objects());
        for at in [3, 5, 7, 9] {
            let host = server.url().replace("http://", "");
            expected.remove(&[host.as_bytes(), b"/get/", &wrong[at]].concat());
        }
        assert_same(&stored(&done), &expected);
    }
}

#[test]
fn checksums_of_the_server() {
    let corpus = Corpus { count: 300, size: 5000, seed: 3 };
    let synthetic = ["--synthetic", "300", "--size", "5000", "--seed", "3", "--checksums"];
    let server = windrow().serve(synthetic);
    let place = Place::new();
    let done = place.get(&server.url).run().complete(300);
    assert_eq!((all_right(&corpus, &stored(&done)), done.figure("retries")), (300, 0));
    // Wrong now and then: another attempt makes it good.
    let server = windrow().serve([&synthetic[..], &["--faults", "wrong-checksum=20%"]].concat());
    let place = Place::new();
    let done = place.get(&server.url).args(["--retry", "20"]).run().complete(300);
    assert_eq!(all_right(&corpus, &stored(&done)), 300);
    assert!(done.figure("retries") > 0, "{:#}", done.summary());
    // Always wrong.
    let faults = ["--synthetic", "20", "--size", "5000", "--faults", "wrong-checksum=100%"];
    let server = windrow().serve([&faults[..], &["--checksums"]].concat());
    let place = Place::new();
    let done = place.get(&server.url).args(["--retry", "2", "--outage-max", "1s"]).run();
    assert_eq!(stored(&done.sum_holds()).len(), 0, "nothing wrong is stored");
}

/// A body in a coding.
fn coded(coding: &str, body: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(body).expect("it can be done");
            out.finish().expect("it can be done")
        }
        "zstd" => zstd::stream::encode_all(body, 1).expect("it can be done"),
        other => panic!("{other}"),
    }
}

#[test]
fn codings_are_undone_where_that_is_asked_for() {
    let corpus = Corpus { count: 200, size: 3000, seed: 4 };
    for coding in ["gzip", "br", "zstd"] {
        let synthetic = ["--synthetic", "200", "--size", "3000", "--seed", "4", "--stats"];
        let rest = ["--content-encoding", coding, "--checksums"];
        let server = windrow().serve([&synthetic[..], &rest].concat());
        for flags in [&["--compressed"][..], &[]] {
            let place = Place::new();
            let done = place.get(&server.url).args(flags).run().complete(200);
            assert_eq!(all_right(&corpus, &stored(&done)), 200, "{coding} {flags:?}");
        }
    }
}

#[test]
fn a_coding_that_nobody_asked_for_is_stored_as_sent() {
    let site = Site::numbered(10);
    for coding in ["gzip", "zstd"] {
        let server = site.start_but(move |_, name| {
            let body = coded(coding, &body_of(name?.as_bytes()));
            let line = format!("Content-Encoding: {coding}");
            Some(vec![Step::Send(http::response("200 OK", &[&line], &body))])
        });
        let place = Place::new();
        let list = place.file("l.txt", urls(&server.url(), &site.objects()));
        let objects = site.objects().into_iter();
        let sent: Objects = objects.map(|(name, body)| (name, coded(coding, &body))).collect();
        for (flags, objects) in [(&[][..], &sent), (&["--compressed"], &site.objects())] {
            let get = windrow().get(&list, &place.at(&format!("out-{}", flags.len())));
            let done = get.args(flags).run().complete(10);
            assert_same(&stored(&done), &by_url(&server.url(), objects));
        }
        let accepts = |request: &windrow_testkit::script::Request| {
            request.header("accept-encoding").unwrap_or_default().to_owned()
        };
        let requests = server.requests();
        assert!(requests[..10].iter().all(|request| accepts(request) == "identity"));
        assert!(requests[10..].iter().all(|request| accepts(request).contains(coding)));
    }
}

/// Fetches three objects, of which `n1` is answered so, with `--compressed`; gives its failure.
fn broken(headers: &'static [&'static str], body: Vec<u8>) -> (Finished, String) {
    let site = Site::numbered(3);
    let server: Script = site.start_but(move |_, name| {
        let answer = || vec![Step::Send(http::response("200 OK", headers, &body))];
        (name == Some("n1")).then(answer)
    });
    let place = Place::new();
    let done = place.get(&server.url()).args(["--compressed", "--retry", "1"]).run().expect(1);
    let done = done.sum_holds().figures([("stored", 2), ("failed", 1)]);
    let class = done.failures()[0]["class"].as_str().expect("a class").to_owned();
    (done, class)
}

#[test]
fn codings_that_are_broken() {
    let body = vec![b'x'; 5000];
    let whole = coded("gzip", &body);
    let cut = whole[..whole.len() - 9].to_vec();
    let behind = [&whole[..], b"more"].concat();
    assert_eq!(broken(&["Content-Encoding: gzip"], cut).1, "truncated");
    for (headers, body) in [
        (&["Content-Encoding: gzip"][..], behind),
        (&["Content-Encoding: gzip"], body.clone()),
        (&["Content-Encoding: zstd"], body.clone()),
        (&["Content-Encoding: br"], body.clone()),
        (&["Content-Encoding: compress"], body.clone()),
        (&["Content-Encoding: gzip, gzip, gzip, gzip, gzip, gzip, gzip, gzip"], body),
    ] {
        assert_eq!(broken(headers, body).1, "encoding", "{headers:?}");
    }
}

#[test]
fn bombs_are_defused() {
    let synthetic = ["--synthetic", "6", "--faults", "bomb=100%"];
    let server = windrow().serve(synthetic);
    for format in ["files", "tar"] {
        let place = Place::new();
        let flags = ["--compressed", "--retry", "1", "--memory", "16MiB", "--cores", "1"];
        let flags = [&flags[..], &["-c", "2", "--format", format]].concat();
        let done = place.get(&server.url).args(flags).run();
        let done = done.expect(1).sum_holds();
        assert_eq!(done.failed("encoding") + done.failed("too_large"), 6, "{:#}", done.summary());
        let memory = done.figure("max_rss_bytes");
        assert!(memory < 120 << 20, "{memory}");
        assert_eq!(stored(&done).len(), 0);
    }
}
