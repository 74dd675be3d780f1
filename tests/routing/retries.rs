//! How far failover goes: several candidates, lists of models, safe retries, the deadline of the client
//! (S3.8).

use std::time::Duration;

use super::failure_classes::{ERROR_EVENT, serving, two};
use crate::{
    client::{Call, Version},
    gateway::Plan,
    upstream::{Speaks, Step, Upstream, script},
};

/// The client's deadline has passed before the first attempt.
#[tokio::test]
async fn deadline_already_passed() {
    let (first, second) = (serving(), serving());
    let gateway = two(&first, &second).await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::stream().header("x-litellm-timeout", "0.0000001")).await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.collect().await.json()["error"]["code"], "all_providers_timed_out");
    drop(client);
    gateway.stop().await;
}

/// S3.8: all candidates fail: 503 with each reason in order; 504 if all were too slow.
#[tokio::test]
async fn all_of_several_candidates_fail() {
    let quota =
        "{\"error\":{\"message\":\"pay\",\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}";
    let first = Upstream::always(Speaks::H1, script::json(429, quota));
    let second = Upstream::always(Speaks::H1, script::sse(ERROR_EVENT));
    let gateway = two(&first, &second).await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::stream()).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-attempts")), (503, "2"));
    let error = answer.collect().await.json();
    assert_eq!(error["error"]["code"], "all_providers_failed");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("p0: answered 429 (insufficient_quota); p1: answered an error"), "{message}");
    drop(client);
    gateway.stop().await;

    let mute = [(); 2].map(|()| Upstream::always(Speaks::H1, vec![Step::Stall]));
    let plan = Plan::to(&[&mute[0], &mute[1]])
        .deadlines(|deadlines| deadlines.first_token = Duration::from_millis(30));
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::stream()).await;
    assert_eq!(answer.status, 504);
    let error = answer.collect().await.json();
    assert_eq!(error["error"]["code"], "all_providers_timed_out");
    drop(client);
    gateway.stop().await;
}

/// `retry: safe`: a request that the provider may have seen is not repeated; by default it is. A connection
/// that ends before the head says no more about it than a stream that is reset with any reason but
/// `REFUSED_STREAM` (RFC 9113 section 8.7), so that HTTP/1.1 and HTTP/2 are alike.
#[tokio::test]
async fn retries_can_be_made_safe() {
    for (speaks, end) in [
        (Speaks::H1, Step::Close),
        (Speaks::H1, Step::Reset),
        (Speaks::H2, Step::Close),
        (Speaks::H2, Step::Reset),
        (Speaks::H2, Step::Cancel),
    ] {
        for safe in [false, true] {
            let first = Upstream::always(speaks, vec![end.clone()]);
            let second = serving();
            let plan = Plan::to(&[&first, &second]).with(|settings| settings.routing.retry.safe = safe);
            let gateway = plan.start().await;
            let mut client = gateway.client(Version::H1).await;
            let answer = client.send(Call::stream()).await;
            assert_eq!(answer.status, if safe { 503 } else { 200 }, "{speaks:?} {end:?}");
            answer.collect().await;
            let requests = (first.log.requests(), second.log.requests());
            assert_eq!(requests, (1, usize::from(!safe)), "{speaks:?} {end:?}");
            drop(client);
            gateway.stop().await;
        }
    }
}

/// The same at the endpoints whose providers are asked in turn, and on a connection that was used before,
/// whose end is otherwise taken for its age.
#[tokio::test]
async fn safe_retries_hold_everywhere() {
    for safe in [false, true] {
        let (first, second) = (Upstream::always(Speaks::H1, vec![Step::Close]), serving());
        let plan = Plan::to(&[&first, &second]).with(|settings| settings.routing.retry.safe = safe);
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let picture = Call::post("/v1/images/generations", r#"{"model":"m","prompt":"x"}"#);
        client.send(picture).await.collect().await;
        assert_eq!((first.log.requests(), second.log.requests()), (1, usize::from(!safe)));
        drop(client);
        gateway.stop().await;
        for speaks in [Speaks::H1, Speaks::H2] {
            let upstream = Upstream::by(speaks, |number, _| match number {
                1 => vec![Step::Close],
                _ => script::sse(script::short_stream()),
            });
            let plan = Plan::to(&[&upstream]).with(|settings| settings.routing.retry.safe = safe);
            let gateway = plan.start().await;
            let mut client = gateway.client(Version::H1).await;
            client.send(Call::stream()).await.collect().await;
            let answer = client.send(Call::stream()).await;
            assert_eq!(answer.status, if safe { 502 } else { 200 }, "{speaks:?}");
            answer.collect().await;
            assert_eq!(upstream.log.requests(), if safe { 2 } else { 3 }, "{speaks:?}");
            drop(client);
            gateway.stop().await;
        }
    }
}

/// The client's own deadline ends all attempts.
#[tokio::test]
async fn the_clients_deadline_ends_all_attempts() {
    let mute = Upstream::always(Speaks::H1, vec![Step::Stall]);
    let gateway = Plan::to(&[&mute]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::stream().header("x-stainless-timeout", "0.05")).await;
    assert_eq!(answer.status, 504);
    answer.collect().await;
    mute.log.gone(0).await;
    drop(client);
    gateway.stop().await;
}

/// The models of a list are tried in order, each under its own name, and the list itself is not sent
/// upstream.
#[tokio::test]
async fn models_are_tried_in_order() {
    let first =
        Upstream::always(Speaks::H1, script::json(400, "{\"error\":{\"code\":\"context_length_exceeded\"}}"));
    let second = serving();
    let plan = Plan::to(&[&first, &second]).with(|settings| {
        settings.providers[0].models = Some(vec!["small".into()]);
        settings.providers[1].models = Some(vec!["large".into()]);
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    for body in [
        r#"{"models":["small","large"],"messages":[],"stream":true}"#,
        r#"{"model":"small","stream":true,"models":["nobody-has-it","large"]}"#,
    ] {
        let answer = client.send(Call::post("/v1/chat/completions", body)).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-provider")), (200, "p1"));
        answer.collect().await;
    }
    for number in 0..2 {
        for (upstream, model) in [(&first, "small"), (&second, "large")] {
            let seen = upstream.log.request(number).await.json();
            assert_eq!((&seen["model"], seen.get("models")), (&model.into(), None), "{seen}");
        }
    }
    drop(client);
    gateway.stop().await;
}

/// A stream that the provider resets before its head, on a connection that lives, may have been processed:
/// the same provider is not sent the request again unseen.
#[tokio::test]
async fn a_reset_stream_is_not_sent_again_unseen() {
    let good = script::json(200, script::COMPLETION);
    let upstream = Upstream::in_turn(Speaks::H2, vec![good.clone(), vec![Step::Reset], good]);
    let plan = Plan::to(&[&upstream]).with(|settings| settings.routing.retry.repeats = 0);
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    for (status, requests) in [(200, 1), (502, 2), (200, 3)] {
        let answer = client.send(Call::whole()).await;
        assert_eq!((answer.status.as_u16(), upstream.log.requests()), (status, requests));
        answer.collect().await;
    }
    drop(client);
    gateway.stop().await;
}
