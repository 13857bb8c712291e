//! What tests of TLS, HTTP/2, redirects and proxies need: an authority, lists, and something that
//! stands between windrow and a server.

use crate::support::{Objects, Place};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use windrow_testkit::script::body_of;
use windrow_testkit::{Nginx, Windrow};

/// Who signs certificates. Its own lies at `ca.pem`.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: Place,
}

/// Authorities so far.
static MADE: AtomicUsize = AtomicUsize::new(0);

/// Files of a certificate and its key.
pub(crate) struct Identity {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Identity {
    /// What nginx has to know to show it.
    pub(crate) fn shown(&self) -> String {
        let (cert, key) = (self.cert.display(), self.key.display());
        format!("ssl_certificate {cert}; ssl_certificate_key {key};\n")
    }
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // A name that no other has: OpenSSL takes what is issued by its own name for self-signed.
        params.distinguished_name.push(
            DnType::CommonName,
            format!("authority {}", MADE.fetch_add(1, Ordering::Relaxed)),
        );
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let folder = Place::new();
        std::fs::write(folder.at("ca.pem"), issuer.pem()).expect("a temporary file");
        Self { issuer, folder }
    }

    /// What `--cacert` names.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.at("ca.pem")
    }

    /// A certificate for these names or addresses, changed in some way.
    pub(crate) fn issue(
        &self,
        file: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let cert = params(names, change).signed_by(&key, &self.issuer).expect("a certificate");
        self.write(file, &cert.pem(), &key)
    }

    /// A certificate that nobody else signed.
    pub(crate) fn self_signed(&self, file: &str) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let cert = params(HERE, |_| {}).self_signed(&key).expect("a certificate");
        self.write(file, &cert.pem(), &key)
    }

    /// A good one for this machine.
    pub(crate) fn good(&self) -> Identity {
        self.issue("good", HERE, |_| {})
    }

    fn write(&self, file: &str, cert: &str, key: &KeyPair) -> Identity {
        let path = |end: &str| self.folder.at(&format!("{file}.{end}"));
        std::fs::write(path("pem"), cert).expect("a temporary file");
        std::fs::write(path("key"), key.serialize_pem()).expect("a temporary file");
        Identity { cert: path("pem"), key: path("key") }
    }
}

/// What servers of tests are called.
pub(crate) const HERE: &[&str] = &["127.0.0.1", "127.0.0.2", "localhost"];

fn params(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    change(&mut params);
    params
}

/// Objects `n0`, `n1`, ... with bodies of their own.
pub(crate) fn numbered(count: usize) -> Objects {
    let names = (0..count).map(|number| format!("n{number}").into_bytes());
    names.map(|name| (name.clone(), body_of(&name))).collect()
}

/// nginx over a folder in the place, with TLS and a good certificate.
pub(crate) fn over_tls(
    place: &Place,
    authority: &Authority,
    objects: &Objects,
    listen: &str,
    settings: &str,
) -> Nginx {
    let folder = place.at("served");
    write_all(&folder, objects);
    let (shown, folder) = (authority.good().shown(), folder.display());
    Nginx::start_as(listen, "", &format!("{shown} {settings} root {folder};"))
}

/// Objects as files.
pub(crate) fn write_all(folder: &Path, objects: &Objects) {
    std::fs::create_dir_all(folder).expect("a folder");
    for (name, body) in objects {
        let name = String::from_utf8_lossy(name).into_owned();
        std::fs::write(folder.join(name), body).expect("a file");
    }
}

/// Writes a list of URLs and the names to store them under; gives its path.
pub(crate) fn list(place: &Place, rows: impl IntoIterator<Item = (String, String)>) -> String {
    let mut text = String::from("url,name\n");
    for (url, name) in rows {
        text += &format!("{url},{name}\n");
    }
    let path = place.at("list.csv");
    std::fs::write(&path, text).expect("a temporary file");
    path.to_string_lossy().into_owned()
}

/// The list of these objects at a server.
pub(crate) fn list_at(place: &Place, base: &str, objects: &Objects) -> String {
    let names = objects.keys().map(|name| String::from_utf8_lossy(name).into_owned());
    list(place, names.map(|name| (format!("{base}/{name}"), name)))
}

/// `windrow get` of such a list.
pub(crate) fn get_list(place: &Place, source: &str) -> Windrow {
    place.get(source).args(["--name-col", "name"])
}

/// Finds the server that a client wants, perhaps by what the client says first.
type Open = dyn Fn(&mut TcpStream) -> Option<TcpStream> + Send + Sync;

/// Stands between windrow and a server, counts connections, and may cut what the server sends.
pub(crate) struct Relay {
    port: u16,
    connections: Arc<AtomicUsize>,
    ending: Arc<AtomicBool>,
}

impl Relay {
    /// In front of a port of this machine.
    pub(crate) fn to(port: u16) -> Self {
        Self::start(0, move |_| TcpStream::connect(("127.0.0.1", port)).ok())
    }

    /// The same, where the last bytes that the server sends on each connection are lost.
    pub(crate) fn without_last(bytes: usize, port: u16) -> Self {
        Self::start(bytes, move |_| TcpStream::connect(("127.0.0.1", port)).ok())
    }

    pub(crate) fn start(
        lost: usize,
        open: impl Fn(&mut TcpStream) -> Option<TcpStream> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let (connections, ending) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (counted, over) = (Arc::clone(&connections), Arc::clone(&ending));
        let open: Arc<Open> = Arc::new(open);
        std::thread::spawn(move || {
            while let Ok((mut client, _)) = listener.accept() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                counted.fetch_add(1, Ordering::Relaxed);
                let open = Arc::clone(&open);
                std::thread::spawn(move || {
                    if let Some(server) = open(&mut client) {
                        join(&client, &server, lost);
                    }
                });
            }
        });
        Self { port, connections, ending }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        // Wakes the acceptor.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Passes bytes on both ways, until both sides are done.
fn join(client: &TcpStream, server: &TcpStream, lost: usize) {
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    std::thread::scope(|scope| {
        scope.spawn(|| pass(client, server, 0));
        pass(server, client, lost);
        // Nothing more comes: what the client still says interests nobody.
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    });
}

/// A handshake has less. It goes back and forth, so nothing of it may be held back.
const HANDSHAKE_BYTES: usize = 8 << 10;

/// Passes bytes on until there are no more, but for the last ones.
fn pass(mut from: &TcpStream, mut to: &TcpStream, lost: usize) {
    let (mut held, mut passed) = (Vec::new(), 0);
    let mut buffer = [0; 4 << 10];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        held.extend_from_slice(&buffer[..len]);
        let lost = if passed + held.len() > HANDSHAKE_BYTES { lost } else { 0 };
        let sure = held.len().saturating_sub(lost);
        passed += sure;
        if to.write_all(&held[..sure]).is_err() {
            break;
        }
        held.drain(..sure);
    }
    let _ = to.shutdown(Shutdown::Write);
}
