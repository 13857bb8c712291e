//! Numbers with units, as people type them.

use std::time::Duration;
use windrow_engine::ShardSize;

/// Bytes: `1048576`, `256MiB`, `10GB`, `64k` (a bare letter counts in 1024).
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || "a number of bytes, such as 1048576, 256MiB or 10GB".to_owned();
    let (number, unit) = split(text);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(wrong()),
    };
    scale(number, factor as f64).map(|bytes| bytes as u64).ok_or_else(wrong)
}

/// A time: `30s`, `250ms`, `10us`, `5m`, `2h`, `1d`; a bare number counts in seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time, such as 30s, 250ms or 5m".to_owned();
    let (number, unit) = split(text);
    let seconds = match unit {
        "" | "s" => 1.0,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let seconds = scale(number, seconds).ok_or_else(wrong)?;
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

/// Requests a second: `500/s`, `100/m`, `5000/h`; a bare number counts for seconds.
pub(crate) fn parse_rate(text: &str) -> Result<f64, String> {
    let wrong = || "a rate, such as 500/s, 0.5/s, 100/m or 5000/h".to_owned();
    let (number, unit) = split(text);
    let seconds = match unit {
        "" | "/s" => 1.0,
        "/m" => 60.0,
        "/h" => 3600.0,
        "/d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let rate = number.parse::<f64>().map_err(|_| wrong())? / seconds;
    if rate > 0.0 && rate <= 1e9 { Ok(rate) } else { Err(wrong()) }
}

/// Bytes a second: `10MiB/s`, `500k`.
pub(crate) fn parse_byte_rate(text: &str) -> Result<u64, String> {
    match parse_bytes(text.strip_suffix("/s").unwrap_or(text)) {
        Ok(bytes) if bytes > 0 => Ok(bytes),
        _ => Err("a number of bytes a second, such as 10MiB/s".into()),
    }
}

/// Objects (`10000`) or bytes (`256MiB`): a unit tells them apart.
pub(crate) fn parse_shard_size(text: &str) -> Result<ShardSize, String> {
    let wrong = || "a number of objects (10000) or of bytes (256MiB), at least 1".to_owned();
    let size = match text.parse::<u64>() {
        Ok(objects) => ShardSize { objects, bytes: u64::MAX },
        Err(_) => ShardSize { objects: u64::MAX, bytes: parse_bytes(text).map_err(|_| wrong())? },
    };
    if size.objects == 0 || size.bytes == 0 { Err(wrong()) } else { Ok(size) }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

fn scale(number: &str, factor: f64) -> Option<f64> {
    let value = number.parse::<f64>().ok()? * factor;
    (value.is_finite() && value < u64::MAX as f64).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        assert_eq!(parse_rate("500/s"), Ok(500.0));
        assert_eq!(parse_rate("500"), Ok(500.0));
        assert_eq!(parse_rate("90/m"), Ok(1.5));
        assert_eq!(parse_rate("7200/h"), Ok(2.0));
        assert_eq!(parse_rate("0.5/s"), Ok(0.5));
        for text in ["", "/s", "0/s", "-1/s", "5/x", "5 s", "inf", "1e99", "5//s"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
        assert_eq!(parse_byte_rate("1MiB/s"), Ok(1 << 20));
        assert_eq!(parse_byte_rate("500k"), Ok(500 << 10));
        assert!(["0", "/s", "1/m"].iter().all(|text| parse_byte_rate(text).is_err()));
    }

    #[test]
    fn bytes_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("100", 100),
            ("64k", 65_536),
            ("1.5KiB", 1536),
            ("256MiB", 256 << 20),
            ("10GB", 10_000_000_000),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "k", "-1", "1x", "1e3", "99999999999TB", "1..2", "MiB1"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_have_units() {
        for (text, millis) in [("30s", 30_000), ("2", 2_000), ("250ms", 250), ("1.5m", 90_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "1y", "1 0s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_shard_size_is_objects_or_bytes() {
        assert_eq!(parse_shard_size("10"), Ok(ShardSize { objects: 10, bytes: u64::MAX }));
        assert_eq!(parse_shard_size("1k"), Ok(ShardSize { objects: u64::MAX, bytes: 1024 }));
        assert!(["0", "0k", "", "many"].iter().all(|text| parse_shard_size(text).is_err()));
    }
}
