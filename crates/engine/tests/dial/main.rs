//! Connections over TLS and through proxies, to servers of the test's own on 127.0.0.1.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests as well")]

mod pki;
mod proxy;
mod site;
mod tls;
