//! Selection of the candidate: by alias, region, conversation, breaker state, and a model's own commit point
//! (S1.12, S3.5, S1.14, B21, R36).

use std::time::Duration;

use thalweg::{
    relay::CommitPoint,
    routing::{Strategy, settings::ModelRule},
};

use crate::{
    client::{Call, Version},
    gateway::{Gateway, Plan},
    upstream::{
        Speaks, Step, Upstream,
        script::{self, sse_head},
    },
};

fn serving() -> Upstream {
    Upstream::always(Speaks::H1, script::sse(script::short_stream()))
}

/// The provider that served this call.
async fn served(gateway: &Gateway, call: Call) -> String {
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(call).await;
    assert_eq!(answer.status, 200);
    let name = answer.header("x-thalweg-provider").to_owned();
    assert_eq!(answer.collect().await.bytes(), script::short_stream());
    name
}

/// S3.5: an alias goes to the provider under the provider's name of the model, and is listed.
#[tokio::test]
async fn an_alias_goes_to_its_provider() {
    let (first, second) = (serving(), serving());
    let rule =
        ModelRule { name: "best".into(), targets: vec!["p1/m".into(), "m".into()], ..ModelRule::default() };
    let plan = Plan::to(&[&first, &second]).with(|settings| settings.routing.models.push(rule));
    let gateway = plan.start().await;
    let call = || Call::post("/v1/chat/completions", r#"{"model":"best","stream":true,"messages":[]}"#);
    assert_eq!(served(&gateway, call()).await, "p1");
    assert_eq!(second.log.request(0).await.json()["model"], "m");
    let mut client = gateway.client(Version::H1).await;
    let listed = client.send(Call::get("/v1/models")).await.collect().await.json();
    let best = listed["data"].as_array().unwrap().iter().find(|model| model["id"] == "best").unwrap();
    assert_eq!(best["providers"], serde_json::json!(["p1", "p0"]));
    drop(client);
    gateway.stop().await;
}

/// S1.12: a provider of the preferred region serves; others serve when it fails.
#[tokio::test]
async fn the_nearest_region() {
    let (far, near) = (
        serving(),
        Upstream::in_turn(Speaks::H1, vec![script::sse(script::short_stream()), vec![Step::Close]]),
    );
    let gateway = Plan::to(&[&far, &near])
        .with(|settings| {
            settings.routing.regions = vec!["here".into()];
            settings.providers[1].region = Some("here".into());
        })
        .start()
        .await;
    assert_eq!(served(&gateway, Call::stream()).await, "p1");
    assert_eq!(served(&gateway, Call::stream()).await, "p0");
    gateway.stop().await;
}

/// B21, R36: a conversation stays at its provider, and conversations are spread over the providers; in a race
/// there is no such preference.
#[tokio::test]
async fn a_conversation_stays_at_its_provider() {
    let upstreams = [serving(), serving(), serving()];
    let plan = Plan::to(&[&upstreams[0], &upstreams[1], &upstreams[2]]);
    let gateway = plan.with(|settings| settings.routing.strategy = Strategy::Weighted).start().await;
    let mut seen = std::collections::BTreeSet::new();
    for session in 0..12 {
        let call = || Call::stream().header("x-session-id", &format!("conversation-{session}"));
        let first = served(&gateway, call()).await;
        for _ in 0..3 {
            assert_eq!(served(&gateway, call()).await, first);
        }
        seen.insert(first);
    }
    assert!(seen.len() > 1, "all at {seen:?}");
    gateway.stop().await;
}

/// B7: the conversations of real agents, each named in its own way, stay at their providers.
#[tokio::test]
async fn an_agents_conversation_stays_at_its_provider() {
    let upstreams = [serving(), serving(), serving()];
    let plan = Plan::to(&[&upstreams[0], &upstreams[1], &upstreams[2]]);
    let gateway = plan.with(|settings| settings.routing.strategy = Strategy::Weighted).start().await;
    for header in ["x-claude-code-session-id", "session-id", "thread-id", "x-session-affinity"] {
        let mut seen = std::collections::BTreeSet::new();
        for session in 0..12 {
            let call = || Call::stream().header(header, &format!("conversation-{session}"));
            let first = served(&gateway, call()).await;
            assert_eq!(served(&gateway, call()).await, first, "{header}");
            seen.insert(first);
        }
        assert!(seen.len() > 1, "all at {seen:?}");
    }
    for member in [r#""prompt_cache_key":"ID""#, r#""metadata":{"user_id":"user_1_session_ID"}"#] {
        let mut seen = std::collections::BTreeSet::new();
        for session in 0..12 {
            let member = member.replace("ID", &session.to_string());
            let body = format!(r#"{{"model":"m","stream":true,{member},"messages":[]}}"#);
            let call = || Call::post("/v1/chat/completions", body.clone());
            let first = served(&gateway, call()).await;
            assert_eq!(served(&gateway, call()).await, first, "{member}");
            seen.insert(first);
        }
        assert!(seen.len() > 1, "all at {seen:?}");
    }
    gateway.stop().await;
}

/// S1.14: repeated failures trip a provider's breaker. After its cool-down one request probes it, and a
/// success closes the breaker.
#[tokio::test]
async fn a_breaker_trips_and_closes_again() {
    const COOL_DOWN: Duration = Duration::from_millis(200);
    let failing = script::json(500, r#"{"error":{"message":"no"}}"#);
    let good = script::sse(script::short_stream());
    let first = Upstream::in_turn(Speaks::H1, vec![failing.clone(), failing, good]);
    let second = serving();
    let gateway = Plan::to(&[&first, &second])
        .with(|settings| {
            settings.routing.breaker.failures = 2;
            settings.routing.breaker.cool_down = COOL_DOWN;
        })
        .start()
        .await;
    for _ in 0..4 {
        assert_eq!(served(&gateway, Call::stream()).await, "p1");
    }
    assert_eq!(first.log.requests(), 2, "tripped");
    // The cool-down has a jitter of half its length.
    tokio::time::sleep(COOL_DOWN * 3 / 2).await;
    assert_eq!(served(&gateway, Call::stream()).await, "p0");
    assert_eq!(served(&gateway, Call::stream()).await, "p0");
    gateway.stop().await;
}

/// B5: a model may have a commit point of its own.
#[tokio::test]
async fn a_models_own_commit_point() {
    let error = "data: {\"error\":{\"message\":\"overloaded\"}}\n\n";
    let first = Upstream::always(Speaks::H1, vec![sse_head(), script::body(error), Step::End]);
    let second = serving();
    let gateway = Plan::to(&[&first, &second])
        .with(|settings| {
            settings.routing.models.push(ModelRule { name: "m".into(), ..ModelRule::default() });
            settings.commits.insert("m".into(), CommitPoint::Headers);
        })
        .start()
        .await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::stream()).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-provider")), (200, "p0"));
    assert_eq!(answer.collect().await.text(), error);
    drop(client);
    gateway.stop().await;
}
