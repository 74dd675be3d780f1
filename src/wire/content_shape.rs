//! The bytes that the content events of a stream have in common: nearly all of them differ in their text
//! alone, so most events need no search for members.
//!
//! An event matches if its text is at the same place, with the same bytes right before it and the same bytes
//! behind it, and is one string without a quote. A member that comes before or behind the text, or within,
//! changes one of these. OpenAI ends its events with a string of random length, `obfuscation`; it may differ,
//! too. Such an event has the class of the event that the shape was learned from:
//! [`EventClass::Other`](super::EventClass::Other) without usage.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::sse::Event;

/// Bytes that are compared: `"delta":{"content":"` has 20, `"delta":"` of a response event 9.
const MAX_BEFORE: usize = 12;
const MAX_BEHIND: usize = 88;
/// Events in a row that do not match and are tried all the same.
const MAX_MISSES: u8 = 8;
const MISSES_BETWEEN: u8 = 64;
const PADDING: &[u8] = b"\"obfuscation\":\"";
const PADDING_END: &[u8] = b"\"}";

/// Members that hold the text of an event, most frequent first.
const TEXT_MEMBERS: [&[u8]; 8] = [
    b"\"content\"",
    b"\"text\"",
    b"\"delta\"",
    b"\"arguments\"",
    b"\"partial_json\"",
    b"\"reasoning_content\"",
    b"\"reasoning\"",
    b"\"thinking\"",
];

/// Members that hold a text which no shape is learned of.
const FURTHER_TEXT_MEMBERS: &[&[u8]] = &[b"\"refusal\"", b"\"transcript\""];
/// Bytes; no word is as long.
const MIN_MEDIUM: usize = 1024;

/// The shape of the last content event that was searched.
#[derive(Clone, Copy, Debug)]
pub struct ContentShape {
    /// Offset of the text in the event's data, after its opening quote. Zero: no shape is known.
    text_at: u32,
    behind_length: u8,
    /// Learned since the last match.
    misses: u8,
    /// The end of `behind` is the opening quote of `obfuscation`.
    is_padded: bool,
    before: [u8; MAX_BEFORE],
    /// From the text's closing quote to the end of the data, or to the padding.
    behind: [u8; MAX_BEHIND],
}

impl Default for ContentShape {
    fn default() -> Self {
        Self {
            text_at: 0,
            behind_length: 0,
            misses: 0,
            is_padded: false,
            before: [0; MAX_BEFORE],
            behind: [0; MAX_BEHIND],
        }
    }
}

impl ContentShape {
    /// The bytes of text in `event`, if it differs from the learned one in its text alone. `None`: it differs
    /// in more.
    #[must_use]
    pub fn matched_text(&mut self, event: &Event<'_>) -> Option<usize> {
        let (at, behind) = (self.text_at as usize, self.behind.get(..usize::from(self.behind_length))?);
        let data = event.data?;
        if at < MAX_BEFORE || !has_text(event.name) {
            return None;
        }
        let (before, text) = data.get(at - MAX_BEFORE..)?.split_first_chunk()?;
        let rest = (*before == self.before).then(|| end_of_text(text)).flatten()?;
        let has_matched = if self.is_padded {
            rest.strip_prefix(behind).and_then(end_of_text) == Some(PADDING_END)
        } else {
            rest == behind
        };
        has_matched.then(|| {
            self.misses = 0;
            text.len() - rest.len()
        })
    }

    /// Takes the shape of `event`, which did not match and holds no usage, no error and no end. In a stream
    /// whose events do not match, only some are tried.
    pub fn learn(&mut self, event: &Event<'_>) {
        self.misses = self.misses.wrapping_add(1);
        if self.misses > MAX_MISSES && !self.misses.is_multiple_of(MISSES_BETWEEN) {
            return;
        }
        let Some(data) = event.data.filter(|_| has_text(event.name)) else { return };
        let mut texts = TEXT_MEMBERS.iter().filter_map(|name| text_of(data, name));
        let Some((start, end)) = texts.find(|(start, end)| start < end) else { return };
        let (Some(before), Some(behind)) = (data.get(..start).and_then(<[u8]>::last_chunk), data.get(end..))
        else {
            return;
        };
        let padding = memchr::memmem::find(behind, PADDING).map(|at| at + PADDING.len());
        let behind = behind.get(..padding.unwrap_or(behind.len())).unwrap_or(behind);
        if let (Some(place), Ok(text_at)) = (self.behind.get_mut(..behind.len()), u32::try_from(start)) {
            place.copy_from_slice(behind);
            self.behind_length = behind.len() as u8;
            (self.before, self.text_at, self.is_padded) = (*before, text_at, padding.is_some());
        }
    }
}

/// The bytes of text in the data of an event of any shape, with their escapes: the strings of that text
/// member which has the most. Several members may repeat one text. Other data is text, too, beyond an
/// envelope of `envelope` bytes, but for a sound or a picture.
#[must_use]
pub fn text_bytes(data: &[u8], envelope: usize) -> usize {
    let longest = FIND_TEXTS.iter().map(|name| strings_of(data, name)).max().unwrap_or(0);
    if longest > 0 || has_medium(data) {
        return longest;
    }
    data.len().saturating_sub(envelope)
}

static FIND_TEXTS: LazyLock<Vec<Finder<'static>>> = LazyLock::new(|| {
    TEXT_MEMBERS.iter().chain(FURTHER_TEXT_MEMBERS).map(|name| Finder::new(*name)).collect()
});

/// The bytes of all strings that members of this name hold.
fn strings_of(data: &[u8], name: &Finder<'_>) -> usize {
    let (mut rest, mut bytes) = (data, 0);
    while let Some(at) = name.find(rest) {
        rest = rest.get(at + name.needle().len()..).unwrap_or_default();
        let value = rest.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start);
        if let Some(text) = value.and_then(|value| value.strip_prefix(b"\"")) {
            let length = string_length(text);
            bytes += length;
            rest = text.get(length..).unwrap_or_default();
        }
    }
    bytes
}

/// The bytes before the closing quote of the string in which `text` begins.
fn string_length(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        if text.get(at + found) == Some(&b'"') {
            return at + found;
        }
        at += found + 2;
    }
    text.len()
}

fn has_medium(data: &[u8]) -> bool {
    let mut from = 0;
    memchr::memchr_iter(b'"', data).chain([data.len()]).any(|end| {
        let string = data.get(from..end).unwrap_or_default();
        from = end + 1;
        is_medium(string)
    })
}

/// Whether a string is a sound, a picture or a seal: long, and without a space.
fn is_medium(string: &[u8]) -> bool {
    string.len() >= MIN_MEDIUM && memchr::memchr(b' ', string).is_none()
}

/// Whether an event of this name holds text. Chunks of chat completions have no name.
fn has_text(name: Option<&[u8]>) -> bool {
    name.is_none_or(|name| name.ends_with(b"delta"))
}

/// The bytes from the closing quote of the string in which `bytes` begin. `None`: an escaped quote comes
/// first, or there is none.
fn end_of_text(bytes: &[u8]) -> Option<&[u8]> {
    let (text, rest) = bytes.split_at_checked(memchr::memchr(b'"', bytes)?)?;
    (text.last() != Some(&b'\\')).then_some(rest)
}

/// Start and end of the string that a member `name` holds. `None`: there is none, or it holds a quote.
fn text_of(data: &[u8], name: &[u8]) -> Option<(usize, usize)> {
    let after = memchr::memmem::find(data, name)? + name.len();
    let rest =
        data.get(after..)?.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    Some((data.len() - rest.len(), data.len() - end_of_text(rest)?.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{AnswerEnd, Dialect, EventClass, EventFacts, classify_committed};

    fn event<'a>(name: Option<&'a str>, data: &'a str) -> Event<'a> {
        let (name, data) = (name.map(str::as_bytes), Some(data.as_bytes()));
        Event { start: Some(0), end: 0, data, name, comment_only: false }
    }

    impl ContentShape {
        fn matches(&mut self, event: &Event<'_>) -> bool {
            self.matched_text(event).is_some()
        }
    }

    fn learned(name: Option<&str>, data: &str) -> ContentShape {
        let mut shape = ContentShape::default();
        shape.learn(&event(name, data));
        shape
    }

    const CHUNK: &str =
        r#"{"id":"c","choices":[{"index":0,"delta":{"content":"TEXT"},"finish_reason":null}]}"#;
    const BLOCK: &str =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"TEXT"}}"#;
    const DELTA: &str =
        r#"{"type":"response.output_text.delta","item_id":"m","delta":"TEXT","sequence_number":9}"#;

    #[test]
    fn texts_alone_may_differ() {
        for (name, data) in
            [(None, CHUNK), (Some("content_block_delta"), BLOCK), (Some("response.output_text.delta"), DELTA)]
        {
            let mut shape = learned(name, data);
            for text in ["", " a", "x\\n", "é", "usage", "error", &"long ".repeat(1000)] {
                assert!(shape.matches(&event(name, &data.replace("TEXT", text))), "{text}");
            }
            for text in [r#"a","usage":{"total_tokens":1},"x":"b"#, r#"\"quoted\""#, r#"a\"#] {
                assert!(!shape.matches(&event(name, &data.replace("TEXT", text))), "{text}");
            }
            assert!(!shape.matches(&event(Some("message_stop"), data)));
            assert!(!shape.matches(&event(name, "[DONE]")));
            assert!(!shape.matches(&event(name, "")));
        }
        assert!(!ContentShape::default().matches(&event(None, CHUNK)));
    }

    #[test]
    fn the_text_of_a_match_is_measured() {
        for (name, data) in
            [(None, CHUNK), (Some("content_block_delta"), BLOCK), (Some("response.output_text.delta"), DELTA)]
        {
            let mut shape = learned(name, data);
            for text in ["", " a", "\u{e9}", &"long ".repeat(1000)] {
                let data = data.replace("TEXT", text);
                assert_eq!(shape.matched_text(&event(name, &data)), Some(text.len()), "{data}");
                assert_eq!(text_bytes(data.as_bytes(), data.len()), text.len(), "{data}");
            }
        }
    }

    #[test]
    fn the_text_of_an_event_of_any_shape_is_measured() {
        let sound = format!(r#"{{"choices":[{{"delta":{{"audio":{{"data":"{}"}}}}}}]}}"#, "aB3+".repeat(300));
        let call = format!(r#"{{"functionCall":{{"args":{{"a":"{}"}}}}}}"#, "word ".repeat(200));
        for (data, bytes) in [
            (r#"{"choices":[{"delta":{"content":"a \"b\" \\"}},{"delta":{"content":"cd"}}]}"#, 12),
            (r#"{"delta":{"content":"abc","reasoning":"abc","details":[{"text":"abc"}]}}"#, 3),
            (r#"{"delta":{"tool_calls":[{"function":{"arguments":"{\"a\":1}"}}]}}"#, 9),
            (r#"{"delta":{"refusal":"no"}}"#, 2),
            (r#"{"content":"never closed"#, 12),
            (r#"{"a":1}"#, 0),
            (&sound, 0),
            (&call, call.len() - 100),
        ] {
            assert_eq!(text_bytes(data.as_bytes(), 100), bytes, "{data}");
        }
    }

    #[test]
    fn padding_may_differ() {
        let padded = |text: &str, padding: &str| {
            let end = format!("],\"obfuscation\":\"{padding}\"}}");
            CHUNK.replace("TEXT", text).replace("]}", &end)
        };
        let mut shape = learned(None, &padded("a", "xyz"));
        assert!(shape.matches(&event(None, &padded("longer", "1"))));
        assert!(!shape.matches(&event(None, &padded("a", "x\",\"error\":\"y"))));
        assert!(!shape.matches(&event(None, &padded("a", "x").replace("]", "],\"error\":{}"))));
    }

    #[test]
    fn members_elsewhere_are_seen() {
        let mut shape = learned(None, CHUNK);
        for (from, to) in [
            ("{\"id\"", "{\"error\":{\"message\":\"x\"},\"id\""),
            ("{\"id\":\"c\",", "{\"usage\":{\"total_tokens\":1},"),
            ("null}", "\"stop\"}"),
            ("]}", "],\"usage\":{\"total_tokens\":1}}"),
        ] {
            assert!(!shape.matches(&event(None, &CHUNK.replace(from, to))), "{to}");
        }
    }

    proptest! {
        /// An event that matches has the class that a search finds, and ends nothing.
        #[test]
        fn a_match_is_the_result_of_a_search(
            text in "[a-z\"\\\\{}:,]{0,6}|usage|error|finish_reason",
            tail in prop::sample::select(vec!["null", "\"stop\"", "\"\"", "null,\"usage\":{\"total_tokens\":1}"]),
            lead in prop::sample::select(vec!["{\"id\":\"c\",", "{\"error\":{},", "{\"usage\":{},", "{"]),
        ) {
            let data = CHUNK.replace("TEXT", &text).replace("null", tail).replace("{\"id\":\"c\",", lead);
            let event = event(None, &data);
            if learned(None, CHUNK).matches(&event) {
                let facts = classify_committed(Dialect::ChatCompletions, &event);
                prop_assert_eq!(facts, EventFacts::from(EventClass::Other));
                let mut end = AnswerEnd::default();
                end.note_early(Dialect::ChatCompletions, &event, facts.class);
                prop_assert!(end.is_missing());
            }
        }
    }
}
