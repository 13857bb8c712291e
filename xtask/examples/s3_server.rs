//! A real server of S3 (s3s with s3s-fs) in a process of its own, so that a benchmark counts none of
//! its CPU time with that of a client. It verifies signatures.
//!
//! `s3_server FOLDER ACCESS_KEY SECRET` prints its URL and serves until it is killed; each folder in
//! FOLDER is a bucket. An example and not a part of `xtask`: its dependencies are many.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the URL is what it has to say")]

use std::error::Error;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, access_key, secret] = args.as_slice() else {
        return Err("s3_server: FOLDER ACCESS_KEY SECRET".into());
    };
    let folder = FileSystem::new(folder).map_err(|why| format!("{folder}: {why:?}"))?;
    let mut builder = S3ServiceBuilder::new(folder);
    builder.set_auth(SimpleAuth::from_single(access_key.as_str(), secret.as_str()));
    let service = builder.build();
    // Files are read and written on threads of the runtime's own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("http://{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            // Head and body are two writes: together they would wait for each other.
            stream.set_nodelay(true)?;
            let service = service.clone();
            tokio::spawn(async move {
                // A client that goes away is no error.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}
