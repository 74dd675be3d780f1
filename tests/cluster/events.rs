//! `/events?scope=cluster`: the events of all gateways that share a Redis in one stream, each with the name
//! of its gateway.

use std::time::Duration;

use serde_json::Value;
use thalweg::{
    auth::TokenSettings,
    base::Secret,
    cluster::{RedisSettings, RedisUrl},
};

use super::server::RedisServer;
use crate::{
    client::{Answer, Call, Version},
    gateway::{Gateway, Plan},
    operators::{events::next, statistics::ADMIN},
    upstream::{Speaks, Upstream, script},
};

pub async fn replica(upstream: &Upstream, url: Option<RedisUrl>, name: &str) -> Gateway {
    let plan = crate::operators::statistics::plan(&[upstream]).with(|settings| {
        settings.instance = Some(name.to_owned());
        let other = TokenSettings::plain("other", Secret::new("sk-other".to_owned()));
        settings.tokens.push(other);
        settings.redis = url.map(|url| RedisSettings { cache: None, ..RedisSettings::plain(url) });
    });
    let plan: Plan = plan;
    plan.start().await
}

pub fn with(key: &str, call: Call) -> Call {
    call.header("authorization", &format!("Bearer {key}"))
}

/// Asks this gateway with this key until the feed has a row of it: events pass from the moment on at which
/// the other gateway knows of the subscriber.
async fn until_row(gateway: &Gateway, key: &str, feed: &mut Answer, rest: &mut String, name: &str) -> Value {
    let mut client = gateway.client(Version::H1).await;
    let asking = async {
        loop {
            client.send(with(key, Call::whole())).await.collect().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let reading = async {
        loop {
            let row = next(feed, rest, "row").await;
            if row["instance"] == name {
                return row;
            }
        }
    };
    tokio::select! {
        () = asking => unreachable!("it asks for ever"),
        row = reading => row,
        () = tokio::time::sleep(Duration::from_secs(10)) => panic!("no row of {name}"),
    }
}

/// Rows of both gateways come, also when Redis was away meanwhile; the stream says when the others' are
/// missing, and goes on with its own. A key sees its own rows alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_all_gateways_are_one_stream() {
    let Some(mut server) = RedisServer::start(&[]).await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let one = replica(&upstream, Some(server.url()), "one").await;
    let two = replica(&upstream, Some(server.url()), "two").await;
    let (mut watching, mut spying) = (one.client(Version::H1).await, one.client(Version::H1).await);
    let call = || Call::get("/events?scope=cluster");
    let mut feed = watching.send(with(ADMIN, call())).await;
    let mut own = spying.send(with("sk-other", call())).await;
    let (mut rest, mut own_rest) = (String::new(), String::new());
    let row = until_row(&two, ADMIN, &mut feed, &mut rest, "two").await;
    assert_eq!((&row["principal"], &row["status"]), (&"admin".into(), &200.into()), "{row}");
    assert_eq!(next(&mut feed, &mut rest, "stats").await["instance"].as_str().map(str::len), Some(3));
    until_row(&one, ADMIN, &mut feed, &mut rest, "one").await;
    let row = until_row(&two, "sk-other", &mut own, &mut own_rest, "two").await;
    assert_eq!(row["principal"], "other", "rows of another key came before: {row}");
    assert!(!own_rest.contains("event: stats"), "{own_rest}");
    server.kill();
    let said = next(&mut feed, &mut rest, "replicas").await;
    assert_eq!((&said["others"], &said["instance"]), (&"missing".into(), &"one".into()), "{said}");
    assert!(said["reason"].as_str().unwrap().starts_with("Redis: "), "{said}");
    until_row(&one, ADMIN, &mut feed, &mut rest, "one").await;
    server.start_again().await;
    assert_eq!(next(&mut feed, &mut rest, "replicas").await["others"], "present");
    until_row(&two, ADMIN, &mut feed, &mut rest, "two").await;
    drop((feed, own, watching, spying));
    one.stop().await;
    two.stop().await;
}

/// Nothing is published while nothing subscribes, nor for subscribers to one gateway's events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_published_without_a_subscriber() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let one = replica(&upstream, Some(server.url()), "one").await;
    let two = replica(&upstream, Some(server.url()), "two").await;
    super::limits::until_known(&server, 2).await;
    let mut watching = one.client(Version::H1).await;
    let mut feed = watching.send(with(ADMIN, Call::get("/events?running=true"))).await;
    let mut rest = String::new();
    let mut client = two.client(Version::H1).await;
    let ends = tokio::time::Instant::now() + Duration::from_millis(1500);
    while tokio::time::Instant::now() < ends {
        client.send(Call::whole()).await.collect().await;
    }
    until_row(&one, ADMIN, &mut feed, &mut rest, "one").await;
    assert!(!rest.contains(r#""instance":"two""#), "{rest}");
    for keys in ["thalweg:1:{events}*", "thalweg:1:{running}*"] {
        let stored = server.ask(&["KEYS", keys]).await;
        assert!(stored.contains("*0"), "{stored}");
    }
    drop((feed, watching, client));
    one.stop().await;
    two.stop().await;
}

/// Without Redis the stream says that it has no other gateway's events; another scope is refused.
#[tokio::test]
async fn without_redis_events_are_those_of_one_gateway() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = replica(&upstream, None, "alone").await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(with(ADMIN, Call::get("/events?scope=all"))).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.collect().await.json()["error"]["code"], "invalid_query");
    let mut feed = client.send(with(ADMIN, Call::get("/events?scope=cluster"))).await;
    let mut rest = String::new();
    let said = next(&mut feed, &mut rest, "replicas").await;
    assert_eq!(said["reason"], "no Redis is configured", "{said}");
    until_row(&gateway, ADMIN, &mut feed, &mut rest, "alone").await;
    drop((feed, client));
    gateway.stop().await;
}
