//! Answers of a responses provider for the other clients.

use super::*;

const OUTPUT: &str = r#"[{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"One"},{"type":"summary_text","text":"Two"}],"encrypted_content":"ENC"},{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"so","annotations":[],"logprobs":[]}]},{"type":"function_call","id":"fc_1","call_id":"call_1","name":"f","arguments":"{\"x\":1}","status":"completed"},{"type":"custom_tool_call","id":"ctc_1","call_id":"call_2","name":"patch","input":"a\"b"}]"#;
const USAGE: &str = r#"{"input_tokens":100,"input_tokens_details":{"cached_tokens":60},"output_tokens":20,"output_tokens_details":{"reasoning_tokens":5},"total_tokens":120}"#;

fn item(index: usize) -> String {
    serde_json::from_str::<serde_json::Value>(OUTPUT).unwrap()[index].to_string()
}

fn completed(status: &str, details: &str, output: &str) -> String {
    format!(
        r#"{{"type":"response.{status}","response":{{"id":"resp_1","object":"response","status":"{status}","incomplete_details":{details},"error":null,"model":"g","output":{output},"usage":{USAGE}}}}}"#
    )
}

fn answer() -> Vec<String> {
    let done = |index: usize| {
        format!(r#"{{"type":"response.output_item.done","output_index":{index},"item":{}}}"#, item(index))
    };
    let added = |index: usize| {
        format!(
            r#"{{"type":"response.output_item.added","output_index":{index},"item":{}}}"#,
            item(index).replace(r#""arguments":"{\"x\":1}""#, r#""arguments":"""#)
        )
    };
    let mut events: Vec<String> = vec![
        r#"{"type":"response.created","response":{"id":"resp_1","model":"g","status":"in_progress","error":null,"output":[]}}"#.to_owned(),
        r#"{"type":"response.in_progress","response":{"id":"resp_1","model":"g","error":null,"output":[]}}"#.to_owned(),
        added(0),
    ];
    for part in ["One", "Two"] {
        let index = usize::from(part == "Two");
        events.push(format!(
            r#"{{"type":"response.reasoning_summary_part.added","output_index":0,"summary_index":{index}}}"#
        ));
        events.push(format!(r#"{{"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":{index},"delta":"{part}"}}"#));
        events.push(format!(r#"{{"type":"response.reasoning_summary_text.done","output_index":0,"summary_index":{index},"text":"{part}"}}"#));
    }
    events.extend([
        done(0),
        added(1),
        r#"{"type":"response.output_text.delta","output_index":1,"content_index":0,"delta":"s","logprobs":[]}"#.to_owned(),
        r#"{"type":"response.output_text.delta","output_index":1,"content_index":0,"delta":"o","logprobs":[]}"#.to_owned(),
        r#"{"type":"response.output_text.done","output_index":1,"content_index":0,"text":"so"}"#.to_owned(),
        done(1),
        added(2),
        added(3),
        r#"{"type":"response.function_call_arguments.delta","output_index":2,"delta":"{\"x\":"}"#.to_owned(),
        r#"{"type":"response.custom_tool_call_input.delta","output_index":3,"delta":"a\""}"#.to_owned(),
        r#"{"type":"response.function_call_arguments.delta","output_index":2,"delta":"1}"}"#.to_owned(),
        r#"{"type":"response.custom_tool_call_input.delta","output_index":3,"delta":"b"}"#.to_owned(),
        done(2),
        done(3),
        completed("completed", "null", OUTPUT),
    ]);
    events
}

const OTHERS: [ApiDialect; 3] = [ApiDialect::Messages, ApiDialect::ChatCompletions, ApiDialect::Gemini];

fn check(to: ApiDialect, meaning: &Meaning) {
    assert_eq!((&*meaning.reasoning, &*meaning.text), ("One\n\nTwo", "so"), "{to:?}");
    let custom = if to == ApiDialect::ChatCompletions {
        serde_json::json!("a\"b")
    } else {
        serde_json::json!({"input": "a\"b"})
    };
    let calls: Vec<_> = meaning.calls.iter().map(|call| (&*call.id, call.arguments.clone())).collect();
    assert_eq!(calls, [("call_1", serde_json::json!({"x": 1})), ("call_2", custom)], "{to:?}");
    assert_eq!((meaning.stop, meaning.usage), (Some("tool"), Some((100, 60, 20))), "{to:?}");
}

#[test]
fn all_is_passed() {
    let events = answer();
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    for to in OTHERS {
        check(to, &meaning(ApiDialect::Responses, to, &events));
        let cut = run(ApiDialect::Responses, to, &events[..events.len() - 1]);
        assert_eq!(cut.end, Err(BrokenAnswer::Cut));
    }
}

#[test]
fn an_answer_without_deltas_is_read_from_its_items() {
    let events = answer();
    let done: Vec<_> = events
        .iter()
        .map(String::as_str)
        .filter(|event| !event.contains("delta") && !event.contains(".added"))
        .collect();
    let end = completed("completed", "null", OUTPUT);
    for to in OTHERS {
        check(to, &meaning(ApiDialect::Responses, to, &done));
        check(to, &meaning(ApiDialect::Responses, to, &[&end]));
        let body = end.split_once(r#""response":"#).unwrap().1;
        check(to, &whole_meaning(ApiDialect::Responses, to, body.strip_suffix('}').unwrap()));
    }
}

#[test]
fn encrypted_reasoning_can_be_given_back() {
    let events = answer();
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    let text = String::from_utf8(run(ApiDialect::Responses, ApiDialect::Messages, &events).output).unwrap();
    let signature = text.split(r#""signature":""#).nth(2).unwrap().split('"').next().unwrap();
    let signed = reasoning::decode(signature).unwrap();
    assert_eq!((signed.origin, &*signed.payload), (reasoning::ReasoningOrigin::ReasoningItem, "rs_1\nENC"));
}

#[test]
fn ends_and_errors_are_passed() {
    let created = answer().remove(0);
    for to in OTHERS {
        for (details, stop) in [
            (r#"{"reason":"max_output_tokens"}"#, "length"),
            (r#"{"reason":"content_filter"}"#, "filter"),
            ("null", "length"),
        ] {
            let meaning =
                meaning(ApiDialect::Responses, to, &[&created, &completed("incomplete", details, "[]")]);
            assert_eq!(meaning.stop, Some(stop));
        }
        for (error, words) in [
            (
                r#"{"type":"response.failed","response":{"id":"r","status":"failed","error":{"code":"rate_limit_exceeded","message":"slow"}}}"#,
                "slow",
            ),
            (
                r#"{"type":"error","code":"server_error","message":"oh","param":null,"sequence_number":3}"#,
                "oh",
            ),
            (r#"{"type":"error","error":{"type":"server_error","message":"ah"}}"#, "ah"),
        ] {
            let run = run(ApiDialect::Responses, to, &[&created, error]);
            assert!(accumulate::stream(to, &run.output).error.unwrap().ends_with(words));
            assert_eq!(run.end, Err(BrokenAnswer::Failed));
        }
    }
    let refusal = r#"{"type":"response.refusal.delta","output_index":0,"delta":"no"}"#;
    let end = completed("completed", "null", "[]");
    let refused = meaning(ApiDialect::Responses, ApiDialect::Messages, &[&created, refusal, &end]);
    assert_eq!((&*refused.text, refused.stop), ("no", Some("filter")));
    let refused = meaning(ApiDialect::Responses, ApiDialect::ChatCompletions, &[&created, refusal, &end]);
    assert_eq!((&*refused.refusal, refused.stop), ("no", Some("stop")));
}
