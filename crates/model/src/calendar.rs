//! Days and dates.

/// Year, month and day of so many days since 1970-01-01, in the Gregorian calendar.
///
/// H. Hinnant's `civil_from_days` ("chrono-Compatible Low-Level Date Algorithms"): years begin with
/// March, so that the leap day is the last of its year.
pub fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + 400 * era + u64::from(month <= 2), month, day)
}

/// Days from 1970-01-01 to a date in the Gregorian calendar; `None` before that day, or where there is no
/// such date.
pub fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let (of_year, march) = (1..=12).contains(&month).then(|| match month > 2 {
        true => (year, month - 3),
        false => (year.saturating_sub(1), month + 9),
    })?;
    let (era, year_of_era) = (of_year / 400, of_year % 400);
    let day_of_year = (153 * march + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (146_097 * era + day_of_era).checked_sub(719_468)?;
    (civil(days) == (year, month, day)).then_some(days)
}

/// Seconds since 1970 of a moment written as in RFC 3339 (`2024-02-29T12:00:00.5Z`, `...+02:00`); a date
/// alone is its midnight, and without a zone UTC is meant. Parts of a second are cut. Years of four digits.
pub fn seconds(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let number = |from: usize, len: usize| {
        let digits = bytes.get(from..from + len)?;
        digits.iter().all(u8::is_ascii_digit).then(|| {
            digits.iter().fold(0_u64, |number, digit| 10 * number + u64::from(digit - b'0'))
        })
    };
    let is = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|byte| wanted.contains(byte));
    if !(is(4, b"-") && is(7, b"-")) {
        return None;
    }
    let day = 86_400 * days(number(0, 4)?, number(5, 2)?, number(8, 2)?)?;
    if bytes.len() == 10 {
        return Some(day);
    }
    if !(is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let time = day + 3600 * hour + 60 * minute + second;
    let mut at = 19;
    if is(at, b".,") {
        at += 1 + bytes.get(at + 1..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    }
    match bytes.get(at..)? {
        [] | [b'Z' | b'z'] => Some(time),
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let offset = 3600 * number(at + 1, 2)? + 60 * number(at + 4, 2)?;
            match sign {
                b'+' => time.checked_sub(offset),
                _ => time.checked_add(offset),
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (text, wanted) in [
            ("1970-01-01", Some(0)),
            ("2009-10-12T17:50:30.000Z", Some(1_255_369_830)),
            ("2009-10-12T17:50:30", Some(1_255_369_830)),
            ("2009-10-12 19:50:30+02:00", Some(1_255_369_830)),
            ("2009-10-12T17:20:30.25-00:30", Some(1_255_369_830)),
            ("2024-02-29", Some(1_709_164_800)),
            ("2023-02-29", None),
            ("2024-13-01", None),
            ("2024-00-01", None),
            ("2024-01-00", None),
            ("1969-12-31", None),
            ("2024-01-01T24:00:00Z", None),
            ("2024-01-01T00:00:00Zx", None),
            ("2024-1-1", None),
            ("7d", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), wanted, "{text}");
        }
        for day in (0..60_000).step_by(17) {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), Some(day));
        }
    }

    #[test]
    fn dates() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (11_015, (2000, 2, 28)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (47_481, (2099, 12, 31)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days), date, "{days}");
        }
    }
}
