//! Calls that a model or a provider wrote in another form than the client's tool has.

use serde_json::{Value, json};

use super::*;
use crate::dialect::context::{ToolKind, ToolName};

fn responses_output(run: &Run) -> Vec<Value> {
    accumulate::stream(ApiDialect::Responses, &run.output);
    let (_, last) = accumulate::events(&run.output).pop().unwrap();
    serde_json::from_str::<Value>(&last).unwrap()["response"]["output"].as_array().unwrap().clone()
}

/// The output of a chat answer with these calls, for a client with `patch` and `local_shell`.
fn output_of(deltas: &[&str], reason: &str) -> Vec<Value> {
    let tool =
        |name: &str, kind| ToolName { sent: name.to_owned(), name: name.to_owned(), namespace: None, kind };
    let tools = vec![tool("patch", ToolKind::Custom), tool("local_shell", ToolKind::LocalShell)];
    let events = chat_answer(deltas, reason);
    let events: Vec<_> = events.iter().map(|data| (None, data.as_bytes())).collect();
    let context = AnswerContext { tools, ..context() };
    responses_output(&run_with(ApiDialect::ChatCompletions, ApiDialect::Responses, context, &events))
}

fn call(name: &str, arguments: &str) -> String {
    json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": name, "arguments": arguments}}]})
        .to_string()
}

#[test]
fn a_call_that_was_cut_is_incomplete() {
    let events = |piece: &str, reason: &str| {
        [
            r#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":1,"output_tokens":1}}}"#.to_owned(),
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"a","name":"f","input":{}}}"#.to_owned(),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": piece}}).to_string(),
            r#"{"type":"content_block_stop","index":0}"#.to_owned(),
            json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 2}}).to_string(),
            r#"{"type":"message_stop"}"#.to_owned(),
        ]
    };
    for (piece, reason, status) in [
        ("{\"a\":", "max_tokens", "incomplete"),
        ("{\"a\":1}", "max_tokens", "completed"),
        ("{\"a\":1}", "tool_use", "completed"),
        ("", "tool_use", "completed"),
    ] {
        let events = events(piece, reason);
        let events: Vec<_> = events.iter().map(String::as_str).collect();
        let output = responses_output(&run(ApiDialect::Messages, ApiDialect::Responses, &events));
        assert_eq!(output[0]["status"], status, "{piece}");
    }
}

#[test]
fn calls_of_one_id_are_told_apart() {
    let deltas = [
        r#"{"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":"{\"x\":1}"}}]}"#,
        r#"{"tool_calls":[{"index":1,"id":"c1","function":{"name":"f","arguments":"{\"x\":2}"}}]}"#,
        r#"{"tool_calls":[{"index":2,"id":"c2","function":{"name":"f","arguments":"{\"x\":3}"}}]}"#,
    ];
    for to in [ApiDialect::Messages, ApiDialect::Responses, ApiDialect::Gemini] {
        let calls = chat_meaning(to, &deltas, "tool_calls").calls;
        assert_eq!([&*calls[0].id, &*calls[1].id, &*calls[2].id], ["c1", "call_req1_1", "c2"], "{to:?}");
        assert_eq!(calls[1].arguments, json!({"x": 2}));
    }
    let call = |name: &str, arguments: &str| json!({"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}});
    let message = json!({"tool_calls": [call("f", "{\"x\":1}"), call("g", "{}")]});
    let body =
        json!({"id": "c", "choices": [{"message": message, "finish_reason": "tool_calls"}]}).to_string();
    for to in [ApiDialect::Messages, ApiDialect::Responses, ApiDialect::Gemini] {
        let calls = whole_meaning(ApiDialect::ChatCompletions, to, &body).calls;
        let names: Vec<_> = calls.iter().map(|call| &*call.name).collect();
        assert_eq!((names, &calls[0].arguments), (vec!["f", "g"], &json!({"x": 1})), "{to:?}");
    }
}

/// A model's form of a tool without parameters.
#[test]
fn null_arguments_are_an_empty_object() {
    for pieces in [&["null"][..], &["nu", "ll"], &[" null\n"], &["", "n", "ull", " "]] {
        let deltas: Vec<_> = std::iter::once(call("f", ""))
            .chain(pieces.iter().map(|piece| {
                json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}).to_string()
            }))
            .collect();
        let deltas: Vec<_> = deltas.iter().map(String::as_str).collect();
        for to in [ApiDialect::Messages, ApiDialect::Responses, ApiDialect::Gemini] {
            let meaning = chat_meaning(to, &deltas, "tool_calls");
            assert_eq!(
                (&meaning.calls[0].arguments, meaning.stop),
                (&json!({}), Some("tool")),
                "{to:?} {pieces:?}"
            );
        }
    }
    let message = json!({"tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "null"}}]});
    let body =
        json!({"id": "c", "choices": [{"message": message, "finish_reason": "tool_calls"}]}).to_string();
    for to in [ApiDialect::Messages, ApiDialect::Responses, ApiDialect::Gemini] {
        assert_eq!(
            whole_meaning(ApiDialect::ChatCompletions, to, &body).calls[0].arguments,
            json!({}),
            "{to:?}"
        );
    }
    // Another text that begins so is passed as it is.
    let meaning = chat_meaning(ApiDialect::Messages, &[&call("f", "nul"), &call("f", "lable")], "tool_calls");
    assert_eq!(meaning.calls[0].arguments, json!("nullable"));
    let meaning = chat_meaning(ApiDialect::Messages, &[&call("f", "nu")], "tool_calls");
    assert_eq!(meaning.calls[0].arguments, json!("nu"));
}

#[test]
fn the_text_of_a_custom_tool_is_not_lost() {
    for (arguments, input) in [
        (r#"{"patch":"*** Begin\n"}"#, "*** Begin\n"),
        (r#"{"patch":"x","why":1}"#, r#"{"patch":"x","why":1}"#),
        (r#"{"why":1,"input":"x"}"#, "x"),
        ("*** Begin {", "*** Begin {"),
        ("{}", ""),
    ] {
        let output = output_of(&[&call("patch", arguments)], "tool_calls");
        assert_eq!(
            (&output[0]["input"], &output[0]["status"]),
            (&input.into(), &"completed".into()),
            "{arguments}"
        );
    }
}

#[test]
fn a_shell_line_is_a_command() {
    for (arguments, command) in [
        (r#"{"command":["ls","-l"]}"#, json!(["ls", "-l"])),
        (r#"{"command":"ls -l"}"#, json!(["bash", "-lc", "ls -l"])),
        (r#"{"command":["l"#, json!([r#"{"command":["l"#])),
        ("", json!([])),
        ("null", json!([])),
    ] {
        let output = output_of(&[&call("local_shell", arguments)], "tool_calls");
        assert_eq!(output[0]["action"]["command"], command, "{arguments}");
    }
}
