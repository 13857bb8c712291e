//! Figures for people.

use std::time::Duration;

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `81.2 MB`, in powers of 1000.
pub(crate) fn bytes(number: f64) -> String {
    let mut value = number;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 999.95 {
            return match unit {
                "B" => format!("{value:.0} B"),
                _ => format!("{value:.1} {unit}"),
            };
        }
        value /= 1000.0;
    }
    format!("{value:.1} PB")
}

/// `812 ms`, `3.4 s`, `5 min 12 s`, `8 h 25 min`, `34.7 days`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let whole = time.as_secs();
    match whole {
        0 if seconds < 0.0995 => format!("{:.1} ms", seconds * 1e3),
        0 => format!("{:.0} ms", seconds * 1e3),
        1..=59 => format!("{seconds:.1} s"),
        60..=3599 => format!("{} min {} s", whole / 60, whole % 60),
        3600..=172_799 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(
            [0, 12, 123, 1234, 1_234_567].map(count),
            ["0", "12", "123", "1,234", "1,234,567"]
        );
        assert_eq!(
            [0.0, 999.0, 1000.0, 81_234_000.0].map(bytes),
            ["0 B", "999 B", "1.0 kB", "81.2 MB"]
        );
        let times = [0.0012, 0.5, 3.44, 312.0, 30_300.0, 2_998_080.0];
        assert_eq!(
            times.map(|s| duration(Duration::from_secs_f64(s))),
            ["1.2 ms", "500 ms", "3.4 s", "5 min 12 s", "8 h 25 min", "34.7 days"]
        );
    }
}
