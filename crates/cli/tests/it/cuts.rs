//! Answers that are cut at every one of their bytes: none of them is ever taken for a whole one.

use crate::support::{Place, assert_same, stored};
use windrow_testkit::script::{Site, http};
use windrow_testkit::{Script, Step};

/// A body of some length that holds what a decoder could take for a frame.
const BODY: &[u8] = b"0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n1\r\nX\r\n0\r\n\r\n\
    HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nand more of it: \
    0123456789\0\xff\x80\r\n\r\n\n\n\r\n0\r\n";

/// An answer in one of its framings.
fn answer(framing: &str) -> Vec<u8> {
    let lines = ["Server: cut", "Date: Sun, 06 Nov 1994 08:49:37 GMT", "Content-Type: text/plain"];
    match framing {
        "length" => http::response("200 OK", &lines, BODY),
        _ => {
            let lines = [&lines[..], &["Transfer-Encoding: chunked"]].concat();
            let mut bytes = http::head("200 OK", &lines, None);
            let chunked = http::chunked(BODY, 13);
            let at = chunked.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
            // A trailer, so that the end is more than one line.
            bytes.extend_from_slice(&chunked[at..chunked.len() - 2]);
            bytes.extend_from_slice(b"Trailer: yes\r\n\r\n");
            bytes
        }
    }
}

/// Objects between two cut ones that are not cut.
const WHOLE: usize = 3;

/// An object for every offset in each framing, and for each way to end: `length-close-17`.
fn names() -> Vec<String> {
    let mut names = Vec::new();
    for framing in ["length", "chunked"] {
        for end in ["close", "reset"] {
            for offset in 0..answer(framing).len() {
                names.push(format!("{framing}-{end}-{offset}"));
                // Whole at once, so that the server is not taken for one that is down.
                names.extend((0..WHOLE).map(|n| format!("{framing}-whole-{offset}-{n}")));
            }
        }
    }
    names
}

/// A server that cuts the first `times` answers for each object at its offset.
fn cutting(times: usize) -> Script {
    let [length, chunked] = ["length", "chunked"].map(answer);
    Site::new(names()).start_but(move |request, name| {
        let mut parts = name?.split('-');
        let whole = match parts.next()? {
            "length" => &length,
            _ => &chunked,
        };
        let end = match parts.next()? {
            "close" => Step::Close,
            "reset" => Step::Reset,
            _ if times == usize::MAX => Step::Close,
            _ => return Some(vec![Step::Send(whole.clone())]),
        };
        let offset: usize = parts.next()?.parse().ok()?;
        Some(match request.attempt < times {
            true => vec![Step::Send(whole[..offset].to_vec()), end],
            false => vec![Step::Send(whole.clone())],
        })
    })
}

#[test]
fn an_answer_that_is_cut_once_is_whole_in_the_end() {
    let count = names().len() as u64;
    println!("{} cuts", count / (WHOLE as u64 + 1));
    assert!(count > 4800, "{count}");
    for pipeline in ["1", "8"] {
        let server = cutting(1);
        let place = Place::new();
        let get = place.get(&server.url()).args(["--pipeline", pipeline, "-c", "64"]);
        let done = get.run().complete(count);
        let expected = names().into_iter().map(|name| (name.into_bytes(), BODY.to_vec()));
        assert_same(&stored(&done), &expected.collect());
    }
}

#[test]
fn an_answer_that_is_always_cut_is_never_stored() {
    let count = names().len() as u64;
    for (format, settings) in [
        ("files", ["--pipeline", "1", "--retry", "0"]),
        ("tar", ["--pipeline", "8", "--retry", "1"]),
    ] {
        let server = cutting(usize::MAX);
        let place = Place::new();
        let get = place.get(&server.url()).args(settings).args(["--format", format, "-c", "64"]);
        // A server that brings nothing whole is down; the run ends and can be resumed.
        let done = get.args(["--outage-max", "1s"]).run().expect(4).sum_holds();
        let done = done.figures([("listed", count), ("stored", 0)]);
        assert_eq!(stored(&done).len(), 0);
        assert_eq!(done.failures().len() as u64, done.figure("failed"));
        // Cut in the head, between two answers, or in the body: nothing else went wrong.
        let told = ["reset", "truncated"].map(|class| done.failed(class));
        assert_eq!(told.iter().sum::<u64>(), done.figure("failed"), "{:#}", done.summary());
    }
}
