//! nginx on a free port, for as long as a test needs it.

use crate::child::Process;
use crate::{port, wait};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// nginx in one process, in a folder of its own.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    port: u16,
    _folder: TempDir,
}

/// Ports that are tried: each may be taken between choosing and listening.
const PORTS: usize = 5;

impl Nginx {
    /// Starts nginx with one `server` on a free port. `http` stands before it and `server` in it,
    /// both in the language of `nginx.conf`.
    ///
    /// # Panics
    /// When nginx is missing or does not start.
    pub fn start(http: &str, server: &str) -> Self {
        Self::start_as("", http, server)
    }

    /// The same; `listen` stands behind the address of the server's port, as in `ssl http2`. Where
    /// one of the texts says `@port@` it is that port.
    ///
    /// # Panics
    /// When nginx is missing or does not start.
    pub fn start_as(listen: &str, http: &str, server: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for _ in 0..PORTS {
            let port = port::free();
            let text = configuration(folder.path(), port, listen, http, server);
            let file = folder.path().join("nginx.conf");
            std::fs::write(&file, text).expect("a temporary file");
            let mut command = Command::new("nginx");
            // Where Debian puts servers is not on everybody's path.
            let path = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
            command.arg("-p").arg(folder.path()).arg("-c").arg(&file).args(["-e", "stderr"]);
            let mut process = Process::spawn(&mut command).unwrap_or_else(|why| {
                panic!("nginx: cannot be started: {why}\nhint: apt-get install nginx-light")
            });
            if is_up(&mut process, port) {
                return Self { process, port, _folder: folder };
            }
            let said = process.stderr();
            assert!(said.contains("Address already in use"), "nginx does not start: {said}");
        }
        panic!("nginx found each of {PORTS} ports taken");
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it complained about so far.
    pub fn complaints(&self) -> String {
        self.process.stderr()
    }
}

/// Waits until the port answers (true), or the process ends (false).
fn is_up(process: &mut Process, port: u16) -> bool {
    wait::until_some("nginx to listen", wait::LIMIT, || {
        if process.wait(std::time::Duration::ZERO).is_some() {
            return Some(false);
        }
        TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true)
    })
}

fn configuration(folder: &Path, port: u16, listen: &str, http: &str, server: &str) -> String {
    let folder = folder.display();
    let [http, server] = [http, server].map(|text| text.replace("@port@", &port.to_string()));
    // One process that keeps its user: it reads what the test wrote, and one kill ends it.
    format!(
        "daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {http}
    server {{
        listen 127.0.0.1:{port} {listen};
        {server}
    }}
}}
"
    )
}
