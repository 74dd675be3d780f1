//! The ends and counts of chat providers in their forms: no good end is made of another one.

use super::*;

fn whole_choice(message: &str, end: &str) -> String {
    format!(r#"{{"id":"c","choices":[{{"index":0,"message":{message},{end}}}]}}"#)
}

/// The end for each client, of a stream and of a whole answer; an error as its words.
fn ends(text: &str, reason: &str) -> Vec<Option<String>> {
    let mut ends = Vec::new();
    let body = whole_choice(&format!(r#"{{"content":"{text}"}}"#), &format!(r#""finish_reason":"{reason}""#));
    for to in [ApiDialect::Messages, ApiDialect::Responses, ApiDialect::Gemini] {
        let meaning = chat_meaning(to, &[&format!(r#"{{"content":"{text}"}}"#)], reason);
        ends.push(meaning.error.or_else(|| meaning.stop.map(str::to_owned)));
        let mut out = Vec::new();
        let from = ApiDialect::ChatCompletions;
        ends.push(match whole(from, to, body.as_bytes(), &context(), "r", 1, &mut out) {
            Ok(_) => accumulate::whole(to, &serde_json::from_slice(&out).unwrap()).stop.map(str::to_owned),
            Err(WholeError::Failed { message, .. }) => Some(message),
            Err(error) => panic!("{error:?}"),
        });
    }
    ends
}

#[test]
fn a_reason_with_details_or_of_another_host_is_no_good_end() {
    for (reason, expected) in [
        ("content_filter: PROHIBITED_CONTENT", "filter"),
        ("content_filter: SAFETY", "filter"),
        ("content-filter", "filter"),
        ("content_filtered", "filter"),
        ("sensitive", "filter"),
        ("RECITATION", "filter"),
        ("guardrail_intervened", "filter"),
        ("model_context_window_exceeded", "length"),
        ("MAX_TOKENS", "length"),
        ("max_output_tokens", "length"),
        ("stop: eos", "stop"),
        ("COMPLETE", "stop"),
    ] {
        for text in ["", "half"] {
            let ends = ends(text, reason);
            assert!(ends.iter().all(|end| end.as_deref() == Some(expected)), "{reason}: {ends:?}");
        }
    }
    for reason in
        ["function_call_filter: MALFORMED_FUNCTION_CALL", "network_error", "abort", "UNEXPECTED_TOOL_CALL"]
    {
        for end in ["", "half"].iter().flat_map(|text| ends(text, reason)) {
            assert!(end.as_ref().is_some_and(|words| words.ends_with(reason)), "{end:?}");
        }
    }
}

/// A word that is not known may mean anything: text is kept as a part of an answer, and nothing is an error.
#[test]
fn an_unknown_reason_is_no_good_end() {
    for reason in ["new_reason", "x y: z", &"long".repeat(100)] {
        assert!(ends("half", reason).iter().all(|end| end.as_deref() == Some("length")), "{reason}");
        for end in ends("", reason) {
            assert!(end.as_ref().is_some_and(|words| words.contains("ended the answer with an error")));
        }
    }
}

/// Some hosts write the word for null, or have words of their own for a good end.
#[test]
fn good_ends_of_other_hosts_are_good() {
    for reason in ["normal", "endoftext", "end_of_turn", "finish"] {
        assert!(ends("whole", reason).iter().all(|end| end.as_deref() == Some("stop")), "{reason}");
    }
    let chunk = |delta: &str, reason: &str| {
        format!(r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":"{reason}"}}]}}"#)
    };
    let chunks =
        [chunk(r#"{"role":"assistant"}"#, "null"), chunk(r#"{"content":"Hi"}"#, "null"), chunk("{}", "stop")];
    let chunks: Vec<_> = chunks.iter().map(String::as_str).collect();
    let meaning = meaning(ApiDialect::ChatCompletions, ApiDialect::Messages, &chunks);
    assert_eq!((meaning.error, meaning.stop), (None, Some("stop")));
}

#[test]
fn the_error_of_a_choice_is_passed_in_its_words() {
    let event = r#"{"choices":[{"delta":{"content":""},"finish_reason":"error","error":{"code":429,"message":"slow"}}]}"#;
    let meaning = meaning(ApiDialect::ChatCompletions, ApiDialect::Messages, &[event]);
    assert_eq!(meaning.error.as_deref(), Some("rate_limit_error: slow"));
}

const CALL: &str = r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}}]}"#;
const PART: &str = r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":"}}]}"#;

/// Clients run a tool only on the reason for it.
#[test]
fn a_whole_call_is_run_whatever_sequence_ended_the_answer() {
    for end in [
        r#""finish_reason":"stop","stop_reason":"</x>""#,
        r#""finish_reason":"stop","stop_reason":"tool_calls""#,
        r#""finish_reason":"stop","matched_stop":"</x>""#,
        r#""finish_reason":"tool_calls","stop_reason":"</x>""#,
    ] {
        let finish = format!(r#"{{"choices":[{{"index":0,"delta":{{}},{end}}}]}}"#);
        let run = run(ApiDialect::ChatCompletions, ApiDialect::Messages, &[&chunk(CALL), &finish, "[DONE]"]);
        let text = String::from_utf8(run.output).unwrap();
        assert!(text.contains(r#""stop_reason":"tool_use","stop_sequence":null"#), "{end}: {text}");
    }
    // The sequence stood in the arguments.
    let finish = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop","stop_reason":"</x>"}]}"#;
    let run = run(ApiDialect::ChatCompletions, ApiDialect::Messages, &[&chunk(PART), finish, "[DONE]"]);
    assert!(String::from_utf8(run.output).unwrap().contains(r#""stop_sequence":"</x>""#));
    // The other way round.
    let body = r#"{"id":"m","type":"message","role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{"x":1}}],"stop_reason":"stop_sequence","stop_sequence":"</x>","usage":{"input_tokens":1,"output_tokens":1}}"#;
    let whole = whole_meaning(ApiDialect::Messages, ApiDialect::ChatCompletions, body);
    assert_eq!(whole.stop, Some("tool"));
}

#[test]
fn the_sequence_that_matched_is_named() {
    let of = |end: &str| {
        let body = whole_choice(r#"{"content":"a"}"#, end);
        let json = whole_body(ApiDialect::ChatCompletions, ApiDialect::Messages, &context(), &body);
        (json["stop_reason"].as_str().unwrap().to_owned(), json["stop_sequence"].as_str().map(str::to_owned))
    };
    for (end, sequence) in [
        (r#""finish_reason":"stop","matched_stop":"END""#, Some("END")),
        (r#""finish_reason":"stop","matched_stop":null,"stop_reason":"</x>""#, Some("</x>")),
        // Numbers of tokens, marks of the model's template, and reasons.
        (r#""finish_reason":"stop","matched_stop":151645"#, None),
        (r#""finish_reason":"stop","matched_stop":"<|im_end|>""#, None),
        (r#""finish_reason":"stop","matched_stop":"</s>""#, None),
        (r#""finish_reason":"stop","stop_reason":"tool_calls""#, None),
        (r#""finish_reason":"stop","stop_reason":"""#, None),
        (r#""finish_reason":"eos","stop_reason":"eos_token""#, None),
    ] {
        let reason = if sequence.is_some() { "stop_sequence" } else { "end_turn" };
        assert_eq!(of(end), (reason.to_owned(), sequence.map(str::to_owned)), "{end}");
    }
}

#[test]
fn a_chunk_with_a_message_is_read() {
    let of = |events: &[&str]| meaning(ApiDialect::ChatCompletions, ApiDialect::Messages, events);
    let message =
        r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"so"},"finish_reason":"stop"}]}"#;
    let found = of(&[message, "[DONE]"]);
    assert_eq!((&*found.text, found.stop), ("so", Some("stop")));
    // The pieces again, as a whole.
    let found = of(&[&chunk(r#"{"content":"s"}"#), &chunk(r#"{"content":"o"}"#), message, "[DONE]"]);
    assert_eq!((&*found.text, found.stop), ("so", Some("stop")));
}

/// Perplexity repeats its pages in each chunk.
#[test]
fn pages_in_each_chunk_are_given_once() {
    let piece = |text: &str, reason: &str| {
        format!(
            r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":"{reason}"}}],"citations":["http://y"]}}"#
        )
    };
    let events = [&*piece("a", ""), &piece("b", ""), &piece("c", "stop"), "[DONE]"];
    let out = run(ApiDialect::ChatCompletions, ApiDialect::Messages, &events).output;
    assert_eq!(String::from_utf8(out).unwrap().matches("http://y").count(), 1);
}

#[test]
fn counts_are_read_in_every_form() {
    let usage_of = |usage: &str| {
        let body = whole_choice(r#"{"content":"a"}"#, r#""finish_reason":"stop""#)
            .replace(r#"{"id""#, &format!(r#"{{"usage":{usage},"id""#));
        let json = whole_body(ApiDialect::ChatCompletions, ApiDialect::Messages, &context(), &body);
        let count = |name: &str| json["usage"][name].as_u64().unwrap();
        let thinking = json["usage"]["output_tokens_details"]["thinking_tokens"].as_u64();
        (
            [count("input_tokens"), count("cache_read_input_tokens"), count("cache_creation_input_tokens")],
            count("output_tokens"),
            thinking,
        )
    };
    for (usage, expected) in [
        (
            r#"{"prompt_tokens":100,"completion_tokens":9,"cache_read_input_tokens":60,"cache_creation_input_tokens":30}"#,
            ([10, 60, 30], 9, None),
        ),
        (r#"{"prompt_tokens":"100","completion_tokens":"9"}"#, ([100, 0, 0], 9, None)),
        (
            r#"{"input_tokens":100,"output_tokens":9,"input_tokens_details":{"cached_tokens":60},"output_tokens_details":{"reasoning_tokens":4}}"#,
            ([40, 60, 0], 9, Some(4)),
        ),
        (
            r#"{"input_tokens":10,"output_tokens":9,"cache_read_input_tokens":60,"cache_creation_input_tokens":30}"#,
            ([10, 60, 30], 9, None),
        ),
        // An estimate.
        (r#"{"prompt_tokens":0,"completion_tokens":0}"#, ([7, 0, 0], 1, None)),
    ] {
        assert_eq!(usage_of(usage), expected, "{usage}");
    }
}

#[test]
fn zeros_at_the_start_are_no_usage() {
    let first = chunk(r#"{"content":"a"}"#)
        .replace(r#""usage":null"#, r#""usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#);
    let events = [&*first, &finish_chunk("stop"), USAGE, "[DONE]"];
    let out =
        String::from_utf8(run(ApiDialect::ChatCompletions, ApiDialect::Messages, &events).output).unwrap();
    assert!(out.split("\n\n").next().unwrap().contains(r#""input_tokens":7"#), "{out}");
    assert_eq!(accumulate::stream(ApiDialect::Messages, out.as_bytes()).usage, Some((100, 60, 20)));
}
