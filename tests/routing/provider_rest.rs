//! Failures after which a provider gets no requests for a while, and failures that leave it alone (S1.14,
//! R18).

use thalweg::{auth::TokenSettings, base::Secret, relay::CommitPoint, routing::settings::AllTripped};

use super::failure_classes::{ERROR_EVENT, serving, two};
use crate::{
    client::{Call, Version},
    gateway::Plan,
    journal,
    upstream::{
        Framing, Speaks, Step, Upstream,
        script::{self, delta, sse_head},
    },
};

/// A refusal of one client's request does not make the provider rest for others; a success ends its rest.
#[tokio::test]
async fn a_refusal_for_one_client_is_no_rest_for_others() {
    let flagged = r#"{"error":{"code":403,"message":"Your input was flagged"}}"#;
    let large = r#"{"error":{"code":402,"message":"requires more credits, or fewer max_tokens"}}"#;
    let short = || script::sse(script::short_stream());
    let first =
        Upstream::in_turn(Speaks::H1, vec![script::json(403, flagged), script::json(402, large), short()]);
    let second = serving();
    let gateway = two(&first, &second).await;
    let mut client = gateway.client(Version::H1).await;
    for provider in ["p1", "p1", "p0"] {
        let answer = client.send(Call::stream()).await;
        assert_eq!(answer.header("x-thalweg-provider"), provider);
        answer.collect().await;
    }
    drop(client);
    gateway.stop().await;
}

/// B1: failures at one endpoint, as one key's requests cause them, close no other.
#[tokio::test]
async fn failures_at_one_endpoint_close_no_other() {
    const PATHS: [&str; 4] = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"];
    for failing in PATHS {
        let upstream = Upstream::by(Speaks::H1, move |_, seen| {
            let fails = seen.target.ends_with(failing.trim_start_matches("/v1")) && seen.json()["x"] == 1;
            script::json(if fails { 500 } else { 200 }, script::COMPLETION)
        });
        let plan = Plan::to(&[&upstream]).with(|settings| {
            settings.routing.all_tripped = AllTripped::Refuse;
            settings.routing.native_only = true;
            settings.routing.retry.repeats = 0;
        });
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let call = |path: &str, x: u8| {
            Call::post(path, format!(r#"{{"model":"m","x":{x},"messages":[],"input":"a","prompt":"a"}}"#))
        };
        for _ in 0..6 {
            client.send(call(failing, 1)).await.collect().await;
        }
        for path in PATHS {
            let answer = client.send(call(path, 0)).await;
            assert_eq!(answer.status, if path == failing { 503 } else { 200 }, "{failing} {path}");
            answer.collect().await;
        }
        drop(client);
        gateway.stop().await;
    }
}

/// Statuses of which the request may be the cause trip nothing: one key's requests would close the model for
/// all.
#[tokio::test]
async fn ambiguous_statuses_trip_nothing() {
    for status in [403, 408, 409, 424, 425, 498] {
        let upstream = Upstream::by(Speaks::H1, move |_, seen| match seen.json()["x"].is_null() {
            true => script::json(200, script::COMPLETION),
            false => script::json(status, r#"{"error":{"message":"no","type":"x"}}"#),
        });
        let plan = Plan::to(&[&upstream]).with(|settings| {
            settings.routing.all_tripped = AllTripped::Refuse;
            settings.routing.retry.repeats = 0;
        });
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        for _ in 0..8 {
            let answer = client.send(Call::post("/v1/chat/completions", r#"{"model":"m","x":1}"#)).await;
            assert_eq!(answer.status, status);
            answer.collect().await;
        }
        let answer = client.send(Call::whole()).await;
        assert_eq!(answer.status, 200, "{status}");
        answer.collect().await;
        drop(client);
        gateway.stop().await;
    }
}

/// R18: a provider that sends `retry-after` gets no requests until then, and the client does not notice.
#[tokio::test]
async fn retry_after_is_respected() {
    let limited = Step::Head {
        status: 429,
        headers: vec![("retry-after".into(), "60".into())],
        framing: Framing::Length(0),
    };
    let first = Upstream::always(Speaks::H1, vec![limited, Step::End]);
    let second = serving();
    let gateway = two(&first, &second).await;
    let mut client = gateway.client(Version::H1).await;
    for attempts in ["2", "1", "1"] {
        let answer = client.send(Call::stream()).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-attempts")), (200, attempts));
        answer.collect().await;
    }
    assert_eq!((first.log.requests(), second.log.requests()), (1, 3));
    drop(client);
    gateway.stop().await;
}

/// All providers of the model rest: 503 with `retry-after`, if the configuration says to refuse then.
#[tokio::test]
async fn all_providers_rest() {
    let limited = Step::Head {
        status: 429,
        headers: vec![("retry-after".into(), "60".into())],
        framing: Framing::Length(0),
    };
    let upstream = Upstream::always(Speaks::H1, vec![limited, Step::End]);
    let plan = Plan::to(&[&upstream]).with(|settings| settings.routing.all_tripped = AllTripped::Refuse);
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    assert_eq!(client.send(Call::stream()).await.status, 429);
    let answer = client.send(Call::stream()).await;
    assert_eq!(answer.status, 503);
    let after: u64 = answer.header("retry-after").parse().unwrap();
    assert!((50..=60).contains(&after), "{after}");
    assert!(answer.headers.contains_key("retry-after-ms"));
    answer.collect().await;
    assert_eq!(upstream.log.requests(), 1);
    drop(client);
    gateway.stop().await;
}

/// A stream that breaks off, or carries an error event, in its middle counts against its provider, although
/// this client gets only a broken stream.
#[tokio::test]
async fn a_broken_stream_counts_against_its_provider() {
    let error = vec![script::body(ERROR_EVENT), Step::End];
    for (end, told) in [(vec![Step::Close], None), (vec![Step::Reset], None), (error, Some("overloaded"))] {
        let steps = [vec![sse_head(), Step::Body(delta("one")), Step::Delivered], end].concat();
        let first = Upstream::always(Speaks::H1, steps);
        let second = serving();
        let plan = Plan::to(&[&first, &second]).with(|settings| settings.routing.breaker.failures = 1);
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await.telling(&first.log);
        let cut = client.send(Call::stream()).await;
        assert_eq!(cut.header("x-thalweg-provider"), "p0");
        let received = cut.collect().await;
        assert_eq!(received.complete, told.is_some());
        assert!(received.text().contains(told.unwrap_or("one")));
        // The connection of a broken stream is closed.
        client = gateway.client(Version::H1).await;
        let next = client.send(Call::stream()).await;
        assert_eq!((next.header("x-thalweg-provider"), next.header("x-thalweg-attempts")), ("p1", "1"));
        next.collect().await;
        drop(client);
        gateway.stop().await;
    }
}

/// Streams that break off in a row trip their candidate, although each counted as good at its commit; also
/// where two keys take turns.
#[tokio::test]
async fn broken_streams_in_a_row_trip_their_candidate() {
    for keys in [1, 2] {
        let first = Upstream::always(
            Speaks::H1,
            vec![sse_head(), Step::Body(delta("one")), Step::Delivered, Step::Reset],
        );
        let second = serving();
        let plan = Plan::to(&[&first, &second]).with(|settings| {
            settings.tokens.push(TokenSettings::plain("other", Secret::new("sk-other".to_owned())));
        });
        let gateway = plan.start().await;
        for number in 0..6 {
            let mut client = gateway.client(Version::H1).await.telling(&first.log);
            let call = Call::stream();
            let call =
                if number % keys == 1 { call.header("authorization", "Bearer sk-other") } else { call };
            let answer = client.send(call).await;
            let provider = if number < 5 { "p0" } else { "p1" };
            assert_eq!(answer.header("x-thalweg-provider"), provider, "{keys} {number}");
            answer.collect().await;
        }
        gateway.stop().await;
    }
}

/// So does one in the frame with which the stream is committed, and one without its blank line.
#[tokio::test]
async fn an_error_event_counts_wherever_it_stands() {
    let together = [&delta("one")[..], ERROR_EVENT.as_bytes()].concat();
    let unfinished = ERROR_EVENT.trim_end().as_bytes().to_vec();
    for (point, pieces) in [
        (CommitPoint::FirstContent, vec![together]),
        (CommitPoint::FirstFrame, vec![ERROR_EVENT.into()]),
        (CommitPoint::FirstContent, vec![delta("one").to_vec(), unfinished.clone()]),
        (CommitPoint::FirstFrame, vec![unfinished]),
    ] {
        let mut steps = vec![sse_head()];
        steps.extend(pieces.iter().flat_map(|piece| [script::body(piece.clone()), Step::Moment]));
        steps.push(Step::End);
        let first = Upstream::always(Speaks::H1, steps);
        let second = serving();
        let plan = Plan::to(&[&first, &second]).with(|settings| {
            settings.routing.breaker.failures = 1;
            settings.stream.commit = Some(point);
        });
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let call = Call::stream();
        let id = call.id();
        let failed = client.send(call).await;
        assert_eq!(failed.header("x-thalweg-provider"), "p0");
        assert_eq!(failed.collect().await.bytes(), pieces.concat());
        let line = journal::closing(&id).await;
        assert_eq!((&line["message"], &line["code"]), (&"failed".into(), &"upstream_error".into()), "{line}");
        assert!(line["output_tokens"].is_null(), "{line}");
        let next = client.send(Call::stream()).await;
        assert_eq!((next.header("x-thalweg-provider"), next.header("x-thalweg-attempts")), ("p1", "1"));
        next.collect().await;
        drop(client);
        gateway.stop().await;
    }
}

/// A key whose requests make a provider fail again and again does not take the model from another key.
#[tokio::test]
async fn one_keys_requests_take_no_model_from_another() {
    let first = Upstream::by(Speaks::H1, |_, seen| match seen.json()["poison"].as_u64() {
        Some(status) => script::json(status as u16, r#"{"error":{"message":"cannot be served"}}"#),
        None => script::json(200, script::COMPLETION),
    });
    let second = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let plan = Plan::to(&[&first, &second]).with(|settings| {
        settings.tokens.push(TokenSettings::plain("other", Secret::new("sk-other".to_owned())));
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let other =
        |body: String| Call::post("/v1/chat/completions", body).header("authorization", "Bearer sk-other");
    for status in [500, 502, 503, 401, 402, 403, 404, 405, 501] {
        let answer = client.send(Call::whole()).await;
        assert_eq!(answer.header("x-thalweg-provider"), "p0", "before {status}");
        answer.collect().await;
        for _ in 0..10 {
            let answer = client.send(other(format!(r#"{{"model":"m","poison":{status}}}"#))).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("x-thalweg-provider")),
                (200, "p1"),
                "{status}"
            );
            answer.collect().await;
        }
    }
    let answer = client.send(Call::whole()).await;
    assert_eq!((answer.header("x-thalweg-provider"), answer.header("x-thalweg-attempts")), ("p0", "1"));
    answer.collect().await;
    drop(client);
    gateway.stop().await;
}
