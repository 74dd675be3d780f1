//! Pauses that one gateway learns hold at the others, and a check by one serves all.

use std::time::Duration;

use thalweg::{
    cluster::{RedisSettings, RedisUrl},
    routing::HealthSettings,
};

use super::server::RedisServer;
use crate::{
    client::{Call, Client, Version},
    gateway::{Gateway, Plan},
    upstream::{Framing, Speaks, Step, Upstream, log::in_time, script},
};

const EMBEDDING: &str =
    r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"model":"m"}"#;

async fn replica(upstreams: &[&Upstream], url: &RedisUrl, health: Option<HealthSettings>) -> Gateway {
    let plan = Plan::to(upstreams).with(|settings| {
        settings.redis = Some(RedisSettings {
            cache: None,
            wait: Duration::from_secs(1),
            ..RedisSettings::plain(url.clone())
        });
        settings.health = health.unwrap_or(settings.health);
    });
    plan.start().await
}

/// Waits until `/health` of this gateway has these words.
async fn until_health_says(gateway: &Gateway, words: &str) {
    let said = async {
        let mut client = gateway.client(Version::H1).await;
        loop {
            let health = client.send(Call::get("/health")).await.collect().await;
            if health.text().contains(words) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    in_time(said).await.unwrap_or_else(|_| panic!("/health never says {words}"));
}

fn limited() -> Upstream {
    let head = Step::Head {
        status: 429,
        headers: vec![("retry-after".into(), "60".into())],
        framing: Framing::Length(0),
    };
    Upstream::always(Speaks::H1, vec![head, Step::End])
}

/// A provider that requests a pause of one gateway gets no request from another one, also from one that
/// starts later, and when Redis came back empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_that_one_learns_all_know() {
    let Some(mut server) = RedisServer::start(&[]).await else { return };
    let second = Upstream::always(Speaks::H1, script::sse(script::short_stream()));
    let first = limited();
    let (one, other) = (
        replica(&[&first, &second], &server.url(), None).await,
        replica(&[&first, &second], &server.url(), None).await,
    );
    let mut client = one.client(Version::H1).await;
    let answer = client.send(Call::stream()).await;
    assert_eq!(answer.header("x-thalweg-attempts"), "2");
    answer.collect().await;
    drop(client);
    until_health_says(&other, "resting").await;
    server.kill();
    server.start_again().await;
    let late = replica(&[&first, &second], &server.url(), None).await;
    until_health_says(&late, "resting").await;
    for gateway in [&other, &late] {
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::stream()).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-attempts")), (200, "1"));
        answer.collect().await;
    }
    assert_eq!(first.log.requests(), 1);
    let stored = server.ask(&["HKEYS", "thalweg:1:{facts}"]).await;
    assert!(stored.contains("rest") && !stored.contains(crate::gateway::PROVIDER_KEY), "{stored}");
    for gateway in [one, other, late] {
        gateway.stop().await;
    }
}

/// Three gateways check a provider about as often as one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_by_one_serves_all() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let upstream =
        Upstream::always(Speaks::H1, script::json(200, r#"{"object":"list","data":[{"id":"m"}]}"#));
    let health = HealthSettings {
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(2),
        refresh: Duration::from_secs(3600),
        precheck: 0,
        warmup: 0,
    };
    let mut gateways = Vec::new();
    for _ in 0..3 {
        gateways.push(replica(&[&upstream], &server.url(), Some(health)).await);
    }
    // Each reads the list at its start. In 12 s follow six checks by one of them; eighteen
    // without sharing.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let checks = upstream.log.requests();
    assert!((6..=15).contains(&checks), "{checks} checks");
    for gateway in gateways {
        gateway.stop().await;
    }
}

/// A list of models that one gateway reads is taken by the others: the provider is asked once in the time
/// that a list is kept, and a new model is known to all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_one_reads_serves_all() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let upstream = Upstream::by(Speaks::H1, |number, _| {
        let list = format!(r#"{{"object":"list","data":[{{"id":"m"}},{{"id":"new-{}"}}]}}"#, number / 3);
        script::json(200, list)
    });
    // No checks but for the list.
    let health = HealthSettings {
        interval: Duration::ZERO,
        timeout: Duration::from_secs(2),
        refresh: Duration::from_secs(5),
        precheck: 0,
        warmup: 0,
    };
    let mut gateways = Vec::new();
    for _ in 0..3 {
        let plan = Plan::to(&[&upstream]).with(|settings| {
            let redis = RedisSettings::plain(server.url());
            settings.redis = Some(RedisSettings { cache: None, wait: Duration::from_secs(1), ..redis });
            settings.health = health;
            settings.providers[0].models = None;
        });
        gateways.push(plan.start().await);
        // As gateways that are replaced one after the other.
        tokio::time::sleep(Duration::from_millis(1300)).await;
    }
    // One reads the list at first, and then every five seconds, though Redis often answers late: three times
    // in all, or six times if two began before they knew of each other. Without sharing there are nine
    // readings.
    for _ in 0..14 {
        server.freeze();
        tokio::time::sleep(Duration::from_millis(400)).await;
        server.go_on();
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let lists = upstream.log.requests();
    assert!((3..=6).contains(&lists), "{lists} readings");
    let newest = format!("new-{}", (lists - 1) / 3);
    for gateway in &gateways {
        let known = async {
            loop {
                let mut client = gateway.client(Version::H1).await;
                let page = client.send(Call::get("/v1/models")).await.collect().await.text();
                if page.contains(&newest) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        in_time(known).await.expect("the newest list");
    }
    for gateway in gateways {
        gateway.stop().await;
    }
}

/// An endpoint that one gateway has found missing is not asked by another one; nor is a model whose breaker
/// has tripped at one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_endpoint_and_a_trip_pass_to_the_others() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    // Lacks embeddings, and fails at all else.
    let first = Upstream::by(Speaks::H1, |_, seen| match seen.target.ends_with("/embeddings") {
        true => script::json(404, r#"{"detail":"Not Found"}"#),
        false => script::json(500, r#"{"error":{"message":"no"}}"#),
    });
    let second = Upstream::by(Speaks::H1, |_, seen| match seen.target.ends_with("/embeddings") {
        true => script::json(200, EMBEDDING),
        false => script::json(200, script::COMPLETION),
    });
    let mut gateways = Vec::new();
    for _ in 0..2 {
        let plan = Plan::to(&[&first, &second]).with(|settings| {
            let redis = RedisSettings::plain(server.url());
            settings.redis = Some(RedisSettings { cache: None, wait: Duration::from_secs(1), ..redis });
            settings.routing.breaker.failures = 3;
            settings.routing.breaker.cool_down = Duration::from_secs(60);
        });
        gateways.push(plan.start().await);
    }
    let embed = || Call::post("/v1/embeddings", r#"{"model":"m","input":"a"}"#);
    let mut client = gateways[0].client(Version::H1).await;
    assert_eq!(attempts(&mut client, embed()).await, "2");
    until_health_says(&gateways[1], r#""missing_endpoints":["embeddings"]"#).await;
    for _ in 0..3 {
        assert_eq!(attempts(&mut client, Call::whole()).await, "2");
    }
    until_health_says(&gateways[1], r#""tripped_at":["chat"]"#).await;
    let asked = first.log.requests();
    assert_eq!(asked, 4);
    let mut other = gateways[1].client(Version::H1).await;
    assert_eq!(attempts(&mut other, embed()).await, "1");
    assert_eq!(attempts(&mut other, Call::whole()).await, "1");
    assert_eq!(first.log.requests(), asked);
    drop((client, other));
    for gateway in gateways {
        gateway.stop().await;
    }
}

/// Sends a request that succeeds: at how many candidates.
async fn attempts(client: &mut Client, call: Call) -> String {
    let answer = client.send(call).await;
    assert_eq!(answer.status.as_u16(), 200);
    let attempts = answer.header("x-thalweg-attempts").to_owned();
    answer.collect().await;
    attempts
}
