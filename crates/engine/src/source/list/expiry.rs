//! When a signed URL ceases to be valid, as its query says.
//!
//! | signature | expires at |
//! |---|---|
//! | AWS SigV4 | `X-Amz-Date` + `X-Amz-Expires` ("Authenticating Requests: Using Query Parameters") |
//! | GCS V4 | `X-Goog-Date` + `X-Goog-Expires` ("Signed URLs", canonical query string) |
//! | AWS SigV2, GCS V2, CloudFront | `Expires`, where there is a `Signature` |
//! | Azure SAS | `se`, where there is a `sig` ("Create a service SAS") |
//!
//! Names of parameters are compared without regard to case, as the services do. What lies in a
//! CloudFront `Policy` is not read.

use std::borrow::Cow;
use windrow_model::percent;

/// The last second, as seconds since 1970 (UTC), at which a target (path and query) is valid;
/// `None` where nothing says so. 1 stands for all that is before 1970, `u32::MAX` for all after
/// 2106. Where a URL bears two such times the earlier one counts.
pub fn expiry(target: &str) -> Option<u32> {
    let query = &target[memchr::memchr(b'?', target.as_bytes())? + 1..];
    let (mut date, mut seconds) = ([None; 2], [None; 2]);
    let (mut expires, mut signature) = (None, false);
    let (mut se, mut sig) = (None, false);
    let mut rest = Some(query);
    while let Some(all) = rest {
        let end = memchr::memchr(b'&', all.as_bytes());
        rest = end.map(|end| &all[end + 1..]);
        // Most parameters are none of these, and one byte tells.
        if !matches!(all.as_bytes().first(), Some(b'x' | b'X' | b'e' | b'E' | b's' | b'S')) {
            continue;
        }
        let parameter = &all[..end.unwrap_or(all.len())];
        // No name is longer than `X-Goog-Expires`.
        let Some(equals) = parameter.bytes().take(15).position(|b| b == b'=') else { continue };
        let (name, value) = (&parameter[..equals], &parameter[equals + 1..]);
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            2 if is("se") => se = Some(value),
            3 if is("sig") => sig = true,
            7 if is("Expires") => expires = Some(value),
            9 if is("Signature") => signature = true,
            10 if is("X-Amz-Date") => date[0] = Some(value),
            11 if is("X-Goog-Date") => date[1] = Some(value),
            13 if is("X-Amz-Expires") => seconds[0] = Some(value),
            14 if is("X-Goog-Expires") => seconds[1] = Some(value),
            _ => {}
        }
    }
    let v4 = date.into_iter().zip(seconds).filter_map(|(date, seconds)| {
        let seconds = i64::try_from(number(seconds?)?).unwrap_or(i64::MAX);
        Some(instant(&decoded(date?)?)?.saturating_add(seconds))
    });
    let v2 = expires.filter(|_| signature).and_then(number);
    let v2 = v2.map(|at| i64::try_from(at).unwrap_or(i64::MAX));
    let azure = se.filter(|_| sig).and_then(|at| instant(&decoded(at)?));
    let at = v4.chain(v2).chain(azure).min()?;
    Some(u32::try_from(at.max(1)).unwrap_or(u32::MAX))
}

fn decoded(value: &str) -> Option<Cow<'_, [u8]>> {
    match memchr::memchr(b'%', value.as_bytes()) {
        None => Some(Cow::Borrowed(value.as_bytes())),
        Some(_) => percent::decode(value.as_bytes()).map(Cow::Owned),
    }
}

/// Digits only; what is beyond 2^64 is as good as never.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

/// `YYYYMMDDTHHMMSSZ`, `YYYY-MM-DDTHH:MM[:SS[.fraction]]Z` or `YYYY-MM-DD` (midnight, UTC) as seconds
/// since 1970.
fn instant(text: &[u8]) -> Option<i64> {
    let basic = text.len() == 16 && text[8] == b'T';
    let (year, rest) = digits(text, 4)?;
    let (month, rest) = digits(mark(rest, b'-', basic)?, 2)?;
    let (day, rest) = digits(mark(rest, b'-', basic)?, 2)?;
    let mut at = days_from_civil(year, month, day)? * 86_400;
    if rest.is_empty() {
        return Some(at);
    }
    let (hour, rest) = digits(mark(rest, b'T', false)?, 2)?;
    let (minute, mut rest) = digits(mark(rest, b':', basic)?, 2)?;
    if hour > 24 || minute > 59 {
        return None;
    }
    at += hour * 3600 + minute * 60;
    if basic || rest.first() == Some(&b':') {
        let (second, behind) = digits(mark(rest, b':', basic)?, 2)?;
        if second > 60 {
            return None;
        }
        at += second;
        rest = behind;
        if let Some(fraction) = rest.strip_prefix(b".") {
            rest = fraction.trim_ascii_start();
            while let [b'0'..=b'9', behind @ ..] = rest {
                rest = behind;
            }
        }
    }
    matches!(rest, b"Z" | b"z").then_some(at)
}

/// What is behind a sign that has to stand there, but for the basic format.
fn mark(text: &[u8], sign: u8, basic: bool) -> Option<&[u8]> {
    match basic {
        true => Some(text),
        false => text.strip_prefix(&[sign]),
    }
}

fn digits(text: &[u8], count: usize) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_at_checked(count)?;
    let value = digits.iter().try_fold(0, |value, &digit| {
        digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0'))
    })?;
    Some((value, rest))
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar; `None` where it has no such
/// day. The algorithm is Howard Hinnant's `days_from_civil` ("chrono-Compatible Low-Level Date
/// Algorithms"): years begin with March, so that the leap day is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=last).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signature_says_when_it_ends() {
        for (target, expected) in [
            ("/a", None),
            ("/a?x=1&y", None),
            ("/a?", None),
            ("/a?X-Amz-Date=20261121T100000Z&X-Amz-Expires=60", Some(1_795_255_260)),
            ("/a?b&x-amz-expires=0&x-amz-date=20261121T100000Z", Some(1_795_255_200)),
            ("/a?X-Amz-Date=20261121T100000Z", None),
            ("/a?X-Amz-Expires=5", None),
            ("/a?X-Amz-Date=20261121T1000Z&X-Amz-Expires=60", None),
            ("/a?X-Amz-Date=20261121T100000Z&X-Amz-Expires=-1", None),
            ("/a?X-Amz-Date=20261121T100000Z&X-Goog-Expires=5", None),
            ("/a?X-Goog-Date=20261121T100000Z&X-Goog-Expires=3600", Some(1_795_258_800)),
            ("/a?Expires=1795255200&Signature=x&AWSAccessKeyId=y", Some(1_795_255_200)),
            ("/a?Expires=1795255200", None),
            ("/a?Expires=18446744073709551616&Signature=x", Some(u32::MAX)),
            ("/a?Expires=0&Signature=x", Some(1)),
            ("/a?Expires=soon&Signature=x", None),
            ("/a?se=2026-11-21T10%3A00%3A00Z&sig=x", Some(1_795_255_200)),
            ("/a?se=2026-11-21T10:00:00.0000000Z&sig=x", Some(1_795_255_200)),
            ("/a?se=2026-11-21T10:00Z&SIG=x", Some(1_795_255_200)),
            ("/a?se=2026-11-21&sig=x", Some(1_795_219_200)),
            ("/a?se=2026-11-21", None),
            ("/a?se=2026-02-29&sig=x", None),
            ("/a?se=2026-11-21T10%3&sig=x", None),
            ("/a?se=1960-01-01&sig=x", Some(1)),
            ("/a?se=2200-01-01&sig=x", Some(u32::MAX)),
            ("/a?se=2026-11-21T10:00:00+01:00&sig=x", None),
            ("/a?se=2026-11-21&sig=x&Expires=5&Signature=y", Some(5)),
        ] {
            assert_eq!(expiry(target), expected, "{target}");
        }
    }

    #[test]
    fn days_follow_one_another() {
        assert_eq!(days_from_civil(1970, 1, 1), Some(0));
        assert_eq!(days_from_civil(2000, 3, 1), Some(11_017));
        let mut expected = days_from_civil(0, 1, 1).unwrap();
        for year in 0..2500 {
            for month in 1..=12 {
                for day in 1..=31 {
                    if let Some(found) = days_from_civil(year, month, day) {
                        assert_eq!(found, expected, "{year}-{month}-{day}");
                        expected += 1;
                    }
                }
            }
        }
        assert_eq!(days_from_civil(2500, 1, 1), Some(expected));
    }
}
