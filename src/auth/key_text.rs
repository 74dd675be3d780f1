//! Names and limits of keys as people write them, on the command line and in pages. Amounts of money are
//! exact, without floats.

use std::time::{Duration, SystemTime};

use crate::base::time::{date, duration};

/// A time, or a duration from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    At(SystemTime),
    After(Duration),
}

impl Expiry {
    #[must_use]
    pub fn moment(self, now: SystemTime) -> SystemTime {
        match self {
            Self::At(at) => at,
            Self::After(time) => now + time,
        }
    }
}

/// The name of a key, or the pattern of a model's name.
///
/// # Errors
/// It is empty, too long, or holds control characters.
pub fn name(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("must not be empty"),
        name if name.len() > 200 || name.chars().any(char::is_control) => {
            Err("must be short and hold no control character")
        }
        name => Ok(name.to_owned()),
    }
}

/// # Errors
/// It is no duration.
pub fn overlap(text: &str) -> Result<Duration, &'static str> {
    duration::parse(text).ok_or("expected a time as 90s, 1h or 30d, at most a year")
}

/// Parses the digits of an amount of money, because 0.1 as a float would be another amount. `None`: not an
/// amount, or too large.
#[must_use]
pub fn millionths(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 6 {
        return None;
    }
    format!("{whole}{part:0<6}").parse().ok().filter(|amount| *amount <= 1_000_000_000_000_000)
}

/// # Errors
/// It is no time, or in the past.
pub fn expiry(text: &str) -> Result<Expiry, &'static str> {
    if date::parse(text).is_some_and(|at| at <= SystemTime::now()) {
        return Err("is in the past: the key would never be accepted; revoke it instead");
    }
    let after = || duration::parse(text).filter(|time| !time.is_zero()).map(Expiry::After);
    date::parse(text)
        .map(Expiry::At)
        .or_else(after)
        .ok_or("expected a time from now as 12h or 30d (a year at most), a day as 2027-01-31, or none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        for (text, amount) in [("5", 5_000_000), ("5.00", 5_000_000), ("0.1", 100_000), ("0.000001", 1)] {
            assert_eq!(millionths(text), Some(amount), "{text}");
        }
        for text in ["", ".5", "-1", "1e3", "0.0000001", "5,00", "1.2.3", "9999999999"] {
            assert_eq!(millionths(text), None, "{text}");
        }
    }
}
