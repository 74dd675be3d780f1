//! Durations and sizes as people write them: a bare number is seconds or bytes, a string carries its unit
//! (`"50ms"`, `"1.5h"`, `"32MiB"`).

use std::time::Duration;

/// No setting is a longer time than this.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// `None`: not a number of seconds from 0 to a year.
pub(super) fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok().filter(|duration| *duration <= LONGEST)
}

/// Reads `300s`, `50 ms`, `1.5m`, `2h`, `1d`, `250us`, or seconds without a unit.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let scale = match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return None,
    };
    seconds(number * scale)
}

/// Reads `512`, `64KiB`, `10 MB`, `1.5GiB`: decimal units by 1000, binary ones by 1024.
pub(super) fn size(text: &str) -> Option<f64> {
    let (number, unit) = split(text)?;
    let scale = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "ki" | "kib" => 1024.0,
        "mi" | "mib" => 1024.0 * 1024.0,
        "gi" | "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(number * scale)
}

fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{duration, seconds, size};

    #[test]
    fn reads_durations() {
        for (text, millis) in [
            ("300s", 300_000),
            ("50ms", 50),
            ("1m", 60_000),
            ("1.5 h", 5_400_000),
            ("0.25", 250),
            ("2d", 172_800_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(duration("250us"), Some(Duration::from_micros(250)));
        for text in ["", "s", "-1s", "1 week", "1e3s", "1.2.3s", "400d", "9999999999999999999999h", "١s"] {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!([seconds(-1.0), seconds(f64::NAN), seconds(f64::INFINITY)], [None; 3]);
    }

    #[test]
    fn reads_sizes() {
        for (text, bytes) in
            [("512", 512.0), ("64KiB", 65_536.0), ("10 MB", 1e7), ("1.5kib", 1536.0), ("1g", 1e9)]
        {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "10 Mbit", "0x10"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
