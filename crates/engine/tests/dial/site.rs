//! Servers of a few lines, and the runtime that client and server share.

use super::pki::{Authority, Identity};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::cell::RefCell;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use windrow_engine::wire::dial::tls_failure;
use windrow_engine::wire::h1::{Broken, Exchange, Head, Interest, Loss, Session, Template};
use windrow_engine::wire::{Dialed, Network, NetworkOptions, NoConnection, Stream, Target, Trust};
use windrow_model::url::Url;
use windrow_model::{Failure, FailureClass};

/// Nothing here takes so long, unless it hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn run<T>(main: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, main)
}

/// Serves each connection with `serve`.
pub(crate) async fn listen<F: Future<Output = ()> + 'static>(
    serve: impl Fn(TcpStream) -> F + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            spawn_local(serve(stream));
        }
    });
    addr
}

pub(crate) type Kinds = Rc<RefCell<Vec<HandshakeKind>>>;

/// Serves each connection whose handshake succeeds with `serve`; gives which kinds of handshake
/// there were.
pub(crate) async fn listen_tls<F: Future<Output = ()> + 'static>(
    config: ServerConfig,
    serve: impl Fn(TlsStream<TcpStream>) -> F + 'static,
) -> (SocketAddr, Kinds) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let kinds = Kinds::default();
    let seen = Rc::clone(&kinds);
    let serve = Rc::new(serve);
    let addr = listen(move |stream| {
        let (acceptor, seen, serve) = (acceptor.clone(), Rc::clone(&seen), Rc::clone(&serve));
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                seen.borrow_mut().extend(stream.get_ref().1.handshake_kind());
                serve(stream).await;
            }
        }
    });
    (addr.await, kinds)
}

const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];

pub(crate) fn server(identity: Identity) -> ServerConfig {
    server_with(identity, VERSIONS, None)
}

/// A server of these versions, which wants a certificate of its clients if `clients` is given.
pub(crate) fn server_with(
    identity: Identity,
    versions: &[&'static SupportedProtocolVersion],
    clients: Option<&Authority>,
) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(versions).unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der()).unwrap();
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    builder.with_single_cert(identity.chain, identity.key).unwrap()
}

/// Answers each request with `hello`.
pub(crate) async fn hello(mut stream: TlsStream<TcpStream>) {
    while read_head(&mut stream).await.is_some() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        stream.write_all(answer).await.unwrap();
        stream.flush().await.unwrap();
    }
}

/// A request; `None` if there is none any more.
pub(crate) async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// A network that believes `authority`.
pub(crate) fn trusting(authority: &Authority) -> NetworkOptions {
    NetworkOptions { ca_certs: vec![authority.file()], ..NetworkOptions::default() }
}

pub(crate) fn target(network: &Arc<Network>, url: &str) -> Rc<Target> {
    let origin = Url::parse(url).unwrap().origin;
    Rc::new(Target::new(Arc::clone(network), origin, Trust::User))
}

/// Asks for `/` and reads the answer, as the real codec sees it.
pub(crate) async fn ask(stream: &mut Stream) -> Result<Vec<u8>, Broken> {
    let mut request = Vec::new();
    let template = Template::new("localhost", []).unwrap();
    template.render(&mut request, |out| out.push(b'/'));
    stream.write_all(&request).await.unwrap();
    stream.flush().await.unwrap();
    let mut session = Session::new(1);
    session.sent(());
    let mut answer = Answer::default();
    let mut input = Vec::new();
    while !answer.complete {
        let mut room = [0; 1000];
        match stream.read(&mut room).await {
            Ok(0) => {
                let broken = session.end_of_input(&input, &mut answer);
                return if answer.complete { Ok(answer.body) } else { Err(broken) };
            }
            Ok(len) => input.extend_from_slice(&room[..len]),
            Err(error) => {
                let failure = tls_failure(&error);
                let failure = failure.unwrap_or(match error.kind() {
                    ErrorKind::UnexpectedEof => Failure::new(FailureClass::Reset, "cut"),
                    _ => Failure::new(FailureClass::Reset, "reset"),
                });
                return Err(Broken::Failed(failure));
            }
        }
        let used = session.receive(&input, &mut answer)?;
        input.drain(..used);
    }
    Ok(answer.body)
}

#[derive(Default)]
struct Answer {
    body: Vec<u8>,
    complete: bool,
}

impl Exchange for Answer {
    type Ticket = ();

    fn head(&mut self, (): &mut (), _: &Head, _: &[u8]) -> Interest {
        Interest::Take
    }

    fn whole(&mut self, (): (), body: &[u8]) {
        self.body.extend_from_slice(body);
        self.complete = true;
    }

    fn data(&mut self, (): &mut (), bytes: &[u8]) -> Result<(), Failure> {
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self, (): ()) {
        self.complete = true;
    }

    fn lost(&mut self, (): (), _: Loss) {}
}

pub(crate) fn failed(result: Result<Dialed, NoConnection>) -> Failure {
    match result {
        Err(NoConnection::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

/// Waits until something came for `stream`.
pub(crate) async fn readable(stream: &Stream) {
    match stream {
        Stream::Plain(stream) => stream.readable().await.unwrap(),
        Stream::Tls(stream) => stream.get_ref().0.readable().await.unwrap(),
    }
}
