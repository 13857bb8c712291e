//! Requests as they are rendered.

use super::Template;

fn rendered(template: &Template, target: &str) -> String {
    let mut out = b"before".to_vec();
    template.render(&mut out, |out| out.extend_from_slice(target.as_bytes()));
    String::from_utf8(out).unwrap()
}

#[test]
fn a_request() {
    let headers = [("User-Agent", "windrow"), ("X-Spaces", "  a\tb  "), ("X-Empty", "")];
    let template = Template::new("h:80", headers).unwrap();
    assert_eq!(
        rendered(&template, "/get/a%20b?c=d"),
        "beforeGET /get/a%20b?c=d HTTP/1.1\r\nHost: h:80\r\nUser-Agent: windrow\r\n\
         X-Spaces: a\tb\r\nX-Empty: \r\n\r\n"
    );
    assert_eq!(
        rendered(&Template::new("h", []).unwrap(), "/"),
        "beforeGET / HTTP/1.1\r\nHost: h\r\n\r\n"
    );
}

#[test]
fn one_request_cannot_be_made_to_look_like_two() {
    for bad in ["\r\n", "\n", "\r", "a\r\nX: y", "a\r\n\r\nGET / HTTP/1.1", "\0", "\x7F", "\x1B"] {
        assert_eq!(Template::new("h", [("X-A", bad)]).unwrap_err(), "X-A", "{bad:?}");
        assert_eq!(Template::new(bad, []).unwrap_err(), "Host", "{bad:?}");
        assert!(Template::new("h", [(bad, "x")]).is_err(), "{bad:?}");
    }
    for bad in ["", "a b", "a:", "a ", " a", "\u{e9}", "(a)"] {
        assert!(Template::new("h", [(bad, "x")]).is_err(), "{bad:?}");
    }
    // What is wrong is said without control characters.
    assert_eq!(Template::new("h", [("a\r\n", "x")]).unwrap_err(), "a\\r\\n");
}
