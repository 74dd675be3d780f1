//! The end of a stream: an answer that is cut short although its framing is whole, an answer that is
//! complete although its framing is not, and a response without an answer.

use thalweg::{
    base::Endpoint,
    relay::{FaultDisplay, Mode},
};

use crate::{
    client::{Call, Version},
    gateway::{PAIRS, Plan},
    journal,
    upstream::{
        Framing, Gate, Speaks, Step, Upstream,
        script::{self, delta, sse_head},
    },
};

const STOP: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const MESSAGE: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n\
    event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
    \"delta\":{\"type\":\"text_delta\",\"text\":\"one\"}}\n\n";
const MESSAGE_STOP: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
const RESPONSE: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n\
    event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"one\"}\n\n";
const RESPONSE_END: &str =
    "event: response.incomplete\ndata: {\"type\":\"response.incomplete\",\"response\":{}}\n\n";

fn call(path: &str) -> Call {
    Call::post(path, r#"{"model":"m","stream":true,"max_tokens":1,"messages":[],"input":"hi"}"#)
}

/// Each dialect: its path, the beginning of an answer, and the event that ends it.
fn dialects() -> [(&'static str, Vec<u8>, &'static str); 5] {
    let text = b"data: {\"choices\":[{\"text\":\"one\",\"finish_reason\":null}]}\n\n".to_vec();
    [
        ("/v1/chat/completions", delta("one").to_vec(), STOP),
        ("/v1/chat/completions", delta("one").to_vec(), "data: [DONE]\n\n"),
        ("/v1/completions", text, STOP),
        ("/v1/messages", MESSAGE.into(), MESSAGE_STOP),
        ("/v1/responses", RESPONSE.into(), RESPONSE_END),
    ]
}

/// A body that ends in an orderly way without its dialect's last event is handled as one that breaks off, and
/// counts against its provider; with the event it is complete.
#[tokio::test]
async fn an_answer_without_its_end_breaks_off() {
    for (path, start, end) in dialects() {
        for (framing, version) in
            [Framing::Chunked, Framing::UntilClose].into_iter().zip([Version::H1, Version::H2])
        {
            for is_whole in [false, true] {
                let head = script::head(200, "text/event-stream", framing);
                let body = [&start[..], if is_whole { end.as_bytes() } else { b"" }].concat();
                let steps = vec![head, script::body(body.clone()), Step::Delivered, Step::End];
                let first = Upstream::always(Speaks::H1, steps);
                let sound = [&start[..], end.as_bytes()].concat();
                let second = Upstream::always(Speaks::H1, script::sse(sound));
                let plan =
                    Plan::to(&[&first, &second]).with(|settings| settings.routing.breaker.failures = 1);
                let gateway = plan.start().await;
                let mut client = gateway.client(version).await.telling(&first.log);
                let call_of = || call(path).header("x-use-asgi-streaming", "true");
                let asked = call_of();
                let id = asked.id();
                let received = client.send(asked).await.collect().await;
                assert_eq!((received.complete, received.bytes().to_vec()), (is_whole, body), "{path} {end}");
                let line = journal::closing(&id).await;
                let (outcome, code) = (line["message"].as_str(), line["code"].as_str());
                let wanted = if is_whole {
                    (Some("done"), None)
                } else {
                    (Some("failed"), Some("upstream_truncated"))
                };
                assert_eq!((outcome, code), wanted, "{line}");
                client = gateway.client(version).await;
                let next = client.send(call_of()).await;
                assert_eq!(next.header("x-thalweg-provider"), if is_whole { "p0" } else { "p1" }, "{path}");
                drop(next);
                drop(client);
                gateway.stop().await;
            }
        }
    }
}

/// So is a body that a provider of HTTP/1.0 ends by closing, and with `on_fault` `"event"` there is an event.
#[tokio::test]
async fn a_body_that_ends_with_its_connection_may_be_cut_short() {
    let head = "HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let steps = vec![script::raw([head.as_bytes(), &delta("one")].concat()), Step::Close];
    let upstream = Upstream::always(Speaks::H1, steps);
    let plan = Plan::to(&[&upstream]).with(|settings| settings.stream.on_fault = FaultDisplay::Event);
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let received = client.send(Call::stream()).await.collect().await;
    let text = received.text();
    assert!(!received.complete && text.contains("provider returned error: connection lost ("), "{text}");
    assert!(text.contains("\"upstream_truncated\""), "{text}");
    drop(client);
    gateway.stop().await;
}

/// With `on_fault` `"event"` a response that breaks off ends by `response.failed` with its own id, which
/// Codex reads, while it passes over an `error` event (A2). Without an id the request's stands for it.
#[tokio::test]
async fn a_response_that_breaks_off_has_failed() {
    let (created, content) = RESPONSE.split_once("\n\n").unwrap();
    for (speaks, version) in PAIRS {
        for mode in [Mode::Asgi, Mode::Buffered] {
            for (start, id) in [(format!("{created}\n\n{content}"), Some("r")), (content.to_owned(), None)] {
                let pieces = start.as_bytes().chunks(7).map(|piece| script::body(piece.to_vec()));
                let steps =
                    [sse_head()].into_iter().chain(pieces).chain([Step::Moment, Step::Reset]).collect();
                let upstream = Upstream::always(speaks, steps);
                let plan = Plan::to(&[&upstream]).with(|settings| {
                    settings.stream.on_fault = FaultDisplay::Event;
                    settings.stream.mode = mode;
                });
                let gateway = plan.start().await;
                let mut client = gateway.client(version).await;
                let asked = call("/v1/responses");
                let request = asked.id();
                let received = client.send(asked).await.collect().await;
                let text = received.text();
                let (before, event) = text.rsplit_once("event: response.failed\ndata: ").unwrap();
                assert!(!received.complete && before == start, "{text}");
                let event: serde_json::Value =
                    serde_json::from_str(event.strip_suffix("\n\n").unwrap()).unwrap();
                assert_eq!(event["type"], "response.failed");
                assert_eq!(event["sequence_number"], if id.is_some() { 2 } else { 1 });
                let response = &event["response"];
                assert_eq!(
                    (&response["id"], &response["status"]),
                    (&id.unwrap_or(&request).into(), &"failed".into())
                );
                assert_eq!(response["error"]["code"], "upstream_reset");
                let message = response["error"]["message"].as_str().unwrap();
                assert!(message.starts_with("provider returned error: connection lost ("), "{message}");
                drop(client);
                gateway.stop().await;
            }
        }
    }
}

/// A stream of events that are not the dialect's, and one of embeddings, end as they end.
#[tokio::test]
async fn other_streams_are_not_judged() {
    for (path, event) in [
        ("/v1/chat/completions", "data: {\"type\":\"content-delta\",\"delta\":{}}\n\n"),
        ("/v1/messages", "data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}]}\n\n"),
        ("/v1/responses", "data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}]}\n\n"),
        ("/v1/embeddings", "data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}]}\n\n"),
    ] {
        let upstream = Upstream::always(Speaks::H1, script::sse(event));
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let received = client.send(call(path)).await.collect().await;
        assert_eq!((received.complete, &*received.text()), (true, event), "{path}");
        drop(client);
        gateway.stop().await;
    }
}

/// A success without an answer is an error before the commit, even of the only provider: some clients ask
/// again at once and without end. With another provider it is asked.
#[tokio::test]
async fn a_stream_without_an_answer_is_an_error() {
    for (name, steps) in [
        ("the end alone", script::sse(script::DONE)),
        ("nothing", vec![sse_head(), Step::End]),
        ("comments and the end in one read", script::sse([b": hi\n\n", script::DONE].concat())),
        ("nothing as a document", script::json(200, "")),
        ("nothing under another label", vec![script::head(200, "text/plain", Framing::Chunked), Step::End]),
        ("usage and the end", script::sse([&script::usage()[..], script::DONE].concat())),
        // In one read with the body's end: of a sole provider the first bytes pass.
        ("an end that was left open", {
            vec![script::head(200, "text/event-stream", Framing::Length(12)), script::body("data: [DONE]")]
        }),
        ("a document", script::json(200, script::COMPLETION)),
        ("a document as events", script::sse(script::COMPLETION)),
        ("a document on several lines as events", script::sse("{\n \"choices\": [\n ]\n}\n\n")),
        ("lines of documents", {
            let line = format!("{}\n", script::COMPLETION);
            vec![
                script::head(200, "application/x-ndjson", Framing::Chunked),
                script::body(line.repeat(2)),
                Step::End,
            ]
        }),
        ("an empty document", script::json(200, "{}")),
    ] {
        for several in [false, true] {
            let first = Upstream::always(Speaks::H1, steps.clone());
            let second = Upstream::always(Speaks::H1, script::sse(script::short_stream()));
            let upstreams = [&first, &second];
            let gateway = Plan::to(if several { &upstreams } else { &upstreams[..1] }).start().await;
            let mut client = gateway.client(Version::H1).await;
            let answer = client.send(Call::stream()).await;
            let status = answer.status.as_u16();
            let received = answer.collect().await;
            if several {
                assert_eq!((status, received.bytes()), (200, script::short_stream()), "{name}");
            } else {
                assert_eq!(status, 502, "{name}");
                assert_eq!(received.json()["error"]["code"], "upstream_empty", "{name}");
            }
            drop(client);
            gateway.stop().await;
        }
    }
}

/// Events that keep a connection alone are no answer. Of the only candidate's they pass as they come, so the
/// body breaks off at its end, and the end of an answer does not pass.
#[tokio::test]
async fn a_stream_of_keepalives_is_empty() {
    for (path, noise) in [
        ("/v1/chat/completions", ": OPENROUTER PROCESSING\n\n"),
        ("/v1/chat/completions", "\n\n"),
        ("/v1/chat/completions", "id: 1\n\n"),
        ("/v1/chat/completions", "retry: 1000\n\n"),
        ("/v1/chat/completions", "data:\n\n"),
        ("/v1/completions", "data: {}\n\n"),
        ("/v1/messages", "event: ping\ndata: {\"type\": \"ping\"}\n\n"),
        ("/v1/messages", "data: {\"type\": \"ping\"}\n\n"),
        ("/v1/responses", "event: keepalive\ndata: {\"type\":\"keepalive\",\"sequence_number\":1}\n\n"),
    ] {
        for mode in [Mode::Asgi, Mode::Buffered] {
            let size = noise.len() as u64;
            let at_once = vec![
                script::head(200, "text/event-stream", Framing::Length(size)),
                script::body(noise),
                Step::End,
            ];
            let before = vec![sse_head(), script::body(noise), Step::Moment, Step::Moment, Step::Moment];
            let ended = [before.clone(), vec![Step::End]].concat();
            let done = [before, vec![script::body(script::DONE), Step::End]].concat();
            let upstream = Upstream::in_turn(Speaks::H1, vec![at_once, ended, done]);
            let plan = Plan::to(&[&upstream]).with(|settings| settings.stream.mode = mode);
            let gateway = plan.start().await;
            for number in 0..3 {
                let mut client = gateway.client(Version::H1).await;
                let asked = call(path);
                let id = asked.id();
                let answer = client.send(asked).await;
                let status = answer.status.as_u16();
                let received = answer.collect().await;
                // The end may come in one read with the noise.
                assert!(number > 0 || status == 502, "{noise} {status}");
                match status {
                    502 => assert!(received.text().contains("without an answer"), "{}", received.text()),
                    // Without an event there is nothing whole to pass.
                    _ => assert!(!received.complete && noise.starts_with(&received.text()), "{number}"),
                }
                let line = journal::closing(&id).await;
                assert_eq!(
                    (&line["message"], &line["code"], &line["usage"]),
                    (&"failed".into(), &"upstream_empty".into(), &serde_json::Value::Null),
                    "{line}"
                );
            }
            gateway.stop().await;
        }
    }
}

/// An answer that says that it is empty is one.
#[tokio::test]
async fn an_empty_answer_passes() {
    let upstream = Upstream::always(Speaks::H1, script::sse([STOP.as_bytes(), script::DONE].concat()));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::stream()).await;
    assert_eq!(answer.status, 200);
    let text = answer.collect().await.text();
    assert!(text.contains("\"stop\""), "{text}");
    drop(client);
    gateway.stop().await;
}

/// A document that is an error passes from the only candidate, under any label, and is a failure that costs
/// nothing and counts against the provider.
#[tokio::test]
async fn an_error_under_a_good_status_is_a_failure() {
    const ERROR: &str = r#"{"error":{"message":"no","type":"x","param":null,"code":null}}"#;
    const CHOICE: &str = r#"{"id":"c","choices":[{"index":0,"error":{"code":502,"message":"no"},"finish_reason":"error","message":{"role":"assistant","content":""}}]}"#;
    const GEMINI: &str = r#"[{"error":{"code":503,"message":"no","status":"UNAVAILABLE"}}]"#;
    let chat = r#"{"model":"m","messages":[]}"#;
    let gemini = |method: &str| Call::post(&format!("/v1beta/models/m:{method}"), r#"{"contents":[]}"#);
    for (asked, steps, several) in [
        (Call::stream(), script::json(200, ERROR), true),
        (Call::stream(), script::sse(ERROR), true),
        (Call::post("/v1/chat/completions", chat), script::json(200, ERROR), true),
        (Call::post("/v1/chat/completions", chat), script::json(200, CHOICE), true),
        (Call::post("/v1/messages", chat), script::json(200, ERROR), false),
        (gemini("generateContent"), script::json(200, GEMINI), false),
        (gemini("streamGenerateContent?alt=sse"), script::json(200, GEMINI), false),
    ] {
        let upstream = Upstream::always(Speaks::H1, steps);
        let plan = Plan::to(&[&upstream]).with(|settings| {
            if asked.target.starts_with("/v1beta") {
                let provider = &mut settings.providers[0];
                provider.dialects = Some([Endpoint::Gemini].into_iter().collect());
                *provider = provider.clone().with_gemini();
            }
        });
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let id = asked.id();
        let answer = client.send(asked.clone()).await;
        let found = (answer.status.as_u16(), answer.header("content-type"));
        assert_eq!(found, (200, "application/json"), "{}", asked.target);
        let text = answer.collect().await.text();
        assert!(text.contains("\"no\""), "{text}");
        let line = journal::closing(&id).await;
        assert_eq!((&line["message"], &line["code"]), (&"failed".into(), &"upstream_error".into()), "{line}");
        assert!(line["output_tokens"].is_null() && line["usage"].is_null(), "{line}");
        if several {
            let second = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
            let stream = Upstream::always(Speaks::H1, script::sse(script::short_stream()));
            let other =
                if asked.body.windows(8).any(|part| part == b"\"stream\"") { &stream } else { &second };
            let gateway = Plan::to(&[&upstream, other]).start().await;
            let mut client = gateway.client(Version::H1).await;
            let next = client.send(asked).await;
            assert_eq!((next.status.as_u16(), next.header("x-thalweg-provider")), (200, "p1"));
            drop((next, client));
            gateway.stop().await;
        }
        drop(client);
        gateway.stop().await;
    }
}

/// A document that holds no answer is a failure while another candidate is left, as is an event stream that
/// was not requested. Of the only candidate it passes.
#[tokio::test]
async fn a_document_without_an_answer_is_a_failure() {
    for (path, body) in [
        ("/v1/chat/completions", "null"),
        ("/v1/chat/completions", "[]"),
        ("/v1/chat/completions", "{}"),
        ("/v1/chat/completions", r#"{"detail":"x"}"#),
        ("/v1/chat/completions", r#"{"id":"c","choices":[]}"#),
        ("/v1/chat/completions", r#"{"code":50001,"msg":"no"}"#),
        ("/v1/chat/completions", r#"{"choices":null,"base_resp":{"status_code":1002,"status_msg":"no"}}"#),
        ("/v1/chat/completions", r#"{"error_code":17,"error_msg":"no"}"#),
        ("/v1/embeddings", r#"{"object":"list","data":[]}"#),
        ("/v1/messages", r#"{"detail":"x"}"#),
        ("/v1/responses", "{}"),
        ("", ""),
    ] {
        let (path, steps) = match path {
            "" => ("/v1/chat/completions", script::sse(script::short_stream())),
            path => (path, script::json(200, body)),
        };
        let answers: &[&str] = &[
            script::COMPLETION,
            r#"{"data":[{"embedding":[1]}]}"#,
            r#"{"type":"message","content":[]}"#,
            r#"{"id":"r","output":[]}"#,
        ];
        let good =
            answers[["chat/", "embed", "mess", "resp"].iter().position(|part| path.contains(part)).unwrap()];
        let first = Upstream::always(Speaks::H1, steps);
        let second = Upstream::always(Speaks::H1, script::json(200, good));
        for (upstreams, provider) in [(&[&first, &second][..], "p1"), (&[&first], "p0")] {
            let gateway = Plan::to(upstreams).start().await;
            let mut client = gateway.client(Version::H1).await;
            let asked = Call::post(path, r#"{"model":"m","max_tokens":1,"messages":[],"input":"hi"}"#);
            let answer = client.send(asked).await;
            let found = (answer.status.as_u16(), answer.header("x-thalweg-provider").to_owned());
            assert_eq!(found, (200, provider.to_owned()), "{path} {body}");
            let received = answer.collect().await;
            assert!(provider == "p0" || received.text() == good, "{}", received.text());
            drop(client);
            gateway.stop().await;
        }
    }
}

/// A value of `error` that says that there is none is no error beside content (A7).
#[tokio::test]
async fn an_error_that_says_that_there_is_none_is_none() {
    for error in [
        "0",
        r#"{"code":0,"message":""}"#,
        r#"{"message":""}"#,
        r#"{"message":null}"#,
        r#"{"code":200,"message":"success"}"#,
    ] {
        let beside = |text: &str| text.replace("\"created\":1", &format!("\"error\":{error}"));
        let chunks = [delta("one"), delta(" two")].concat();
        let stream = beside(&String::from_utf8(chunks).unwrap()) + "data: [DONE]\n\n";
        let document = beside(script::COMPLETION);
        for (asked, steps, told) in [
            (Call::stream(), script::sse(stream.clone()), &stream),
            (Call::whole(), script::json(200, document.clone()), &document),
        ] {
            let first = Upstream::always(Speaks::H1, steps);
            let second = Upstream::always(Speaks::H1, script::json(500, "{}"));
            for upstreams in [&[&first][..], &[&first, &second]] {
                let gateway = Plan::to(upstreams).start().await;
                let mut client = gateway.client(Version::H1).await;
                let asked = asked.clone().header("x-request-id", &crate::client::call::next_id());
                let id = asked.id();
                let received = client.send(asked).await.collect().await;
                assert_eq!(&received.text(), told);
                assert_eq!(journal::closing(&id).await["message"], "done", "{error}");
                drop(client);
                gateway.stop().await;
            }
        }
    }
}

/// After the dialect's last event the answer is complete, whatever the provider's connection does.
#[tokio::test]
async fn an_answer_is_complete_with_its_last_event() {
    for (speaks, version) in PAIRS {
        for last in [Step::Stall, Step::Reset, Step::Close] {
            let stalls = matches!(last, Step::Stall);
            let steps = vec![sse_head(), script::body(script::short_stream()), Step::Delivered, last];
            let upstream = Upstream::always(speaks, steps);
            let gateway = Plan::to(&[&upstream]).start().await;
            let mut client = gateway.client(version).await.telling(&upstream.log);
            let asked = Call::stream();
            let id = asked.id();
            let received = client.send(asked).await.collect().await;
            assert!(received.complete, "{speaks:?} {version:?}");
            assert_eq!(received.bytes(), script::short_stream());
            let line = journal::closing(&id).await;
            assert_eq!((&line["message"], &line["status"]), (&"done".into(), &200.into()), "{line}");
            if stalls {
                upstream.log.gone(0).await;
            }
            drop(client);
            gateway.stop().await;
        }
    }
}

/// The error event of an answer that stops within an event, in a body whose framing is whole, is an event of
/// its own, also where the trace comment is asked for.
#[tokio::test]
async fn the_error_event_of_an_answer_that_stops_within_an_event() {
    for (path, start, _) in dialects() {
        for (unfinished, trace) in [("data: {\"ty", "0"), ("data: {}\r\n", "1"), ("data: {\"ty", "1")] {
            let body = [&start[..], unfinished.as_bytes()].concat();
            let upstream = Upstream::always(Speaks::H1, vec![sse_head(), script::body(body), Step::End]);
            let plan = Plan::to(&[&upstream]).with(|settings| settings.stream.on_fault = FaultDisplay::Event);
            let gateway = plan.start().await;
            for version in Version::BOTH {
                let mut client = gateway.client(version).await;
                let asked = call(path).header("x-thalweg-trace", trace);
                let received = client.send(asked).await.collect().await;
                assert!(!received.complete, "{path}");
                let text = received.text().replace("\r\n", "\n");
                let last = text.split("\n\n").filter(|event| !event.is_empty()).last().unwrap();
                let data = last.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
                let error: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
                let found = error.pointer("/response/error").unwrap_or_else(|| &error["error"]);
                assert!(found["message"].is_string(), "{path} {unfinished:?} {trace} {version:?}: {text:?}");
            }
            gateway.stop().await;
        }
    }
}

/// The last event ends the answer whatever its line ends, in however many frames they come, and whatever
/// stands behind it.
#[tokio::test]
async fn the_last_event_ends_the_answer_whatever_follows() {
    for rest in ["data: [DONE]\n\n\n", "data: [DONE]\r\n\r|\n", "data: [DONE]\r\r", "data: [DONE]\n\n: x"] {
        for (mode, end) in [
            (Mode::Asgi, Step::Stall),
            (Mode::Buffered, Step::Stall),
            (Mode::Asgi, Step::Reset),
            (Mode::Asgi, Step::Close),
        ] {
            let body = [&delta("one")[..], STOP.as_bytes()].concat();
            let mut steps = vec![sse_head(), script::body(body.clone())];
            for part in rest.split('|') {
                steps.extend([script::body(part), Step::Moment]);
            }
            steps.extend([Step::Delivered, end]);
            let upstream = Upstream::always(Speaks::H1, steps);
            let gateway = Plan::to(&[&upstream]).with(|it| it.stream.mode = mode).start().await;
            let mut client = gateway.client(Version::H1).await.telling(&upstream.log);
            let asked = Call::stream();
            let id = asked.id();
            let received = client.send(asked).await.collect().await;
            assert!(received.complete, "{rest:?} {mode:?}");
            assert_eq!(received.bytes(), [&body[..], rest.replace('|', "").as_bytes()].concat(), "{rest:?}");
            let line = journal::closing(&id).await;
            assert_eq!((&line["message"], &line["status"]), (&"done".into(), &200.into()), "{line}");
            drop(client);
            gateway.stop().await;
        }
    }
}

/// A client that closes once it has read the last event was given everything, and the provider's connection
/// is kept when its body ends later.
#[tokio::test]
async fn a_client_that_leaves_after_the_last_event_was_served() {
    let end = Gate::new();
    let steps = vec![
        sse_head(),
        script::body([&delta("one")[..], STOP.as_bytes(), &script::usage(), script::DONE].concat()),
        Step::Wait(end.clone()),
        Step::End,
    ];
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let asked = Call::stream();
    let id = asked.id();
    let mut answer = client.send(asked).await;
    let mut text = String::new();
    while !text.contains("[DONE]") {
        text.push_str(std::str::from_utf8(&answer.piece().await).unwrap());
    }
    drop((answer, client));
    gateway.until("the end of the request", |now| now.requests == 0).await;
    end.open();
    gateway.until("a connection that is kept", |now| now.upstream_idle == 1).await;
    let line = journal::closing(&id).await;
    assert_eq!((&line["message"], &line["status"]), (&"done".into(), &200.into()), "{line}");
    assert_eq!((&line["input_tokens"], &line["output_tokens"]), (&9.into(), &3.into()), "{line}");
    gateway.stop().await;
}

/// Where a stream was requested, the first bytes decide whether the body has events, not its label: they pass
/// byte for byte, as they come, and their usage is read (A6).
#[tokio::test]
async fn events_under_another_label_are_events() {
    let events = [b": hi\n\n", &delta("one")[..], STOP.as_bytes(), &script::usage(), script::DONE].concat();
    let mark = [b"\xef\xbb\xbf\r\n", &events[..]].concat();
    let seen = [&events[..events.len() - script::usage().len() - script::DONE.len()], script::DONE].concat();
    for (speaks, version) in PAIRS {
        for (label, body, expected) in [
            ("application/json", &events, &seen),
            ("text/plain; charset=utf-8", &events, &seen),
            ("application/octet-stream", &events, &seen),
            ("application/json", &mark, &[b"\xef\xbb\xbf\r\n", &seen[..]].concat()),
        ] {
            for whole in [true, false] {
                let pieces: Vec<Step> = match whole {
                    true => vec![script::body(body.clone())],
                    false => {
                        // Single bytes until the decision and beyond it.
                        let (start, rest) = body.split_at(20);
                        let bytes =
                            start.chunks(1).flat_map(|byte| [script::body(byte.to_vec()), Step::Moment]);
                        bytes.chain([script::body(rest.to_vec())]).collect()
                    }
                };
                let head = vec![script::head(200, label, Framing::Chunked)];
                let upstream = Upstream::always(speaks, [head, pieces, vec![Step::End]].concat());
                let gateway = Plan::to(&[&upstream]).start().await;
                let mut client = gateway.client(version).await;
                let call = Call::stream();
                let id = call.id();
                let answer = client.send(call).await;
                assert_eq!(
                    (answer.status.as_u16(), answer.header("content-type")),
                    (200, "text/event-stream")
                );
                let received = answer.collect().await;
                assert!(received.complete, "{label}");
                assert_eq!(received.bytes(), expected, "{label} {whole} {speaks:?} {version:?}");
                let line = journal::closing(&id).await;
                assert_eq!((&line["input_tokens"], &line["output_tokens"]), (&9.into(), &3.into()), "{line}");
                drop(client);
                gateway.stop().await;
            }
        }
    }
}

/// The first event of such a body reaches the client before the second is sent, and an error in it leads to
/// the next provider (A6).
#[tokio::test]
async fn events_under_another_label_are_relayed_as_they_come() {
    let gate = Gate::new();
    let head = script::head(200, "application/json", Framing::Chunked);
    let steps = vec![
        head.clone(),
        Step::Body(delta("one")),
        Step::Wait(gate.clone()),
        script::body(script::DONE),
        Step::End,
    ];
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let mut answer = client.send(Call::stream()).await;
    assert_eq!(answer.piece().await, delta("one"));
    gate.open();
    assert_eq!(answer.collect().await.bytes(), script::DONE);
    drop(client);
    gateway.stop().await;

    let error = script::body("data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n");
    let first = Upstream::always(Speaks::H1, vec![head, error, Step::End]);
    let second = Upstream::always(Speaks::H1, script::sse(script::short_stream()));
    let gateway = Plan::to(&[&first, &second]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::stream()).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-provider")), (200, "p1"));
    assert_eq!(answer.collect().await.bytes(), script::short_stream());
    drop(client);
    gateway.stop().await;
}
