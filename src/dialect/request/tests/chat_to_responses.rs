//! Chat completions to responses.

use serde_json::{Value, json};

use super::{OPTIONS, Way, request};
use crate::dialect::{ApiDialect, context::ToolKind, request::RequestOptions};

const WAY: Way = Way { from: ApiDialect::ChatCompletions, to: ApiDialect::Responses };

fn of(members: Value) -> Value {
    request(ApiDialect::ChatCompletions, members)
}

#[test]
fn messages_become_items() {
    let body = WAY.body(&of(json!({"messages": [
        {"role": "system", "content": "s"},
        {"role": "developer", "content": "d"},
        {"role": "user", "content": [
            {"type": "text", "text": "q"},
            {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}},
        ]},
        {"role": "assistant", "content": "I look.", "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "a", "arguments": "{\"x\": 1}"}},
            {"id": "k", "type": "custom", "custom": {"name": "p", "input": "raw"}},
        ]},
        {"role": "tool", "tool_call_id": "c", "content": "r"},
        {"role": "tool", "tool_call_id": "k", "content": "done"},
        {"role": "assistant", "content": null, "refusal": "No."},
    ]})));
    assert_eq!(body["instructions"], "s");
    assert_eq!(
        body["input"],
        json!([
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "d"}]},
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "q"},
                {"type": "input_image", "detail": "low", "image_url": "https://x.test/a.png"},
            ]},
            {"type": "message", "role": "assistant", "content": "I look."},
            {"type": "function_call", "call_id": "c", "name": "a", "arguments": "{\"x\": 1}"},
            {"type": "custom_tool_call", "call_id": "k", "name": "p", "input": "raw"},
            {"type": "function_call_output", "call_id": "c", "output": "r"},
            {"type": "custom_tool_call_output", "call_id": "k", "output": "done"},
            {"type": "message", "role": "assistant", "content": "No."},
        ])
    );
    assert_eq!(body["store"], false);
}

#[test]
fn tools_are_flat_and_not_strict() {
    let grammar = json!({"type": "grammar", "grammar": {"syntax": "regex", "definition": "a+"}});
    let (body, translated) = WAY.whole(&of(json!({
        "tools": [
            {"type": "function", "function": {"name": "a", "parameters": {"type": "object"}}},
            {"type": "function", "function": {"name": "b", "strict": true}},
            {"type": "custom", "custom": {"name": "p", "format": grammar}},
        ],
        "tool_choice": {"type": "custom", "custom": {"name": "p"}},
    })));
    assert_eq!(
        body["tools"],
        json!([
            {"type": "function", "name": "a", "parameters": {"type": "object", "properties": {}}, "strict": false},
            {"type": "function", "name": "b", "parameters": null, "strict": true},
            {"type": "custom", "name": "p", "format": {"type": "grammar", "syntax": "regex", "definition": "a+"}},
        ])
    );
    assert_eq!(body["tool_choice"], json!({"type": "custom", "name": "p"}));
    assert_eq!(translated.context.tools[0].kind, ToolKind::Custom);
}

#[test]
fn settings_have_their_names() {
    let (body, translated) = WAY.whole(&of(json!({
        "max_tokens": 3, "temperature": 0.1, "reasoning_effort": "high", "verbosity": "low", "logprobs": true,
        "top_logprobs": 2, "seed": 5, "stream": true, "stream_options": {"include_usage": true},
        "response_format": {"type": "json_object"}, "parallel_tool_calls": false, "prompt_cache_key": "k",
    })));
    let expected = json!({
        "max_output_tokens": 16, "temperature": 0.1, "reasoning": {"effort": "high", "summary": "auto"},
        "text": {"format": {"type": "json_object"}, "verbosity": "low"}, "top_logprobs": 2, "stream": true,
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"], "prompt_cache_key": "k",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&body[name], value, "{name}");
    }
    assert!(body.get("parallel_tool_calls").is_none(), "there are no tools");
    assert_eq!(translated.dropped, ["seed", "max_tokens"]);
    assert!(translated.context.wants_usage);
    assert!(WAY.body(&of(json!({}))).get("reasoning").is_none());
    assert_eq!(WAY.unsayable(&of(json!({"stop": ["x"]}))), "stop");
    assert_eq!(WAY.unsayable(&of(json!({"n": 3}))), "n");
}

#[test]
fn long_ids_are_shortened_alike() {
    let id = "i".repeat(200);
    let body = WAY.body(&of(json!({"messages": [
        {"role": "user", "content": "q"},
        {"role": "assistant", "tool_calls": [{"id": id, "type": "function", "function": {"name": "a", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": id, "content": "r"},
    ]})));
    let sent = body["input"][1]["call_id"].as_str().unwrap();
    assert!(sent.len() <= 64);
    assert_eq!(body["input"][2]["call_id"], sent);
}

/// OpenAI's two dialects have these alike.
#[test]
fn shared_members_pass_both_ways() {
    let shared = json!({
        "service_tier": "flex", "safety_identifier": "s", "prompt_cache_retention": "24h",
    });
    let back = Way { from: ApiDialect::Responses, to: ApiDialect::ChatCompletions };
    for way in [WAY, back] {
        let (body, translated) = way.whole(&request(way.from, shared.clone()));
        for (name, value) in shared.as_object().unwrap() {
            assert_eq!(body[name], *value, "{name}");
        }
        assert_eq!(translated.dropped, Vec::<String>::new());
    }
    let options = RequestOptions { openai_members: false, ..OPTIONS };
    let translated = WAY.try_with(&request(WAY.from, shared), &options).unwrap();
    assert_eq!(translated.dropped.len(), 3);
}
