//! The headers by which clients decide to repeat a request: `x-should-retry`, `retry-after` (CASES A8 to
//! A11).

use std::time::Duration;

use super::keys::{limited, requests};
use crate::{
    client::{Call, Version},
    gateway::Plan,
    upstream::{Speaks, Step, Upstream, script},
};

/// A repeat cannot heal these; Claude Code repeats a 401 for minutes without the header (A9).
#[tokio::test]
async fn mistakes_are_not_to_be_repeated() {
    let provider = Upstream::always(Speaks::H1, script::sse("data: [DONE]\n\n"));
    let gateway = Plan::to(&[&provider]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for (call, status) in [
        (Call::stream().without("authorization"), 401),
        (Call::stream().header("authorization", "Bearer sk-wrong"), 401),
        (Call::post("/v1/messages", "{").header("authorization", "Bearer sk-wrong"), 401),
        (Call::post("/v1/chat/completions", "{"), 400),
        (Call::post("/v1/nothing", "{}"), 404),
    ] {
        let answer = client.send(call).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-should-retry")), (status, "false"));
        answer.collect().await;
    }
    drop(client);
    gateway.stop().await;
}

/// A limit of the key is worth waiting for, never longer than a minute: above it Claude Code gives up (A10).
#[tokio::test]
async fn a_limit_per_minute_never_asks_for_more_than_a_minute() {
    let provider = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = limited(&provider, requests(1)).await;
    let mut client = gateway.client(Version::H1).await;
    client.send(Call::whole()).await.collect().await;
    let refused = client.send(Call::whole()).await;
    assert_eq!((refused.status.as_u16(), refused.header("x-should-retry")), (429, "true"));
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((55..=60).contains(&seconds), "{seconds}");
    refused.collect().await;
    drop(client);
    gateway.stop().await;
}

/// Codex gives up on a 429 without `retry-after`, so the gateway adds its estimate; an exhausted quota gets
/// none (A11).
#[tokio::test]
async fn a_providers_rate_limit_has_a_time() {
    let limit = "{\"error\":{\"message\":\"slow down\",\"code\":\"rate_limit_exceeded\"}}";
    let quota = "{\"error\":{\"message\":\"pay\",\"code\":\"insufficient_quota\"}}";
    for (body, retry_after) in [(limit, Some("1")), (quota, None)] {
        let provider = Upstream::always(Speaks::H1, script::json(429, body));
        let gateway = Plan::to(&[&provider]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::stream()).await;
        let given = answer.headers.get("retry-after").map(|value| value.to_str().unwrap());
        assert_eq!((answer.status.as_u16(), given), (429, retry_after));
        assert_eq!(answer.collect().await.text(), body);
        drop(client);
        gateway.stop().await;
    }
}

/// The provider's own time in any form takes the place of the estimate, and a header that no client reads is
/// replaced (A11).
#[tokio::test]
async fn a_providers_time_in_any_form_is_passed_on() {
    let plain = r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#;
    let words = r#"{"error":{"message":"Please try again in 20s.","code":"rate_limit_exceeded"}}"#;
    let google = r#"{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"17s"}]}}"#;
    let none: &[(&str, &str)] = &[];
    for (headers, body, after, millis) in [
        (&[("retry-after-ms", "1300")][..], plain, "2", Some("1300")),
        (&[("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "20s")], plain, "20", None),
        (none, words, "20", None),
        (none, google, "17", None),
        (none, plain, "1", None),
        (&[("retry-after", "abc")], plain, "1", None),
        (&[("retry-after", "-5")], plain, "1", None),
        (&[("retry-after", "NaN")], plain, "1", None),
        (&[("retry-after", "7")], words, "7", None),
    ] {
        let head = Step::Head {
            status: 429,
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            framing: crate::upstream::Framing::Length(body.len() as u64),
        };
        let provider = Upstream::always(Speaks::H1, vec![head, script::body(body), Step::End]);
        let plan = Plan::to(&[&provider]).with(|settings| settings.routing.retry.repeats = 0);
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::stream()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("retry-after")),
            (429, after),
            "{headers:?} {body}"
        );
        if let Some(millis) = millis {
            assert_eq!(answer.header("retry-after-ms"), millis);
        }
        answer.collect().await;
        drop(client);
        gateway.stop().await;
    }
}

/// A refusal by all providers keeps its status: a repeat would be paid twice once more.
#[tokio::test]
async fn a_refusal_by_all_providers_is_not_to_be_repeated() {
    let moderated = r#"{"error":{"message":"Your input was flagged","type":"moderation"}}"#;
    let quota = r#"{"error":{"message":"pay","code":"insufficient_quota"}}"#;
    for (given, body, code) in [
        (403, moderated, "all_providers_refused"),
        (402, r#"{"error":{"message":"Insufficient Balance"}}"#, "insufficient_quota"),
        (429, quota, "insufficient_quota"),
    ] {
        for path in ["/v1/chat/completions", "/v1/messages"] {
            let providers = [(); 2].map(|()| Upstream::always(Speaks::H1, script::json(given, body)));
            let gateway = Plan::to(&[&providers[0], &providers[1]]).start().await;
            let mut client = gateway.client(Version::H1).await;
            let answer = client.send(Call::post(path, r#"{"model":"m","messages":[],"max_tokens":9}"#)).await;
            assert_eq!((answer.status.as_u16(), answer.header("x-should-retry")), (given, "false"), "{path}");
            assert_eq!(answer.header("x-thalweg-error"), code);
            assert!(answer.headers.get("retry-after").is_none());
            answer.collect().await;
            assert_eq!(providers[0].log.requests() + providers[1].log.requests(), 2);
            drop(client);
            gateway.stop().await;
        }
    }
}

/// All of several that limit the rate, or lack the model, are 429 and 404: 503 would hide the cause (A11,
/// B3).
#[tokio::test]
async fn a_cause_that_all_providers_share_keeps_its_status() {
    let limit = "{\"error\":{\"message\":\"slow down\",\"code\":\"rate_limit_exceeded\"}}";
    let missing = "{\"error\":{\"message\":\"none\",\"code\":\"model_not_found\"}}";
    for (status, body, code, retry) in
        [(429, limit, "rate_limit_exceeded", "true"), (404, missing, "model_not_found", "false")]
    {
        let providers = [(); 2].map(|()| Upstream::always(Speaks::H1, script::json(status, body)));
        let gateway = Plan::to(&[&providers[0], &providers[1]]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::stream()).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-should-retry")), (status, retry));
        assert_eq!(answer.header("x-thalweg-attempts"), "2");
        assert_eq!(answer.headers.contains_key("retry-after"), status == 429);
        assert_eq!(answer.collect().await.json()["error"]["code"], code);
        drop(client);
        gateway.stop().await;
    }
}

/// A generation that took too long is not to be paid a second time (A8).
#[tokio::test]
async fn a_whole_answer_that_took_too_long_is_not_to_be_repeated() {
    let mute = Upstream::always(Speaks::H1, vec![Step::Stall]);
    let plan = Plan::to(&[&mute]).deadlines(|deadlines| deadlines.non_stream = Duration::from_millis(30));
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::whole()).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-should-retry")), (504, "false"));
    assert_eq!(answer.collect().await.json()["error"]["code"], "upstream_timeout");
    drop(client);
    gateway.stop().await;
}
