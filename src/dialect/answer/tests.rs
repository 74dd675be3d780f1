//! Every pair of dialects, against accumulators of the clients' dialects that know nothing of the translator.

mod accumulate;
mod calls;
mod chat_ends;
mod chat_to_messages;
mod chat_to_others;
mod citations;
mod errors;
mod from_messages;
mod from_responses;
mod meaning;
mod random;
mod transcripts;

use super::*;
use crate::dialect::reasoning;
use meaning::Meaning;

const CLIENTS: [ApiDialect; 4] =
    [ApiDialect::Messages, ApiDialect::Responses, ApiDialect::ChatCompletions, ApiDialect::Gemini];

/// A client that asks for all that it can get.
fn context() -> AnswerContext {
    AnswerContext {
        model: "m".to_owned(),
        streams: true,
        wants_usage: true,
        wants_encrypted_reasoning: true,
        estimated_input_tokens: 7,
        ..AnswerContext::default()
    }
}

/// The outcome of a stream: its bytes, the facts of each event, the end.
struct Run {
    output: Vec<u8>,
    events: Vec<Translated>,
    end: Result<(), BrokenAnswer>,
}

fn run_with(
    from: ApiDialect,
    to: ApiDialect,
    context: AnswerContext,
    events: &[(Option<&str>, &[u8])],
) -> Run {
    let mut translator = StreamTranslator::new(from, to, context, "req1", 1_700_000_000);
    let mut output = Vec::new();
    let events = events
        .iter()
        .map(|(name, data)| translator.event(name.map(str::as_bytes), data, &mut output))
        .collect();
    let end = translator.finish(&mut output);
    Run { output, events, end }
}

fn run(from: ApiDialect, to: ApiDialect, events: &[&str]) -> Run {
    let events: Vec<_> = events.iter().map(|data| (None, data.as_bytes())).collect();
    run_with(from, to, context(), &events)
}

fn meaning(from: ApiDialect, to: ApiDialect, events: &[&str]) -> Meaning {
    let run = run(from, to, events);
    accumulate::stream(to, &run.output)
}

fn whole_meaning(from: ApiDialect, to: ApiDialect, body: &str) -> Meaning {
    accumulate::whole(to, &whole_body(from, to, &context(), body))
}

fn whole_body(from: ApiDialect, to: ApiDialect, context: &AnswerContext, body: &str) -> serde_json::Value {
    let mut out = Vec::new();
    whole(from, to, body.as_bytes(), context, "req1", 1_700_000_000, &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

/// A chat chunk with this delta.
fn chunk(delta: &str) -> String {
    format!(
        r#"{{"id":"chatcmpl-1","object":"chat.completion.chunk","model":"x","choices":[{{"index":0,"delta":{delta},"finish_reason":null}}],"usage":null}}"#
    )
}

fn finish_chunk(reason: &str) -> String {
    format!(r#"{{"id":"chatcmpl-1","choices":[{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}]}}"#)
}

const USAGE: &str = r#"{"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,"prompt_tokens_details":{"cached_tokens":60},"completion_tokens_details":{"reasoning_tokens":5}}}"#;

/// A chat answer of these deltas, with its end.
fn chat_answer(deltas: &[&str], reason: &str) -> Vec<String> {
    let mut events = vec![chunk(r#"{"role":"assistant","content":""}"#)];
    events.extend(deltas.iter().map(|delta| chunk(delta)));
    events.extend([finish_chunk(reason), USAGE.to_owned(), "[DONE]".to_owned()]);
    events
}

fn chat_meaning(to: ApiDialect, deltas: &[&str], reason: &str) -> Meaning {
    let events = chat_answer(deltas, reason);
    meaning(ApiDialect::ChatCompletions, to, &events.iter().map(String::as_str).collect::<Vec<_>>())
}
