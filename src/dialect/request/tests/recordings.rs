//! Requests of real clients, read from the recordings where they are present: the directory is in
//! `THALWEG_SHARED`, else beside the project.

use std::path::PathBuf;

use serde_json::Value;

use super::{OPTIONS, Way};
use crate::dialect::{ApiDialect, request::count_tokens};

fn recordings() -> Vec<(String, Value)> {
    let shared = std::env::var_os("THALWEG_SHARED").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let Ok(directory) = std::fs::read_dir(shared.join("agents/recordings")) else {
        eprintln!("left out: recorded requests, because there are none beside the project");
        return Vec::new();
    };
    let mut requests = Vec::new();
    for file in directory {
        let text = std::fs::read(file.unwrap().path()).unwrap();
        let recording: Value = serde_json::from_slice(&text).unwrap();
        for mut request in recording.as_array().unwrap().iter().cloned() {
            if request["body"].is_object() {
                trim(&mut request["body"]);
                requests.push((request["request"].as_str().unwrap().to_owned(), request["body"].take()));
            }
        }
    }
    requests
}

/// The recordings name the tools that they leave out in a string.
fn trim(body: &mut Value) {
    if let Some(tools) = body["tools"].as_array_mut() {
        tools.retain(Value::is_object);
    }
}

fn dialect_of(line: &str) -> ApiDialect {
    match line.split([' ', '?']).nth(1).unwrap() {
        "/v1/messages" => ApiDialect::Messages,
        "/v1/responses" => ApiDialect::Responses,
        "/v1/chat/completions" => ApiDialect::ChatCompletions,
        other => panic!("{other}"),
    }
}

/// The texts that a body holds, sorted.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|inner| texts(inner, found)),
        Value::Object(members) => members.values().for_each(|inner| texts(inner, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn each_client_can_ask_each_dialect() {
    for (line, body) in recordings() {
        let from = dialect_of(&line);
        for to in [ApiDialect::ChatCompletions, ApiDialect::Messages, ApiDialect::Responses] {
            if from == to {
                continue;
            }
            let translated =
                Way { from, to }.try_with(&body, &OPTIONS).unwrap_or_else(|e| panic!("{to:?} {line}: {e}"));
            let out: Value = serde_json::from_slice(&translated.body.concat()).unwrap();
            let sizes = |body: &Value| body["tools"].as_array().map_or(0, Vec::len);
            assert_eq!(sizes(&out), sizes(&body), "{line}");
            let mut kept = Vec::new();
            texts(&out, &mut kept);
            let kept = kept.join("\n");
            // Each text of the conversation arrives.
            let mut said = Vec::new();
            let name = if from == ApiDialect::Responses { "input" } else { "messages" };
            for message in body[name].as_array().unwrap() {
                texts(&message["content"], &mut said);
                texts(&message["output"], &mut said);
            }
            for text in said.iter().filter(|text| text.contains("characters>")) {
                assert!(kept.contains(text.as_str()), "{text}");
            }
            if translated.context.streams {
                assert_eq!(out["stream"], true);
            }
        }
        assert!(count_tokens(from, body.to_string().as_bytes()).unwrap() > 5);
    }
}

#[test]
fn claude_code_calls_a_tool_of_a_chat_provider() {
    let way = Way { from: ApiDialect::Messages, to: ApiDialect::ChatCompletions };
    let asks = |line: &str, body: &Value| {
        line.contains("beta=true") && body["messages"].as_array().unwrap().len() > 2
    };
    for (_, body) in recordings().into_iter().filter(|(line, body)| asks(line, body)) {
        let messages = way.body(&body)["messages"].clone();
        let messages = messages.as_array().unwrap();
        let at = messages.iter().position(|message| message["tool_calls"].is_array()).unwrap();
        assert_eq!(messages[at]["tool_calls"][0]["function"]["name"], "Bash");
        assert_eq!(messages[at + 1]["role"], "tool");
        assert_eq!(messages[at + 1]["tool_call_id"], messages[at]["tool_calls"][0]["id"]);
    }
}
