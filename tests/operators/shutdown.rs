//! SIGTERM: readiness is denied first, streams end within the drain, the rest is cut (S1.10, S2.10, R35).

use std::{
    io::ErrorKind,
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use serde_json::json;
use thalweg::{app, relay::FaultDisplay, server::Listen};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::reload_process::until;
use crate::{
    client::{Call, Version},
    command::{File, Gateway, Signal},
    free_port::free_port,
    gateway::Plan,
    journal,
    upstream::{
        Speaks, Step, Upstream,
        log::{EVENT_TIMEOUT, in_time},
        script::{self, delta, sse_head},
    },
};

/// The listener for operators starts after the workers. When it cannot, their listener is closed again.
#[test]
fn a_failed_start_ends_what_it_started() {
    let loopback = || TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = loopback();
    let port_of = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let port = free_port();
    let listen = |port| Listen { host: "127.0.0.1".into(), port, tls: None };
    let plan = Plan::to(&[]).with(|settings| {
        settings.listen = listen(port);
        settings.admin_listen = Some(listen(port_of(&taken)));
    });
    let error = app::start(plan.settings).unwrap_err();
    assert!(matches!(error, app::StartError::Bind(_)), "{error:?}");
    // A process that another test starts has a copy of the listener until it runs its program.
    let began = Instant::now();
    let refused = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Err(refused) => break refused,
            Ok(_) => assert!(began.elapsed() < EVENT_TIMEOUT, "the listener is still open"),
        }
    };
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

/// S2.10: a stream that outlasts the drain is cut, its provider is disconnected, and the stop returns.
#[tokio::test]
async fn a_drain_is_bounded() {
    for version in Version::BOTH {
        let upstream = Upstream::always(Speaks::H1, vec![sse_head(), Step::Body(delta("one")), Step::Stall]);
        let plan = Plan::to(&[&upstream]).with(|s| s.limits.drain = Duration::from_millis(50));
        let gateway = plan.start().await;
        let mut client = gateway.client(version).await;
        let mut answer = client.send(Call::stream()).await;
        answer.piece().await;
        let started = Instant::now();
        in_time(gateway.stop_now()).await.expect("a stop in time");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        upstream.log.gone(0).await;
        drop((answer, client));
    }
}

/// However many requests the drain cuts off at once, each has its closing line.
#[tokio::test]
async fn all_requests_that_outlast_the_drain_are_written() {
    const REQUESTS: usize = 150;
    let upstream = Upstream::always(Speaks::H1, vec![Step::Stall]);
    let plan = Plan::to(&[&upstream]).with(|settings| settings.limits.drain = Duration::from_millis(50));
    let gateway = plan.start().await;
    let (mut ids, mut clients) = (Vec::new(), tokio::task::JoinSet::new());
    for _ in 0..REQUESTS {
        let (mut client, call) = (gateway.client(Version::H2).await, Call::stream());
        ids.push(call.id());
        clients.spawn(async move { client.try_send(call).await.is_ok() });
    }
    gateway.until("all requests", |now| now.requests == REQUESTS).await;
    in_time(gateway.stop_now()).await.expect("a stop in time");
    for id in ids {
        journal::closing(&id).await;
    }
    clients.join_all().await;
}

/// A stream that the drain cuts breaks off as by any other fault: without its end, with `"event"` behind an
/// event, and the log says why (G11). A client of HTTP/1.0 always gets the event.
#[tokio::test]
async fn a_stream_that_outlasts_the_drain_breaks_off() {
    for (version, coalesce) in
        Version::BOTH.into_iter().flat_map(|version| [(version, false), (version, true)])
    {
        for display in [FaultDisplay::Break, FaultDisplay::Event] {
            let upstream =
                Upstream::always(Speaks::H1, vec![sse_head(), Step::Body(delta("one")), Step::Stall]);
            let plan = Plan::to(&[&upstream]).with(|settings| {
                settings.limits.drain = Duration::from_millis(50);
                settings.stream.on_fault = display;
                (settings.cache.enabled, settings.cache.coalesce) = (coalesce, coalesce);
            });
            let gateway = plan.start().await;
            let mut client = gateway.client(version).await;
            let call = Call::stream();
            let id = call.id();
            let mut answer = client.send(call).await;
            assert_eq!(answer.piece().await, delta("one"));
            let stopping = tokio::spawn(gateway.stop_now());
            let received = answer.collect().await;
            assert!(!received.complete, "{version:?}");
            let text = received.text();
            if display == FaultDisplay::Event {
                let begins = "data: {\"error\":{\"message\":\"provider returned error: connection lost (";
                let text = text.trim_start();
                assert!(text.starts_with(begins) && text.contains("\"code\":\"shutting_down\""), "{text}");
            } else {
                assert_eq!(text, "", "{version:?}");
            }
            in_time(stopping).await.expect("a stop in time").unwrap();
            assert_eq!(journal::closing(&id).await["code"], "shutting_down");
            drop(client);
        }
    }
    let upstream = Upstream::always(Speaks::H1, vec![sse_head(), Step::Body(delta("one")), Step::Stall]);
    let plan = Plan::to(&[&upstream]).with(|settings| settings.limits.drain = Duration::from_millis(50));
    let gateway = plan.start().await;
    let mut client = gateway.raw().await;
    let wire = String::from_utf8(Call::stream().wire()).unwrap();
    client.send(wire.replacen("HTTP/1.1", "HTTP/1.0", 1)).await;
    while !String::from_utf8_lossy(client.unread()).contains("one") {
        assert!(client.fill().await);
    }
    let stopping = tokio::spawn(gateway.stop_now());
    while client.fill().await {}
    let text = String::from_utf8_lossy(client.unread()).into_owned();
    assert!(text.contains("\"code\":\"shutting_down\""), "{text}");
    drop(client);
    in_time(stopping).await.expect("a stop in time").unwrap();
}

/// A request that the drain leaves without an answer is refused, in its client's dialect, and not booked as
/// one whose client left (G11).
#[tokio::test]
async fn a_request_that_outlasts_the_drain_is_refused() {
    let upstream = Upstream::always(Speaks::H1, vec![Step::Stall]);
    for version in Version::BOTH {
        let tokens = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
        let messages = Call::post("/v1/messages", tokens.replacen('{', r#"{"max_tokens":9,"#, 1));
        for call in [Call::whole(), Call::stream(), Call::post("/v1/moderations", tokens), messages] {
            let is_anthropic = call.target == "/v1/messages";
            let plan = Plan::to(&[&upstream]).with(|settings| {
                settings.limits.drain = Duration::from_millis(50);
            });
            let gateway = plan.start().await;
            let mut client = gateway.client(version).await;
            let id = call.id();
            let pending = client.send(call);
            let stopping = async {
                gateway.until("the request", |now| now.requests == 1).await;
                in_time(gateway.stop_now()).await.expect("a stop in time");
            };
            let (answer, ()) = tokio::join!(pending, stopping);
            assert_eq!(
                (answer.status.as_u16(), answer.header("x-should-retry")),
                (503, "true"),
                "{version:?}"
            );
            assert_eq!(answer.header("x-thalweg-error"), "shutting_down");
            let error = answer.collect().await.json();
            if is_anthropic {
                let shape = (&error["type"], &error["error"]["type"]);
                assert_eq!(shape, (&json!("error"), &json!("overloaded_error")), "{error}");
            } else {
                let shape = (&error["error"]["type"], &error["error"]["code"]);
                assert_eq!(shape, (&json!("server_error"), &json!("shutting_down")), "{error}");
            }
            let line = journal::closing(&id).await;
            assert_eq!((&line["code"], &line["status"]), (&json!("shutting_down"), &json!(503)), "{line}");
            assert_eq!(line["message"], "failed", "{line}");
        }
    }
}

/// Requests that wait for the answer of another one do not ask the provider themselves when the drain's end
/// takes it from them, although connections to it are free.
#[tokio::test]
async fn no_provider_is_asked_at_the_end_of_the_drain() {
    const WARM: usize = 4;
    let gate = crate::upstream::Gate::new();
    let opens = gate.clone();
    let upstream = Upstream::by(Speaks::H1, move |number, _| match number {
        0..WARM => [vec![Step::Wait(opens.clone())], script::json(200, script::COMPLETION)].concat(),
        _ => vec![Step::Stall],
    });
    let plan = Plan::to(&[&upstream]).with(|settings| {
        settings.limits.drain = Duration::from_millis(50);
        (settings.cache.enabled, settings.cache.coalesce) = (true, true);
    });
    let gateway = plan.start().await;
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..WARM {
        let mut client = gateway.client(Version::H1).await;
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{number}"}}]}}"#);
        let call = Call::post("/v1/chat/completions", body);
        clients.spawn(async move { client.send(call).await.collect().await.text() });
    }
    upstream.log.request(WARM - 1).await;
    gate.open();
    clients.join_all().await;
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..WARM {
        let mut client = gateway.client(Version::BOTH[number % 2]).await;
        clients.spawn(async move { client.send(Call::stream()).await.collect().await.text() });
        upstream.log.request(WARM).await;
    }
    gateway.until("all requests", |now| now.requests == WARM).await;
    in_time(gateway.stop_now()).await.expect("a stop in time");
    for text in clients.join_all().await {
        assert!(text.contains("\"code\":\"shutting_down\""), "{text}");
    }
    assert_eq!(upstream.log.requests(), WARM + 1);
}

/// The same for a request whose client is still sending its body: the answer reaches the client, although the
/// gateway does not read the rest.
#[tokio::test]
async fn an_upload_that_outlasts_the_drain_is_refused() {
    let upstream = Upstream::always(Speaks::H1, vec![Step::Stall]);
    let plan = Plan::to(&[&upstream]).with(|settings| settings.limits.drain = Duration::from_millis(50));
    let gateway = plan.start().await;
    let wire = String::from_utf8(Call::stream().wire()).unwrap();
    let (head, body) = wire.split_once("\r\n\r\n").unwrap();
    let longer = format!("content-length: {}", body.len() + 1_000_000);
    let head = head.replace(&format!("content-length: {}", body.len()), &longer);
    assert!(head.contains(&longer), "{head}");
    let mut client = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    client.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
    gateway.until("the request", |now| now.requests == 1).await;
    let stopping = tokio::spawn(gateway.stop_now());
    // The client reads nothing until it has sent more after its request's end.
    let mut began = [0];
    client.peek(&mut began).await.unwrap();
    for _ in 0..3 {
        client.write_all(&[b'x'; 100]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut answer = String::new();
    in_time(client.read_to_string(&mut answer)).await.expect("an answer in time").unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"code\":\"shutting_down\""), "{answer}");
    drop(client);
    in_time(stopping).await.expect("a stop in time").unwrap();
}

/// A client that does not read does not delay the stop (G11).
#[tokio::test]
async fn a_client_that_does_not_read_is_cut_after_the_drain() {
    let flood = vec![sse_head(), Step::Body(delta("one")), script::body(vec![b':'; 8 << 20]), Step::Stall];
    let upstream = Upstream::always(Speaks::H1, flood);
    let plan = Plan::to(&[&upstream]).with(|settings| settings.limits.drain = Duration::from_millis(50));
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let call = Call::stream();
    let id = call.id();
    let mut answer = client.send(call).await;
    answer.piece().await;
    in_time(gateway.stop_now()).await.expect("a stop in time");
    assert_eq!(journal::closing(&id).await["code"], "shutting_down");
    drop((answer, client));
}

/// S2.10: requests in flight keep their streams while the gateway stops.
#[tokio::test]
async fn a_drain_waits_for_streams() {
    let gate = crate::upstream::Gate::new();
    let steps = vec![
        sse_head(),
        Step::Body(delta("one")),
        Step::Wait(gate.clone()),
        script::body(script::DONE),
        Step::End,
    ];
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut streams = Vec::new();
    for number in 0..20 {
        let mut client = gateway.client(Version::BOTH[number % 2]).await;
        let mut answer = client.send(Call::stream()).await;
        answer.piece().await;
        streams.push((client, answer));
    }
    let address = gateway.address;
    let stopping = tokio::spawn(gateway.stop_now());
    // The stop has begun when connections are refused.
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    gate.open();
    for (client, answer) in streams {
        let received = answer.collect().await;
        assert!(received.complete);
        assert_eq!(received.bytes(), script::DONE);
        drop(client);
    }
    in_time(stopping).await.expect("a stop in time").unwrap();
}

/// R35: readiness is denied first; until the drain begins everything is served, also on new connections.
#[test]
fn a_stop_denies_readiness_before_it_stops_accepting() {
    let text = json!({"tokens": ["one|sk-a"], "limits": {"shutdown_delay": "30s"}, "state_file": false, "database": false});
    let file = File::new("unready", &text.to_string());
    let mut gateway = Gateway::start(&[("THALWEG_CONFIG", file.0.to_str().unwrap())]);
    let mut log = gateway.log();
    assert_eq!(gateway.get("/readyz", ""), 200);
    gateway.signal(Signal::TERM);
    until(&mut log, "Not ready any more: draining begins in 30s.");
    assert_eq!([gateway.get("/readyz", ""), gateway.get("/v1/models", "sk-a")], [503, 200]);
    // A second signal skips the delay.
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.child.wait().unwrap().code(), Some(130));
}
