//! Gemini to chat completions, and to the others where they differ.

use serde_json::{Value, json};

use super::{OPTIONS, Way, request};
use crate::dialect::{
    ApiDialect,
    reasoning::{self, ReasoningOrigin},
    request::{RequestErrorKind, RequestOptions},
};

const WAY: Way = Way { from: ApiDialect::Gemini, to: ApiDialect::ChatCompletions };

fn of(members: Value) -> Value {
    request(ApiDialect::Gemini, members)
}

fn messages(contents: Value) -> Value {
    WAY.body(&of(json!({"contents": contents})))["messages"].clone()
}

#[test]
fn texts_and_pictures_are_parts() {
    let body = WAY.body(&of(json!({
        "systemInstruction": {"role": "user", "parts": [{"text": "s"}, {"text": "t"}]},
        "contents": [
            {"role": "user", "parts": [
                {"text": "a"},
                {"inlineData": {"mimeType": "image/png", "data": "QQ=="}},
                {"inline_data": {"mime_type": "application/pdf", "data": "QQ=="}},
                {"fileData": {"mimeType": "image/png", "fileUri": "https://x.test/a.png"}},
            ]},
            {"role": "model", "parts": [{"text": "b"}]},
            {"parts": [{"text": "c"}]},
        ],
    })));
    assert_eq!(
        body["messages"],
        json!([
            {"role": "system", "content": "s\n\nt"},
            {"role": "user", "content": [
                {"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}},
                {"type": "file", "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,QQ=="}},
                {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
            ]},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ])
    );
    let film = json!([{"parts": [{"inlineData": {"mimeType": "video/mp4", "data": "QQ=="}}]}]);
    assert_eq!(WAY.unsayable(&of(json!({"contents": film}))), "contents[0].parts[0].inlineData");
}

/// So Google's own examples for curl have it.
#[test]
fn an_object_is_a_list_of_one() {
    let lone = WAY.body(&json!({
        "system_instruction": {"parts": {"text": "s"}},
        "contents": {"role": "user", "parts": {"text": "a"}},
        "tools": {"function_declarations": {"name": "f"}},
        "tool_config": {"function_calling_config": {"mode": "none"}},
    }));
    let lists = WAY.body(&json!({
        "systemInstruction": {"parts": [{"text": "s"}]},
        "contents": [{"role": "user", "parts": [{"text": "a"}]}],
        "tools": [{"functionDeclarations": [{"name": "f"}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "NONE"}},
    }));
    assert_eq!(lone, lists);
    assert_eq!(lone["tool_choice"], "none");
    assert_eq!(WAY.invalid(&json!({"contents": "a"})), "contents");
}

#[test]
fn an_address_without_a_type_is_judged_by_its_name() {
    let of_address = |uri: &str| of(json!({"contents": [{"parts": [{"fileData": {"fileUri": uri}}]}]}));
    let messages = Way { from: ApiDialect::Gemini, to: ApiDialect::Messages };
    let kind = |uri: &str| messages.body(&of_address(uri))["messages"][0]["content"][0]["type"].clone();
    assert_eq!(kind("https://x.test/a.png?b=c.pdf"), "image");
    assert_eq!(kind("https://x.test/a.pdf"), "document");
    let film = of_address("https://www.youtube.com/watch?v=1");
    assert_eq!(messages.unsayable(&film), "contents[0].parts[0].fileData.fileUri");
}

#[test]
fn a_form_that_may_be_null_has_null_among_its_words() {
    let schema = json!({"type": "OBJECT", "properties": {
        "a": {"type": "STRING", "nullable": true, "enum": ["x"]},
        "n": {"type": "ARRAY", "minItems": "2", "items": {"type": "STRING"}},
    }});
    let body = of(json!({"generationConfig": {"responseSchema": schema}}));
    let a = json!({"type": ["string", "null"], "enum": ["x", null]});
    let chat = WAY.body(&body);
    assert_eq!(chat["response_format"]["json_schema"]["schema"]["properties"]["a"], a);
    // Anthropic takes closed forms alone.
    let (messages, translated) = Way { from: ApiDialect::Gemini, to: ApiDialect::Messages }.whole(&body);
    let list = json!({"type": "array", "items": {"type": "string"}, "description": "{minItems: 2}"});
    assert_eq!(
        messages["output_config"]["format"]["schema"],
        json!({"type": "object", "properties": {"a": a, "n": list}, "additionalProperties": false})
    );
    assert_eq!(translated.dropped, ["schema:minItems"]);
    let word =
        json!({"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["a"]}});
    assert_eq!(WAY.unsayable(&of(json!({"generationConfig": word}))), "generationConfig.responseMimeType");
}

#[test]
fn calls_without_ids_are_paired_in_order() {
    let call = |n: u32| json!({"functionCall": {"name": "get", "args": {"n": n}}});
    let response =
        |name: &str, out: &str| json!({"functionResponse": {"name": name, "response": {"output": out}}});
    let got = messages(json!([
        {"role": "user", "parts": [{"text": "q"}]},
        {"role": "model", "parts": [call(1), {"functionCall": {"name": "other"}}, call(2)]},
        {"role": "user", "parts": [response("get", "one"), response("get", "two"), response("other", "three")]},
    ]));
    let ids: Vec<_> =
        got[1]["tool_calls"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["call_1", "call_2", "call_3"]);
    let results: Vec<_> = (2..5).map(|at| (&got[at]["tool_call_id"], &got[at]["content"])).collect();
    let expected = [
        (&json!("call_1"), &json!("one")),
        (&json!("call_3"), &json!("two")),
        (&json!("call_2"), &json!("three")),
    ];
    assert_eq!(results, expected);
}

/// gemini-cli gives results ids of its own making where the calls have none.
#[test]
fn results_with_ids_that_no_call_has_are_paired_in_order() {
    let call = |name: &str| json!({"functionCall": {"name": name, "args": {}}});
    let result = |id: &str, out: &str| json!({"functionResponse": {"id": id, "name": "get", "response": {"output": out}}});
    let told = messages(json!([
        {"role": "user", "parts": [{"text": "q"}]},
        {"role": "model", "parts": [call("get"), call("get")]},
        {"role": "user", "parts": [result("get-17-a1", "one"), result("get-17-b2", "two")]},
    ]));
    let ids: Vec<&Value> = (0..2).map(|at| &told[1]["tool_calls"][at]["id"]).collect();
    assert_eq!([&told[2]["tool_call_id"], &told[3]["tool_call_id"]], [ids[0], ids[1]], "{told}");
}

#[test]
fn calls_with_ids_keep_them() {
    let got = messages(json!([
        {"role": "user", "parts": [{"text": "q"}]},
        {"role": "model", "parts": [
            {"functionCall": {"id": "x", "name": "get", "args": {}}},
            {"functionCall": {"id": "y", "name": "get", "args": {}}},
        ]},
        {"role": "user", "parts": [
            {"functionResponse": {"id": "y", "name": "get", "response": {"error": "no"}}},
            {"functionResponse": {"id": "x", "name": "get", "response": {"a": 1, "b": 2}}},
        ]},
    ]));
    assert_eq!(got[2], json!({"role": "tool", "tool_call_id": "y", "content": "[tool error]\nno"}));
    assert_eq!(got[3], json!({"role": "tool", "tool_call_id": "x", "content": "{\"a\":1,\"b\":2}"}));
    let alone = json!([{"parts": [{"functionResponse": {"name": "get", "response": {}}}]}]);
    assert_eq!(WAY.invalid(&of(json!({"contents": alone}))), "contents[0].parts[0].functionResponse");
}

#[test]
fn schemas_become_plain_ones() {
    let parameters = json!({
        "type": "OBJECT",
        "properties": {
            "type": {"type": "STRING", "nullable": true, "enum": ["A"]},
            "list": {"type": "ARRAY", "minItems": "1", "items": {"type": "INTEGER"}},
            "either": {"anyOf": [{"type": "NUMBER"}, {"type": "BOOLEAN"}]},
        },
        "propertyOrdering": ["list"], "required": ["list"],
    });
    let plain = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let body = WAY.body(&of(json!({"tools": [{"functionDeclarations": [
        {"name": "a", "description": "d", "parameters": parameters},
        {"name": "b", "parametersJsonSchema": plain},
        {"name": "c"},
    ]}]})));
    assert_eq!(
        body["tools"][0]["function"]["parameters"],
        json!({
            "type": "object",
            "properties": {
                "type": {"type": ["string", "null"], "enum": ["A", null]},
                "list": {"type": "array", "minItems": 1, "items": {"type": "integer"}},
                "either": {"anyOf": [{"type": "number"}, {"type": "boolean"}]},
            },
            "required": ["list"],
        })
    );
    assert_eq!(body["tools"][1]["function"]["parameters"], plain);
    assert_eq!(body["tools"][2], json!({"type": "function", "function": {"name": "c"}}));
}

#[test]
fn modes_of_calling_are_choices() {
    let tools = json!([{"functionDeclarations": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}]);
    let body = |mode: &str, names: Value| {
        let config = json!({"functionCallingConfig": {"mode": mode, "allowedFunctionNames": names}});
        WAY.body(&of(json!({"tools": tools, "toolConfig": config})))
    };
    assert_eq!(body("AUTO", Value::Null)["tool_choice"], Value::Null);
    assert_eq!(body("NONE", Value::Null)["tool_choice"], "none");
    assert_eq!(body("ANY", Value::Null)["tool_choice"], "required");
    assert_eq!(body("ANY", json!(["b"]))["tool_choice"]["function"]["name"], "b");
    let some = body("ANY", json!(["a", "b"]));
    assert_eq!((some["tools"].as_array().unwrap().len(), &some["tool_choice"]), (2, &json!("required")));
    let search = json!({"tools": [{"googleSearch": {}}]});
    assert_eq!(WAY.unsayable(&of(search)), "tools[0]");
}

#[test]
fn settings_have_their_names() {
    let members = json!({"generationConfig": {
        "temperature": 1, "topP": 0.95, "topK": 64, "maxOutputTokens": 9, "stopSequences": ["x"], "seed": 3,
        "thinkingConfig": {"includeThoughts": true, "thinkingBudget": 8192},
        "responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"}, "candidateCount": 1,
        "speechConfig": {},
    }, "safetySettings": [{"category": "x"}]});
    let streaming = RequestOptions { streams: true, ..OPTIONS };
    let translated = WAY.try_with(&of(members), &streaming).unwrap();
    let body: Value = serde_json::from_slice(&translated.body.concat()).unwrap();
    let expected = json!({
        "temperature": 1, "top_p": 0.95, "max_tokens": 9, "stop": ["x"], "seed": 3, "reasoning_effort": "medium",
        "stream": true, "stream_options": {"include_usage": true},
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}},
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&body[name], value, "{name}");
    }
    assert_eq!(
        translated.dropped,
        ["safetySettings", "generationConfig.speechConfig", "generationConfig.topK"]
    );
    let two = json!({"generationConfig": {"candidateCount": 2}});
    assert_eq!(WAY.unsayable(&of(two)), "generationConfig.candidateCount");
    assert_eq!(WAY.unsayable(&of(json!({"cachedContent": "c"}))), "cachedContent");
}

#[test]
fn thoughts_are_given_back_by_their_signature() {
    let signature = reasoning::encode(ReasoningOrigin::ChatReasoningContent, "hm");
    let contents = json!([
        {"role": "user", "parts": [{"text": "q"}]},
        {"role": "model", "parts": [
            {"thought": true, "text": "summary"},
            {"functionCall": {"name": "a", "args": {}}, "thoughtSignature": signature},
            {"functionCall": {"name": "a", "args": {}}, "thoughtSignature": "Zm9yZWlnbg=="},
        ]},
    ]);
    let (body, translated) = WAY.whole(&of(json!({"contents": contents})));
    assert_eq!(body["messages"][1]["reasoning_content"], "hm");
    assert_eq!(body["messages"][1]["tool_calls"].as_array().unwrap().len(), 2);
    assert_eq!(translated.dropped, ["contents.parts.thoughtSignature"]);
    // Anthropic's signature goes with the thought before it.
    let contents = json!([
        {"role": "user", "parts": [{"text": "q"}]},
        {"role": "model", "parts": [
            {"thought": true, "text": "h"},
            {"thought": true, "text": "m"},
            {"text": "a", "thoughtSignature": reasoning::encode(ReasoningOrigin::Thinking, "sig")},
        ]},
    ]);
    let body = Way { from: ApiDialect::Gemini, to: ApiDialect::Messages }
        .body(&of(json!({"contents": contents, "generationConfig": {}})));
    assert_eq!(
        body["messages"][1]["content"],
        json!([
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "text", "text": "a"},
        ])
    );
}

#[test]
fn the_others_are_reached_too() {
    let members = json!({
        "systemInstruction": {"parts": [{"text": "s"}]},
        "generationConfig": {"maxOutputTokens": 40, "topK": 4},
        "tools": [{"functionDeclarations": [{"name": "a", "parameters": {"type": "OBJECT"}}]}],
        "contents": [
            {"role": "user", "parts": [{"text": "q"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "a", "args": {"x": 1}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "a", "response": {"output": "r"}}}]},
        ],
    });
    let body = Way { from: ApiDialect::Gemini, to: ApiDialect::Messages }.body(&of(members.clone()));
    assert_eq!(body["system"], "s");
    assert_eq!(body["top_k"], 4);
    assert_eq!(body["tools"][0]["input_schema"], json!({"type": "object"}));
    assert_eq!(body["messages"][1]["content"][0]["input"], json!({"x": 1}));
    assert_eq!(body["messages"][2]["content"][0]["tool_use_id"], "call_1");
    let body = Way { from: ApiDialect::Gemini, to: ApiDialect::Responses }.body(&of(members));
    assert_eq!(body["instructions"], "s");
    assert_eq!(body["max_output_tokens"], 40);
    assert_eq!(body["input"][2], json!({"type": "function_call_output", "call_id": "call_1", "output": "r"}));
}

#[test]
fn a_call_in_a_users_content_is_the_models() {
    let way = Way { from: ApiDialect::Gemini, to: ApiDialect::Messages };
    let body = way.body(&of(json!({"contents": [
        {"parts": [{"functionCall": {"id": "c", "name": "f", "args": {}}}]},
        {"parts": [{"functionResponse": {"id": "c", "name": "f", "response": {"output": "o"}}}]},
    ]})));
    let roles: Vec<_> = body["messages"].as_array().unwrap().iter().map(|turn| &turn["role"]).collect();
    assert_eq!(roles, ["assistant", "user"]);
    assert_eq!(body["messages"][0]["content"][0]["type"], "tool_use");
}

/// A media type with other bytes would end up in a data URL that no reader understands.
#[test]
fn a_media_type_is_checked() {
    let part = |mime: &str| {
        of(json!({"contents": [{"parts": [{"inlineData": {"mimeType": mime, "data": "QQ=="}}]}]}))
    };
    for mime in
        ["", "image", "image/", ",mage/png", "image/png,x", "image/png;a,b", "image/p\u{e9}g", "a/b/c"]
    {
        let error = WAY.refusal(&part(mime), RequestErrorKind::Invalid);
        assert_eq!(error.param.as_deref(), Some("contents[0].parts[0].inlineData.mimeType"), "{mime}");
    }
    for mime in ["image/png", "image/svg+xml", "image/png;name=x"] {
        WAY.body(&part(mime));
    }
}
