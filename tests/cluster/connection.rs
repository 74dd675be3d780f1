//! The connection to Redis: nothing waits for it, an outage is one line, the gauge tells it, and no password
//! shows anywhere.

use std::time::Duration;

use thalweg::{
    auth::{TokenSettings, limit::WhenAlone},
    base::Secret,
    cluster::{RedisSettings, RedisUrl},
};

use super::server::RedisServer;
use crate::{
    client::{Call, Version, call::TOKEN},
    clients::keys::requests,
    free_port::free_port,
    gateway::{Gateway, Plan},
    journal,
    upstream::{Speaks, Upstream, log::in_time, script},
};

async fn with_redis(upstream: &Upstream, settings: RedisSettings) -> Gateway {
    let token = TokenSettings { admin: true, ..TokenSettings::plain("op", Secret::new(TOKEN.to_owned())) };
    let plan = Plan::to(&[upstream]).with(|all| {
        all.tokens = vec![token];
        all.redis = Some(settings);
    });
    plan.start().await
}

async fn page(gateway: &Gateway, path: &str) -> String {
    let mut client = gateway.client(Version::H1).await;
    client.send(Call::get(path)).await.collect().await.text()
}

/// Waits until the page has this line.
pub async fn until_page(gateway: &Gateway, path: &str, line: &str) -> String {
    let found = async {
        loop {
            let text = page(gateway, path).await;
            if text.contains(line) {
                return text;
            }
            // Another process's state sends no event.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time(found).await.unwrap_or_else(|_| panic!("{path} never had {line}"))
}

/// Waits until so many lines of the log have both texts.
pub async fn until_logged(texts: [&str; 2], count: usize) {
    let found = async {
        while journal::count(texts) < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    in_time(found).await.unwrap_or_else(|_| panic!("never logged: {texts:?}"));
}

/// A server that is not there delays neither the start nor readiness nor a request; it is logged once,
/// without its password.
#[tokio::test]
async fn nothing_waits_for_a_server_that_is_away() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let port = free_port();
    let url = RedisUrl::parse(&format!("redis://u:s3cret-of-redis@127.0.0.1:{port}")).unwrap();
    let gateway = with_redis(&upstream, RedisSettings { cache: None, ..RedisSettings::plain(url) }).await;
    let mut client = gateway.client(Version::H1).await;
    for call in [Call::get("/readyz"), Call::whole()] {
        let answer = client.send(call).await;
        assert_eq!(answer.status.as_u16(), 200);
        answer.collect().await;
    }
    let at = format!("127.0.0.1:{port}");
    until_logged(["Redis is away", &at], 1).await;
    until_page(&gateway, "/metrics", "thalweg_redis_up{purpose=\"limits\"} 0").await;
    let stats: serde_json::Value = serde_json::from_str(&page(&gateway, "/stats").await).unwrap();
    assert_eq!(stats["redis"]["limits"]["up"], false);
    for path in ["/health", "/stats", "/metrics"] {
        assert!(!page(&gateway, path).await.contains("s3cret-of-redis"), "{path}");
    }
    assert!(!journal::mentions("s3cret-of-redis"));
    assert_eq!(journal::count(["Redis is away", &at]), 1);
    drop(client);
    gateway.stop().await;
}

/// A server that dies and comes back is one line each; so is one that takes no writes any more.
#[tokio::test]
async fn an_outage_is_one_line_and_its_end_another() {
    let Some(mut server) = RedisServer::start(&["--requirepass", "s3cret-of-server"]).await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let settings = RedisSettings { pool_size: 2, ..RedisSettings::plain(server.url()) };
    let gateway = with_redis(&upstream, settings).await;
    let up = |purpose: &str, up: u8| format!("thalweg_redis_up{{purpose=\"{purpose}\"}} {up}\n");
    until_page(&gateway, "/metrics", &up("limits", 1)).await;
    until_page(&gateway, "/metrics", &up("cache", 1)).await;
    let at = format!("127.0.0.1:{}", server.port);
    for outage in 1..=2 {
        server.kill();
        until_page(&gateway, "/metrics", &up("limits", 0)).await;
        until_logged(["Redis is away", &at], 2 * outage).await;
        server.start_again().await;
        until_page(&gateway, "/metrics", &up("limits", 1)).await;
        until_page(&gateway, "/metrics", &up("cache", 1)).await;
    }
    // Turned into a replica, as in a failover.
    let answer = server.ask(&["REPLICAOF", "127.0.0.1", "1"]).await;
    assert!(answer.starts_with("+OK\r\n+OK"), "{answer}");
    until_logged(["Redis is away", &at], 6).await;
    until_page(&gateway, "/metrics", &up("limits", 0)).await;
    server.ask(&["REPLICAOF", "NO", "ONE"]).await;
    until_page(&gateway, "/metrics", &up("limits", 1)).await;
    until_page(&gateway, "/metrics", &up("cache", 1)).await;
    server.freeze();
    until_logged(["Redis is away", &at], 8).await;
    until_page(&gateway, "/metrics", &up("limits", 0)).await;
    server.go_on();
    until_page(&gateway, "/metrics", &up("limits", 1)).await;
    until_page(&gateway, "/metrics", &up("cache", 1)).await;
    assert_eq!(journal::count(["Redis is away", &at]), 8);
    assert!(!journal::mentions("s3cret-of-server"));
    gateway.stop().await;
}

/// A server that answers and refuses writes, because its memory is full or it has no replica, is away: limits
/// hold as without it, at once, and one line of the log says so.
#[tokio::test]
async fn a_server_that_refuses_writes_is_away() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let key = format!("{TOKEN}-limited");
    let limited =
        TokenSettings { limits: requests(5000), ..TokenSettings::plain("a", Secret::new(key.clone())) };
    let operator = TokenSettings { admin: true, ..TokenSettings::plain("op", Secret::new(TOKEN.to_owned())) };
    // Far above the time in which an answer without Redis is there.
    let wait = Duration::from_secs(60);
    let plan = Plan::to(&[&upstream]).with(|all| {
        all.tokens = vec![limited, operator];
        all.redis = Some(RedisSettings { cache: None, wait, ..RedisSettings::plain(server.url()) });
        all.when_alone = WhenAlone::Closed;
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let mut asked = async || {
        let call = Call::whole().header("authorization", &format!("Bearer {key}"));
        let answer = in_time(client.send(call)).await.expect("an answer before the wait is over");
        let status = answer.status.as_u16();
        answer.collect().await;
        status
    };
    let at = format!("127.0.0.1:{}", server.port);
    for (number, (name, refuses)) in [("maxmemory", "1"), ("min-replicas-to-write", "1")].iter().enumerate() {
        until_page(&gateway, "/metrics", "thalweg_redis_up{purpose=\"limits\"} 1\n").await;
        assert_eq!(asked().await, 200);
        server.ask(&["CONFIG", "SET", name, refuses]).await;
        until_page(&gateway, "/metrics", "thalweg_redis_up{purpose=\"limits\"} 0\n").await;
        until_logged(["Redis is away", &at], number + 1).await;
        let closed = async {
            // The last grant lives for three seconds.
            while asked().await == 200 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        in_time(closed).await.expect("no grant is left");
        assert_eq!(asked().await, 503);
        server.ask(&["CONFIG", "SET", name, "0"]).await;
        until_page(&gateway, "/metrics", "thalweg_redis_up{purpose=\"limits\"} 1\n").await;
        assert_eq!(asked().await, 200);
        assert_eq!(journal::count(["Redis is away", &at]), number + 1, "one line each");
    }
    drop(client);
    gateway.stop().await;
}

/// The reason of a refusal is logged, and a policy that forgets limits is warned about.
#[tokio::test]
async fn the_log_says_why_and_warns_of_evictions() {
    let Some(server) = RedisServer::start(&["--requirepass", "s3cret-of-server"]).await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let at = format!("127.0.0.1:{}", server.port);
    let wrong = RedisUrl::parse(&format!("redis://:s3cret-wrong@{at}")).unwrap();
    let gateway = with_redis(&upstream, RedisSettings { cache: None, ..RedisSettings::plain(wrong) }).await;
    until_logged(["AuthenticationFailed", &at], 1).await;
    gateway.stop().await;
    server.ask(&["CONFIG", "SET", "maxmemory", "100mb"]).await;
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    let gateway = with_redis(&upstream, RedisSettings::plain(server.url())).await;
    until_logged(["this Redis forgets limits", &at], 1).await;
    gateway.stop().await;
    assert_eq!(journal::count(["this Redis forgets limits", &at]), 1);
    assert!(!journal::mentions("s3cret-wrong") && !journal::mentions("s3cret-of-server"));
}
