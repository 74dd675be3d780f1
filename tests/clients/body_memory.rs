//! Bodies and the limits of a key: the limits are asked before a body is read, and bodies in memory are
//! bounded.

use std::time::Duration;

use thalweg::{
    auth::{KeyLimits, TokenSettings, limit::LimitValues},
    base::Secret,
};

use super::keys::{allow, limited, refusal};
use crate::{
    client::{Call, Version, call::TOKEN},
    gateway::Plan,
    upstream::{Gate, Speaks, Step, Upstream, script},
};

const KIB: usize = 1024;

fn large(size: usize) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}]}}"#, "a".repeat(size))
}

fn head(path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// A key's limits are asked before any of a body is read: the answer comes to a client that has sent none.
#[tokio::test]
async fn limits_come_before_bodies() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    for (limits, param) in [
        (LimitValues { concurrent: Some(1), ..LimitValues::default() }, "concurrent"),
        (LimitValues { requests: Some(1), ..LimitValues::default() }, "rpm"),
    ] {
        let gateway = limited(&upstream, allow(limits)).await;
        let mut first = gateway.raw().await;
        first.send(head("/v1/chat/completions", 1000) + "{").await;
        gateway.until("the first request", |now| now.requests == 1).await;
        for path in ["/v1/chat/completions", "/v1/audio/transcriptions"] {
            let mut second = gateway.raw().await;
            second.send(head(path, 30 * KIB * KIB)).await;
            let answer = second.head().await;
            assert_eq!(answer.status, 429, "{}", answer.text);
            let body = String::from_utf8(second.body(&answer).await.to_vec()).unwrap();
            assert!(body.contains(&format!(r#""param":"{param}""#)), "{body}");
            assert!(answer.header("retry-after").is_some());
        }
        drop(first);
        gateway.calm().await;
        let mut client = gateway.client(Version::H1).await;
        assert_eq!(client.send(Call::whole()).await.status, 200, "a body that never came used nothing up");
        drop(client);
        gateway.stop().await;
    }
    assert_eq!(upstream.log.requests(), 2);
}

/// A body that finds no room waits for it, and no longer than bodies may take. Another key has its own share.
#[tokio::test]
async fn a_body_waits_for_room() {
    let gate = Gate::new();
    let answer = script::json(200, script::COMPLETION);
    let held: Vec<Step> = std::iter::once(Step::Wait(gate.clone())).chain(answer.clone()).collect();
    let upstream = Upstream::in_turn(Speaks::H1, vec![held, answer]);
    let plan = Plan::to(&[&upstream]).with(|settings| {
        settings.limits.body_memory_per_key = 600 * KIB;
        settings.limits.unfinished_per_key = 100 * KIB;
        settings.limits.body_timeout = Duration::from_millis(300);
        let bob = TokenSettings {
            limits: KeyLimits::default(),
            ..TokenSettings::plain("bob", Secret::new("sk-bob".to_owned()))
        };
        settings.tokens.push(bob);
    });
    let gateway = plan.start().await;
    let call = || Call::post("/v1/chat/completions", large(500 * KIB));
    let mut first = gateway.client(Version::H1).await;
    let first = tokio::spawn(async move { first.send(call()).await.status });
    upstream.log.request(0).await;
    for version in Version::BOTH {
        let refused = gateway.client(version).await.send(call()).await;
        assert_eq!(refused.header("retry-after"), "1");
        assert_eq!(refusal(refused).await, (429, "rate_limit_exceeded".into(), Some("body_memory".into())));
        let mut client = gateway.client(version).await;
        let other = client.send(call().header("authorization", "Bearer sk-bob")).await;
        assert_eq!(other.status, 200);
        other.collect().await;
        let small = client.send(Call::whole()).await;
        assert_eq!(small.status, 200, "there is room for a small one");
        small.collect().await;
    }
    let mut waiting = gateway.client(Version::H1).await;
    let waiting = tokio::spawn(async move { waiting.send(call()).await.status });
    gate.open();
    assert_eq!(first.await.unwrap(), 200);
    assert_eq!(waiting.await.unwrap(), 200, "it waited for the first to end");
    gateway.stop().await;
}

/// Bodies of one key that arrive side by side do not stop each other for good.
#[tokio::test]
async fn bodies_side_by_side_all_arrive() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let plan = Plan::to(&[&upstream]).with(|settings| {
        settings.limits.unfinished_per_key = 64 * KIB;
        settings.limits.body_memory = 128 * KIB;
    });
    let gateway = plan.start().await;
    let mut sent = Vec::new();
    for number in 0..8 {
        let mut client = gateway.client(Version::BOTH[number % 2]).await;
        let call = Call::post("/v1/chat/completions", large(300 * KIB));
        sent.push(tokio::spawn(async move { client.send(call).await.status }));
    }
    for status in sent {
        assert_eq!(status.await.unwrap(), 200);
    }
    gateway.stop().await;
}
