//! An answer that a client returns in its next request: reasoning and calls go back as their provider gave
//! them. [`forms`]: each form of chat providers.

mod forms;

use crate::dialect::{
    ApiDialect,
    answer::whole,
    context::AnswerContext,
    request::{RequestOptions, translate},
};
use serde_json::{Value, json};

const CHAT: &str = r#"{"id":"c","choices":[{"message":{"role":"assistant","reasoning_content":"I think","content":"so","tool_calls":[{"id":"call_7","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},"finish_reason":"tool_calls"}]}"#;
const MESSAGES: &str = r#"{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"thinking","thinking":"I think","signature":"SIG="},{"type":"redacted_thinking","data":"RED"},{"type":"text","text":"so"},{"type":"tool_use","id":"toolu_7","name":"f","input":{"x":1}}],"stop_reason":"tool_use"}"#;
const RESPONSES: &str = r#"{"id":"resp_1","status":"completed","output":[{"type":"reasoning","id":"rs_9","summary":[{"type":"summary_text","text":"I think"}],"encrypted_content":"ENC"},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"so"}]},{"type":"function_call","id":"fc_1","call_id":"call_7","name":"f","arguments":"{\"x\":1}"}]}"#;

/// The client's next request, with the answer and a tool's result.
fn next_request(client: ApiDialect, answer: &Value) -> Value {
    let call_id = |path: &str| answer.pointer(path).cloned().unwrap_or_default();
    match client {
        ApiDialect::Messages => {
            let calls = answer["content"].as_array().into_iter().flatten();
            let id = calls.filter_map(|block| block.get("id")).next_back().cloned().unwrap_or_default();
            json!({"model": "m", "max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 4000},
                "tools": [{"name": "f", "input_schema": {"type": "object"}}],
                "messages": [
                    {"role": "user", "content": "q"},
                    {"role": "assistant", "content": answer["content"]},
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "r"}]}]})
        }
        ApiDialect::ChatCompletions => json!({"model": "m", "reasoning_effort": "low",
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
            "messages": [
                {"role": "user", "content": "q"},
                answer["choices"][0]["message"],
                {"role": "tool", "tool_call_id": call_id("/choices/0/message/tool_calls/0/id"), "content": "r"}]}),
        ApiDialect::Responses => {
            let mut input = vec![json!({"role": "user", "content": "q"})];
            let output = answer["output"].as_array().cloned().unwrap_or_default();
            let id = output.iter().filter_map(|item| item.get("call_id")).next_back().cloned();
            input.extend(output);
            input.push(json!({"type": "function_call_output", "call_id": id, "output": "r"}));
            json!({"model": "m", "input": input, "store": false, "reasoning": {"effort": "low"},
                "include": ["reasoning.encrypted_content"],
                "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}]})
        }
        ApiDialect::Gemini => {
            // As gemini-cli: thoughts are not returned.
            let mut content = answer["candidates"][0]["content"].clone();
            if let Some(parts) = content["parts"].as_array_mut() {
                parts.retain(|part| part["thought"] != true);
            }
            json!({"contents": [
                {"role": "user", "parts": [{"text": "q"}]},
                content,
                {"role": "user", "parts": [{"functionResponse": {"id": "call_7", "name": "f", "response": {"output": "r"}}}]}],
                "tools": [{"functionDeclarations": [{"name": "f"}]}]})
        }
    }
}

#[test]
fn reasoning_and_calls_go_back() {
    let gateway = AnswerContext { wants_encrypted_reasoning: true, ..AnswerContext::default() };
    for (provider, answer, expected) in [
        (
            ApiDialect::ChatCompletions,
            CHAT,
            &[r#""reasoning_content":"I think""#, r#""id":"call_7""#, r#""tool_call_id":"call_7""#][..],
        ),
        (
            ApiDialect::Messages,
            MESSAGES,
            &[
                r#""thinking":"I think""#,
                r#""signature":"SIG=""#,
                r#""data":"RED""#,
                r#""id":"toolu_7""#,
                r#""tool_use_id":"toolu_7""#,
            ],
        ),
        (ApiDialect::Responses, RESPONSES, &[r#""encrypted_content":"ENC""#, r#""call_id":"call_7""#]),
    ] {
        for client in
            [ApiDialect::Messages, ApiDialect::Responses, ApiDialect::ChatCompletions, ApiDialect::Gemini]
        {
            if client == provider || (provider, client) == (ApiDialect::Messages, ApiDialect::Gemini) {
                continue;
            }
            let mut body = Vec::new();
            whole(provider, client, answer.as_bytes(), &gateway, "r", 1, &mut body).unwrap();
            let answer: Value = serde_json::from_slice(&body).unwrap();
            let request = next_request(client, &answer).to_string();
            let sent = translate(client, provider, request.as_bytes(), &RequestOptions::new("p")).unwrap();
            let sent: Value = serde_json::from_slice(&sent.body.concat()).unwrap();
            let sent = sent.to_string();
            for part in expected {
                assert!(sent.contains(part), "{client:?} -> {provider:?}: {part} in {sent}\n{request}");
            }
        }
    }
}
