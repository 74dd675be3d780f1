//! Every recorded answer through every pair: equal in meaning to the original.

use std::{fs, path::PathBuf};

use serde_json::Value;

use super::*;
use meaning::parse;

/// The recorded answers; none where the shared directory is missing.
fn transcripts() -> Option<PathBuf> {
    let shared = std::env::var_os("THALWEG_SHARED").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let found = Some(shared.join("transcripts")).filter(|path| path.is_dir());
    if found.is_none() {
        eprintln!("left out: recorded answers, because there are none beside the project");
    }
    found
}

/// Event names and data of a recorded stream.
fn sse(body: &str) -> Vec<(Option<String>, String)> {
    let body = body.replace("\r\n", "\n");
    let mut events = Vec::new();
    for block in body.split("\n\n") {
        let field = |name: &str| {
            let lines = block.lines().filter_map(|line| line.strip_prefix(name));
            lines.map(|value| value.strip_prefix(' ').unwrap_or(value)).collect::<Vec<_>>()
        };
        let (name, data) = (field("event:"), field("data:"));
        if !data.is_empty() {
            events.push((name.first().map(|name| (*name).to_owned()), data.join("\n")));
        }
    }
    events
}

/// The meaning of a recorded chat stream, read with serde_json.
fn chat_original(events: &[(Option<String>, String)]) -> Meaning {
    let mut meaning = Meaning::default();
    let mut calls: Vec<(u64, String, String, String)> = Vec::new();
    for (_, data) in events.iter().filter(|(_, data)| data != "[DONE]") {
        let event: Value = serde_json::from_str(data).unwrap();
        if let Some(message) = event["error"]["message"].as_str() {
            meaning.error = Some(message.to_owned());
            break;
        }
        let choices = event["choices"].as_array();
        let choice = choices.and_then(|choices| choices.iter().find(|choice| choice["index"] == 0));
        let none = Value::Null;
        let (choice, delta) = (choice.unwrap_or(&none), choice.map_or(&none, |choice| &choice["delta"]));
        meaning.text += delta["content"]
            .as_str()
            .or_else(|| choice["text"].as_str().filter(|_| delta.is_null()))
            .unwrap_or_default();
        let reasoning = ["reasoning_content", "reasoning"]
            .iter()
            .find_map(|name| delta[name].as_str().filter(|text| !text.is_empty()));
        meaning.reasoning +=
            reasoning.or_else(|| delta["reasoning_details"][0]["text"].as_str()).unwrap_or_default();
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().unwrap_or(0);
            let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (id, name, arguments) =
                (of(&call["id"]), of(&call["function"]["name"]), of(&call["function"]["arguments"]));
            match calls.iter_mut().find(|known| known.0 == index) {
                Some(known) => known.3 += &arguments,
                None => calls.push((index, id, name, arguments)),
            }
        }
        if let Some(reason) = choice["finish_reason"].as_str().filter(|reason| !reason.is_empty()) {
            meaning.stop = Some(match reason {
                "length" => "length",
                "tool_calls" => "tool",
                "content_filter" => "filter",
                _ => "stop",
            });
        }
        let usage = [&event["usage"], &choice["usage"], &event["x_groq"]["usage"]];
        if let Some(usage) = usage.into_iter().find(|usage| usage["prompt_tokens"].is_u64()) {
            let count = |path: &str| usage.pointer(path).and_then(Value::as_u64);
            let cached = count("/prompt_tokens_details/cached_tokens")
                .or_else(|| count("/prompt_cache_hit_tokens"))
                .unwrap_or(0);
            let (input, mut output) =
                (count("/prompt_tokens").unwrap(), count("/completion_tokens").unwrap());
            let reasoning = count("/completion_tokens_details/reasoning_tokens").unwrap_or(0);
            if count("/total_tokens") == Some(input + output + reasoning) {
                output += reasoning;
            }
            meaning.usage = Some((input, cached, output));
        }
    }
    for (_, id, name, arguments) in calls {
        meaning.call(&id, &name, &arguments);
    }
    if !meaning.calls.is_empty() && meaning.stop == Some("stop") {
        meaning.stop = Some("tool");
    }
    let is_done = events.last().is_some_and(|(_, data)| data == "[DONE]");
    if meaning.error.is_none() && meaning.stop.is_none() && is_done {
        meaning.stop = Some("stop");
    }
    meaning
}

fn translated(from: ApiDialect, to: ApiDialect, events: &[(Option<String>, String)]) -> (Run, Meaning) {
    let events: Vec<_> = events.iter().map(|(name, data)| (name.as_deref(), data.as_bytes())).collect();
    let run = run_with(from, to, context(), &events);
    let meaning = accumulate::stream(to, &run.output);
    (run, meaning)
}

fn assert_same(case: &str, to: ApiDialect, run: &Run, found: Meaning, original: &Meaning) {
    let is_failed = original.error.is_some();
    assert_eq!(found.error.is_some(), is_failed, "{case} {to:?}");
    if let (Some(found), Some(original)) = (&found.error, &original.error) {
        assert!(found.contains(original.as_str()), "{case}: {found}");
        assert_eq!(run.end, Err(BrokenAnswer::Failed));
        return;
    }
    assert_eq!(run.end, Ok(()), "{case}");
    let has_ids = original.calls.iter().all(|call| !call.id.is_empty());
    let plain = |meaning: Meaning| Meaning { order: String::new(), error: None, ..meaning };
    let (mut found, original) = (plain(found), plain(original.clone()));
    if original.usage.is_none() && matches!(to, ApiDialect::Messages | ApiDialect::Responses) {
        let (input, _, output) = found.usage.take().unwrap();
        assert!(input == 7 && output > 0, "an estimate");
    }
    if has_ids {
        assert_eq!(found, original, "{case} {to:?}");
    } else {
        assert_eq!(found.without_ids(), original, "{case} {to:?}");
    }
}

#[test]
fn chat_streams() {
    let Some(directory) = transcripts() else { return };
    let mut count = 0;
    for case in fs::read_dir(directory).unwrap().filter_map(Result::ok) {
        let name = case.file_name().into_string().unwrap();
        let Ok(meta) = fs::read_to_string(case.path().join("meta.json")) else { continue };
        let meta: Value = serde_json::from_str(&meta).unwrap();
        let body = fs::read_to_string(case.path().join("response.body")).unwrap();
        if meta["kind"] != "sse"
            || ["cohere", "anthropic", "openai-responses"].iter().any(|other| name.starts_with(other))
        {
            continue;
        }
        let events = sse(&body);
        let original = chat_original(&events);
        for to in [ApiDialect::Messages, ApiDialect::Responses, ApiDialect::Gemini] {
            let (run, found) = translated(ApiDialect::ChatCompletions, to, &events);
            assert_same(&name, to, &run, found, &original);
        }
        count += 1;
    }
    assert!(count > 30, "{count} streams");
}

/// A translated answer translated on: the meaning survives two pairs.
#[test]
fn streams_of_the_other_dialects() {
    let Some(directory) = transcripts() else { return };
    for (case, from) in [
        ("anthropic-messages-stream-text", ApiDialect::Messages),
        ("anthropic-messages-stream-tool", ApiDialect::Messages),
        ("openai-responses-stream", ApiDialect::Responses),
    ] {
        let events = sse(&fs::read_to_string(directory.join(case).join("response.body")).unwrap());
        let plain: Vec<(Option<String>, String)> = events.clone();
        let original = original(from, &plain);
        for to in CLIENTS.into_iter().filter(|to| *to != from) {
            let (run, found) = translated(from, to, &events);
            assert_same(case, to, &run, found, &original);
        }
    }
}

fn original(from: ApiDialect, events: &[(Option<String>, String)]) -> Meaning {
    let mut meaning = Meaning::default();
    let mut json = String::new();
    let mut call = None;
    for (_, data) in events {
        let event: Value = serde_json::from_str(data).unwrap();
        meaning.text += event["delta"]["text"].as_str().unwrap_or_default();
        if from == ApiDialect::Responses {
            meaning.text += event["delta"].as_str().unwrap_or_default();
        }
        json += event["delta"]["partial_json"].as_str().unwrap_or_default();
        if event["content_block"]["type"] == "tool_use" {
            call = Some(event["content_block"].clone());
        }
        if let Some(input) = event["message"]["usage"]["input_tokens"].as_u64() {
            meaning.usage = Some((input, 0, 0));
        }
        if let (Some(output), Some(usage)) = (event["usage"]["output_tokens"].as_u64(), &mut meaning.usage) {
            usage.2 = output;
        }
        let usage = &event["response"]["usage"];
        if let Some(input) = usage["input_tokens"].as_u64() {
            let cached = usage["input_tokens_details"]["cached_tokens"].as_u64().unwrap();
            meaning.usage = Some((input, cached, usage["output_tokens"].as_u64().unwrap()));
        }
    }
    meaning.stop = Some(if call.is_some() { "tool" } else { "stop" });
    if let Some(call) = call {
        meaning.call(call["id"].as_str().unwrap(), call["name"].as_str().unwrap(), &parse(&json).to_string());
    }
    meaning
}

#[test]
fn whole_answers_and_errors() {
    let Some(directory) = transcripts() else { return };
    for case in fs::read_dir(directory).unwrap().filter_map(Result::ok) {
        let name = case.file_name().into_string().unwrap();
        let Ok(meta) = fs::read_to_string(case.path().join("meta.json")) else { continue };
        let meta: Value = serde_json::from_str(&meta).unwrap();
        let body = fs::read_to_string(case.path().join("response.body")).unwrap();
        let status = meta["status"].as_u64().unwrap() as u16;
        for to in [ApiDialect::Messages, ApiDialect::Responses, ApiDialect::Gemini] {
            if meta["kind"] == "error" {
                let mut out = Vec::new();
                let status = error(ApiDialect::ChatCompletions, to, status, body.as_bytes(), &mut out);
                let json: Value = serde_json::from_slice(&out).unwrap();
                assert!(
                    status >= 400 && json["error"]["message"].as_str().is_some_and(|words| words.len() > 10),
                    "{name}"
                );
            } else if meta["kind"] == "json" {
                let original: Value = serde_json::from_str(&body).unwrap();
                let message = &original["choices"][0]["message"];
                let found = whole_meaning(ApiDialect::ChatCompletions, to, &body);
                assert_eq!(found.text, message["content"].as_str().unwrap_or_default(), "{name} {to:?}");
                let calls = message["tool_calls"].as_array().map_or(0, Vec::len);
                assert_eq!(found.without_ids().calls.len(), calls);
            }
        }
    }
}
