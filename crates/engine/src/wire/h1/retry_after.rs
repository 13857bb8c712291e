//! `Retry-After` (RFC 9110 section 10.2.3): a number of seconds, or a date.

use super::head::header;
use std::time::{Duration, SystemTime};

/// How long a response asks to wait, if it does so in words that can be read.
///
/// A date is compared with the server's own `Date`, so that a wrong clock here does not matter;
/// `now` stands in where there is none. A date that is past, and anything else, is no wish.
pub fn retry_after(head: &[u8], now: SystemTime) -> Option<Duration> {
    let value = std::str::from_utf8(header(head, "retry-after")?).ok()?.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a number holds are a long time too.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let server_now = date(head).map(|date| SystemTime::UNIX_EPOCH + Duration::from_secs(date));
    until.duration_since(server_now.unwrap_or(now)).ok()
}

/// What time it is to a server (`Date`, RFC 9110 section 6.6.1), in seconds since 1970.
pub fn date(head: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(header(head, "date")?).ok()?;
    let date = httpdate::parse_http_date(text.trim()).ok()?;
    date.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Option<u64> {
        let head = format!("HTTP/1.1 503 Busy\r\n{lines}\r\n\r\n");
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:00 GMT").unwrap();
        retry_after(head.as_bytes(), now).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_and_dates_are_read() {
        assert_eq!(read("Retry-After: 7"), Some(7));
        assert_eq!(read("retry-after:  0 "), Some(0));
        assert_eq!(read("Retry-After: 99999999999999999999999"), Some(u64::MAX));
        assert_eq!(read("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT"), Some(37));
        assert_eq!(read("Retry-After: Sunday, 06-Nov-94 08:49:37 GMT"), Some(37));
        assert_eq!(read("Retry-After: Sun Nov  6 08:49:37 1994"), Some(37));
    }

    #[test]
    fn the_servers_clock_counts() {
        let lines = "Date: Sun, 06 Nov 1994 10:00:00 GMT\r\n\
                     Retry-After: Sun, 06 Nov 1994 10:00:05 GMT";
        assert_eq!(read(lines), Some(5));
    }

    #[test]
    fn nonsense_and_the_past_are_no_wish() {
        for lines in [
            "X: y",
            "Retry-After:",
            "Retry-After: soon",
            "Retry-After: -5",
            "Retry-After: 1.5",
            "Retry-After: 5s",
            "Retry-After: Sun, 06 Nov 1994 08:48:59 GMT",
            "Retry-After: \u{e9}",
        ] {
            assert_eq!(read(lines), None, "{lines}");
        }
    }
}
