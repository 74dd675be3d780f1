//! Messages to responses and back.

use serde_json::{Value, json};

use super::{Way, request};
use crate::dialect::{
    ApiDialect,
    reasoning::{self, ReasoningOrigin, item_payload},
};

const THERE: Way = Way { from: ApiDialect::Messages, to: ApiDialect::Responses };
const BACK: Way = Way { from: ApiDialect::Responses, to: ApiDialect::Messages };

#[test]
fn a_conversation_becomes_items() {
    let signature = reasoning::encode(ReasoningOrigin::ReasoningItem, &item_payload("rs_1", "gAAAA"));
    let image =
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QQ=="}});
    let members = json!({
        "system": [{"type": "text", "text": "s"}],
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": signature},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_1", "name": "a", "input": {"x": 1}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": true,
                 "content": [{"type": "text", "text": "no"}, image]},
                {"type": "text", "text": "go on"},
            ]},
        ],
        "thinking": {"type": "adaptive"}, "stream": true,
    });
    let body = THERE.body(&request(ApiDialect::Messages, members));
    assert_eq!(body["instructions"], "s");
    let items = &body["input"];
    let summary = json!([{"type": "summary_text", "text": "hm"}]);
    let reasoning =
        json!({"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "gAAAA"});
    assert_eq!(items[1], reasoning);
    assert_eq!(items[2]["content"], "I look.");
    assert_eq!(
        items[3],
        json!({"type": "function_call", "call_id": "toolu_1", "name": "a", "arguments": "{\"x\":1}"})
    );
    assert_eq!(
        items[4]["output"],
        json!([
            {"type": "input_text", "text": "[tool error]"},
            {"type": "input_text", "text": "no"},
            {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,QQ=="},
        ])
    );
    assert_eq!(items[5]["content"][0]["text"], "go on");
    assert_eq!(body["reasoning"], json!({"summary": "auto"}));
    assert_eq!(body["include"], json!(["reasoning.encrypted_content"]));
    let stopped = request(ApiDialect::Messages, json!({"stop_sequences": ["x"]}));
    assert_eq!(THERE.unsayable(&stopped), "stop_sequences");
}

#[test]
fn items_become_turns() {
    let signature = reasoning::encode(ReasoningOrigin::Thinking, "sig");
    let hidden = reasoning::encode(ReasoningOrigin::RedactedThinking, "data");
    let members = json!({
        "instructions": "i",
        "tools": [
            {"type": "custom", "name": "p", "description": "d"},
            {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f", "parameters": {}}]},
        ],
        "input": [
            {"role": "developer", "content": "d"},
            {"role": "user", "content": "q"},
            {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "hm"}],
             "encrypted_content": signature},
            {"type": "reasoning", "id": "r2", "summary": [], "encrypted_content": hidden},
            {"type": "custom_tool_call", "call_id": "c", "name": "p", "input": "raw"},
            {"type": "function_call", "call_id": "d", "namespace": "n", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "d", "output": "r"},
            {"type": "custom_tool_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "t"}]},
        ],
        "reasoning": {"effort": "minimal"},
    });
    let (body, translated) = BACK.whole(&request(ApiDialect::Responses, members));
    assert_eq!(body["system"], json!([{"type": "text", "text": "i"}, {"type": "text", "text": "d"}]));
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [{"type": "text", "text": "q"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig"},
                {"type": "redacted_thinking", "data": "data"},
                {"type": "tool_use", "id": "c", "name": "p", "input": {"input": "raw"}},
                {"type": "tool_use", "id": "d", "name": "n__f", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "d", "content": "r"},
                {"type": "tool_result", "tool_use_id": "c", "content": "t"},
            ]},
        ])
    );
    assert_eq!(body["tools"][1]["input_schema"], json!({"type": "object", "properties": {}}));
    assert_eq!(body["output_config"], json!({"effort": "low"}));
    assert_eq!(translated.context.tools.len(), 2);
    let signed = request(
        ApiDialect::Responses,
        json!({"input": [
            {"role": "user", "content": "q"},
            {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "gAAAA"},
            {"role": "assistant", "content": "a  "},
        ]}),
    );
    let (body, translated) = BACK.whole(&signed);
    assert_eq!(body["messages"][1]["content"], json!([{"type": "text", "text": "a"}]));
    assert_eq!(translated.dropped, ["reasoning"]);
    assert_eq!(Value::Null, body["thinking"]);
}
