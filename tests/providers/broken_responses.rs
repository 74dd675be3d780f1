//! Responses that break the protocol or break off, over both protocols, in both modes, streaming or not. The
//! client gets the error in one shape, the log has one closing line, nothing is left, and the next request is
//! served.

use std::time::Duration;

use serde_json::Value;
use thalweg::relay::{FaultDisplay, Mode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    client::{Answer, Call, Version},
    gateway::{PAIRS, Plan},
    journal,
    upstream::{
        Framing, Gate, Speaks, Step, Upstream,
        log::in_time,
        script::{self, delta, raw, sse_head},
    },
};

/// The outcome that the client must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientOutcome {
    /// An error status with an error object, before any other byte.
    Status(u16),
    /// The bytes so far, an error event, and no orderly end.
    Event,
    /// The bytes so far, and no orderly end.
    Truncated,
}

pub async fn read_outcome(name: &str, answer: Answer) -> (ClientOutcome, Vec<u8>) {
    let status = answer.status;
    let streaming = answer
        .headers
        .get("content-type")
        .is_some_and(|kind| kind.to_str().unwrap().starts_with("text/event-stream"));
    let received = answer.collect().await;
    let bytes = received.bytes().to_vec();
    if status != 200 {
        assert!(received.complete);
        error_of(&received.json());
        return (ClientOutcome::Status(status.as_u16()), bytes);
    }
    assert!(!received.complete, "{name}: a complete answer after a fault: {:?}", received.text());
    let text = String::from_utf8_lossy(&bytes);
    let event = text.trim_end().rsplit("\n\n").next().unwrap();
    let Some(data) = event.strip_prefix("data: {\"error\":").filter(|_| streaming) else {
        return (ClientOutcome::Truncated, bytes);
    };
    let error: Value = serde_json::from_str(&format!("{{\"error\":{data}")).unwrap();
    let message = error_of(&error)["message"].as_str().unwrap();
    assert!(message.starts_with("provider returned error: connection lost ("), "{message}");
    assert!(text.ends_with("\n\n"), "{text:?}");
    (ClientOutcome::Event, bytes)
}

/// S0.10, S2.12: the one shape of errors.
pub fn error_of(body: &Value) -> &Value {
    let error = &body["error"];
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    assert!(error["type"].is_string(), "{body}");
    for field in ["param", "code"] {
        assert!(error.get(field).is_some(), "{field} in {body}");
    }
    error
}

pub fn http(head: &str, body: &[u8]) -> Step {
    raw([format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), body].concat())
}

/// Answers a streaming and a whole request with `steps` in both modes, then serves a sound one over the same
/// gateway.
async fn plays_broken(
    name: &str,
    speaks: Speaks,
    version: Version,
    steps: &[Step],
    call: fn() -> Call,
    expected: ClientOutcome,
) {
    for mode in [Mode::Asgi, Mode::Buffered] {
        let sound = script::sse(script::short_stream());
        let upstream = Upstream::in_turn(speaks, vec![steps.to_vec(), sound]);
        let plan = Plan::to(&[&upstream]).with(|settings| {
            settings.stream.mode = mode;
            if expected == ClientOutcome::Event {
                settings.stream.on_fault = FaultDisplay::Event;
            }
            settings.stream.max_delay = Duration::from_millis(5);
            settings.stream.max_line = 64 << 10;
            settings.stream.max_response_size = 64 << 10;
        });
        let gateway = plan.start().await;
        let mut client = gateway.client(version).await.telling(&upstream.log);
        let call = call();
        let id = call.id();
        let (told, _) = read_outcome(name, client.send(call).await).await;
        assert_eq!(told, expected, "{name} {speaks:?} {version:?} {mode:?}");
        let line = journal::closing(&id).await;
        assert_ne!(line["outcome"], "ok", "{name}: {line}");
        assert!(
            line["level"] == "WARN" || line["level"] == "ERROR" || line["level"] == "INFO",
            "{name}: {line}"
        );

        // A client replaces a connection that ended with its broken answer.
        client = gateway.client(version).await;
        let received = client.send(Call::stream()).await.collect().await;
        assert!(received.complete, "{name}");
        assert_eq!(received.bytes(), script::short_stream(), "{name}");
        drop(client);
        gateway.stop().await;
    }
}

async fn each(call: fn() -> Call, expected: ClientOutcome, cases: Vec<(&str, Vec<Step>)>) {
    for (name, steps) in cases {
        for version in Version::BOTH {
            plays_broken(name, Speaks::H1, version, &steps, call, expected).await;
        }
    }
}

pub const BOTH_CALLS: [fn() -> Call; 2] = [Call::stream, Call::whole];

/// S0.10: bytes that are no response are a 502, streaming or not. The request is not repeated, because the
/// provider may have acted on it.
#[tokio::test]
async fn invalid_heads() {
    let json = "content-type: application/json";
    for call in BOTH_CALLS {
        each(
            call,
            ClientOutcome::Status(502),
            vec![
                ("closes", vec![Step::Close]),
                ("resets", vec![Step::Reset]),
                ("closes in the head", vec![raw("HTTP/1.1 200 OK\r\ncontent-"), Step::Close]),
                ("resets in the head", vec![raw("HTTP/1.1 200 OK\r\ncontent-"), Step::Moment, Step::Reset]),
                ("garbage", vec![raw("%!garbage\r\n\r\n"), Step::Stall]),
                ("another protocol", vec![raw("SSH-2.0-OpenSSH_9.2\r\n"), Step::Stall]),
                ("a NUL in the head", vec![http("200 OK\r\nx: a\0b", b""), Step::Stall]),
                (
                    "a folded header",
                    vec![http(&format!("200 OK\r\n{json}\r\nx: a\r\n b"), b"{}"), Step::Stall],
                ),
                (
                    "an endless head",
                    vec![http(&format!("200 OK\r\nx: {}", "a".repeat(1 << 20)), b""), Step::Stall],
                ),
                (
                    "endless headers",
                    vec![http(&format!("200 OK{}", "\r\nx: y".repeat(5000)), b""), Step::Stall],
                ),
                (
                    "two lengths",
                    vec![http("200 OK\r\ncontent-length: 2\r\ncontent-length: 3", b"{}!"), Step::Stall],
                ),
                ("a length that is none", vec![http("200 OK\r\ncontent-length: +2", b"{}"), Step::Stall]),
                (
                    "a coding that we do not know",
                    vec![http("200 OK\r\ntransfer-encoding: gzip", b"{}"), Step::Stall],
                ),
                ("switches protocols", vec![http("101 Switching Protocols\r\nupgrade: x", b""), Step::Stall]),
            ],
        )
        .await;
    }
}

/// R16: after the first bytes went down, the client's framing breaks off, too, if so configured behind an
/// error event in the client's dialect.
#[tokio::test]
async fn a_stream_that_breaks_off() {
    let one = || vec![sse_head(), Step::Body(delta("one")), Step::Delivered];
    let with = |more: Vec<Step>| [one(), more].concat();
    let length = script::head(200, "text/event-stream", Framing::Length(100_000));
    for expected in [ClientOutcome::Truncated, ClientOutcome::Event] {
        let cases = vec![
            ("closes between events", with(vec![Step::Close])),
            ("resets between events", with(vec![Step::Moment, Step::Reset])),
            ("closes inside an event", with(vec![script::body("data: {\"ch"), Step::Close])),
            ("resets inside an event", with(vec![script::body("data: {\"ch"), Step::Moment, Step::Reset])),
            ("a chunk size that is none", with(vec![raw("zz\r\n"), Step::Stall])),
            ("a chunk size beyond counting", with(vec![raw("fffffffffffffffff\r\n"), Step::Stall])),
            ("a chunk longer than it said", with(vec![raw("2\r\nabc\r\n"), Step::Stall])),
            ("an endless line", with(vec![script::body(vec![b'x'; 256 << 10]), Step::Stall])),
            (
                "shorter than its length",
                vec![length.clone(), Step::Body(delta("one")), Step::Delivered, Step::Close],
            ),
        ];
        each(Call::stream, expected, cases).await;
    }
}

/// R16, B14: the same over HTTP/2.
#[tokio::test]
async fn over_h2() {
    for version in Version::BOTH {
        for call in BOTH_CALLS {
            for (name, steps) in [("resets", vec![Step::Reset]), ("closes", vec![Step::Close])] {
                plays_broken(name, Speaks::H2, version, &steps, call, ClientOutcome::Status(502)).await;
            }
        }
        let one = vec![sse_head(), Step::Body(delta("one")), Step::Delivered];
        for (name, last) in [("resets in mid-stream", Step::Reset), ("closes in mid-stream", Step::Close)] {
            let steps = [one.clone(), vec![last]].concat();
            for expected in [ClientOutcome::Truncated, ClientOutcome::Event] {
                plays_broken(name, Speaks::H2, version, &steps, Call::stream, expected).await;
            }
        }
    }
}

/// R16: the error event is an event of its own even when the provider stopped inside one.
#[tokio::test]
async fn the_error_event_is_an_event() {
    for (endpoint, start) in [
        ("/v1/chat/completions", "data: {\"error\":{"),
        ("/v1/completions", "data: {\"error\":{"),
        ("/v1/responses", "event: response.failed\ndata: {\"type\":\"response.failed\","),
        ("/v1/messages", "event: error\ndata: {\"type\":\"error\",\"error\":{"),
    ] {
        // The last ones end within the provider's key, so that their last part waits for the rest.
        let keys = [
            "data: {\"error\":\"no |sk-provider",
            "data: {\"err|or\":{\"x\":\"sk-provider|",
            "data: {\"error\":\"sk-pro",
        ];
        for unfinished in [&["data: {\"ch", "data: {}\n", "data: {}\r\n\r", ""][..], &keys].concat() {
            let mut steps = vec![sse_head(), Step::Body(delta("one"))];
            for part in unfinished.split('|') {
                steps.extend([script::body(part.as_bytes().to_vec()), Step::Moment]);
            }
            steps.push(Step::Close);
            let upstream = Upstream::always(Speaks::H1, steps);
            let plan = Plan::to(&[&upstream]).with(|settings| settings.stream.on_fault = FaultDisplay::Event);
            let gateway = plan.start().await;
            let mut client = gateway.client(Version::H1).await;
            let body = r#"{"model":"m","stream":true,"max_tokens":1,"messages":[]}"#;
            let received = client.send(Call::post(endpoint, body)).await.collect().await;
            assert!(!received.complete);
            let text = received.text().replace("\r\n", "\n").replace('\r', "\n");
            let events: Vec<_> = text.split("\n\n").filter(|event| !event.is_empty()).collect();
            let last = events.last().unwrap().trim_start();
            assert!(last.starts_with(start), "{endpoint} after {unfinished:?}: {text:?}");
            assert!(text.starts_with(std::str::from_utf8(&delta("one")).unwrap()));
            assert!(!text.contains("sk-pro"), "{text}");
            drop(client);
            gateway.stop().await;
        }
    }
}

/// The same where so much of the unfinished event has come that it has passed in part.
#[tokio::test]
async fn the_error_event_after_a_part_of_a_long_event_is_an_event() {
    for mode in [Mode::Asgi, Mode::Buffered] {
        let mut steps = vec![sse_head(), Step::Body(delta("one")), script::body("data: {\"choices\":[\"")];
        steps.extend((0..40).map(|_| script::body(vec![b'x'; 32 * 1024])));
        steps.push(Step::Close);
        let upstream = Upstream::always(Speaks::H1, steps);
        let plan = Plan::to(&[&upstream]).with(|settings| {
            (settings.stream.on_fault, settings.stream.mode) = (FaultDisplay::Event, mode);
        });
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let text = client.send(Call::stream()).await.collect().await.text();
        assert!(text.len() > 1024 * 1024, "{}", text.len());
        let last = text.trim_end().rsplit("\n\n").next().unwrap();
        assert!(last.starts_with("data: {\"error\":{"), "{mode:?}: {}", &last[..last.len().min(100)]);
        drop(client);
        gateway.stop().await;
    }
}

/// A client of HTTP/1.0 cannot see that a body breaks off, so it gets the event whatever is configured.
#[tokio::test]
async fn a_client_of_http_1_0_gets_the_event() {
    let steps = vec![sse_head(), Step::Body(delta("one")), Step::Moment, Step::Close];
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.raw().await;
    let call = String::from_utf8(Call::stream().wire()).unwrap();
    client.send(call.replacen("HTTP/1.1", "HTTP/1.0", 1)).await;
    while client.fill().await {}
    let text = String::from_utf8_lossy(client.unread()).into_owned();
    assert!(text.contains("\"one\"") && text.contains("provider returned error: connection lost"), "{text}");
    drop(client);
    gateway.stop().await;
}

/// A body of another kind has no such event: its connection is reset, because an orderly end would make it
/// whole (RFC 9112 section 8).
#[tokio::test]
async fn a_client_of_http_1_0_gets_a_reset_for_other_bodies() {
    let head = script::head(200, "audio/mpeg", Framing::Chunked);
    let gate = Gate::new();
    let steps = vec![head, script::body("half"), Step::Wait(gate.clone()), Step::Close];
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    let call = Call::post("/v1/audio/speech", r#"{"model":"m","input":"x","voice":"y"}"#).wire();
    let call = String::from_utf8(call).unwrap().replacen("HTTP/1.1", "HTTP/1.0", 1);
    client.write_all(call.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    while !received.ends_with(b"half") {
        assert!(client.read_buf(&mut received).await.unwrap() > 0);
    }
    gate.open();
    let end = in_time(client.read_buf(&mut received)).await.expect("an end in time");
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    drop(client);
    gateway.stop().await;
}

/// R17, S2.9: a document that stops short is never passed on as complete.
#[tokio::test]
async fn a_document_that_breaks_off() {
    let head = |framing| script::head(200, "application/json", framing);
    let cases = [
        ("closes", vec![head(Framing::Length(100)), script::body("{"), Step::Close]),
        ("resets", vec![head(Framing::Length(100)), script::body("{"), Step::Moment, Step::Reset]),
        ("closes in a chunk", vec![head(Framing::Chunked), raw("9\r\n{"), Step::Close]),
        ("ends before its last chunk", vec![head(Framing::Chunked), script::body("{}"), Step::Close]),
        ("a chunk size that is none", vec![head(Framing::Chunked), raw("2\r\n{}\r\nxyz\r\n"), Step::Stall]),
    ];
    for (name, steps) in cases {
        for version in Version::BOTH {
            let upstream =
                Upstream::in_turn(Speaks::H1, vec![steps.clone(), script::json(200, script::COMPLETION)]);
            let gateway = Plan::to(&[&upstream]).start().await;
            let mut client = gateway.client(version).await;
            let call = Call::whole();
            let id = call.id();
            let (told, _) = read_outcome(name, client.send(call).await).await;
            assert!(
                matches!(told, ClientOutcome::Status(502) | ClientOutcome::Truncated),
                "{name} {version:?}: {told:?}"
            );
            journal::closing(&id).await;
            client = gateway.client(version).await;
            assert_eq!(client.send(Call::whole()).await.collect().await.text(), script::COMPLETION, "{name}");
            drop(client);
            gateway.stop().await;
        }
    }
}

/// R17: a stream without events cannot carry an error event, so it must not end as if it were complete.
#[tokio::test]
async fn a_stream_without_events_breaks_off() {
    let line = "response one\n";
    for version in Version::BOTH {
        for last in [Step::Close, Step::Reset] {
            let head = script::head(200, "text/plain", Framing::Chunked);
            let steps = vec![head, script::body(line), Step::Delivered, last];
            let upstream = Upstream::always(Speaks::H1, steps);
            let gateway = Plan::to(&[&upstream]).start().await;
            let mut client = gateway.client(version).await.telling(&upstream.log);
            let call = Call::stream();
            let id = call.id();
            let received = client.send(call).await.collect().await;
            assert!(!received.complete, "{version:?}");
            assert_eq!(received.bytes(), line);
            let closing = journal::closing(&id).await;
            assert_eq!((&closing["level"], &closing["phase"]), (&"WARN".into(), &"mid_stream".into()));
            drop(client);
            gateway.stop().await;
        }
    }
}

/// A head without an end: the client does not wait for it.
#[tokio::test]
async fn heads_that_never_end() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(70 << 10));
    for (said, code) in [
        ("HTTP/1.1 200 OK\ncontent-length: 0\n\n".to_owned(), "upstream_garbage"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\n\r\n".to_owned(), "upstream_garbage"),
        (long, "response_too_large"),
    ] {
        let upstream = Upstream::always(Speaks::H1, vec![raw(said), Step::Stall]);
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::stream()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.collect().await.json()["error"]["code"].as_str()),
            (502, Some(code))
        );
        drop(client);
        gateway.stop().await;
    }
}

/// S0.10: the provider's port refuses connections.
#[tokio::test]
async fn connection_refused() {
    for (speaks, version) in PAIRS {
        let upstream = Upstream::always(speaks, vec![Step::Stall]);
        let gateway = Plan::to(&[&upstream]).start().await;
        drop(upstream);
        // The listener's port is free once its task has ended.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut client = gateway.client(version).await;
        for call in BOTH_CALLS {
            let call = call();
            let id = call.id();
            let (told, body) = read_outcome("nobody", client.send(call).await).await;
            assert_eq!(told, ClientOutcome::Status(502));
            assert!(!String::from_utf8_lossy(&body).contains("127.0.0.1"), "no address is shown");
            assert_eq!(journal::closing(&id).await["status"], 502);
        }
        drop(client);
        gateway.stop().await;
    }
}
