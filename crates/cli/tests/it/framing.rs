//! Where a response ends: everything that RFC 9112 allows, and what it forbids.

use crate::support::{Objects, Place, assert_same, stored};
use windrow_testkit::script::{Site, body_of, http};
use windrow_testkit::{Finished, Step};

/// Runs over 20 objects, each answered as said.
fn each(
    settings: &[&str],
    answer: impl Fn(&[u8]) -> Vec<Step> + Send + Sync + 'static,
) -> (Site, Finished, Place) {
    let site = Site::numbered(20);
    let server = site.start_but(move |_, name| name.map(|name| answer(&body_of(name.as_bytes()))));
    let place = Place::new();
    let done = place.get(&server.url()).args(settings).run();
    (site, done, place)
}

/// Every object is right, and nothing was tried again.
#[track_caller]
fn fine(settings: &[&str], answer: impl Fn(&[u8]) -> Vec<Step> + Send + Sync + 'static) {
    let (site, done, _place) = each(settings, answer);
    let done = done.complete(20).figures([("retries", 0)]);
    assert_same(&stored(&done), &site.objects());
}

/// No object is stored; each failed with this class.
#[track_caller]
fn refused(class: &str, answer: impl Fn(&[u8]) -> Vec<Step> + Send + Sync + 'static) {
    let (_, done, _place) = each(&["--retry", "0"], answer);
    let done = done.expect(1).sum_holds().figures([("stored", 0), ("failed", 20)]);
    assert_eq!(done.failed(class), 20, "{:#}", done.summary());
    assert_eq!(done.tree().0.len(), 0);
}

fn with_head(head: &str, body: &[u8]) -> Vec<u8> {
    [head.replace('\n', "\r\n").as_bytes(), b"\r\n\r\n", body].concat()
}

#[test]
fn chunks_of_any_size() {
    for size in [1, 7, 5000] {
        fine(&["--pipeline", "4"], move |body| vec![Step::Send(http::chunked(body, size))]);
    }
}

#[test]
fn chunks_with_extensions_and_trailers() {
    fine(&[], |body| {
        let head = with_head("HTTP/1.1 200 OK\ntransfer-encoding: Chunked", b"");
        let chunk = format!("{:X};name=value;other=\"x;y\"\r\n", body.len().max(1));
        let body = if body.is_empty() { &b"x"[..] } else { body };
        let end = b"\r\n000;last\r\nTrailer-One: 1\r\nTrailer-Two: 2\r\n\r\n";
        vec![Step::Send([&head, chunk.as_bytes(), body, end].concat())]
    });
}

#[test]
fn bodies_that_end_with_the_connection() {
    for settings in [&["--pipeline", "1"], &["--pipeline", "4"]] {
        fine(settings, |body| vec![Step::Send(with_head("HTTP/1.1 200 OK", body)), Step::Close]);
    }
    fine(&[], |body| vec![Step::Send(with_head("HTTP/1.0 200 OK", body)), Step::Close]);
}

#[test]
fn interim_responses_stand_before_the_answer() {
    fine(&["--pipeline", "4"], |body| {
        let interim = with_head("HTTP/1.1 103 Early Hints\nLink: </x>", b"");
        let more = with_head("HTTP/1.1 102 Processing", b"");
        vec![Step::Send([interim, more, http::ok(body)].concat())]
    });
}

#[test]
fn no_content_is_an_empty_object() {
    let (_, done, _place) =
        each(&["--pipeline", "4"], |_| vec![Step::Send(http::head("204 No Content", &[], None))]);
    let done = done.complete(20).figures([("bytes", 0), ("retries", 0)]);
    let objects = stored(&done);
    assert_eq!(objects.len(), 20);
    assert!(objects.values().all(Vec::is_empty));
}

#[test]
fn every_answer_may_close_the_connection() {
    for pipeline in ["1", "8"] {
        for step in [Step::Close, Step::Reset] {
            fine(&["--pipeline", pipeline], move |body| {
                let answer = http::response("200 OK", &["Connection: close"], body);
                // A reset may overtake what was sent: the peer has it once it has closed too.
                let end = if matches!(step, Step::Reset) { Step::Hang } else { step.clone() };
                vec![Step::Send(answer), end]
            });
        }
    }
}

#[test]
fn answers_that_come_byte_by_byte() {
    for pipeline in ["1", "16"] {
        fine(&["--pipeline", pipeline, "-c", "32"], |body| vec![Step::Drip(http::ok(body), 1)]);
    }
    fine(&["--pipeline", "4"], |body| vec![Step::Drip(http::chunked(body, 3), 1)]);
}

#[test]
fn bytes_behind_an_answer_are_no_answer() {
    for pipeline in ["1", "8"] {
        let (site, done, _place) = each(&["--pipeline", pipeline], |body| {
            vec![Step::Send([http::ok(body), b"what is this?".to_vec()].concat())]
        });
        let done = done.complete(20);
        assert_same(&stored(&done), &site.objects());
    }
}

#[test]
fn an_answer_that_nobody_asked_for_is_not_taken_for_another_object() {
    // The first answer of each connection comes twice. Without pipelining the second copy must
    // never be taken for the next object.
    let site = Site::numbered(40);
    let server = site.start_but(|request, name| match (name, request.number) {
        (Some(name), 0) => Some(vec![Step::Send(http::ok(&body_of(name.as_bytes())).repeat(2))]),
        _ => None,
    });
    let place = Place::new();
    let done = place.get(&server.url()).run().complete(40);
    assert_same(&stored(&done), &site.objects());
}

#[test]
fn contradictions_are_refused() {
    for head in [
        "HTTP/1.1 200 OK\nContent-Length: 5\nTransfer-Encoding: chunked",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nContent-Length: 5",
        "HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 6",
        "HTTP/1.1 200 OK\nContent-Length: 5, 6",
        "HTTP/1.1 200 OK\nContent-Length: +5",
        "HTTP/1.1 200 OK\nContent-Length: 0x5",
        "HTTP/1.1 200 OK\nContent-Length: 99999999999999999999",
        "HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked",
        "HTTP/1.1 200 OK\nTransfer-Encoding: identity",
        "HTTP/2 200 OK\nContent-Length: 5",
        "ICY 200 OK",
        "HTTP/1.1 2000 OK\nContent-Length: 5",
        "hello",
    ] {
        refused("protocol", |_| {
            vec![Step::Send(with_head(head, b"5\r\nhello\r\n0\r\n\r\n")), Step::Close]
        });
    }
}

#[test]
fn broken_chunks_are_refused() {
    for body in ["x\r\nhello", "-5\r\nhello\r\n", "5\r\nhelloXX0\r\n\r\n", "FFFFFFFFFFFFFFFFF\r\n"]
    {
        refused("protocol", |_| {
            let head = with_head("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", body.as_bytes());
            vec![Step::Send(head), Step::Close]
        });
    }
}

#[test]
fn a_head_without_end_is_refused() {
    refused("protocol", |_| {
        let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
        bytes.extend_from_slice("X-Filler: yes\r\n".repeat(20_000).as_bytes());
        vec![Step::Send(bytes), Step::Hang]
    });
}

#[test]
fn a_large_object_is_no_answer_to_be_kept_in_memory() {
    // 64 MiB without a length, at 16 MiB of memory: by way of the disk, and none of it left there.
    let site = Site::new(["large"]);
    let body = crate::directory::noise(64 << 20);
    let answer = with_head("HTTP/1.1 200 OK", &body);
    let server =
        site.start_but(move |_, name| name.map(|_| vec![Step::Send(answer.clone()), Step::Close]));
    let place = Place::new();
    let done = place.get(&server.url()).args(["--memory", "16MiB"]).run().complete(1);
    let expected: Objects = [(b"large".to_vec(), body)].into();
    assert_same(&stored(&done), &expected);
    let rss = done.figure("max_rss_bytes");
    assert!(rss < 64 << 20, "{rss} bytes resident");
}
