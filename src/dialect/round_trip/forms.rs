//! Each form in which chat providers give reasoning, to clients of each dialect and back, over two turns:
//! the provider gets it as it wants it.

use crate::dialect::{
    ApiDialect,
    answer::{StreamTranslator, whole},
    context::AnswerContext,
    reasoning::ReasoningOrigin,
    request::{RequestOptions, translate},
};
use serde_json::{Value, json};

const CLIENTS: [ApiDialect; 3] = [ApiDialect::Messages, ApiDialect::Responses, ApiDialect::Gemini];
const CALL: &str =
    r#"{"index":0,"id":"call_7","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}"#;

/// A provider's form: its deltas before the call, the members of its message, the text that it gets back.
struct ReasoningForm {
    name: &'static str,
    deltas: &'static [&'static str],
    message: &'static str,
    call: &'static str,
    expected: &'static [&'static str],
}

const FORMS: &[ReasoningForm] = &[
    ReasoningForm {
        name: "DeepSeek, Kimi, Qwen",
        deltas: &[r#"{"reasoning_content":"I "}"#, r#"{"reasoning_content":"think"}"#, r#"{"content":"so"}"#],
        message: r#""reasoning_content":"I think","content":"so""#,
        call: CALL,
        expected: &[r#""content":"so","reasoning_content":"I think""#],
    },
    ReasoningForm {
        name: "vLLM, xAI, Groq",
        deltas: &[r#"{"reasoning":"I think"}"#, r#"{"content":"so"}"#],
        message: r#""reasoning":"I think","content":"so""#,
        call: CALL,
        expected: &[r#""content":"so","reasoning":"I think""#],
    },
    ReasoningForm {
        name: "OpenRouter, of Anthropic",
        deltas: &[
            r#"{"reasoning":"I ","reasoning_details":[{"type":"reasoning.text","text":"I ","format":"anthropic-claude-v1","index":0}]}"#,
            r#"{"reasoning":"think","reasoning_details":[{"type":"reasoning.text","text":"think","format":"anthropic-claude-v1","index":0}]}"#,
            r#"{"reasoning_details":[{"type":"reasoning.text","signature":"SIG","format":"anthropic-claude-v1","index":0}]}"#,
            r#"{"reasoning":"more","reasoning_details":[{"type":"reasoning.text","text":"more","signature":"SIG2","index":1}]}"#,
            r#"{"content":"so"}"#,
        ],
        message: r#""reasoning":"I thinkmore","reasoning_details":[{"type":"reasoning.text","text":"I think","signature":"SIG","format":"anthropic-claude-v1","index":0},{"type":"reasoning.text","text":"more","signature":"SIG2","index":1}],"content":"so""#,
        call: CALL,
        expected: &[
            r#""reasoning_details":[{"type":"reasoning.text","text":"I think","signature":"SIG","format":"anthropic-claude-v1","index":0},{"type":"reasoning.text","text":"more","signature":"SIG2","index":1}]"#,
        ],
    },
    ReasoningForm {
        name: "OpenRouter, of OpenAI",
        deltas: &[
            r#"{"reasoning":"I think","reasoning_details":[{"type":"reasoning.summary","summary":"I think","format":"openai-responses-v1","index":0}]}"#,
            r#"{"reasoning_details":[{"type":"reasoning.encrypted","data":"ENC","id":"rs_1","format":"openai-responses-v1","index":0}]}"#,
            r#"{"content":"so"}"#,
        ],
        message: r#""reasoning":"I think","reasoning_details":[{"type":"reasoning.summary","summary":"I think","format":"openai-responses-v1","index":0},{"type":"reasoning.encrypted","data":"ENC","id":"rs_1","format":"openai-responses-v1","index":0}],"content":"so""#,
        call: CALL,
        expected: &[
            r#""reasoning_details":[{"type":"reasoning.summary","summary":"I think","format":"openai-responses-v1","index":0},{"type":"reasoning.encrypted","data":"ENC","id":"rs_1","format":"openai-responses-v1","index":0}]"#,
        ],
    },
    ReasoningForm {
        name: "OpenRouter, of Gemini",
        deltas: &[
            r#"{"content":"so"}"#,
            r#"{"reasoning_details":[{"type":"reasoning.encrypted","data":"ENC","id":"call_7","format":"google-gemini-v1","index":0}]}"#,
        ],
        message: r#""content":"so","reasoning_details":[{"type":"reasoning.encrypted","data":"ENC","id":"call_7","format":"google-gemini-v1","index":0}]"#,
        call: CALL,
        expected: &[
            r#""reasoning_details":[{"type":"reasoning.encrypted","data":"ENC","id":"call_7","format":"google-gemini-v1","index":0}]"#,
        ],
    },
    ReasoningForm {
        name: "Google's compatible endpoint",
        deltas: &[
            r#"{"content":"<thought>I think</thought>","extra_content":{"google":{"thought":true}}}"#,
            r#"{"content":"so"}"#,
        ],
        message: r#""content":"so""#,
        call: r#"{"index":0,"id":"call_7","type":"function","function":{"name":"f","arguments":"{\"x\":1}"},"extra_content":{"google":{"thought_signature":"GSIG+/=="}}}"#,
        expected: &[
            r#""function":{"name":"f","arguments":"{\"x\":1}"},"extra_content":{"google":{"thought_signature":"GSIG+/=="}}}"#,
        ],
    },
    ReasoningForm {
        name: "Mistral",
        deltas: &[
            r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"I "}]}]}"#,
            r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"think"}]}]}"#,
            r#"{"content":"so"}"#,
        ],
        message: r#""content":[{"type":"thinking","thinking":[{"type":"text","text":"I think"}]},{"type":"text","text":"so"}]"#,
        call: CALL,
        expected: &[
            r#""content":[{"type":"thinking","thinking":[{"type":"text","text":"I think"}]},{"type":"text","text":"so"}]"#,
        ],
    },
];

fn context() -> AnswerContext {
    AnswerContext { wants_encrypted_reasoning: true, streams: true, ..AnswerContext::default() }
}

/// The answer as the client keeps it: its turn of the conversation.
fn streamed(form: &ReasoningForm, client: ApiDialect) -> Value {
    let mut translator = StreamTranslator::new(ApiDialect::ChatCompletions, client, context(), "r", 1);
    let call = format!(r#"{{"tool_calls":[{}]}}"#, form.call);
    let mut out = Vec::new();
    for delta in form.deltas.iter().copied().chain([&*call]) {
        let chunk = format!(r#"{{"id":"c","choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#);
        translator.event(None, chunk.as_bytes(), &mut out);
    }
    let end = r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#;
    translator.event(None, end.as_bytes(), &mut out);
    translator.event(None, b"[DONE]", &mut out);
    translator.finish(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let data = text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok());
    kept(client, data)
}

fn kept(client: ApiDialect, events: impl Iterator<Item = Value>) -> Value {
    let mut parts: Vec<Value> = Vec::new();
    for event in events {
        match client {
            ApiDialect::Responses => {
                if event["type"] == "response.completed" {
                    return event["response"]["output"].clone();
                }
            }
            ApiDialect::Gemini => {
                let more = event["candidates"][0]["content"]["parts"].as_array().cloned();
                // As gemini-cli: thoughts are not returned.
                parts.extend(more.into_iter().flatten().filter(|part| part["thought"] != true));
            }
            ApiDialect::Messages | ApiDialect::ChatCompletions => match event["type"].as_str() {
                Some("content_block_start") => parts.push(event["content_block"].clone()),
                Some("content_block_delta") => {
                    let block = &mut parts[event["index"].as_u64().unwrap() as usize];
                    let delta = &event["delta"];
                    for (name, piece) in [
                        ("text", "text"),
                        ("thinking", "thinking"),
                        ("signature", "signature"),
                        ("json", "partial_json"),
                    ] {
                        if let Some(piece) = delta[piece].as_str() {
                            let before = block[name].as_str().unwrap_or_default().to_owned();
                            block[name] = (before + piece).into();
                        }
                    }
                }
                Some("content_block_stop") => {
                    let block = &mut parts[event["index"].as_u64().unwrap() as usize];
                    if let Some(json) = block.as_object_mut().unwrap().remove("json") {
                        block["input"] = serde_json::from_str(json.as_str().unwrap()).unwrap();
                    }
                }
                _ => {}
            },
        }
    }
    parts.into()
}

fn answered(form: &ReasoningForm, client: ApiDialect) -> Value {
    let body = format!(
        r#"{{"id":"c","choices":[{{"message":{{"role":"assistant",{},"tool_calls":[{}]}},"finish_reason":"tool_calls"}}]}}"#,
        form.message, form.call
    );
    let mut out = Vec::new();
    whole(ApiDialect::ChatCompletions, client, body.as_bytes(), &context(), "r", 1, &mut out).unwrap();
    let answer: Value = serde_json::from_slice(&out).unwrap();
    match client {
        ApiDialect::Messages | ApiDialect::ChatCompletions => answer["content"].clone(),
        ApiDialect::Responses => answer["output"].clone(),
        ApiDialect::Gemini => kept(client, [answer].into_iter()),
    }
}

/// The client's request after these answers, each with a tool's result.
fn request(client: ApiDialect, answers: &[Value]) -> Value {
    let mut turns = Vec::new();
    match client {
        ApiDialect::Messages | ApiDialect::ChatCompletions => {
            turns.push(json!({"role": "user", "content": "q"}));
            for content in answers {
                turns.push(json!({"role": "assistant", "content": content}));
                turns.push(json!({"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "call_7", "content": "r"}]}));
            }
            json!({"model": "m", "max_tokens": 9000, "messages": turns,
                "tools": [{"name": "f", "input_schema": {"type": "object"}}]})
        }
        ApiDialect::Responses => {
            turns.push(json!({"role": "user", "content": "q"}));
            for output in answers {
                turns.extend(output.as_array().cloned().unwrap_or_default());
                turns.push(json!({"type": "function_call_output", "call_id": "call_7", "output": "r"}));
            }
            json!({"model": "m", "input": turns, "store": false, "include": ["reasoning.encrypted_content"],
                "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}]})
        }
        ApiDialect::Gemini => {
            turns.push(json!({"role": "user", "parts": [{"text": "q"}]}));
            for parts in answers {
                turns.push(json!({"role": "model", "parts": parts}));
                turns.push(json!({"role": "user", "parts": [
                    {"functionResponse": {"id": "call_7", "name": "f", "response": {"output": "r"}}}]}));
            }
            json!({"contents": turns, "tools": [{"functionDeclarations": [{"name": "f"}]}]})
        }
    }
}

#[test]
fn every_form_goes_back_as_it_came() {
    for form in FORMS {
        for client in CLIENTS {
            for answer in [streamed(form, client), answered(form, client)] {
                let asked = request(client, &[answer.clone(), answer]);
                let sent = translate(
                    client,
                    ApiDialect::ChatCompletions,
                    asked.to_string().as_bytes(),
                    &RequestOptions::new("p"),
                )
                .unwrap();
                let text = String::from_utf8(sent.body.concat()).unwrap();
                serde_json::from_str::<Value>(&text).unwrap();
                for part in form.expected {
                    let case = format!("{} to {client:?}: {part}\nin {text}\nof {asked}", form.name);
                    assert_eq!(text.matches(part).count(), 2, "{case}");
                }
            }
        }
    }
}

/// A provider gets no form that it refuses, and the client is not left in the dark.
#[test]
fn a_form_that_the_provider_refuses_is_dropped() {
    for form in FORMS.iter().filter(|form| form.name != "Google's compatible endpoint") {
        let asked = request(ApiDialect::Messages, &[answered(form, ApiDialect::Messages)]);
        let forms: &'static [ReasoningOrigin] = &[ReasoningOrigin::CallSignature];
        let options = RequestOptions { reasoning_forms: forms, ..RequestOptions::new("p") };
        let asked = asked.to_string();
        let sent =
            translate(ApiDialect::Messages, ApiDialect::ChatCompletions, asked.as_bytes(), &options).unwrap();
        assert_eq!(sent.dropped, ["reasoning"], "{}", form.name);
        assert!(!String::from_utf8(sent.body.concat()).unwrap().contains("think"), "{}", form.name);
    }
}

/// The seal of a client's own making is no way into the provider's request.
#[test]
fn forged_details_are_dropped() {
    let seal = crate::dialect::reasoning::encode(ReasoningOrigin::ChatDetails, r#"[{}],"model":"other""#);
    let content =
        json!([{"type": "thinking", "thinking": "t", "signature": seal}, {"type": "text", "text": "a"}]);
    let asked = json!({"model": "m", "max_tokens": 9, "messages": [
        {"role": "user", "content": "q"}, {"role": "assistant", "content": content}, {"role": "user", "content": "q"}]});
    let asked = asked.to_string();
    let options = RequestOptions::new("p");
    let sent =
        translate(ApiDialect::Messages, ApiDialect::ChatCompletions, asked.as_bytes(), &options).unwrap();
    assert_eq!(sent.dropped, ["reasoning"]);
    assert!(!String::from_utf8(sent.body.concat()).unwrap().contains("other"));
}
