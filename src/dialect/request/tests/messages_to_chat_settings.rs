//! Messages to chat completions: tools, settings, counts.

use serde_json::{Value, json};

use super::{OPTIONS, Way, request};
use crate::dialect::{
    ApiDialect,
    request::{EffortForm, HostedTools, RequestOptions, count_answer, count_tokens},
};

const WAY: Way = Way { from: ApiDialect::Messages, to: ApiDialect::ChatCompletions };

fn of(members: Value) -> Value {
    request(ApiDialect::Messages, members)
}

fn tool() -> Value {
    json!({"name": "a", "description": "d", "input_schema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
        "properties": {"x": {"type": "integer", "minimum": -9007199254740991_i64, "maximum": 9007199254740991_i64}},
        "required": ["x"], "additionalProperties": false,
    }})
}

#[test]
fn tools_keep_their_schema() {
    let mut marked = tool();
    marked["defer_loading"] = json!(true);
    marked["cache_control"] = json!({"type": "ephemeral"});
    let (body, translated) = WAY.whole(&of(json!({"tools": [marked]})));
    assert_eq!(
        body["tools"],
        json!([{"type": "function", "function": {
            "name": "a", "description": "d", "parameters": tool()["input_schema"],
        }}])
    );
    assert_eq!(translated.dropped, ["cache_control", "tools.defer_loading"]);
    assert!(translated.context.tools.is_empty());
    // The members stand in the order that the client wrote them in: a prefix cache counts on it.
    let text = String::from_utf8(translated.body.concat()).unwrap();
    assert!(text.contains(r#""parameters":{"$schema":"#) || text.contains(r#""parameters":{"additional"#));
}

#[test]
fn choices_of_tools_have_their_names() {
    let cases = [
        (json!({"type": "auto"}), json!("auto")),
        (json!({"type": "any"}), json!("required")),
        (json!({"type": "none"}), json!("none")),
        (json!({"type": "tool", "name": "a"}), json!({"type": "function", "function": {"name": "a"}})),
    ];
    for (choice, expected) in cases {
        let body = WAY.body(&of(json!({"tools": [tool()], "tool_choice": choice})));
        assert_eq!(body["tool_choice"], expected);
        assert!(body.get("parallel_tool_calls").is_none());
    }
    let choice = json!({"type": "auto", "disable_parallel_tool_use": true});
    let body = WAY.body(&of(json!({"tools": [tool()], "tool_choice": choice})));
    assert_eq!(body["parallel_tool_calls"], false);
    let unknown = json!({"tools": [tool()], "tool_choice": {"type": "tool", "name": "z"}});
    assert_eq!(WAY.invalid(&of(unknown)), "tool_choice");
    assert_eq!(
        WAY.invalid(&of(json!({"tools": [tool()], "tool_choice": {"type": "x"}}))),
        "tool_choice.type"
    );
    // Providers refuse a choice without tools.
    assert!(WAY.body(&of(json!({"tool_choice": {"type": "auto"}}))).get("tool_choice").is_none());
}

#[test]
fn hosted_tools_are_dropped_beside_others_and_refused_alone() {
    let search = json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 3});
    assert_eq!(WAY.unsayable(&of(json!({"tools": [search]}))), "tools.0");
    let both = of(json!({"tools": [tool(), search]}));
    let (body, translated) = WAY.whole(&both);
    assert_eq!(body["tools"].as_array().unwrap().len(), 1);
    assert!(body.get("web_search_options").is_none());
    assert_eq!(translated.dropped, ["tools:web_search_20250305"]);
    let strict = RequestOptions { hosted_tools: HostedTools::Refuse, ..OPTIONS };
    let error = WAY.try_with(&both, &strict).unwrap_err();
    assert_eq!(error.param.as_deref(), Some("tools.1"));
    assert!(error.message.contains("web_search_20250305"), "{error}");
    let forced = json!({"tools": [tool(), search], "tool_choice": {"type": "tool", "name": "web_search"}});
    assert_eq!(WAY.unsayable(&of(forced)), "tool_choice.name");
    assert_eq!(WAY.unsayable(&of(json!({"mcp_servers": [{"type": "url"}]}))), "mcp_servers");
}

#[test]
fn settings_have_their_names() {
    let (body, translated) = WAY.whole(&of(json!({
        "max_tokens": 77, "stop_sequences": ["a", "b"], "temperature": 0.5, "top_p": 0.9, "top_k": 4, "stream": true,
        "metadata": {"user_id": "{\"device_id\":\"d\",\"session_id\":\"6f0c-1\"}"},
        "context_management": {"edits": []}, "service_tier": "auto", "brand_new": 1,
    })));
    assert_eq!(body["max_tokens"], 77);
    assert_eq!(body["stop"], json!(["a", "b"]));
    assert_eq!(body["temperature"], 0.5);
    assert_eq!(body["top_p"], 0.9);
    assert_eq!(body["stream"], true);
    assert_eq!(body["stream_options"], json!({"include_usage": true}));
    assert_eq!(body["prompt_cache_key"], "6f0c-1");
    assert!(body.get("metadata").is_none() && body.get("context_management").is_none());
    assert_eq!(translated.dropped, ["metadata", "context_management", "service_tier", "brand_new", "top_k"]);
    assert!(translated.context.streams && translated.context.wants_usage);
    let renamed =
        RequestOptions { max_tokens_member: "max_completion_tokens", openai_members: false, ..OPTIONS };
    let body = WAY
        .try_with(&of(json!({"max_tokens": 7, "metadata": {"user_id": "u_session_9"}})), &renamed)
        .unwrap();
    let body: Value = serde_json::from_slice(&body.body.concat()).unwrap();
    assert_eq!(body["max_completion_tokens"], 7);
    assert!(body.get("max_tokens").is_none() && body.get("prompt_cache_key").is_none());
}

#[test]
fn thinking_becomes_an_effort() {
    let cases = [
        (json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}), json!("low")),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 10_000}}), json!("medium")),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 31_999}}), json!("high")),
        (json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}), json!("low")),
        (json!({"output_config": {"effort": "max"}}), json!("high")),
        (json!({"thinking": {"type": "adaptive", "display": "omitted"}}), Value::Null),
        (json!({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}), Value::Null),
    ];
    for (members, expected) in cases {
        assert_eq!(WAY.body(&of(members.clone()))["reasoning_effort"], expected, "{members}");
    }
    let with = |effort, members: Value| {
        let translated = WAY.try_with(&of(members), &RequestOptions { effort, ..OPTIONS }).unwrap();
        (serde_json::from_slice::<Value>(&translated.body.concat()).unwrap(), translated.dropped)
    };
    for (effort, noted) in [("high", &[][..]), ("xhigh", &["output_config.effort"][..])] {
        let (body, dropped) = with(EffortForm::Named, json!({"output_config": {"effort": effort}}));
        assert_eq!(body["reasoning_effort"], "high");
        assert_eq!(dropped, noted, "{effort}");
    }
    let enabled = json!({"thinking": {"type": "enabled", "budget_tokens": 1024}});
    let (body, _) = with(EffortForm::Structured, enabled.clone());
    assert_eq!(body["reasoning"], json!({"effort": "low"}));
    let (body, dropped) = with(EffortForm::Never, enabled);
    assert!(body.get("reasoning_effort").is_none() && body.get("reasoning").is_none());
    assert_eq!(dropped, ["thinking"]);
    assert_eq!(WAY.invalid(&of(json!({"thinking": {"type": "enabled"}}))), "thinking.budget_tokens");
}

#[test]
fn a_schema_for_the_answer_is_kept() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
    let members = json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}});
    let body = WAY.body(&of(members));
    assert_eq!(
        body["response_format"],
        json!({
            "type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": true},
        })
    );
}

#[test]
fn tokens_are_estimated() {
    let small =
        json!({"model": "m", "messages": [{"role": "user", "content": "Hello, world. How are you?"}]});
    let tokens = count_tokens(ApiDialect::Messages, small.to_string().as_bytes()).unwrap();
    assert!((7..25).contains(&tokens), "{tokens}");
    let picture = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A".repeat(90_000)}});
    let pictures = json!({"messages": [{"role": "user", "content": [picture, picture]}]});
    let tokens = count_tokens(ApiDialect::Messages, pictures.to_string().as_bytes()).unwrap();
    assert!((3000..4000).contains(&tokens), "{tokens}");
    let inner = request(ApiDialect::Gemini, json!({}));
    let tokens =
        count_tokens(ApiDialect::Gemini, json!({"generateContentRequest": inner}).to_string().as_bytes());
    assert_eq!(tokens.unwrap(), count_tokens(ApiDialect::Gemini, inner.to_string().as_bytes()).unwrap());
    assert!(count_tokens(ApiDialect::Messages, b"{}").is_err());
    assert_eq!(count_answer(ApiDialect::Messages, 7), b"{\"input_tokens\":7}");
    assert_eq!(count_answer(ApiDialect::Gemini, 7), b"{\"totalTokens\":7}");
}

#[test]
fn names_that_are_too_long_are_shortened_alike() {
    let long = "mcp__".to_owned() + &"n".repeat(90);
    let mut named = tool();
    named["name"] = json!(long);
    let (body, translated) = WAY.whole(&of(json!({
        "tools": [named], "tool_choice": {"type": "tool", "name": long},
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": long, "input": {}}]},
        ],
    })));
    let sent = body["tools"][0]["function"]["name"].as_str().unwrap();
    assert_eq!(sent.len(), 64);
    assert_eq!(body["tool_choice"]["function"]["name"], sent);
    assert_eq!(body["messages"][1]["tool_calls"][0]["function"]["name"], sent);
    assert_eq!((&*translated.context.tools[0].sent, &*translated.context.tools[0].name), (sent, &*long));
}
