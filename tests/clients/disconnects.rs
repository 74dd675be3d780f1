//! The client disconnects, in every phase: the provider sees it within 50 ms, the log says 499 and the phase,
//! and nothing is left.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::net::TcpStream;

use crate::{
    client::{Call, Client, Version},
    gateway::{Gateway, PAIRS, Plan},
    journal,
    upstream::{
        Framing, How, Speaks, Step, Upstream,
        script::{self, delta},
    },
};

/// From the client's close until the provider notices.
const NOTICE_LIMIT: Duration = Duration::from_millis(50);

/// The event at which the client disconnects.
#[derive(Clone, Copy)]
enum Until {
    /// The provider has its request.
    Asked,
    /// The gateway has the provider's head.
    Connected,
    /// The client has read all it wants to.
    Read,
}

impl Until {
    async fn come(self, upstream: &Upstream, number: usize, id: &str) {
        match self {
            Self::Asked => drop(upstream.log.request(number).await),
            Self::Connected => drop(journal::said(id, "connected").await),
            Self::Read => std::future::pending().await,
        }
    }
}

/// Disconnects three times. The fastest counts, because a busy machine would look like a slow gateway.
async fn leaves<F: Future<Output = ()>>(
    until: Until,
    (speaks, version): (Speaks, Version),
    steps: Vec<Step>,
    call: fn() -> Call,
    reached: impl Fn(Client, Call) -> F,
) -> Vec<Value> {
    let upstream = Upstream::always(speaks, steps);
    let gateway = Plan::to(&[&upstream]).start().await;
    let (mut fastest, mut lines) = (Duration::MAX, Vec::new());
    for number in 0..3 {
        let call = call();
        let id = call.id();
        let client = gateway.client(version).await;
        {
            let mut waiting = std::pin::pin!(reached(client, call));
            tokio::select! {
                () = &mut waiting => {}
                () = until.come(&upstream, number, &id) => {}
            }
            // The client and its answer are dropped here, which closes the connection.
        }
        let left = Instant::now();
        let (how, seen) = upstream.log.gone(number).await;
        match speaks {
            Speaks::H1 => assert!(matches!(how, How::Closed | How::Reset), "{how:?}"),
            Speaks::H2 => {
                assert!(matches!(how, How::Stream(_)), "the stream is cancelled, not the connection: {how:?}")
            }
        }
        fastest = fastest.min(seen.saturating_duration_since(left));
        lines.push(journal::closing(&id).await);
    }
    assert!(fastest < NOTICE_LIMIT, "{fastest:?} for {speaks:?} {version:?}");
    if speaks == Speaks::H2 {
        assert_eq!(upstream.log.connections(), 1, "cancelled streams leave their connection whole");
    }
    gateway.stop().await;
    lines
}

/// Sends, and waits for the answer without a limit.
async fn waits(mut client: Client, call: Call) {
    drop(client.try_send(call).await);
    std::future::pending::<()>().await;
}

fn assert_499(lines: &[Value], phase: &str) {
    for line in lines {
        assert_eq!(line["status"], 499, "{line}");
        assert_eq!(line["phase"], phase, "{line}");
    }
}

/// R11, R14, S2.10: before the provider's head.
#[tokio::test]
async fn before_the_head() {
    for pair in PAIRS {
        let lines = leaves(Until::Asked, pair, vec![Step::Stall], Call::stream, waits).await;
        assert_499(&lines, "before_head");
    }
}

/// R11, R14: after the provider's head, before its first event.
#[tokio::test]
async fn before_the_first_token() {
    for pair in PAIRS {
        let steps = vec![script::sse_head(), Step::Stall];
        let lines = leaves(Until::Connected, pair, steps, Call::stream, waits).await;
        assert_499(&lines, "before_first_token");
    }
}

/// R11, R14: in the middle of the stream.
#[tokio::test]
async fn in_mid_stream() {
    for pair in PAIRS {
        let steps = vec![script::sse_head(), Step::Body(delta("one")), Step::Stall];
        let reads = |mut client: Client, call: Call| async move {
            let mut answer = client.send(call).await;
            assert_eq!(answer.piece().await, delta("one"));
        };
        let lines = leaves(Until::Read, pair, steps, Call::stream, reads).await;
        assert_499(&lines, "mid_stream");
    }
}

/// R11: without streaming: before the head, and in the middle of the body.
#[tokio::test]
async fn without_streaming() {
    for pair in PAIRS {
        let lines = leaves(Until::Asked, pair, vec![Step::Stall], Call::whole, waits).await;
        assert_499(&lines, "before_head");
        let half = script::head(200, "application/json", Framing::Length(100));
        let steps = vec![half, script::body("{\"half\":"), Step::Stall];
        let lines = leaves(Until::Connected, pair, steps, Call::whole, waits).await;
        assert_499(&lines, "mid_stream");
    }
}

/// How a client leaves while it sends its body.
#[derive(Clone, Copy, Debug)]
enum Leave {
    H1Closes,
    H2Resets,
    H2Closes,
}

/// R11: half of the body has come. The request is no bad one.
#[tokio::test]
async fn during_the_upload() {
    let upstream = Upstream::always(Speaks::H1, vec![Step::Stall]);
    let gateway = Plan::to(&[&upstream]).start().await;
    for leave in [Leave::H1Closes, Leave::H2Resets, Leave::H2Closes] {
        let call = Call::stream();
        let id = call.id();
        let half = call.body.slice(..call.body.len() / 2);
        if matches!(leave, Leave::H1Closes) {
            let mut client = gateway.raw().await;
            let wire = call.wire();
            client.send(&wire[..wire.len() - half.len()]).await;
            gateway.until("the request", |now| now.requests == 1).await;
        } else {
            let socket = TcpStream::connect(gateway.address).await.unwrap();
            let (mut sender, connection) = h2::client::handshake(socket).await.unwrap();
            let driver = tokio::spawn(connection);
            let (head, _) = call.request(&gateway.address.to_string()).into_parts();
            let (answer, mut body) = sender.send_request(http::Request::from_parts(head, ()), false).unwrap();
            body.send_data(half, false).unwrap();
            gateway.until("the request", |now| now.requests == 1).await;
            if matches!(leave, Leave::H2Resets) {
                body.send_reset(h2::Reason::CANCEL);
                gateway.until("the end of the request", |now| now.requests == 0).await;
            }
            driver.abort();
            drop((answer, sender));
        }
        let line = journal::closing(&id).await;
        assert_eq!((&line["status"], &line["phase"]), (&499.into(), &"request".into()), "{leave:?} {line}");
    }
    assert_eq!(upstream.log.requests(), 0);
    gateway.stop().await;
}

/// R11, R13: while the request waits for a place in the pool. It never reaches the provider, and the place
/// goes to the next request.
#[tokio::test]
async fn while_waiting_for_the_pool() {
    for version in Version::BOTH {
        let gate = crate::upstream::Gate::new();
        let held = vec![
            script::sse_head(),
            Step::Body(delta("one")),
            Step::Wait(gate.clone()),
            script::body(script::DONE),
            Step::End,
        ];
        let upstream = Upstream::in_turn(Speaks::H1, vec![held, script::sse(script::short_stream())]);
        let gateway = Plan::to(&[&upstream]).with(|settings| settings.pool.max_connections = 1).start().await;
        let mut first = gateway.client(version).await;
        let answer = first.send(Call::stream()).await;

        let (call, second) = (Call::stream(), gateway.client(version).await);
        let id = call.id();
        queue(&gateway, second, call).await;
        let line = journal::closing(&id).await;
        assert_499(&[line], "pool");

        gate.open();
        assert!(answer.collect().await.complete);
        assert!(first.send(Call::stream()).await.collect().await.complete, "the place is free again");
        assert_eq!(upstream.log.requests(), 2);
        drop(first);
        gateway.stop().await;
    }
}

/// Sends, and disconnects when the request is in the pool's queue.
async fn queue(gateway: &Gateway, client: Client, call: Call) {
    tokio::select! {
        () = waits(client, call) => {}
        _ = gateway.until("two requests", |now| now.requests == 2) => {}
    }
}

/// R11, S2.10: on HTTP/2 only the stream is reset; its connection and the other streams go on.
#[tokio::test]
async fn one_stream_of_an_http2_connection() {
    let gate = crate::upstream::Gate::new();
    let steps = vec![
        script::sse_head(),
        Step::Body(delta("one")),
        Step::Wait(gate.clone()),
        script::body(script::DONE),
        Step::End,
    ];
    let upstream = Upstream::always(Speaks::H2, steps);
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H2).await;
    let mut leaving = client.send(Call::stream()).await;
    let mut staying = client.send(Call::stream()).await;
    leaving.piece().await;
    staying.piece().await;
    drop(leaving);
    let (how, _) = upstream.log.gone(0).await;
    assert!(matches!(how, How::Stream(_)));
    gate.open();
    assert!(staying.collect().await.complete);
    drop(client);
    gateway.stop().await;
}
