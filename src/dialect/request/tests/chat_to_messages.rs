//! Chat completions to messages.

use serde_json::{Value, json};

use super::{OPTIONS, Way, request};
use crate::dialect::{
    ApiDialect,
    reasoning::{self, ReasoningOrigin},
    request::{EffortForm, RequestOptions},
};

const WAY: Way = Way { from: ApiDialect::ChatCompletions, to: ApiDialect::Messages };

fn of(members: Value) -> Value {
    request(ApiDialect::ChatCompletions, members)
}

fn with(members: Value, options: &RequestOptions<'_>) -> (Value, Vec<String>) {
    let translated = WAY.try_with(&of(members), options).unwrap();
    (serde_json::from_slice(&translated.body.concat()).unwrap(), translated.dropped)
}

#[test]
fn turns_alternate_and_system_leads() {
    let body = WAY.body(&of(json!({"messages": [
        {"role": "system", "content": "s"},
        {"role": "developer", "content": [{"type": "text", "text": "d"}]},
        {"role": "user", "content": "a", "name": "ann"},
        {"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,QQ==", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
            {"type": "file", "file": {"filename": "f.pdf", "file_data": "data:application/pdf;base64,QQ=="}},
            {"type": "text", "text": ""},
        ]},
        {"role": "assistant", "content": "b"},
        {"role": "system", "content": "late"},
        {"role": "user", "content": "c"},
    ]})));
    assert_eq!(body["system"], json!([{"type": "text", "text": "s"}, {"type": "text", "text": "d"}]));
    let source = json!({"type": "base64", "media_type": "application/pdf", "data": "QQ=="});
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [
                {"type": "text", "text": "a"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "QQ=="}},
                {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}},
                {"type": "document", "source": source, "title": "f.pdf"},
            ]},
            {"role": "assistant", "content": [{"type": "text", "text": "b"}]},
            {"role": "user", "content": [
                {"type": "text", "text": "<system>\nlate\n</system>"},
                {"type": "text", "text": "c"},
            ]},
        ])
    );
    assert_eq!(body["max_tokens"], 8192);
}

#[test]
fn calls_and_results_are_blocks() {
    let call = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "a", "arguments": arguments}});
    let body = WAY.body(&of(json!({"messages": [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
            call("call:1", "{\"x\": [1e2, \"\\u2028\"]}"), call("c2", ""), call("c3", "{broken"), call("c4", "[1]"),
        ]},
        {"role": "tool", "tool_call_id": "call:1", "content": "[tool error]\nno"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]},
        {"role": "tool", "tool_call_id": "c3", "content": ""},
        {"role": "tool", "tool_call_id": "c4", "content": "z"},
        {"role": "user", "content": "go on"},
    ]})));
    let inputs: Vec<_> = body["messages"][1]["content"]
        .as_array()
        .unwrap()
        .iter()
        .map(|block| block["input"].clone())
        .collect();
    let expected = [
        json!({"x": [100.0, "\u{2028}"]}),
        json!({}),
        json!({"arguments": "{broken"}),
        json!({"arguments": "[1]"}),
    ];
    assert_eq!(inputs, expected);
    assert_eq!(body["messages"][1]["content"][0]["id"], "tw-63616c6c3a31");
    let results = &body["messages"][2]["content"];
    assert_eq!(
        results[0],
        json!({
            "type": "tool_result", "tool_use_id": "tw-63616c6c3a31", "content": "no", "is_error": true,
        })
    );
    assert_eq!(results[1]["content"][1], json!({"type": "text", "text": "y"}));
    assert_eq!(results[4], json!({"type": "text", "text": "go on"}));
    // No tools in the request, so the past ones are declared.
    assert_eq!(body["tools"].as_array().unwrap().len(), 1);
    assert_eq!(body["tool_choice"], json!({"type": "none"}));
}

#[test]
fn tools_and_choices_have_their_names() {
    let tool = json!({"type": "function", "function": {"name": "a", "description": "d", "strict": true,
        "parameters": {"type": "object", "properties": {"x": {"type": "string"}}}}});
    let bare = json!({"type": "function", "function": {"name": "b"}});
    let (body, _) = with(json!({"tools": [tool, bare], "parallel_tool_calls": false}), &OPTIONS);
    assert_eq!(
        body["tools"],
        json!([
            {"name": "a", "description": "d", "strict": true,
             "input_schema": {"type": "object", "properties": {"x": {"type": "string"}},
                              "additionalProperties": false}},
            {"name": "b", "input_schema": {"type": "object", "properties": {}}},
        ])
    );
    assert_eq!(body["tool_choice"], json!({"type": "auto", "disable_parallel_tool_use": true}));
    let cases = [
        (json!("auto"), json!({"type": "auto"})),
        (json!("required"), json!({"type": "any"})),
        (json!("none"), json!({"type": "none"})),
        (json!({"type": "function", "function": {"name": "b"}}), json!({"type": "tool", "name": "b"})),
    ];
    for (choice, expected) in cases {
        assert_eq!(
            with(json!({"tools": [bare], "tool_choice": choice}), &OPTIONS).0["tool_choice"],
            expected
        );
    }
}

#[test]
fn settings_have_their_names() {
    let (body, dropped) = with(
        json!({
            "max_completion_tokens": 5, "temperature": 1.7, "top_p": 0.5, "stop": "x", "user": "u", "stream": true,
            "seed": 1, "presence_penalty": 0, "frequency_penalty": 0.5, "n": 1, "store": false, "logit_bias": {},
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        }),
        &OPTIONS,
    );
    let expected = json!({
        "max_tokens": 5, "temperature": 1, "stop_sequences": ["x"], "metadata": {"user_id": "u"}, "stream": true,
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&body[name], value, "{name}");
    }
    assert!(body.get("top_p").is_none() && body.get("thinking").is_none());
    assert_eq!(dropped, ["temperature", "top_p", "seed", "frequency_penalty"]);
}

#[test]
fn efforts_become_thinking() {
    let members = json!({"reasoning_effort": "medium", "temperature": 0.2, "max_tokens": 4000});
    let (body, dropped) = with(members.clone(), &OPTIONS);
    assert_eq!(body["thinking"], json!({"type": "adaptive"}));
    assert_eq!(body["output_config"], json!({"effort": "medium"}));
    assert_eq!(dropped, ["temperature"]);
    let budget = RequestOptions { effort: EffortForm::Structured, ..OPTIONS };
    assert_eq!(
        with(members.clone(), &budget).0["thinking"],
        json!({"type": "enabled", "budget_tokens": 3000})
    );
    let tiny = json!({"reasoning_effort": "high", "max_tokens": 100});
    let (body, dropped) = with(tiny, &budget);
    assert!(body.get("thinking").is_none());
    assert_eq!(dropped, ["reasoning_effort"]);
    let never = RequestOptions { effort: EffortForm::Never, ..OPTIONS };
    let (body, _) = with(members, &never);
    assert_eq!((body.get("thinking"), &body["temperature"]), (None, &json!(0.2)));
}

#[test]
fn a_budget_waits_for_a_turn_that_began_with_thinking() {
    let budget = RequestOptions { effort: EffortForm::Structured, ..OPTIONS };
    let signature = reasoning::encode(ReasoningOrigin::Thinking, "sig");
    let talk = |details: Value| {
        let call = json!({"id": "c", "type": "function", "function": {"name": "a", "arguments": "{}"}});
        json!({"reasoning_effort": "low", "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "", "reasoning_details": details, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "r"},
        ]})
    };
    assert!(with(talk(json!([])), &budget).0.get("thinking").is_none());
    let detail = json!({"type": "reasoning.text", "text": "hm", "signature": signature});
    let (body, _) = with(talk(json!([detail])), &budget);
    assert_eq!(body["thinking"]["type"], "enabled");
    let block = json!({"type": "thinking", "thinking": "hm", "signature": "sig"});
    assert_eq!(body["messages"][1]["content"][0], block);
    let pieces = json!([
        {"type": "reasoning.text", "index": 0, "text": "h"},
        {"type": "reasoning.text", "index": 0, "text": "m"},
        {"type": "reasoning.text", "index": 0, "signature": signature},
    ]);
    assert_eq!(with(talk(pieces), &budget).0["messages"][1]["content"][0], block);
}

#[test]
fn a_turn_that_is_over_keeps_no_later_one_from_thinking() {
    let budget = RequestOptions { effort: EffortForm::Structured, ..OPTIONS };
    let call = json!({"id": "c", "type": "function", "function": {"name": "a", "arguments": "{}"}});
    let mut messages = vec![
        json!({"role": "user", "content": "q"}),
        json!({"role": "assistant", "content": "", "tool_calls": [call]}),
        json!({"role": "tool", "tool_call_id": "c", "content": "r"}),
    ];
    let mut thinks = |message: Option<Value>| {
        messages.extend(message);
        let (body, dropped) = with(json!({"reasoning_effort": "low", "messages": messages}), &budget);
        (body.get("thinking").is_some(), dropped)
    };
    let lost = (false, vec!["reasoning_effort".to_owned()]);
    assert_eq!(thinks(None), lost);
    // Words after the result are of the same turn.
    assert_eq!(thinks(Some(json!({"role": "user", "content": "and?"}))), lost);
    assert_eq!(thinks(Some(json!({"role": "assistant", "content": "done"}))), lost);
    assert_eq!(thinks(Some(json!({"role": "user", "content": "next"}))), (true, vec![]));
}

#[test]
fn a_model_is_asked_to_think_in_its_own_way() {
    let members = json!({"reasoning_effort": "medium", "temperature": 0.5, "top_k": 3, "max_tokens": 4000});
    let of_model = |model: &'static str, members: &Value| {
        with(members.clone(), &RequestOptions { model, ..OPTIONS }.of_model(ApiDialect::Messages))
    };
    let budget = json!({"type": "enabled", "budget_tokens": 3000});
    let adaptive = json!({"type": "adaptive"});
    let shown = json!({"type": "adaptive", "display": "summarized"});
    let cases = [
        ("claude-3-5-haiku-latest", None, vec!["reasoning_effort"]),
        ("claude-sonnet-4-5", Some(&budget), vec!["temperature", "top_k"]),
        ("claude-opus-4-6", Some(&adaptive), vec!["temperature", "top_k"]),
        ("claude-opus-4-7", Some(&shown), vec!["temperature", "top_k"]),
        ("deepseek-reasoner", Some(&adaptive), vec!["temperature", "top_k"]),
    ];
    for (model, thinking, lost) in cases {
        let (body, dropped) = of_model(model, &members);
        assert_eq!(
            (body.get("thinking"), dropped),
            (thinking, lost.into_iter().map(str::to_owned).collect()),
            "{model}"
        );
        let has_effort = body["output_config"]["effort"] == "medium";
        assert_eq!(has_effort, thinking.is_some_and(|thinking| *thinking != budget), "{model}");
    }
    // It takes no sampling, thinking or not.
    let (body, dropped) = of_model("claude-opus-4-7", &json!({"temperature": 0.5, "top_p": 1}));
    assert_eq!((body.get("temperature"), body.get("top_p"), dropped.len()), (None, None, 1));
    let (body, dropped) = of_model("claude-opus-4-6", &json!({"temperature": 0.5}));
    assert_eq!((&body["temperature"], dropped.len()), (&json!(0.5), 0));
}

/// Anthropic refuses the others with a 400.
#[test]
fn forms_of_answers_are_closed_and_their_bounds_are_described() {
    let schema = json!({
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 1, "maximum": 9, "description": "How many"},
            "mail": {"type": "string", "format": "email"},
            "minLength": {"type": "string", "minLength": 2},
            "list": {"type": "array", "minItems": 1, "items": {"oneOf": [{"$ref": "#/$defs/x"}, {"type": "null"}]}},
        },
        "required": ["n"],
        "$defs": {"x": {"type": "object", "properties": {}, "additionalProperties": true}},
    });
    let closed = json!({
        "type": "object",
        "properties": {
            "n": {"type": "integer", "description": "How many\n\n{maximum: 9, minimum: 1}"},
            "mail": {"type": "string", "format": "email"},
            "minLength": {"type": "string", "description": "{minLength: 2}"},
            "list": {"type": "array", "minItems": 1, "items": {"anyOf": [{"$ref": "#/$defs/x"}, {"type": "null"}]}},
        },
        "required": ["n"],
        "$defs": {"x": {"type": "object", "properties": {}, "additionalProperties": false}},
        "additionalProperties": false,
    });
    let format = json!({"type": "json_schema", "json_schema": {"name": "a", "schema": schema}});
    let (body, dropped) = with(json!({"response_format": format}), &OPTIONS);
    assert_eq!(body["output_config"]["format"]["schema"], closed);
    let lost = ["schema:additionalProperties", "schema:minLength", "schema:maximum", "schema:minimum"];
    assert_eq!(dropped, lost);
    let tool = |strict: bool| {
        let function = json!({"name": "a", "parameters": schema, "strict": strict});
        with(json!({"tools": [{"type": "function", "function": function}]}), &OPTIONS).0["tools"][0].clone()
    };
    assert_eq!(tool(true)["input_schema"], closed);
    assert_eq!(tool(false)["input_schema"], schema);
}

#[test]
fn changes_of_meaning_are_refused() {
    let cases = [
        (json!({"n": 2}), "n"),
        (json!({"logprobs": true}), "logprobs"),
        (json!({"logit_bias": {"5": 1}}), "logit_bias"),
        (json!({"guided_json": {"type": "object"}}), "guided_json"),
        (json!({"structured_outputs": {"choice": ["a"]}}), "structured_outputs"),
        (json!({"grammar": "root ::= x"}), "grammar"),
        (json!({"response_format": {"type": "json_object"}}), "response_format"),
        (json!({"modalities": ["text", "audio"]}), "modalities"),
        (json!({"web_search_options": {}}), "web_search_options"),
        (json!({"functions": [{"name": "a"}]}), "functions"),
    ];
    for (members, path) in cases {
        assert_eq!(WAY.unsayable(&of(members)), path);
    }
    let absent = json!({"logprobs": false, "top_logprobs": 0, "guided_json": null});
    assert_eq!(WAY.whole(&of(absent)).1.dropped, Vec::<String>::new());
    assert_eq!(
        WAY.invalid(&of(json!({"messages": [{"role": "user", "content": 1}]}))),
        "messages[0].content"
    );
    assert_eq!(
        WAY.invalid(&of(json!({"messages": [{"role": "tool", "content": "x"}]}))),
        "messages[0].tool_call_id"
    );
}

#[test]
fn a_prompt_of_the_systems_words_alone_is_a_message() {
    let body = WAY.body(&of(json!({"messages": [{"role": "system", "content": "s"}]})));
    assert_eq!(body["messages"], json!([{"role": "user", "content": [{"type": "text", "text": "s"}]}]));
    assert!(body.get("system").is_none());
}
