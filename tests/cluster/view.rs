//! One view of several gateways: `/stats?scope=cluster` adds up all that share a Redis, and each has a name.

use std::time::Duration;

use serde_json::Value;
use thalweg::{
    auth::TokenSettings,
    base::Secret,
    cluster::{RedisSettings, RedisUrl},
};

use super::server::RedisServer;
use crate::{
    client::{Call, Version, call::TOKEN},
    free_port::free_port,
    gateway::{Gateway, Plan},
    upstream::{Speaks, Upstream, log::in_time, script},
};

const INDEX: &str = "thalweg:1:{stats}";

async fn replica(upstream: &Upstream, url: Option<RedisUrl>, name: Option<&str>) -> Gateway {
    let token = TokenSettings { admin: true, ..TokenSettings::plain("op", Secret::new(TOKEN.to_owned())) };
    let plan = Plan::to(&[upstream]).with(|all| {
        all.tokens = vec![token];
        all.instance = name.map(str::to_owned);
        all.redis = url.map(|url| RedisSettings { cache: None, ..RedisSettings::plain(url) });
    });
    plan.start().await
}

async fn page(gateway: &Gateway, path: &str) -> String {
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::get(path)).await;
    assert_eq!(answer.status.as_u16(), 200, "{path}");
    answer.collect().await.text()
}

async fn stats(gateway: &Gateway, scope: &str) -> Value {
    serde_json::from_str(&page(gateway, &format!("/stats?scope={scope}")).await).unwrap()
}

/// Waits for statistics of the cluster that fulfil `wanted`.
async fn until(gateway: &Gateway, wanted: impl Fn(&Value) -> bool) -> Value {
    let found = async {
        loop {
            let stats = stats(gateway, "cluster").await;
            if wanted(&stats) {
                return stats;
            }
            // Another replica's document sends no event.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match in_time(found).await {
        Ok(stats) => stats,
        Err(_) => panic!("{:#}", stats(gateway, "cluster").await),
    }
}

async fn ask(gateway: &Gateway, count: usize) {
    let mut client = gateway.client(Version::H1).await;
    for _ in 0..count {
        let answer = client.send(Call::whole()).await;
        assert_eq!(answer.status.as_u16(), 200);
        answer.collect().await;
    }
}

fn names(stats: &Value) -> Vec<&str> {
    let replicas = stats["replicas"].as_array().unwrap().iter();
    let mut names: Vec<_> = replicas.map(|replica| replica["instance"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

/// Counts are the sum of those of both, times have the counts of both, and who asked whom does not matter. A
/// gateway that stops is gone at once; its document would have ended by itself.
#[tokio::test]
async fn the_statistics_of_all_are_one() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let one = replica(&upstream, Some(server.url()), Some("one")).await;
    let two = replica(&upstream, Some(server.url()), Some("two")).await;
    ask(&one, 3).await;
    ask(&two, 25).await;
    for gateway in [&one, &two] {
        let is_whole = |stats: &Value| stats["models"]["m"]["requests"] == 28;
        let all = until(gateway, is_whole).await;
        assert_eq!((&all["scope"], names(&all)), (&"cluster".into(), vec!["one", "two"]));
        assert!(all["replicas"].as_array().unwrap().iter().all(|replica| replica["up"] == true));
        let model = &all["models"]["m"];
        assert_eq!((&model["done"], &model["total_ms"]["1m"]["count"]), (&28.into(), &28.into()));
        assert_eq!(all["providers"]["p0"]["requests"], 28);
        let candidate = &all["candidates"][0];
        assert_eq!((&candidate["requests"], &candidate["breakers"]["admitting"]), (&28.into(), &2.into()));
        assert!(candidate["whole_answer_p50_ms"].is_number(), "{candidate}");
    }
    let own = stats(&one, "instance").await;
    assert_eq!((&own["instance"], &own["models"]["m"]["requests"]), (&"one".into(), &3.into()));
    let keys = server.ask(&["KEYS", "thalweg:1:{stats}:two*"]).await;
    let key = keys.lines().find(|line| line.starts_with(INDEX)).unwrap().to_owned();
    let life = server.ask(&["PTTL", &key]).await;
    let life: u64 = life.lines().next().unwrap()[1..].parse().unwrap();
    assert!((1..=10_000).contains(&life), "{life}");
    two.stop().await;
    let rest = until(&one, |stats| names(stats) == ["one"]).await;
    assert_eq!(rest["models"]["m"]["requests"], 3);
    one.stop().await;
}

/// A place of a replica that died is forgotten, and one of another version is named and not counted.
#[tokio::test]
async fn dead_and_foreign_replicas_are_not_counted() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = replica(&upstream, Some(server.url()), None).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let at = |ago: Duration| (now.saturating_sub(ago)).as_millis().to_string();
    for (place, ago, document) in [
        ("dead:1", Duration::from_secs(11), "thalweg-stats-1 dead 0.1.0 1\n"),
        ("silent:1", Duration::from_secs(1), ""),
        ("newer:1", Duration::from_secs(1), "thalweg-stats-9 newer 9.0.0 1\nx"),
        ("broken:1", Duration::from_secs(1), "thalweg-stats-1 broken 0.1.0 1\nx"),
    ] {
        server.ask(&["HSET", INDEX, place, &at(ago)]).await;
        if !document.is_empty() {
            server.ask(&["SET", &format!("{INDEX}:{place}"), document]).await;
        }
    }
    let all = until(&gateway, |stats| stats["scope"] == "cluster").await;
    assert_eq!(all["replicas"].as_array().unwrap().len(), 1, "{all:#}");
    let mut skipped: Vec<_> = all["skipped"].as_array().unwrap().iter().map(|one| &one["instance"]).collect();
    skipped.sort_unstable_by_key(|name| name.to_string());
    assert_eq!(skipped, ["broken", "newer"]);
    let places = server.ask(&["HKEYS", INDEX]).await;
    assert!(!places.contains("dead:1") && places.contains("newer:1"), "{places}");
    gateway.stop().await;
}

/// Without Redis, and while it is away, a gateway shows its own figures and says so.
#[tokio::test]
async fn without_redis_a_gateway_shows_its_own_figures() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let away = RedisUrl::parse(&format!("redis://127.0.0.1:{}", free_port())).unwrap();
    for (url, reason) in [(None, "no Redis is configured"), (Some(away), "Redis: there is no connection")] {
        let gateway = replica(&upstream, url, Some("alone")).await;
        let own = stats(&gateway, "cluster").await;
        assert_eq!((&own["scope"], &own["reason"]), (&"instance".into(), &reason.into()));
        assert_eq!(names(&own), ["alone"]);
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(Call::get("/stats?scope=all")).await;
        assert_eq!(answer.status.as_u16(), 400);
        assert_eq!(answer.collect().await.json()["error"]["code"], "invalid_query");
        drop(client);
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_replica_has_a_name_and_a_restarted_one_another() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let mut seen = Vec::new();
    for name in [None, None, Some("pod-7")] {
        let gateway = replica(&upstream, None, name).await;
        let health: Value = serde_json::from_str(&page(&gateway, "/health").await).unwrap();
        let shown = health["instance"].as_str().unwrap().to_owned();
        assert_eq!(stats(&gateway, "instance").await["instance"], shown.as_str());
        let info = format!("thalweg_instance_info{{instance=\"{shown}\",version=");
        assert!(page(&gateway, "/metrics").await.contains(&info));
        seen.push(shown);
        gateway.stop().await;
    }
    assert!(seen[0] != seen[1] && seen[2] == "pod-7", "{seen:?}");
}
