//! What an event means to the relay: whether it is the first that says something, an error, the extra chunk that usage
//! was asked for with, or the end.
//!
//! [`classify`] reads the event properly; it is for the few before the commit point. [`classify_committed`] is for all
//! that follow and looks for a few byte strings only, which cannot occur inside JSON text without a backslash before
//! the closing quote; where one occurs the event is read properly. Nothing here changes a byte: when usage is asked for, OpenAI adds
//! `"usage":null` to every other chunk, and those are relayed as they come although the client did not ask.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde_json::Value;

use super::{dialect::Dialect, sse::Event, usage};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
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
pub struct Facts {
    pub class: Class,
    /// [`usage::read`] will find counts, whatever the class. After the commit point: may.
    pub usage: bool,
}

/// Reads `event` properly.
#[must_use]
pub fn classify(dialect: Dialect, event: &Event<'_>) -> Facts {
    if let Some(facts) = plain(event) {
        return facts;
    }
    let Some(data) = event.data else { return unread(dialect, event) };
    match serde_json::from_slice::<Value>(data) {
        Ok(whole) => Facts { class: class(dialect, event.name, &whole), usage: usage::of(&whole).is_some() },
        // Not ours to understand, so not ours to hold back. A surrogate pair cut in two is one such case.
        Err(_) if data.is_empty() => Class::Other.into(),
        Err(_) => Class::Content.into(),
    }
}

/// Looks for what a committed stream must still notice: an error, the extra usage chunk, usage, the end.
#[must_use]
pub fn classify_committed(dialect: Dialect, event: &Event<'_>) -> Facts {
    if let Some(facts) = plain(event) {
        return facts;
    }
    let Some(data) = event.data else { return unread(dialect, event) };
    match dialect {
        Dialect::ChatCompletions | Dialect::Completions | Dialect::Embeddings => {
            let usage = has_member(&USAGE, data, |value| value == b'{');
            let suspect = has_member(&ERROR, data, |value| value != b'n') || usage && has_empty_choices(data);
            if suspect { classify(dialect, event).settled() } else { Facts { class: Class::Other, usage } }
        }
        Dialect::Responses | Dialect::Messages => match event.name {
            Some(name) if !NOTABLE.contains(&name) => Class::Other.into(),
            Some(_) | None => classify(dialect, event).settled(),
        },
    }
}

static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""usage""#));
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""error""#));
static CHOICES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""choices""#));

/// Events of the dialects that name their events which are more than content.
const NOTABLE: [&[u8]; 6] = [
    b"response.completed",
    b"response.incomplete",
    b"response.failed",
    b"message_start",
    b"message_delta",
    b"message_stop",
];

impl From<Class> for Facts {
    fn from(class: Class) -> Self {
        Self { class, usage: false }
    }
}

impl Facts {
    /// As told after the commit point.
    fn settled(self) -> Self {
        let class = if self.class == Class::Content { Class::Other } else { self.class };
        Self { class, ..self }
    }
}

/// What is told by the event's form alone.
fn plain(event: &Event<'_>) -> Option<Facts> {
    if event.comment_only {
        return Some(Class::Comment.into());
    }
    if event.name == Some(b"error") {
        return Some(Class::Error.into());
    }
    let done = event.data.is_some_and(|data| data.len() < 16 && data.trim_ascii() == b"[DONE]");
    done.then(|| Class::Done.into())
}

/// An event too long to be kept. Only content is that long, and objects that echo a long request.
fn unread(dialect: Dialect, event: &Event<'_>) -> Facts {
    let name = event.name.unwrap_or_default();
    let class = match dialect {
        Dialect::ChatCompletions | Dialect::Completions | Dialect::Embeddings => Class::Content,
        Dialect::Responses | Dialect::Messages if is_end(name) => Class::Done,
        Dialect::Responses | Dialect::Messages if name == b"response.failed" => Class::Error,
        Dialect::Responses | Dialect::Messages if name.ends_with(b"delta") => Class::Content,
        Dialect::Responses | Dialect::Messages => Class::Other,
    };
    class.into()
}

fn class(dialect: Dialect, name: Option<&[u8]>, whole: &Value) -> Class {
    let tag = whole["type"].as_str().map(str::as_bytes).or(name).unwrap_or_default();
    if !whole["error"].is_null() || tag == b"error" || tag == b"response.failed" || whole["object"] == "error"
    {
        return Class::Error;
    }
    match dialect {
        Dialect::ChatCompletions | Dialect::Completions | Dialect::Embeddings => chunk_class(whole),
        Dialect::Responses | Dialect::Messages if is_end(tag) => Class::Done,
        Dialect::Responses if tag.ends_with(b".delta") && says(&whole["delta"]) => Class::Content,
        Dialect::Responses if tag == b"response.output_item.added" && is_call(&whole["item"]) => {
            Class::Content
        }
        Dialect::Messages if tag == b"content_block_delta" && block_says(&whole["delta"]) => Class::Content,
        Dialect::Messages if tag == b"content_block_start" && block_says(&whole["content_block"]) => {
            Class::Content
        }
        Dialect::Responses | Dialect::Messages => Class::Other,
    }
}

fn is_end(tag: &[u8]) -> bool {
    tag == b"response.completed" || tag == b"response.incomplete" || tag == b"message_stop"
}

fn chunk_class(chunk: &Value) -> Class {
    const SAYING: [&str; 11] = [
        "content",
        "reasoning_content",
        "reasoning",
        "reasoning_details",
        "thinking",
        "thinking_blocks",
        "tool_calls",
        "function_call",
        "refusal",
        "audio",
        "images",
    ];
    let choices = chunk["choices"].as_array().map(Vec::as_slice);
    match choices {
        Some([]) if chunk["usage"].is_object() => Class::Usage,
        Some(choices) => {
            let said = |choice: &Value| {
                let parts = [&choice["delta"], &choice["message"]];
                says(&choice["text"]) || parts.iter().any(|part| SAYING.iter().any(|key| says(&part[*key])))
            };
            if choices.iter().any(|choice| !choice["error"].is_null()) {
                Class::Error
            } else if choices.iter().any(said) {
                Class::Content
            } else {
                Class::Other
            }
        }
        None => Class::Other,
    }
}

/// Something rather than `null`, nothing or an empty form of it.
fn says(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Anything but an empty text or thinking block, the forms in which those begin.
fn block_says(block: &Value) -> bool {
    match block["type"].as_str() {
        Some("text" | "text_delta") => says(&block["text"]),
        Some("thinking" | "thinking_delta") => says(&block["thinking"]),
        Some(_) => true,
        None => false,
    }
}

/// An item of a response that is a tool call; its name is told before its arguments.
fn is_call(item: &Value) -> bool {
    item["type"].as_str().is_some_and(|kind| kind.ends_with("_call"))
}

/// Whether a member of that name has a value that `begins` so, or the name stands as a value.
fn has_member(name: &Finder<'_>, data: &[u8], begins: impl Fn(u8) -> bool) -> bool {
    name.find_iter(data).any(|at| {
        let rest = data.get(at + name.needle().len()..).unwrap_or_default().trim_ascii_start();
        let Some(value) = rest.strip_prefix(b":") else { return begins(0) };
        value.trim_ascii_start().first().is_some_and(|&byte| begins(byte))
    })
}

/// Whether some member `choices` is `[]`.
fn has_empty_choices(data: &[u8]) -> bool {
    CHOICES.find_iter(data).any(|at| {
        let mut rest = data.get(at + CHOICES.needle().len()..).unwrap_or_default();
        for byte in [b":", b"[", b"]"] {
            let Some(after) = rest.trim_ascii_start().strip_prefix(byte) else { return false };
            rest = after;
        }
        true
    })
}
