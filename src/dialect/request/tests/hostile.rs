//! Hostile bodies: no panic, an error or a valid body.

use proptest::prelude::*;
use serde_json::Value;

use super::{OPTIONS, translate};
use crate::dialect::{ApiDialect, request::count_tokens};

const ALL: [ApiDialect; 4] =
    [ApiDialect::ChatCompletions, ApiDialect::Responses, ApiDialect::Messages, ApiDialect::Gemini];

fn try_all(body: &[u8]) {
    for from in ALL {
        _ = count_tokens(from, body);
        for to in ALL {
            if let Ok(translated) = translate(from, to, body, &OPTIONS) {
                serde_json::from_slice::<Value>(&translated.body.concat()).expect("valid JSON");
                assert!(translated.dropped.len() <= 32);
                assert!(
                    translated.dropped.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_graphic()))
                );
            }
        }
    }
}

/// Words that readers look for, so that random values reach deep.
const WORDS: [&str; 60] = [
    "model",
    "messages",
    "role",
    "user",
    "assistant",
    "system",
    "tool",
    "content",
    "type",
    "text",
    "tool_use",
    "id",
    "name",
    "input",
    "tool_result",
    "tool_use_id",
    "is_error",
    "image",
    "source",
    "base64",
    "media_type",
    "data",
    "url",
    "image_url",
    "tools",
    "function",
    "parameters",
    "input_schema",
    "tool_choice",
    "thinking",
    "signature",
    "call_id",
    "function_call",
    "function_call_output",
    "output",
    "arguments",
    "message",
    "reasoning",
    "summary",
    "contents",
    "parts",
    "functionCall",
    "functionResponse",
    "response",
    "args",
    "inlineData",
    "mimeType",
    "generationConfig",
    "max_tokens",
    "https://x.test/a",
    "data:image/png;base64,QQ==",
    "tool_calls",
    "tool_call_id",
    "custom",
    "namespace",
    "format",
    "document",
    "model",
    "file_data",
    "encrypted_content",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![9 => (0..WORDS.len()).prop_map(|at| WORDS[at].to_owned()), 1 => any::<String>()]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((word(), inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Replaces the value at the `at`th place of a valid request.
fn replace(value: &mut Value, at: &mut usize, new: &Value) {
    if *at == 0 {
        *value = new.clone();
    }
    *at = at.wrapping_sub(1);
    match value {
        Value::Array(list) => list.iter_mut().for_each(|inner| replace(inner, at, new)),
        Value::Object(members) => members.values_mut().for_each(|inner| replace(inner, at, new)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

const VALID: [&str; 4] = [
    r#"{"model":"m","max_tokens":9,"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QQ=="}}]},{"role":"assistant","content":[{"type":"thinking","thinking":"h","signature":"s"},{"type":"tool_use","id":"t","name":"n","input":{"a":1}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"r"}]}]}],"tools":[{"name":"n","input_schema":{"type":"object"}}],"tool_choice":{"type":"any"},"thinking":{"type":"enabled","budget_tokens":2000},"output_config":{"effort":"low"}}"#,
    r#"{"model":"m","instructions":"i","input":[{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"https://x.test/a"}]},{"type":"reasoning","id":"r","summary":[{"type":"summary_text","text":"t"}],"encrypted_content":"e"},{"type":"function_call","call_id":"c","name":"n","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"a"}]}],"tools":[{"type":"function","name":"n","parameters":{}},{"type":"namespace","name":"x","tools":[{"type":"function","name":"n"}]},{"type":"custom","name":"p","format":{"type":"grammar","syntax":"lark","definition":"d"}}],"tool_choice":{"type":"function","name":"n"},"reasoning":{"effort":"low"},"text":{"format":{"type":"json_schema","name":"n","schema":{}}}}"#,
    r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"file","file":{"file_data":"QQ=="}}]},{"role":"assistant","content":"a","reasoning_content":"h","tool_calls":[{"id":"c","type":"function","function":{"name":"n","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"r"}],"tools":[{"type":"function","function":{"name":"n","parameters":{}}}],"tool_choice":"auto","stop":["x"],"stream_options":{"include_usage":true}}"#,
    r#"{"systemInstruction":{"parts":[{"text":"s"}]},"contents":[{"role":"user","parts":[{"text":"a"},{"inlineData":{"mimeType":"image/png","data":"QQ=="}}]},{"role":"model","parts":[{"thought":true,"text":"h"},{"functionCall":{"name":"n","args":{"a":1}},"thoughtSignature":"x"}]},{"role":"user","parts":[{"functionResponse":{"name":"n","response":{"output":"r"}}}]}],"tools":[{"functionDeclarations":[{"name":"n","parameters":{"type":"OBJECT","properties":{"a":{"type":"STRING","nullable":true}}}}]}],"generationConfig":{"topK":1,"thinkingConfig":{"thinkingBudget":3}}}"#,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_bytes(body in prop::collection::vec(any::<u8>(), 0..200)) {
        try_all(&body);
    }

    #[test]
    fn any_json(body in json_value()) {
        try_all(body.to_string().as_bytes());
    }

    #[test]
    fn valid_requests_with_a_wrong_place(kind in 0..VALID.len(), at in 1..70_usize, new in json_value()) {
        let mut body: Value = serde_json::from_str(VALID[kind]).unwrap();
        replace(&mut body, &mut at.clone(), &new);
        try_all(body.to_string().as_bytes());
    }

    #[test]
    fn valid_requests_cut(kind in 0..VALID.len(), end in any::<prop::sample::Index>()) {
        let body = VALID[kind].as_bytes();
        try_all(&body[..end.index(body.len())]);
    }
}

#[test]
fn valid_requests_are_valid() {
    for (body, from) in VALID.iter().zip([ALL[2], ALL[1], ALL[0], ALL[3]]) {
        for to in ALL.into_iter().filter(|to| *to != from && *to != ApiDialect::Gemini) {
            let made = translate(from, to, body.as_bytes(), &OPTIONS);
            let is_stop = |error: &super::RequestError| {
                error.param.as_deref().is_some_and(|param| param.contains("stop"))
            };
            assert!(made.as_ref().err().is_none_or(is_stop), "{made:?}");
        }
    }
}

#[test]
fn depth_is_bounded_and_size_is_linear() {
    let deep =
        format!("{{\"model\":\"m\",\"max_tokens\":1,\"messages\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    try_all(deep.as_bytes());
    let inner = format!("{}1{}", "{\"a\":".repeat(90), "}".repeat(90));
    let call = format!("{{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"n\",\"input\":{inner}}}");
    let body = format!(
        "{{\"model\":\"m\",\"max_tokens\":1,\"messages\":[{{\"role\":\"assistant\",\"content\":[{call}]}}]}}"
    );
    translate(ApiDialect::Messages, ApiDialect::ChatCompletions, body.as_bytes(), &OPTIONS).unwrap();
    // Calls that no result answers, and members by the thousand.
    let calls = vec![call; 50].join(",");
    let turn =
        format!("{{\"role\":\"assistant\",\"content\":[{calls}]}},{{\"role\":\"user\",\"content\":\"x\"}}");
    let turns = vec![turn; 10].join(",");
    let members: String = (0..5_000).map(|at| format!("\"k{at}\":1,")).collect();
    try_all(format!("{{{members}\"model\":\"m\",\"max_tokens\":1,\"messages\":[{turns}]}}").as_bytes());
}

#[test]
fn of_two_members_with_one_name_the_last_counts() {
    let body = br#"{"model":"a","model":"m","messages":[],"messages":[{"role":"user","content":"x"}],"max_tokens":1}"#;
    let made = translate(ApiDialect::Messages, ApiDialect::ChatCompletions, body, &OPTIONS).unwrap();
    assert_eq!(made.context.model, "m");
    assert!(String::from_utf8(made.body.concat()).unwrap().contains("\"x\""));
}
