//! Ids and sealed texts that only their maker understands: a response's id, the encrypted content of
//! reasoning and compaction items, the signatures of Anthropic's thinking blocks and their redacted form.
//! Found in answers and, when the client sends them back, in requests.
//!
//! Chat completions have none: extensions of single providers (`reasoning_details`) are not read.

use memchr::memmem;

use super::{Dialect, Envelope, Event};
use crate::base::origins::OriginToken;

/// Bytes at the end of a sealed text that are compared; the end is the part that never repeats.
const TAIL: usize = 64;
/// Sealed texts of a request that are looked up, the latest first.
const MAX_LOOKED_UP: usize = 8;
/// Bytes within which a delta says its type.
const TYPE_PLACE: usize = 160;

/// Members that hold a sealed text, as a request and an answer write them.
const fn sealed_members(dialect: Dialect) -> &'static [&'static [u8]] {
    match dialect {
        Dialect::Responses => &[br#""encrypted_content""#],
        Dialect::Messages => &[br#""signature""#, br#""data""#],
        Dialect::ChatCompletions | Dialect::Completions | Dialect::Embeddings | Dialect::Gemini => &[],
    }
}

/// Whether answers of this dialect hold any.
#[must_use]
pub const fn has_any(dialect: Dialect) -> bool {
    !sealed_members(dialect).is_empty()
}

/// A thing that only its maker understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MintedKind {
    /// The id of a response.
    Response,
    /// The id of a response that is made in the background: it may be read later.
    BackgroundResponse,
    SealedText,
}

/// Calls `note` for each thing that the event of a stream holds.
pub fn in_event(dialect: Dialect, event: &Event<'_>, mut note: impl FnMut(OriginToken, MintedKind)) {
    let (Some(name), Some(data)) = (event.name, event.data) else { return };
    match (dialect, name) {
        (Dialect::Responses, b"response.created" | b"response.in_progress") => {
            note_response(data, &mut note);
        }
        (Dialect::Responses, b"response.output_item.done") => {
            note_all(data, sealed_members(dialect), &mut note);
        }
        (Dialect::Messages, b"content_block_delta") => {
            let start = data.get(..TYPE_PLACE).unwrap_or(data);
            if memmem::find(start, b"signature").is_some() {
                note_all(data, &[br#""signature""#], &mut note);
            }
        }
        (Dialect::Messages, b"content_block_start") => {
            note_all(data, sealed_members(dialect), &mut note);
        }
        _ => {}
    }
}

/// Calls `note` for each thing that a whole answer holds.
pub fn in_body(dialect: Dialect, body: &[u8], mut note: impl FnMut(OriginToken, MintedKind)) {
    if dialect == Dialect::Responses {
        note_response(body, &mut note);
    }
    note_all(body, sealed_members(dialect), &mut note);
}

/// The maker of a thing in a request by `find`: of the response that it follows, else of its latest sealed
/// text that is known. `None`: it has none, or none is known.
pub fn in_request<T>(
    dialect: Dialect,
    envelope: &Envelope,
    body: &[u8],
    find: impl Fn(OriginToken) -> Option<T>,
) -> Option<T> {
    if !has_any(dialect) {
        return None;
    }
    let previous = envelope.previous_response(body).and_then(|id| find(OriginToken::of(id)));
    previous.or_else(|| {
        let names = sealed_members(dialect).iter();
        let latest = |name: &&[u8]| {
            places_from_end(body, name)
                .filter_map(|at| sealed(body, at + name.len()))
                .take(MAX_LOOKED_UP)
                .find_map(&find)
        };
        names.into_iter().find_map(latest)
    })
}

/// Bytes that are searched at once: most sealed texts that are known stand near the end.
const SEARCHED: usize = 16 << 10;

/// The places of `name`, the last first. A search from the front has vectors and costs a sixth of one from
/// the end, so the bytes are searched from the front in pieces that are taken from the end.
fn places_from_end<'b>(bytes: &'b [u8], name: &'b [u8]) -> impl Iterator<Item = usize> + 'b {
    let finder = memmem::Finder::new(name);
    let (mut from, mut found) = (bytes.len(), Vec::new());
    std::iter::from_fn(move || {
        while found.is_empty() && from > 0 {
            // A name that begins in this piece may end in the one behind it.
            let end = (from + name.len().saturating_sub(1)).min(bytes.len());
            from = from.saturating_sub(SEARCHED);
            found.extend(finder.find_iter(bytes.get(from..end)?).map(|at| from + at));
        }
        found.pop()
    })
}

/// The id of a whole response that is made in the background. `None`: it is none.
#[must_use]
pub fn background_response(body: &[u8]) -> Option<OriginToken> {
    if !is_background(body) {
        return None;
    }
    first_id(body)
}

fn note_response(text: &[u8], note: &mut impl FnMut(OriginToken, MintedKind)) {
    if let Some(id) = first_id(text) {
        let kind = if is_background(text) { MintedKind::BackgroundResponse } else { MintedKind::Response };
        note(id, kind);
    }
}

fn first_id(text: &[u8]) -> Option<OriginToken> {
    const NAME: &[u8] = br#""id""#;
    let mut found = memmem::find_iter(text, NAME);
    found.find_map(|at| string_after(text, at + NAME.len())).map(OriginToken::of)
}

/// The response says so of itself. Inside a string these quotes would be escaped.
fn is_background(text: &[u8]) -> bool {
    const NAME: &[u8] = br#""background""#;
    memmem::find_iter(text, NAME).any(|at| {
        let value = text.get(at + NAME.len()..).unwrap_or_default().trim_ascii_start();
        value.strip_prefix(b":").is_some_and(|value| value.trim_ascii_start().starts_with(b"true"))
    })
}

fn note_all(text: &[u8], names: &[&[u8]], note: &mut impl FnMut(OriginToken, MintedKind)) {
    for name in names {
        let found = memmem::find_iter(text, name).filter_map(|at| sealed(text, at + name.len()));
        found.take(MAX_LOOKED_UP).for_each(|token| note(token, MintedKind::SealedText));
    }
}

/// A sealed text is long; shorter values of these names are something else.
fn sealed(text: &[u8], after_name: usize) -> Option<OriginToken> {
    token_of(string_after(text, after_name)?)
}

/// The token of a sealed text. `None`: it is too short for one.
#[must_use]
pub fn token_of(sealed: &[u8]) -> Option<OriginToken> {
    let tail = sealed.get(sealed.len().checked_sub(TAIL)?..)?;
    Some(OriginToken::of(tail))
}

/// The string value of the member with a name that ends there. `None`: another value, or it is cut off.
fn string_after(text: &[u8], after_name: usize) -> Option<&[u8]> {
    let value = text.get(after_name..)?.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let value = value.strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', value)?;
    value.get(..end).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::envelope;

    proptest! {
        #[test]
        fn places_are_found_from_the_end(gaps in prop::collection::vec(0_usize..9_000, 0..12), shift in 0_usize..20) {
            let text: Vec<u8> = gaps.iter().flat_map(|gap| [&b"-".repeat(*gap)[..], b"\"data\""].concat()).collect();
            let text = [text, b"-".repeat(SEARCHED - 10 + shift)].concat();
            let expected: Vec<usize> = memmem::rfind_iter(&text, b"\"data\"").collect();
            prop_assert_eq!(places_from_end(&text, b"\"data\"").collect::<Vec<_>>(), expected);
        }
    }

    fn sealed_text(seed: char) -> String {
        format!("gAAAA{}", seed.to_string().repeat(90))
    }

    fn tokens_of(dialect: Dialect, name: &str, data: &str) -> Vec<OriginToken> {
        let mut tokens = Vec::new();
        let event = Event {
            name: Some(name.as_bytes()),
            data: Some(data.as_bytes()),
            comment_only: false,
            start: None,
            end: 0,
        };
        in_event(dialect, &event, |token, _| tokens.push(token));
        tokens
    }

    fn found(dialect: Dialect, body: &str, known: &[OriginToken]) -> Option<OriginToken> {
        let envelope = envelope::read(body.as_bytes()).unwrap();
        in_request(dialect, &envelope, body.as_bytes(), |token| known.contains(&token).then_some(token))
    }

    #[test]
    fn a_response_is_known_again_by_its_id() {
        let created = r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response"}}"#;
        let known = tokens_of(Dialect::Responses, "response.created", created);
        assert_eq!(known, [OriginToken::of(b"resp_1")]);
        let body = r#"{"model":"m","previous_response_id": "resp_1","input":[]}"#;
        assert_eq!(found(Dialect::Responses, body, &known), Some(known[0]));
        assert_eq!(found(Dialect::Responses, &body.replace("resp_1", "resp_2"), &known), None);
        let mut whole = Vec::new();
        in_body(Dialect::Responses, br#"{"id": "resp_1", "output":[{"id":"msg_1"}]}"#, |token, _| {
            whole.push(token)
        });
        assert_eq!(whole, known);
    }

    #[test]
    fn a_response_of_the_background_says_so() {
        for (body, is_background) in [
            (r#"{"id":"resp_1","background": true,"status":"queued"}"#, true),
            (r#"{"background" :true,"id":"resp_1"}"#, true),
            (r#"{"id":"resp_1","background":false}"#, false),
            (r#"{"id":"resp_1","tools":[{"background":"auto"}]}"#, false),
            (r#"{"id":"resp_1","instructions":"\"background\":true"}"#, false),
            (r#"{"id":"resp_1"}"#, false),
        ] {
            let found = background_response(body.as_bytes());
            assert_eq!(found, is_background.then(|| OriginToken::of(b"resp_1")), "{body}");
            in_body(Dialect::Responses, body.as_bytes(), |_, kind| {
                assert_eq!(kind == MintedKind::BackgroundResponse, is_background, "{body}");
            });
        }
    }

    #[test]
    fn sealed_reasoning_is_known_again_by_its_end() {
        let text = sealed_text('b');
        let done = format!(
            r#"{{"type":"response.output_item.done","item":{{"id":"rs_1","type":"reasoning","encrypted_content":"{text}"}}}}"#
        );
        let known = tokens_of(Dialect::Responses, "response.output_item.done", &done);
        assert_eq!(known.len(), 1);
        let item =
            |text: &str| format!(r#"{{"type":"reasoning","encrypted_content": "{text}","summary":[]}}"#);
        let body = |items: &[String]| format!(r#"{{"model":"m","input":[{}]}}"#, items.join(","));
        let mixed = body(&[item(&text), item(&sealed_text('c'))]);
        assert_eq!(found(Dialect::Responses, &mixed, &known), Some(known[0]));
        assert_eq!(found(Dialect::Responses, &body(&[item(&sealed_text('c'))]), &known), None);
        assert_eq!(found(Dialect::ChatCompletions, &mixed, &known), None);
        assert_eq!(found(Dialect::Responses, &body(&[item("short")]), &known), None);
    }

    #[test]
    fn a_thought_is_known_again_by_its_signature() {
        let text = sealed_text('s');
        let delta = format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"signature_delta","signature":"{text}"}}}}"#
        );
        let known = tokens_of(Dialect::Messages, "content_block_delta", &delta);
        assert_eq!(known.len(), 1);
        let body = format!(
            r#"{{"model":"m","messages":[{{"role":"assistant","content":[{{"type":"thinking","thinking":"t","signature":"{text}"}}]}}]}}"#
        );
        assert_eq!(found(Dialect::Messages, &body, &known), Some(known[0]));
        let redacted = format!(
            r#"{{"type":"content_block_start","index":0,"content_block":{{"type":"redacted_thinking","data":"{text}"}}}}"#
        );
        assert_eq!(tokens_of(Dialect::Messages, "content_block_start", &redacted), known);
        let text_delta =
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#;
        assert!(tokens_of(Dialect::Messages, "content_block_delta", text_delta).is_empty());
    }
}
