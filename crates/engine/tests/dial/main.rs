//! Connections over TLS and through proxies, to servers of the test's own on 127.0.0.1.

mod pki;
mod proxy;
mod site;
mod tls;
