//! Answers of a messages provider for the other clients.

use super::*;
use accumulate::events;

const ANSWER: [&str; 22] = [
    r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"c","content":[],"stop_reason":null,"usage":{"input_tokens":10,"cache_read_input_tokens":60,"cache_creation_input_tokens":30,"output_tokens":1}}}"#,
    r#"{"type":"ping"}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"I th"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"ink"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"SIG="}}"#,
    r#"{"type":"content_block_stop","index":0}"#,
    r#"{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"RED"}}"#,
    r#"{"type":"content_block_stop","index":1}"#,
    r#"{"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}"#,
    r#"{"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{"type":"web_search_result_location","url":"http://x","title":"X","cited_text":"c","encrypted_index":"e"}}}"#,
    r#"{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"so"}}"#,
    r#"{"type":"content_block_stop","index":2}"#,
    r#"{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}"#,
    r#"{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":""}}"#,
    r#"{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"x\":"}}"#,
    r#"{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"1}"}}"#,
    r#"{"type":"content_block_stop","index":3}"#,
    r#"{"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"toolu_2","name":"g","input":{"y":2}}}"#,
    r#"{"type":"content_block_stop","index":4}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":20}}"#,
    r#"{"type":"message_stop"}"#,
];

const OTHERS: [ApiDialect; 3] = [ApiDialect::Responses, ApiDialect::ChatCompletions, ApiDialect::Gemini];

/// A cache that keeps for an hour costs more; a later count of the whole takes nothing back.
#[test]
fn tokens_that_a_cache_keeps_for_an_hour_are_known() {
    let usage = r#"{"input_tokens":3,"cache_creation_input_tokens":300,"output_tokens":1,
        "cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200}}"#;
    let start = format!(r#"{{"type":"message_start","message":{{"usage":{usage}}}}}"#);
    let delta = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}"#;
    for to in OTHERS {
        let mut translator = StreamTranslator::new(ApiDialect::Messages, to, context(), "r", 1);
        for event in [&start, delta] {
            translator.event(None, event.as_bytes(), &mut Vec::new());
        }
        let usage = translator.usage().unwrap();
        assert_eq!((usage.input, usage.cache_write, usage.cache_write_1h, usage.output), (303, 300, 200, 9));
    }
}

#[test]
fn all_is_passed() {
    for to in OTHERS {
        let meaning = meaning(ApiDialect::Messages, to, &ANSWER);
        assert_eq!((&*meaning.reasoning, &*meaning.text), ("I think", "so"), "{to:?}");
        let calls: Vec<_> =
            meaning.calls.iter().map(|call| (&*call.id, call.arguments.to_string())).collect();
        assert_eq!(calls, [("toolu_1", r#"{"x":1}"#.to_owned()), ("toolu_2", r#"{"y":2}"#.to_owned())]);
        assert_eq!((meaning.stop, meaning.usage), (Some("tool"), Some((100, 60, 20))));
        let cut = run(ApiDialect::Messages, to, &ANSWER[..21]);
        assert_eq!(cut.end, Err(BrokenAnswer::Cut));
        assert_eq!(accumulate::stream(to, &cut.output).stop, None);
    }
}

#[test]
fn whole_messages_are_the_same() {
    let body = r#"{"id":"msg_1","type":"message","role":"assistant","model":"c","content":[{"type":"thinking","thinking":"I think","signature":"SIG="},{"type":"redacted_thinking","data":"RED"},{"type":"text","text":"so","citations":[{"type":"web_search_result_location","url":"http://x","title":"X","cited_text":"c"}]},{"type":"tool_use","id":"toolu_1","name":"f","input":{"x":1}},{"type":"tool_use","id":"toolu_2","name":"g","input":{"y":2}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":10,"cache_read_input_tokens":60,"cache_creation_input_tokens":30,"output_tokens":20}}"#;
    for to in OTHERS {
        let whole = whole_meaning(ApiDialect::Messages, to, body);
        assert_eq!(
            Meaning { order: String::new(), ..whole },
            Meaning { order: String::new(), ..meaning(ApiDialect::Messages, to, &ANSWER) }
        );
        let json = whole_body(ApiDialect::Messages, to, &context(), body).to_string();
        assert!(json.contains("http://x"), "{json}");
    }
}

#[test]
fn signatures_can_be_given_back() {
    let signatures = |to, name: &str| {
        let run = run(ApiDialect::Messages, to, &ANSWER);
        let text = String::from_utf8(run.output).unwrap();
        let mark = format!("\"{name}\":\"");
        let found =
            text.split(&mark).skip(1).filter_map(|rest| reasoning::decode(rest.split('"').next().unwrap()));
        found.map(|signed| (signed.origin, signed.payload)).collect::<Vec<_>>()
    };
    let thinking = (reasoning::ReasoningOrigin::Thinking, "SIG=".to_owned());
    let redacted = (reasoning::ReasoningOrigin::RedactedThinking, "RED".to_owned());
    assert_eq!(signatures(ApiDialect::ChatCompletions, "signature"), vec![thinking.clone()]);
    assert_eq!(signatures(ApiDialect::ChatCompletions, "data"), vec![redacted.clone()]);
    assert_eq!(
        signatures(ApiDialect::Responses, "encrypted_content"),
        [thinking.clone(), redacted.clone(), thinking, redacted.clone()]
    );
    assert_eq!(signatures(ApiDialect::Gemini, "thoughtSignature"), [redacted]);
}

#[test]
fn citations_count_characters() {
    let events_in = [
        ANSWER[0],
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"né "}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        ANSWER[9],
        ANSWER[10],
        ANSWER[11],
        ANSWER[12],
        ANSWER[20],
        ANSWER[21],
    ];
    let text =
        String::from_utf8(run(ApiDialect::Messages, ApiDialect::ChatCompletions, &events_in).output).unwrap();
    assert!(
        text.contains(r#""url_citation":{"start_index":3,"end_index":5,"url":"http://x","title":"X"}"#),
        "{text}"
    );
}

#[test]
fn stop_reasons_and_errors_are_passed() {
    for (reason, stop) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("refusal", "filter"),
        ("pause_turn", "stop"),
        ("model_context_window_exceeded", "length"),
        ("new", "stop"),
    ] {
        let delta = format!(
            r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}},"usage":{{"output_tokens":2}}}}"#
        );
        for to in OTHERS {
            let meaning = meaning(ApiDialect::Messages, to, &[ANSWER[0], &delta, ANSWER[21]]);
            assert_eq!(meaning.stop, Some(stop), "{reason} {to:?}");
        }
    }
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    for (to, expected) in OTHERS.into_iter().zip([
        "server_error: Overloaded",
        "\"server_error\": Overloaded",
        "UNAVAILABLE: Overloaded",
    ]) {
        let run = run(ApiDialect::Messages, to, &[ANSWER[0], error]);
        assert_eq!(accumulate::stream(to, &run.output).error.as_deref(), Some(expected));
    }
}

#[test]
fn a_chat_client_without_include_usage_gets_none() {
    let events_in: Vec<_> = ANSWER.iter().map(|data| (None, data.as_bytes())).collect();
    let context = AnswerContext { wants_usage: false, ..context() };
    let run = run_with(ApiDialect::Messages, ApiDialect::ChatCompletions, context, &events_in);
    let events = events(&run.output);
    assert!(events.iter().all(|(_, data)| !data.contains("usage")));
    assert_eq!(events.last().unwrap().1, "[DONE]");
}

#[test]
fn server_tools_are_dropped_and_said() {
    let run = run(
        ApiDialect::Messages,
        ApiDialect::ChatCompletions,
        &[
            ANSWER[0],
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"q\":1}"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            ANSWER[20],
            ANSWER[21],
        ],
    );
    let dropped: Vec<_> = run.events.iter().map(|event| event.is_dropped).collect();
    assert_eq!(dropped, [false, true, true, false, false, false]);
    assert_eq!(accumulate::stream(ApiDialect::ChatCompletions, &run.output).stop, Some("stop"));
}
