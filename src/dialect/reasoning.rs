//! The signature of reasoning that a translated answer carries, so that a later request gives it back.
//!
//! A client returns a thinking block's `signature`, a reasoning item's `encrypted_content` and a part's
//! `thoughtSignature` untouched. thalweg's own are base64 (Gemini's SDKs decode and encode it again) of
//! `thalweg:1:`, a letter for the origin, `:` and a payload; the first twelve bytes are whole groups of
//! base64. A signature of another form is a foreign one, which only its maker can read.

/// The provider's dialect, and the member in it, that the reasoning came in; and so the place that it goes
/// back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasoningOrigin {
    /// `reasoning_content` of a chat message. Payload: the text if it does not stand beside the signature,
    /// else "".
    ChatReasoningContent,
    /// `reasoning` of a chat message. Payload: as above.
    ChatReasoning,
    /// A `thinking` block. Payload: Anthropic's signature.
    Thinking,
    /// A `redacted_thinking` block. Payload: its `data`.
    RedactedThinking,
    /// A reasoning item of the Responses API. Payload: [`item_payload`].
    ReasoningItem,
}

use ReasoningOrigin::{ChatReasoning, ChatReasoningContent, ReasoningItem, RedactedThinking, Thinking};

const LETTERS: [(ReasoningOrigin, u8); 5] = [
    (ChatReasoningContent, b'c'),
    (ChatReasoning, b'r'),
    (Thinking, b't'),
    (RedactedThinking, b'd'),
    (ReasoningItem, b'i'),
];
const PREFIX: &[u8] = b"thalweg:1:";
/// The beginning of every signature, in both alphabets of base64.
pub const SIGNATURE_MARK: &str = "dGhhbHdlZzox";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedReasoning {
    pub origin: ReasoningOrigin,
    pub payload: String,
}

/// The payload of a reasoning item: its id, a line end, its `encrypted_content`.
pub fn item_payload(id: &str, encrypted_content: &str) -> String {
    format!("{id}\n{encrypted_content}")
}

pub fn encode(origin: ReasoningOrigin, payload: &str) -> String {
    let letter = LETTERS.iter().find(|(o, _)| *o == origin).map_or(b'c', |(_, letter)| *letter);
    let mut bytes = Vec::with_capacity(PREFIX.len() + 2 + payload.len());
    bytes.extend_from_slice(PREFIX);
    bytes.extend_from_slice(&[letter, b':']);
    bytes.extend_from_slice(payload.as_bytes());
    base64(&bytes)
}

/// `None`: the signature is not thalweg's.
pub fn decode(signature: &str) -> Option<SignedReasoning> {
    // Cheap for foreign signatures, which may be long.
    if !signature.starts_with(SIGNATURE_MARK) {
        return None;
    }
    let bytes = from_base64(signature)?;
    let rest = bytes.strip_prefix(PREFIX)?;
    let (&[letter, b':'], payload) = rest.split_first_chunk::<2>()? else { return None };
    let (origin, _) = LETTERS.iter().find(|(_, l)| *l == letter)?;
    Some(SignedReasoning { origin: *origin, payload: String::from_utf8(payload.to_vec()).ok()? })
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) as usize & 63;
            let is_padding = digit > group.len();
            out.push(if is_padding { '=' } else { char::from(ALPHABET.get(index).copied().unwrap_or(b'A')) });
        }
    }
    out
}

/// Reads both alphabets, with padding or without.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut held) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn signatures_are_read_back(payload in any::<String>(), at in 0..LETTERS.len()) {
            let origin = LETTERS[at].0;
            let signature = encode(origin, &payload);
            let read = Some(SignedReasoning { origin, payload });
            prop_assert_eq!(&decode(&signature), &read);
            // As google-genai for Python sends it back.
            prop_assert_eq!(&decode(&signature.replace('+', "-").replace('/', "_")), &read);
        }

        #[test]
        fn foreign_signatures_are_refused(signature in any::<String>()) {
            prop_assert_eq!(decode(&signature), None);
        }
    }

    #[test]
    fn base64_is_canonical() {
        assert_eq!(base64(b"a"), "YQ==");
        assert_eq!(base64(b"ab"), "YWI=");
        assert_eq!(base64(b"abc"), "YWJj");
        assert_eq!(decode(""), None);
        assert_eq!(decode("dGhhbHdlZzox"), None);
    }
}
