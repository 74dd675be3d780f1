//! A request's wishes about the cache: `x-thalweg-cache: no-store | only-if-cached | max-age=N`, of which
//! several may stand in a list. The words are those of RFC 9111 section 5.2.1; an unknown one is refused,
//! because a wrong guess would change the answer.

use std::time::Duration;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheDirective {
    /// The cache is passed by: the answer is neither looked for nor kept.
    pub no_store: bool,
    /// Only a stored answer is wanted.
    pub only_if_cached: bool,
    /// The greatest age of a stored answer. `None`: that of the configuration.
    pub max_age: Option<Duration>,
}

/// The value is none of the three words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownDirective;

impl CacheDirective {
    /// # Errors
    /// A word is unknown, or its number is none.
    pub fn parse(value: &[u8]) -> Result<Self, UnknownDirective> {
        let mut found = Self::default();
        for word in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            match word.to_ascii_lowercase().as_slice() {
                b"no-store" => found.no_store = true,
                b"only-if-cached" => found.only_if_cached = true,
                word => {
                    let digits = word.strip_prefix(b"max-age=").ok_or(UnknownDirective)?;
                    found.max_age = Some(seconds(digits).ok_or(UnknownDirective)?);
                }
            }
        }
        Ok(found)
    }
}

/// A number too large for its type counts as the largest (RFC 9111 section 1.2.2).
fn seconds(digits: &[u8]) -> Option<Duration> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
    Some(Duration::from_secs(number.parse().unwrap_or(u32::MAX).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_lists_and_unknown_ones_refused() {
        let age = |seconds| Some(Duration::from_secs(seconds));
        for (text, no_store, only_if_cached, max_age) in [
            ("no-store", true, false, None),
            ("Only-If-Cached, MAX-AGE=60", false, true, age(60)),
            ("max-age=0", false, false, age(0)),
            ("max-age=99999999999999", false, false, age(u32::MAX.into())),
        ] {
            let expected = CacheDirective { no_store, only_if_cached, max_age };
            assert_eq!(CacheDirective::parse(text.as_bytes()), Ok(expected), "{text}");
        }
        for text in ["", "no-cache", "max-age", "max-age=", "max-age=-1", "max-age=1.5", "no-store,", "hit"] {
            assert_eq!(CacheDirective::parse(text.as_bytes()), Err(UnknownDirective), "{text}");
        }
    }
}
