//! What putting an object into a bucket costs, against a server that only says yes.
//!
//! `put-server` prints its URL, reads what is put and answers 200: only for load, and no judge of
//! anything. It checks no signature and keeps nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use super::Bench;
use super::bucket::Call;
use super::child::{CLIENT_CORE, Server};
use super::report::Row;
use super::s3::{LIMIT, row};
use super::windrow::serve;

/// The tag is none of a body, as of an object that was put in parts.
const YES: &[u8] = b"HTTP/1.1 200 OK\r\nETag: \"0123456789abcdef0123456789abcdef-1\"\r\n\
    x-amz-request-id: 1\r\nContent-Length: 0\r\n\r\n";

/// `put-server`: until it is killed.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    if let Some(arg) = args.first() {
        return Err(format!("put-server {arg}: takes no options"));
    }
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|why| format!("put-server: {why}"))?;
    let address = listener.local_addr().map_err(|why| format!("put-server: {why}"))?;
    println!("http://{address}");
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            // A client that goes away is no error.
            let _ = answer(&stream);
        });
    }
    Ok(())
}

fn answer(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    let (mut length, mut waits) = (0, false);
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line != b"\r\n" {
            let text = String::from_utf8_lossy(&line).to_ascii_lowercase();
            if let Some(value) = text.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            waits |= text.starts_with("expect:");
            continue;
        }
        if std::mem::take(&mut waits) {
            (&mut &*stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        std::io::copy(&mut (&mut reader).take(std::mem::take(&mut length)), &mut std::io::sink())?;
        (&mut &*stream).write_all(YES)?;
    }
}

/// CPU of a put: of a run from HTTP into a bucket less one of the same objects to `null`.
pub(crate) fn put(bench: &Bench) -> Result<Vec<Row>, String> {
    let objects = bench.counts.s3put;
    let source = serve(&bench.binaries, objects)?;
    let mut command = bench.binaries.xtask();
    command.arg(super::PUT_SERVER);
    let yes = Server::printing_url(command)?;
    let scratch = bench.fresh_folder("out")?;
    let get = |output: Option<&str>, args: &[&str]| {
        let job = bench.fresh("s3put");
        let state = job.to_string_lossy();
        let mut all = vec!["--cores", "1", "-c", "64"];
        all.extend(args);
        let call = Call {
            bench,
            source: &source.url,
            output: output.unwrap_or(&state),
            job: &job,
            objects,
            core: CLIENT_CORE,
            args: &all,
        };
        bench.settle();
        let (got, _) = call.run(LIMIT, &scratch)?;
        super::remove(&job);
        Ok::<_, String>(got.us_per_object)
    };
    let (mut more, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let null = get(None, &["--format", "null"])?;
        let put = get(Some("s3://out/copy"), &["--dest-endpoint-url", &yes.url])?;
        println!("  null {null:.2} us, put {put:.2} us");
        more.push(put - null);
        whole.push(put);
    }
    Ok(vec![
        row(
            "an object of 100 bytes put into a bucket, 1 core, a server that only says yes: CPU on \
             top of `null`",
            more,
            "us",
            None,
        ),
        row("the same: all CPU of fetching it and putting it", whole, "us", None),
    ])
}
