//! What putting an object into a bucket costs, against a server that only says yes.

use std::process::Command;

use super::Bench;
use super::bucket::Call;
use super::child::{CLIENT_CORE, Server};
use super::report::Row;
use super::s3::{LIMIT, row};
use super::windrow::serve;

/// CPU of a put: of a run from HTTP into a bucket less one of the same objects to `null`.
pub(crate) fn put(bench: &Bench) -> Result<Vec<Row>, String> {
    let objects = bench.counts.s3put;
    let source = serve(&bench.binaries, objects)?;
    let yes = Server::printing_url(Command::new(bench.binaries.example("put_server")?))?;
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
