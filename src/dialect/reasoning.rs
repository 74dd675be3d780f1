//! The signature of reasoning that a translated answer carries, so that a later request gives it back.
//!
//! A client returns a thinking block's `signature`, a reasoning item's `encrypted_content` and a part's
//! `thoughtSignature` untouched. thalweg's own are base64 (Gemini's SDKs decode and encode it again) of
//! `thalweg:1:`, a letter for the origin, `:` and a payload; the first twelve bytes are whole groups of
//! base64. A signature of another form is a foreign one, which only its maker can read.

use crate::dialect::json::JsonWrite;

/// The provider's dialect, and the member in it, that the reasoning came in; and so the place that it goes
/// back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasoningOrigin {
    /// `reasoning_content` of a chat message. Payload: the text if it does not stand beside the signature,
    /// else "".
    ChatReasoningContent,
    /// `reasoning` of a chat message. Payload: as above.
    ChatReasoning,
    /// `reasoning_details` of a chat message, as OpenRouter has them. Payload: some elements as a JSON array,
    /// with one [`TEXT_PLACE`] for the text that stands beside the signature.
    ChatDetails,
    /// A part `thinking` of a chat message's content, as Mistral has it. Payload: as of `reasoning_content`.
    ChatThinkPart,
    /// `extra_content.google.thought_signature` of the next tool call of a chat message, else of the message.
    /// Payload: the signature.
    CallSignature,
    /// A `thinking` block. Payload: Anthropic's signature.
    Thinking,
    /// A `redacted_thinking` block. Payload: its `data`.
    RedactedThinking,
    /// A reasoning item of the Responses API. Payload: [`item_payload`].
    ReasoningItem,
}

use ReasoningOrigin::{
    CallSignature, ChatDetails, ChatReasoning, ChatReasoningContent, ChatThinkPart, ReasoningItem,
    RedactedThinking, Thinking,
};

impl ReasoningOrigin {
    pub const fn is_of_chat(self) -> bool {
        match self {
            ChatReasoningContent | ChatReasoning | ChatDetails | ChatThinkPart | CallSignature => true,
            Thinking | RedactedThinking | ReasoningItem => false,
        }
    }
}

const LETTERS: [(ReasoningOrigin, u8); 8] = [
    (ChatReasoningContent, b'c'),
    (ChatReasoning, b'r'),
    (ChatDetails, b'o'),
    (ChatThinkPart, b'p'),
    (CallSignature, b'g'),
    (Thinking, b't'),
    (RedactedThinking, b'd'),
    (ReasoningItem, b'i'),
];
const PREFIX: &[u8] = b"thalweg:1:";
/// The beginning of every signature, in both alphabets of base64.
pub const SIGNATURE_MARK: &str = "dGhhbHdlZzox";

/// Stands for a JSON string in a payload; no JSON has this byte.
pub const TEXT_PLACE: &str = "\u{1}";

/// The elements of `reasoning_details` of a payload, without the brackets. `None`: it is none of ours,
/// because a client may write any payload: one with many places for a long text is not built.
pub fn details_with_text(payload: &str, text: &str) -> Option<String> {
    if payload.matches(TEXT_PLACE).nth(1).is_some() {
        return None;
    }
    let mut string = Vec::new();
    string.string(text);
    let json = payload.replace(TEXT_PLACE, str::from_utf8(&string).ok()?);
    let mut scratch = json.clone().into_bytes();
    let tape = simd_json::to_tape(&mut scratch).ok()?;
    let is_list = matches!(tape.0.first(), Some(simd_json::Node::Array { len: 1.., .. }));
    let inner = json.trim().strip_prefix('[')?.strip_suffix(']')?;
    is_list.then(|| inner.to_owned())
}

/// The payload with the text in it, for clients that return the signature alone.
pub fn payload_with_text(origin: ReasoningOrigin, payload: &str, text: &str) -> String {
    match origin {
        ChatReasoningContent | ChatReasoning | ChatThinkPart => text.to_owned(),
        ChatDetails => {
            details_with_text(payload, text).map_or_else(String::new, |details| format!("[{details}]"))
        }
        CallSignature | Thinking | RedactedThinking | ReasoningItem => payload.to_owned(),
    }
}

/// The payload of an earlier signature and a further one, for clients that have one place for both. `None`:
/// they are of different kinds, or have no common form.
pub fn joined_payload(before: &str, origin: ReasoningOrigin, payload: &str) -> Option<String> {
    let earlier = decode(before).filter(|earlier| earlier.origin == origin)?.payload;
    match origin {
        ChatReasoningContent | ChatReasoning | ChatThinkPart => Some(earlier + payload),
        ChatDetails => Some(format!("{},{}", earlier.strip_suffix(']')?, payload.strip_prefix('[')?)),
        CallSignature | Thinking | RedactedThinking | ReasoningItem => None,
    }
}

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
    fn details_are_elements_and_nothing_else() {
        let payload = format!(r#"[{{"text":{TEXT_PLACE},"signature":"s"}}]"#);
        let expected = r#"{"text":"a \"b\"","signature":"s"}"#;
        assert_eq!(details_with_text(&payload, r#"a "b""#).as_deref(), Some(expected));
        for forged in ["", "[]", "{}", "1", r#"[{"a":1}],"model":"x""#, r#"[1]]"#, "[{]"] {
            assert_eq!(details_with_text(forged, "t"), None, "{forged}");
        }
    }

    #[test]
    fn a_payload_has_one_place_for_the_text() {
        let payload = format!("[{}1]", format!("{TEXT_PLACE},").repeat(1 << 20));
        assert_eq!(details_with_text(&payload, &"t".repeat(1 << 20)), None);
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
