//! Failover: the next candidate serves, and the client does not notice, as long as no byte went down;
//! afterwards never (B5, S0.14, R15–R18).

use crate::{
    client::{Call, Version},
    gateway::{PAIRS, Plan},
    journal,
    upstream::{
        Speaks, Step, Upstream,
        script::{self, delta, sse_head},
    },
};

fn role() -> Step {
    script::body(
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
    )
}

const ERROR_EVENT: &str = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n";

/// B5, R15, R18: however the first candidate fails before its first content, the second serves and the client
/// does not notice.
#[tokio::test]
async fn the_second_candidate_serves_unseen() {
    let error = |status| {
        script::json(status, "{\"error\":{\"message\":\"no\",\"type\":\"x\",\"param\":null,\"code\":null}}")
    };
    let failing = [
        ("500", error(500)),
        ("503", error(503)),
        ("429", error(429)),
        ("401", error(401)),
        ("an error object under a 200", error(200)),
        ("an error event first", vec![sse_head(), script::body(ERROR_EVENT), Step::End]),
        (
            "an error event after comments",
            vec![
                sse_head(),
                script::body(": wait\n\n: wait\n\n"),
                Step::Moment,
                role(),
                Step::Moment,
                script::body(ERROR_EVENT),
                Step::End,
            ],
        ),
        ("closes after its role", vec![sse_head(), role(), Step::Moment, Step::Close]),
        ("resets after a comment", vec![sse_head(), script::body(": hi\n\n"), Step::Moment, Step::Reset]),
    ];
    for (speaks, version) in PAIRS {
        for (name, steps) in &failing {
            let first = Upstream::always(speaks, steps.clone());
            let second = Upstream::always(speaks, script::sse(script::short_stream()));
            let gateway = Plan::to(&[&first, &second]).start().await;
            let mut client = gateway.client(version).await;
            let call = Call::stream();
            let id = call.id();
            let answer = client.send(call).await;
            assert_eq!(answer.status, 200, "{name}");
            let received = answer.collect().await;
            assert!(received.complete, "{name}");
            assert_eq!(received.bytes(), script::short_stream(), "{name} {speaks:?} {version:?}");
            assert_eq!((first.log.requests(), second.log.requests()), (1, 1), "{name}");
            assert_eq!(first.log.request(0).await.body, second.log.request(0).await.body, "{name}");
            assert_eq!(journal::closing(&id).await["status"], 200, "{name}");
            drop(client);
            gateway.stop().await;
        }
    }
}

/// S3.2: a candidate whose port refuses connections is skipped, without streaming too.
#[tokio::test]
async fn an_unreachable_candidate_is_skipped() {
    for (call, answer, bytes) in [
        (Call::stream as fn() -> Call, script::sse(script::short_stream()), script::short_stream()),
        (Call::whole, script::json(200, script::COMPLETION), script::COMPLETION.into()),
    ] {
        let first = Upstream::always(Speaks::H1, vec![Step::Stall]);
        let second = Upstream::always(Speaks::H1, answer);
        let plan = Plan::to(&[&first, &second]);
        drop(first);
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(call()).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.collect().await.bytes(), bytes);
        drop(client);
        gateway.stop().await;
    }
}

/// R18: an error of the request itself: no other candidate gets it, and the provider's error body passes.
#[tokio::test]
async fn a_bad_request_is_not_retried() {
    for status in [400, 422] {
        let body = "{\"error\":{\"message\":\"context too long\",\"code\":\"context_length_exceeded\"}}";
        let first = Upstream::always(Speaks::H1, script::json(status, body));
        let second = Upstream::always(Speaks::H1, script::sse(script::short_stream()));
        let gateway = Plan::to(&[&first, &second]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::stream()).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.collect().await.text(), body);
        assert_eq!(second.log.requests(), 0);
        drop(client);
        gateway.stop().await;
    }
}

/// R16, R17: after the first content no other candidate is tried: the stream breaks off.
#[tokio::test]
async fn no_failover_after_the_first_content() {
    for (speaks, version) in PAIRS {
        for last in [Step::Close, Step::Reset] {
            let steps =
                vec![sse_head(), role(), Step::Body(delta("one")), Step::Delivered, Step::Moment, last];
            let first = Upstream::always(speaks, steps);
            let second = Upstream::always(speaks, script::sse(script::short_stream()));
            let gateway = Plan::to(&[&first, &second]).start().await;
            let mut client = gateway.client(version).await.telling(&first.log);
            let received = client.send(Call::stream()).await.collect().await;
            assert!(!received.complete, "never a fake success");
            let text = received.text();
            assert!(text.ends_with(std::str::from_utf8(&delta("one")).unwrap()), "{text}");
            assert_eq!(second.log.requests(), 0);
            drop(client);
            gateway.stop().await;
        }
    }
}

/// R16: the provider's own error event in mid-stream passes unchanged.
#[tokio::test]
async fn an_error_event_in_mid_stream_passes() {
    let stream = [&delta("one")[..], ERROR_EVENT.as_bytes()].concat();
    let first = Upstream::always(Speaks::H1, script::sse(stream.clone()));
    let second = Upstream::always(Speaks::H1, script::sse(script::short_stream()));
    let gateway = Plan::to(&[&first, &second]).start().await;
    let mut client = gateway.client(Version::H1).await;
    assert_eq!(client.send(Call::stream()).await.collect().await.bytes(), stream);
    assert_eq!(second.log.requests(), 0);
    drop(client);
    gateway.stop().await;
}

/// S3.8: all candidates fail: the client gets an error, and each was tried once.
#[tokio::test]
async fn all_candidates_fail() {
    let first = Upstream::always(Speaks::H1, vec![Step::Close]);
    let second = Upstream::always(Speaks::H1, vec![Step::Reset]);
    let gateway = Plan::to(&[&first, &second]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::stream()).await;
    assert!(matches!(answer.status.as_u16(), 502 | 503), "{}", answer.status);
    let error = answer.collect().await.json();
    assert!(error["error"]["message"].is_string());
    assert_eq!((first.log.requests(), second.log.requests()), (1, 1));
    drop(client);
    gateway.stop().await;
}

/// With failover off, the first candidate's failure is the client's answer.
#[tokio::test]
async fn failover_switched_off() {
    let body = "{\"error\":{\"message\":\"no\",\"type\":\"x\",\"param\":null,\"code\":null}}";
    let first = Upstream::always(Speaks::H1, script::json(500, body));
    let second = Upstream::always(Speaks::H1, script::sse(script::short_stream()));
    let gateway = Plan::to(&[&first, &second]).with(|settings| settings.failover = false).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::stream()).await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.collect().await.text(), body);
    assert_eq!(second.log.requests(), 0);
    drop(client);
    gateway.stop().await;
}
