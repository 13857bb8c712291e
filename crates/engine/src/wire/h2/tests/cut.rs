//! Connections that are cut at any byte: every ticket ends, once, and nothing half is stored.

use super::*;
use bytes::Bytes;
use http::Response;
use proptest::prelude::*;
use proptest::test_runner::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn body(number: usize) -> Vec<u8> {
    vec![number as u8; number * 37 % 700]
}

/// A server behind a line that is cut after so many of its bytes, and passes them on in pieces.
fn cut_after(bytes: usize, piece: usize) -> DuplexStream {
    let (near, mut middle) = tokio::io::duplex(64 << 10);
    let (line, far) = tokio::io::duplex(64 << 10);
    tokio::task::spawn_local(async move {
        let Ok(mut connection) = ::h2::server::handshake(far).await else { return };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let number: usize = request.uri().path()[1..].parse().unwrap();
            let body = Bytes::from(body(number));
            let mut response = Response::builder();
            if !number.is_multiple_of(3) {
                response = response.header("content-length", body.len());
            }
            let response = response.body(()).unwrap();
            let Ok(mut stream) = respond.send_response(response, false) else { continue };
            let half = body.len() / 2;
            if number.is_multiple_of(2) {
                let _ = stream.send_data(body.slice(..half), false);
                let _ = stream.send_data(body.slice(half..), true);
            } else {
                let _ = stream.send_data(body, true);
            }
        }
    });
    tokio::task::spawn_local(async move {
        let (mut answers, mut requests) = tokio::io::split(line);
        let mut left = bytes;
        let mut sent = vec![0; piece];
        let mut asked = vec![0; 4096];
        let (mut from_client, mut to_client) = tokio::io::split(&mut middle);
        while left > 0 {
            tokio::select! {
                read = answers.read(&mut sent) => {
                    let len = read.unwrap().min(left);
                    left -= len;
                    if len == 0 || to_client.write_all(&sent[..len]).await.is_err() {
                        return;
                    }
                }
                read = from_client.read(&mut asked) => {
                    let len = read.unwrap();
                    if len == 0 || requests.write_all(&asked[..len]).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    near
}

proptest! {
    #![proptest_config(Config { cases: 150, failure_persistence: None, ..Config::default() })]

    #[test]
    fn every_ticket_ends_once_wherever_the_line_is_cut(
        cuts in prop::collection::vec(0_usize..9000, 0..6),
        piece in 1_usize..3000,
    ) {
        let objects = 40;
        let book = Book::new(objects);
        book.borrow_mut().again = true;
        let connections = block_on(serve_all(
            &book,
            |connection| cut_after(cuts.get(connection).copied().unwrap_or(usize::MAX), piece),
            options(),
        ));
        book.borrow().check_stored(body);
        prop_assert!(connections <= cuts.len() + 1);
        // One attempt for each connection, at most.
        let most = book.borrow().fates.iter().map(Vec::len).max();
        prop_assert!(most <= Some(connections));
    }
}
