//! The places that citations name: in the text that the client's dialect counts.

use serde_json::Value;

use super::*;
use accumulate::events;

fn annotations(to: ApiDialect, output: &[u8]) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    for (_, data) in events(output) {
        let Ok(event) = serde_json::from_str::<Value>(&data) else { continue };
        let (list, start, end) = match to {
            ApiDialect::ChatCompletions => (
                &event["choices"][0]["delta"]["annotations"],
                "/url_citation/start_index",
                "/url_citation/end_index",
            ),
            ApiDialect::Responses => {
                (&event["item"]["content"][0]["annotations"], "/start_index", "/end_index")
            }
            ApiDialect::Gemini => {
                (&event["candidates"][0]["citationMetadata"]["citationSources"], "/startIndex", "/endIndex")
            }
            ApiDialect::Messages => continue,
        };
        let number = |place: &Value, path: &str| place.pointer(path).and_then(Value::as_u64).unwrap();
        found.extend(
            list.as_array().into_iter().flatten().map(|place| (number(place, start), number(place, end))),
        );
    }
    found
}

/// Two items, the second with two parts.
fn response() -> Vec<String> {
    let text = |item: u32, part: u32, text: &str| {
        format!(
            r#"{{"type":"response.output_text.delta","output_index":{item},"content_index":{part},"delta":"{text}"}}"#
        )
    };
    let cite = |item: u32, part: u32, start: u32, end: u32| {
        format!(
            r#"{{"type":"response.output_text.annotation.added","output_index":{item},"content_index":{part},"annotation_index":0,"annotation":{{"type":"url_citation","url":"http://x","title":"X","start_index":{start},"end_index":{end}}}}}"#
        )
    };
    let part_done = |item: u32, part: u32| {
        format!(
            r#"{{"type":"response.content_part.done","output_index":{item},"content_index":{part},"part":{{"type":"output_text"}}}}"#
        )
    };
    let done = |item: u32| {
        format!(r#"{{"type":"response.output_item.done","output_index":{item},"item":{{"type":"message"}}}}"#)
    };
    vec![
        text(0, 0, "H\u{e9}llo. "),
        part_done(0, 0),
        done(0),
        text(1, 0, "World"),
        cite(1, 0, 0, 5),
        part_done(1, 0),
        text(1, 1, " too"),
        cite(1, 1, 1, 4),
        part_done(1, 1),
        done(1),
        r#"{"type":"response.completed","response":{"id":"r","status":"completed","output":[]}}"#.to_owned(),
    ]
}

/// A chat message is one text; Gemini counts bytes.
#[test]
fn the_place_in_an_item_becomes_the_place_in_the_answer() {
    let events = response();
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    let body = r#"{"id":"r","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"H\u00e9llo. "}]},{"type":"message","content":[{"type":"output_text","text":"World","annotations":[{"type":"url_citation","url":"http://x","title":"X","start_index":0,"end_index":5}]},{"type":"output_text","text":" too","annotations":[{"type":"url_citation","url":"http://x","title":"X","start_index":1,"end_index":4}]}]}]}"#;
    for (to, expected) in
        [(ApiDialect::ChatCompletions, [(7, 12), (13, 16)]), (ApiDialect::Gemini, [(8, 13), (14, 17)])]
    {
        let run = run(ApiDialect::Responses, to, &events);
        assert_eq!(run.end, Ok(()));
        assert_eq!(annotations(to, &run.output), expected);
        let json = whole_body(ApiDialect::Responses, to, &context(), body).to_string();
        for (start, end) in expected {
            let places = [
                format!(r#""end_index":{end},"start_index":{start}"#),
                format!(r#""endIndex":{end},"startIndex":{start}"#),
            ];
            assert!(places.iter().any(|place| json.contains(place)), "{json}");
        }
    }
}

/// An item of a response has a text of its own.
#[test]
fn the_place_in_the_answer_becomes_the_place_in_an_item() {
    let message = [
        r#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":1,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"Hello. "}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":"World"}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"citations_delta","citation":{"type":"web_search_result_location","url":"http://x","title":"X","cited_text":"c"}}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    let run_of = run(ApiDialect::Messages, ApiDialect::Responses, &message);
    assert_eq!(annotations(ApiDialect::Responses, &run_of.output), [(0, 5)]);
    let deltas = [
        r#"{"content":"Hello. "}"#,
        r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}"#,
        r#"{"content":"World"}"#,
        r#"{"annotations":[{"type":"url_citation","url_citation":{"url":"http://x","title":"X","start_index":8,"end_index":11}},{"type":"url_citation","url_citation":{"url":"http://x","title":"X","start_index":0,"end_index":5}}]}"#,
    ];
    let chat = chat_answer(&deltas, "stop");
    let chat: Vec<_> = chat.iter().map(String::as_str).collect();
    let out = run(ApiDialect::ChatCompletions, ApiDialect::Responses, &chat).output;
    // The second is of an item that is over.
    assert_eq!(annotations(ApiDialect::Responses, &out), [(1, 4), (0, 0)]);
}

#[test]
fn gemini_counts_bytes() {
    let deltas = [
        "{\"content\":\"\u{e9}\u{1f600}x\"}",
        r#"{"annotations":[{"type":"url_citation","url_citation":{"url":"http://x","title":"X","start_index":1,"end_index":3}}]}"#,
    ];
    let chat = chat_answer(&deltas, "stop");
    let chat: Vec<_> = chat.iter().map(String::as_str).collect();
    let out = run(ApiDialect::ChatCompletions, ApiDialect::Gemini, &chat).output;
    assert_eq!(annotations(ApiDialect::Gemini, &out), [(2, 7)]);
}
