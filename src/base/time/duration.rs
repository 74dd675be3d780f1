//! Durations as text: a number and a unit (`50ms`, `1.5h`), as configuration and command line write them, or
//! several of them in a row (`6m0s`), as providers' headers do. Numbers are plain decimals: no sign, no
//! exponent.

use std::time::Duration;

/// No setting is longer than this: 366 days.
const MAX_SETTING: Duration = Duration::from_secs(366 * 24 * 3600);

/// A number of seconds as a setting. `None` if it is negative, not a number, or longer than 366 days.
#[must_use]
pub fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok().filter(|duration| *duration <= MAX_SETTING)
}

/// Reads a setting: `300s`, `50 ms`, `1.5m`, `2h`, `1d`, `250us`, or seconds without a unit; at most 366
/// days.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let (number, unit) = split_number(text.trim());
    let scale = match unit.trim_start() {
        "" => 1.0,
        "min" => 60.0,
        unit => unit_seconds(unit)?,
    };
    seconds(number.parse::<f64>().ok()? * scale)
}

/// Seconds of `6m0s`, `1.2s`, `120ms`, `1h2m3.5s`, `250us`, `2d`, in the form of Go's durations. Every number
/// needs a unit. Without an upper limit.
#[must_use]
pub fn compound_seconds(text: &str) -> Option<f64> {
    if text.is_empty() {
        return None;
    }
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let end = after.find(is_number).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let scale = match unit {
            "ns" => 1e-9,
            // The Greek letter; the micro sign is in the table.
            "μs" => 1e-6,
            unit => unit_seconds(unit)?,
        };
        total += number.parse::<f64>().ok()? * scale;
        rest = after;
    }
    Some(total)
}

/// Splits a text behind the digits and points that it begins with.
#[must_use]
pub fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|letter| !is_number(letter)).unwrap_or(text.len());
    text.split_at(end)
}

const fn is_number(letter: char) -> bool {
    letter.is_ascii_digit() || letter == '.'
}

/// Seconds of one unit.
fn unit_seconds(unit: &str) -> Option<f64> {
    match unit {
        "us" | "µs" => Some(1e-6),
        "ms" => Some(1e-3),
        "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        "d" => Some(86_400.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{compound_seconds, parse, seconds};

    #[test]
    fn reads_durations() {
        for (text, millis) in [
            ("300s", 300_000),
            ("50ms", 50),
            ("1m", 60_000),
            ("1.5 h", 5_400_000),
            ("0.25", 250),
            ("2d", 172_800_000),
            ("3min", 180_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse("250us"), Some(Duration::from_micros(250)));
        for text in
            ["", "s", "-1s", "1 week", "1e3s", "1.2.3s", "400d", "9999999999999999999999h", "١s", "1ns"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!([seconds(-1.0), seconds(f64::NAN), seconds(f64::INFINITY)], [None; 3]);
    }

    #[test]
    fn reads_numbers_in_a_row() {
        assert_eq!(compound_seconds("1h2m3.5s"), Some(3723.5));
        for text in ["", "1", "1s2", "1min", "s", "1 s", "-1s"] {
            assert_eq!(compound_seconds(text), None, "{text}");
        }
    }
}
