//! The log lines of a request (S0.11, S1.10, R29).

use crate::{
    client::{Call, Version, call::TOKEN},
    command::{Gateway, Signal},
    gateway::{PROVIDER_KEY, Plan},
    journal,
    upstream::{
        Speaks, Step, Upstream,
        script::{self, delta, usage},
    },
};

/// S0.11, R29: the closing line has the stream's figures.
#[tokio::test]
async fn the_closing_line_has_the_figures() {
    let mut steps = script::sse_pieces([bytes::Bytes::from_static(b": hi\n\n"), delta("one"), delta("two")]);
    steps.pop();
    steps.extend([Step::Body(usage()), script::body(script::DONE), Step::End]);
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await.telling(&upstream.log);
    let call = Call::stream();
    let id = call.id();
    let received = client.send(call).await.collect().await;
    // CASES G8: the line of the provider's head has its status and times.
    let connected = journal::said(&id, "connected").await;
    assert_eq!(connected["status"], 200, "{connected}");
    let times = ["connected_ms", "latency_ms"].map(|name| connected[name].as_f64().unwrap());
    assert!(0.0 <= times[0] && times[0] <= times[1] && times[1] < 10_000.0, "{connected}");
    let line = journal::closing(&id).await;
    assert_eq!(line["level"], "INFO", "{line}");
    for (field, value) in [
        ("message", "done"),
        ("model", "m"),
        ("provider", "p0"),
        ("mode", "asgi"),
        ("path", "/v1/chat/completions"),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    assert_eq!((&line["status"], &line["attempts"]), (&200.into(), &1.into()));
    assert!(line["chunks"].as_u64().unwrap() >= 4, "{line}");
    assert!(line["bytes"].as_u64().unwrap() >= received.bytes().len() as u64, "{line}");
    assert_eq!((&line["input_tokens"], &line["output_tokens"]), (&9.into(), &3.into()), "{line}");
    let first = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name} in {line}"));
    assert!(first("first_byte_ms") <= first("first_token_ms"), "a comment is no token: {line}");
    assert!(first("first_token_ms") <= first("total_ms"));
    for field in ["avg_bytes", "avg_interval_ms", "zero_intervals", "connected_ms"] {
        assert!(line[field].is_number(), "{field} in {line}");
    }
    drop(client);
    gateway.stop().await;
}

/// B2: the closing line of a stream has its added latency, over HTTP/1.1 and HTTP/2; time lost to a slow
/// client is apart, and the measurement can be switched off.
#[tokio::test]
async fn the_closing_line_has_the_added_latency() {
    for version in Version::BOTH {
        let upstream =
            Upstream::always(Speaks::H1, script::sse_pieces([delta("one"), delta("two"), delta("three")]));
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(version).await.telling(&upstream.log);
        let call = Call::stream();
        let id = call.id();
        client.send(call).await.collect().await;
        let line = journal::closing(&id).await;
        let own = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name} in {line}"));
        assert!(
            own("added_p50_ms") <= own("added_p99_ms") && own("added_p99_ms") <= own("added_max_ms"),
            "{line}"
        );
        assert!(own("added_max_ms") > 0.0 && own("added_first_ms") > 0.0, "{line}");
        assert!(own("added_first_ms") < own("total_ms"), "{line}");
        drop(client);
        gateway.stop().await;

        let plan = Plan::to(&[&upstream]).with(|settings| settings.telemetry.frame_latency = false);
        let gateway = plan.start().await;
        let mut client = gateway.client(version).await.telling(&upstream.log);
        let call = Call::stream();
        let id = call.id();
        client.send(call).await.collect().await;
        let line = journal::closing(&id).await;
        assert!(line["added_p50_ms"].is_null() && line["first_token_ms"].is_number(), "{line}");
        drop(client);
        gateway.stop().await;
    }
}

/// S1.10: a stream of any length has fewer than ten lines above trace level.
#[tokio::test]
async fn no_line_per_chunk() {
    let pieces: Vec<_> = (0..200).map(|number| delta(&number.to_string())).collect();
    let upstream = Upstream::always(Speaks::H1, script::sse_pieces(pieces));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await.telling(&upstream.log);
    let call = Call::stream();
    let id = call.id();
    client.send(call).await.collect().await;
    journal::closing(&id).await;
    let lines = journal::lines(&id);
    assert!(lines.iter().filter(|line| line["level"] != "TRACE").count() < 10, "{lines:#?}");
    drop(client);
    gateway.stop().await;
}

/// R31: no key is in a log line or an error, in any failure.
#[tokio::test]
async fn no_key_in_logs_or_errors() {
    const STRANGE: &str = "sk-strange-key-that-is-not-known";
    let failing = vec![script::raw("HTTP/1.1 200 OK\r\nbad\0header: x\r\n\r\n"), Step::Close];
    let upstream =
        Upstream::in_turn(Speaks::H1, vec![failing, script::json(401, "{\"error\":{\"message\":\"no\"}}")]);
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let calls = [
        Call::whole(),
        Call::whole(),
        Call::whole().header("authorization", &format!("Bearer {STRANGE}")),
        Call::whole().header("authorization", STRANGE),
        Call::get("/v1/models?key=sk-strange-key-that-is-not-known"),
        Call::post("/v1/chat/completions", r#"{"model":"#),
    ];
    for call in calls {
        let text = client.send(call).await.collect().await.text();
        assert!(!text.contains(STRANGE) && !text.contains(TOKEN) && !text.contains(PROVIDER_KEY), "{text}");
    }
    drop(client);
    gateway.stop().await;
    for key in [STRANGE, TOKEN, PROVIDER_KEY] {
        assert!(!journal::mentions(key), "{key} was logged");
    }
}

/// A model's name is text of the client: no escape sequence and no line of it reaches a terminal, at any
/// level (E7).
#[test]
fn a_models_name_is_escaped() {
    let gateway = Gateway::start(&[("THALWEG_LOG_LEVEL", "TRACE")]);
    let token = gateway.exported("OPENAI_API_KEY").to_owned();
    let (status, answer) = gateway.stream(&token, r"demo\u001b[31m\nFORGED INFO line\r\u0007");
    assert!(status.contains(" 404 "), "{status}");
    drop(answer);
    // A second signal would end the process before the request's last line is written.
    gateway.signal(Signal::TERM);
    let (_, log) = gateway.end();
    assert!(log.contains("FORGED"), "{log}");
    assert!(!log.contains(['\u{1b}', '\u{7}', '\r']), "{log:?}");
    assert!(!log.lines().any(|line| line.starts_with("FORGED")), "{log}");
}
