//! Classifies events for the relay: content, error, extra usage chunk, end of the answer.
//!
//! [`classify`] parses the event's JSON; it is for the few events before the first content.
//! [`classify_committed`] is for all later events: it searches for a few member names and parses only where
//! one occurs. Nothing here changes a byte: with `include_usage`, OpenAI adds `"usage":null` to every other
//! chunk, and those chunks are relayed as they come even if the client did not request usage.

use memchr::memmem;

use super::{
    dialect::Dialect, event_class::EventClass, event_json, event_usage::EventUsage,
    kept_members::KeptMembers, member_search, sse::Event, usage,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventFacts {
    pub class: EventClass,
    pub usage: EventUsage,
}

/// Classifies `event` from its parsed JSON, before the first content.
#[must_use]
pub fn classify(dialect: Dialect, event: &Event<'_>) -> EventFacts {
    facts_of(dialect, event, false)
}

/// Named events before the first content that hold none. The first ones may repeat a long request.
const PROLOGUE: [&[u8]; 6] = [
    b"response.created",
    b"response.queued",
    b"response.in_progress",
    b"response.content_part.added",
    b"response.reasoning_summary_part.added",
    b"message_start",
];

/// `is_later`: content has come before.
fn facts_of(dialect: Dialect, event: &Event<'_>, is_later: bool) -> EventFacts {
    if let Some(facts) = class_by_form(event) {
        return facts;
    }
    let Some(data) = event.data else { return class_of_oversized(dialect, event) };
    if !is_later
        && let (Dialect::Responses | Dialect::Messages, Some(name)) = (dialect, event.name)
        && PROLOGUE.contains(&name)
    {
        let marks = member_search::find_marks(data);
        if !marks.error {
            return EventFacts { class: EventClass::Other, usage: marks.unread_usage() };
        }
    }
    match event_json::members_of(dialect).read(data) {
        Ok(json) => EventFacts {
            class: event_json::class_of(dialect, event.name, &json, is_later),
            usage: usage::from_value(&json).map_or(EventUsage::None, EventUsage::Read),
        },
        Err(_) if data.is_empty() => EventClass::Other.into(),
        // Unknown data counts as content, because it must not be held back. A surrogate pair cut in two is
        // one case.
        Err(_) => EventClass::Content.into(),
    }
}

/// Whether `event` ends the answer, even an answer without content. A cut-off stream has no such event.
#[must_use]
pub fn ends_answer(event: &Event<'_>, class: EventClass) -> bool {
    class == EventClass::Done || event.data.is_some_and(member_search::has_finish_reason)
}

/// Classifies an event after the commit point: error, extra usage chunk, usage or end. Content becomes
/// [`EventClass::Other`].
#[must_use]
pub fn classify_committed(dialect: Dialect, event: &Event<'_>) -> EventFacts {
    if let Some(facts) = class_by_form(event) {
        return facts;
    }
    let Some(data) = event.data else { return class_of_oversized(dialect, event) };
    let marks = member_search::find_marks(data);
    if marks.error {
        return facts_of(dialect, event, true).after_commit();
    }
    match dialect {
        Dialect::ChatCompletions | Dialect::Completions | Dialect::Embeddings => {
            if marks.usage && member_search::may_be_usage_chunk(data) {
                facts_of(dialect, event, true).after_commit()
            } else {
                EventFacts { class: EventClass::Other, usage: marks.unread_usage() }
            }
        }
        Dialect::Gemini => {
            let has_usage = member_search::has_gemini_usage(data);
            let usage = if has_usage { EventUsage::Unread } else { EventUsage::None };
            EventFacts { class: EventClass::Other, usage }
        }
        Dialect::Responses | Dialect::Messages => match event.name {
            Some(name) if !EVENTS_TO_PARSE.contains(&name) && !is_end_of_media(name) => {
                EventClass::Other.into()
            }
            Some(_) | None => facts_of(dialect, event, true).after_commit(),
        },
    }
}

/// Named events that can hold usage, an error or the end; all other named events are content or progress.
const EVENTS_TO_PARSE: [&[u8]; 6] = [
    b"response.completed",
    b"response.incomplete",
    b"response.failed",
    b"message_start",
    b"message_delta",
    b"message_stop",
];

/// The last events of OpenAI's transcripts, speech and images, which hold usage.
fn is_end_of_media(name: &[u8]) -> bool {
    matches!(name.first(), Some(b't' | b's' | b'i'))
        && (name.ends_with(b".done") || name.ends_with(b".completed"))
}

impl From<EventClass> for EventFacts {
    fn from(class: EventClass) -> Self {
        Self { class, usage: EventUsage::None }
    }
}

impl EventFacts {
    /// The same facts as [`classify_committed`] reports them.
    fn after_commit(self) -> Self {
        let class = if self.class == EventClass::Content { EventClass::Other } else { self.class };
        Self { class, ..self }
    }
}

/// The class, where the event's form alone decides it: a comment, an event named `error`, or `[DONE]`.
fn class_by_form(event: &Event<'_>) -> Option<EventFacts> {
    if event.comment_only {
        return Some(EventClass::Comment.into());
    }
    if event.name == Some(b"error") {
        return Some(EventClass::Error.into());
    }
    is_done_mark(event).then(|| EventClass::Done.into())
}

/// Whether `event`, which is no comment, is no part of an answer: `[DONE]`, usage alone, a keepalive, or
/// without data. A stream of nothing else is empty.
#[must_use]
pub fn is_idle(event: &Event<'_>, class: EventClass) -> bool {
    match class {
        EventClass::Done => is_done_mark(event),
        EventClass::Usage => true,
        EventClass::Other => event.data.is_some_and(|data| {
            matches!(data.trim_ascii(), b"" | b"{}" | b"[]" | b"null")
                || event.name.is_some_and(|name| KEEPALIVES.contains(&name))
                || data.len() <= MAX_KEEPALIVE && has_keepalive_type(data)
        }),
        EventClass::Comment | EventClass::Content | EventClass::Error => false,
    }
}

/// Names of events that keep a connection and say nothing.
const KEEPALIVES: [&[u8]; 4] = [b"ping", b"keepalive", b"keep-alive", b"heartbeat"];
/// One of these is in each of them.
const KEEPALIVE_WORDS: [&[u8]; 3] = [b"ping", b"alive", b"heartbeat"];
/// Bytes of the data of such an event.
const MAX_KEEPALIVE: usize = 256;

fn has_keepalive_type(data: &[u8]) -> bool {
    if !KEEPALIVE_WORDS.iter().any(|word| memmem::find(data, word).is_some()) {
        return false;
    }
    let json = KeptMembers::Named(&[("type", KeptMembers::All)]).read(data);
    json.is_ok_and(|json| json["type"].as_str().is_some_and(|kind| KEEPALIVES.contains(&kind.as_bytes())))
}

/// Whether `event` is `[DONE]`, which ends a stream and says nothing.
fn is_done_mark(event: &Event<'_>) -> bool {
    event.data.is_some_and(|data| data.len() < 16 && data.trim_ascii() == b"[DONE]")
}

/// The class of an event that was too long to keep. Only content and objects that echo a long request are
/// that long.
fn class_of_oversized(dialect: Dialect, event: &Event<'_>) -> EventFacts {
    let name = event.name.unwrap_or_default();
    let class = match dialect {
        Dialect::ChatCompletions | Dialect::Completions | Dialect::Embeddings | Dialect::Gemini => {
            EventClass::Content
        }
        Dialect::Responses | Dialect::Messages if event_json::is_final_event(name) => EventClass::Done,
        Dialect::Responses | Dialect::Messages if name == b"response.failed" => EventClass::Error,
        Dialect::Responses | Dialect::Messages if name.ends_with(b"delta") => EventClass::Content,
        Dialect::Responses | Dialect::Messages => EventClass::Other,
    };
    class.into()
}
