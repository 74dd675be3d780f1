//! What an event means to the relay: whether it is the first that says something, an error, the extra chunk that usage
//! was asked for with, or the end.
//!
//! [`classify`] reads the event properly; it is for the few before the commit point. [`classify_committed`] is for all
//! that follow and searches for a few names, reading properly only where one occurs. Nothing here changes a byte: asked
//! for usage, OpenAI adds `"usage":null` to every other chunk, and those are relayed as they come although the client
//! did not ask.

use serde_json::Value;

use super::{dialect::Dialect, meaning, needle, sse::Event, usage};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventClass {
    /// A keepalive.
    Comment,
    /// Text, reasoning, a refusal or a tool call: what a user would call the answer's beginning.
    Content,
    /// An error that the provider put into a stream that began as a success.
    Error,
    /// The chunk that only tells usage: `choices` is empty. What `include_usage` adds.
    Usage,
    /// The dialect's last event. Several providers of chat completions end without one.
    Done,
    /// Roles, prologues, pings, progress. After the commit point also content, which is not looked for there.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventFacts {
    pub class: EventClass,
    /// [`usage::read`] will find counts, whatever the class. After the commit point: may.
    pub usage: bool,
}

/// Reads `event` properly.
#[must_use]
pub fn classify(dialect: Dialect, event: &Event<'_>) -> EventFacts {
    if let Some(facts) = plain(event) {
        return facts;
    }
    let Some(data) = event.data else { return unread(dialect, event) };
    match serde_json::from_slice::<Value>(data) {
        Ok(whole) => {
            EventFacts { class: meaning::of(dialect, event.name, &whole), usage: usage::of(&whole).is_some() }
        }
        // Not ours to understand, so not ours to hold back. A surrogate pair cut in two is one such case.
        Err(_) if data.is_empty() => EventClass::Other.into(),
        Err(_) => EventClass::Content.into(),
    }
}

/// Whether `event` says that the answer is over, be it without a word of content. One that is cut off does not.
#[must_use]
pub fn concludes(event: &Event<'_>, class: EventClass) -> bool {
    class == EventClass::Done || event.data.is_some_and(needle::is_over)
}

/// Looks for what a committed stream must still notice: an error, the extra usage chunk, usage, the end.
#[must_use]
pub fn classify_committed(dialect: Dialect, event: &Event<'_>) -> EventFacts {
    if let Some(facts) = plain(event) {
        return facts;
    }
    let Some(data) = event.data else { return unread(dialect, event) };
    let sight = needle::look(data);
    if sight.error {
        return classify(dialect, event).settled();
    }
    match dialect {
        Dialect::ChatCompletions | Dialect::Completions | Dialect::Embeddings => {
            if sight.usage && needle::has_empty_choices(data) {
                classify(dialect, event).settled()
            } else {
                EventFacts { class: EventClass::Other, usage: sight.usage }
            }
        }
        Dialect::Responses | Dialect::Messages => match event.name {
            Some(name) if !NOTABLE.contains(&name) => EventClass::Other.into(),
            Some(_) | None => classify(dialect, event).settled(),
        },
    }
}

/// Events of the dialects that name their events which are more than content.
const NOTABLE: [&[u8]; 6] = [
    b"response.completed",
    b"response.incomplete",
    b"response.failed",
    b"message_start",
    b"message_delta",
    b"message_stop",
];

impl From<EventClass> for EventFacts {
    fn from(class: EventClass) -> Self {
        Self { class, usage: false }
    }
}

impl EventFacts {
    /// As told after the commit point.
    fn settled(self) -> Self {
        let class = if self.class == EventClass::Content { EventClass::Other } else { self.class };
        Self { class, ..self }
    }
}

/// What is told by the event's form alone.
fn plain(event: &Event<'_>) -> Option<EventFacts> {
    if event.comment_only {
        return Some(EventClass::Comment.into());
    }
    if event.name == Some(b"error") {
        return Some(EventClass::Error.into());
    }
    let done = event.data.is_some_and(|data| data.len() < 16 && data.trim_ascii() == b"[DONE]");
    done.then(|| EventClass::Done.into())
}

/// An event too long to be kept. Only content is that long, and objects that echo a long request.
fn unread(dialect: Dialect, event: &Event<'_>) -> EventFacts {
    let name = event.name.unwrap_or_default();
    let class = match dialect {
        Dialect::ChatCompletions | Dialect::Completions | Dialect::Embeddings => EventClass::Content,
        Dialect::Responses | Dialect::Messages if meaning::is_end(name) => EventClass::Done,
        Dialect::Responses | Dialect::Messages if name == b"response.failed" => EventClass::Error,
        Dialect::Responses | Dialect::Messages if name.ends_with(b"delta") => EventClass::Content,
        Dialect::Responses | Dialect::Messages => EventClass::Other,
    };
    class.into()
}
