//! nginx as the file server of the benchmarks, and wrk as the client to be measured against.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::child::{CLIENT_CORE, Server, measure};

/// Names on one page of the listing.
const PAGE: usize = 1000;

/// nginx with a listing of `objects` names, each with the same 100 bytes behind it.
#[derive(Debug)]
pub(crate) struct Nginx {
    pub(crate) server: Server,
    /// Removed after the server stopped: fields are dropped in this order.
    folder: Folder,
}

#[derive(Debug)]
struct Folder(PathBuf);

impl Nginx {
    /// Writes the pages and the configuration into memory (if the machine has a folder there),
    /// and starts nginx with one worker.
    pub(crate) fn start(objects: usize) -> Result<Self, String> {
        Self::start_with(objects, false)
    }

    /// The same over https, with a certificate of its own and no listing.
    pub(crate) fn start_tls() -> Result<Self, String> {
        Self::start_with(0, true)
    }

    /// The certificate to believe, in PEM.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.0.join("cert.pem")
    }

    fn start_with(objects: usize, tls: bool) -> Result<Self, String> {
        let shm = Path::new("/dev/shm");
        let base = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        let name = format!("windrow-bench-nginx-{}-{objects}", std::process::id());
        let folder = Folder(base.join(name));
        let port =
            write_files(&folder.0, objects, tls).map_err(|why| format!("nginx: files: {why}"))?;
        if tls {
            make_certificate(&folder.0)?;
        }
        let mut nginx = Command::new("nginx");
        nginx.env("PATH", path_with_sbin());
        nginx.arg("-p").arg(&folder.0).arg("-c").arg(folder.0.join("nginx.conf"));
        nginx.args(["-e", "stderr"]);
        Ok(Self { server: Server::on_port(nginx, port)?, folder })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// CPU time of wrk per request, in microseconds.
pub(crate) fn wrk_us(server: &Server, seconds: u64, scratch: &Path) -> Result<f64, String> {
    wrk_us_at(&format!("{}/get/{}", server.url, name(0)), seconds, scratch)
}

/// The same, for this URL.
pub(crate) fn wrk_us_at(url: &str, seconds: u64, scratch: &Path) -> Result<f64, String> {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-c64", &format!("-d{seconds}s")]);
    wrk.arg(url);
    let usage = measure(wrk, CLIENT_CORE, Duration::from_secs(seconds + 30), scratch)?;
    if usage.stdout.contains("Non-2xx") || usage.stdout.contains("Socket errors") {
        return Err(format!("wrk: {}", usage.stdout));
    }
    let line = usage.stdout.lines().find(|line| line.contains(" requests in "));
    let requests = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    match requests {
        Some(requests) if requests > 0.0 => Ok(usage.cpu_us / requests),
        _ => Err(format!("wrk: cannot read its report: {}", usage.stdout)),
    }
}

/// A key and a certificate that vouches for itself, for 127.0.0.1 and for two days.
fn make_certificate(folder: &Path) -> Result<(), String> {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    openssl.args(["-nodes", "-days", "2", "-subj", "/CN=localhost"]);
    openssl.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-keyout").arg(folder.join("key.pem")).arg("-out").arg(folder.join("cert.pem"));
    let made = openssl.output().map_err(|why| format!("openssl: {why}"))?;
    let said = String::from_utf8_lossy(&made.stderr);
    if made.status.success() { Ok(()) } else { Err(format!("openssl: {said}")) }
}

/// The name of an object.
pub(crate) fn name(nth: usize) -> String {
    format!("obj-{nth:09}")
}

/// Where Debian puts servers is not on everybody's path.
fn path_with_sbin() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Pages `p0.json`, `p1.json`, ... and `nginx.conf`; returns the port.
fn write_files(folder: &Path, objects: usize, tls: bool) -> std::io::Result<u16> {
    std::fs::create_dir_all(folder.join("list"))?;
    let pages = objects.div_ceil(PAGE).max(1);
    for page in 0..pages {
        let range = page * PAGE..objects.min((page + 1) * PAGE);
        let names: Vec<_> = range.map(|nth| format!("\"{}\"", name(nth))).collect();
        let mut text = format!("{{\"FileNames\":[{}]", names.join(","));
        if page + 1 < pages {
            write!(text, ",\"NextMarker\":\"p{}\"", page + 1).ok();
        }
        text.push('}');
        std::fs::write(folder.join(format!("list/p{page}.json")), text)?;
    }
    // Free now; nobody else on this machine is expected to take it within the next moment.
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    std::fs::write(folder.join("nginx.conf"), configuration(folder, port, tls))?;
    Ok(port)
}

fn configuration(folder: &Path, port: u16, tls: bool) -> String {
    let (kind, certificate) = if tls {
        (" ssl http2", "ssl_certificate cert.pem; ssl_certificate_key key.pem;")
    } else {
        ("", "")
    };
    let folder = folder.display();
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let mut temp = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        writeln!(temp, "  {kind}_temp_path {folder}/{kind};").ok();
    }
    format!(
        "daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr crit; {user}
worker_rlimit_nofile 4096;
events {{ worker_connections 1024; }}
http {{
{temp}  access_log off;
  default_type application/octet-stream;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  map $args $page {{
    default p0;
    \"~(?:^|&)next-marker=(?<marker>p[0-9]+)(?:&|$)\" $marker;
  }}
  server {{
    listen 127.0.0.1:{port}{kind} backlog=1024; {certificate}
    root {folder};
    location = /list {{ default_type application/json; try_files /list/$page.json =404; }}
    location /get/ {{ return 200 \"{body}\"; }}
  }}
}}
",
        body = "windrow. ".repeat(12).get(..100).unwrap_or_default()
    )
}
