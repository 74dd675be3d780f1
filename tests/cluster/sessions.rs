//! Sessions of the pages over all gateways that share a Redis: a balancer sends a browser's requests to any
//! of them.

use std::time::Duration;

use http::Method;
use thalweg::cluster::{RedisSettings, RedisUrl};

use super::{connection::until_page, server::RedisServer};
use crate::{
    client::{Call, Client, Version},
    gateway::Gateway,
    operators::{
        sessions::{asking, got, page, signed_in, status},
        statistics::{ADMIN, plan},
    },
    upstream::{Speaks, Upstream, script},
};

async fn replica(upstream: &Upstream, url: RedisUrl) -> Gateway {
    let plan = plan(&[upstream]).with(|settings| {
        settings.redis = Some(RedisSettings::plain(url));
        settings.telemetry.public_metrics = true;
    });
    let gateway = plan.start().await;
    until_page(&gateway, "/metrics", UP).await;
    gateway
}

const UP: &str = "thalweg_redis_up{purpose=\"limits\"} 1";
const DOWN: &str = "thalweg_redis_up{purpose=\"limits\"} 0";

/// Whether this gateway takes the cookie for a session.
async fn knows(client: &mut Client, cookie: &str) -> bool {
    let (status, _, session) = got(client, asking("/session", cookie)).await;
    assert_eq!(status, 200);
    session["signed_in"] == true
}

async fn until(client: &mut Client, cookie: &str, known: bool) {
    for _ in 0..200 {
        if knows(client, cookie).await == known {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not {known} within ten seconds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_counts_at_all_gateways_until_one_ends_it() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let (one, two) = (replica(&upstream, server.url()).await, replica(&upstream, server.url()).await);
    let (mut at_one, mut at_two) = (one.client(Version::H1).await, two.client(Version::H2).await);

    let cookie = signed_in(&mut at_one, ADMIN).await;
    assert_eq!(status(&mut at_two, asking("/stats", &cookie)).await, 200, "the first request there");
    let ask = page(Method::POST, "/v1/chat/completions")
        .header("cookie", &cookie)
        .header("content-type", "application/json");
    let ask = Call { body: r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#.into(), ..ask };
    assert_eq!(status(&mut at_two, ask).await, 200, "the playground");
    assert!(!knows(&mut at_two, &format!("{cookie}0")).await);

    let names = server.ask(&["KEYS", "*1:session:*"]).await;
    let (_, secret) = cookie.split_once('=').unwrap();
    assert!(names.contains(":session:") && !names.contains(secret), "{names}");
    let name = names.split_whitespace().find(|word| word.contains(":session:")).unwrap();
    let value = server.ask(&["GET", name]).await;
    assert!(!value.contains(secret) && !value.contains(ADMIN), "{value}");
    assert!(!server.ask(&["TTL", name]).await.contains('-'));

    let mut watching = one.client(Version::H1).await;
    let mut feed = watching.send(asking("/events?all=true", &cookie)).await;
    assert_eq!((feed.status.as_u16(), feed.header("x-accel-buffering")), (200, "no"));
    assert!(feed.next().await.is_some());

    let out = page(Method::DELETE, "/session").header("cookie", &cookie);
    assert_eq!(status(&mut at_two, out).await, 200);
    // No further request shows the cookie at the first gateway, and nothing more goes to its feed.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(status(&mut at_one, Call::whole()).await, 200);
    assert!(feed.next().await.is_none(), "the feed goes on");
    assert!(!knows(&mut at_two, &cookie).await);
    until(&mut at_one, &cookie, false).await;
    assert_eq!(status(&mut at_one, asking("/stats", &cookie)).await, 401);
    drop((feed, watching, at_one, at_two));
    for gateway in [one, two] {
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_outlives_a_redis_that_comes_back_empty_or_not_at_all() {
    let Some(mut server) = RedisServer::start(&[]).await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let (one, two) = (replica(&upstream, server.url()).await, replica(&upstream, server.url()).await);
    let (mut at_one, mut at_two) = (one.client(Version::H1).await, two.client(Version::H1).await);
    let cookie = signed_in(&mut at_one, ADMIN).await;
    server.ask(&["FLUSHALL"]).await;
    let (asking_one, found_by_two) = (
        async {
            loop {
                assert!(knows(&mut at_one, &cookie).await);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        },
        until(&mut at_two, &cookie, true),
    );
    tokio::select! {
        () = asking_one => unreachable!("it asks for ever"),
        () = found_by_two => {}
    }
    // The last question may have been left under way, and its connection with it.
    at_one = one.client(Version::H1).await;
    server.kill();
    until_page(&one, "/metrics", DOWN).await;
    let later = signed_in(&mut at_one, ADMIN).await;
    assert!(knows(&mut at_one, &cookie).await && knows(&mut at_one, &later).await);
    assert!(!knows(&mut at_two, &later).await, "it is of one gateway while Redis is away");
    drop((at_one, at_two));
    for gateway in [one, two] {
        gateway.stop().await;
    }
}

/// A sign-out counts at its own gateway at once although Redis can be read and not written, and at all as
/// soon as it can be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_out_counts_although_redis_cannot_be_written() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let (one, two) = (replica(&upstream, server.url()).await, replica(&upstream, server.url()).await);
    let (mut at_one, mut at_two) = (one.client(Version::H1).await, two.client(Version::H1).await);
    let (cookie, other) = (signed_in(&mut at_one, ADMIN).await, signed_in(&mut at_one, ADMIN).await);
    assert!(knows(&mut at_two, &cookie).await);
    server.ask(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    let out = page(Method::DELETE, "/session").header("cookie", &cookie);
    assert_eq!(status(&mut at_one, out).await, 200);
    for _ in 0..3 {
        assert!(!knows(&mut at_one, &cookie).await, "the store still has it as open");
        assert_eq!(status(&mut at_one, asking("/stats", &cookie)).await, 401);
    }
    assert!(knows(&mut at_one, &other).await && knows(&mut at_two, &cookie).await);
    server.ask(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    // Its browser does not send it any more; another one's request has it noted.
    let noted = async {
        loop {
            assert!(knows(&mut at_one, &other).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = noted => unreachable!("it asks for ever"),
        () = until(&mut at_two, &cookie, false) => {}
    }
    drop((at_one, at_two));
    for gateway in [one, two] {
        gateway.stop().await;
    }
}
