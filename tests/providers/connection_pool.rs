//! Connections to providers: kept, bounded over all workers, handed on in order, replaced once when stale
//! (S1.6, R24).

use std::{num::NonZeroUsize, time::Duration};

use crate::{
    client::{Answer, Call, Client, Version},
    gateway::{Gateway, Plan},
    upstream::{
        Event, Gate, Speaks, Step, Upstream,
        script::{self, delta, sse_head},
    },
};

/// A stream of one event, which then waits.
fn held(gate: &Gate) -> Vec<Step> {
    vec![
        sse_head(),
        Step::Body(delta("one")),
        Step::Wait(gate.clone()),
        script::body(script::DONE),
        Step::End,
    ]
}

async fn begun(gateway: &Gateway) -> (Client, Answer) {
    let mut client = gateway.client(Version::H1).await;
    let mut answer = client.send(Call::stream()).await;
    answer.piece().await;
    (client, answer)
}

/// S1.6: one connection serves one request after another, after streams and after documents.
#[tokio::test]
async fn connections_are_reused() {
    for speaks in [Speaks::H1, Speaks::H2] {
        let upstream = Upstream::by(speaks, |number, _| match number % 3 {
            0 => script::sse(script::short_stream()),
            1 => script::json(200, script::COMPLETION),
            _ => script::json(429, "{}"),
        });
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(Version::H1).await;
        for _ in 0..9 {
            assert!(client.send(Call::stream()).await.collect().await.complete);
            gateway.calm().await;
        }
        assert_eq!(upstream.log.connections(), 1, "{speaks:?}");
        if speaks == Speaks::H1 {
            assert_eq!(gateway.gauges().upstream_idle, 1);
        }
        drop(client);
        gateway.stop().await;
    }
}

/// S1.6: last in, first out, because the freshest connection is the least likely to be stale.
#[tokio::test]
async fn last_in_first_out() {
    let gates = [Gate::new(), Gate::new()];
    let scripts = vec![held(&gates[0]), held(&gates[1]), script::sse(script::short_stream())];
    let upstream = Upstream::in_turn(Speaks::H1, scripts);
    let gateway = Plan::to(&[&upstream]).start().await;
    let (_c0, first) = begun(&gateway).await;
    let (_c1, second) = begun(&gateway).await;
    gates[1].open();
    second.collect().await;
    gateway.until("one idle", |now| now.upstream_idle == 1).await;
    gates[0].open();
    first.collect().await;
    gateway.until("two idle", |now| now.upstream_idle == 2).await;
    for number in 2..5 {
        let (_client, answer) = begun(&gateway).await;
        answer.collect().await;
        assert_eq!(upstream.log.request(number).await.connection, 0, "the one that came back last");
        gateway.calm().await;
    }
    drop((_c0, _c1));
    gateway.stop().await;
}

/// S1.4, S1.6: connections are bounded, and waiting requests are served in the order of arrival.
#[tokio::test]
async fn waiting_requests_are_served_in_order() {
    let gate = Gate::new();
    let held = held(&gate);
    let upstream = Upstream::by(Speaks::H1, move |number, _| {
        if number == 0 { held.clone() } else { script::sse(script::short_stream()) }
    });
    let gateway = Plan::to(&[&upstream]).with(|settings| settings.pool.max_connections = 1).start().await;
    let (client, first) = begun(&gateway).await;
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..4 {
        let mut client = gateway.client(Version::H1).await;
        let body = format!(r#"{{"model":"m","stream":true,"seed":{number}}}"#);
        waiting.spawn(async move {
            client.send(Call::post("/v1/chat/completions", body)).await.collect().await.complete
        });
        gateway.until("one more", |now| now.requests == number + 2).await;
    }
    assert_eq!(upstream.log.requests(), 1);
    gate.open();
    assert!(first.collect().await.complete);
    while let Some(complete) = waiting.join_next().await {
        assert!(complete.unwrap());
    }
    for number in 0..4 {
        assert_eq!(upstream.log.request(number + 1).await.json()["seed"], number);
    }
    assert_eq!(upstream.log.connections(), 1);
    drop(client);
    gateway.stop().await;
}

/// S1.6, S2.1: the bound holds over all workers together, and a place that one worker gives back serves
/// another.
#[tokio::test]
async fn the_bound_holds_over_all_workers() {
    let upstream = Upstream::by(Speaks::H1, |_, _| {
        vec![sse_head(), Step::Body(delta("one")), Step::Moment, script::body(script::DONE), Step::End]
    });
    let plan = Plan::to(&[&upstream]).with(|settings| {
        settings.workers = NonZeroUsize::new(3).unwrap();
        settings.pool.max_connections = 2;
    });
    let gateway = plan.start().await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let mut client = gateway.client(Version::H1).await;
        waiting.spawn(async move { client.send(Call::stream()).await.collect().await.complete });
    }
    while let Some(complete) = waiting.join_next().await {
        assert!(complete.unwrap());
    }
    let (mut busy, mut most) = (0, 0);
    for event in upstream.log.events() {
        match event {
            Event::Request(_) => busy += 1,
            Event::Played { .. } => busy -= 1,
            _ => {}
        }
        most = most.max(busy);
    }
    assert_eq!(most, 2, "requests at once");
    gateway.stop().await;
}

/// S2.1: an idle connection is closed after its time, and at once beyond the number to keep.
#[tokio::test]
async fn idle_connections_expire() {
    for speaks in [Speaks::H1, Speaks::H2] {
        let upstream = Upstream::always(speaks, script::sse(script::short_stream()));
        let plan = Plan::to(&[&upstream]).with(|s| s.pool.keepalive_expiry = Duration::from_millis(30));
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        client.send(Call::stream()).await.collect().await;
        let gone = |events: &[Event]| {
            events.iter().any(|event| matches!(event, Event::Gone { request: None, .. })).then_some(())
        };
        upstream.log.wait_for("the idle connection's end", gone).await;
        gateway.until("none idle", |now| now.upstream_idle == 0).await;
        drop(client);
        gateway.stop().await;
    }
}

/// S2.1: an HTTP/2 connection without streams is idle: it is counted, kept while there is room, and reused.
#[tokio::test]
async fn idle_http2_connections_are_counted_and_bounded() {
    for keep in [1, 0] {
        let upstream = Upstream::always(Speaks::H2, script::sse(script::short_stream()));
        let gateway =
            Plan::to(&[&upstream]).with(|settings| settings.pool.max_keepalive = keep).start().await;
        let mut client = gateway.client(Version::H1).await;
        for _ in 0..2 {
            client.send(Call::stream()).await.collect().await;
            gateway.calm().await;
            assert_eq!(gateway.gauges().upstream_idle, keep);
        }
        drop(client);
        assert_eq!(upstream.log.connections(), 2 - keep, "kept {keep}");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn no_more_idle_connections_than_configured() {
    let gate = Gate::new();
    let upstream = Upstream::always(Speaks::H1, held(&gate));
    let gateway = Plan::to(&[&upstream]).with(|settings| settings.pool.max_keepalive = 1).start().await;
    let (_c0, first) = begun(&gateway).await;
    let (_c1, second) = begun(&gateway).await;
    gate.open();
    first.collect().await;
    second.collect().await;
    gateway.calm().await;
    assert_eq!(gateway.gauges().upstream_idle, 1);
    drop((_c0, _c1));
    gateway.stop().await;
}

/// R24: a kept connection that dies before a byte of the answer is replaced, and the client does not notice.
#[tokio::test]
async fn a_stale_connection_is_replaced_unseen() {
    for speaks in [Speaks::H1, Speaks::H2] {
        for death in [Step::Close, Step::Reset] {
            if speaks == Speaks::H2 && matches!(death, Step::Reset) {
                // A request whose stream was reset with INTERNAL_ERROR may have been acted on, so it is not
                // repeated.
                continue;
            }
            let sound = script::sse(script::short_stream());
            let upstream = Upstream::in_turn(speaks, vec![sound.clone(), vec![death], sound]);
            let gateway = Plan::to(&[&upstream]).start().await;
            let mut client = gateway.client(Version::H1).await;
            for _ in 0..2 {
                let received = client.send(Call::stream()).await.collect().await;
                assert!(received.complete);
                assert_eq!(received.bytes(), script::short_stream(), "{speaks:?}");
                gateway.calm().await;
            }
            assert_eq!(upstream.log.requests(), 3, "asked once more");
            assert_eq!(upstream.log.request(1).await.body, upstream.log.request(2).await.body);
            drop(client);
            gateway.stop().await;
        }
    }
}

/// R17, R24: it is replaced once only, and never after a byte of the answer.
#[tokio::test]
async fn replaced_once_and_never_after_a_byte() {
    let sound = || script::sse(script::short_stream());
    let part = || vec![script::raw("HTTP/1.1 2"), Step::Moment, Step::Close];
    for (second, third, requests) in [(vec![Step::Close], vec![Step::Close], 3), (part(), sound(), 2)] {
        let upstream = Upstream::in_turn(Speaks::H1, vec![sound(), second, third]);
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(Version::H1).await;
        assert!(client.send(Call::stream()).await.collect().await.complete);
        gateway.calm().await;
        let answer = client.send(Call::stream()).await;
        assert_eq!(answer.status, 502);
        answer.collect().await;
        gateway.calm().await;
        assert_eq!(upstream.log.requests(), requests);
        drop(client);
        gateway.stop().await;
    }
}

/// R24: the gateway notices a closed idle connection before it sends a request over it.
#[tokio::test]
async fn a_closed_idle_connection_is_noticed() {
    let closes =
        vec![script::raw("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"), Step::Moment, Step::Close];
    let upstream = Upstream::always(Speaks::H1, closes);
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for number in 0..3 {
        assert_eq!(client.send(Call::whole()).await.collect().await.text(), "{}");
        gateway.until("none idle", |now| now.upstream_idle == 0 && now.upstream_active == 0).await;
        assert_eq!(upstream.log.requests(), number + 1, "nothing was sent into the void");
    }
    drop(client);
    gateway.stop().await;
}

/// S1.4: waiting for a place in the pool has a timeout of its own.
#[tokio::test]
async fn pool_timeout() {
    let gate = Gate::new();
    let upstream = Upstream::always(Speaks::H1, held(&gate));
    let plan = Plan::to(&[&upstream])
        .with(|settings| settings.pool.max_connections = 1)
        .deadlines(|deadlines| deadlines.pool = Duration::from_millis(30));
    let gateway = plan.start().await;
    let (client, first) = begun(&gateway).await;
    let mut second = gateway.client(Version::H1).await;
    let answer = second.send(Call::stream()).await;
    assert_eq!(answer.status, 503);
    let error = answer.collect().await.json();
    assert!(error["error"]["message"].as_str().unwrap().contains("a free connection"), "{error}");
    gate.open();
    assert!(first.collect().await.complete);
    assert_eq!(upstream.log.requests(), 1);
    drop((client, second));
    gateway.stop().await;
}

/// E2: connections that died silently while they were idle cost one request, not one each.
#[tokio::test]
async fn silent_idle_connections_cost_one_request() {
    let gate = Gate::new();
    let held = held(&gate);
    let upstream = Upstream::by(Speaks::H1, move |number, seen| match number {
        0..3 => held.clone(),
        _ if seen.connection < 3 => vec![Step::Stall],
        _ => script::sse(script::short_stream()),
    });
    let gateway = Plan::to(&[&upstream])
        .deadlines(|deadlines| deadlines.first_token = Duration::from_millis(300))
        .start()
        .await;
    let begun = [begun(&gateway).await, begun(&gateway).await, begun(&gateway).await];
    gate.open();
    for (_client, answer) in begun {
        assert!(answer.collect().await.complete);
    }
    gateway.until("three idle", |now| now.upstream_idle == 3).await;
    let mut client = gateway.client(Version::H1).await;
    assert_eq!(client.send(Call::stream()).await.status, 504);
    assert_eq!(client.send(Call::stream()).await.status, 200);
    drop(client);
    gateway.stop().await;
}

/// G4: idle connections of other workers are among the connections that are bounded.
#[tokio::test]
async fn the_bound_holds_with_idle_connections_of_all_workers() {
    for speaks in [Speaks::H1, Speaks::H2] {
        let upstream = Upstream::always(speaks, script::sse(script::short_stream()));
        let plan = Plan::to(&[&upstream]).with(|settings| {
            settings.workers = NonZeroUsize::new(3).unwrap();
            settings.pool.max_connections = 2;
        });
        let gateway = plan.start().await;
        for _ in 0..10 {
            let mut waiting = tokio::task::JoinSet::new();
            for _ in 0..4 {
                let mut client = gateway.client(Version::H1).await;
                waiting.spawn(async move { client.send(Call::stream()).await.collect().await.complete });
            }
            while let Some(complete) = waiting.join_next().await {
                assert!(complete.unwrap());
            }
            let now = gateway.calm().await;
            assert!(now.upstream_active + now.upstream_idle <= 2, "{now:?}");
        }
        gateway.stop().await;
    }
}
