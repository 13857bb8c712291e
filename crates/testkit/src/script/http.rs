//! Responses, as bytes.

use super::Step;
use serde_json::json;

/// A page of a listing.
pub fn page<N: AsRef<str>>(names: impl IntoIterator<Item = N>, marker: Option<&str>) -> Vec<u8> {
    let names: Vec<_> = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
    let mut page = json!({ "FileNames": names });
    if let Some(marker) = marker {
        page["NextMarker"] = marker.into();
    }
    page.to_string().into_bytes()
}

/// A page of a listing whose names are any bytes: JSON but for those that are not UTF-8, which
/// stand in it as they are.
pub fn page_of_bytes(names: &[Vec<u8>], marker: Option<&str>) -> Vec<u8> {
    let mut page = b"{\"FileNames\": [".to_vec();
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            page.push(b',');
        }
        page.push(b'"');
        for chunk in name.utf8_chunks() {
            let text = json!(chunk.valid()).to_string();
            page.extend_from_slice(&text.as_bytes()[1..text.len() - 1]);
            page.extend_from_slice(chunk.invalid());
        }
        page.push(b'"');
    }
    page.push(b']');
    if let Some(marker) = marker {
        page.extend_from_slice(format!(", \"NextMarker\": {}", json!(marker)).as_bytes());
    }
    page.push(b'}');
    page
}

/// A response with its length: `status` is `200 OK`, `headers` are lines without their ends.
pub fn response(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut bytes = head(status, headers, Some(body.len()));
    bytes.extend_from_slice(body);
    bytes
}

/// The head of a response, with a length or without.
pub fn head(status: &str, headers: &[&str], length: Option<usize>) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\n");
    for line in headers {
        text += line;
        text += "\r\n";
    }
    if let Some(length) = length {
        text += &format!("Content-Length: {length}\r\n");
    }
    text += "\r\n";
    text.into_bytes()
}

/// `200 OK` with this body.
pub fn ok(body: &[u8]) -> Vec<u8> {
    response("200 OK", &[], body)
}

/// The step that sends `200 OK` with this body.
pub fn send_ok(body: &[u8]) -> Vec<Step> {
    vec![Step::Send(ok(body))]
}

/// The step that sends a status with a word of text.
pub fn send_status(status: &str) -> Vec<Step> {
    vec![Step::Send(response(status, &["Content-Type: text/plain"], b"no luck\n"))]
}

/// A chunked response in chunks of this size.
pub fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = head("200 OK", &["Transfer-Encoding: chunked"], None);
    for chunk in body.chunks(size) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}
