//! The time at which an event was sent, to measure its delivery: the emulator of `perf/` writes a member
//! `"t"` with nanoseconds of the monotonic clock into each event, or `<t:` and the number into its text,
//! which a translation keeps. It is found without parsing the JSON.

use memchr::memmem;

use super::clock::LoadInstant;

/// An older stamp is no stamp (10 minutes in nanoseconds).
const MAX_AGE_NANOS: u64 = 600_000_000_000;

/// `None`: there is no number, or it cannot be such a time.
pub(super) fn read(data: &[u8], now: LoadInstant) -> Option<LoadInstant> {
    const NAME: &[u8] = br#""t":"#;
    const MARK: &[u8] = b"<t:";
    let after = |name: &[u8]| memmem::find(data, name).map(|at| at + name.len());
    let is_first = data.get(1..).is_some_and(|data| data.starts_with(NAME));
    let at = if is_first { 1 + NAME.len() } else { after(NAME).or_else(|| after(MARK))? };
    let number = data.get(at..)?.trim_ascii_start();
    let digits = number.iter().take_while(|byte| byte.is_ascii_digit()).take(19);
    let nanos = digits.fold(None, |nanos: Option<u64>, digit| {
        Some(nanos.unwrap_or_default() * 10 + u64::from(digit - b'0'))
    })?;
    let age = now.nanos().checked_sub(nanos)?;
    (age <= MAX_AGE_NANOS).then(|| LoadInstant::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_stamp_wherever_it_stands() {
        let now = LoadInstant::from_nanos(1_000_000);
        let stamp = |data: &str| read(data.as_bytes(), now).map(LoadInstant::nanos);
        assert_eq!(stamp(r#"{"t":999000,"x":1}"#), Some(999_000));
        assert_eq!(stamp(r#"{"id":"a","t":  5}"#), Some(5));
        assert_eq!(stamp(r#"{"delta":{"text":"<t:999000  >x"}}"#), Some(999_000));
        assert_eq!(stamp(r#"{"t":1000001}"#), None, "from the future");
        assert_eq!(stamp(r#"{"t":"x"}"#), None);
        assert_eq!(stamp(r#"{"a":"\"t\":7"}"#), None);
        assert_eq!(stamp(r#"{"t":99999999999999999999999}"#), None);
    }
}
