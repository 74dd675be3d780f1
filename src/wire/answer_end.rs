//! Whether a stream has come to the end of its answer, as its dialect marks it. A stream that ends without
//! that mark was cut short, even if its framing is whole: the provider's process ended, or a proxy in
//! between gave up.
//!
//! A chat stream ends with `[DONE]` or, at several providers, with a `finish_reason` alone, which stands in
//! a chunk like all others. Chunks that differ from the one before in their text alone are not searched
//! ([`ContentShape`](super::ContentShape)). Gemini's streams end with a `finishReason`, or with the
//! `blockReason` of a prompt that is refused.

use std::sync::LazyLock;

use memchr::memmem::{self, Finder};

use super::{dialect::Dialect, event_class::EventClass, sse::Event};

const NAME: &[u8] = br#""finish_reason""#;
static FIND_NAME: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(NAME));
const GEMINI_NAMES: [&[u8]; 2] = [br#""finishReason""#, br#""blockReason""#];
static FIND_GEMINI_NAMES: LazyLock<[Finder<'static>; 2]> = LazyLock::new(|| GEMINI_NAMES.map(Finder::new));

/// Finds the end of one answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnswerEnd {
    /// The stream has shown an event of its dialect. A stream of other events is not judged.
    is_known: bool,
    has_ended: bool,
}

impl AnswerEnd {
    /// Notes an event before the first content.
    pub fn note_early(&mut self, dialect: Dialect, event: &Event<'_>, class: EventClass) {
        self.is_known = self.is_known || is_of(dialect, event);
        self.note(dialect, event, class);
    }

    /// Notes an event.
    pub fn note(&mut self, dialect: Dialect, event: &Event<'_>, class: EventClass) {
        match class {
            EventClass::Done | EventClass::Error => self.has_ended = true,
            EventClass::Content | EventClass::Other | EventClass::Usage => {
                let Some(data) = event.data.filter(|_| !self.has_ended) else { return };
                match dialect {
                    Dialect::ChatCompletions | Dialect::Completions => {
                        self.has_ended = has_reason(data, &FIND_NAME);
                    }
                    Dialect::Gemini => {
                        self.has_ended = FIND_GEMINI_NAMES.iter().any(|name| has_reason(data, name));
                    }
                    Dialect::Embeddings | Dialect::Responses | Dialect::Messages => {}
                }
            }
            EventClass::Comment => {}
        }
    }

    /// Whether the answer has come to its end.
    #[must_use]
    pub const fn has_come(&self) -> bool {
        self.is_known && self.has_ended
    }

    /// Whether a stream that ends here was cut short.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        self.is_known && !self.has_ended
    }
}

/// Whether this is an event of the dialect.
fn is_of(dialect: Dialect, event: &Event<'_>) -> bool {
    let (data, name) = (event.data.unwrap_or_default(), event.name.unwrap_or_default());
    let has = |word: &[u8]| memmem::find(data, word).is_some();
    match dialect {
        Dialect::ChatCompletions | Dialect::Completions => has(br#""choices""#),
        Dialect::Responses => name.starts_with(b"response.") || has(br#""response."#),
        Dialect::Messages => name == b"message_start" || has(br#""message_start""#),
        Dialect::Gemini => has(br#""candidates""#) || has(br#""promptFeedback""#),
        Dialect::Embeddings => false,
    }
}

/// Whether a member of this name is a string that is not empty.
fn has_reason(data: &[u8], name: &Finder<'_>) -> bool {
    name.find_iter(data).any(|at| {
        let after = data.get(at + name.needle().len()..).unwrap_or_default().trim_ascii_start();
        let value = after.strip_prefix(b":").map(<[u8]>::trim_ascii_start);
        // Some providers write "" where others write null.
        value.is_some_and(|value| value.starts_with(b"\"") && !value.starts_with(b"\"\""))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::classify;

    fn is_missing(dialect: Dialect, events: &[&str]) -> bool {
        let mut end = AnswerEnd::default();
        for (number, data) in events.iter().enumerate() {
            let data = Some(data.as_bytes());
            let event = Event { start: Some(0), end: 0, data, name: None, comment_only: false };
            let class = classify(dialect, &event).class;
            if number == 0 {
                end.note_early(dialect, &event, class)
            } else {
                end.note(dialect, &event, class)
            }
        }
        end.is_missing()
    }

    #[test]
    fn a_chat_ends_with_its_mark_or_with_a_reason() {
        const ONE: &str = r#"{"choices":[{"delta":{"content":"a"},"finish_reason":null}]}"#;
        const LONGER: &str = r#"{"choices":[{"delta":{"content":"longer"},"finish_reason":null}]}"#;
        const STOP: &str = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
        const QUOTED: &str = r#"{"choices":[{"delta":{"content":"\"finish_reason\":\"stop\""}}]}"#;
        for (events, missing) in [
            (&[ONE, LONGER, ONE][..], true),
            (&[ONE, QUOTED], true),
            (&[ONE, "[DONE]"], false),
            (&[ONE, LONGER, STOP], false),
            (&[ONE, r#"{"choices":[{"finish_reason" : "length","delta":{"content":"b"}}]}"#], false),
            (&[ONE, r#"{"choices":[{"delta":{"content":"b"},"finish_reason":""}]}"#], true),
            (&[ONE, r#"{"error":{"message":"no"}}"#], false),
            (&[r#"{"text":"of another API"}"#], false),
        ] {
            assert_eq!(is_missing(Dialect::ChatCompletions, events), missing, "{events:?}");
            assert!(!is_missing(Dialect::Embeddings, events));
        }
    }

    /// Chunks without the member are compared by the place of their text; a member in front of it or behind
    /// it is seen.
    #[test]
    fn a_reason_is_seen_behind_chunks_without_one() {
        let chunk = |before: &str, text: &str, behind: &str| {
            format!(
                r#"{{"id":"c","choices":[{{"index":0,{before}"delta":{{"content":"{text}"}}{behind}}}]}}"#
            )
        };
        let plain: Vec<_> = (1..9).map(|length| chunk("", &"x".repeat(length), "")).collect();
        let missing = |last: &[String]| {
            let events: Vec<_> = plain.iter().chain(last).map(String::as_str).collect();
            is_missing(Dialect::ChatCompletions, &events)
        };
        assert!(missing(&[]));
        assert!(missing(&[chunk("", r#"\"finish_reason\":\"stop\""#, "")]));
        let reason = r#""finish_reason":"stop","#;
        assert!(!missing(&[chunk(reason, "y", "")]));
        assert!(!missing(&[chunk("", "y", r#","finish_reason":"stop""#)]));
        assert!(!missing(&[
            r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#.to_owned()
        ]));
    }

    /// The value is compared at its place, from the end or from the start, wherever it stands in the chunk.
    #[test]
    fn a_reason_is_seen_at_every_place() {
        let first = |text: &str, reason: &str| {
            format!(r#"{{"choices":[{{"finish_reason": {reason},"delta":{{"content":"{text}"}}}}]}}"#)
        };
        let last = |text: &str, reason: &str| {
            format!(r#"{{"choices":[{{"delta":{{"content":"{text}"}},"finish_reason":{reason}}}]}}"#)
        };
        for chunk in [&first as &dyn Fn(&str, &str) -> String, &last] {
            let mut events: Vec<_> = (1..40).map(|length| chunk(&"x".repeat(length), "null")).collect();
            let told = |events: &[String]| {
                let events: Vec<_> = events.iter().map(String::as_str).collect();
                is_missing(Dialect::ChatCompletions, &events)
            };
            assert!(told(&events));
            for reason in ["\"stop\"", "\"s\"", "\"tool_calls\""] {
                events.push(chunk("y", reason));
                assert!(!told(&events), "{reason}");
                events.pop();
            }
        }
    }

    #[test]
    fn a_gemini_stream_ends_with_a_reason() {
        const ONE: &str = r#"{"candidates": [{"content": {"parts": [{"text": "\"finishReason\": \"STOP\""}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 3}}"#;
        const LAST: &str = r#"{"candidates": [{"content": {"parts": [{"text": ""}],"role": "model"},"finishReason": "MAX_TOKENS","index": 0}]}"#;
        const BLOCKED: &str = r#"{"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},"usageMetadata": {"promptTokenCount": 3}}"#;
        for (events, missing) in [
            (&[ONE][..], true),
            (&[ONE, ONE], true),
            (&[ONE, LAST], false),
            (&[LAST, ONE], false),
            (&[BLOCKED], false),
            (&[ONE, r#"{"error": {"code": 503,"message": "no","status": "UNAVAILABLE"}}"#], false),
            (&[r#"{"text":"of another API"}"#], false),
        ] {
            assert_eq!(is_missing(Dialect::Gemini, events), missing, "{events:?}");
        }
    }

    #[test]
    fn dialects_that_name_their_events_end_with_the_last_of_them() {
        let (start, stop) = (r#"{"type":"message_start"}"#, r#"{"type":"message_stop"}"#);
        assert!(is_missing(Dialect::Messages, &[start]));
        assert!(!is_missing(Dialect::Messages, &[start, stop]));
        let created = r#"{"type":"response.created"}"#;
        assert!(is_missing(Dialect::Responses, &[created]));
        for end in ["response.completed", "response.failed", "response.incomplete"] {
            assert!(!is_missing(Dialect::Responses, &[created, &format!(r#"{{"type":"{end}"}}"#)]), "{end}");
        }
    }
}
