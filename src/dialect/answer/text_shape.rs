//! The bytes that the text events of a stream have in common: nearly all of them differ in their text alone,
//! so most events need no search for members.
//!
//! An event matches if it has the name, the bytes before the text and the bytes behind it of the event before
//! it, and its text is a JSON string without an escape. It says the same fact with another text then. A shape
//! is learned from an event that says one text and nothing else, and holds for the events right behind it.

use std::ops::Range;

use memchr::memmem;

use super::fact::Fact;
use crate::dialect::reasoning::ReasoningOrigin;

#[derive(Debug, Default)]
pub(super) struct TextShape {
    kind: Option<TextKind>,
    /// The event's name, and the bytes before the text.
    before: Vec<u8>,
    name_length: usize,
    /// From the text's closing quote on.
    behind: Vec<u8>,
    /// Shapes in a row that no event matched.
    misses: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextKind {
    Text,
    Reasoning(Option<ReasoningOrigin>),
}

impl TextKind {
    pub(super) const fn fact(self, text: &str) -> Fact<'_> {
        match self {
            Self::Text => Fact::Text { text, logprobs: None },
            Self::Reasoning(origin) => Fact::Reasoning { text, origin },
        }
    }
}

/// Shapes in a row that are tried though none matched; then some.
const MAX_MISSES: u8 = 8;
const MISSES_BETWEEN: u8 = 64;
/// Bytes of a shape, which is kept as long as the stream.
const MAX_SHAPE: usize = 1024;

impl TextShape {
    /// The text of an event that differs from the last one in its text alone.
    pub(super) fn text<'d>(&mut self, name: Option<&[u8]>, data: &'d [u8]) -> Option<(TextKind, &'d str)> {
        let kind = self.kind?;
        let (own_name, before) = self.before.split_at_checked(self.name_length)?;
        if own_name != name.unwrap_or_default() {
            return None;
        }
        let text = data.strip_prefix(before)?.strip_suffix(&*self.behind)?;
        if text.iter().fold(0, |any, byte| any | needs_reading(*byte)) != 0 {
            return None;
        }
        // Google's endpoint puts marks around a thought, which its reader takes off.
        if kind != TextKind::Text && text.contains(&b'<') {
            return None;
        }
        let text = str::from_utf8(text).ok()?;
        self.misses = 0;
        Some((kind, text))
    }

    /// Another event came: its shape is another.
    pub(super) fn forget(&mut self) {
        self.kind = None;
    }

    /// Whether the next event's shape is worth learning.
    pub(super) fn is_tried(&mut self) -> bool {
        self.misses = self.misses.wrapping_add(1);
        self.misses <= MAX_MISSES || self.misses.is_multiple_of(MISSES_BETWEEN)
    }

    pub(super) fn learn(&mut self, name: Option<&[u8]>, data: &[u8], kind: TextKind, text: Range<usize>) {
        let (before, behind) = (data.get(..text.start), data.get(text.end..));
        let (Some(before), Some(behind)) = (before, behind) else { return };
        let name = name.unwrap_or_default();
        if name.len() + before.len() + behind.len() > MAX_SHAPE {
            return;
        }
        self.before.clear();
        self.before.extend_from_slice(name);
        self.before.extend_from_slice(before);
        self.name_length = name.len();
        behind.clone_into(&mut self.behind);
        self.kind = Some(kind);
    }
}

/// A byte that ends a JSON string, begins an escape, or may not stand in one.
const fn needs_reading(byte: u8) -> u8 {
    (byte < 0x20) as u8 | (byte == b'"') as u8 | (byte == b'\\') as u8
}

/// Takes note of the facts of one event: of its text, if that is all it says.
#[derive(Debug)]
pub(super) struct TextNote<'d> {
    data: &'d [u8],
    found: Option<(TextKind, Range<usize>)>,
    is_other: bool,
}

impl<'d> TextNote<'d> {
    pub(super) const fn new(data: &'d [u8]) -> Self {
        Self { data, found: None, is_other: false }
    }

    pub(super) fn see(&mut self, fact: &Fact<'_>) {
        let (kind, text) = match fact {
            // Says nothing after the first.
            Fact::Started { .. } => return,
            Fact::Text { text, logprobs: None } => (TextKind::Text, *text),
            Fact::Reasoning { text, origin } => (TextKind::Reasoning(*origin), *text),
            Fact::Text { .. }
            | Fact::Refusal(_)
            | Fact::ReasoningPart
            | Fact::ReasoningSealed(_)
            | Fact::CallBegun { .. }
            | Fact::CallArguments { .. }
            | Fact::CallEnded { .. }
            | Fact::Citation(_)
            | Fact::BlockEnded
            | Fact::Usage(_)
            | Fact::Finished { .. }
            | Fact::Ended
            | Fact::Failed { .. }
            | Fact::Unknown => {
                self.is_other = true;
                return;
            }
        };
        self.is_other |= self.found.is_some();
        self.found = place_of(self.data, text).map(|place| (kind, place));
        self.is_other |= self.found.is_none();
    }

    /// The kind of the event's one text, and its place.
    pub(super) fn into_text(self) -> Option<(TextKind, Range<usize>)> {
        self.found.filter(|_| !self.is_other)
    }
}

/// The place of the only string `text` in JSON without escapes.
fn place_of(data: &[u8], text: &str) -> Option<Range<usize>> {
    if text.is_empty() || memchr::memchr(b'\\', data).is_some() {
        return None;
    }
    let is_string = |at: &usize| {
        let quoted = |at: Option<usize>| at.and_then(|at| data.get(at)) == Some(&b'"');
        quoted(at.checked_sub(1)) && quoted(Some(at + text.len()))
    };
    let mut places = memmem::find_iter(data, text).filter(is_string);
    let at = places.next()?;
    places.next().is_none().then(|| at..at + text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dialect::{ApiDialect, answer::StreamTranslator, context::AnswerContext};

    const DATA: &str =
        r#"{"id":"c","choices":[{"index":0,"delta":{"content":" river"},"finish_reason":null}]}"#;

    fn learned(data: &str, text: &str) -> TextShape {
        let mut note = TextNote::new(data.as_bytes());
        note.see(&Fact::Started { id: "c", model: "m" });
        note.see(&TextKind::Text.fact(text));
        let mut shape = TextShape::default();
        if let Some((kind, place)) = note.into_text() {
            shape.learn(None, data.as_bytes(), kind, place);
        }
        shape
    }

    #[test]
    fn an_event_may_differ_in_its_text_alone() {
        let mut shape = learned(DATA, " river");
        for text in ["", " bed", "é流", "{}:,[]", "<t:7>"] {
            let data = DATA.replace(" river", text);
            assert_eq!(shape.text(None, data.as_bytes()), Some((TextKind::Text, text)));
        }
        for text in ["a\\n", "a\"", "\",\"role\":\"x", "\\", "\n", "\u{1f}"] {
            let data = DATA.replace(" river", text);
            assert_eq!(shape.text(None, data.as_bytes()), None, "{text}");
        }
        for (from, to) in [("null", "\"stop\""), ("\"c\"", "\"d\""), ("0", "1")] {
            assert_eq!(shape.text(None, DATA.replace(from, to).as_bytes()), None, "{to}");
        }
        assert_eq!(shape.text(Some(b"error"), DATA.as_bytes()), None);
        assert_eq!(shape.text(None, b"[DONE]"), None);
        let cut = DATA.replace(" river", "X").into_bytes();
        let cut: Vec<u8> = cut.into_iter().map(|byte| if byte == b'X' { 0xe2 } else { byte }).collect();
        assert_eq!(shape.text(None, &cut), None);
        shape.forget();
        assert_eq!(shape.text(None, DATA.as_bytes()), None);
    }

    #[test]
    fn the_marks_of_a_thought_are_taken_off() {
        let mut translator = StreamTranslator::new(
            ApiDialect::ChatCompletions,
            ApiDialect::Messages,
            AnswerContext::default(),
            "r",
            1,
        );
        let mut out = Vec::new();
        for text in ["I ", "think", " so</thought>"] {
            let data = format!(
                r#"{{"choices":[{{"delta":{{"content":"{text}","extra_content":{{"google":{{"thought":true}}}}}}}}]}}"#
            );
            translator.event(None, data.as_bytes(), &mut out);
        }
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains(r#""thinking":" so"}"#) && !out.contains("</thought>"), "{out}");
    }

    #[test]
    fn a_text_whose_place_is_not_sure_is_no_shape() {
        for (data, text) in [
            (DATA, "c"),
            (r#"{"a":"x","content":"x"}"#, "x"),
            (r#"{"a":"\u0078","content":"y"}"#, "y"),
            (r#"{"content":""}"#, ""),
        ] {
            let is_sure = learned(data, text).kind.is_some();
            // The string "c" stands once in the first, as the id: the fact's text is that string.
            assert_eq!(is_sure, (data, text) == (DATA, "c"), "{data}");
        }
        let mut note = TextNote::new(DATA.as_bytes());
        note.see(&TextKind::Text.fact(" river"));
        note.see(&Fact::BlockEnded);
        assert!(note.into_text().is_none());
    }

    proptest! {
        /// Another member in each event makes all of them be read.
        #[test]
        fn an_event_of_the_shape_says_what_a_reading_says(
            texts in prop::collection::vec("[a-zé流\u{2028}\"\\\\\n{},:]{0,4}|content|finish_reason|usage", 1..12),
            is_reasoning in prop::collection::vec(any::<bool>(), 12),
            to in prop::sample::select(vec![ApiDialect::Messages, ApiDialect::Responses, ApiDialect::Gemini]),
        ) {
            let written = |is_read: bool| {
                let mut translator =
                    StreamTranslator::new(ApiDialect::ChatCompletions, to, AnswerContext::default(), "r", 1);
                let mut out = Vec::new();
                for (at, (text, is_reasoning)) in texts.iter().zip(&is_reasoning).enumerate() {
                    let member = if *is_reasoning { "reasoning_content" } else { "content" };
                    let other = if is_read { format!("\"n\":{at},") } else { String::new() };
                    let text = serde_json::to_string(text).unwrap();
                    let data = format!(r#"{{"id":"c",{other}"choices":[{{"delta":{{"{member}":{text}}}}}]}}"#);
                    translator.event(None, data.as_bytes(), &mut out);
                }
                translator.event(None, b"[DONE]", &mut out);
                String::from_utf8(out).unwrap()
            };
            prop_assert_eq!(written(false), written(true));
        }
    }
}
