//! What the JSON of one event says, in each dialect and in the dialects that providers make of it.

use serde_json::Value;

use super::{classify::EventClass, dialect::Dialect};

/// The class of an event's data, read whole. Where an event has a name and a type, the name decides.
pub(super) fn of(dialect: Dialect, name: Option<&[u8]>, whole: &Value) -> EventClass {
    let tag = name.or_else(|| whole["type"].as_str().map(str::as_bytes)).unwrap_or_default();
    let is_error = !whole["error"].is_null() || whole["type"] == "error" || whole["object"] == "error";
    if is_error || tag == b"response.failed" {
        return EventClass::Error;
    }
    match dialect {
        Dialect::ChatCompletions | Dialect::Completions | Dialect::Embeddings => chunk_class(whole),
        Dialect::Responses | Dialect::Messages if is_end(tag) => EventClass::Done,
        Dialect::Responses if tag.ends_with(b".delta") && says(&whole["delta"]) => EventClass::Content,
        Dialect::Responses if tag == b"response.output_item.added" && is_call(&whole["item"]) => {
            EventClass::Content
        }
        Dialect::Messages if tag == b"content_block_delta" && block_says(&whole["delta"]) => {
            EventClass::Content
        }
        Dialect::Messages if tag == b"content_block_start" && block_says(&whole["content_block"]) => {
            EventClass::Content
        }
        Dialect::Responses | Dialect::Messages => EventClass::Other,
    }
}

/// The last event of a dialect that names its events.
pub(super) fn is_end(tag: &[u8]) -> bool {
    tag == b"response.completed" || tag == b"response.incomplete" || tag == b"message_stop"
}

fn chunk_class(chunk: &Value) -> EventClass {
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
        Some([]) if chunk["usage"].is_object() => EventClass::Usage,
        Some(choices) => {
            let said = |choice: &Value| {
                let parts = [&choice["delta"], &choice["message"]];
                says(&choice["text"]) || parts.iter().any(|part| SAYING.iter().any(|key| says(&part[*key])))
            };
            if choices.iter().any(|choice| !choice["error"].is_null()) {
                EventClass::Error
            } else if choices.iter().any(said) {
                EventClass::Content
            } else {
                EventClass::Other
            }
        }
        None => EventClass::Other,
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
