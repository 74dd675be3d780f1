//! Reads the pause that a provider requests (S1.14, R18), in all known forms: `retry-after-ms`, `retry-after`
//! (RFC 9110 10.2.3: seconds or a date), `x-ratelimit-reset*` and `anthropic-ratelimit-*-reset` (seconds,
//! `6m0s`, epoch seconds or milliseconds, RFC 3339), Gemini's `retryDelay` and the sentence in OpenAI's error
//! message.
//!
//! The input is untrusted: nothing here fails, an unknown form counts as no pause, and no pause is longer
//! than an hour.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memchr::memmem;

use crate::base::{
    HeaderFields,
    time::{date, duration},
};

/// A longer pause is cut to this, because the provider may recover earlier than it says.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// If it is unknown which of several limits was reached, a limit that resets later than this is ignored.
const MAX_UNSPECIFIED_RESET: Duration = Duration::from_secs(60);
/// Bytes of an error body that are searched; S1.3 reads no more of one.
const MAX_BODY: usize = 1024;

/// The pause that the provider requests, from its response head and the first bytes of its body. `limited`: a
/// rate limit was reached; otherwise the reset times of limits are ignored. `None`: no pause is requested, or
/// one of zero.
#[must_use]
pub fn from_response(
    headers: &HeaderFields,
    body: &[u8],
    limited: bool,
    wall: SystemTime,
) -> Option<Duration> {
    let reset = || if limited { reset(headers, wall) } else { None };
    in_headers(headers, wall).or_else(|| in_body(body)).or_else(reset).map(bounded)
}

/// Whether a `retry-after` is there that every client reads: seconds, or a date (RFC 9110 10.2.3).
#[must_use]
pub fn is_readable(headers: &HeaderFields) -> bool {
    let given = headers.get("retry-after").and_then(text);
    given.is_some_and(|text| {
        text.parse::<f64>().is_ok_and(|number| (0.0..1e8).contains(&number))
            || date::parse_http(text).is_some()
    })
}

fn bounded(retry_after: Duration) -> Duration {
    retry_after.min(MAX_RETRY_AFTER)
}

/// `retry-after-ms` before `retry-after`. Zero is ignored, because Azure sends it beside a `retry-after` of
/// one second.
pub fn in_headers(headers: &HeaderFields, wall: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(text);
    let millis = text("retry-after-ms").and_then(|text| seconds(text.parse::<f64>().ok()? / 1000.0));
    millis.filter(is_some_time).or_else(|| parse_span(text("retry-after")?, wall)).filter(is_some_time)
}

/// The reset of the limit of which nothing remains; if no header says which, the latest reset within
/// [`MAX_UNSPECIFIED_RESET`].
fn reset(headers: &HeaderFields, wall: SystemTime) -> Option<Duration> {
    let (mut reached, mut soon) = (None, None);
    for (name, value) in headers.iter() {
        if !is_reset(name) {
            continue;
        }
        let Some(after) = text(value).and_then(|text| parse_span(text, wall)).filter(is_some_time) else {
            continue;
        };
        match remains(headers, name) {
            Some(false) => reached = reached.max(Some(after)),
            None if after <= MAX_UNSPECIFIED_RESET => soon = soon.max(Some(after)),
            None | Some(true) => {}
        }
    }
    reached.or(soon)
}

fn is_reset(name: &str) -> bool {
    name.starts_with("x-ratelimit-reset")
        || name.starts_with("ratelimit-reset")
        || (name.starts_with("anthropic-ratelimit-") && name.ends_with("-reset"))
}

/// Whether something remains of the limit that belongs to this reset header. `None`: no header says.
fn remains(headers: &HeaderFields, reset: &str) -> Option<bool> {
    let value = headers.get(reset.replacen("reset", "remaining", 1))?;
    Some(text(value)?.parse::<f64>().ok()? > 0.0)
}

/// The pause in an error body. Searched and not parsed, because the body may be cut anywhere.
fn in_body(body: &[u8]) -> Option<Duration> {
    let body = body.get(..MAX_BODY).unwrap_or(body);
    let after = |needle: &[u8]| {
        let rest = body.get(memmem::find(body, needle)? + needle.len()..)?;
        let start = rest.iter().position(|byte| !matches!(byte, b' ' | b'"' | b':' | b'\\'))?;
        let rest = rest.get(start..)?;
        let end = rest.iter().position(|byte| !is_span_byte(*byte)).unwrap_or(rest.len());
        let (whole, after) = rest.split_at(end);
        let whole = std::str::from_utf8(whole).ok()?;
        let span = whole.trim_end_matches('.');
        // After a full stop comes another sentence, so the number has no unit.
        let unit = if span.len() < whole.len() { Some(1.0) } else { word(after) };
        units(span).or_else(|| seconds(span.parse::<f64>().ok()? * unit?)).filter(is_some_time)
    };
    after(b"retryDelay").or_else(|| after(b"ry again in ")).or_else(|| after(b"etry after "))
}

/// Seconds of the unit that follows a number as a word. No word means seconds; `None`: an unknown word.
fn word(after: &[u8]) -> Option<f64> {
    let after = after.trim_ascii_start();
    let letters = after.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(after.len());
    match after.get(..letters)?.to_ascii_lowercase().trim_ascii() {
        b"" | b"s" | b"sec" | b"secs" | b"second" | b"seconds" => Some(1.0),
        b"m" | b"min" | b"mins" | b"minute" | b"minutes" => Some(60.0),
        b"h" | b"hr" | b"hrs" | b"hour" | b"hours" => Some(3600.0),
        b"day" | b"days" => Some(86_400.0),
        b"ms" | b"millisecond" | b"milliseconds" => Some(1e-3),
        _ => None,
    }
}

const fn is_span_byte(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'.' | b'h' | b'm' | b's' | b'u' | b'd')
}

/// A span of time, or the span from `wall` to a date, in any form that headers have. `None`: an unknown form.
#[must_use]
pub fn parse_span(text: &str, wall: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return numeric(number, wall);
    }
    let until = |at: SystemTime| at.duration_since(wall).unwrap_or_default();
    units(text).or_else(|| date::parse_rfc3339(text).map(until)).or_else(|| date::parse_http(text).map(until))
}

/// Seconds; a number as large as a date is a date, in epoch seconds or milliseconds.
fn numeric(number: f64, wall: SystemTime) -> Option<Duration> {
    let since_epoch =
        |at: Option<Duration>| Some((UNIX_EPOCH + at?).duration_since(wall).unwrap_or_default());
    match number {
        _ if !(0.0..1e15).contains(&number) => None,
        1e11.. => since_epoch(seconds(number / 1000.0)),
        1e8.. => since_epoch(seconds(number)),
        _ => seconds(number),
    }
}

/// `6m0s`, `1.2s`, `120ms`, `1h2m3.5s`, `250us`, `2d`.
fn units(text: &str) -> Option<Duration> {
    duration::compound_seconds(text).and_then(seconds)
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().map(str::trim)
}

/// `None`: negative, not a number, or too large for a date.
fn seconds(number: f64) -> Option<Duration> {
    (0.0..1e12).contains(&number).then(|| Duration::from_secs_f64(number))
}

fn is_some_time(span: &Duration) -> bool {
    !span.is_zero()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2025-11-18T16:33:33Z
    fn wall() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_763_483_613)
    }

    fn retry_after(headers: &[(&'static str, &str)], body: &str) -> Option<f64> {
        from_response(&headers.iter().copied().collect(), body.as_bytes(), true, wall())
            .map(|retry_after| retry_after.as_secs_f64())
    }

    /// Each form in the recordings of providers and in their documentation.
    #[test]
    fn reads_every_form_of_a_span() {
        for (text, expected) in [
            ("2", 2.0),
            ("2.220795154571533", 2.220_795_155),
            ("0s", 0.0),
            ("120ms", 0.12),
            ("14m24s", 864.0),
            ("59.369s", 59.369),
            ("7.899999999s", 7.899_999_999),
            ("6m0s", 360.0),
            ("1h2m3.5s", 3723.5),
            ("250us", 0.000_25),
            ("1d", 86_400.0),
            ("1763483643", 30.0),
            ("1763483643500", 30.5),
            ("2025-11-18T16:34:03Z", 30.0),
            ("2025-11-18T16:34:03.25Z", 30.25),
            ("2025-11-18t17:34:03+01:00", 30.0),
            ("2025-11-18T16:00:00Z", 0.0),
            ("Tue, 18 Nov 2025 16:34:03 GMT", 30.0),
            ("Tue, 18 Nov 2003 16:34:03 GMT", 0.0),
        ] {
            let span = parse_span(text, wall()).map(|span| span.as_secs_f64());
            assert!(span.is_some_and(|span| (span - expected).abs() < 1e-6), "{text}: {span:?}");
        }
        for text in ["", "-1", "soon", "1x", "nan", "inf", "1e40", "2025-13-01T00:00:00Z", "1s2", ".", "µ"] {
            assert_eq!(parse_span(text, wall()), None, "{text}");
        }
    }

    #[test]
    fn prefers_what_was_said_outright() {
        assert_eq!(retry_after(&[("retry-after", "7"), ("retry-after-ms", "250")], ""), Some(0.25));
        // Azure (recorded): milliseconds of zero beside a second.
        assert_eq!(retry_after(&[("retry-after", "1"), ("retry-after-ms", "0")], ""), Some(1.0));
        assert_eq!(retry_after(&[("retry-after", "0")], ""), None);
        assert_eq!(retry_after(&[("retry-after", "86400")], ""), Some(3600.0));
        assert_eq!(retry_after(&[("retry-after", "3"), ("x-ratelimit-reset", "9")], ""), Some(3.0));
        assert_eq!(retry_after(&[], ""), None);
    }

    #[test]
    fn every_client_reads_seconds_and_dates() {
        for (given, is) in [
            ("7", true),
            ("0", true),
            ("1.5", true),
            ("Tue, 18 Nov 2025 16:34:03 GMT", true),
            ("", false),
            ("abc", false),
            ("-5", false),
            ("NaN", false),
            ("inf", false),
            ("6m0s", false),
            ("1763483643", false),
        ] {
            let headers = HeaderFields::from_iter([("retry-after", given)]);
            assert_eq!(is_readable(&headers), is, "{given}");
        }
        assert!(!is_readable(&HeaderFields::new()));
    }

    #[test]
    fn waits_for_the_limit_that_was_reached() {
        let openai = [
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ];
        assert_eq!(retry_after(&openai, ""), Some(360.0));
        // A limit with requests left was not the reason, and an error without a limit does not end with a
        // reset.
        assert_eq!(retry_after(&openai[..2], ""), None);
        let headers = HeaderFields::from_iter([("x-ratelimit-reset", "9")]);
        assert_eq!(from_response(&headers, b"", false, wall()), None);
        let cerebras = [
            ("x-ratelimit-reset-requests-day", "24482.22079515457"),
            ("x-ratelimit-reset-tokens-minute", "2.5"),
        ];
        assert_eq!(retry_after(&cerebras, ""), Some(2.5));
        let anthropic = [
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
            ("anthropic-ratelimit-input-tokens-reset", "2025-11-18T16:34:03Z"),
        ];
        assert_eq!(retry_after(&anthropic, ""), Some(30.0));
    }

    #[test]
    fn reads_what_bodies_say() {
        let gemini = r#"[{"error":{"code":429,"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay": "34s"}]}}]"#;
        assert_eq!(retry_after(&[], gemini), Some(34.0));
        assert_eq!(retry_after(&[], r#"{"error":"{\"retryDelay\": \"34.5s\"}"}"#), Some(34.5));
        assert_eq!(retry_after(&[], "Rate limit reached. Please try again in 1.242s. Visit"), Some(1.242));
        assert_eq!(retry_after(&[], "Please try again in 6m0s."), Some(360.0));
        assert_eq!(retry_after(&[], "Please retry after 26 seconds."), Some(26.0));
        assert_eq!(retry_after(&[], "Please try again in 20 minutes"), Some(1200.0));
        assert_eq!(retry_after(&[], "Please try again in 1 hour."), Some(3600.0));
        assert_eq!(retry_after(&[], "Please try again in 3"), Some(3.0));
        assert_eq!(retry_after(&[], "try again in 20.000 s"), Some(20.0));
        assert_eq!(retry_after(&[], "retry after 26. Thanks"), Some(26.0));
        assert_eq!(retry_after(&[], "Please try again in 2 fortnights"), None);
        assert_eq!(retry_after(&[], r#""retryDelay":"#), None);
    }

    proptest! {
        #[test]
        fn nothing_that_is_said_panics_or_lasts_for_ever(
            value in "\\PC{0,40}",
            body in proptest::collection::vec(any::<u8>(), 0..200),
            name in prop::sample::select(vec!["retry-after", "retry-after-ms", "x-ratelimit-reset", "anthropic-ratelimit-x-reset"]),
        ) {
            let headers = HeaderFields::from_iter([(name, &value)]);
            let retry_after = from_response(&headers, &body, true, wall());
            prop_assert!(retry_after.is_none_or(|retry_after| !retry_after.is_zero() && retry_after <= MAX_RETRY_AFTER));
            let _ = parse_span(&value, wall());
        }

        #[test]
        fn seconds_come_back_in_every_form(seconds in 1_u64..3600) {
            let at = wall() + Duration::from_secs(seconds);
            let epoch = at.duration_since(UNIX_EPOCH).unwrap();
            let forms = [
                format!("{seconds}"),
                format!("{seconds}.0s"),
                format!("{}ms", seconds * 1000),
                format!("{}m{}s", seconds / 60, seconds % 60),
                format!("{}", epoch.as_secs()),
                format!("{}", epoch.as_millis()),
                date::http(at),
            ];
            for form in forms {
                prop_assert_eq!(parse_span(&form, wall()).map(|span| span.as_secs()), Some(seconds), "{}", form);
            }
        }

        #[test]
        fn a_timestamp_is_read_as_the_calendar_has_it(seconds in 0_u64..4_000_000_000) {
            let at = UNIX_EPOCH + Duration::from_secs(seconds);
            // "Tue, 18 Nov 2025 16:34:03 GMT" by another implementation, to RFC 3339.
            let http = date::http(at);
            let part: Vec<&str> = http.split(' ').collect();
            let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
            let month = months.iter().position(|name| *name == part[2]).unwrap() + 1;
            let text = format!("{}-{month:02}-{}T{}Z", part[3], part[1], part[4]);
            prop_assert_eq!(date::parse_rfc3339(&text), Some(at));
        }
    }
}
