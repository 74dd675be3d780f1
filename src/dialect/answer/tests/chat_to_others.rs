//! The rows of TRANSLATION.md, "responses -> chat" and "Gemini -> chat", of answers.

use super::*;
use crate::dialect::context::{ToolKind, ToolName};
use accumulate::events;

const DEEPSEEK: [&str; 4] = [
    r#"{"reasoning_content":"I th"}"#,
    r#"{"content":null,"reasoning_content":"ink"}"#,
    r#"{"content":"so"}"#,
    r#"{"content":" it is"}"#,
];

fn names(deltas: &[&str], reason: &str) -> Vec<String> {
    let events_in = chat_answer(deltas, reason);
    let events_in: Vec<_> = events_in.iter().map(String::as_str).collect();
    let run = run(ApiDialect::ChatCompletions, ApiDialect::Responses, &events_in);
    accumulate::stream(ApiDialect::Responses, &run.output);
    events(&run.output)
        .into_iter()
        .filter_map(|(name, _)| Some(name?.trim_start_matches("response.").to_owned()))
        .collect()
}

#[test]
fn responses_have_all_events() {
    assert_eq!(
        names(&[r#"{"content":"a"}"#, r#"{"content":"b"}"#], "stop"),
        [
            "created",
            "in_progress",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "completed",
        ]
    );
    assert_eq!(
        names(&DEEPSEEK[1..3], "length"),
        [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "incomplete",
        ]
    );
    assert_eq!(
        names(
            &[r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}"#],
            "tool_calls"
        ),
        [
            "created",
            "in_progress",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]
    );
}

#[test]
fn responses_keep_reasoning_usage_and_end() {
    let meaning = chat_meaning(ApiDialect::Responses, &DEEPSEEK, "stop");
    assert_eq!((&*meaning.reasoning, &*meaning.text, &*meaning.order), ("I think", "so it is", "rt"));
    assert_eq!(meaning.usage, Some((100, 60, 20)));
    assert_eq!(chat_meaning(ApiDialect::Responses, &DEEPSEEK, "content_filter").stop, Some("filter"));
    assert_eq!(chat_meaning(ApiDialect::Responses, &DEEPSEEK, "length").stop, Some("length"));
    let body =
        r#"{"id":"c","choices":[{"message":{"content":"so","reasoning":"hm"},"finish_reason":"length"}]}"#;
    let whole = whole_meaning(ApiDialect::ChatCompletions, ApiDialect::Responses, body);
    assert_eq!((&*whole.order, whole.stop), ("rt", Some("length")));
}

#[test]
fn interleaved_calls_are_items_of_their_own() {
    let deltas = [
        r#"{"content":"t"}"#,
        r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}},{"index":1,"id":"b","function":{"name":"g"}}]}"#,
        r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":"}}]}"#,
        r#"{"tool_calls":[{"index":1,"function":{"arguments":"{\"y\":"}}]}"#,
        r#"{"tool_calls":[{"index":1,"function":{"arguments":"\"\\u2028\"}"}}]}"#,
        r#"{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}"#,
    ];
    for to in CLIENTS {
        let meaning = chat_meaning(to, &deltas, "stop");
        let mut calls: Vec<_> =
            meaning.calls.iter().map(|call| (&*call.id, call.arguments.to_string())).collect();
        calls.sort();
        let expected = [("a", r#"{"x":1}"#.to_owned()), ("b", "{\"y\":\"\u{2028}\"}".to_owned())];
        assert_eq!((calls, meaning.stop), (expected.to_vec(), Some("tool")), "{to:?}");
    }
}

/// Clients of OpenAI's dialects parse the arguments, also those of a tool without parameters.
#[test]
fn arguments_that_are_left_empty_are_an_empty_object() {
    let deltas = [
        r#"{"content":"t"}"#,
        r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}"#,
        r#"{"content":"u"}"#,
    ];
    let stream: Vec<_> = deltas.iter().map(|delta| chunk(delta)).chain([finish_chunk("stop")]).collect();
    let stream: Vec<_> = stream.iter().map(String::as_str).chain([USAGE, "[DONE]"]).collect();
    let out = run(ApiDialect::ChatCompletions, ApiDialect::Responses, &stream).output;
    assert!(String::from_utf8(out).unwrap().contains(r#""arguments":"{}""#));
    let body = r#"{"id":"m","type":"message","role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":1}}"#;
    let whole = whole_body(ApiDialect::Messages, ApiDialect::ChatCompletions, &context(), body);
    assert_eq!(whole["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], "{}");
    let events = [
        r#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":1,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"a","name":"f","input":{}}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":""}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":1}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    let out = run(ApiDialect::Messages, ApiDialect::ChatCompletions, &events).output;
    assert!(String::from_utf8(out).unwrap().contains(r#""arguments":"{}""#));
}

fn codex() -> AnswerContext {
    let tool = |sent: &str, name: &str, namespace: Option<&str>, kind| ToolName {
        sent: sent.to_owned(),
        name: name.to_owned(),
        namespace: namespace.map(str::to_owned),
        kind,
    };
    AnswerContext {
        tools: vec![
            tool("mcp__x__look", "look", Some("mcp__x"), ToolKind::Function),
            tool("apply_patch", "apply_patch", None, ToolKind::Custom),
            tool("local_shell", "local_shell", None, ToolKind::LocalShell),
        ],
        echo: vec![
            ("tools", "[\n{\"type\":\"custom\",\"description\":\"\u{2028}\"}\r\n]".to_owned()),
            ("metadata", "{\n".to_owned()),
            ("user", "\"u\"".to_owned()),
        ],
        ..context()
    }
}

#[test]
fn tools_come_back_as_the_client_knows_them() {
    let deltas = [
        r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"mcp__x__look","arguments":"{}"}}]}"#,
        r#"{"tool_calls":[{"index":1,"id":"b","function":{"name":"apply_patch","arguments":"{\"inp"}}]}"#,
        r#"{"tool_calls":[{"index":1,"function":{"arguments":"ut\": \"*** Begin\\"}}]}"#,
        r#"{"tool_calls":[{"index":1,"function":{"arguments":"n\\u00e9\"}"}}]}"#,
        r#"{"tool_calls":[{"index":2,"id":"c","function":{"name":"local_shell","arguments":"{\"command\":[\"ls\"]}"}}]}"#,
    ];
    let events_in = chat_answer(&deltas, "tool_calls");
    let events_in: Vec<_> = events_in.iter().map(|data| (None, data.as_bytes())).collect();
    let run = run_with(ApiDialect::ChatCompletions, ApiDialect::Responses, codex(), &events_in);
    accumulate::stream(ApiDialect::Responses, &run.output);
    let (_, last) = events(&run.output).pop().unwrap();
    let last: serde_json::Value = serde_json::from_str(&last).unwrap();
    let output = &last["response"]["output"];
    assert_eq!((output[0]["name"].as_str(), output[0]["namespace"].as_str()), (Some("look"), Some("mcp__x")));
    assert_eq!(output[1]["type"], "custom_tool_call");
    assert_eq!(output[1]["input"], "*** Begin\né");
    assert_eq!(output[2]["action"], serde_json::json!({"type": "exec", "command": ["ls"], "env": {}}));
    assert_eq!(last["response"]["tools"][0]["type"], "custom");
    assert_eq!(last["response"]["user"], "u");
    assert_eq!(last["response"]["created_at"], 1_700_000_000);
    let text = String::from_utf8(run.output).unwrap();
    assert!(text.contains(r#""type":"response.custom_tool_call_input.delta""#));
    assert!(text.contains(r#""delta":"*** Begin""#));
}

/// DeepSeek and Kimi refuse the next request without it, and the client returns it in this way alone.
#[test]
fn the_seal_of_a_chat_providers_reasoning_is_given_in_any_case() {
    for wants in [true, false] {
        let context = AnswerContext { wants_encrypted_reasoning: wants, ..context() };
        let events_in = chat_answer(&DEEPSEEK, "stop");
        let events_in: Vec<_> = events_in.iter().map(|data| (None, data.as_bytes())).collect();
        let run = run_with(ApiDialect::ChatCompletions, ApiDialect::Responses, context, &events_in);
        let text = String::from_utf8(run.output).unwrap();
        assert_eq!(text.matches(r#""encrypted_content":"dGhhbHdlZzox"#).count(), 2);
    }
}

#[test]
fn responses_fail_in_words_and_are_not_made_up() {
    let text = chunk(r#"{"content":"half"}"#);
    let run_of = |last: &str| run(ApiDialect::ChatCompletions, ApiDialect::Responses, &[&text, last]);
    for (error, expected) in [
        (r#"{"error":{"message":"no","code":500}}"#, "server_error: no"),
        (
            r#"{"error":{"message":"maximum context length","code":400}}"#,
            "context_length_exceeded: maximum context length",
        ),
        (r#"{"error":{"message":"wait","type":"rate_limit_error"}}"#, "rate_limit_exceeded: wait"),
        (r#"{"error":{"message":"pay","code":"insufficient_quota"}}"#, "insufficient_quota: pay"),
    ] {
        let run = run_of(error);
        let meaning = accumulate::stream(ApiDialect::Responses, &run.output);
        assert_eq!((meaning.error.as_deref(), run.end), (Some(expected), Err(BrokenAnswer::Failed)));
        assert!(
            String::from_utf8(run.output)
                .unwrap()
                .contains(r#""id":"resp_1","object":"response","created_at":1700000000,"status":"failed""#)
        );
    }
    let run = run(ApiDialect::ChatCompletions, ApiDialect::Responses, &[&text]);
    assert_eq!(run.end, Err(BrokenAnswer::Cut));
    assert!(!String::from_utf8(run.output).unwrap().contains("completed"));
}

#[test]
fn log_probabilities_are_passed() {
    let chunk = r#"{"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"Hi"},"logprobs":{"content":[{"token":"Hi","logprob":-0.5,"bytes":[72,105],"top_logprobs":[{"token":"Ho","logprob":-1.25,"bytes":null}]}],"refusal":null},"finish_reason":null}]}"#;
    let events_in = [chunk, &finish_chunk("stop"), USAGE, "[DONE]"];
    let run_of = |to| String::from_utf8(run(ApiDialect::ChatCompletions, to, &events_in).output).unwrap();
    let text = run_of(ApiDialect::Responses);
    accumulate::stream(ApiDialect::Responses, text.as_bytes());
    assert_eq!(text.matches(r#""logprobs":[{"token":"Hi","logprob":-0.5,"#).count(), 5);
    assert!(run_of(ApiDialect::Gemini).contains(r#""chosenCandidates":[{"token":"Hi","logProbability":-0.5}],"topCandidates":[{"candidates":[{"token":"Ho","logProbability":-1.25}]}]"#));
    let body = chunk.replace("delta", "message").replace("null}]}", "\"stop\"}]}");
    for to in CLIENTS {
        let json = whole_body(ApiDialect::ChatCompletions, to, &context(), &body).to_string();
        assert_eq!(json.contains("-0.5"), to != ApiDialect::Messages, "{json}");
    }
}

#[test]
fn annotations_are_passed() {
    let deltas = [
        r#"{"content":"Café says"}"#,
        r#"{"annotations":[{"type":"url_citation","url_citation":{"url":"http://x","title":"X","start_index":0,"end_index":4}}]}"#,
    ];
    let events_in = chat_answer(&deltas, "stop");
    let events_in: Vec<_> = events_in.iter().map(String::as_str).collect();
    for (to, expected) in [
        (ApiDialect::Messages, r#""type":"web_search_result_location","url":"http://x""#),
        (
            ApiDialect::Responses,
            r#""annotations":[{"type":"url_citation","start_index":0,"end_index":4,"url":"http://x","title":"X"}]"#,
        ),
        (
            ApiDialect::Gemini,
            r#""citationSources":[{"startIndex":0,"endIndex":5,"uri":"http://x","title":"X"}]"#,
        ),
    ] {
        let run = run(ApiDialect::ChatCompletions, to, &events_in);
        accumulate::stream(to, &run.output);
        let text = String::from_utf8(run.output).unwrap();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn gemini_gets_parts() {
    let meaning = chat_meaning(ApiDialect::Gemini, &DEEPSEEK, "length");
    assert_eq!((&*meaning.reasoning, &*meaning.text, meaning.stop), ("I think", "so it is", Some("length")));
    assert_eq!(meaning.usage, Some((100, 60, 20)));
    let events_in = chat_answer(
        &[
            DEEPSEEK[0],
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\""}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}"#,
        ],
        "tool_calls",
    );
    let events_in: Vec<_> = events_in.iter().map(String::as_str).collect();
    let run = run(ApiDialect::ChatCompletions, ApiDialect::Gemini, &events_in);
    let text = String::from_utf8(run.output).unwrap();
    assert!(!text.contains("[DONE]") && text.starts_with("data: ") && text.ends_with("\r\n\r\n"));
    let signature = text.split(r#""thoughtSignature":""#).nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(reasoning::decode(signature).unwrap().payload, "I th");
    assert!(text.contains(r#"{"functionCall":{"id":"a","name":"f","args":{"x":1}},"thoughtSignature""#));
}

#[test]
fn gemini_gets_no_half_call() {
    let half = r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\""}}]}"#;
    let meaning = chat_meaning(ApiDialect::Gemini, &[half], "length");
    assert_eq!((meaning.calls.len(), meaning.stop), (0, Some("length")));
    assert_eq!(chat_meaning(ApiDialect::Gemini, &[half], "tool_calls").stop, Some("malformed"));
    let run = run(ApiDialect::ChatCompletions, ApiDialect::Gemini, &[&chunk(r#"{"content":"half"}"#)]);
    assert_eq!(run.end, Err(BrokenAnswer::Cut));
    assert!(!String::from_utf8(run.output).unwrap().contains("finishReason"));
}

#[test]
fn sources_of_a_whole_answer_are_citations() {
    let finish = r#"{"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"stop"}],"citations":["http://y"]}"#;
    let run =
        run(ApiDialect::ChatCompletions, ApiDialect::Responses, &[&chunk(r#"{"content":"a"}"#), finish]);
    accumulate::stream(ApiDialect::Responses, &run.output);
    let text = String::from_utf8(run.output).unwrap();
    assert!(text.contains(
        r#""annotations":[{"type":"url_citation","start_index":0,"end_index":2,"url":"http://y","#
    ));
}

#[test]
fn an_unknown_usage_is_estimated_where_clients_need_one() {
    let events = [&*chunk(r#"{"content":"twelve bytes"}"#), &finish_chunk("stop"), "[DONE]"];
    for (to, usage) in [
        (ApiDialect::Messages, Some((7, 0, 3))),
        (ApiDialect::Responses, Some((7, 0, 3))),
        (ApiDialect::Gemini, None),
    ] {
        assert_eq!(meaning(ApiDialect::ChatCompletions, to, &events).usage, usage);
    }
}

/// An id that is repeated in each event must not make a stream long.
#[test]
fn a_long_id_is_not_repeated() {
    let first = chunk(r#"{"content":"a"}"#).replace("chatcmpl-1", &"i".repeat(2000));
    let chunks: Vec<_> = (0..100).map(|_| chunk(r#"{"content":"a"}"#)).collect();
    let mut events = vec![&*first];
    events.extend(chunks.iter().map(|chunk| &**chunk));
    for to in CLIENTS {
        let run = run(ApiDialect::ChatCompletions, to, &events);
        assert!(run.output.len() < 60_000, "{to:?}: {}", run.output.len());
    }
}
