//! Ids of tool calls in the forms that providers accept.
//!
//! Anthropic takes `^[a-zA-Z0-9_-]+$`, OpenAI at most 64 bytes. An id that fits passes unchanged; others are
//! mapped in the same way each time, so that a result finds its call in every later turn.

use std::{borrow::Cow, fmt::Write as _};

const MAX_LENGTH: usize = 64;
const SHORT_LENGTH: usize = 9;
const PREFIX: &str = "tw-";

/// An id that Anthropic accepts: another is written as `tw-` and its bytes in hexadecimal.
pub fn for_messages(id: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !id.is_empty() && !id.starts_with(PREFIX) && id.bytes().all(is_plain) {
        return Cow::Borrowed(id);
    }
    let mut mapped = String::with_capacity(PREFIX.len() + 2 * id.len());
    mapped.push_str(PREFIX);
    for byte in id.bytes() {
        // Writing to a string does not fail.
        _ = write!(mapped, "{byte:02x}");
    }
    Cow::Owned(mapped)
}

/// The id that [`for_messages`] made another of.
pub(super) fn from_messages(id: &str) -> Cow<'_, str> {
    let original = || {
        let hex = id.strip_prefix(PREFIX)?.as_bytes();
        let (pairs, []) = hex.as_chunks::<2>() else { return None };
        let byte = |pair: &[u8; 2]| {
            let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
            u8::try_from(high? << 4 | low?).ok()
        };
        let original = String::from_utf8(pairs.iter().map(byte).collect::<Option<_>>()?).ok()?;
        (for_messages(&original) == id).then_some(original)
    };
    original().map_or(Cow::Borrowed(id), Cow::Owned)
}

/// An id that OpenAI accepts: a longer one keeps its begin and gets a digest of the whole.
pub fn for_openai(id: &str) -> Cow<'_, str> {
    if (1..=MAX_LENGTH).contains(&id.len()) {
        return Cow::Borrowed(id);
    }
    let start: String = id.chars().filter(char::is_ascii_alphanumeric).take(24).collect();
    Cow::Owned(format!("tw-{start}-{:016x}{:016x}", fnv(id, 0), fnv(id, 1)))
}

/// An id that the chat provider accepts: [`for_openai`], or nine letters and digits, as Mistral asks for.
pub(super) fn for_chat(id: &str, is_short: bool) -> Cow<'_, str> {
    if !is_short {
        return for_openai(id);
    }
    if id.len() == SHORT_LENGTH && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Cow::Borrowed(id);
    }
    let mut rest = fnv(id, 0);
    let digits = (0..SHORT_LENGTH).map(|_| {
        let digit = char::from_digit((rest % 36) as u32, 36);
        rest /= 36;
        digit.unwrap_or('0')
    });
    Cow::Owned(digits.collect())
}

/// FNV-1a with a seed: not against an adversary, because a client's ids meet its own alone.
pub(super) fn fnv(text: &str, seed: u64) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    text.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn mapped_ids_come_back(id in any::<String>()) {
            let mapped = for_messages(&id);
            prop_assert!(mapped.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
            prop_assert_eq!(&*from_messages(&mapped), &id);
            prop_assert!((1..=64).contains(&for_openai(&id).len()));
            let short = for_chat(&id, true);
            prop_assert!(short.len() == 9 && short.bytes().all(|b| b.is_ascii_alphanumeric()));
        }
    }

    #[test]
    fn usual_ids_pass() {
        assert_eq!(for_messages("toolu_01AbC-9"), "toolu_01AbC-9");
        assert_eq!(for_messages("call:1"), "tw-63616c6c3a31");
        assert_eq!(from_messages("tw-63616c6c3a31"), "call:1");
        // Looks mapped, but is not an id that needs it.
        assert_eq!(from_messages("tw-61"), "tw-61");
        assert_eq!(from_messages(&for_messages("tw-3a")), "tw-3a");
        assert_eq!(for_openai("call_1"), "call_1");
        assert_eq!(
            (for_chat("call_1", false), for_chat("D681PevKs", true)),
            ("call_1".into(), "D681PevKs".into())
        );
        assert_ne!(for_openai(&"a".repeat(65)), for_openai(&"a".repeat(66)));
    }
}
