//! What the environment says of proxies.

use super::*;
use windrow_model::url::Url;

fn proxies(variables: &[(&str, &str)]) -> Result<Proxies, Error> {
    Proxies::from_env(|name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    })
}

/// The port of the proxy that `url` is reached through.
fn via(variables: &[(&str, &str)], url: &str) -> Option<u16> {
    let origin = Url::parse(url).unwrap().origin;
    let host = Host::read(&origin.host).unwrap();
    proxies(variables).unwrap().of(&origin, &host).map(|proxy| proxy.port)
}

#[test]
fn variables_are_read_as_curl_reads_them() {
    let http = "http://example.org";
    let https = "https://example.org";
    for (variables, for_http, for_https) in [
        (&[][..], None, None),
        (&[("http_proxy", "p:1")], Some(1), None),
        (&[("HTTP_PROXY", "p:1")], Some(1), None),
        (&[("HTTP_PROXY", "p:1"), ("REQUEST_METHOD", "GET")], None, None),
        (&[("http_proxy", "p:1"), ("REQUEST_METHOD", "GET")], Some(1), None),
        (&[("http_proxy", "p:1"), ("HTTP_PROXY", "p:2")], Some(1), None),
        (&[("https_proxy", "p:1")], None, Some(1)),
        (&[("HTTPS_PROXY", "p:1")], None, Some(1)),
        (&[("all_proxy", "p:1")], Some(1), Some(1)),
        (&[("ALL_PROXY", "p:1"), ("HTTPS_PROXY", "p:2")], Some(1), Some(2)),
        (&[("http_proxy", ""), ("HTTP_PROXY", "p:2")], None, None),
        (&[("http_proxy", ""), ("all_proxy", "p:2")], None, Some(2)),
        (&[("http_proxy", "http://p")], Some(1080), None),
        (&[("http_proxy", "HTTP://[::1]:3/path")], Some(3), None),
        (&[("http_proxy", "http://u:p@w@p:4/")], Some(4), None),
        (&[("all_proxy", "p:1"), ("no_proxy", "*")], None, None),
        (&[("all_proxy", "p:1"), ("no_proxy", ""), ("NO_PROXY", "*")], Some(1), Some(1)),
        (&[("all_proxy", "p:1"), ("NO_PROXY", "example.org:80")], None, Some(1)),
    ] {
        assert_eq!(via(variables, http), for_http, "{variables:?}");
        assert_eq!(via(variables, https), for_https, "{variables:?}");
    }
}

#[test]
fn exceptions() {
    for (list, host, direct) in [
        ("example.org", "example.org", true),
        ("example.org", "www.example.org", true),
        (".example.org", "www.example.org", true),
        (".example.org", "example.org", true),
        ("*.example.org", "www.example.org", true),
        ("EXAMPLE.org.", "Www.Example.ORG.", true),
        ("example.org", "badexample.org", false),
        ("example.org", "example.org.evil.net", false),
        ("a, b\tc,,example.org", "example.org", true),
        ("127.0.0.1", "127.0.0.1", true),
        ("127.0.0.1", "0x7f.1", true),
        ("127.0.0.1", "[::ffff:127.0.0.1]", true),
        ("127.0.0.1", "127.0.0.11", false),
        ("10.0.0.0/8", "10.1.2.3", true),
        ("10.0.0.0/8", "11.1.2.3", false),
        ("10.0.0.0/99", "10.1.2.3", false),
        ("::1", "[::1]", true),
        ("[::1]", "[::1]", true),
        ("[::1]:80", "[::1]", true),
        ("[::1]:81", "[::1]", false),
        ("fc00::/7", "[fd00::1]", true),
        ("localhost", "localhost", true),
        ("example.org", "localhost", false),
        ("example.org:81", "example.org", false),
        ("127.0.0.1:80", "127.0.0.1", true),
        ("1.example.org", "example.org", false),
        ("* ", "example.org", true),
    ] {
        let variables = [("http_proxy", "p:1"), ("no_proxy", list)];
        let found = via(&variables, &format!("http://{host}"));
        assert_eq!(found.is_none(), direct, "{list} {host}");
    }
}

#[test]
fn what_is_not_supported_is_said_without_the_password() {
    for value in [
        "socks5://user:secret@p:1",
        "socks4a://user:secret@p:1",
        "https://user:secret@p:1",
        "ftp://user:secret@p:1",
        "http://user:secret@p:99999",
        "http://user:secret@p:0",
        "http://user:secret@p:x",
        "http://user:secret@",
        "http://user:secret@[p]:1",
        "http://user:secret@a b:1",
    ] {
        let error = proxies(&[("https_proxy", value)]).expect_err(value);
        let text = format!("{error} {error:?}");
        assert!(text.contains("https_proxy") && !text.contains("secret"), "{text}");
        assert!(error.advice().unwrap().contains("http://"), "{value}");
    }
}

#[test]
fn user_and_password_are_a_header_and_no_text() {
    let found = proxies(&[("http_proxy", "http://us%65r:p%40ss%3aw@p:1")]).unwrap();
    let proxy = found.http.as_ref().unwrap();
    // "user:p@ss:w"
    assert_eq!(proxy.authorization.as_deref(), Some("Basic dXNlcjpwQHNzOnc="));
    assert!(!format!("{found:?}").contains("dXNl"), "{found:?}");
    let found = proxies(&[("http_proxy", "http://user@p:1")]).unwrap();
    assert_eq!(found.http.unwrap().authorization.as_deref(), Some("Basic dXNlcjo="));
}

/// RFC 4648 section 10.
#[test]
fn base64_vectors() {
    for (plain, encoded) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(base64(plain.as_bytes()), encoded);
    }
}
