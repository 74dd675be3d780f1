//! Dates as text: RFC 3339 in the strict form of settings (`2026-12-31`, `2026-12-31T23:59:59Z`), in the wide
//! form of providers' headers, and HTTP dates (RFC 9110 section 5.6.7). Years from 1970 to 9999; impossible
//! days are refused.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use time::{Date, Month, OffsetDateTime};

use super::since_1970;

/// The last second of the year 9999, which is the calendar's last, in seconds since 1970.
const MAX_SECOND: i64 = 253_402_300_799;

/// Shows a time in UTC and whole seconds: `2026-12-31T23:59:59Z`. Earlier than 1970 shows 1970, later than
/// 9999 the last second of 9999.
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339(pub SystemTime);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(since_1970(self.0).as_secs()).unwrap_or(i64::MAX).min(MAX_SECOND);
        let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = at.to_calendar_date();
        let (month, (hour, minute, second)) = (u8::from(month), at.to_hms());
        f.pad(&format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
    }
}

/// Reads a setting: a day, which means its first second, or a second of UTC. `None`: it is neither.
#[must_use]
pub fn parse(text: &str) -> Option<SystemTime> {
    let (date, clock) = match text.trim().split_once(['T', 't', ' ']) {
        Some((date, clock)) => (date, clock.strip_suffix(['Z', 'z'])?),
        None => (text.trim(), "00:00:00"),
    };
    let clock = seconds_of_day(clock, 59)?;
    Some(UNIX_EPOCH + Duration::from_secs((first_second(date)? + clock).try_into().ok()?))
}

/// Reads `2025-11-18T16:34:03Z`, with a fraction and an offset if there is one; without a zone it is UTC. A
/// leap second is the second after it.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let (date, rest) = text.split_at_checked(10)?;
    let (clock, rest) = rest.strip_prefix(['T', 't', ' '])?.split_at_checked(8)?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(after) => after.split_at(after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len())),
        None => ("", rest),
    };
    let fraction = format!("0.{fraction}0").parse::<f64>().ok()?;
    let at = first_second(date)? + seconds_of_day(clock, 60)? - offset(zone)?;
    Some(UNIX_EPOCH + Duration::from_secs(at.try_into().ok()?) + Duration::from_secs_f64(fraction))
}

/// Reads an HTTP date in any of its three forms.
#[must_use]
pub fn parse_http(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

/// Shows an HTTP date: `Tue, 18 Nov 2025 16:34:03 GMT`.
#[must_use]
pub fn http(at: SystemTime) -> String {
    httpdate::fmt_http_date(at)
}

/// Seconds from 1970 to the first second of a day, `2026-12-31`.
fn first_second(date: &str) -> Option<i64> {
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(year.into(), month, day.try_into().ok()?).ok()?;
    (year >= 1970).then(|| date.midnight().assume_utc().unix_timestamp())
}

/// Seconds from midnight to `23:59:59`; `last`: 59, or 60 where leap seconds are accepted.
fn seconds_of_day(clock: &str, last: i64) -> Option<i64> {
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?.map(i64::from);
    (hour < 24 && minute < 60 && second <= last).then_some(hour * 3600 + minute * 60 + second)
}

/// Three decimal numbers of exactly so many digits each.
fn numbers(text: &str, between: char, lengths: [usize; 3]) -> Option<[u16; 3]> {
    let mut numbers = [0; 3];
    let mut parts = text.split(between);
    for (number, length) in numbers.iter_mut().zip(lengths) {
        let part = parts.next().filter(|part| part.len() == length)?;
        *number = part.bytes().all(|digit| digit.is_ascii_digit()).then(|| part.parse().ok()).flatten()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Seconds that a zone is ahead of UTC: `Z`, `+01:00`, or nothing, which is UTC.
fn offset(zone: &str) -> Option<i64> {
    if zone.is_empty() || zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match zone.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
    Some(sign * (i64::from(hours) * 3600 + i64::from(minutes) * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<u64> {
        Some(parse(text)?.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
    }

    #[test]
    fn reads_days_and_moments() {
        assert_eq!(seconds("1970-01-01"), Some(0));
        assert_eq!(seconds("2000-02-29"), Some(951_782_400));
        assert_eq!(seconds("2026-11-21T10:04:48Z"), Some(1_795_255_488));
        for bad in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-30",
            "2026-2-03",
            "1969-12-31",
            "2026-01-01T24:00:00Z",
            "2026-01-01T23:59:60Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00+01:00",
            "2026-01-01-01",
            "+026-01-01",
            "30d",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_day_of_four_hundred_years_is_shown_as_it_is_read() {
        for day in 0..146_097 {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400 + 3661);
            assert_eq!(parse(&Rfc3339(at).to_string()), Some(at));
        }
    }

    #[test]
    fn times_beyond_the_calendar_are_shown_as_its_ends() {
        let shown = |at: SystemTime| Rfc3339(at).to_string();
        assert_eq!(shown(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00Z");
        assert_eq!(shown(UNIX_EPOCH + Duration::from_secs(1 << 40)), "9999-12-31T23:59:59Z");
    }
}
