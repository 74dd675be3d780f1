//! Measures parsing: a request's envelope compared with other ways to find the same fields, its splice, and
//! the events of a stream. `cargo bench --bench wire`; instructions per call with `benches/instructions.sh`.

#![expect(clippy::expect_used, reason = "a bench that cannot run should say so")]

use std::{hint::black_box, iter};

use bytes::Bytes;
use divan::{Bencher, counter::BytesCount};
use serde::{Deserialize, de::IgnoredAny};
use thalweg::wire::{Dialect, Edits, EventClass, Scanner, classify_committed, envelope, splice};

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("--count") {
        let (case, times) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
        count(&case, times.parse().unwrap_or(1));
    } else {
        divan::main();
    }
}

/// Runs one case `times` times: callgrind's counts of two runs are subtracted.
fn count(case: &str, times: usize) {
    let (name, size) = case.split_once('/').unwrap_or((case, "1"));
    let size = size.parse().unwrap_or(1);
    let run: Box<dyn FnMut()> = match name {
        "envelope" => once(prose(size), |body| drop(black_box(envelope::read(body)))),
        "envelope-escapes" => once(code(size), |body| drop(black_box(envelope::read(body)))),
        "envelope-agent" => once(agent(size), |body| drop(black_box(envelope::read(body)))),
        "envelope-tokens" => once(tokens(size), |body| drop(black_box(envelope::read(body)))),
        "splice" => {
            let body = prose(size);
            let envelope = envelope::read(&body).expect("a good body");
            Box::new(move || drop(black_box(splice(&body, &envelope, &EDITS))))
        }
        "scan" => stream(chunk(size), |_, _| {}),
        "scan-committed" => stream(chunk(size), |_, event| {
            black_box(classify_committed(Dialect::ChatCompletions, event));
        }),
        "scan-named-committed" => stream(named(size), |_, event| {
            black_box(classify_committed(Dialect::Messages, event));
        }),
        _ => return,
    };
    iter::repeat_with(run).take(times).for_each(drop);
}

fn once(body: Bytes, run: impl Fn(&Bytes) + 'static) -> Box<dyn FnMut()> {
    Box::new(move || run(&body))
}

fn stream(frame: String, see: impl Fn(usize, &thalweg::wire::Event<'_>) + 'static) -> Box<dyn FnMut()> {
    let mut scanner = Scanner::default();
    Box::new(move || {
        scanner.scan(black_box(frame.as_bytes()), |event| see(event.end, &event)).expect("short lines");
    })
}

const EDITS: Edits<'_> =
    Edits { model: Some("river-large-2"), drop_gateway_members: true, request_usage: true };

const SIZES: [usize; 3] = [1_000, 100_000, 2_000_000];

/// A conversation of about `size` bytes in long strings of prose.
fn prose(size: usize) -> Bytes {
    conversation(
        size,
        "The river carries what it is given, and where the bed is deepest it runs fastest. ",
        800,
    )
}

/// The same with one escaped character every dozen bytes, like source code.
fn code(size: usize) -> Bytes {
    conversation(size, r#"if a < \"b\" {\n\treturn \"c\\d\";\n}\n"#, 800)
}

/// The same in text that is not ASCII.
fn cjk(size: usize) -> Bytes {
    conversation(size, "流れる川の水は、谷の線に沿って最も速く進む。", 800)
}

/// A tool's schema, again and again: short strings and nesting.
fn schemas(size: usize) -> Bytes {
    let tool = r#"{"type":"function","function":{"name":"edit_file","description":"Replaces one part of a file.\nIt fails if the part is not in the file once.","parameters":{"type":"object","properties":{"path":{"type":"string","description":"Absolute path of the file"},"old":{"type":"string","description":"The part that is replaced"},"new":{"type":"string"},"all":{"type":"boolean","default":false}},"required":["path","old","new"],"additionalProperties":false}}}"#;
    let tools = vec![tool; (size / tool.len()).max(1)].join(",");
    format!(r#"{{"model":"river-large","stream":true,"tools":[{tools}],"messages":[]}}"#).into()
}

/// An agent's request: an eighth of it are schemas, the rest is escaped code.
fn agent(size: usize) -> Bytes {
    let code = conversation(
        size * 7 / 8,
        r#"fn first(items: &[Item]) -> Option<&Item> {\n    items.iter().find(|item| item.name == \"first\")\n}\n\n"#,
        1_600,
    );
    let schemas = schemas(size / 8);
    let (schemas, _) = schemas.split_at(schemas.len() - br#","messages":[]}"#.len());
    let (_, code) = code.split_at(br#"{"model":"river-large""#.len());
    [schemas, code].concat().into()
}

/// A list of tokens for embeddings.
fn tokens(size: usize) -> Bytes {
    let numbers = iter::successors(Some(7_u32), |last| Some(last.wrapping_mul(1_664_525).wrapping_add(1)));
    let numbers: Vec<_> = numbers.take(size / 6).map(|number| (number % 100_257).to_string()).collect();
    format!(r#"{{"model":"river-embed","input":[{}]}}"#, numbers.join(", ")).into()
}

fn conversation(size: usize, sentence: &str, message: usize) -> Bytes {
    let text = sentence.repeat(message.min(size) / sentence.len());
    let message = format!(r#"{{"role":"user","content":"{text}"}},"#);
    let messages = message.repeat((size / message.len()).max(1));
    let messages = messages.trim_end_matches(',');
    format!(r#"{{"model":"river-large","x_use_asgi_streaming":true,"messages":[{messages}],"temperature":0.7,"stream":true}}"#)
        .into()
}

/// A frame of `events` typical chunks.
fn chunk(events: usize) -> String {
    r#"data: {"id":"chatcmpl-8f2c1d7e5b3a4961","object":"chat.completion.chunk","created":1767225600,"model":"river-large-2","system_fingerprint":"fp_0000000000","choices":[{"index":0,"delta":{"content":" water"},"logprobs":null,"finish_reason":null}],"usage":null}

"#
    .repeat(events)
}

/// A frame of `events` typical named events.
fn named(events: usize) -> String {
    r#"event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" water"}          }

"#
    .repeat(events)
}

#[divan::bench_group(max_time = 1)]
mod request {
    use super::*;

    fn over(bencher: Bencher<'_, '_>, body: Bytes, read: impl Fn(&Bytes) -> bool + Sync) {
        assert!(read(&body));
        bencher.counter(BytesCount::new(body.len())).bench(|| read(black_box(&body)));
    }

    #[divan::bench(args = SIZES)]
    fn prose_ours(bencher: Bencher<'_, '_>, size: usize) {
        over(bencher, prose(size), |body| envelope::read(body).is_ok());
    }

    #[divan::bench(args = SIZES)]
    fn prose_simd_json(bencher: Bencher<'_, '_>, size: usize) {
        simd(bencher, prose(size));
    }

    #[divan::bench(args = SIZES)]
    fn prose_serde_json(bencher: Bencher<'_, '_>, size: usize) {
        over(bencher, prose(size), typed);
    }

    #[divan::bench(args = SIZES)]
    fn prose_memchr(bencher: Bencher<'_, '_>, size: usize) {
        over(bencher, prose(size), |body| memchr::memchr2_iter(b'"', b'\\', body).count() > 0);
    }

    #[divan::bench(args = SIZES)]
    fn code_ours(bencher: Bencher<'_, '_>, size: usize) {
        over(bencher, code(size), |body| envelope::read(body).is_ok());
    }

    #[divan::bench(args = SIZES)]
    fn code_simd_json(bencher: Bencher<'_, '_>, size: usize) {
        simd(bencher, code(size));
    }

    #[divan::bench(args = SIZES)]
    fn code_serde_json(bencher: Bencher<'_, '_>, size: usize) {
        over(bencher, code(size), typed);
    }

    #[divan::bench(args = SIZES)]
    fn code_memchr(bencher: Bencher<'_, '_>, size: usize) {
        over(bencher, code(size), |body| memchr::memchr2_iter(b'"', b'\\', body).count() > 0);
    }

    #[divan::bench(args = SIZES)]
    fn cjk_ours(bencher: Bencher<'_, '_>, size: usize) {
        over(bencher, cjk(size), |body| envelope::read(body).is_ok());
    }

    #[divan::bench(args = SIZES)]
    fn cjk_simd_json(bencher: Bencher<'_, '_>, size: usize) {
        simd(bencher, cjk(size));
    }

    #[divan::bench(args = SIZES)]
    fn cjk_serde_json(bencher: Bencher<'_, '_>, size: usize) {
        over(bencher, cjk(size), typed);
    }

    #[divan::bench(args = SIZES)]
    fn agent_ours(bencher: Bencher<'_, '_>, size: usize) {
        over(bencher, agent(size), |body| envelope::read(body).is_ok());
    }

    #[divan::bench(args = SIZES)]
    fn agent_simd_json(bencher: Bencher<'_, '_>, size: usize) {
        simd(bencher, agent(size));
    }

    #[divan::bench(args = SIZES)]
    fn schemas_ours(bencher: Bencher<'_, '_>, size: usize) {
        over(bencher, schemas(size), |body| envelope::read(body).is_ok());
    }

    #[divan::bench(args = SIZES)]
    fn schemas_simd_json(bencher: Bencher<'_, '_>, size: usize) {
        simd(bencher, schemas(size));
    }

    #[divan::bench(args = SIZES)]
    fn tokens_ours(bencher: Bencher<'_, '_>, size: usize) {
        over(bencher, tokens(size), |body| envelope::read(body).is_ok());
    }

    #[divan::bench(args = SIZES)]
    fn tokens_simd_json(bencher: Bencher<'_, '_>, size: usize) {
        simd(bencher, tokens(size));
    }

    #[divan::bench(args = SIZES)]
    fn splice_all(bencher: Bencher<'_, '_>, size: usize) {
        let body = prose(size);
        let envelope = envelope::read(&body).expect("a good body");
        bencher.bench(|| splice(black_box(&body), &envelope, &EDITS));
    }

    /// The copy that simd-json unescapes into, and its tape, without the spans.
    fn simd(bencher: Bencher<'_, '_>, body: Bytes) {
        let mut scratch = Vec::with_capacity(body.len() + 64);
        let mut buffers = simd_json::Buffers::new(body.len());
        bencher.counter(BytesCount::new(body.len())).bench_local(|| {
            scratch.clear();
            scratch.extend_from_slice(black_box(&body));
            simd_json::to_tape_with_buffers(&mut scratch, &mut buffers).expect("good JSON").0.len()
        });
    }

    /// The same fields without spans; all others are ignored.
    fn typed(body: &Bytes) -> bool {
        #[derive(Deserialize)]
        struct Fields<'a> {
            #[serde(borrow)]
            model: std::borrow::Cow<'a, str>,
            stream: Option<bool>,
            x_use_asgi_streaming: Option<bool>,
            stream_options: Option<IgnoredAny>,
        }
        serde_json::from_slice::<Fields<'_>>(body).is_ok_and(|fields| {
            black_box((fields.stream, fields.x_use_asgi_streaming, fields.stream_options));
            !fields.model.is_empty()
        })
    }
}

#[divan::bench_group(max_time = 1)]
mod response {
    use super::*;

    const EVENTS: [usize; 2] = [1, 16];

    fn over(bencher: Bencher<'_, '_>, frame: String, dialect: Option<Dialect>) {
        let mut scanner = Scanner::default();
        bencher.counter(BytesCount::new(frame.len())).bench_local(|| {
            let mut seen = 0;
            let result = scanner.scan(black_box(frame.as_bytes()), |event| {
                let class = dialect.map(|dialect| classify_committed(dialect, &event).class);
                seen += usize::from(class != Some(EventClass::Error));
            });
            (result, seen)
        });
    }

    #[divan::bench(args = EVENTS)]
    fn scan(bencher: Bencher<'_, '_>, events: usize) {
        over(bencher, chunk(events), None);
    }

    #[divan::bench(args = EVENTS)]
    fn scan_and_class(bencher: Bencher<'_, '_>, events: usize) {
        over(bencher, chunk(events), Some(Dialect::ChatCompletions));
    }

    #[divan::bench(args = EVENTS)]
    fn scan_and_class_named(bencher: Bencher<'_, '_>, events: usize) {
        over(bencher, named(events), Some(Dialect::Messages));
    }

    /// An event cut in two by the frames.
    #[divan::bench]
    fn scan_cut(bencher: Bencher<'_, '_>) {
        let frame = chunk(1);
        let (one, two) = frame.as_bytes().split_at(100);
        let mut scanner = Scanner::default();
        bencher.bench_local(|| {
            let mut seen = 0;
            for part in [one, two] {
                let _ = scanner.scan(black_box(part), |_| seen += 1);
            }
            seen
        });
    }
}
