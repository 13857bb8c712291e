//! Python's http.server: the server that everybody has, as HTTP/1.0 and as HTTP/1.1.

use crate::directory::PLAIN;
use crate::support::{Objects, Place, assert_same, stored};
use std::process::Command;
use windrow_model::percent::{Keep, encode_into};
use windrow_testkit::Tree;
use windrow_testkit::child::Process;
use windrow_testkit::script::{body_of, http};

/// Serves names that it reads from a file. Arguments: protocol, way, file, field of the marker.
const SERVER: &str = r#"
import json, sys, urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

protocol, way, file, field = sys.argv[1:]
with open(file, encoding="utf-8") as names:
    NAMES = json.load(names)
PAGE = 100

class Handler(BaseHTTPRequestHandler):
    protocol_version = protocol
    disable_nagle_algorithm = True

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path == "/list":
            first = int(urllib.parse.parse_qs(query).get("next-marker", ["0"])[0])
            page = {"FileNames": NAMES[first:first + PAGE]}
            if first + PAGE < len(NAMES):
                page[field] = str(first + PAGE)
            self.answer(json.dumps(page).encode())
        elif path.startswith("/get/"):
            name = urllib.parse.unquote(path[len("/get/"):])
            self.answer(("body of " + name).encode() * 20)
        else:
            self.send_error(404)

    def answer(self, body):
        self.send_response(200)
        if way == "length":
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        elif way == "close":
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True
        else:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for at in range(0, len(body), 100):
                chunk = body[at:at + 100]
                self.wfile.write(b"%x;odd=\"yes\"\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.write(b"0\r\nX-Trailer: t\r\n\r\n")

    def log_message(self, *args):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"#;

/// Connections, or less: Python's servers let five wait, and Linux drops what comes beyond.
const FEW: &str = "4";

/// Starts Python; gives the first line that it prints.
fn start(args: &[&str]) -> (Process, String) {
    let mut command = Command::new("python3");
    command.args(["-u"]).args(args).env("PYTHONUTF8", "1");
    let mut process = Process::spawn(&mut command)
        .unwrap_or_else(|why| panic!("python3: {why}\nhint: apt-get install python3"));
    match process.first_line() {
        Some(line) => (process, line),
        None => panic!("python3 did not start: {}", process.stderr()),
    }
}

/// Names of every kind; a `/` in one arrives as `%2F`.
fn names() -> Vec<String> {
    let numbered = (0..270).map(|number| format!("object-{number}"));
    numbered.chain(PLAIN.map(str::to_owned)).collect()
}

fn emptied(protocol: &str, way: &str, field: &str, settings: &[&str]) {
    let place = Place::new();
    let names = names();
    let json = serde_json::to_vec(&names).expect("names are JSON");
    std::fs::write(place.at("names"), json).expect("a temporary file");
    let file = place.at("names").display().to_string();
    let (python, port) = start(&["-c", SERVER, protocol, way, &file, field]);
    let get = place.get(&format!("http://127.0.0.1:{port}")).args(settings);
    let done = get.env("WINDROW_CONCURRENCY", FEW).run().complete(names.len() as u64);
    let done = done.figures([("retries", 0), ("pages", 3)]);
    let body = |name: &String| format!("body of {name}").repeat(20).into_bytes();
    let expected = names.iter().map(|name| (name.clone().into_bytes(), body(name)));
    assert_same(&stored(&done), &expected.collect());
    assert_eq!(python.stderr(), "");
}

#[test]
fn http_1_0_with_a_connection_for_each_answer() {
    emptied("HTTP/1.0", "length", "NextMarker", &[]);
}

#[test]
fn http_1_0_without_lengths() {
    emptied("HTTP/1.0", "close", "NextFile", &["--format", "tar"]);
}

#[test]
fn http_1_1_with_lengths() {
    emptied("HTTP/1.1", "length", "NextFile", &[]);
}

#[test]
fn http_1_1_with_lengths_pipelined() {
    emptied("HTTP/1.1", "length", "NextMarker", &["--pipeline", "16", "-c", "64"]);
}

#[test]
fn http_1_1_in_chunks() {
    emptied("HTTP/1.1", "chunked", "NextFile", &["--pipeline", "4", "--format", "tar"]);
}

#[test]
fn http_1_1_that_closes_instead_of_lengths() {
    emptied("HTTP/1.1", "close", "NextMarker", &[]);
}

#[test]
fn the_server_of_the_standard_library_itself() {
    let place = Place::new();
    let objects: Objects = names()
        .into_iter()
        .filter(|name| !name.ends_with(' '))
        .map(|name| (name.clone().into_bytes(), body_of(name.as_bytes())))
        .collect();
    let files = objects.iter().map(|(name, body)| ([b"files/", &name[..]].concat(), body.clone()));
    files.collect::<Tree>().write(&place.at("site"));
    let names = objects.keys().map(|name| String::from_utf8_lossy(name));
    std::fs::write(place.at("site/list.json"), http::page(names, None)).unwrap();
    let site = place.at("site").display().to_string();
    let bind = ["-m", "http.server", "--bind", "127.0.0.1", "--directory", &site, "0"];
    let (_python, line) = start(&bind);
    // `Serving HTTP on 127.0.0.1 port 41239 (http://127.0.0.1:41239/) ...`
    let url = line.split(['(', ')']).nth(1).unwrap_or_else(|| panic!("no address: {line}"));
    let get = place.get(url).args(["--list-path", "/list.json", "--get-path", "/files/{+name}"]);
    let done = get.env("WINDROW_CONCURRENCY", FEW).run().complete(objects.len() as u64);
    assert_same(&stored(&done), &objects);
}

#[test]
fn a_marker_is_sent_back_encoded() {
    // The marker is whatever the server says; it comes back as it was.
    let marker = "a b&c=d/é?";
    let mut encoded = Vec::new();
    encode_into(marker.as_bytes(), &Keep::UNRESERVED, &mut encoded);
    let second = format!("/list?next-marker={}", String::from_utf8(encoded).unwrap());
    let server = windrow_testkit::Script::start(move |request| match request.target.as_str() {
        "/list" => http::send_ok(&http::page(["one"], Some(marker))),
        target if target == second => http::send_ok(&http::page(["two"], None)),
        "/get/one" | "/get/two" => http::send_ok(b"x"),
        _ => http::send_status("404 Not Found"),
    });
    Place::new().get(&server.url()).run().complete(2);
}
