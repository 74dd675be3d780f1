//! Equal requests at once share one answer of a provider (B7, S1.8).

use std::num::NonZeroUsize;

use bytes::Bytes;
use serde_json::Value;

use crate::{
    client::{Answer, Call, Client, Raw, Version},
    gateway::{Gateway, Plan},
    journal,
    upstream::{
        Gate, Speaks, Step, Upstream,
        log::in_time,
        script::{self, COMPLETION, DONE, delta, last_delta, usage},
    },
};

fn plan(upstream: &Upstream) -> Plan {
    Plan::to(&[upstream]).with(|settings| {
        (settings.cache.enabled, settings.cache.coalesce) = (true, true);
        settings.workers = NonZeroUsize::new(2).unwrap();
    })
}

/// A stream that stops after its first event until the gate opens.
fn gated(gate: &Gate, rest: impl Into<Bytes>) -> Vec<Step> {
    vec![
        script::sse_head(),
        script::body(delta("one")),
        Step::Wait(gate.clone()),
        script::body(rest),
        Step::End,
    ]
}

fn rest() -> Bytes {
    [last_delta("two"), usage(), DONE.into()].concat().into()
}

/// Three clients of one stream, each with its first event, and the requests' ids.
async fn three_sharing(gateway: &Gateway) -> Vec<(Client, Answer, String)> {
    let mut sharing = Vec::new();
    for version in [Version::H1, Version::H1, Version::H2] {
        let mut client = gateway.client(version).await;
        let call = Call::stream();
        let id = call.id();
        let mut answer = client.send(call).await;
        answer.piece().await;
        sharing.push((client, answer, id));
    }
    sharing
}

#[tokio::test]
async fn late_ones_get_what_they_missed_and_one_pays() {
    let gate = Gate::new();
    let upstream = Upstream::always(Speaks::H1, gated(&gate, rest()));
    let gateway = plan(&upstream).start().await;
    let (mut clients, mut answers, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..12 {
        let mut client = gateway.client(Version::BOTH[number % 2]).await;
        let call = Call::stream();
        ids.push(call.id());
        let mut answer = client.send(call).await;
        let word = if number == 0 { "miss" } else { "coalesced" };
        assert_eq!(answer.header("x-thalweg-cache"), word);
        assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
        assert_eq!(answer.piece().await, delta("one"), "{number}");
        clients.push(client);
        answers.push(answer);
    }
    gate.open();
    for answer in answers {
        let received = answer.collect().await;
        let expected: Bytes = [last_delta("two"), DONE.into()].concat().into();
        assert_eq!((received.complete, received.bytes()), (true, expected));
    }
    assert_eq!(upstream.log.requests(), 1);
    for (number, id) in ids.iter().enumerate() {
        let line = journal::closing(id).await;
        let paid = if number == 0 { 3.into() } else { Value::Null };
        let (reuse, saved) =
            if number == 0 { (Value::Null, Value::Null) } else { ("coalesced".into(), 12.into()) };
        assert_eq!((&line["output_tokens"], &line["reuse"], &line["tokens_saved"]), (&paid, &reuse, &saved));
        assert_eq!(line["message"], "done");
    }
    // What was shared is in the cache, too.
    let mut client = gateway.client(Version::H1).await;
    assert!(client.send(Call::stream()).await.header("x-thalweg-cache").starts_with("hit"));
    drop((client, clients));
    gateway.stop().await;
}

#[tokio::test]
async fn nothing_is_shared_unless_the_configuration_says_so() {
    let gate = Gate::new();
    let upstream = Upstream::always(Speaks::H1, gated(&gate, rest()));
    let gateway = plan(&upstream).with(|settings| settings.cache.coalesce = false).start().await;
    let mut clients = [gateway.client(Version::H1).await, gateway.client(Version::H1).await];
    let mut answers = Vec::new();
    for client in &mut clients {
        answers.push(client.send(Call::stream()).await);
    }
    assert_eq!(upstream.log.requests(), 2);
    gate.open();
    drop((answers, clients));
    gateway.stop().await;
}

#[tokio::test]
async fn the_provider_is_left_when_the_last_one_has_left() {
    let (first, second) = (Gate::new(), Gate::new());
    let steps = vec![
        script::sse_head(),
        script::body(delta("one")),
        Step::Wait(first.clone()),
        script::body(delta("two")),
        Step::Wait(second.clone()),
        script::body(DONE),
        Step::End,
    ];
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = plan(&upstream).start().await;
    let mut leader = gateway.client(Version::H1).await;
    let mut follower = gateway.client(Version::H2).await;
    let mut led = leader.send(Call::stream()).await;
    assert_eq!(led.piece().await, delta("one"));
    let call = Call::stream();
    let id = call.id();
    let mut followed = follower.send(call).await;
    assert_eq!(followed.piece().await, delta("one"));
    // The one that pays leaves, and the other goes on.
    drop((led, leader));
    gateway.until("one client", |now| now.connections == 1).await;
    first.open();
    assert_eq!(followed.piece().await, delta("two"));
    drop((followed, follower));
    upstream.log.gone(0).await;
    assert_eq!(journal::closing(&id).await["message"], "client gone");
    gateway.stop().await;
}

#[tokio::test]
async fn a_whole_answer_is_shared_too() {
    let gate = Gate::new();
    let mut steps = vec![Step::Wait(gate.clone())];
    steps.extend(script::json(200, COMPLETION));
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = plan(&upstream).start().await;
    let ask = async |gateway: &Gateway| {
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::whole()).await;
        let word = answer.header("x-thalweg-cache").to_owned();
        (word, answer.collect().await.text())
    };
    let open = async {
        upstream.log.request(0).await;
        gateway.until("all requests", |now| now.requests == 3).await;
        gate.open();
    };
    let (one, two, three, ()) = tokio::join!(ask(&gateway), ask(&gateway), ask(&gateway), open);
    let answers = [one, two, three];
    assert!(answers.iter().all(|(_, body)| body == COMPLETION));
    let mut words = answers.map(|(word, _)| word);
    words.sort();
    // One that came when the answer was there is given it from the cache.
    assert!(words[0] != "miss" && words[1] != "miss" && words[2] == "miss", "{words:?}");
    assert_eq!(upstream.log.requests(), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn an_error_before_the_first_byte_is_not_shared() {
    let gate = Gate::new();
    let error = r#"{"error":{"message":"no","type":"invalid_request_error"}}"#;
    let opened = gate.clone();
    let upstream = Upstream::by(Speaks::H1, move |number, _| {
        if number == 0 {
            [vec![Step::Wait(opened.clone())], script::json(400, error)].concat()
        } else {
            script::sse(rest())
        }
    });
    let gateway = plan(&upstream).start().await;
    let ask = async |gateway: &Gateway| {
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::stream()).await;
        (answer.status.as_u16(), answer.collect().await.complete)
    };
    let late = async {
        upstream.log.request(0).await;
        let open = async {
            gateway.until("both requests", |now| now.requests == 2).await;
            gate.open();
        };
        tokio::join!(ask(&gateway), open).0
    };
    let (first, late) = tokio::join!(ask(&gateway), late);
    assert_eq!((first.0, late), (400, (200, true)));
    assert_eq!(upstream.log.requests(), 2);
    gateway.stop().await;
}

/// The first request leaves before its answer: one of the others asks again, for all that are left.
#[tokio::test]
async fn one_of_those_left_asks_for_all() {
    let (never, gate) = (Gate::new(), Gate::new());
    let opened = gate.clone();
    let upstream = Upstream::by(Speaks::H1, move |number, _| {
        if number == 0 { vec![Step::Wait(never.clone())] } else { gated(&opened, rest()) }
    });
    let gateway = plan(&upstream).start().await;
    let mut first = gateway.client(Version::H1).await;
    let leave = async {
        {
            let mut leading = Box::pin(first.send(Call::stream()));
            tokio::select! {
                _ = &mut leading => panic!("it waits"),
                _ = upstream.log.request(0) => {}
            }
            gateway.until("all requests", |now| now.requests == 4).await;
        }
        drop(first);
    };
    let others = async {
        upstream.log.request(0).await;
        let ask = async || {
            let mut client = gateway.client(Version::H1).await;
            (client.send(Call::stream()).await, client)
        };
        tokio::join!(ask(), ask(), ask())
    };
    let ((), others) = tokio::join!(leave, others);
    gate.open();
    for (answer, _client) in <[_; 3]>::from(others) {
        assert_eq!(answer.status, 200);
        assert!(answer.collect().await.complete);
    }
    assert_eq!(upstream.log.requests(), 2);
    gateway.stop().await;
}

/// Clients close their connection once they have the last event, before the provider has ended the body.
#[tokio::test]
async fn an_answer_whose_clients_leave_at_its_last_event_is_stored() {
    let (gate, end) = (Gate::new(), Gate::new());
    let mut steps = gated(&gate, rest());
    steps.insert(4, Step::Wait(end.clone()));
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = plan(&upstream).start().await;
    let (mut leader, mut follower) = (gateway.client(Version::H1).await, gateway.client(Version::H2).await);
    let calls = [Call::stream(), Call::stream()];
    let ids = [calls[0].id(), calls[1].id()];
    let [first, second] = calls;
    let mut led = leader.send(first).await;
    let mut followed = follower.send(second).await;
    gate.open();
    for answer in [&mut led, &mut followed] {
        let mut text = Vec::new();
        while !text.ends_with(DONE) {
            text.extend_from_slice(&answer.piece().await);
        }
    }
    drop((led, leader, followed, follower));
    // Until the task that reads the stream has seen it, the flight is there to join.
    let is_stored = async {
        loop {
            let mut client = gateway.client(Version::H1).await;
            if client.send(Call::stream()).await.header("x-thalweg-cache").starts_with("hit") {
                return;
            }
        }
    };
    in_time(is_stored).await.expect("a hit");
    let lines = [journal::closing(&ids[0]).await, journal::closing(&ids[1]).await];
    assert_eq!(lines.each_ref().map(|line| line["message"].as_str()), [Some("done"); 2], "{lines:?}");
    assert_eq!(lines[1]["tokens_saved"], 12);
    assert_eq!(upstream.log.requests(), 1);
    end.open();
    gateway.stop().await;
}

/// The answer of all has failed, although its body ends in order.
#[tokio::test]
async fn an_error_event_is_the_outcome_of_all() {
    let gate = Gate::new();
    let error = "data: {\"error\":{\"message\":\"no\",\"type\":\"server_error\"}}\n\n";
    let upstream = Upstream::always(Speaks::H1, gated(&gate, error));
    let gateway = plan(&upstream).start().await;
    let sharing = three_sharing(&gateway).await;
    gate.open();
    for (client, answer, id) in sharing {
        assert_eq!(answer.collect().await.bytes(), error);
        assert_eq!(journal::closing(&id).await["code"], "upstream_error");
        drop(client);
    }
    gateway.stop().await;
}

/// A client of HTTP/1.0 cannot see that a body breaks off, so it gets the event, also where the client of the
/// request that pays gets none.
#[tokio::test]
async fn each_client_of_a_broken_stream_gets_the_event_that_it_needs() {
    let gate = Gate::new();
    let mut steps = gated(&gate, delta("two"));
    steps.pop();
    steps.push(Step::Reset);
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = plan(&upstream).start().await;
    let mut client = gateway.client(Version::H1).await;
    let mut leader = client.send(Call::stream()).await;
    leader.piece().await;
    let mut old = gateway.raw().await;
    let call = String::from_utf8(Call::stream().wire()).unwrap();
    old.send(call.replacen("HTTP/1.1", "HTTP/1.0", 1)).await;
    let text = |old: &Raw| String::from_utf8_lossy(old.unread()).into_owned();
    while !text(&old).contains("\"one\"") {
        assert!(old.fill().await);
    }
    assert!(text(&old).contains("x-thalweg-cache: coalesced"));
    gate.open();
    while old.fill().await {}
    let text = text(&old);
    assert!(text.contains("\"two\"") && text.contains("provider returned error: connection lost"), "{text}");
    let received = leader.collect().await;
    assert!(!received.complete);
    assert_eq!(received.bytes(), delta("two"), "this client sees that the body breaks off");
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_breaks_off_for_all() {
    let gate = Gate::new();
    let mut steps = gated(&gate, delta("two"));
    steps.pop();
    steps.push(Step::Reset);
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = plan(&upstream).start().await;
    let sharing = three_sharing(&gateway).await;
    gate.open();
    for (client, answer, _) in sharing {
        assert!(!answer.collect().await.complete);
        drop(client);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_slow_reader_holds_back_none_and_is_dropped_past_the_bound() {
    const EVENTS: usize = 400;
    let gate = Gate::new();
    let large = delta(&"x".repeat(40_000));
    let events: Bytes = std::iter::repeat_n(large, EVENTS).flatten().collect::<Vec<_>>().into();
    let total = events.len();
    let upstream = Upstream::always(Speaks::H1, gated(&gate, [events, DONE.into()].concat()));
    let gateway = plan(&upstream).start().await;
    let (mut slow_client, mut fast_client) =
        (gateway.client(Version::H1).await, gateway.client(Version::H1).await);
    let call = Call::stream();
    let id = call.id();
    let mut fast = fast_client.send(Call::stream()).await;
    assert_eq!(fast.piece().await, delta("one"));
    let mut slow = slow_client.send(call).await;
    assert_eq!(slow.piece().await, delta("one"));
    gate.open();
    let received = fast.collect().await;
    assert_eq!((received.complete, received.bytes().len()), (true, total + DONE.len()));
    let received = slow.collect().await;
    assert!(!received.complete && received.bytes().len() < total, "{}", received.bytes().len());
    assert_eq!(journal::closing(&id).await["code"], "fell_behind");
    drop((slow_client, fast_client));
    gateway.stop().await;
}

/// A follower waits no longer than its client does, however long the leader's provider stalls.
#[tokio::test]
async fn a_follower_keeps_its_own_deadline() {
    let upstream = Upstream::always(Speaks::H1, vec![Step::Stall]);
    let gateway = plan(&upstream).start().await;
    let (mut leader, mut follower) = (gateway.client(Version::H2).await, gateway.client(Version::H1).await);
    let leading = leader.send(Call::stream());
    let following = async {
        upstream.log.request(0).await;
        follower.send(Call::stream().header("x-stainless-timeout", "0.3")).await.collect().await
    };
    tokio::select! {
        _ = leading => panic!("the leader has an answer"),
        answer = in_time(following) => {
            let answer = answer.unwrap();
            assert_eq!(answer.json()["error"]["code"], "all_providers_timed_out");
        }
    }
    assert_eq!(upstream.log.requests(), 1);
    drop((leader, follower));
    gateway.stop().await;
}
