//! Measures translation: an event of a stream and a coding agent's request, for each pair of dialects.
//! `cargo bench --bench translate`; instructions per call with `benches/instructions.sh`.

#![expect(clippy::expect_used, reason = "a bench that cannot run should say so")]

use std::{hint::black_box, iter};

use divan::{Bencher, counter::BytesCount};
use thalweg::dialect::{
    ApiDialect,
    answer::StreamTranslator,
    context::AnswerContext,
    request::{self, RequestOptions},
};

#[path = "../perf/rig/src/request.rs"]
mod agent;

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("--count") {
        let (case, times) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
        count(&case, times.parse().unwrap_or(1));
    } else {
        divan::main();
    }
}

/// Runs one case, `event/messages>chat`, `escapes/messages>chat`, `request/messages>chat` or `first-request/
/// messages>chat` with the client's dialect first, `times` times: callgrind's counts of two runs are
/// subtracted. A request has a new last call and result, and came with its key before but for them; a first
/// one has a key of its own.
fn count(case: &str, times: usize) {
    let Some((kind, pair)) = case.split_once('/') else { return };
    let Some(&pair) = PAIRS.iter().find(|(client, provider)| pair == name(*client, *provider)) else {
        return;
    };
    match kind {
        "event" => iter::repeat_with(event(pair, " water")).take(times).for_each(drop),
        "escapes" => iter::repeat_with(event(pair, ESCAPES)).take(times).for_each(drop),
        "request" => iter::repeat_with(request(pair, false)).take(times).for_each(drop),
        "first-request" => iter::repeat_with(request(pair, true)).take(times).for_each(drop),
        _ => {}
    }
}

use ApiDialect::{ChatCompletions, Gemini, Messages, Responses};

const PAIRS: [(ApiDialect, ApiDialect); 9] = [
    (Messages, ChatCompletions),
    (Responses, ChatCompletions),
    (Gemini, ChatCompletions),
    (ChatCompletions, Messages),
    (Responses, Messages),
    (Gemini, Messages),
    (ChatCompletions, Responses),
    (Messages, Responses),
    (Gemini, Responses),
];

fn name(client: ApiDialect, provider: ApiDialect) -> String {
    format!("{}>{}", client.as_str(), provider.as_str())
}

/// Events before the text, and one of the text.
const fn events_of(
    provider: ApiDialect,
) -> (&'static [(&'static str, &'static str)], (&'static str, &'static str)) {
    match provider {
        ChatCompletions | Gemini => (
            &[(
                "",
                r#"{"id":"chatcmpl-8f2c1d7e5b3a4961","object":"chat.completion.chunk","created":1767225600,"model":"river-large-2","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            )],
            (
                "",
                r#"{"id":"chatcmpl-8f2c1d7e5b3a4961","object":"chat.completion.chunk","created":1767225600,"model":"river-large-2","system_fingerprint":"fp_0000000000","choices":[{"index":0,"delta":{"content":" water"},"logprobs":null,"finish_reason":null}],"usage":null}"#,
            ),
        ),
        Messages => (
            &[
                (
                    "message_start",
                    r#"{"type":"message_start","message":{"id":"msg_01","type":"message","role":"assistant","model":"river","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"output_tokens":1}}}"#,
                ),
                (
                    "content_block_start",
                    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
                ),
            ],
            (
                "content_block_delta",
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" water"}}"#,
            ),
        ),
        Responses => (
            &[
                (
                    "response.created",
                    r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_01","object":"response","created_at":1767225600,"status":"in_progress","model":"river","output":[]}}"#,
                ),
                (
                    "response.output_item.added",
                    r#"{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"id":"msg_01","type":"message","status":"in_progress","role":"assistant","content":[]}}"#,
                ),
                (
                    "response.content_part.added",
                    r#"{"type":"response.content_part.added","sequence_number":2,"item_id":"msg_01","output_index":0,"content_index":0,"part":{"type":"output_text","annotations":[],"logprobs":[],"text":""}}"#,
                ),
            ],
            (
                "response.output_text.delta",
                r#"{"type":"response.output_text.delta","sequence_number":3,"item_id":"msg_01","output_index":0,"content_index":0,"delta":" water","logprobs":[],"obfuscation":"Xw3hTYu5aB"}"#,
            ),
        ),
    }
}

/// A text as code has it.
const ESCAPES: &str = "\\n\\t\\\"a\\\"";

/// Translates one event more of a stream: each has the next number, if the dialect numbers them.
fn event((client, provider): (ApiDialect, ApiDialect), inside: &str) -> impl FnMut() {
    let mut translator =
        StreamTranslator::new(provider, client, AnswerContext::default(), "0f1e2d3c4b5a", 1_767_225_600);
    let (before, text) = events_of(provider);
    let named = |name: &'static str| (!name.is_empty()).then_some(name.as_bytes());
    let mut out = Vec::new();
    for (name, data) in before.iter().chain([&text]) {
        translator.event(named(name), data.as_bytes(), &mut out);
    }
    let text_of = |number: &str| {
        text.1.replace(" water", inside).replace("_number\":3", &format!("_number\":{number}")).into_bytes()
    };
    let mut events = ["4", "5"].map(text_of);
    move || {
        out.clear();
        events.swap(0, 1);
        translator.event(named(text.0), black_box(&events[0]), &mut out);
        assert!(!out.is_empty());
        black_box(&out);
    }
}

const BYTES: usize = 90_000;

fn body(client: ApiDialect) -> Vec<u8> {
    let dialect = match client {
        ChatCompletions | Gemini => agent::Dialect::Chat,
        Messages => agent::Dialect::Messages,
        Responses => agent::Dialect::Responses,
    };
    agent::body(dialect, BYTES)
}

/// A word of the last call.
const LAST: &[u8] = b"src/bed/station_";

/// Translates a request whose last call is another one each time, of one key or of a new one each time.
fn request((client, provider): (ApiDialect, ApiDialect), is_first: bool) -> impl FnMut() -> usize {
    let mut body = body(client);
    let options = RequestOptions::new("river-large-2");
    let last = body.windows(LAST.len()).rposition(|word| word == LAST).expect("a call");
    let mut numbers = 0_u32..;
    move || {
        let number = numbers.next().unwrap_or_default();
        body[last] = b'a' + (number % 26) as u8;
        let key = if is_first { number.to_string() } else { "key".to_owned() };
        let options = RequestOptions { key: Some(&key), ..options };
        let translated = request::translate(client, provider, black_box(&body), &options);
        black_box(translated.expect("a good request")).body.len()
    }
}

#[divan::bench_group(max_time = 1)]
mod pairs {
    use super::*;

    fn all() -> impl Iterator<Item = String> {
        PAIRS.iter().map(|(client, provider)| name(*client, *provider))
    }

    fn of(name: &str) -> (ApiDialect, ApiDialect) {
        *PAIRS.iter().find(|(client, provider)| super::name(*client, *provider) == name).expect("a pair")
    }

    #[divan::bench(args = all())]
    fn one_event(bencher: Bencher<'_, '_>, pair: &str) {
        bencher.bench_local(event(of(pair), " water"));
    }

    #[divan::bench(args = all())]
    fn one_event_with_escapes(bencher: Bencher<'_, '_>, pair: &str) {
        bencher.bench_local(event(of(pair), ESCAPES));
    }

    #[divan::bench(args = all().filter(|name| !name.starts_with("gemini")))]
    fn one_request(bencher: Bencher<'_, '_>, pair: &str) {
        bencher.counter(BytesCount::new(BYTES)).bench_local(request(of(pair), false));
    }
}
