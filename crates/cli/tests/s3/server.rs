//! A server of S3 in this process: s3s with s3s-fs over a temporary folder. It verifies signatures
//! and their time. In front of it every request is counted, and some are answered with "slow down"
//! where a test asks for that.

use crate::sign::{Signer, base64, now, uri_encode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Instant;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub(crate) const BUCKET: &str = "lake";

/// What must be written nowhere. One letter short of nothing: each is found by its text alone.
pub(crate) const ACCESS_KEY: &str = "AKIACANARYACCESSKEY1";
const SECRET: &str = "canary/secret+key/that/signs";
pub(crate) const TOKEN: &str = "canarysecuritytoken/+==";

/// Answers with `status` what is more than so many requests a second, and the twentieth in any case:
/// every run meets the limit, however slow it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) per_second: f64,
    pub(crate) status: u16,
}

/// A request, and what it was answered with.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `GET`, `PUT`, ...
    pub(crate) method: String,
    /// As it was sent.
    pub(crate) target: String,
    /// 0 until it is answered.
    pub(crate) status: u16,
}

impl Asked {
    /// The path, without the signature.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trick {
    /// The request is carried out, and the connection closed without an answer.
    Cut,
    /// The same, without carrying it out.
    Lose,
    /// An error behind a 200, and nothing is carried out.
    LateError,
    /// Too much to do, with this status, and nothing is carried out.
    Status(u16),
    /// This status and code, and nothing is carried out.
    Refuse(u16, &'static str),
}

/// Says by method and target which of them it is.
pub(crate) type Tricks = Box<dyn FnMut(&str, &str) -> Option<Trick> + Send>;

/// Until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    folder: TempDir,
    shared: Arc<Shared>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    asked: Mutex<Vec<Asked>>,
    limit: Option<Limit>,
    /// What is done to answers, instead of sending them as they are.
    tricks: Mutex<Option<Tricks>>,
    /// A file that is removed, or gets another content, when the bucket was listed.
    goes: Mutex<Option<(PathBuf, Option<Vec<u8>>)>>,
    /// Requests that would be borne then.
    bucket: Mutex<Option<(f64, Instant)>>,
}

impl Server {
    pub(crate) fn start(limit: Option<Limit>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join(BUCKET)).expect("a bucket");
        let mut builder = S3ServiceBuilder::new(FileSystem::new(folder.path()).expect("a root"));
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET));
        let service = builder.build();
        let (asked, bucket) = (Mutex::default(), Mutex::default());
        let (goes, tricks) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { asked, limit, tricks, goes, bucket });
        let (end, ended) = oneshot::channel();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                tokio::select! {
                    () = serve(&listener, &service, &own) => {}
                    _ = ended => {}
                }
            });
        });
        Self { address, folder, shared, end: Some(end), thread: Some(thread) }
    }

    /// Makes another bucket.
    pub(crate) fn bucket(&self, name: &str) {
        std::fs::create_dir(self.folder.path().join(name)).expect("a bucket");
    }

    /// Where the objects of a bucket lie.
    pub(crate) fn folder(&self, bucket: &str) -> PathBuf {
        self.folder.path().join(bucket)
    }

    /// Does something to answers from now on.
    pub(crate) fn trick(&self, tricks: Tricks) {
        *locked(&self.shared.tricks) = Some(tricks);
    }

    /// The objects of a bucket, body by key.
    pub(crate) fn objects(&self, bucket: &str) -> BTreeMap<String, Vec<u8>> {
        let tree = windrow_testkit::Tree::read(&self.folder.path().join(bucket));
        let name = |path: &std::path::Path| path.to_str().expect("a key").to_owned();
        tree.0.into_iter().map(|(path, body)| (name(&path), body)).collect()
    }

    /// Uploads in parts that were begun and not ended.
    pub(crate) fn uploads(&self) -> usize {
        let all = std::fs::read_dir(self.folder.path()).expect("a folder");
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.expect("an entry").file_name().to_string_lossy().into_owned()
        };
        all.map(name).filter(|name| name.starts_with(".upload")).count()
    }

    /// `HOST:PORT`.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Who may have everything, by a temporary credential.
    pub(crate) fn signer(&self) -> Signer {
        Signer {
            host: self.host(),
            access_key: ACCESS_KEY.to_owned(),
            secret: SECRET.to_owned(),
            token: Some(TOKEN.to_owned()),
        }
    }

    /// A URL for an object, signed now, valid for an hour.
    pub(crate) fn url(&self, key: &str) -> String {
        self.url_until(key, now(), 3600)
    }

    /// A URL for an object, signed at that second since 1970, valid so many seconds.
    pub(crate) fn url_until(&self, key: &str, signed: u64, valid: u32) -> String {
        self.signer().url("GET", &format!("{BUCKET}/{key}"), signed, valid)
    }

    /// The path that is asked for, by the rule of the signer.
    pub(crate) fn path(key: &str) -> String {
        format!("/{BUCKET}/{}", uri_encode(key, false))
    }

    /// The name that windrow gives to an object: `HOST:PORT` and the path as it is asked for.
    pub(crate) fn name(&self, key: &str) -> Vec<u8> {
        format!("{}{}", self.host(), Self::path(key)).into_bytes()
    }

    /// Writes the file of an object.
    pub(crate) fn put(&self, key: &str, body: &[u8]) {
        let path = self.folder.path().join(BUCKET).join(key);
        std::fs::create_dir_all(path.parent().expect("a bucket")).expect("a folder");
        std::fs::write(path, body).expect("a file");
    }

    /// Removes an object.
    pub(crate) fn remove(&self, key: &str) {
        std::fs::remove_file(self.folder.path().join(BUCKET).join(key)).expect("an object");
    }

    /// Removes an object as soon as the bucket was listed.
    pub(crate) fn remove_when_listed(&self, key: &str) {
        *locked(&self.shared.goes) = Some((self.folder.path().join(BUCKET).join(key), None));
    }

    /// Gives an object another body as soon as the bucket was listed.
    pub(crate) fn replace_when_listed(&self, key: &str, body: &[u8]) {
        let path = self.folder.path().join(BUCKET).join(key);
        *locked(&self.shared.goes) = Some((path, Some(body.to_vec())));
    }

    /// Makes so many objects of all sizes up to some KiB, empty ones too: body by key.
    pub(crate) fn fill(&self, count: usize) -> BTreeMap<String, Vec<u8>> {
        let one = |index: usize| {
            let key = format!("part-{:02}/object-{index:05}.bin", index % 7);
            let size = if index % 50 == 49 { 0 } else { index * 37 % 9000 };
            let body = key.bytes().cycle().take(size).collect::<Vec<_>>();
            self.put(&key, &body);
            (key, body)
        };
        (0..count).map(one).collect()
    }

    /// Puts an object by the server's own protocol, with a checksum: the server keeps it, and the
    /// MD5, and sends both from then on.
    pub(crate) fn upload(&self, key: &str, body: &[u8]) {
        let url = self.signer().url("PUT", &format!("{BUCKET}/{key}"), now(), 600);
        let host = self.host();
        let target = url.strip_prefix("http://").and_then(|url| url.strip_prefix(&host));
        let target = target.expect("a URL of this server");
        let (sum, length) = (base64(&Sha256::digest(body)), body.len());
        let head = format!(
            "PUT {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\
             x-amz-checksum-sha256: {sum}\r\nConnection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect(self.address).expect("a server that listens");
        stream.write_all(head.as_bytes()).expect("a server that reads");
        stream.write_all(body).expect("a server that reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{key}: {answer}");
        self.forget();
    }

    /// What was asked for so far, in the order in which it came.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        locked(&self.shared.asked).clone()
    }

    /// Counts from here on.
    pub(crate) fn forget(&self) {
        locked(&self.shared.asked).clear();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the server panicked");
        }
    }
}

async fn serve(listener: &TcpListener, service: &S3Service, shared: &Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (service, shared) = (service.clone(), Arc::clone(shared));
        let each = service_fn(move |request| {
            let (service, shared) = (service.clone(), Arc::clone(&shared));
            async move { answer(request, &service, &shared).await }
        });
        // Head and body are two writes: together they would wait for each other.
        stream.set_nodelay(true).expect("a socket");
        tokio::spawn(async move {
            // A client that goes away is no error of the server.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), each).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    service: &S3Service,
    shared: &Shared,
) -> Result<Response<s3s::Body>, s3s::HttpError> {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str()).to_owned();
    let method = request.method().to_string();
    let trick = locked(&shared.tricks).as_mut().and_then(|tricks| tricks(&method, &target));
    let index = {
        let mut asked = locked(&shared.asked);
        asked.push(Asked { method, target, status: 0 });
        asked.len() - 1
    };
    let closed = || s3s::HttpError::new("closed".into());
    let mut response = match (shared.refusal(index), trick) {
        (Some(status), _) | (None, Some(Trick::Status(status))) => slow_down(status),
        (None, None) => Service::call(service, request).await?,
        (None, Some(Trick::Cut)) => {
            Service::call(service, request).await?;
            return Err(closed());
        }
        (None, Some(Trick::Lose)) => return Err(closed()),
        (None, Some(Trick::LateError)) => late_error(),
        (None, Some(Trick::Refuse(status, code))) => refusal(status, code),
    };
    match locked(&shared.goes).take() {
        None => {}
        Some((path, None)) => std::fs::remove_file(path).expect("a file"),
        Some((path, Some(body))) => std::fs::write(path, body).expect("a file"),
    }
    // What S3 says with every answer, and s3s does not.
    let id = http::HeaderValue::from(index);
    response.headers_mut().insert("x-amz-request-id", id);
    if let Some(asked) = locked(&shared.asked).get_mut(index) {
        asked.status = response.status().as_u16();
    }
    Ok(response)
}

/// What S3 may say when it has said 200 already.
fn late_error() -> Response<s3s::Body> {
    let text = "<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code><Message>We encountered an \
                internal error. Please try again.</Message></Error>";
    Response::new(s3s::Body::from(text.to_owned()))
}

/// What S3 says to who asks too often.
fn slow_down(status: u16) -> Response<s3s::Body> {
    refusal(status, "SlowDown")
}

fn refusal(status: u16, code: &str) -> Response<s3s::Body> {
    let text = format!("<Error><Code>{code}</Code><Message>Please do not.</Message></Error>");
    let mut response = Response::new(s3s::Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

impl Shared {
    /// The status for a request that is one too many; so many came before it.
    fn refusal(&self, index: usize) -> Option<u16> {
        let limit = self.limit?;
        let mut bucket = locked(&self.bucket);
        let now = Instant::now();
        let (level, since) = bucket.unwrap_or((limit.per_second, now));
        let level = level + now.duration_since(since).as_secs_f64() * limit.per_second;
        // What was saved up is borne at once, up to a quarter of a second's.
        let level = level.min(limit.per_second / 4.0);
        let borne = level >= 1.0 && index != 20;
        *bucket = Some((if borne { level - 1.0 } else { level }, now));
        (!borne).then_some(limit.status)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with it")
}
