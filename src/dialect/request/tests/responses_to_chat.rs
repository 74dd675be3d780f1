//! Responses to chat completions.

use serde_json::{Value, json};

use super::{Way, request};
use crate::dialect::{
    ApiDialect,
    context::{ToolKind, ToolName},
    reasoning::{self, ReasoningOrigin},
};

const WAY: Way = Way { from: ApiDialect::Responses, to: ApiDialect::ChatCompletions };

fn of(members: Value) -> Value {
    request(ApiDialect::Responses, members)
}

fn messages(input: Value) -> Value {
    WAY.body(&of(json!({"input": input})))["messages"].clone()
}

fn said(role: &str, text: &str) -> Value {
    let kind = if role == "assistant" { "output_text" } else { "input_text" };
    json!({"type": "message", "role": role, "content": [{"type": kind, "text": text}]})
}

#[test]
fn instructions_and_developers_come_first() {
    let body = WAY.body(&of(json!({
        "instructions": "i",
        "input": [said("developer", "d"), said("user", "env"), {"role": "user", "content": "q"}],
    })));
    assert_eq!(
        body["messages"],
        json!([
            {"role": "system", "content": "i"},
            {"role": "system", "content": "d"},
            {"role": "user", "content": "env"},
            {"role": "user", "content": "q"},
        ])
    );
    assert_eq!(messages(json!("plain")), json!([{"role": "user", "content": "plain"}]));
}

#[test]
fn an_answer_is_one_message_and_its_outputs_follow() {
    let got = messages(json!([
        said("user", "q"),
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"},
        said("assistant", "I look."),
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "a", "arguments": "{\"x\":1}"},
        {"type": "function_call", "call_id": "c2", "name": "b", "arguments": ""},
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {"type": "function_call_output", "call_id": "c2", "output": [
            {"type": "input_text", "text": "two"},
            {"type": "input_image", "image_url": "data:image/png;base64,QQ==", "detail": "high"},
        ]},
    ]));
    let call = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    assert_eq!(
        got,
        json!([
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "I look.", "tool_calls": [call("c1", "a", "{\"x\":1}"), call("c2", "b", "{}")]},
            {"role": "tool", "tool_call_id": "c1", "content": "one"},
            {"role": "tool", "tool_call_id": "c2", "content": "two"},
            {"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ==", "detail": "high"}},
            ]},
        ])
    );
}

#[test]
fn own_reasoning_is_given_back() {
    let signature = reasoning::encode(ReasoningOrigin::ChatReasoningContent, "");
    let got = messages(json!([
        said("user", "q"),
        {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "hm"}],
         "encrypted_content": signature},
        {"type": "function_call", "call_id": "c", "name": "a", "arguments": "{}"},
    ]));
    assert_eq!(got[1]["reasoning_content"], "hm");
    let signature = reasoning::encode(ReasoningOrigin::ChatReasoning, "carried");
    let got = messages(json!([
        said("user", "q"),
        {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": signature},
        said("assistant", "x"),
    ]));
    assert_eq!(got[1], json!({"role": "assistant", "content": "x", "reasoning": "carried"}));
}

#[test]
fn custom_tools_take_one_string() {
    let tool = json!({"type": "custom", "name": "apply_patch", "description": "Edits.",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: \"x\""}});
    let (body, translated) = WAY.whole(&of(json!({"tools": [tool], "input": [
        said("user", "q"),
        {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "*** \"Begin\"\n"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "done"},
    ]})));
    let function = &body["tools"][0]["function"];
    assert_eq!(function["parameters"]["required"], json!(["input"]));
    let description = function["description"].as_str().unwrap();
    assert!(description.starts_with("Edits.") && description.contains("start: \"x\""), "{description}");
    let arguments = body["messages"][1]["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(arguments).unwrap(), json!({"input": "*** \"Begin\"\n"}));
    assert_eq!(body["messages"][2], json!({"role": "tool", "tool_call_id": "c", "content": "done"}));
    let (sent, name) = ("apply_patch".to_owned(), "apply_patch".to_owned());
    assert_eq!(translated.context.tools, [ToolName { sent, name, namespace: None, kind: ToolKind::Custom }]);
}

#[test]
fn namespaces_are_flattened_and_kept_for_the_answer() {
    let function = |name: &str| json!({"type": "function", "name": name, "parameters": {"type": "object"}});
    let (body, translated) = WAY.whole(&of(json!({
        "tools": [
            function("look"),
            {"type": "namespace", "name": "mcp__x", "tools": [function("look")]},
            {"type": "namespace", "name": "mcp__y__", "tools": [function("look"), function(&"l".repeat(80))]},
        ],
        "tool_choice": {"type": "function", "name": "look", "namespace": "mcp__x"},
        "input": [
            said("user", "q"),
            {"type": "function_call", "call_id": "c", "name": "look", "namespace": "mcp__x", "arguments": "{}"},
            {"type": "function_call", "call_id": "d", "name": "look", "arguments": "{}"},
        ],
    })));
    let names: Vec<_> =
        body["tools"].as_array().unwrap().iter().map(|t| t["function"]["name"].as_str().unwrap()).collect();
    assert_eq!(names[..3], ["look", "mcp__x__look", "mcp__y__look"]);
    assert_eq!(names[3].len(), 64);
    assert_eq!(body["tool_choice"]["function"]["name"], "mcp__x__look");
    assert_eq!(body["messages"][1]["tool_calls"][0]["function"]["name"], "mcp__x__look");
    assert_eq!(body["messages"][1]["tool_calls"][1]["function"]["name"], "look");
    assert_eq!(translated.context.tools.len(), 3);
    let first = &translated.context.tools[0];
    let expected = ("mcp__x__look", "look", Some("mcp__x"));
    assert_eq!((first.sent.as_str(), first.name.as_str(), first.namespace.as_deref()), expected);
}

/// Each tool of a namespace has its name, and each is compared with those before it.
#[test]
fn names_of_namespaces_and_lists_of_tools_are_bounded() {
    let of = |name: &str, count: usize| {
        let tools: Vec<_> =
            (0..count).map(|index| json!({"type": "function", "name": format!("f{index}")})).collect();
        json!({"model": "m", "input": "hi", "tools": [{"type": "namespace", "name": name, "tools": tools}]})
    };
    assert_eq!(WAY.invalid(&of(&"n".repeat(257), 1)), "tools[0].name");
    assert_eq!(WAY.invalid(&of("n", 4097)), "tools[0].tools[4096]");
    WAY.body(&of(&"n".repeat(256), 4096));
}

#[test]
fn the_local_shell_is_a_function() {
    let action = json!({"type": "exec", "command": ["ls"], "env": {}});
    let (body, translated) = WAY.whole(&of(json!({"tools": [{"type": "local_shell"}], "input": [
        said("user", "q"),
        {"type": "local_shell_call", "call_id": "c", "action": action, "status": "completed"},
        {"type": "local_shell_call_output", "id": "c", "output": "files"},
    ]})));
    assert_eq!(translated.context.tools[0].kind, ToolKind::LocalShell);
    let call = &body["messages"][1]["tool_calls"][0]["function"];
    assert_eq!(call["name"], "local_shell");
    assert_eq!(serde_json::from_str::<Value>(call["arguments"].as_str().unwrap()).unwrap(), action);
    assert_eq!(body["messages"][2]["content"], "files");
}

#[test]
fn hosted_tools_are_dropped_or_refused() {
    let function = json!({"type": "function", "name": "a", "parameters": null});
    let (body, translated) = WAY.whole(&of(json!({"tools": [function, {"type": "web_search"}]})));
    assert_eq!(body["tools"], json!([{"type": "function", "function": {"name": "a"}}]));
    assert_eq!(translated.dropped, ["tools:web_search"]);
    assert_eq!(WAY.unsayable(&of(json!({"tools": [{"type": "web_search"}]}))), "tools[0]");
    let forced = json!({"tools": [function], "tool_choice": {"type": "web_search"}});
    assert_eq!(WAY.unsayable(&of(forced)), "tool_choice.type");
}

#[test]
fn memory_is_refused() {
    for (name, value) in [
        ("previous_response_id", json!("resp_1")),
        ("conversation", json!({"id": "c"})),
        ("prompt", json!({"id": "p"})),
        ("background", json!(true)),
    ] {
        assert_eq!(WAY.unsayable(&of(json!({name: value}))), name);
    }
    let cases = [
        json!({"type": "item_reference", "id": "x"}),
        json!({"type": "compaction", "encrypted_content": "x"}),
        json!({"type": "compaction_trigger"}),
        json!({"type": "hologram"}),
    ];
    for item in cases {
        assert_eq!(WAY.unsayable(&of(json!({"input": [said("user", "q"), item]}))), "input[1]");
    }
    let image = json!({"role": "user", "content": [{"type": "input_image", "file_id": "f"}]});
    assert_eq!(WAY.unsayable(&of(json!({"input": [image]}))), "input[0].content[0].file_id");
}

#[test]
fn settings_have_their_names() {
    let schema = json!({"type": "object", "properties": {}, "additionalProperties": false});
    let (body, translated) = WAY.whole(&of(json!({
        "reasoning": {"effort": "xhigh", "summary": "auto"}, "max_output_tokens": 50, "parallel_tool_calls": true,
        "tools": [{"type": "function", "name": "a", "parameters": schema, "strict": false}],
        "tool_choice": "required", "prompt_cache_key": "k", "temperature": 1.5, "top_p": 1, "user": "u",
        "text": {"verbosity": "low",
                 "format": {"type": "json_schema", "name": "n", "schema": schema, "strict": true}},
        "include": ["reasoning.encrypted_content"], "store": false, "stream": true,
        "metadata": {"a": "b"}, "client_metadata": {"x": "y"}, "truncation": "auto", "max_tool_calls": 3,
    })));
    let expected = json!({
        "reasoning_effort": "xhigh", "max_tokens": 50, "parallel_tool_calls": true, "tool_choice": "required",
        "prompt_cache_key": "k", "temperature": 1.5, "top_p": 1, "user": "u", "verbosity": "low", "stream": true,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": true}},
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&body[name], value, "{name}");
    }
    assert_eq!(body["tools"][0]["function"]["strict"], false);
    assert_eq!(body["tools"][0]["function"]["parameters"], schema);
    assert_eq!(translated.dropped, ["truncation", "max_tool_calls", "client_metadata"]);
    assert!(translated.context.wants_encrypted_reasoning);
    // Codex compacts by it where the provider counts nothing.
    assert!(translated.context.estimated_input_tokens > 0);
    let echo = |name: &str| {
        let member = translated.context.echo.iter().find(|(known, _)| *known == name);
        member.map(|(_, text)| serde_json::from_str::<Value>(text).unwrap())
    };
    assert_eq!(echo("metadata"), Some(json!({"a": "b"})));
    assert_eq!(echo("tool_choice"), Some(json!("required")));
    assert_eq!(echo("instructions"), None);
}

#[test]
fn encrypted_reasoning_is_wanted_where_the_client_keeps_the_answer() {
    for (members, is_wanted) in [
        (json!({}), false),
        (json!({"store": true}), false),
        (json!({"store": false}), true),
        (json!({"store": true, "include": ["reasoning.encrypted_content"]}), true),
    ] {
        let (_, translated) = WAY.whole(&of(members.clone()));
        assert_eq!(translated.context.wants_encrypted_reasoning, is_wanted, "{members}");
    }
}

#[test]
fn allowed_tools_are_the_only_ones() {
    let function = |name: &str| json!({"type": "function", "name": name});
    let choice = json!({"type": "allowed_tools", "mode": "required", "tools": [function("b")]});
    let body = WAY.body(&of(json!({"tools": [function("a"), function("b")], "tool_choice": choice})));
    assert_eq!(body["tools"].as_array().unwrap().len(), 1);
    assert_eq!(body["tools"][0]["function"]["name"], "b");
    assert_eq!(body["tool_choice"], "required");
}

#[test]
fn files_and_pictures_are_parts() {
    let got = messages(json!([{"role": "user", "content": [
        {"type": "input_text", "text": "a"},
        {"type": "input_image", "image_url": "https://x.test/a.png"},
        {"type": "input_file", "filename": "f.pdf", "file_data": "data:application/pdf;base64,QQ=="},
        {"type": "input_file", "filename": "f.txt", "file_data": "data:text/plain;base64,aGk="},
    ]}]));
    assert_eq!(
        got[0]["content"],
        json!([
            {"type": "text", "text": "a"},
            {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
            {"type": "file", "file": {"filename": "f.pdf", "file_data": "data:application/pdf;base64,QQ=="}},
            {"type": "text", "text": "f.txt:\nhi"},
        ])
    );
    let file =
        json!({"role": "user", "content": [{"type": "input_file", "file_url": "https://x.test/f.pdf"}]});
    assert_eq!(WAY.unsayable(&of(json!({"input": [file]}))), "input[0].content[0].file_url");
}

#[test]
fn wrong_items_are_named() {
    let cases = [
        (json!(1), "input"),
        (json!([1]), "input[0]"),
        (json!([{"role": "bot", "content": "x"}]), "input[0].role"),
        (json!([{"type": "function_call", "name": "a", "arguments": "{}"}]), "input[0].call_id"),
        (json!([{"type": "function_call_output", "call_id": "c"}]), "input[0].output"),
        (json!([{"role": "user", "content": [{"type": "input_image"}]}]), "input[0].content[0].image_url"),
        (
            json!([{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]),
            "input[0].content[0].image_url",
        ),
    ];
    for (input, path) in cases {
        assert_eq!(WAY.invalid(&of(json!({"input": input}))), path);
    }
    assert_eq!(WAY.invalid(&of(json!({"temperature": "hot"}))), "temperature");
    assert_eq!(WAY.invalid(&json!({"model": "m"})), "input");
}
