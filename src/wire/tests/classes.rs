//! Classes of events, case by case and over the recorded streams. Each event is classified both before and
//! after the commit point, and the results must agree.
//!
//! Content is the only class that may differ.

use super::transcripts::transcripts;
use crate::wire::{
    AnswerEnd, Dialect, EventClass, EventUsage,
    classify::{EventFacts, classify, classify_committed, is_idle},
    sse::{Event, Scanner},
    usage::Usage,
};

fn event<'a>(name: Option<&'a str>, data: &'a str) -> Event<'a> {
    Event {
        start: Some(0),
        end: 0,
        data: Some(data.as_bytes()),
        name: name.map(str::as_bytes),
        comment_only: false,
    }
}

fn chat(data: &str) -> EventClass {
    let (early, late) = (
        classify(Dialect::ChatCompletions, &event(None, data)),
        classify_committed(Dialect::ChatCompletions, &event(None, data)),
    );
    let expected = if early.class == EventClass::Content { EventClass::Other } else { early.class };
    assert_eq!((late.class, late.usage.is_possible()), (expected, early.usage.is_possible()), "{data}");
    early.class
}

#[test]
fn tells_content_from_what_comes_before_it() {
    let delta = |delta: &str| {
        chat(&format!(r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}],"usage":null}}"#))
    };
    for with_content in [
        r#"{"content":"a"}"#,
        r#"{"content":[{"type":"thinking"}]}"#,
        r#"{"content":null,"reasoning_content":"a"}"#,
        r#"{"reasoning":" "}"#,
        r#"{"content":"","reasoning_details":[{"text":"a"}]}"#,
        r#"{"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":""}}]}"#,
        r#"{"refusal":"no"}"#,
    ] {
        assert_eq!(delta(with_content), EventClass::Content, "{with_content}");
    }
    for without_content in [
        "{}",
        r#"{"role":"assistant"}"#,
        r#"{"role":"assistant","content":"","refusal":null,"tool_calls":null}"#,
        r#"{"role":"assistant","content":null,"reasoning_content":""}"#,
    ] {
        assert_eq!(delta(without_content), EventClass::Other, "{without_content}");
    }
    assert_eq!(chat(r#"{"choices":[],"prompt_filter_results":[{"prompt_index":0}]}"#), EventClass::Other);
    assert_eq!(chat(r#"{"choices":[{"index":0,"text":"a"}]}"#), EventClass::Content);
    assert_eq!(chat(r#"{"choices":[{"delta":{"content":"\ud83d"}}]}"#), EventClass::Content);
}

#[test]
fn tells_the_extra_usage_chunk_from_usage_that_rides_along() {
    let usage = r#""usage":{"prompt_tokens":1,"completion_tokens":2}"#;
    assert_eq!(chat(&format!(r#"{{"choices":[],{usage}}}"#)), EventClass::Usage);
    assert_eq!(chat(&format!("{{ \"choices\" : [ ] , {usage} }}")), EventClass::Usage);
    // LiteLLM, and what is not worth a word: every chunk's members, and empty ones.
    let empty = r#"[{"index":0,"delta":{}}]"#;
    assert_eq!(chat(&format!(r#"{{"id":"a","model":"m","choices":{empty},{usage}}}"#)), EventClass::Usage);
    let nulls = r#"[{"index":0,"delta":{ },"finish_reason":null,"logprobs":null},{"index":1,"delta":{}}]"#;
    assert_eq!(chat(&format!(r#"{{"choices":{nulls},"error":null,"x":[],{usage}}}"#)), EventClass::Usage);
    // llama-server, a reason, a role.
    for other in [
        format!(r#"{{"choices":[],{usage},"timings":{{"prompt_n":1}}}}"#),
        format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"stop"}}],{usage}}}"#),
        format!(r#"{{"choices":[{{"delta":{{"role":"assistant"}}}}],{usage}}}"#),
        format!(r#"{{"choices":[{{"index":0}}],{usage}}}"#),
    ] {
        assert_eq!(chat(&other), EventClass::Other, "{other}");
        assert!(classify_committed(Dialect::ChatCompletions, &event(None, &other)).usage.is_possible());
    }
    let riding = format!(r#"{{"choices":[{{"delta":{{"content":"\"choices\":[]"}}}}],{usage}}}"#);
    assert_eq!(chat(&riding), EventClass::Content);
    let facts = classify_committed(Dialect::ChatCompletions, &event(None, &riding));
    assert_eq!(facts, EventFacts { class: EventClass::Other, usage: EventUsage::Unread });
    assert_eq!(chat(r#"{"choices":[],"usage":null}"#), EventClass::Other);
    assert_eq!(chat(&format!(r#"{{"choices":[],{usage},"error":{{"message":"x"}}}}"#)), EventClass::Error);
}

#[test]
fn finds_errors_in_their_several_forms() {
    for error in [
        r#"{"error":{"message":"x"}}"#,
        r#"{"id":"a","error" : "x","choices":[{"delta":{"content":""}}]}"#,
        r#"{"type":"error","error":{"type":"overloaded_error"}}"#,
        r#"{"object":"error","message":"x"}"#,
        r#"{"choices":[{"delta":{},"error":{"code":502}}]}"#,
    ] {
        assert_eq!(chat(error), EventClass::Error, "{error}");
    }
    for fine in [
        r#"{"error":null,"choices":[]}"#,
        r#"{"choices":[{"delta":{"content":"\"error\":{}"}}]}"#,
        r#"{"error":"","choices":[{"delta":{"content":"a"}}]}"#,
        r#"{"choices":[{"delta":{"content":"a"}}],"error":{ }}"#,
        r#"{"choices":[{"delta":{"content":"a"},"error":""}],"error":false}"#,
    ] {
        assert_ne!(chat(fine), EventClass::Error, "{fine}");
    }
    for dialect in Dialect::ALL {
        for classify in [classify, classify_committed] {
            assert_eq!(classify(dialect, &event(Some("error"), "{}")).class, EventClass::Error);
        }
    }
}

#[test]
fn reads_the_dialects_that_name_their_events() {
    let cases = [
        (
            Dialect::Responses,
            "response.created",
            r#"{"type":"response.created","response":{"error":null}}"#,
            EventClass::Other,
        ),
        (
            Dialect::Responses,
            "response.output_item.added",
            r#"{"item":{"type":"message"}}"#,
            EventClass::Other,
        ),
        (
            Dialect::Responses,
            "response.output_item.added",
            r#"{"item":{"type":"function_call"}}"#,
            EventClass::Content,
        ),
        (Dialect::Responses, "response.output_text.delta", r#"{"delta":"a"}"#, EventClass::Content),
        (
            Dialect::Responses,
            "response.completed",
            r#"{"response":{"usage":{"input_tokens":1}}}"#,
            EventClass::Done,
        ),
        (Dialect::Responses, "response.failed", r#"{"response":{"error":{"code":"x"}}}"#, EventClass::Error),
        (Dialect::Messages, "ping", r#"{"type":"ping"}"#, EventClass::Other),
        (
            Dialect::Messages,
            "message_start",
            r#"{"message":{"usage":{"input_tokens":1}}}"#,
            EventClass::Other,
        ),
        (
            Dialect::Messages,
            "content_block_start",
            r#"{"content_block":{"type":"text","text":""}}"#,
            EventClass::Other,
        ),
        (
            Dialect::Messages,
            "content_block_start",
            r#"{"content_block":{"type":"tool_use","name":"f"}}"#,
            EventClass::Content,
        ),
        (
            Dialect::Messages,
            "content_block_delta",
            r#"{"delta":{"type":"thinking_delta","thinking":"a"}}"#,
            EventClass::Content,
        ),
        (Dialect::Messages, "message_stop", r#"{"type":"message_stop"}"#, EventClass::Done),
        (Dialect::Responses, "response.created", r#"{"response":{"error":null}}"#, EventClass::Other),
        (Dialect::Responses, "response.created", r#"{"error":{"message":"no"}}"#, EventClass::Error),
        (Dialect::Messages, "message_start", r#"{"type":"error","message":{}}"#, EventClass::Error),
        (Dialect::Messages, "message_start", "[DONE]", EventClass::Done),
    ];
    for (dialect, name, data, class) in cases {
        let event = event(Some(name), data);
        let early = classify(dialect, &event);
        assert_eq!(early.class, class, "{name} {data}");
        let late = classify_committed(dialect, &event);
        assert_eq!(
            late.class,
            if class == EventClass::Content { EventClass::Other } else { class },
            "{name} {data}"
        );
        assert_eq!(late.usage.of(dialect, &event), early.usage.of(dialect, &event));
        assert_eq!(early.usage.is_possible(), data.contains("usage"));
    }
}

#[test]
fn a_keepalive_is_known_by_its_type() {
    for (kind, idle) in
        [("ping", true), ("keepalive", true), ("keep-alive", true), ("heartbeat", true), ("pong", false)]
    {
        let data = format!(r#"{{"type":"{kind}","at":1}}"#);
        assert_eq!(is_idle(&event(None, &data), EventClass::Other), idle, "{kind}");
    }
}

#[test]
fn an_event_too_long_to_keep_is_classed_by_its_name() {
    let long = |name| Event { data: None, ..event(name, "") };
    let class = |dialect, name| classify(dialect, &long(name)).class;
    assert_eq!(class(Dialect::ChatCompletions, None), EventClass::Content);
    assert_eq!(class(Dialect::Responses, Some("response.created")), EventClass::Other);
    assert_eq!(class(Dialect::Responses, Some("response.output_text.delta")), EventClass::Content);
    assert_eq!(class(Dialect::Responses, Some("response.completed")), EventClass::Done);
}

#[test]
fn recorded_streams_are_understood() {
    for transcript in transcripts() {
        let case = &*transcript.case;
        let dialect = match case {
            _ if case.starts_with("cohere") => continue,
            _ if case.starts_with("anthropic") => Dialect::Messages,
            _ if case.contains("responses") => Dialect::Responses,
            _ => Dialect::ChatCompletions,
        };
        let (mut classes, mut total, mut end) = (Vec::new(), Usage::default(), AnswerEnd::default());
        Scanner::default()
            .scan(&transcript.body, |event| {
                let early = classify(dialect, &event);
                let late = classify_committed(dialect, &event);
                assert!(late.class == early.class || early.class == EventClass::Content, "{case}");
                assert!(late.usage.is_possible() || !early.usage.is_possible(), "{case}");
                end.note_early(dialect, &event, early.class);
                if let Some(found) = early.usage.of(dialect, &event) {
                    total = total.merge(found);
                }
                classes.push(early.class);
            })
            .unwrap();
        assert!(!end.is_missing(), "{case} has come to its end");
        let has = |class| classes.contains(&class);
        assert_eq!(has(EventClass::Error), case.ends_with("error"), "{case}");
        // One recording has no content: it reaches its length limit during hidden reasoning.
        assert_eq!(has(EventClass::Content), case != "openai-stream-usage-detailed", "{case}");
        let sse = &transcript.meta["sse"];
        assert!(has(EventClass::Done) || sse["done"] == false, "{case}");
        assert!(total.output.is_some() || sse["usage"] == false, "{case}");
    }
}
