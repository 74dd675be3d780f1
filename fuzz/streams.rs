//! Translates a provider's stream, any bytes of it, into a client's dialect, which the input chooses. The
//! output is always a stream of that dialect: its events are JSON, blocks open and close in order, nothing
//! follows the end. Cuts change nothing, and an event that serde_json reads is never one that is not JSON.

use std::collections::BTreeMap;

use serde_json::Value;
use thalweg::{
    dialect::{
        ApiDialect,
        answer::{ErrorCode, StreamTranslator, WholeError, error, whole},
        context::{AnswerContext, ToolKind, ToolName},
    },
    wire::Scanner,
};

use crate::pieces;

const CLIENTS: [ApiDialect; 4] =
    [ApiDialect::ChatCompletions, ApiDialect::Responses, ApiDialect::Messages, ApiDialect::Gemini];
const MAX_LINE: usize = 1 << 20;
const MAX_DEPTH: usize = 100;
/// Bytes of output for a byte of input: an event of some forty bytes may be a chunk that repeats an id and a
/// model of a thousand each, or open and close a call.
const MAX_GROWTH: usize = 200;

/// Input: the request's wishes, the client among them; two cuts; the stream.
pub fn check(from: ApiDialect, input: &[u8]) {
    let Some((wishes, rest)) = input.split_first() else { return };
    let Some((bytes, pieces)) = pieces::pieces(rest) else { return };
    let context = context(*wishes);
    let to = CLIENTS[usize::from(wishes >> 6)];
    let run = run(from, to, &context, &pieces);
    assert!(run.output.len() <= MAX_LINE.min(20_000) + MAX_GROWTH * bytes.len(), "too much");
    let events = events(to, &run.output);
    match to {
        ApiDialect::ChatCompletions => chat(&events, run.is_whole),
        ApiDialect::Messages => messages(&events, run.is_whole),
        ApiDialect::Responses => responses(&events, run.is_whole),
        ApiDialect::Gemini => gemini(&events, run.is_whole),
    }
    if pieces.iter().filter(|piece| !piece.is_empty()).count() > 1 {
        assert_eq!(self::run(from, to, &context, &[bytes]).output, run.output, "a cut changes the output");
    }
    each_event(bytes, from, &context);
}

/// A client that asks for all, or for little.
fn context(wishes: u8) -> AnswerContext {
    let tool = |sent: &str, kind| ToolName {
        sent: sent.to_owned(),
        name: "t".to_owned(),
        namespace: (wishes & 1 != 0).then(|| "n".to_owned()),
        kind,
    };
    AnswerContext {
        model: if wishes & 1 == 0 { "m".to_owned() } else { String::new() },
        streams: true,
        wants_usage: wishes & 2 == 0,
        wants_encrypted_reasoning: wishes & 4 == 0,
        estimated_input_tokens: 7,
        tools: vec![tool("c", ToolKind::Custom), tool("s", ToolKind::LocalShell), tool("f", ToolKind::Function)],
        echo: if wishes & 8 == 0 { Vec::new() } else { vec![("metadata", "{\"a\":\n1}".to_owned())] },
    }
}

struct Run {
    output: Vec<u8>,
    is_whole: bool,
}

fn run(from: ApiDialect, to: ApiDialect, context: &AnswerContext, pieces: &[&[u8]]) -> Run {
    let mut translator = StreamTranslator::new(from, to, context.clone(), "req1", 1_700_000_000);
    let (mut output, mut has_ended) = (Vec::new(), false);
    let mut scanner = Scanner::of_whole_events(MAX_LINE);
    let mut event = |event: thalweg::wire::Event<'_>| {
        let Some(data) = event.data else { return };
        let before = output.len();
        let seen = translator.event(event.name, data, &mut output);
        assert!(!(has_ended && output.len() > before), "output after the end");
        has_ended |= seen.is_end || seen.is_error;
    };
    for piece in pieces {
        scanner.scan(piece, &mut event).expect("no line is that long");
    }
    scanner.finish(&mut event);
    let is_whole = translator.finish(&mut output).is_ok();
    let before = output.len();
    translator.error(ErrorCode::Server, "gone\u{2028}", &mut output);
    assert!(!is_whole || output.len() == before, "an error after the end");
    translator.error(ErrorCode::Server, "again", &mut output);
    let before = output.len();
    translator.event(None, b"{}", &mut output);
    assert_eq!(output.len(), before, "output after the end");
    Run { output, is_whole }
}

/// Each event alone: as a whole answer and as an error.
fn each_event(bytes: &[u8], from: ApiDialect, context: &AnswerContext) {
    let mut scanner = Scanner::of_whole_events(MAX_LINE);
    let mut number = 0_usize;
    let mut event = |event: thalweg::wire::Event<'_>| {
        let Some(data) = event.data else { return };
        number += 1;
        let to = CLIENTS[number % CLIENTS.len()];
        let mut out = Vec::new();
        let answered = whole(from, to, data, context, "r", 1, &mut out);
        if answered.is_ok() {
            assert!(serde_json::from_slice::<Value>(&out).is_ok_and(|value| value.is_object()));
        }
        let is_json = serde_json::from_slice::<Value>(data).is_ok();
        let is_deep = data.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() >= MAX_DEPTH;
        let is_mended = str::from_utf8(data).is_err() || data.windows(3).any(|part| part.eq_ignore_ascii_case(b"\\ud"));
        if !is_deep && (is_json || !is_mended) {
            assert_eq!(answered != Err(WholeError::NotJson), is_json, "{}", String::from_utf8_lossy(data));
        }
        out.clear();
        let status = error(from, to, 500, data, &mut out);
        assert!((400..600).contains(&status) && serde_json::from_slice::<Value>(&out).is_ok());
    };
    scanner.scan(bytes, &mut event).expect("no line is that long");
    scanner.finish(&mut event);
}

/// The events of a stream: name and data. `None`: `[DONE]`.
fn events(to: ApiDialect, output: &[u8]) -> Vec<(Option<String>, Option<Value>)> {
    let text = str::from_utf8(output).expect("UTF-8");
    assert!(!text.contains(['\u{85}', '\u{2028}', '\u{2029}']), "line ends of Unicode");
    let end = if to == ApiDialect::Gemini { "\r\n\r\n" } else { "\n\n" };
    let Some(text) = text.strip_suffix(end) else {
        assert!(text.is_empty(), "a cut event");
        return Vec::new();
    };
    let event = |block: &str| {
        let (name, data) = match block.split_once('\n') {
            Some((name, data)) => (Some(name.strip_prefix("event: ").expect("a name").to_owned()), data),
            None => (None, block),
        };
        let data = data.strip_prefix("data: ").expect("data");
        assert!(!data.contains(['\n', '\r']));
        let is_done = data == "[DONE]";
        let value = (!is_done).then(|| serde_json::from_str(data).unwrap_or_else(|why| panic!("{why}: {data}")));
        (name, value)
    };
    text.split(end).map(event).collect()
}

fn index(value: &Value) -> usize {
    value.as_u64().expect("an index") as usize
}

fn chat(events: &[(Option<String>, Option<Value>)], is_whole: bool) {
    let (mut has_finished, mut is_done, mut has_failed, mut calls) = (false, false, false, 0);
    for (name, data) in events {
        assert!(name.is_none() && !is_done && !has_failed, "after the end");
        let Some(chunk) = data else {
            assert!(has_finished);
            is_done = true;
            continue;
        };
        if chunk.get("error").is_some() {
            assert!(chunk["error"]["message"].is_string());
            has_failed = true;
            continue;
        }
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert!(chunk["id"].is_string() && chunk["model"].is_string());
        let choices = chunk["choices"].as_array().expect("choices");
        let Some(choice) = choices.first() else {
            assert!(has_finished && chunk["usage"]["total_tokens"].is_u64());
            continue;
        };
        assert!(!has_finished && choice["index"] == 0 && choice["delta"].is_object());
        for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let index = index(&call["index"]);
            if call.get("id").is_some() {
                assert_eq!(index, calls);
                calls += 1;
            }
            assert!(index < calls);
        }
        has_finished = !choice["finish_reason"].is_null();
    }
    assert_eq!(is_done, is_whole);
}

fn messages(events: &[(Option<String>, Option<Value>)], is_whole: bool) {
    let (mut is_started, mut has_delta, mut is_over, mut has_failed) = (false, false, false, false);
    let mut blocks: Vec<Option<String>> = Vec::new();
    for (name, data) in events {
        let event = data.as_ref().expect("JSON");
        let kind = event["type"].as_str().expect("a type");
        assert_eq!(name.as_deref(), Some(kind));
        assert!(!is_over && !has_failed, "after the end");
        assert!(kind == "error" || (kind == "message_start") != is_started, "{kind}");
        match kind {
            "message_start" => is_started = true,
            "content_block_start" => {
                assert_eq!(index(&event["index"]), blocks.len());
                blocks.push(Some(event["content_block"]["type"].as_str().expect("a type").to_owned()));
            }
            "content_block_delta" => {
                let block = blocks[index(&event["index"])].as_deref().expect("an open block");
                match event["delta"]["type"].as_str().expect("a type") {
                    "text_delta" | "citations_delta" => assert_eq!(block, "text"),
                    "thinking_delta" | "signature_delta" => assert_eq!(block, "thinking"),
                    "input_json_delta" => assert_eq!(block, "tool_use"),
                    other => panic!("{other}"),
                }
            }
            "content_block_stop" => assert!(blocks[index(&event["index"])].take().is_some()),
            "message_delta" => {
                assert!(!has_delta && blocks.iter().all(Option::is_none));
                assert!(event["delta"]["stop_reason"].is_string() && event["usage"]["output_tokens"].is_u64());
                has_delta = true;
            }
            "message_stop" => {
                assert!(has_delta);
                is_over = true;
            }
            "error" => {
                assert!(event["error"]["message"].is_string());
                has_failed = true;
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(is_over, is_whole);
}

fn responses(events: &[(Option<String>, Option<Value>)], is_whole: bool) {
    let (mut is_over, mut has_failed) = (false, false);
    // An item as announced, and as it is once it is done.
    let mut items: Vec<(Value, Option<Value>)> = Vec::new();
    let mut texts: BTreeMap<usize, String> = BTreeMap::new();
    for (sequence, (name, data)) in events.iter().enumerate() {
        let event = data.as_ref().expect("JSON");
        let kind = event["type"].as_str().expect("a type");
        assert_eq!(name.as_deref(), Some(kind));
        assert_eq!(event["sequence_number"].as_u64(), Some(sequence as u64));
        assert!(!is_over && !has_failed, "after the end");
        let at = event.get("output_index").map(index);
        if let Some(id) = event.get("item_id") {
            let (item, done) = &items[at.expect("an index")];
            assert!(item["id"] == *id && done.is_none(), "{kind}");
        }
        let text = |member: &str| event[member].as_str().map(str::to_owned);
        match kind.strip_prefix("response.").expect("a response's") {
            "created" => assert_eq!(sequence, 0),
            "in_progress" => assert_eq!(sequence, 1),
            "output_item.added" => {
                assert_eq!(at, Some(items.len()));
                items.push((event["item"].clone(), None));
            }
            "output_item.done" => {
                let (item, done) = &mut items[at.expect("an index")];
                assert!(done.is_none() && item["id"] == event["item"]["id"] && item["type"] == event["item"]["type"]);
                *done = Some(event["item"].clone());
            }
            "output_text.delta" | "refusal.delta" | "reasoning_summary_text.delta"
            | "function_call_arguments.delta" | "custom_tool_call_input.delta" => {
                *texts.entry(at.expect("an index")).or_default() += &text("delta").expect("a delta");
            }
            "output_text.done" | "refusal.done" | "reasoning_summary_text.done"
            | "function_call_arguments.done" | "custom_tool_call_input.done" => {
                let whole = ["text", "refusal", "arguments", "input"].into_iter().find_map(text);
                assert_eq!(texts.remove(&at.expect("an index")).unwrap_or_default(), whole.expect("a text"));
            }
            "content_part.added" | "content_part.done" | "reasoning_summary_part.added"
            | "reasoning_summary_part.done" | "output_text.annotation.added" => assert!(at.is_some()),
            "completed" | "incomplete" => {
                is_over = true;
                let done: Option<Vec<Value>> = items.iter().map(|(_, done)| done.clone()).collect();
                assert_eq!(event["response"]["output"], Value::Array(done.expect("all done")));
                assert!(event["response"]["usage"]["total_tokens"].is_u64());
            }
            "failed" => {
                assert!(event["response"]["error"]["message"].is_string());
                has_failed = true;
            }
            other => panic!("{other}"),
        }
        assert!(sequence >= 2 || matches!(kind, "response.created" | "response.in_progress" | "response.failed"));
    }
    assert_eq!(is_over, is_whole);
}

fn gemini(events: &[(Option<String>, Option<Value>)], is_whole: bool) {
    let (mut has_finished, mut has_failed) = (false, false);
    for (name, data) in events {
        let chunk = data.as_ref().expect("JSON");
        assert!(name.is_none() && !has_finished && !has_failed, "after the end");
        if chunk.get("error").is_some() {
            assert!(chunk["error"]["message"].is_string());
            has_failed = true;
            continue;
        }
        let candidate = &chunk["candidates"][0];
        for part in candidate["content"]["parts"].as_array().expect("parts") {
            assert!(part["text"].is_string() || part["functionCall"]["args"].is_object());
        }
        has_finished = candidate["finishReason"].is_string();
    }
    assert_eq!(has_finished, is_whole);
}
