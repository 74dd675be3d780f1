//! The charges to a key: a request that has ended sets nothing aside any more, and no choice of the client's
//! makes an answer cheaper.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use thalweg::{
    auth::{TokenSettings, limit::LimitValues},
    base::Secret,
    exchange::OnDisconnect,
    ledger::{Price, Prices},
};

use super::keys::{allow, refusal};
use crate::{
    client::{Call, Version, call::TOKEN},
    gateway::{Gateway, Plan},
    upstream::{
        Gate, Speaks, Step, Upstream,
        script::{self, DONE, delta, usage},
    },
};

/// A plan whose key may spend `budget` millionths, with a price of one for each token.
fn with_budget(upstreams: &[&Upstream], budget: i64) -> Plan {
    let limits = allow(LimitValues { budget: Some(budget), ..LimitValues::default() });
    let token = TokenSettings { limits, ..TokenSettings::plain("alice", Secret::new(TOKEN.to_owned())) };
    let price = Price { input: 1_000_000, output: 1_000_000, ..Price::default() };
    Plan::to(upstreams).with(|settings| {
        settings.tokens = vec![token];
        settings.prices = Prices::new([("*".to_owned(), price)]);
    })
}

/// A stream of three events that used 12 tokens.
fn stream() -> Vec<Step> {
    script::sse(Bytes::from([delta("one"), delta(" two"), usage(), DONE.into()].concat()))
}

/// Statuses of the answers to `many` requests that follow each other without a pause.
async fn statuses(gateway: &Gateway, version: Version, call: fn() -> Call, many: usize) -> Vec<u16> {
    let mut client = gateway.client(version).await;
    let mut statuses = Vec::new();
    for _ in 0..many {
        let answer = client.send(call()).await;
        statuses.push(answer.status.as_u16());
        answer.collect().await;
    }
    statuses
}

/// G1: the sum that a request sets aside is given back before its answer's last byte, so that the next
/// request finds it.
#[tokio::test]
async fn an_ended_request_sets_nothing_aside() {
    for (steps, call, cost) in [
        (script::json(200, script::COMPLETION), Call::whole as fn() -> Call, 11),
        (stream(), Call::stream, 12),
    ] {
        for version in Version::BOTH {
            let upstream = Upstream::always(Speaks::H1, steps.clone());
            let gateway = with_budget(&[&upstream], 20 * cost).start().await;
            let mut expected = vec![200; 20];
            expected.extend([402; 3]);
            assert_eq!(statuses(&gateway, version, call, 23).await, expected, "{version:?} {steps:?}");
            assert_eq!(upstream.log.requests(), 20);
            gateway.stop().await;
        }
    }
}

/// G1: the same for a client that goes on at `[DONE]` while the provider's body has not ended.
#[tokio::test]
async fn a_complete_answer_sets_nothing_aside() {
    let events = [delta("one"), usage(), DONE.into()].concat();
    let steps = vec![script::sse_head(), Step::Body(events.into()), Step::Stall];
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = with_budget(&[&upstream], 10 * 12).start().await;
    let mut client = gateway.client(Version::H2).await;
    let mut unfinished = Vec::new();
    for _ in 0..10 {
        let mut answer = client.send(Call::stream()).await;
        assert_eq!(answer.status, StatusCode::OK);
        let mut text = Vec::new();
        while !text.ends_with(DONE) {
            text.extend_from_slice(&answer.piece().await);
        }
        unfinished.push(answer);
    }
    assert_eq!(client.send(Call::stream()).await.status, StatusCode::PAYMENT_REQUIRED);
    drop((unfinished, client));
    gateway.stop().await;
}

/// C4: a client that leaves early is charged for the part that it was sent, whatever is booked for it.
#[tokio::test]
async fn leaving_early_is_charged() {
    let steps = vec![script::sse_head(), script::body(delta("one")), Step::Stall];
    let drain = OnDisconnect::Drain { time: Duration::from_millis(1), tokens: 100 };
    for policy in [OnDisconnect::Cancel, OnDisconnect::Estimate, drain] {
        let upstream = Upstream::always(Speaks::H1, steps.clone());
        let prompt = Call::stream().body.len().div_ceil(4) as i64;
        // For two: the prompt, and a token of the answer.
        let plan = with_budget(&[&upstream], 2 * (prompt + 1));
        let gateway = plan.with(|settings| settings.stream.on_disconnect = policy).start().await;
        let mut served = Vec::new();
        for _ in 0..4 {
            let mut client = gateway.client(Version::H2).await;
            let mut answer = client.send(Call::stream()).await;
            served.push(answer.status.as_u16());
            answer.piece().await;
            drop((answer, client));
            gateway
                .until("the end of all", |now| {
                    now.requests == 0 && now.drains == 0 && now.upstream_active == 0
                })
                .await;
        }
        assert_eq!(served, [200, 200, 402, 402], "{policy:?}");
        gateway.stop().await;
    }
}

/// C4: a client that leaves before the answer begins is charged for its prompt, too.
#[tokio::test]
async fn leaving_before_the_answer_is_charged() {
    let upstream = Upstream::always(Speaks::H1, vec![Step::Stall]);
    let prompt = Call::whole().body.len().div_ceil(4) as i64;
    let gateway = with_budget(&[&upstream], 3 * prompt).start().await;
    for number in 0..3 {
        let mut client = gateway.client(Version::H1).await;
        let leaving = tokio::spawn(async move { client.try_send(Call::whole()).await.map(drop) });
        upstream.log.request(number).await;
        leaving.abort();
        let _ = leaving.await;
        gateway.calm().await;
    }
    let mut client = gateway.client(Version::H1).await;
    assert_eq!(client.send(Call::whole()).await.status, StatusCode::PAYMENT_REQUIRED);
    drop(client);
    gateway.stop().await;
}

/// C5: while the rest of a budget is set aside, a request is to come again; once it is spent, it is not.
#[tokio::test]
async fn a_budget_that_is_set_aside_is_not_spent() {
    let gate = Gate::new();
    let steps = vec![script::sse_head(), script::body(delta("one")), Step::Wait(gate.clone())];
    let steps = [steps, vec![script::body([usage(), DONE.into()].concat()), Step::End]].concat();
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = with_budget(&[&upstream], 1000).start().await;
    let mut client = gateway.client(Version::H2).await;
    let body = r#"{"model":"m","stream":true,"max_tokens":300,"messages":[]}"#;
    let call = || Call::post("/v1/chat/completions", body);
    let mut running = Vec::new();
    for _ in 0..4 {
        running.push(client.send(call()).await);
        assert_eq!(running.last().unwrap().status, StatusCode::OK);
    }
    for _ in 0..12 {
        let answer = client.send(call()).await;
        assert_eq!((answer.header("retry-after"), answer.header("x-should-retry")), ("1", "true"));
        let (status, code, param) = refusal(answer).await;
        assert_eq!((status, &*code, param.as_deref()), (429, "rate_limit_exceeded", Some("budget")));
    }
    gate.open();
    for answer in running {
        assert!(answer.collect().await.complete);
    }
    assert!(client.send(call()).await.collect().await.complete);
    drop(client);
    gateway.stop().await;
}
