//! Accumulators of the four dialects, strict about the rules that the SDKs rely on.

use std::collections::BTreeMap;

use serde_json::Value;

use super::meaning::{Meaning, parse};
use crate::dialect::ApiDialect;

/// The events of a stream: name and data. Strict: each is `event:`, `data:` and a blank line.
pub(super) fn events(output: &[u8]) -> Vec<(Option<String>, String)> {
    let text = str::from_utf8(output).expect("UTF-8");
    assert!(!text.contains(['\u{85}', '\u{2028}', '\u{2029}']), "line ends of Unicode");
    let text = text.replace("\r\n", "\n");
    assert!(text.is_empty() || text.ends_with("\n\n"), "a cut event");
    let mut events = Vec::new();
    for block in text.split("\n\n").filter(|block| !block.is_empty()) {
        let (mut name, mut data) = (None, None);
        for line in block.split('\n') {
            if let Some(value) = line.strip_prefix("event: ") {
                assert!(name.replace(value.to_owned()).is_none());
            } else {
                let value = line.strip_prefix("data: ").expect("data");
                assert!(data.replace(value.to_owned()).is_none());
            }
        }
        events.push((name, data.expect("data")));
    }
    events
}

pub(super) fn stream(dialect: ApiDialect, output: &[u8]) -> Meaning {
    let events = events(output);
    match dialect {
        ApiDialect::Messages => messages(&events),
        ApiDialect::ChatCompletions => chat(&events),
        ApiDialect::Responses => responses(&events),
        ApiDialect::Gemini => gemini(&events),
    }
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("{path} in {value}"))
}

fn json(data: &str) -> Value {
    serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))
}

fn messages(events: &[(Option<String>, String)]) -> Meaning {
    let mut meaning = Meaning::default();
    let (mut message, mut open, mut has_delta, mut is_over) = (None, Vec::new(), false, false);
    for (name, data) in events {
        let event = json(data);
        assert_eq!(name.as_deref(), event["type"].as_str());
        assert!(!is_over, "an event after the end");
        let index = event["index"].as_u64().map(|index| index as usize);
        match text(&event, "/type") {
            "message_start" => {
                assert!(message.is_none());
                assert_eq!(event["message"]["content"], serde_json::json!([]));
                assert!(event["message"]["usage"]["input_tokens"].is_u64());
                assert!(text(&event, "/message/id").starts_with("msg_"));
                message = Some(event["message"].clone());
            }
            "content_block_start" => {
                let content = message.as_mut().expect("started")["content"].as_array_mut().unwrap();
                assert_eq!(index, Some(content.len()));
                content.push(event["content_block"].clone());
                open.push(content.len() - 1);
            }
            "content_block_delta" => {
                let index = index.unwrap();
                assert!(open.contains(&index), "a delta for a closed block");
                messages_delta(&mut message.as_mut().unwrap()["content"][index], &event["delta"]);
            }
            "content_block_stop" => {
                let at = open.iter().position(|at| Some(*at) == index).expect("open");
                open.remove(at);
            }
            "message_delta" => {
                assert!(open.is_empty() && !has_delta);
                has_delta = true;
                let message = message.as_mut().unwrap();
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                message["stop_sequence"] = event["delta"]["stop_sequence"].clone();
                message["usage"] = event["usage"].clone();
            }
            "message_stop" => {
                assert!(has_delta);
                is_over = true;
            }
            "error" => {
                meaning.error =
                    Some(format!("{}: {}", text(&event, "/error/type"), text(&event, "/error/message")));
                is_over = true;
            }
            other => panic!("{other}"),
        }
    }
    let error = meaning.error.take();
    let Some(mut message) = message else { return Meaning { error, ..Meaning::default() } };
    for block in message["content"].as_array_mut().unwrap() {
        if let Some(json) = block["json"].as_str() {
            block["input"] = parse(json);
        }
    }
    if !has_delta {
        message["stop_reason"] = Value::Null;
    }
    Meaning { error, ..whole(ApiDialect::Messages, &message) }
}

fn messages_delta(block: &mut Value, delta: &Value) {
    let (kind, member) = match text(delta, "/type") {
        "text_delta" => ("text", "text"),
        "thinking_delta" => ("thinking", "thinking"),
        "signature_delta" => ("thinking", "signature"),
        "input_json_delta" => ("tool_use", "partial_json"),
        "citations_delta" => {
            assert_eq!(block["type"], "text");
            return;
        }
        other => panic!("{other}"),
    };
    assert_eq!(block["type"], kind);
    let target = if member == "partial_json" { "json" } else { member };
    let so_far = block[target].as_str().unwrap_or_default();
    block[target] = Value::String(format!("{so_far}{}", text(delta, &format!("/{member}"))));
}

fn chat(events: &[(Option<String>, String)]) -> Meaning {
    let mut meaning = Meaning::default();
    let mut calls: BTreeMap<u64, (String, String, String)> = BTreeMap::new();
    let (mut is_over, mut has_role) = (false, false);
    for (name, data) in events {
        assert!(name.is_none() && !is_over);
        if data == "[DONE]" {
            is_over = true;
            continue;
        }
        let event = json(data);
        if let Some(error) = event.get("error") {
            meaning.error = Some(format!("{}: {}", error["code"], text(error, "/message")));
            is_over = true;
            continue;
        }
        assert!(text(&event, "/id").starts_with("chatcmpl-") && event["created"].is_u64());
        chat_usage(&event["usage"], &mut meaning);
        let Some(choice) = event["choices"].get(0) else { continue };
        let delta = &choice["delta"];
        has_role |= delta["role"] == "assistant";
        assert!(has_role && meaning.stop.is_none());
        chat_message(delta, &mut meaning);
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().unwrap();
            let is_new = !calls.contains_key(&index);
            let so_far = calls.entry(index).or_default();
            assert_eq!(is_new, call.get("id").is_some(), "the id comes once");
            if is_new {
                meaning.note('c');
                so_far.0 = text(call, "/id").to_owned();
            }
            let body = call.get("function").or_else(|| call.get("custom")).unwrap();
            so_far.1 += body["name"].as_str().unwrap_or_default();
            so_far.2 += body["arguments"].as_str().or_else(|| body["input"].as_str()).unwrap();
        }
        meaning.stop = choice["finish_reason"].as_str().map(chat_stop);
    }
    if !is_over {
        assert!(meaning.stop.is_none());
    }
    let order = std::mem::take(&mut meaning.order);
    for (id, name, arguments) in calls.values() {
        meaning.call(id, name, arguments);
    }
    Meaning { order, ..meaning }
}

fn chat_stop(reason: &str) -> &'static str {
    match reason {
        "stop" => "stop",
        "length" => "length",
        "tool_calls" => "tool",
        "content_filter" => "filter",
        other => panic!("{other}"),
    }
}

fn chat_usage(usage: &Value, meaning: &mut Meaning) {
    if let Some(input) = usage["prompt_tokens"].as_u64() {
        let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
        let output = usage["completion_tokens"].as_u64().unwrap();
        assert_eq!(usage["total_tokens"].as_u64(), Some(input + output));
        meaning.usage = Some((input, cached, output));
    }
}

fn chat_message(message: &Value, meaning: &mut Meaning) {
    for (member, block) in [("reasoning_content", 'r'), ("content", 't'), ("refusal", 'f')] {
        let Some(piece) = message[member].as_str().filter(|piece| !piece.is_empty()) else { continue };
        meaning.note(block);
        match block {
            'r' => meaning.reasoning += piece,
            't' => meaning.text += piece,
            _ => meaning.refusal += piece,
        }
    }
}

fn responses(events: &[(Option<String>, String)]) -> Meaning {
    let (mut meaning, mut is_over) = (Meaning::default(), false);
    let mut items: Vec<Value> = Vec::new();
    let mut texts: BTreeMap<u64, String> = BTreeMap::new();
    for (sequence, (name, data)) in events.iter().enumerate() {
        let event = json(data);
        assert!(!is_over, "an event after the end");
        assert_eq!(name.as_deref(), event["type"].as_str());
        assert_eq!(event["sequence_number"].as_u64(), Some(sequence as u64));
        let index = event["output_index"].as_u64();
        if let (Some(index), Some(id)) = (index, event.get("item_id")) {
            assert_eq!(&items[index as usize]["id"], id, "{data}");
        }
        match text(&event, "/type").trim_start_matches("response.") {
            "created" | "in_progress" => {
                assert!(sequence < 2 && event["response"]["status"] == "in_progress")
            }
            "output_item.added" => {
                assert_eq!(index, Some(items.len() as u64));
                items.push(event["item"].clone());
            }
            "output_item.done" => {
                let item = &mut items[index.unwrap() as usize];
                assert_eq!(item["id"], event["item"]["id"]);
                assert_eq!(item["type"], event["item"]["type"]);
                *item = event["item"].clone();
                item["done"] = Value::Bool(true);
            }
            "output_text.delta"
            | "refusal.delta"
            | "reasoning_summary_text.delta"
            | "function_call_arguments.delta"
            | "custom_tool_call_input.delta" => {
                assert!(items[index.unwrap() as usize].get("done").is_none(), "a delta after the end");
                *texts.entry(index.unwrap()).or_default() += text(&event, "/delta");
            }
            "output_text.done"
            | "refusal.done"
            | "reasoning_summary_text.done"
            | "function_call_arguments.done"
            | "custom_tool_call_input.done" => {
                let whole =
                    ["text", "refusal", "arguments", "input"].iter().find_map(|name| event[name].as_str());
                let so_far = texts.remove(&index.unwrap()).unwrap_or_default();
                assert_eq!(so_far, whole.unwrap());
            }
            "content_part.added"
            | "content_part.done"
            | "reasoning_summary_part.added"
            | "reasoning_summary_part.done"
            | "output_text.annotation.added" => {}
            "completed" | "incomplete" => {
                is_over = true;
                for item in &mut items {
                    assert_eq!(item.as_object_mut().unwrap().remove("done"), Some(Value::Bool(true)));
                }
                assert_eq!(event["response"]["output"], Value::Array(items.clone()));
                meaning = whole(ApiDialect::Responses, &event["response"]);
            }
            "failed" => {
                is_over = true;
                assert_eq!(event["response"]["status"], "failed");
                let error = &event["response"]["error"];
                meaning.error = Some(format!("{}: {}", text(error, "/code"), text(error, "/message")));
            }
            other => panic!("{other}"),
        }
    }
    meaning
}

fn gemini(events: &[(Option<String>, String)]) -> Meaning {
    let mut meaning = Meaning::default();
    for (name, data) in events {
        assert!(name.is_none() && meaning.stop.is_none());
        let event = json(data);
        if let Some(error) = event.get("error") {
            meaning.error = Some(format!("{}: {}", text(error, "/status"), text(error, "/message")));
            continue;
        }
        gemini_candidate(&event, &mut meaning);
    }
    meaning
}

fn gemini_candidate(event: &Value, meaning: &mut Meaning) {
    let candidate = &event["candidates"][0];
    for part in candidate["content"]["parts"].as_array().unwrap() {
        if let Some(call) = part.get("functionCall") {
            assert!(call["args"].is_object());
            meaning.call(text(call, "/id"), text(call, "/name"), &call["args"].to_string());
        } else if part["thought"] == true {
            meaning.note('r');
            meaning.reasoning += text(part, "/text");
        } else if part["text"] != "" {
            meaning.note('t');
            meaning.text += text(part, "/text");
        }
    }
    meaning.stop = candidate["finishReason"].as_str().map(|reason| match reason {
        "STOP" if meaning.calls.is_empty() => "stop",
        "STOP" => "tool",
        "MAX_TOKENS" => "length",
        "SAFETY" => "filter",
        "MALFORMED_FUNCTION_CALL" => "malformed",
        other => panic!("{other}"),
    });
    let usage = &event["usageMetadata"];
    if let Some(input) = usage["promptTokenCount"].as_u64() {
        let count = |name: &str| usage[name].as_u64().unwrap_or(0);
        let output = count("candidatesTokenCount") + count("thoughtsTokenCount");
        assert_eq!(count("totalTokenCount"), input + output);
        meaning.usage = Some((input, count("cachedContentTokenCount"), output));
    }
}

/// The meaning of a whole answer.
pub(super) fn whole(dialect: ApiDialect, body: &Value) -> Meaning {
    let mut meaning = Meaning::default();
    match dialect {
        ApiDialect::Messages => whole_message(body, &mut meaning),
        ApiDialect::Responses => whole_response(body, &mut meaning),
        ApiDialect::Gemini => gemini_candidate(body, &mut meaning),
        ApiDialect::ChatCompletions => {
            let choice = &body["choices"][0];
            chat_message(&choice["message"], &mut meaning);
            for call in choice["message"]["tool_calls"].as_array().into_iter().flatten() {
                let kind = text(call, "/type");
                let arguments = call[kind]["arguments"].as_str().or_else(|| call[kind]["input"].as_str());
                meaning.call(text(call, "/id"), text(&call[kind], "/name"), arguments.unwrap());
            }
            meaning.stop = choice["finish_reason"].as_str().map(chat_stop);
            chat_usage(&body["usage"], &mut meaning);
        }
    }
    meaning
}

fn whole_message(body: &Value, meaning: &mut Meaning) {
    for block in body["content"].as_array().unwrap() {
        match text(block, "/type") {
            "text" => {
                meaning.note('t');
                assert_ne!(text(block, "/text"), "", "an empty text block");
                meaning.text += text(block, "/text");
            }
            "thinking" => {
                meaning.note('r');
                assert!(body["stop_reason"].is_null() || !text(block, "/signature").is_empty());
                meaning.reasoning += text(block, "/thinking");
            }
            "redacted_thinking" => meaning.note('x'),
            "tool_use" => {
                meaning.call(text(block, "/id"), text(block, "/name"), &block["input"].to_string());
            }
            other => panic!("{other}"),
        }
    }
    meaning.stop = body["stop_reason"].as_str().map(|reason| match reason {
        "end_turn" | "stop_sequence" | "pause_turn" => "stop",
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" => "tool",
        "refusal" => "filter",
        other => panic!("{other}"),
    });
    let usage = &body["usage"];
    if meaning.stop.is_some()
        && let Some(fresh) = usage["input_tokens"].as_u64()
    {
        let read = usage["cache_read_input_tokens"].as_u64().unwrap();
        let write = usage["cache_creation_input_tokens"].as_u64().unwrap();
        meaning.usage = Some((fresh + read + write, read, usage["output_tokens"].as_u64().unwrap()));
    }
}

fn whole_response(body: &Value, meaning: &mut Meaning) {
    assert!(text(body, "/id").starts_with("resp_"));
    for item in body["output"].as_array().unwrap() {
        match text(item, "/type") {
            "message" => {
                for part in item["content"].as_array().unwrap() {
                    if part["type"] == "refusal" {
                        meaning.note('f');
                        meaning.refusal += text(part, "/refusal");
                    } else {
                        meaning.note('t');
                        meaning.text += text(part, "/text");
                        assert!(part["annotations"].is_array());
                    }
                }
            }
            "reasoning" => {
                let parts: Vec<_> =
                    item["summary"].as_array().unwrap().iter().map(|part| text(part, "/text")).collect();
                meaning.note(if parts.is_empty() { 'x' } else { 'r' });
                meaning.reasoning += &parts.join("\n\n");
            }
            "function_call" => {
                meaning.call(text(item, "/call_id"), text(item, "/name"), text(item, "/arguments"));
            }
            "custom_tool_call" => {
                meaning.call(text(item, "/call_id"), text(item, "/name"), text(item, "/input"))
            }
            "local_shell_call" => {
                meaning.call(text(item, "/call_id"), "local_shell", &item["action"].to_string())
            }
            other => panic!("{other}"),
        }
    }
    meaning.stop = match text(body, "/status") {
        "completed" if meaning.calls.is_empty() => Some("stop"),
        "completed" => Some("tool"),
        "incomplete" => match text(body, "/incomplete_details/reason") {
            "max_output_tokens" => Some("length"),
            "content_filter" => Some("filter"),
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    };
    let usage = &body["usage"];
    if let Some(input) = usage["input_tokens"].as_u64() {
        let output = usage["output_tokens"].as_u64().unwrap();
        assert_eq!(usage["total_tokens"].as_u64(), Some(input + output));
        assert!(usage["output_tokens_details"]["reasoning_tokens"].is_u64());
        let details = &usage["input_tokens_details"];
        assert!(details["cache_write_tokens"].is_u64(), "OpenAI's types demand it");
        meaning.usage = Some((input, details["cached_tokens"].as_u64().unwrap(), output));
    }
}
