//! The rows of TRANSLATION.md, "messages -> chat: the answer".

use super::*;
use accumulate::events;

fn answer(deltas: &[&str], reason: &str) -> Meaning {
    chat_meaning(ApiDialect::Messages, deltas, reason)
}

fn raw(events: &[&str]) -> Run {
    run(ApiDialect::ChatCompletions, ApiDialect::Messages, events)
}

#[test]
fn a_text_is_byte_exact() {
    let events = chat_answer(&[r#"{"content":"Hel"}"#, r#"{"content":"lo"}"#], "stop");
    let run = raw(&events.iter().map(String::as_str).collect::<Vec<_>>());
    let expected = concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",",
        "\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,",
        "\"usage\":{\"input_tokens\":7,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,",
        "\"output_tokens\":0}}}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,",
        "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,",
        "\"delta\":{\"type\":\"text_delta\",\"text\":\"Hel\"}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,",
        "\"delta\":{\"type\":\"text_delta\",\"text\":\"lo\"}}\n\n",
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",",
        "\"stop_sequence\":null},\"usage\":{\"input_tokens\":40,\"cache_creation_input_tokens\":0,",
        "\"cache_read_input_tokens\":60,\"output_tokens\":20,",
        "\"output_tokens_details\":{\"thinking_tokens\":5}}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    );
    assert_eq!(String::from_utf8(run.output).unwrap(), expected);
    assert_eq!(run.end, Ok(()));
    let is = |name: fn(&Translated) -> bool| run.events.iter().map(name).collect::<Vec<_>>();
    assert_eq!(is(|event| event.is_content), [false, true, true, false, false, false]);
    assert_eq!(is(|event| event.is_end), [false, false, false, false, true, false]);
}

#[test]
fn the_usage_is_read_wherever_it_is() {
    let usage =
        r#""usage":{"prompt_tokens":90,"completion_tokens":50,"total_tokens":140,"cached_tokens":90}"#;
    let in_choice = format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop",{usage}}}]}}"#);
    let beside = format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop"}}],{usage}}}"#);
    let groq =
        format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop"}}],"x_groq":{{{usage}}}}}"#);
    for finish in [&in_choice, &beside, &groq] {
        let run = raw(&[&chunk(r#"{"content":"a"}"#), finish, "[DONE]"]);
        assert_eq!(accumulate::stream(ApiDialect::Messages, &run.output).usage, Some((90, 90, 50)));
        assert!(run.events[1].is_end, "the end does not wait for [DONE]");
    }
    let zeros = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":0,"completion_tokens":0}}"#;
    let run = raw(&[&chunk(r#"{"content":"a"}"#), zeros, USAGE]);
    assert_eq!(accumulate::stream(ApiDialect::Messages, &run.output).usage, Some((100, 60, 20)));
    let xai = r#"{"choices":[],"usage":{"prompt_tokens":213,"completion_tokens":2,"total_tokens":413,"completion_tokens_details":{"reasoning_tokens":198}}}"#;
    let meaning = meaning(
        ApiDialect::ChatCompletions,
        ApiDialect::Messages,
        &[&chunk(r#"{"content":"a"}"#), &finish_chunk("stop"), xai],
    );
    assert_eq!(meaning.usage, Some((213, 0, 200)));
    // Gemini's compatible endpoint names no reasoning.
    let gemini = r#"{"choices":[],"usage":{"prompt_tokens":35,"completion_tokens":12,"total_tokens":109}}"#;
    let events = [&chunk(r#"{"content":"a"}"#), &finish_chunk("stop"), gemini];
    let meaning = self::meaning(ApiDialect::ChatCompletions, ApiDialect::Messages, &events);
    assert_eq!(meaning.usage, Some((35, 0, 74)));
}

#[test]
fn interleaved_calls_do_not_cross() {
    let meaning = answer(
        &[
            r#"{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}"#,
            r#"{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":""}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":"}}]}"#,
            r#"{"tool_calls":[{"index":1,"function":{"arguments":"{\"y\":"}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}"#,
            r#"{"tool_calls":[{"index":1,"function":{"arguments":"2}"}}]}"#,
        ],
        "tool_calls",
    );
    let calls: Vec<_> =
        meaning.calls.iter().map(|call| (&*call.id, &*call.name, call.arguments.to_string())).collect();
    assert_eq!(calls, [("a", "f", r#"{"x":1}"#.to_owned()), ("b", "g", r#"{"y":2}"#.to_owned())]);
    assert_eq!(meaning.stop, Some("tool"));
}

#[test]
fn calls_in_turn_are_closed_in_turn() {
    let events_of = |deltas: &[&str]| {
        let events = chat_answer(deltas, "tool_calls");
        raw(&events.iter().map(String::as_str).collect::<Vec<_>>()).output
    };
    let output = events_of(&[
        r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":"}}]}"#,
        r#"{"tool_calls":[{"index":0,"function":{"arguments":"\"}\"}"}}]}"#,
        r#"{"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{}"}}]}"#,
    ]);
    let names: Vec<_> = events(&output).into_iter().filter_map(|(name, _)| name).collect();
    let blocks: Vec<_> =
        names.iter().filter(|name| name.starts_with("content_block")).map(|name| &name[14..]).collect();
    assert_eq!(blocks, ["start", "delta", "delta", "stop", "start", "delta", "stop"]);

    let two = answer(
        &[
            r#"{"content":null,"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}},{"index":1,"id":"b","function":{"name":"f","arguments":""}}]}"#,
        ],
        "tool_calls",
    );
    assert_eq!(two.order, "cc");
    assert_eq!(two.calls[1].arguments, serde_json::json!({}));
}

#[test]
fn a_call_begins_with_its_name() {
    let meaning = answer(
        &[
            r#"{"tool_calls":[{"index":0}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"f"}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}"#,
        ],
        "tool_calls",
    );
    assert_eq!(meaning.calls.len(), 1);
    assert_eq!((&*meaning.calls[0].id, &*meaning.calls[0].name), ("c1", "f"));
    assert_eq!(meaning.calls[0].arguments, serde_json::json!({"a": 1}));
}

#[test]
fn calls_without_index_or_id_are_told_apart() {
    for deltas in [
        // Each whole call under index 0.
        &[
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"b","function":{"name":"f","arguments":"{\"x\":2}"}}]}"#,
        ],
        // Empty ids, as Gemini's compatible endpoint has them.
        &[
            r#"{"tool_calls":[{"index":0,"id":"","function":{"name":"f","arguments":"{\"x\":1}"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"","function":{"name":"f","arguments":"{\"x\":2}"}}]}"#,
        ],
        &[
            r#"{"tool_calls":[{"function":{"name":"f","arguments":"{\"x\":1}"}}]}"#,
            r#"{"tool_calls":[{"function":{"name":"f","arguments":{"x":2}}}]}"#,
        ],
    ] {
        let meaning = answer(deltas, "stop").without_ids();
        let arguments: Vec<_> = meaning.calls.iter().map(|call| call.arguments["x"].clone()).collect();
        assert_eq!(arguments, [1, 2], "{deltas:?}");
        assert_eq!(meaning.stop, Some("tool"));
    }
    // The name and the id repeated with each piece are one call.
    let meaning = answer(
        &[
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\""}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":":1}"}}]}"#,
        ],
        "tool_calls",
    );
    assert_eq!(meaning.calls.len(), 1);
}

#[test]
fn empty_pieces_open_no_block() {
    let meaning = answer(
        &[
            r#"{"content":""}"#,
            r#"{"content":"","tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}"#,
            r#"{"content":null,"reasoning_content":""}"#,
        ],
        "tool_calls",
    );
    assert_eq!(meaning.order, "c");
    assert_eq!(answer(&[], "stop").order, "");
}

#[test]
fn text_call_text_keep_their_order() {
    let meaning = answer(
        &[
            r#"{"content":"a"}"#,
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}"#,
            r#"{"content":"b"}"#,
        ],
        "tool_calls",
    );
    assert_eq!((&*meaning.order, &*meaning.text), ("tct", "ab"));
}

#[test]
fn reasoning_comes_first_and_is_sealed() {
    for (name, origin) in [
        ("reasoning_content", reasoning::ReasoningOrigin::ChatReasoningContent),
        ("reasoning", reasoning::ReasoningOrigin::ChatReasoning),
    ] {
        let events = [
            chunk(&format!(r#"{{"{name}":"I th"}}"#)),
            chunk(&format!(r#"{{"content":null,"{name}":"ink"}}"#)),
            chunk(r#"{"content":"so"}"#),
            finish_chunk("stop"),
            USAGE.to_owned(),
        ];
        let run = raw(&events.iter().map(String::as_str).collect::<Vec<_>>());
        let meaning = accumulate::stream(ApiDialect::Messages, &run.output);
        assert_eq!((&*meaning.order, &*meaning.reasoning, &*meaning.text), ("rt", "I think", "so"));
        let seal = events_seal(&run.output);
        assert_eq!(reasoning::decode(&seal).map(|signed| signed.origin), Some(origin));
        let body = format!(
            r#"{{"id":"a","choices":[{{"index":0,"message":{{"role":"assistant","content":"so","{name}":"I think"}},"finish_reason":"stop"}}]}}"#
        );
        let whole = whole_meaning(ApiDialect::ChatCompletions, ApiDialect::Messages, &body);
        assert_eq!((&*whole.order, &*whole.reasoning, &*whole.text), ("rt", "I think", "so"));
    }
    let details = answer(
        &[
            r#"{"content":"","reasoning_details":[{"type":"reasoning.text","text":"hm"}]}"#,
            r#"{"content":"so"}"#,
        ],
        "stop",
    );
    assert_eq!(details.reasoning, "hm");
}

fn events_seal(output: &[u8]) -> String {
    let seals = events(output).into_iter().filter_map(|(_, data)| {
        let event: serde_json::Value = serde_json::from_str(&data).unwrap();
        event["delta"]["signature"].as_str().map(str::to_owned)
    });
    seals.collect::<Vec<_>>().concat()
}

#[test]
fn stop_reasons_are_anthropics() {
    for (reason, stop) in [
        ("stop", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("content_filter", "filter"),
        ("tool_calls", "stop"),
        ("STOP", "stop"),
    ] {
        assert_eq!(answer(&[r#"{"content":"a"}"#], reason).stop, Some(stop), "{reason}");
    }
    let refused = answer(&[r#"{"refusal":"I will"}"#, r#"{"refusal":" not."}"#], "stop");
    assert_eq!((&*refused.text, refused.stop), ("I will not.", Some("filter")));
    let named =
        r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop","stop_reason":"stop"}]}"#;
    let text = String::from_utf8(raw(&[named, "[DONE]"]).output).unwrap();
    assert!(text.contains(r#""stop_reason":"end_turn","stop_sequence":null"#));
    let vllm =
        r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop","stop_reason":"END"}]}"#;
    let run = raw(&[vllm, "[DONE]"]);
    assert!(
        String::from_utf8(run.output)
            .unwrap()
            .contains(r#""stop_reason":"stop_sequence","stop_sequence":"END""#)
    );
}

#[test]
fn line_ends_of_unicode_are_escaped() {
    let text = "a\u{2028}b\u{2029}c\u{85}d\u{1f600}";
    let meaning = answer(&[&format!(r#"{{"content":"{text}"}}"#)], "stop");
    assert_eq!(meaning.text, text);
}

#[test]
fn pieces_of_a_character_are_joined() {
    let smile = "😀".as_bytes();
    for at in 1..4 {
        let cut = |from: usize, to: usize| {
            [br#"{"choices":[{"index":0,"delta":{"content":""#, &smile[from..to], br#""}}]}"#].concat()
        };
        let (first, second) = (cut(0, at), cut(at, 4));
        let events: [(Option<&str>, &[u8]); 3] = [
            (None, &first),
            (None, &second),
            (None, br#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#),
        ];
        let run = run_with(ApiDialect::ChatCompletions, ApiDialect::Messages, context(), &events);
        assert_eq!(accumulate::stream(ApiDialect::Messages, &run.output).text, "😀");
    }
    let meaning = answer(&[r#"{"content":"a\ud83d"}"#, r#"{"content":"\ude00b"}"#], "stop");
    assert_eq!(meaning.text, "a😀b");
}

#[test]
fn no_end_is_made_up() {
    let text = chunk(r#"{"content":"half"}"#);
    for events in [&["[DONE]"][..], &[&text], &[]] {
        let run = raw(events);
        assert_eq!(run.end, Err(BrokenAnswer::Cut), "{events:?}");
        assert!(!String::from_utf8_lossy(&run.output).contains("message_delta"));
    }
    // Without a reason, but said to be done, and with content.
    let run = raw(&[&text, "[DONE]"]);
    assert_eq!(run.end, Ok(()));
    // A reason without `[DONE]`.
    let run = raw(&[&text, &finish_chunk("stop")]);
    assert_eq!(run.end, Ok(()));
    assert_eq!(accumulate::stream(ApiDialect::Messages, &run.output).stop, Some("stop"));
}

#[test]
fn error_events_are_passed_with_their_words() {
    let text = chunk(r#"{"content":"half"}"#);
    for (name, error, expected) in [
        (None, r#"{"error":{"message":"no","code":500}}"#, "api_error: no"),
        (Some("error"), r#"{"message":"slow","code":429}"#, "rate_limit_error: slow"),
        (None, r#"{"error":"words"}"#, "api_error: words"),
        (Some("error"), "plain words", "api_error: plain words"),
        (
            None,
            r#"{"choices":[{"delta":{"content":""},"finish_reason":null}],"error":{"code":503,"message":"busy"}}"#,
            "overloaded_error: busy",
        ),
        (
            None,
            r#"{"choices":[{"delta":{},"finish_reason":"error"}]}"#,
            "api_error: the provider ended the answer with an error",
        ),
        (None, "not json", "api_error: the provider sent an event that is not JSON"),
    ] {
        let events: [(Option<&str>, &[u8]); 3] =
            [(None, text.as_bytes()), (name, error.as_bytes()), (None, b"[DONE]")];
        let run = run_with(ApiDialect::ChatCompletions, ApiDialect::Messages, context(), &events);
        let meaning = accumulate::stream(ApiDialect::Messages, &run.output);
        assert_eq!(meaning.error.as_deref(), Some(expected));
        assert_eq!((run.end, run.events[1].is_error, meaning.stop), (Err(BrokenAnswer::Failed), true, None));
    }
}

#[test]
fn whole_answers_have_the_same_blocks() {
    let body = r#"{"id":"chatcmpl-1","choices":[{"index":0,"message":{"role":"assistant","content":"a","tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"{\"q\": [1, \"\u2028\"]}"}},{"id":"","function":{"name":"f","arguments":""}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,"prompt_tokens_details":{"cached_tokens":60}}}"#;
    let meaning = whole_meaning(ApiDialect::ChatCompletions, ApiDialect::Messages, body);
    assert_eq!((&*meaning.order, meaning.stop, meaning.usage), ("tcc", Some("tool"), Some((100, 60, 20))));
    assert_eq!(meaning.calls[0].arguments, serde_json::json!({"q": [1, "\u{2028}"]}));
    assert_eq!(meaning.calls[1].arguments, serde_json::json!({}));
    let refused = r#"{"choices":[{"message":{"content":null,"refusal":"no"},"finish_reason":"stop"}]}"#;
    let meaning = whole_meaning(ApiDialect::ChatCompletions, ApiDialect::Messages, refused);
    assert_eq!((&*meaning.text, meaning.stop), ("no", Some("filter")));
}

#[test]
fn a_stream_may_begin_without_role_or_choices() {
    let azure = r#"{"id":"","model":"","choices":[],"prompt_filter_results":[]}"#;
    let run = raw(&[azure, &chunk(r#"{"content":"a"}"#), &finish_chunk("stop"), "[DONE]"]);
    assert!(!run.events[0].is_content);
    let meaning = accumulate::stream(ApiDialect::Messages, &run.output);
    assert_eq!((&*meaning.text, meaning.stop), ("a", Some("stop")));
}
