//! Moments as text: RFC 3339, in UTC, with milliseconds.

use windrow_model::calendar::civil;

/// Milliseconds of a day.
const DAY: u64 = 86_400_000;

/// The last millisecond of the year 9999, behind which there is no such text.
const LAST: u64 = 253_402_300_799_999;

/// Appends so many milliseconds since 1970 as `2026-11-21T10:00:00.000Z`; what is behind the year 9999
/// as its end.
pub(in crate::pack) fn write(millis: u64, out: &mut Vec<u8>) {
    let millis = millis.min(LAST);
    let (days, rest) = (millis / DAY, millis % DAY);
    let (year, month, day) = civil(days);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let mut put = |from: usize, to: usize, mut value: u64| {
        for digit in text[from..to].iter_mut().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    put(0, 4, year);
    put(5, 7, month);
    put(8, 10, day);
    put(11, 13, rest / 3_600_000);
    put(14, 16, rest / 60_000 % 60);
    put(17, 19, rest / 1000 % 60);
    put(20, 23, rest % 1000);
    out.extend_from_slice(&text);
}

/// Reads it back: with any number of digits behind the point or none, of which three count. `None`
/// where it is something else, another offset than `Z`, or before 1970.
pub(in crate::pack) fn read(text: &[u8]) -> Option<u64> {
    let (date, rest) = text.split_at_checked(19)?;
    let number = |from: usize, to: usize| {
        date[from..to].iter().try_fold(0_u64, |value, &digit| {
            digit.is_ascii_digit().then(|| value * 10 + u64::from(digit - b'0'))
        })
    };
    let marks = [date[4], date[7], date[10], date[13], date[16]];
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if marks != *b"--T::" || year < 1970 || !(1..=last).contains(&day) {
        return None;
    }
    // A leap second is taken for the one before.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut millis = 0;
    let rest = match rest.strip_prefix(b".") {
        None => rest,
        Some(fraction) => {
            let count = fraction.iter().take_while(|digit| digit.is_ascii_digit()).count();
            let digit = |at| if at < count { u64::from(fraction[at] - b'0') } else { 0 };
            millis = 100 * digit(0) + 10 * digit(1) + digit(2);
            if count == 0 {
                return None;
            }
            &fraction[count..]
        }
    };
    if rest != b"Z" {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + of_year - 719_468;
    let seconds = hour * 3600 + minute * 60 + second.min(59);
    Some(days * DAY + seconds * 1000 + millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(millis: u64) -> String {
        let mut out = Vec::new();
        write(millis, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_moments() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_795_255_200_000, "2026-11-21T10:00:00.000Z"),
            (LAST, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(written(millis), text);
            assert_eq!(read(text.as_bytes()), Some(millis));
        }
        assert_eq!(written(u64::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(read(b"2026-11-21T10:00:00Z"), Some(1_795_255_200_000));
        assert_eq!(read(b"2026-11-21T10:00:00.5Z"), Some(1_795_255_200_500));
        assert_eq!(read(b"2026-11-21T10:00:00.123456Z"), Some(1_795_255_200_123));
        for wrong in [
            "",
            "2026-11-21",
            "2026-11-21T10:00:00",
            "2026-11-21T10:00:00.Z",
            "2026-11-21T10:00:00+01:00",
            "2026-02-29T10:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-11-00T10:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T10:00:00ZZ",
            "2026-1 -21T10:00:00Z",
        ] {
            assert_eq!(read(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(millis in 0..=LAST) {
            prop_assert_eq!(read(written(millis).as_bytes()), Some(millis));
        }

        #[test]
        fn any_text_is_borne(text in "[0-9T:.Z-]{0,30}") {
            let _ = read(text.as_bytes());
        }
    }
}
