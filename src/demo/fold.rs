//! A recorded stream as the single answer for `stream: false`: deltas joined, usage kept. An error event in
//! the stream becomes the error answer.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{endpoint::DemoApi, recording::RecordedStep};

/// A whole answer.
#[derive(Clone, Debug)]
pub(super) struct Folded {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// The JSON of every event in these bytes. `[DONE]`, comments and invalid events are skipped.
pub(super) fn events(bytes: &[u8]) -> impl Iterator<Item = Value> {
    bytes
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.strip_prefix(b"data: "))
        .filter_map(|data| serde_json::from_slice(data).ok())
}

pub(super) fn fold(endpoint: DemoApi, steps: &[RecordedStep]) -> Folded {
    let stream: Vec<u8> = steps.iter().flat_map(|step| step.bytes.iter().copied()).collect();
    let events: Vec<Value> = events(&stream).collect();
    if let Some(error) = events.iter().find(|event| event["error"].is_object() && event["type"].is_null()) {
        return Folded { status: StatusCode::INTERNAL_SERVER_ERROR, body: error.to_string().into() };
    }
    let whole = match endpoint {
        DemoApi::Chat => fold_chat(&events),
        DemoApi::Completions => fold_completion(&events),
        DemoApi::Messages => fold_message(&events),
        DemoApi::Responses => fold_response(&events),
    };
    Folded { status: StatusCode::OK, body: whole.to_string().into() }
}

fn fold_chat(events: &[Value]) -> Value {
    let choices = || events.iter().map(|event| &event["choices"][0]);
    let delta = |field: &str| {
        choices()
            .filter_map(|choice| choice["delta"][field].as_str())
            .fold(None, |text: Option<String>, piece| Some(text.unwrap_or_default() + piece))
    };
    let mut message = Map::new();
    message.insert("role".into(), "assistant".into());
    message.insert("content".into(), delta("content").into());
    if let Some(reasoning) = delta("reasoning_content") {
        message.insert("reasoning_content".into(), reasoning.into());
    }
    let fragments = choices().filter_map(|choice| choice["delta"]["tool_calls"][0].as_object());
    let calls = fold_calls(fragments);
    if !calls.is_empty() {
        message.insert("tool_calls".into(), calls.into());
    }
    let choice = json!({"index": 0, "message": message, "finish_reason": last(choices(), "finish_reason")});
    envelope(events, "chat.completion", choice)
}

/// A fragment with an id begins a call; the others continue its arguments.
fn fold_calls<'a>(fragments: impl Iterator<Item = &'a Map<String, Value>>) -> Vec<Value> {
    let mut calls: Vec<(Map<String, Value>, String)> = Vec::new();
    for fragment in fragments {
        if fragment.contains_key("id") {
            let mut call = fragment.clone();
            call.remove("index");
            calls.push((call, String::new()));
        }
        let arguments = fragment.get("function").and_then(|function| function["arguments"].as_str());
        if let (Some((_, joined)), Some(piece)) = (calls.last_mut(), arguments) {
            joined.push_str(piece);
        }
    }
    calls
        .into_iter()
        .map(|(call, arguments)| {
            let mut call = Value::Object(call);
            call["function"]["arguments"] = arguments.into();
            call
        })
        .collect()
}

fn fold_completion(events: &[Value]) -> Value {
    let choices = || events.iter().map(|event| &event["choices"][0]);
    let text: String = choices().filter_map(|choice| choice["text"].as_str()).collect();
    let finish = last(choices(), "finish_reason");
    envelope(
        events,
        "text_completion",
        json!({"index": 0, "text": text, "logprobs": null, "finish_reason": finish}),
    )
}

fn fold_message(events: &[Value]) -> Value {
    let of = |kind: &'static str| events.iter().filter(move |event| event["type"] == kind);
    let text: String =
        of("content_block_delta").filter_map(|event| event["delta"]["text"].as_str()).collect();
    let mut message = of("message_start").next().map_or(Value::Null, |event| event["message"].clone());
    message["content"] = json!([{"type": "text", "text": text}]);
    if let Some(end) = of("message_delta").next_back() {
        message["stop_reason"] = end["delta"]["stop_reason"].clone();
        message["usage"]["output_tokens"] = end["usage"]["output_tokens"].clone();
    }
    message
}

fn fold_response(events: &[Value]) -> Value {
    events.last().map_or(Value::Null, |event| event["response"].clone())
}

fn envelope(events: &[Value], object: &str, choice: Value) -> Value {
    let of = |field: &str| last(events.iter(), field);
    json!({
        "id": of("id"),
        "object": object,
        "created": of("created"),
        "model": of("model"),
        "choices": [choice],
        "usage": of("usage"),
    })
}

/// The last value of a field that is not null.
fn last<'a>(objects: impl Iterator<Item = &'a Value>, field: &str) -> Value {
    objects.map(|object| &object[field]).filter(|value| !value.is_null()).last().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{ReplaySpeed, catalog::RecordingCatalog};

    fn folded(endpoint: DemoApi, model: &str) -> (StatusCode, Value) {
        let catalog = RecordingCatalog::new(ReplaySpeed::Instant);
        let folded = &catalog.find(endpoint, model).unwrap().unwrap().folded;
        (folded.status, serde_json::from_slice(&folded.body).unwrap())
    }

    #[test]
    fn joins_text_and_keeps_usage() {
        let (status, whole) = folded(DemoApi::Chat, "demo-text");
        let message = &whole["choices"][0]["message"];
        assert_eq!((status, whole["object"].as_str()), (StatusCode::OK, Some("chat.completion")));
        assert!(message["content"].as_str().unwrap().starts_with("A thalweg is the line of fastest flow"));
        assert_eq!(whole["choices"][0]["finish_reason"], "stop");
        assert!(whole["usage"]["total_tokens"].as_u64().unwrap() > 100);
    }

    #[test]
    fn keeps_reasoning_apart() {
        let (_, whole) = folded(DemoApi::Chat, "demo-reasoning");
        let message = &whole["choices"][0]["message"];
        assert!(message["reasoning_content"].as_str().unwrap().starts_with("The question is"));
        assert!(message["content"].as_str().unwrap().starts_with("About **two days**"));
    }

    #[test]
    fn joins_the_arguments_of_parallel_tool_calls() {
        let (_, whole) = folded(DemoApi::Chat, "demo-tools");
        let message = &whole["choices"][0]["message"];
        let calls = message["tool_calls"].as_array().unwrap();
        let arguments: Vec<Value> = calls
            .iter()
            .map(|call| serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap())
            .collect();
        assert_eq!(calls.len(), 3);
        assert_eq!(arguments[1], json!({"station": "Wien", "unit": "m³/s"}));
        assert_eq!((&message["content"], &calls[0]["id"]), (&Value::Null, &"call_demo_level".into()));
    }

    #[test]
    fn characters_cut_between_reads_come_together() {
        let (_, whole) = folded(DemoApi::Chat, "demo-emoji");
        let text = whole["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(text.contains("👨‍👩‍👧‍👦") && text.contains("最も速い線") && !text.contains('\u{fffd}'), "{text}");
    }

    #[test]
    fn an_error_event_is_the_answer() {
        let (status, whole) = folded(DemoApi::Chat, "demo-error");
        assert_eq!((status.as_u16(), whole["error"]["code"].as_str()), (500, Some("demo_failure")));
    }

    #[test]
    fn the_other_dialects_fold_in_their_own_shape() {
        let text = "Follow the thalweg: the deepest line of the river is also the fastest.";
        assert_eq!(folded(DemoApi::Completions, "demo-text").1["choices"][0]["text"], text);
        let message = folded(DemoApi::Messages, "demo-text").1;
        assert_eq!(
            (&message["content"][0]["text"], &message["stop_reason"]),
            (&text.into(), &"end_turn".into())
        );
        let response = folded(DemoApi::Responses, "demo-text").1;
        assert_eq!(
            (&response["output"][0]["content"][0]["text"], &response["status"]),
            (&text.into(), &"completed".into())
        );
    }
}
