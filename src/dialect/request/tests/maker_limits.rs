//! Requests that are right in the client's dialect, and that the maker of the other refuses as they stand.

use serde_json::{Value, json};

use super::{OPTIONS, Way, request};
use crate::dialect::{
    ApiDialect::{self, ChatCompletions, Gemini, Messages, Responses},
    reasoning::{self, ReasoningOrigin},
    request::{EffortForm, RequestOptions},
};

fn sent(from: ApiDialect, to: ApiDialect, members: Value) -> (Value, Vec<String>) {
    let (body, translated) = Way { from, to }.whole(&request(from, members));
    (body, translated.dropped)
}

fn of_format(from: ApiDialect, schema: &Value) -> Value {
    match from {
        ChatCompletions => {
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}})
        }
        Messages => {
            json!({"max_tokens": 99, "output_config": {"format": {"type": "json_schema", "schema": schema}}})
        }
        Responses => json!({"text": {"format": {"type": "json_schema", "name": "a", "schema": schema}}}),
        Gemini => json!({"generationConfig": {"responseSchema": schema}}),
    }
}

/// OpenAI refuses an array that does not say its items, wherever it stands in a schema; all other schemas
/// stay as they are.
#[test]
fn an_array_of_anything_says_so_to_openai() {
    let tools = |schema: &Value| json!({"max_tokens": 9, "tools": [{"name": "f", "input_schema": schema}]});
    let whole = json!({"type": "object", "properties": {
        "type": {"type": "string", "enum": ["array"], "default": {"type": "array"}},
        "a": {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
    }});
    let lacking = |list: Value| json!({"type": "object", "properties": {"l": list, "a": {"type": "array", "items": {"type": "integer"}}}});
    let list = json!({"type": "array", "description": "d"});
    let said = json!({"type": "array", "description": "d", "items": {}});
    let nested = |list: &Value| json!({"anyOf": [{"type": "object", "properties": {"items": list}}, {"type": "null"}]});
    for (schema, expected) in [
        (whole.clone(), whole),
        (lacking(list.clone()), lacking(said.clone())),
        (
            lacking(json!({"type": ["array", "null"]})),
            lacking(json!({"type": ["array", "null"], "items": {}})),
        ),
        (lacking(nested(&list)), lacking(nested(&said))),
        (
            json!({"type": "object", "$defs": {"l": list}}),
            json!({"type": "object", "$defs": {"l": said}, "properties": {}}),
        ),
    ] {
        let (body, dropped) = sent(Messages, ChatCompletions, tools(&schema));
        assert_eq!((&body["tools"][0]["function"]["parameters"], dropped), (&expected, vec![]), "{schema}");
        let (body, _) = sent(Messages, Responses, tools(&schema));
        assert_eq!(body["tools"][0]["parameters"], expected, "{schema}");
    }
}

/// google-genai for Python writes bytes in base64's URL-safe alphabet, and Protobuf's JSON may lack padding.
#[test]
fn bytes_of_gemini_become_standard_base64() {
    for (data, expected) in
        [("-_8=", "+/8="), ("-_8", "+/8="), ("_w", "/w=="), ("QUJD", "QUJD"), ("QQ==\n", "QQ==\n")]
    {
        let part =
            |mime: &str| json!({"contents": [{"parts": [{"inlineData": {"mimeType": mime, "data": data}}]}]});
        let (body, _) = sent(Gemini, ChatCompletions, part("image/png"));
        let url = &body["messages"][0]["content"][0]["image_url"]["url"];
        assert_eq!(url.as_str().unwrap(), format!("data:image/png;base64,{expected}"));
        let (body, _) = sent(Gemini, Messages, part("image/png"));
        assert_eq!(body["messages"][0]["content"][0]["source"]["data"], expected);
        let (body, _) = sent(Gemini, ChatCompletions, part("audio/wav"));
        assert_eq!(body["messages"][0]["content"][0]["input_audio"]["data"], expected);
    }
}

/// google-genai for Python writes the names of its members.
#[test]
fn a_form_of_gemini_is_read_in_both_spellings() {
    let form = |camel: bool| {
        let name = |camel_name: &str, snake: &str| (if camel { camel_name } else { snake }).to_owned();
        let any_of = name("anyOf", "any_of");
        json!({
            "type": "OBJECT",
            "properties": {
                "any_of": {any_of.clone(): [{"type": "STRING"}, {"type": "INTEGER"}], "title": "U"},
                "l": {"type": "ARRAY", name("minItems", "min_items"): 1, name("maxItems", "max_items"): "3",
                      "items": {"type": "STRING", name("minLength", "min_length"): 1,
                                name("maxLength", "max_length"): 9}},
                "o": {"type": "OBJECT", name("additionalProperties", "additional_properties"): {"type": "STRING"},
                      name("minProperties", "min_properties"): 1, name("maxProperties", "max_properties"): 2},
                "n": {"nullable": true, any_of: [{"type": "STRING"}, {"type": "INTEGER"}]},
            },
            name("propertyOrdering", "property_ordering"): ["any_of", "l", "o", "n"],
        })
    };
    let plain = json!({
        "type": "object",
        "properties": {
            "any_of": {"anyOf": [{"type": "string"}, {"type": "integer"}], "title": "U"},
            "l": {"type": "array", "minItems": 1, "maxItems": 3,
                  "items": {"type": "string", "minLength": 1, "maxLength": 9}},
            "o": {"type": "object", "additionalProperties": {"type": "string"},
                  "minProperties": 1, "maxProperties": 2},
            "n": {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
        },
    });
    for camel in [true, false] {
        let (body, _) = sent(Gemini, ChatCompletions, of_format(Gemini, &form(camel)));
        assert_eq!(body["response_format"]["json_schema"]["schema"], plain, "{camel}");
        let tools = json!({"tools": [{"functionDeclarations": [{"name": "f", "parameters": form(camel)}]}]});
        let (body, _) = sent(Gemini, Messages, tools);
        assert_eq!(body["tools"][0]["input_schema"], plain, "{camel}");
    }
    // The objects of a union are closed, too.
    let union = json!({"type": "OBJECT", "properties": {
        "u": {"any_of": [{"type": "OBJECT", "properties": {}}, {"type": "NULL"}], "nullable": true},
    }});
    let (body, _) = sent(Gemini, Messages, of_format(Gemini, &union));
    let closed =
        json!([{"type": "object", "properties": {}, "additionalProperties": false}, {"type": "null"}]);
    assert_eq!(body["output_config"]["format"]["schema"]["properties"]["u"], json!({"anyOf": closed}));
}

const BUDGET: RequestOptions<'static> = RequestOptions { effort: EffortForm::Structured, ..OPTIONS };

/// Whether the model may think, the members that were dropped, and the types of the second message's blocks.
fn thought(from: ApiDialect, members: Value) -> (bool, Vec<String>, Vec<String>) {
    let request = request(from, members);
    let translated = Way { from, to: Messages }.try_with(&request, &BUDGET).unwrap();
    let body: Value = serde_json::from_slice(&translated.body.concat()).unwrap();
    let blocks = body["messages"][1]["content"].as_array().unwrap().iter();
    let types = blocks.map(|block| block["type"].as_str().unwrap().to_owned()).collect();
    (body.get("thinking").is_some(), translated.dropped, types)
}

#[test]
fn a_thought_goes_before_the_text_that_its_call_follows() {
    let seal = reasoning::encode(ReasoningOrigin::Thinking, "sig");
    let talk = |parts: Value| {
        json!({
            "generationConfig": {"maxOutputTokens": 9000, "thinkingConfig": {"thinkingBudget": 4000}},
            "contents": [
                {"role": "user", "parts": [{"text": "q"}]},
                {"role": "model", "parts": parts},
                {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": "r"}}}]},
            ],
        })
    };
    let call = json!({"functionCall": {"name": "f", "args": {}}, "thoughtSignature": seal});
    let (text, other) = (json!({"text": "Let me"}), json!({"text": " look."}));
    let own = json!({"text": "hm", "thought": true});
    let texts = ["thinking", "text", "text", "tool_use"];
    for parts in [json!([text, other, call]), json!([own, text, other, call])] {
        assert_eq!(thought(Gemini, talk(parts)), (true, vec![], texts.map(str::to_owned).to_vec()));
    }
    let body = Way { from: Gemini, to: Messages }.body(&request(Gemini, talk(json!([own, text, call]))));
    let block = json!({"type": "thinking", "thinking": "hm", "signature": "sig"});
    assert_eq!(body["messages"][1]["content"][0], block);
    // A thought that has its signature keeps its place, and so does the next one.
    let sealed = json!({"text": "hm", "thought": true, "thoughtSignature": seal});
    let (may_think, _, types) = thought(Gemini, talk(json!([sealed, text, call])));
    assert_eq!((may_think, types.join(" ")), (true, "thinking text thinking tool_use".to_owned()));
}

#[test]
fn a_budget_waits_for_an_answer_that_begins_with_thinking() {
    let seal = reasoning::encode(ReasoningOrigin::Thinking, "sig");
    let reasoned = json!({"type": "reasoning", "summary": [], "encrypted_content": seal});
    let said = |role: &str, text: &str| json!({"role": role, "content": text});
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
    let result = json!({"type": "function_call_output", "call_id": "c", "output": "r"});
    let may_think = |items: Value| {
        let members = json!({"input": items, "max_output_tokens": 9000, "reasoning": {"effort": "low"}});
        let (may_think, dropped, _) = thought(Responses, members);
        assert_eq!(dropped.contains(&"reasoning".to_owned()), !may_think);
        may_think
    };
    let (user, text) = (said("user", "q"), said("assistant", "Let me look."));
    assert!(may_think(json!([user, reasoned, text, call, result])));
    assert!(!may_think(json!([user, text, reasoned, call, result])));
    // White space is not sent.
    assert!(may_think(json!([user, said("assistant", " "), reasoned, call, result])));
    // The last message is the begin of the answer.
    assert!(!may_think(json!([user, said("assistant", "{")])));
    assert!(may_think(json!([user, reasoned, said("assistant", "{")])));
    assert!(may_think(json!([user, text, user])));
    assert!(may_think(json!([user, reasoned, text, call, result, said("assistant", "{")])));
}

#[test]
fn strict_is_said_of_schemas_that_openai_takes() {
    let strict = json!({"type": "object", "properties": {
        "a": {"type": ["string", "null"], "format": "date", "title": "A"},
        "b": {"type": "array", "items": {"$ref": "#/$defs/x"}, "minItems": 1, "maxItems": 2},
        "c": {"anyOf": [{"type": "string", "enum": ["x"], "const": "x"}, {"type": "null"}]},
    }, "required": ["c", "b", "a"], "additionalProperties": false, "$defs": {
        "x": {"type": "object", "properties": {}, "required": [], "additionalProperties": false},
    }});
    let with = |path: &str, value: Value| {
        let mut schema = strict.clone();
        *schema.pointer_mut(path).unwrap() = value;
        schema
    };
    let open = [
        json!({"type": "object"}),
        json!({"anyOf": [strict]}),
        with("/required", json!(["a", "b"])),
        with("/required", Value::Null),
        with("/additionalProperties", json!(true)),
        with("/$defs/x/additionalProperties", json!({"type": "string"})),
        with("/$defs/x", json!({"type": "object"})),
        with("/properties/a", json!({})),
        with("/properties/a", json!({"type": "string", "format": "uri"})),
        with("/properties/a", json!({"type": "string", "default": "x"})),
        with("/properties/b/items", json!({"$ref": "#/$defs/x", "description": "d"})),
        with("/properties/c/anyOf/0", json!({"oneOf": [{"type": "string"}]})),
    ];
    for (schema, is_strict) in open.iter().map(|schema| (schema, false)).chain([(&strict, true)]) {
        let said = if is_strict { json!(true) } else { Value::Null };
        let (dropped, tools) =
            if is_strict { (vec![], vec![]) } else { (vec!["schema:strict"], vec!["tools.strict"]) };
        let (body, lost) = sent(Messages, ChatCompletions, of_format(Messages, schema));
        assert_eq!(
            (&body["response_format"]["json_schema"]["strict"], &*lost),
            (&said, &*own(&dropped)),
            "{schema}"
        );
        assert_eq!(&body["response_format"]["json_schema"]["schema"], schema);
        let (body, lost) = sent(Messages, Responses, of_format(Messages, schema));
        assert_eq!((&body["text"]["format"]["strict"], &*lost), (&said, &*own(&dropped)), "{schema}");
        let tool =
            json!({"max_tokens": 99, "tools": [{"name": "f", "input_schema": schema, "strict": true}]});
        let (body, lost) = sent(Messages, ChatCompletions, tool.clone());
        assert_eq!((&body["tools"][0]["function"]["strict"], &*lost), (&said, &*own(&tools)), "{schema}");
        let (body, lost) = sent(Messages, Responses, tool);
        assert_eq!((&body["tools"][0]["strict"], &*lost), (&json!(is_strict), &*own(&tools)), "{schema}");
    }
    // A client of OpenAI's own dialects knows their rules.
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}, "strict": true}});
    assert_eq!(sent(ChatCompletions, Responses, json!({"tools": [tool]})).0["tools"][0]["strict"], true);
}

fn own(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_tool_without_properties_has_none_in_words() {
    let bare = json!({"type": "object", "description": "d"});
    let full = json!({"type": "object", "description": "d", "properties": {}});
    let gemini = json!({"tools": [{"functionDeclarations": [
        {"name": "f", "parameters": {"type": "OBJECT", "description": "d"}},
        {"name": "g", "parametersJsonSchema": bare},
        {"name": "h"},
    ]}]});
    let messages =
        json!({"tools": [{"name": "f", "input_schema": bare}, {"name": "g", "input_schema": full}]});
    for (from, members) in [(Gemini, gemini), (Messages, messages)] {
        let (body, _) = sent(from, ChatCompletions, members.clone());
        let chat = [0, 1].map(|at| body["tools"][at]["function"]["parameters"].clone());
        let (body, _) = sent(from, Responses, members);
        let responses = [0, 1].map(|at| body["tools"][at]["parameters"].clone());
        assert_eq!((chat, responses), ([full.clone(), full.clone()], [full.clone(), full.clone()]));
    }
    // Anthropic takes it as it is.
    let tool = json!({"type": "function", "name": "f", "parameters": bare});
    assert_eq!(sent(Responses, Messages, json!({"tools": [tool]})).0["tools"][0]["input_schema"], bare);
}

#[test]
fn an_open_object_is_closed_for_anthropic_and_named() {
    for open in [json!(true), json!({"type": "string"})] {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "object", "additionalProperties": open},
            "b": {"type": "object"},
        }, "additionalProperties": open});
        let inner = json!({"type": "object", "additionalProperties": false});
        let closed =
            json!({"type": "object", "properties": {"a": inner, "b": inner}, "additionalProperties": false});
        for from in [ChatCompletions, Responses, Gemini] {
            let (body, dropped) = sent(from, Messages, of_format(from, &schema));
            assert_eq!(body["output_config"]["format"]["schema"], closed, "{from:?}");
            assert_eq!(dropped, ["schema:additionalProperties"]);
        }
        let tool = json!({"type": "function", "name": "f", "parameters": schema, "strict": true});
        let (body, dropped) = sent(Responses, Messages, json!({"tools": [tool]}));
        assert_eq!(
            (&body["tools"][0]["input_schema"], &*dropped),
            (&closed, &*own(&["schema:additionalProperties"]))
        );
    }
    let closed = json!({"type": "object", "properties": {}, "additionalProperties": false});
    let (body, dropped) = sent(ChatCompletions, Messages, of_format(ChatCompletions, &closed));
    assert_eq!((&body["output_config"]["format"]["schema"], dropped.len()), (&closed, 0));
}

#[test]
fn anthropic_stops_at_visible_words_only() {
    for blank in [json!("\n"), json!(["x", " \n"])] {
        let way = Way { from: ChatCompletions, to: Messages };
        assert_eq!(way.unsayable(&request(ChatCompletions, json!({"stop": blank}))), "stop");
    }
    let blank = json!({"generationConfig": {"stopSequences": ["\t"]}});
    let way = Way { from: Gemini, to: Messages };
    assert_eq!(way.unsayable(&request(Gemini, blank)), "generationConfig.stopSequences");
    for (stop, written) in [(json!(["", "a b"]), json!(["a b"])), (json!(""), Value::Null)] {
        let (body, dropped) = sent(ChatCompletions, Messages, json!({"stop": stop}));
        assert_eq!((&body["stop_sequences"], &*dropped), (&written, &*own(&["stop"])));
    }
    let (body, _) = sent(Messages, ChatCompletions, json!({"stop_sequences": ["\n"]}));
    assert_eq!(body["stop"], json!(["\n"]));
}

#[test]
fn a_mail_address_or_a_telephone_number_names_no_user() {
    for user in
        ["joe@example.com", "mailto:joe@mail.example.com", "+49 (30) 901820", "030-9018-20", "5551234567"]
    {
        for from in [ChatCompletions, Responses] {
            let (body, dropped) = sent(from, Messages, json!({"user": user}));
            assert_eq!((body.get("metadata"), &*dropped), (None, &*own(&["user"])), "{user}");
        }
    }
    for user in ["u", "joe@home", "@joe.b", "user-1234567", "123456", "8d4f5c2e-0000-4000-8000-000000000000"]
    {
        let (body, dropped) = sent(ChatCompletions, Messages, json!({"user": user}));
        assert_eq!((&body["metadata"]["user_id"], dropped.len()), (&json!(user), 0), "{user}");
    }
    assert_eq!(
        sent(ChatCompletions, Responses, json!({"user": "joe@example.com"})).0["user"],
        "joe@example.com"
    );
}

#[test]
fn a_type_of_pictures_has_its_usual_name() {
    for (mime, usual) in [
        ("image/jpg", "image/jpeg"),
        ("image/JPEG", "image/jpeg"),
        ("image/PNG", "image/png"),
        ("image/webp", "image/webp"),
        ("image/bmp", "image/bmp"),
    ] {
        let url = json!({"type": "image_url", "image_url": {"url": format!("data:{mime};base64,QQ==")}});
        let (body, _) =
            sent(ChatCompletions, Messages, json!({"messages": [{"role": "user", "content": [url]}]}));
        let source = json!({"type": "base64", "media_type": usual, "data": "QQ=="});
        assert_eq!(body["messages"][0]["content"][0], json!({"type": "image", "source": source}));
    }
    let blob = json!({"inlineData": {"mimeType": "IMAGE/Jpg;name=x", "data": "QQ=="}});
    let (body, _) = sent(Gemini, Messages, json!({"contents": [{"parts": [blob]}]}));
    assert_eq!(body["messages"][0]["content"][0]["type"], "image");
    assert_eq!(body["messages"][0]["content"][0]["source"]["media_type"], "image/jpeg");
}

/// OpenRouter takes one there.
#[test]
fn the_data_of_a_file_may_be_its_address() {
    let file = json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "https://a.example/a.pdf"}});
    let members = json!({"messages": [{"role": "user", "content": [file]}]});
    let (body, _) = sent(ChatCompletions, Messages, members.clone());
    let source = json!({"type": "url", "url": "https://a.example/a.pdf"});
    assert_eq!(body["messages"][0]["content"][0]["source"], source);
    let (body, _) = sent(ChatCompletions, Responses, members);
    assert_eq!(body["input"][0]["content"][0]["file_url"], "https://a.example/a.pdf");
}

#[test]
fn a_picture_of_the_system_arrives_or_is_refused() {
    let picture = json!({"type": "input_image", "image_url": "https://a.example/a.png"});
    for role in ["system", "developer"] {
        let content = json!([{"type": "input_text", "text": "s"}, picture]);
        let members =
            json!({"input": [{"role": role, "content": content}, {"role": "user", "content": "q"}]});
        for to in [Messages, ChatCompletions] {
            let path = Way { from: Responses, to }.unsayable(&request(Responses, members.clone()));
            assert_eq!(path, "input[0].content[1].image_url");
        }
    }
    let picture = json!({"type": "image_url", "image_url": {"url": "https://a.example/a.png"}});
    let members = json!({"messages": [
        {"role": "system", "content": "s"},
        {"role": "system", "content": [{"type": "text", "text": "t"}, picture]},
        {"role": "user", "content": "q"},
    ]});
    let (body, _) = sent(ChatCompletions, Responses, members);
    assert_eq!(body["instructions"], "s");
    assert_eq!(body["input"][0]["role"], "system");
    assert_eq!(body["input"][0]["content"][1]["image_url"], "https://a.example/a.png");
}

#[test]
fn words_about_a_namespace_are_named() {
    let tool = json!({"type": "function", "name": "g", "parameters": {"type": "object", "properties": {}}});
    let space = json!({"type": "namespace", "name": "n", "description": "All about it", "tools": [tool]});
    let (_, dropped) = sent(Responses, ChatCompletions, json!({"tools": [space]}));
    assert_eq!(dropped, ["tools:namespace.description"]);
}

#[test]
fn a_switch_of_reasoning_is_a_medium_effort() {
    let on = json!({"reasoning": {"enabled": true}, "max_tokens": 20_000});
    let (body, dropped) = sent(ChatCompletions, Responses, on.clone());
    assert_eq!((&body["reasoning"]["effort"], dropped.len()), (&json!("medium"), 0));
    assert_eq!(sent(ChatCompletions, Messages, on).0["output_config"]["effort"], "medium");
    let low = json!({"reasoning": {"enabled": true, "effort": "low"}});
    assert_eq!(sent(ChatCompletions, Messages, low).0["output_config"]["effort"], "low");
}

#[test]
fn an_effort_above_high_is_high_and_named() {
    for effort in ["xhigh", "max"] {
        let chat = json!({"reasoning_effort": effort, "max_tokens": 40_000});
        let responses = json!({"reasoning": {"effort": effort}, "max_output_tokens": 40_000});
        for (from, name, members) in
            [(ChatCompletions, "reasoning_effort", chat), (Responses, "reasoning", responses)]
        {
            let (body, dropped) = sent(from, Messages, members.clone());
            assert_eq!((&body["output_config"]["effort"], dropped), (&json!("high"), own(&[name])));
            let translated = Way { from, to: Messages }.try_with(&request(from, members), &BUDGET).unwrap();
            assert_eq!(translated.dropped, [name]);
        }
    }
    assert_eq!(sent(ChatCompletions, Messages, json!({"reasoning_effort": "high"})).1, [""; 0]);
}

#[test]
fn calls_of_one_answer_get_ids_of_their_own() {
    let call = |id: &str, name: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}});
    let result = |id: &str, text: &str| json!({"role": "tool", "tool_call_id": id, "content": text});
    for (id, ids) in [("c1", ["c1", "c1-2", "c1-3"]), ("", ["tw-", "-2", "-3"])] {
        let turn = json!({"role": "assistant", "tool_calls": [call(id, "a"), call(id, "b"), call(id, "c")]});
        let messages = json!([
            {"role": "user", "content": "q"},
            turn, result(id, "A"), result(id, "B"), result(id, "C"),
        ]);
        let (body, _) = sent(ChatCompletions, Messages, json!({"messages": messages}));
        for (at, name) in ["a", "b", "c"].iter().enumerate() {
            let (call, result) = (&body["messages"][1]["content"][at], &body["messages"][2]["content"][at]);
            assert_eq!((&call["id"], &call["name"]), (&json!(ids[at]), &json!(name)));
            assert_eq!(
                (&result["tool_use_id"], &result["content"]),
                (&call["id"], &json!(name.to_uppercase()))
            );
        }
    }
    // An id of an earlier turn may come again: it is that of the last call.
    let messages = json!([
        {"role": "assistant", "tool_calls": [call("c", "a"), call("c", "a")]}, result("c", "A"), result("c", "B"),
        {"role": "assistant", "tool_calls": [call("c", "a")]}, result("c", "C"),
    ]);
    let (body, _) = sent(ChatCompletions, Responses, json!({"messages": messages}));
    let ids: Vec<_> =
        body["input"].as_array().unwrap().iter().map(|item| item["call_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["c", "c-2", "c", "c-2", "c", "c"]);
}

#[test]
fn mistral_gets_its_own_members_and_ids() {
    let options =
        RequestOptions { seed_member: "random_seed", takes_user: false, short_ids: true, ..OPTIONS };
    let call = |id: &str| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"});
    let result = |id: &str| json!({"type": "function_call_output", "call_id": id, "output": "r"});
    let members = json!({"user": "u", "input": [
        {"role": "user", "content": "q"}, call("toolu_01AbC"), call("D681PevKs"), result("toolu_01AbC"), result("D681PevKs"),
    ]});
    let way = Way { from: Responses, to: ChatCompletions };
    let translated = way.try_with(&request(Responses, members), &options).unwrap();
    let body: Value = serde_json::from_slice(&translated.body.concat()).unwrap();
    assert_eq!((body.get("user"), &*translated.dropped), (None, &*own(&["user"])));
    let ids = [0, 1].map(|at| body["messages"][1]["tool_calls"][at]["id"].as_str().unwrap());
    let answered = [2, 3].map(|at| body["messages"][at]["tool_call_id"].as_str().unwrap());
    assert_eq!((ids, ids[1]), (answered, "D681PevKs"));
    assert!(ids[0].len() == 9 && ids[0].bytes().all(|byte| byte.is_ascii_alphanumeric()), "{}", ids[0]);
    let seeded = json!({"generationConfig": {"seed": 3}});
    let way = Way { from: Gemini, to: ChatCompletions };
    let translated = way.try_with(&request(Gemini, seeded), &options).unwrap();
    let body: Value = serde_json::from_slice(&translated.body.concat()).unwrap();
    assert_eq!((&body["random_seed"], body.get("seed")), (&json!(3), None));
}
