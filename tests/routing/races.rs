//! Races: several candidates at once; the first good answer goes to the client, the others are cancelled at
//! once (S3.1, S3.10, S3.11, B4, R19).

use std::time::{Duration, Instant};

use crate::{
    client::{Call, Version},
    gateway::{PAIRS, Plan},
    journal,
    upstream::{
        Gate, How, Speaks, Step, Upstream,
        script::{self, sse_head},
    },
};

/// From the client's first frame until the losers notice.
const NOTICE_LIMIT: Duration = Duration::from_millis(50);

fn racing(call: Call) -> Call {
    call.header("x-thalweg-strategy", "race")
}

fn stalled(speaks: Speaks) -> Upstream {
    Upstream::always(speaks, vec![Step::Stall])
}

/// An event stream that starts when the gate opens.
fn gated(speaks: Speaks, gate: &Gate) -> Upstream {
    let stream = script::sse(script::short_stream());
    Upstream::always(speaks, [vec![Step::Wait(gate.clone())], stream].concat())
}

/// S3.1, B4, R19: of three candidates the first content wins, whichever head came first. The losers are
/// cancelled within 50 ms of the client's first frame: a connection closed, a stream reset.
#[tokio::test]
async fn the_first_content_wins_and_losers_are_cancelled() {
    for (speaks, version) in PAIRS {
        let mut soonest = Duration::MAX;
        for _ in 0..3 {
            let gate = Gate::new();
            let role =
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
            let talker = Upstream::always(speaks, vec![sse_head(), script::body(role), Step::Stall]);
            let (mute, winner) = (stalled(speaks), gated(speaks, &gate));
            let gateway = Plan::to(&[&talker, &mute, &winner]).start().await;
            let mut client = gateway.client(version).await;
            let call = racing(Call::stream());
            let id = call.id();
            let opening = async {
                for upstream in [&talker, &mute, &winner] {
                    upstream.log.request(0).await;
                }
                gate.open();
            };
            let (answer, ()) = tokio::join!(client.send(call), opening);
            assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-provider")), (200, "p2"));
            assert_eq!(answer.header("x-thalweg-attempts"), "3");
            let mut answer = answer;
            let first = answer.piece().await;
            let came = Instant::now();
            for loser in [&talker, &mute] {
                let (how, seen) = loser.log.gone(0).await;
                match speaks {
                    Speaks::H1 => assert!(matches!(how, How::Closed | How::Reset), "{how:?}"),
                    Speaks::H2 => assert!(matches!(how, How::Stream(_)), "{how:?}"),
                }
                soonest = soonest.min(seen.saturating_duration_since(came));
            }
            let rest = answer.collect().await;
            assert_eq!([&first[..], &rest.bytes()].concat(), script::short_stream());
            let line = journal::closing(&id).await;
            assert_eq!((&line["strategy"], &line["provider"]), (&"race".into(), &"p2".into()), "{line}");
            assert_eq!((&line["attempts"], &line["wasted"]), (&3.into(), &2.into()), "{line}");
            given_up_before_the_head(&id);
            drop(client);
            gateway.stop().await;
        }
        assert!(soonest < NOTICE_LIMIT, "{soonest:?} {speaks:?} {version:?}");
    }
}

/// The log has the order of events on the worker: no byte goes down before the losers are cancelled.
fn given_up_before_the_head(id: &str) {
    let lines = journal::lines(id);
    let at = |message: &str| lines.iter().rposition(|line| line["message"] == message);
    assert!(at("given up").unwrap() < at("headers sent").unwrap(), "{lines:#?}");
}

/// S3.1, B5: without streaming the whole document counts; an error under a 200 does not win.
#[tokio::test]
async fn without_streaming_the_whole_answer_wins() {
    let gate = Gate::new();
    let quick = Upstream::always(
        Speaks::H1,
        script::json(200, "{\"error\":{\"message\":\"no\",\"type\":\"server_error\"}}"),
    );
    let half = Upstream::always(
        Speaks::H1,
        vec![
            script::head(200, "application/json", crate::upstream::Framing::Length(90)),
            script::body("{"),
            Step::Stall,
        ],
    );
    let whole = [vec![Step::Wait(gate.clone())], script::json(200, script::COMPLETION)].concat();
    let winner = Upstream::always(Speaks::H1, whole);
    let gateway = Plan::to(&[&quick, &half, &winner]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let opening = async {
        half.log.request(0).await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(client.send(racing(Call::whole())), opening);
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-provider")), (200, "p2"));
    assert_eq!(answer.collect().await.text(), script::COMPLETION);
    half.log.gone(0).await;
    drop(client);
    gateway.stop().await;
}

/// S3.8: all fail: the error has each one's reason in the order of the failures, no provider's text and no
/// key.
#[tokio::test]
async fn all_attempts_of_a_race_fail() {
    let said = "{\"error\":{\"message\":\"your key sk-secret is no good\",\"type\":\"server_error\",\"code\":\"boom\"}}";
    let first = Upstream::always(Speaks::H1, script::json(500, said));
    let second = Upstream::always(Speaks::H1, [vec![Step::Moment; 20], vec![Step::Close]].concat());
    let gateway = Plan::to(&[&first, &second]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(racing(Call::stream())).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-attempts")), (503, "2"));
    let error = answer.collect().await.json();
    assert_eq!(error["error"]["code"], "all_providers_failed");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("p0: answered 500 (boom); p1: the connection ended"), "{message}");
    assert!(!message.contains("sk-secret"), "{message}");
    drop(client);
    gateway.stop().await;
}

/// R18: a mistake of the client ends the race at once, with the error of the provider that reported it.
#[tokio::test]
async fn a_bad_request_ends_a_race() {
    let body =
        "{\"error\":{\"message\":\"no such parameter\",\"type\":\"invalid_request_error\",\"code\":null}}";
    let first = stalled(Speaks::H1);
    let second = Upstream::always(Speaks::H1, script::json(400, body));
    let gateway = Plan::to(&[&first, &second]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(racing(Call::stream())).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-provider")), (400, "p1"));
    assert_eq!(answer.collect().await.text(), body);
    first.log.gone(0).await;
    drop(client);
    gateway.stop().await;
}

/// S3.11: beyond the cap on races a request tries one candidate after another.
#[tokio::test]
async fn races_are_capped() {
    let gate = Gate::new();
    let first = Upstream::in_turn(Speaks::H1, vec![vec![Step::Stall], script::sse(script::short_stream())]);
    let second = Upstream::in_turn(
        Speaks::H1,
        vec![[vec![Step::Wait(gate.clone())], script::sse(script::short_stream())].concat()],
    );
    let plan = Plan::to(&[&first, &second]).with(|settings| settings.routing.race.max_races = 1);
    let gateway = plan.start().await;
    let (mut racer, mut other) = (gateway.client(Version::H1).await, gateway.client(Version::H1).await);
    let meanwhile = async {
        second.log.request(0).await;
        let call = racing(Call::stream());
        let id = call.id();
        let answer = other.send(call).await;
        assert_eq!((answer.header("x-thalweg-attempts"), answer.header("x-thalweg-provider")), ("1", "p0"));
        assert!(answer.collect().await.complete);
        assert_eq!(journal::closing(&id).await["strategy"], "priority");
        gate.open();
    };
    let (answer, ()) = tokio::join!(racer.send(racing(Call::stream())), meanwhile);
    assert_eq!(answer.header("x-thalweg-provider"), "p1");
    assert!(answer.collect().await.complete);
    let again = other.send(racing(Call::stream())).await;
    assert_eq!(again.header("x-thalweg-attempts"), "2", "the place is free again");
    assert!(again.collect().await.complete);
    drop((racer, other));
    gateway.stop().await;
}

/// R11, S2.10: the client disconnects during a race: all attempts are cancelled.
#[tokio::test]
async fn the_client_disconnects_during_a_race() {
    for (speaks, version) in PAIRS {
        let upstreams = [stalled(speaks), stalled(speaks), stalled(speaks)];
        let gateway = Plan::to(&[&upstreams[0], &upstreams[1], &upstreams[2]]).start().await;
        let mut client = gateway.client(version).await;
        let call = racing(Call::stream());
        let id = call.id();
        {
            let waiting = std::pin::pin!(client.try_send(call));
            let asked = async {
                for upstream in &upstreams {
                    upstream.log.request(0).await;
                }
            };
            tokio::select! {
                _ = waiting => panic!("nobody answers"),
                () = asked => {}
            }
        }
        drop(client);
        for upstream in &upstreams {
            upstream.log.gone(0).await;
        }
        let line = journal::closing(&id).await;
        assert_eq!((&line["status"], &line["attempts"]), (&499.into(), &3.into()), "{line}");
        gateway.stop().await;
    }
}

/// B4: the second attempt starts after the delay and not before; the first, which is slower still, is
/// cancelled.
#[tokio::test]
async fn a_hedge_waits_for_its_delay() {
    const DELAY: Duration = Duration::from_millis(80);
    let hedging = |call: Call| call.header("x-thalweg-strategy", "hedge:80ms");
    let first = Upstream::in_turn(Speaks::H1, vec![script::sse(script::short_stream()), vec![Step::Stall]]);
    let second = Upstream::always(Speaks::H1, script::sse(script::short_stream()));
    let plan = Plan::to(&[&first, &second]).with(|settings| settings.routing.hedge.share = 1.0);
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let quick = client.send(hedging(Call::stream())).await;
    assert_eq!((quick.header("x-thalweg-provider"), quick.header("x-thalweg-attempts")), ("p0", "1"));
    assert!(quick.collect().await.complete);

    let started = Instant::now();
    let call = hedging(Call::stream());
    let id = call.id();
    let answer = client.send(call).await;
    assert!(started.elapsed() >= DELAY, "{:?}", started.elapsed());
    assert_eq!((answer.header("x-thalweg-provider"), answer.header("x-thalweg-attempts")), ("p1", "2"));
    first.log.gone(1).await;
    assert_eq!(answer.collect().await.bytes(), script::short_stream());
    let line = journal::closing(&id).await;
    assert_eq!((&line["strategy"], &line["wasted"]), (&"hedge".into(), &1.into()), "{line}");
    assert_eq!((first.log.requests(), second.log.requests()), (2, 1));
    drop(client);
    gateway.stop().await;
}

/// B4: hedges are a bounded share of the requests; a request beyond it waits for its first candidate.
#[tokio::test]
async fn hedges_are_rationed() {
    let slow = vec![Step::Moment; 30];
    let first = Upstream::always(Speaks::H1, [slow, script::sse(script::short_stream())].concat());
    let second = Upstream::always(Speaks::H1, script::sse(script::short_stream()));
    let plan = Plan::to(&[&first, &second]).with(|settings| {
        settings.routing.hedge.share = 0.25;
        settings.routing.hedge.burst = 2;
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    for _ in 0..40 {
        let answer = client.send(Call::stream().header("x-thalweg-strategy", "hedge:2ms")).await;
        assert!(answer.collect().await.complete);
    }
    let hedges = second.log.requests();
    assert!((8..=12).contains(&hedges), "a quarter of forty and what was saved: {hedges}");
    drop(client);
    gateway.stop().await;
}

/// An unknown strategy is a 400 that lists the known ones.
#[tokio::test]
async fn an_unknown_strategy() {
    let upstream = stalled(Speaks::H1);
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::stream().header("x-thalweg-strategy", "fastest")).await;
    assert_eq!(answer.status, 400);
    let error = answer.collect().await.json();
    assert_eq!(error["error"]["code"], "invalid_header");
    assert!(error["error"]["message"].as_str().unwrap().contains("`hedge:p95`"), "{error}");
    assert_eq!(upstream.log.requests(), 0);
    drop(client);
    gateway.stop().await;
}

/// S3.10, R19: tokens that a loser has reported by then are counted as waste and charged to no key.
#[tokio::test]
async fn tokens_of_a_loser_are_counted_as_waste() {
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":40,\"output_tokens\":2}}}\n\n";
    let content = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n";
    let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let gate = Gate::new();
    let talker = Upstream::always(
        Speaks::H1,
        vec![sse_head(), script::body(start), Step::Wait(gate.clone()), Step::Stall],
    );
    let winner = Upstream::always(
        Speaks::H1,
        vec![sse_head(), Step::Wait(gate.clone()), script::body(format!("{content}{stop}")), Step::End],
    );
    let gateway = Plan::to(&[&talker, &winner]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let call =
        racing(Call::post("/v1/messages", r#"{"model":"m","stream":true,"messages":[],"max_tokens":9}"#));
    let id = call.id();
    let opening = async {
        winner.log.request(0).await;
        // The loser's event has been read.
        journal::said(&id, "chunk").await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(client.send(call), opening);
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-provider")), (200, "p1"));
    assert!(answer.collect().await.complete);
    let line = journal::closing(&id).await;
    assert_eq!((&line["wasted"], &line["wasted_tokens"]), (&1.into(), &42.into()), "{line}");
    drop(client);
    gateway.stop().await;
}
