//! Every timeout and its own error (S0.17, S1.4, B23, R20, R21). Timeouts are tens of milliseconds, so no
//! test waits long.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use thalweg::{relay::FaultDisplay, upstream::BaseUrl};
use tokio::net::{TcpListener, TcpStream};

use crate::{
    client::{Call, Version},
    gateway::{Gateway, PAIRS, PROVIDER_KEY, Plan},
    journal,
    upstream::{
        Framing, Speaks, Step, Upstream,
        script::{self, delta, sse_head},
    },
};

const SHORT: Duration = Duration::from_millis(60);

/// Added to a timeout before a test fails, because a busy machine is late.
const SLACK: Duration = Duration::from_secs(20);

/// A 504 with this timeout's code comes in time; the provider's connection is given up.
async fn times_out(gateway: Gateway, upstream: &Upstream, version: Version, call: Call, clock: &str) {
    let id = call.id();
    let mut client = gateway.client(version).await;
    let started = Instant::now();
    let answer = client.send(call).await;
    assert!(started.elapsed() >= SHORT && started.elapsed() < SLACK, "{:?}", started.elapsed());
    assert_eq!(answer.status, 504, "{clock}");
    let error = answer.collect().await.json();
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains(clock), "{message:?} names {clock:?}");
    let line = journal::closing(&id).await;
    assert_eq!(line["status"], 504, "{line}");
    if upstream.log.requests() > 0 {
        upstream.log.gone(0).await;
    }
    drop(client);
    gateway.stop().await;
}

/// Connect: lookup, TCP and TLS together; here a listener that never starts its TLS handshake.
#[tokio::test]
async fn connect() {
    let upstream = Upstream::always(Speaks::H1, vec![Step::Stall]);
    let plan = Plan::to(&[&upstream])
        .with(|settings| settings.providers[0].target.base.tls = true)
        .deadlines(|deadlines| deadlines.connect = SHORT);
    times_out(plan.start().await, &upstream, Version::H1, Call::stream(), "a connection").await;
}

/// A listener whose queue is full: the kernel drops what else comes. Dropping it ends it.
async fn black_hole() -> (Socket, TcpStream, BaseUrl) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let filling = TcpStream::connect(address).await.unwrap();
    (socket, filling, BaseUrl::parse(&format!("http://{address}/v1")).unwrap())
}

/// Connect: a provider whose SYNs are swallowed; of several that all time out the status is 504, too.
#[tokio::test]
async fn connect_without_an_answer() {
    let (_socket, _filling, silent) = black_hole().await;
    let upstream = Upstream::always(Speaks::H1, vec![Step::Stall]);
    for (count, code) in [(1, "connect_timeout"), (2, "all_providers_timed_out")] {
        let plan = Plan::to(&[&upstream, &upstream][..count])
            .with(|settings| {
                for provider in &mut settings.providers {
                    provider.target.base = silent.clone();
                }
            })
            .deadlines(|deadlines| deadlines.connect = SHORT);
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::stream()).await;
        assert_eq!(answer.status, 504, "{code}");
        assert_eq!(answer.collect().await.json()["error"]["code"], code);
        drop(client);
        gateway.stop().await;
    }
}

/// Write: the provider accepts and reads nothing; the next one is asked.
#[tokio::test]
async fn write() {
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = BaseUrl::parse(&format!("http://{}/v1", deaf.local_addr().unwrap())).unwrap();
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let body = format!(r#"{{"model":"m","messages":[],"x":"{}"}}"#, "x".repeat(16 << 20));
    for (count, status) in [(1, 504), (2, 200)] {
        let plan = Plan::to(&[&upstream, &upstream][..count])
            .with(|settings| settings.providers[0].target.base = base.clone())
            .deadlines(|deadlines| deadlines.write = SHORT);
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::post("/v1/chat/completions", body.clone())).await;
        assert_eq!(answer.status, status);
        let body = answer.collect().await.json();
        if status == 504 {
            assert_eq!(body["error"]["code"], "write_timeout");
        }
        drop(client);
        gateway.stop().await;
    }
}

/// First token: the provider takes the request and is silent, or sends only its head, or sends keepalives
/// without end (R21).
#[tokio::test]
async fn first_token() {
    let comments: Vec<_> = (0..2000).flat_map(|_| [script::body(": keepalive\n\n"), Step::Moment]).collect();
    for (speaks, version) in PAIRS {
        for steps in [
            vec![Step::Stall],
            vec![sse_head(), Step::Stall],
            [vec![sse_head()], comments.clone(), vec![Step::Stall]].concat(),
        ] {
            let upstream = Upstream::always(speaks, steps);
            let plan = with_events(&upstream).deadlines(|deadlines| deadlines.first_token = SHORT);
            times_out_or_tells(plan.start().await, &upstream, version).await;
        }
    }
}

/// Faults after the commit are shown by an event.
fn with_events(upstream: &Upstream) -> Plan {
    Plan::to(&[upstream]).with(|settings| settings.stream.on_fault = FaultDisplay::Event)
}

/// Before the commit point a 504; an event with the same code if comments were relayed already.
async fn times_out_or_tells(gateway: Gateway, upstream: &Upstream, version: Version) {
    let call = Call::stream();
    let id = call.id();
    let mut client = gateway.client(version).await;
    let started = Instant::now();
    let answer = client.send(call).await;
    let status = answer.status;
    let received = answer.collect().await;
    assert!(started.elapsed() >= SHORT && started.elapsed() < SLACK, "{:?}", started.elapsed());
    let error = match status.as_u16() {
        504 => received.json(),
        200 => last_event(&received.text()),
        other => panic!("{other}"),
    };
    assert!(error["error"]["message"].as_str().unwrap().contains("the first token"), "{error}");
    upstream.log.gone(0).await;
    journal::closing(&id).await;
    drop(client);
    gateway.stop().await;
}

fn last_event(text: &str) -> Value {
    let event = text.trim_end().rsplit("\n\n").next().unwrap();
    serde_json::from_str(event.strip_prefix("data: ").expect("data")).unwrap()
}

/// Idle: silence in mid-stream breaks the stream off, if so configured behind an error event.
#[tokio::test]
async fn idle() {
    for (speaks, version, display) in PAIRS.into_iter().flat_map(|(speaks, version)| {
        [FaultDisplay::Break, FaultDisplay::Event].map(|display| (speaks, version, display))
    }) {
        // The gateway waits for the first token by then: that timeout is far, the idle timeout near.
        let wait = vec![Step::Moment; 20];
        let steps = [vec![sse_head()], wait, vec![Step::Body(delta("one")), Step::Stall]].concat();
        let upstream = Upstream::always(speaks, steps);
        let plan = Plan::to(&[&upstream]).deadlines(|deadlines| deadlines.stream = SHORT);
        let gateway = plan.with(|settings| settings.stream.on_fault = display).start().await;
        let mut client = gateway.client(version).await;
        let started = Instant::now();
        let received = client.send(Call::stream()).await.collect().await;
        assert!(started.elapsed() >= SHORT && started.elapsed() < SLACK, "{:?}", started.elapsed());
        assert!(!received.complete);
        let text = received.text();
        assert!(text.starts_with(std::str::from_utf8(&delta("one")).unwrap()));
        if display == FaultDisplay::Event {
            let error = last_event(&text);
            let message = error["error"]["message"].as_str().unwrap();
            assert!(message.starts_with("provider returned error: timed out (waited"), "{error}");
            assert!(message.contains("the next byte"), "{error}");
        } else {
            assert_eq!(received.bytes(), delta("one"));
        }
        upstream.log.gone(0).await;
        drop(client);
        gateway.stop().await;
    }
}

/// Idle: bytes re-arm it, so a stream may take longer than the timeout.
#[tokio::test]
async fn idle_is_not_a_total() {
    let mut steps = vec![sse_head()];
    for number in 0..20 {
        steps.push(Step::Body(delta(&number.to_string())));
        steps.extend(vec![Step::Moment; 8]);
    }
    steps.extend([script::body(script::DONE), Step::End]);
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = Plan::to(&[&upstream]).deadlines(|deadlines| deadlines.stream = 2 * SHORT).start().await;
    let mut client = gateway.client(Version::H1).await;
    let started = Instant::now();
    let received = client.send(Call::stream()).await.collect().await;
    assert!(received.complete && !received.text().contains("error"), "{}", received.text());
    assert!(started.elapsed() > 2 * SHORT, "{:?}", started.elapsed());
    drop(client);
    gateway.stop().await;
}

/// R21: comments after the first content re-arm the idle timeout only for a while.
#[tokio::test]
async fn comments_do_not_rearm_idle_for_ever() {
    // As a whole, in parts, and lines without a blank one.
    for parts in [&[": keepalive\n\n"][..], &[": keep", "alive\n", "\n"], &[":\n"], &[":", "\r", "\n"]] {
        let comments = parts.iter().cycle().take(4000).flat_map(|part| [script::body(*part), Step::Moment]);
        let mut steps = vec![sse_head(), Step::Body(delta("one"))];
        steps.extend(comments);
        steps.push(Step::Stall);
        let upstream = Upstream::always(Speaks::H1, steps);
        let gateway = with_events(&upstream).deadlines(|deadlines| deadlines.stream = SHORT).start().await;
        let mut client = gateway.client(Version::H1).await;
        // Comments pass as they come.
        let asked = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;
        let call = Call::post("/v1/chat/completions", asked);
        let id = call.id();
        let text = client.send(call).await.collect().await.text();
        assert!(last_event(&text)["error"]["message"].is_string(), "{text}");
        assert_eq!(journal::closing(&id).await["code"], "idle_timeout", "{parts:?}");
        // Before the last comment: 4,000 moments are four seconds and more.
        let sent = parts.iter().cycle().take(4000).filter(|part| part.starts_with(':')).count();
        let passed = text.lines().filter(|line| line.starts_with(':')).count();
        assert!(passed < sent, "{parts:?}: {passed} of {sent}");
        drop(client);
        gateway.stop().await;
    }
}

/// Total of a request without streaming: before the head, and in the middle of the body.
#[tokio::test]
async fn total() {
    for (speaks, version) in PAIRS {
        let upstream = Upstream::always(speaks, vec![Step::Stall]);
        let plan = Plan::to(&[&upstream]).deadlines(|deadlines| deadlines.non_stream = SHORT);
        times_out(plan.start().await, &upstream, version, Call::whole(), "the complete response").await;
    }
    let half = script::head(200, "application/json", Framing::Length(100));
    let upstream = Upstream::always(Speaks::H1, vec![half, script::body("{"), Step::Stall]);
    let gateway = Plan::to(&[&upstream]).deadlines(|deadlines| deadlines.non_stream = SHORT).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::whole()).await;
    let status = answer.status;
    let received = answer.collect().await;
    assert!(status == 504 || !received.complete, "{status} {received:?}");
    upstream.log.gone(0).await;
    drop(client);
    gateway.stop().await;
}

/// Total of a stream, where it is configured.
#[tokio::test]
async fn stream_total() {
    let mut steps = vec![sse_head()];
    steps.extend((0..4000).flat_map(|_| [Step::Body(delta("x")), Step::Moment]));
    steps.push(Step::Stall);
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway =
        with_events(&upstream).deadlines(|deadlines| deadlines.stream_total = Some(SHORT)).start().await;
    let mut client = gateway.client(Version::H1).await;
    let started = Instant::now();
    let received = client.send(Call::stream()).await.collect().await;
    assert!(started.elapsed() >= SHORT && started.elapsed() < SLACK, "{:?}", started.elapsed());
    assert!(last_event(&received.text())["error"]["message"].is_string());
    drop(client);
    gateway.stop().await;
}

/// A request body that does not arrive: 408, and the connection is closed.
#[tokio::test]
async fn request_body() {
    let upstream = Upstream::always(Speaks::H1, vec![Step::Stall]);
    let gateway = Plan::to(&[&upstream]).with(|settings| settings.limits.body_timeout = SHORT).start().await;
    let mut client = gateway.raw().await;
    let token = crate::client::call::TOKEN;
    client
        .send(format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: 100\r\n\r\n{{\"model\""
        ))
        .await;
    let head = client.head().await;
    assert_eq!(head.status, 408, "{}", head.text);
    let body = String::from_utf8(client.body(&head).await.to_vec()).unwrap();
    assert!(body.contains("the request body") && !body.contains(PROVIDER_KEY), "{body}");
    assert!(client.ended().await, "nothing more can be read from that connection");
    assert_eq!(upstream.log.requests(), 0);
    drop(client);
    gateway.stop().await;
}

/// A request head that does not arrive: the connection is closed.
#[tokio::test]
async fn request_head() {
    let upstream = Upstream::always(Speaks::H1, vec![Step::Stall]);
    let gateway = Plan::to(&[&upstream]).with(|settings| settings.limits.head_timeout = SHORT).start().await;
    for start in ["", "GET / HTTP/1.1\r\nhost: x\r\n"] {
        let mut client = gateway.raw().await;
        client.send(start).await;
        let started = Instant::now();
        while client.fill().await {}
        assert!(started.elapsed() < SLACK, "{:?}", started.elapsed());
    }
    gateway.stop().await;
}
