//! TLS to a server: whom to believe, and what it means when a handshake fails.
//!
//! One configuration serves all cores, so that what one core's handshake left resumes the next
//! one's. There is no way to leave the server's certificate unchecked.

use super::address::Host;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, InvalidMessage, RootCertStore};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use windrow_model::limits::{PEM_BYTES, TLS_SESSIONS};
use windrow_model::{Error, Failure, FailureClass};

/// HTTP/2 and HTTP/1.1 as ALPN names them (RFC 9113 section 3.1, RFC 7301 section 6).
const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// Which certificates are believed and shown.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    /// Roots to believe in place of the platform's, if there are any.
    pub(super) roots: Vec<PathBuf>,
    /// Shown to servers that ask for one.
    pub(super) client: Option<PathBuf>,
    /// Its key, where it is not in the same file.
    pub(super) client_key: Option<PathBuf>,
}

/// Makes the configuration of all cores.
///
/// The platform's roots are read by `rustls-native-certs` (which heeds `SSL_CERT_FILE` and
/// `SSL_CERT_DIR`): on Linux a platform verifier does the same and brings more with it.
///
/// # Errors
/// A file that cannot be read or holds no certificate or key; a key that is not the certificate's;
/// a platform without roots.
pub(super) fn configuration(
    certificates: &Certificates,
    http2: bool,
) -> Result<Arc<ClientConfig>, Error> {
    let roots = match certificates.roots.is_empty() {
        true => platform_roots()?,
        false => own_roots(&certificates.roots)?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::environment("TLS", "cannot be set up").why(error))?
        .with_root_certificates(roots);
    let mut config = match (&certificates.client, &certificates.client_key) {
        (None, None) => builder.with_no_client_auth(),
        (None, Some(key)) => {
            let what = "a key without its certificate";
            return Err(Error::usage(key.display().to_string(), what));
        }
        (Some(cert), key) => {
            let (chain, key) = client_certificate(cert, key.as_deref().unwrap_or(cert))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                let what = "cannot be used as a client certificate";
                Error::environment(cert.display().to_string(), what).why(error)
            })?
        }
    };
    config.alpn_protocols = match http2 {
        true => vec![H2.to_vec(), HTTP_1_1.to_vec()],
        false => vec![HTTP_1_1.to_vec()],
    };
    config.resumption = Resumption::in_memory_sessions(TLS_SESSIONS);
    Ok(Arc::new(config))
}

/// The same without HTTP/2; sessions are shared.
pub(super) fn without_http2(config: &Arc<ClientConfig>) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(config);
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Arc::new(config)
}

fn platform_roots() -> Result<RootCertStore, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A platform has odd ones among its roots; they are no reason to do without the others.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let error = Error::environment("TLS", "no root certificates found on this system");
        let error = match found.errors.first() {
            Some(why) => error.why(why),
            None => error,
        };
        return Err(error.hint("install ca-certificates, or name a file with --cacert"));
    }
    Ok(roots)
}

fn own_roots(files: &[PathBuf]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for file in files {
        for certificate in read_certificates(file)? {
            roots.add(certificate).map_err(|error| {
                Error::environment(file.display().to_string(), "not a certificate").why(error)
            })?;
        }
    }
    Ok(roots)
}

fn client_certificate(
    cert: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let chain = read_certificates(cert)?;
    let private = PrivateKeyDer::from_pem_slice(&read_pem(key)?).map_err(|_| {
        // Not the parser's words: they could hold a piece of the key.
        Error::environment(key.display().to_string(), "holds no private key in PEM form")
            .hint("a key that is encrypted by a passphrase cannot be used")
    })?;
    Ok((chain, private))
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read_pem(file)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => {
            Err(Error::environment(file.display().to_string(), "holds no certificate in PEM form"))
        }
    }
}

fn read_pem(file: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(PEM_BYTES + 1).read_to_end(&mut bytes));
    let failed = |why: &dyn std::fmt::Display| {
        Error::environment(file.display().to_string(), "cannot read").why(why)
    };
    match read {
        Ok(_) if bytes.len() as u64 > PEM_BYTES => Err(failed(&"it is too large")),
        Ok(_) => Ok(bytes),
        Err(error) => Err(failed(&error)),
    }
}

/// The name that a server's certificate has to be for.
pub(super) fn server_name(host: &Host) -> Result<ServerName<'static>, Failure> {
    match host {
        Host::Address(ip) => Ok(ServerName::IpAddress((*ip).into())),
        Host::Name(name) => ServerName::try_from(name.clone())
            .map_err(|_| Failure::new(FailureClass::Tls, "no certificate can be for this host")),
    }
}

/// Makes the handshake; also gives whether the server chose HTTP/2.
///
/// # Errors
/// Of the class `Tls` where the server, or what it shows, is to blame: that stays so. Of the class
/// `Connect` where the connection broke.
///
/// # Cancel
/// Dropping it closes the connection.
pub(super) async fn handshake(
    config: Arc<ClientConfig>,
    stream: TcpStream,
    name: ServerName<'static>,
) -> Result<(Box<TlsStream<TcpStream>>, bool), Failure> {
    let connected = TlsConnector::from(config).connect(name, stream).await;
    let stream = connected.map_err(|error| {
        failure_of(&error).unwrap_or_else(|| {
            let detail = match error.kind() {
                io::ErrorKind::UnexpectedEof => "the server closed during the TLS handshake",
                io::ErrorKind::ConnectionReset => "connection reset during the TLS handshake",
                _ => "the connection broke during the TLS handshake",
            };
            Failure::new(FailureClass::Connect, detail)
        })
    })?;
    let http2 = stream.get_ref().1.alpn_protocol() == Some(H2);
    Ok((Box::new(stream), http2))
}

/// What an error of a [`Stream`](crate::wire::Stream) says of TLS; `None` if it is one of the
/// connection below it. With TLS 1.3 a server refuses a client's certificate only after the
/// handshake, so that it shows in the first read.
pub fn failure_of(error: &io::Error) -> Option<Failure> {
    use rustls::Error as E;
    let error = error.get_ref()?.downcast_ref::<E>()?;
    let detail = match error {
        E::InvalidCertificate(why) => certificate_detail(why),
        E::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the server does not speak TLS on this port"
        }
        E::AlertReceived(alert) => match alert_detail(*alert) {
            Some(detail) => detail,
            None => {
                let detail = "the server failed in the TLS handshake";
                return Some(Failure::new(FailureClass::Connect, detail));
            }
        },
        E::PeerIncompatible(_) => "the server has no TLS version or cipher that is safe",
        E::NoCertificatesPresented => "the server shows no certificate",
        E::NoApplicationProtocol => "the server speaks no HTTP version that is wanted",
        // A bit that fell over on its way looks like that as well.
        E::DecryptError => {
            let detail = "what the server sent cannot be decrypted";
            return Some(Failure::new(FailureClass::Connect, detail));
        }
        E::InvalidMessage(_) | E::PeerMisbehaved(_) => "the server breaks the rules of TLS",
        _ => "the TLS handshake failed",
    };
    Some(Failure::new(FailureClass::Tls, detail))
}

fn certificate_detail(why: &CertificateError) -> &'static str {
    use CertificateError as C;
    match why {
        C::Expired | C::ExpiredContext { .. } => "the server's certificate has expired",
        C::NotValidYet | C::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet"
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            "the server's certificate is for another name"
        }
        C::UnknownIssuer => "the server's certificate is self-signed or of an unknown issuer",
        C::Revoked => "the server's certificate was revoked",
        C::BadSignature => "the server's certificate has a bad signature",
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => {
            "the server's certificate is not one for servers"
        }
        C::UnsupportedSignatureAlgorithmContext { .. }
        | C::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the server's certificate is signed in a way that is not safe, or not known"
        }
        // Most often a certificate authority's own (`openssl req -x509` makes such).
        C::Other(_) => "the server's certificate is not one for servers, or of an old form",
        C::BadEncoding => "the server's certificate cannot be read",
        _ => "the server's certificate is not to be trusted",
    }
}

/// What an alert says that will be said again; `None` for one that may pass.
fn alert_detail(alert: AlertDescription) -> Option<&'static str> {
    use AlertDescription as A;
    Some(match alert {
        A::InternalError | A::UserCanceled | A::CloseNotify | A::BadRecordMac => return None,
        A::CertificateRequired | A::NoCertificate => "the server asks for a client certificate",
        A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::UnknownCA
        | A::AccessDenied => "the server refuses the client certificate, or the lack of one",
        A::HandshakeFailure | A::InsufficientSecurity => {
            "the server and windrow have no cipher in common"
        }
        A::ProtocolVersion => "the server has no TLS version that is safe",
        A::UnrecognisedName => "the server does not know the host by that name",
        A::NoApplicationProtocol => "the server speaks no HTTP version that is wanted",
        _ => "the server refuses the TLS handshake",
    })
}
