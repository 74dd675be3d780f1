//! The relay mode of a stream (asgi or buffered): how it is chosen, and that the choice leaves no trace
//! upstream.

use std::time::Duration;

use bytes::Bytes;
use thalweg::relay::Mode;

use crate::{
    client::{Answer, Call, Version},
    gateway::{PAIRS, Plan},
    transcripts,
    upstream::{
        Framing, Gate, Speaks, Step, Upstream,
        script::{self, delta},
    },
};

/// One and a half events, then the rest when the gate opens.
fn halves(gate: &Gate) -> Vec<Step> {
    let second = delta("second");
    let (half, rest) = (second.slice(..second.len() / 2), second.slice(second.len() / 2..));
    vec![
        script::sse_head(),
        Step::Body(delta("first")),
        Step::Body(half),
        Step::Wait(gate.clone()),
        Step::Body(rest),
        script::body(script::DONE),
        Step::End,
    ]
}

/// Half an event shows the mode: it passes in asgi mode and is held in buffered mode.
async fn mode_of(mut answer: Answer, gate: &Gate) -> Mode {
    let mut text = Vec::new();
    let whole = delta("first").len();
    let half = async {
        while text.len() <= whole {
            text.extend_from_slice(&answer.piece().await);
        }
    };
    let passed = tokio::time::timeout(Duration::from_millis(250), half).await.is_ok();
    gate.open();
    text.extend(answer.collect().await.bytes());
    assert_eq!(text, [delta("first"), delta("second"), script::DONE.into()].concat());
    if passed { Mode::Asgi } else { Mode::Buffered }
}

/// S0.2–S0.5: endpoint before header before body before configuration.
#[tokio::test]
async fn mode_by_endpoint_header_body_configuration() {
    let body = |field: &str| {
        format!(r#"{{"model":"m",{field}"stream":true,"stream_options":{{"include_usage":true}}}}"#)
    };
    let (yes, no) = (r#""x_use_asgi_streaming":true,"#, r#""x_use_asgi_streaming":false,"#);
    let (plain, asgi) = ("/v1/chat/completions", "/v1/chat/completions/asgi");
    let cases = [
        (Mode::Asgi, plain, "", "", Mode::Asgi),
        (Mode::Buffered, plain, "", "", Mode::Buffered),
        (Mode::Buffered, plain, "", yes, Mode::Asgi),
        (Mode::Asgi, plain, "", no, Mode::Buffered),
        (Mode::Asgi, plain, "false", yes, Mode::Buffered),
        (Mode::Buffered, plain, "true", no, Mode::Asgi),
        (Mode::Buffered, asgi, "", "", Mode::Asgi),
        (Mode::Buffered, asgi, "false", no, Mode::Asgi),
    ];
    for (configured, endpoint, header, field, expected) in cases {
        let gate = Gate::new();
        let upstream = Upstream::always(Speaks::H1, halves(&gate));
        let plan = Plan::to(&[&upstream]).with(|settings| {
            settings.stream.mode = configured;
            settings.stream.max_delay = Duration::from_millis(5);
        });
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let mut call = Call::post(endpoint, body(field));
        if !header.is_empty() {
            call = call.header("x-use-asgi-streaming", header);
        }
        let answer = client.send(call).await;
        let mode = mode_of(answer, &gate).await;
        assert_eq!(mode, expected, "{configured:?} {endpoint} header {header:?} body {field:?}");
        let seen = upstream.log.request(0).await;
        assert_eq!(seen.target, "/v1/chat/completions", "the provider knows one endpoint");
        assert_eq!(seen.body, body(""), "the field is gone and nothing else is changed");
        assert!(seen.all("x-use-asgi-streaming").is_empty());
        drop(client);
        gateway.stop().await;
    }
}

/// S0.2, S0.5, DESIGN 5: only the field is taken out of the body; every other byte stays, wherever the field
/// stood.
#[tokio::test]
async fn only_the_mode_field_is_removed() {
    const USAGE: &str = r#""stream_options":{"include_usage":true}"#;
    let odd = "\"n\":1.50E+2,\"big\":18446744073709551616,\"s\":\"\\u00e9 é \\/ \\ud83c\\udf0a\",\"s\":[ ]";
    let bodies = [
        format!(r#"{{"x_use_asgi_streaming":true,"model":"m",{USAGE},"stream":true,{odd}}}"#),
        format!(r#"{{"model":"m",{odd},"x_use_asgi_streaming":true,"stream":true,{USAGE}}}"#),
        format!(r#"{{"model":"m","stream":true,{odd},{USAGE},"x_use_asgi_streaming":true}}"#),
        format!(
            "{{\n  \"model\" : \"m\" ,\n  \"x_use_asgi_streaming\" : true ,\n  \"stream\": true, {odd},{USAGE} \n}}\n"
        ),
        format!(
            r#"{{"model":"m","stream":true,"messages":[{{"x_use_asgi_streaming":true}}],{USAGE},{odd}}}"#
        ),
    ];
    let upstream = Upstream::always(Speaks::H1, script::sse(script::short_stream()));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for (number, body) in bodies.iter().enumerate() {
        let answer = client.send(Call::post("/v1/chat/completions", body.clone())).await;
        assert_eq!(answer.status, 200, "{body}");
        answer.collect().await;
        let seen = upstream.log.request(number).await;
        let seen = std::str::from_utf8(&seen.body).unwrap();
        let kept = |text: &str| text.split_whitespace().collect::<String>();
        let (field, whole) = (r#""x_use_asgi_streaming":true"#, kept(body));
        let without = if number == 4 {
            whole.clone()
        } else {
            whole.replacen(&format!("{field},"), "", 1).replacen(&format!(",{field}"), "", 1)
        };
        assert_eq!(kept(seen), without);
        assert!(seen.contains(odd), "{seen}");
        if number == 4 {
            assert_eq!(seen, body, "a field of that name inside a message is the client's own");
        }
    }
    drop(client);
    gateway.stop().await;
}

fn buffered(chunk_size: usize, max_delay: Duration) -> impl FnOnce(&mut thalweg::config::Settings) {
    move |settings| {
        settings.stream.mode = Mode::Buffered;
        settings.stream.chunk_size = chunk_size;
        settings.stream.max_delay = max_delay;
    }
}

/// Whether a split after `text` is between events.
fn ends_event(text: &[u8]) -> bool {
    [&b"\n\n"[..], b"\r\n\r\n", b"\r\r"].iter().any(|end| text.ends_with(end))
}

const ASKED: &str = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;

/// Every stream in turn, split every `size` bytes.
fn cut_anywhere(speaks: Speaks, size: usize) -> Upstream {
    let streams: Vec<_> = transcripts::streams().collect();
    Upstream::by(speaks, move |number, _| {
        let transcript = streams[number];
        let headers = transcript.headers.clone();
        let mut steps = vec![Step::Head { status: transcript.status, headers, framing: Framing::Chunked }];
        let cut = transcript.body.chunks(size).map(|piece| Step::Body(Bytes::copy_from_slice(piece)));
        steps.extend(cut);
        steps.push(Step::End);
        steps
    })
}

/// S0.5, R7: in buffered mode every stream keeps its bytes.
#[tokio::test]
async fn buffered_streams_keep_their_bytes() {
    for (speaks, version) in PAIRS {
        let upstream = cut_anywhere(speaks, 700);
        let gateway = Plan::to(&[&upstream]).with(buffered(1024, Duration::from_secs(5))).start().await;
        let mut client = gateway.client(version).await;
        for transcript in transcripts::streams() {
            let name = &transcript.name;
            let received = client.send(Call::post("/v1/chat/completions", ASKED)).await.collect().await;
            assert!(received.complete, "{name}");
            assert_eq!(received.bytes(), transcript.body, "{name} {speaks:?} {version:?}");
        }
        drop(client);
        gateway.stop().await;
    }
}

/// S0.5, R5: in buffered mode a stream is split at the ends of events only, and each event arrives whole.
/// Some of the sizes cut a recorded stream within the CRLF that ends an event.
#[tokio::test]
async fn buffered_streams_keep_their_events() {
    for (speaks, size) in [(Speaks::H1, 700), (Speaks::H1, 119), (Speaks::H2, 700), (Speaks::H2, 119)] {
        let upstream = cut_anywhere(speaks, size);
        let gateway = Plan::to(&[&upstream]).with(buffered(1024, Duration::from_secs(5))).start().await;
        let mut client = gateway.raw().await;
        for transcript in transcripts::streams() {
            let (name, body) = (&transcript.name, &transcript.body);
            client.send(Call::post("/v1/chat/completions", ASKED).wire()).await;
            client.head().await;
            let chunks = client.chunks().await;
            assert_eq!(chunks.concat(), *body, "{name}");
            let events = (0..=body.len()).rev().find(|&end| ends_event(&body[..end])).unwrap_or(0);
            let mut at = 0;
            for chunk in chunks {
                at += chunk.len();
                // The rest of an unfinished event leaves at the end, in the pieces in which it came.
                assert!(at > events || ends_event(&body[..at]), "{name} {speaks:?} {size}: cut at {at}");
            }
        }
        drop(client);
        gateway.stop().await;
    }
}

/// S0.5: small events are coalesced up to `chunk_size`.
#[tokio::test]
async fn buffered_coalesces_to_the_chunk_size() {
    // Together they fit into one read of the client, which would split a frame otherwise.
    let events: Vec<_> = (0..40).map(|number| delta(&number.to_string())).collect();
    let mut steps = vec![script::sse_head()];
    steps.extend(events.iter().cloned().map(Step::Body));
    steps.push(Step::End);
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = Plan::to(&[&upstream]).with(buffered(1024, Duration::from_secs(5))).start().await;
    let mut client = gateway.client(Version::H1).await;
    let received = client.send(Call::stream()).await.collect().await;
    assert_eq!(received.bytes(), events.concat());
    let (last, rest) = received.frames.split_last().unwrap();
    assert!(rest.iter().all(|frame| frame.len() >= 1024), "each frame is full, but for the last ({last:?})");
    drop(client);
    gateway.stop().await;
}

/// S0.5: coalesced bytes are held for `max_delay` at most.
#[tokio::test]
async fn buffered_holds_for_max_delay_at_most() {
    let pieces = [delta("one"), delta("two"), script::DONE.into()];
    let upstream = Upstream::always(Speaks::H1, script::sse_pieces(pieces.clone()));
    let gateway = Plan::to(&[&upstream]).with(buffered(1 << 20, Duration::from_millis(20))).start().await;
    let mut client = gateway.client(Version::H1).await.telling(&upstream.log);
    // Each piece is written after the client has the one before: without `max_delay` this would never end.
    let received = client.send(Call::stream()).await.collect().await;
    assert!(received.complete);
    assert_eq!(received.frames, pieces);
    drop(client);
    gateway.stop().await;
}

/// S0.5, R7: bytes from before the commit point leave in their order, although only some of them filled a
/// chunk.
#[tokio::test]
async fn buffered_keeps_its_order_before_the_commit() {
    let comments: Vec<_> = (0..20).map(|number| Bytes::from(format!(": comment {number:>8}\n\n"))).collect();
    let mut steps = vec![script::sse_head()];
    for comment in &comments {
        steps.extend([Step::Body(comment.clone()), Step::Moment]);
    }
    steps.extend([Step::Body(script::short_stream()), script::body("data: unfinished"), Step::End]);
    let first = Upstream::always(Speaks::H1, steps);
    let second = Upstream::always(Speaks::H1, vec![Step::Stall]);
    let gateway = Plan::to(&[&first, &second]).with(buffered(50, Duration::from_secs(5))).start().await;
    let mut client = gateway.client(Version::H1).await;
    let received = client.send(Call::post("/v1/chat/completions", ASKED)).await.collect().await;
    assert_eq!(received.text(), {
        let whole = [&comments.concat()[..], &script::short_stream(), b"data: unfinished"].concat();
        String::from_utf8(whole).unwrap()
    });
    drop(client);
    gateway.stop().await;
}
