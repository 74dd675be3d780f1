//! The class of an event from its parsed JSON, in each dialect and in the variants that providers make of it.
//!
//! Decides only content, error, usage and end; counts are read by [`usage`](super::usage). An unknown event
//! is [`EventClass::Other`], never an error.

use serde_json::Value;

use super::{
    dialect::Dialect,
    event_class::EventClass,
    kept_members::KeptMembers::{self, All, Named},
    provider_error::is_error_value,
    usage::USAGE,
};

/// The members of an event that its class and its counts depend on.
pub(super) const fn members_of(dialect: Dialect) -> KeptMembers {
    match dialect {
        // Whether a chunk holds nothing but usage depends on all of its members.
        Dialect::ChatCompletions | Dialect::Completions | Dialect::Embeddings => All,
        Dialect::Gemini | Dialect::Responses | Dialect::Messages => Named(&[
            ("type", All),
            ("object", All),
            ("error", All),
            ("delta", All),
            ("audio", All),
            ("b64_json", All),
            ("item", Named(&[("type", All)])),
            ("content_block", All),
            ("candidates", All),
            ("usage", All),
            ("response", USAGE),
            ("message", USAGE),
            ("x_groq", USAGE),
            ("choices", USAGE),
            ("meta", All),
            ("usageMetadata", All),
        ]),
    }
}

/// The class of an event with this data. If the event has a name and a type, the name decides. `is_later`:
/// content has come before.
pub(super) fn class_of(dialect: Dialect, name: Option<&[u8]>, json: &Value, is_later: bool) -> EventClass {
    let tag = name.or_else(|| json["type"].as_str().map(str::as_bytes)).unwrap_or_default();
    let is_error = is_error_value(&json["error"]) || json["type"] == "error" || json["object"] == "error";
    if is_error || tag == b"response.failed" {
        return EventClass::Error;
    }
    match dialect {
        Dialect::ChatCompletions | Dialect::Completions | Dialect::Embeddings => chunk_class(json, is_later),
        Dialect::Gemini => gemini_class(json),
        Dialect::Responses | Dialect::Messages if is_final_event(tag) => EventClass::Done,
        Dialect::Responses if tag.ends_with(b".delta") && is_nonempty(&json["delta"]) => EventClass::Content,
        // OpenAI's streams of speech and of images.
        Dialect::Responses if tag.ends_with(b".delta") && is_nonempty(&json["audio"]) => EventClass::Content,
        Dialect::Responses if is_nonempty(&json["b64_json"]) => EventClass::Content,
        Dialect::Responses if tag == b"response.output_item.added" && is_tool_call(&json["item"]) => {
            EventClass::Content
        }
        Dialect::Messages if tag == b"content_block_delta" && block_has_content(&json["delta"]) => {
            EventClass::Content
        }
        Dialect::Messages if tag == b"content_block_start" && block_has_content(&json["content_block"]) => {
            EventClass::Content
        }
        Dialect::Responses | Dialect::Messages => EventClass::Other,
    }
}

/// Whether this is the last event of a dialect that names its events.
pub(super) fn is_final_event(tag: &[u8]) -> bool {
    tag == b"response.completed" || tag == b"response.incomplete" || tag == b"message_stop"
}

fn chunk_class(chunk: &Value, is_later: bool) -> EventClass {
    const CONTENT_MEMBERS: [&str; 11] = [
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
        Some(choices) if chunk["usage"].is_object() && holds_nothing_but_usage(chunk, choices, is_later) => {
            EventClass::Usage
        }
        Some(choices) => {
            let has_content = |choice: &Value| {
                let parts = [&choice["delta"], &choice["message"]];
                is_nonempty(&choice["text"])
                    || parts.iter().any(|part| CONTENT_MEMBERS.iter().any(|key| is_nonempty(&part[*key])))
            };
            if choices.iter().any(|choice| is_error_value(&choice["error"])) {
                EventClass::Error
            } else if choices.iter().any(has_content) {
                EventClass::Content
            } else {
                EventClass::Other
            }
        }
        None => EventClass::Other,
    }
}

/// Content is any part with a value; a signature alone is none.
fn gemini_class(json: &Value) -> EventClass {
    let candidates = json["candidates"].as_array().into_iter().flatten();
    let mut parts = candidates.flat_map(|candidate| candidate["content"]["parts"].as_array()).flatten();
    let has_content = parts.any(|part| {
        let mut members = part.as_object().into_iter().flatten();
        members.any(|(name, value)| !name.ends_with("ignature") && is_nonempty(value))
    });
    if has_content { EventClass::Content } else { EventClass::Other }
}

/// Whether a chunk with usage holds nothing that its client would miss: no choice, or choices with an empty
/// `delta` as LiteLLM sends them, and no further facts as llama-server's `timings`. The role of the first
/// choice says nothing once content has come.
fn holds_nothing_but_usage(chunk: &Value, choices: &[Value], is_later: bool) -> bool {
    /// Members that every chunk has, and OpenAI's random padding.
    const COMMON: [&str; 10] = [
        "id",
        "object",
        "created",
        "model",
        "choices",
        "usage",
        "system_fingerprint",
        "service_tier",
        "provider",
        "obfuscation",
    ];
    let holds_no_other = |value: &Value, known: &[&str]| {
        value.as_object().is_some_and(|members| {
            members.iter().all(|(name, value)| known.contains(&name.as_str()) || is_empty(value))
        })
    };
    let has_empty_delta = |choice: &Value| {
        let may_repeat_role = is_later && choice["index"].as_u64().unwrap_or(0) == 0;
        choice.get("delta").is_some_and(|delta| {
            delta.is_null() || holds_no_other(delta, if may_repeat_role { &["role"] } else { &[] })
        })
    };
    holds_no_other(chunk, &COMMON)
        && choices.iter().all(|choice| has_empty_delta(choice) && holds_no_other(choice, &["index", "delta"]))
}

/// Whether `value` says nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(_) | Value::Array(_) | Value::Object(_) => !is_nonempty(value),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether `value` is a string, array or object that is not empty.
fn is_nonempty(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a block holds content: text and thinking blocks begin empty, all others count.
fn block_has_content(block: &Value) -> bool {
    match block["type"].as_str() {
        Some("text" | "text_delta") => is_nonempty(&block["text"]),
        Some("thinking" | "thinking_delta") => is_nonempty(&block["thinking"]),
        Some(_) => true,
        None => false,
    }
}

/// Whether an item of a response is a tool call; its name comes before its arguments.
fn is_tool_call(item: &Value) -> bool {
    item["type"].as_str().is_some_and(|kind| kind.ends_with("_call"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::usage;

    const NAMES: [&str; 19] = [
        "type",
        "object",
        "error",
        "delta",
        "audio",
        "b64_json",
        "item",
        "content_block",
        "candidates",
        "usage",
        "response",
        "message",
        "x_groq",
        "choices",
        "meta",
        "usageMetadata",
        "text",
        "content",
        "tools",
    ];

    /// Events of names and values that are looked at, and of others.
    fn any_event() -> impl Strategy<Value = Value> {
        let text = prop::sample::select(vec!["", "error", "text", "function_call", "message_stop"]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0_u64..9).prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        let counts = || json!({"input_tokens": 3, "promptTokenCount": 4});
        let value = prop_oneof![
            leaf.clone(),
            text.prop_map(|kind| json!({"type": kind, "text": "a"})),
            Just(counts()),
            Just(json!({"usage": counts()})),
            Just(json!([{"usage": counts()}, {"content": {"parts": [{"text": "a"}]}}])),
            (prop::sample::select(&NAMES[..]), leaf).prop_map(|(name, value)| json!([{name: value}])),
        ];
        let members = prop::collection::vec((prop::sample::select(&NAMES[..]), value), 0..4);
        members
            .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    proptest! {
        #[test]
        fn members_that_are_left_out_change_nothing(
            event in any_event(),
            name in prop::option::of(prop::sample::select(vec![
                "response.output_text.delta", "response.output_item.added", "content_block_delta",
                "content_block_start", "response.completed", "x",
            ])),
            is_later in any::<bool>(),
        ) {
            let text = event.to_string();
            for dialect in [Dialect::ChatCompletions, Dialect::Responses, Dialect::Messages, Dialect::Gemini] {
                let kept = members_of(dialect).read(text.as_bytes()).unwrap();
                let class = |json| class_of(dialect, name.map(str::as_bytes), json, is_later);
                prop_assert_eq!(class(&kept), class(&event), "{} as {}", text, kept);
                prop_assert_eq!(usage::from_value(&kept), usage::from_value(&event), "{} as {}", text, kept);
                prop_assert_eq!(usage::read(text.as_bytes()), usage::from_value(&event), "{}", text);
            }
        }
    }
}
