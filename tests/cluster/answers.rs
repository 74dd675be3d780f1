//! The answer cache in Redis: answers of one gateway are given again by another one and after a restart, and
//! no failure of Redis is more than a miss.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use thalweg::{
    auth::TokenSettings,
    base::Secret,
    cache::ReplayPace,
    cluster::{RedisSettings, RedisUrl},
    config::Settings,
};
use tokio::time::Instant;

use super::server::RedisServer;
use crate::{
    client::{
        Call, Client, Version,
        call::{TOKEN, WHOLE},
    },
    clients::answer_cache::counting,
    gateway::{Gateway, Plan},
    upstream::{
        Speaks, Step, Upstream,
        log::in_time,
        script::{self, DONE, delta, last_delta},
    },
};

const OTHER: &str = "sk-other-client-of-shared-answers";
const NAMES: &str = "thalweg:1:cache:*";

/// A gateway with the cache, in this Redis and nothing else there. Returns when the connection is open.
async fn replica(upstream: &Upstream, url: RedisUrl, change: impl FnOnce(&mut Settings)) -> Gateway {
    let token = TokenSettings { admin: true, ..TokenSettings::plain("op", Secret::new(TOKEN.to_owned())) };
    let plan = Plan::to(&[upstream]).with(|all| {
        all.tokens = vec![token, TokenSettings::plain("other", Secret::new(OTHER.to_owned()))];
        all.cache.enabled = true;
        let wait = Duration::from_secs(1);
        all.redis = Some(RedisSettings { limits: None, wait, pool_size: 2, ..RedisSettings::plain(url) });
        change(all);
    });
    let gateway = plan.start().await;
    until(&gateway, "/redis/cache/up", |up| *up == true).await;
    gateway
}

/// Waits until this figure of `/stats` is as wanted.
async fn until(gateway: &Gateway, figure: &str, wanted: impl Fn(&Value) -> bool) {
    let found = async {
        let mut client = gateway.client(Version::H1).await;
        loop {
            let stats = client.send(Call::get("/stats")).await.collect().await.json();
            if stats.pointer(figure).is_some_and(&wanted) {
                return;
            }
            // Another process's state sends no event.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    in_time(found).await.unwrap_or_else(|_| panic!("{figure} is never as wanted"));
}

async fn until_stored(gateway: &Gateway, count: u64) {
    until(gateway, "/cache/redis/stored", |stored| *stored == count).await;
}

/// Hits, misses and failures of the layer in Redis.
async fn figures(gateway: &Gateway) -> [u64; 3] {
    let mut client = gateway.client(Version::H1).await;
    let stats = client.send(Call::get("/stats")).await.collect().await.json();
    ["hits", "misses", "failed"].map(|name| stats["cache"]["redis"][name].as_u64().unwrap())
}

fn question(text: &str) -> Call {
    Call::post("/v1/chat/completions", WHOLE.replace("hi", text))
}

/// Status, the first word of `x-thalweg-cache`, and body.
async fn ask(client: &mut Client, call: Call) -> (u16, String, Bytes) {
    let answer = client.send(call).await;
    let value = answer.headers.get("x-thalweg-cache").map_or("none", |value| value.to_str().unwrap());
    let word = value.split(';').next().unwrap().to_owned();
    (answer.status.as_u16(), word, answer.collect().await.bytes())
}

/// The word of a new connection's answer.
async fn asked(gateway: &Gateway, call: Call) -> String {
    let (status, word, _) = ask(&mut gateway.client(Version::H1).await, call).await;
    assert_eq!(status, 200);
    word
}

/// The names in Redis, with the digest alone.
async fn names(server: &RedisServer) -> Vec<String> {
    let listed = server.ask(&["KEYS", NAMES]).await;
    listed.lines().filter(|line| line.starts_with("thalweg:1:cache:")).map(str::to_owned).collect()
}

/// A whole answer and a stream, also at its own pace; the second gateway asks Redis once, and the wishes of
/// requests hold for both layers.
#[tokio::test]
async fn an_answer_of_one_gateway_is_given_by_another_and_after_a_restart() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let upstream = counting();
    let one = replica(&upstream, server.url(), |_| ()).await;
    let mut client = one.client(Version::H1).await;
    let (_, word, whole) = ask(&mut client, Call::whole()).await;
    assert_eq!(word, "miss");
    let (_, word, stream) = ask(&mut client, Call::stream()).await;
    assert_eq!(word, "miss");
    until_stored(&one, 2).await;
    assert_eq!(figures(&one).await, [0, 2, 0]);
    drop(client);
    one.stop().await;
    for pace in [ReplayPace::AtOnce, ReplayPace::Recorded] {
        let other = replica(&upstream, server.url(), |all| all.cache.pace = pace).await;
        let mut client = other.client(Version::H1).await;
        let only = Call::whole().header("x-thalweg-cache", "only-if-cached");
        assert_eq!(ask(&mut client, only).await, (200, "hit".to_owned(), whole.clone()));
        let answer = client.send(Call::stream()).await;
        let kind = answer.header("content-type");
        assert_eq!((kind, answer.header("x-thalweg-provider")), ("text/event-stream; charset=utf-8", "p0"));
        // A stream at its own pace has no length before it ends.
        assert_eq!(answer.headers.get("content-length").is_none(), pace == ReplayPace::Recorded);
        let age = answer.header("x-thalweg-cache").strip_prefix("hit; age=").unwrap();
        assert!(age.parse::<u64>().unwrap() < 10, "{age}");
        assert_eq!(answer.collect().await.bytes(), stream);
        for call in [Call::whole(), Call::stream()] {
            assert_eq!(ask(&mut client, call).await.1, "hit");
        }
        // Later ones come out of memory.
        assert_eq!(figures(&other).await, [2, 0, 0]);
        assert_eq!(upstream.log.requests(), 2);
        drop(client);
        other.stop().await;
    }
    let last = replica(&upstream, server.url(), |_| ()).await;
    let mut client = last.client(Version::H1).await;
    let wish = |wish: &str| Call::whole().header("x-thalweg-cache", wish);
    assert_eq!(ask(&mut client, wish("no-store")).await.1, "none");
    assert_eq!(ask(&mut client, wish("max-age=0")).await.1, "miss");
    assert_eq!(ask(&mut client, question("new").header("x-thalweg-cache", "only-if-cached")).await.0, 504);
    assert_eq!((figures(&last).await, upstream.log.requests()), ([0, 1, 0], 4));
    let metrics = client.send(Call::get("/metrics")).await.collect().await.text();
    for line in [
        "thalweg_answer_cache_redis_requests_total{result=\"miss\"} 1",
        "thalweg_answer_cache_redis_answers_total{result=\"stored\"} ",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
    let names = names(&server).await;
    assert!(names.len() == 2 && names.iter().all(|name| name.len() == NAMES.len() - 1 + 64), "{names:?}");
    for name in &names {
        let life = server.ask(&["PTTL", name]).await;
        let life: u64 = life.lines().next().unwrap()[1..].parse().unwrap();
        assert!((3_500_000..=3_600_000).contains(&life), "{life}");
        let value = server.ask(&["GET", name]).await;
        assert!(!value.contains(TOKEN) && !value.contains(crate::gateway::PROVIDER_KEY));
    }
    drop(client);
    last.stop().await;
}

/// A stream out of Redis has the pauses between its frames that it had at the gateway that stored it.
#[tokio::test]
async fn a_stream_of_another_gateway_is_given_at_its_own_pace() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let mut steps = vec![script::sse_head(), script::body(delta("one")), Step::Delivered];
    steps.extend(std::iter::repeat_n(Step::Moment, 60));
    steps.extend([script::body(last_delta("two")), Step::Delivered]);
    steps.extend(std::iter::repeat_n(Step::Moment, 60));
    steps.extend([script::body(DONE), Step::End]);
    let upstream = Upstream::always(Speaks::H1, steps);
    let one = replica(&upstream, server.url(), |_| ()).await;
    let mut client = one.client(Version::H1).await.telling(&upstream.log);
    let expected = [delta("one"), last_delta("two"), DONE.into()].concat();
    assert_eq!(client.send(Call::stream()).await.collect().await.bytes(), expected);
    drop(client);
    until_stored(&one, 1).await;
    let other = replica(&upstream, server.url(), |all| all.cache.pace = ReplayPace::Recorded).await;
    // The first time out of Redis, the second out of memory.
    for version in Version::BOTH {
        let mut client = other.client(version).await;
        let began = Instant::now();
        let mut answer = client.send(Call::stream()).await;
        assert!(answer.header("x-thalweg-cache").starts_with("hit"));
        for (number, frame) in [delta("one"), last_delta("two"), DONE.into()].into_iter().enumerate() {
            assert_eq!(answer.piece().await, frame);
            // From the beginning, because a machine that stands still shortens a pause at the client.
            let least = Duration::from_millis(50) * number.try_into().unwrap();
            assert!(began.elapsed() >= least, "{:?} until frame {number}", began.elapsed());
        }
        assert!(answer.collect().await.complete);
    }
    assert_eq!((figures(&other).await, upstream.log.requests()), ([1, 0, 0], 1));
    for gateway in [one, other] {
        gateway.stop().await;
    }
}

/// Keys share nothing unless the configuration says so, and an answer of a provider is not given for another
/// one of its name.
#[tokio::test]
async fn answers_of_another_key_or_provider_are_not_found() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let (upstream, elsewhere) = (counting(), counting());
    let other = || Call::whole().header("authorization", &format!("Bearer {OTHER}"));
    for shared in [false, true] {
        let gateways = [
            replica(&upstream, server.url(), |all| all.cache.shared = shared).await,
            replica(&upstream, server.url(), |all| all.cache.shared = shared).await,
            replica(&elsewhere, server.url(), |all| all.cache.shared = shared).await,
        ];
        let [one, two, three] = &gateways;
        assert_eq!(asked(one, Call::whole()).await, "miss");
        until_stored(one, 1).await;
        assert_eq!(asked(three, Call::whole()).await, "miss");
        // Theirs has taken the place of the first one's.
        until_stored(three, 1).await;
        assert_eq!(asked(two, Call::whole()).await, "miss");
        until_stored(two, 1).await;
        let fresh = replica(&upstream, server.url(), |all| all.cache.shared = shared).await;
        let words = [asked(&fresh, other()).await, asked(&fresh, Call::whole()).await];
        assert_eq!(words, if shared { ["hit", "hit"] } else { ["miss", "hit"] });
        for gateway in gateways.into_iter().chain([fresh]) {
            gateway.stop().await;
        }
    }
}

/// A value that is damaged, cut, too long, foreign, of another key or of another type is a miss, and the next
/// answer takes its place.
#[tokio::test]
async fn a_value_that_is_no_answer_is_a_miss() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let upstream = counting();
    let gateway = replica(&upstream, server.url(), |_| ()).await;
    assert_eq!(asked(&gateway, question("of another key")).await, "miss");
    until_stored(&gateway, 1).await;
    let other = names(&server).await.remove(0);
    assert_eq!(asked(&gateway, Call::whole()).await, "miss");
    until_stored(&gateway, 2).await;
    gateway.stop().await;
    let name = names(&server).await.into_iter().find(|name| *name != other).unwrap();
    let long = "x".repeat(3 << 20);
    for commands in [
        &[&["SETRANGE", &name, "300", "~"][..]][..],
        &[&["APPEND", &name, "x"]],
        &[&["SET", &name, "hello"]],
        &[&["SET", &name, ""]],
        &[&["SET", &name, &long]],
        &[&["COPY", &other, &name, "REPLACE"]],
        &[&["DEL", &name], &["LPUSH", &name, "x"]],
    ] {
        for command in commands {
            let answer = server.ask(command).await;
            assert!(!answer.starts_with('-'), "{answer}");
        }
        let asked_before = upstream.log.requests();
        let gateway = replica(&upstream, server.url(), |_| ()).await;
        assert_eq!(asked(&gateway, Call::whole()).await, "miss", "{:?}", commands[0][0]);
        assert_eq!(upstream.log.requests(), asked_before + 1);
        let [hits, misses, failed] = figures(&gateway).await;
        assert_eq!((hits, misses + failed), (0, 1));
        until_stored(&gateway, 1).await;
        gateway.stop().await;
        let gateway = replica(&upstream, server.url(), |_| ()).await;
        assert_eq!(asked(&gateway, Call::whole()).await, "hit");
        gateway.stop().await;
    }
}

/// Without memory for writes, killed, and frozen: answers come all the same. A frozen server delays few
/// requests, each by the bound at most, and a dead one none.
#[tokio::test]
async fn a_server_that_fails_costs_a_bounded_time_and_no_answer() {
    let Some(mut server) = RedisServer::start(&[]).await else { return };
    let upstream = counting();
    // Shorter than the time after which the connection is given up.
    let wait = |all: &mut Settings| all.redis.as_mut().unwrap().wait = Duration::from_millis(200);
    let gateway = replica(&upstream, server.url(), wait).await;
    server.freeze();
    let began = Instant::now();
    for number in 0..20 {
        assert_eq!(asked(&gateway, question(&format!("frozen {number}"))).await, "miss");
    }
    let took = began.elapsed();
    server.go_on();
    let [hits, misses, failed] = figures(&gateway).await;
    // One in a second; by the connection's own watch alone it would be seven at least.
    assert!(hits + misses == 0 && failed >= 1, "{hits} {misses} {failed}");
    assert!(failed <= 1 + took.as_secs(), "{failed} in {took:?}");
    until(&gateway, "/redis/cache/up", |up| *up == true).await;
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    for number in 0..3 {
        assert_eq!(asked(&gateway, question(&format!("full {number}"))).await, "miss");
    }
    server.kill();
    for number in 0..3 {
        assert_eq!(asked(&gateway, question(&format!("dead {number}"))).await, "miss");
        assert_eq!(asked(&gateway, question(&format!("frozen {number}"))).await, "hit", "in memory");
    }
    server.start_again().await;
    until(&gateway, "/redis/cache/up", |up| *up == true).await;
    let again = || question("again");
    assert_eq!(asked(&gateway, again()).await, "miss");
    let other = replica(&upstream, server.url(), |_| ()).await;
    let found =
        async { while asked(&other, again().header("x-thalweg-cache", "max-age=3600")).await != "hit" {} };
    in_time(found).await.expect("the answer is shared again");
    for gateway in [gateway, other] {
        gateway.stop().await;
    }
}

/// Equal requests at once ask Redis once for all of them.
#[tokio::test]
async fn equal_requests_at_once_ask_redis_once() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let upstream = counting();
    let one = replica(&upstream, server.url(), |_| ()).await;
    assert_eq!(asked(&one, Call::stream()).await, "miss");
    until_stored(&one, 1).await;
    let other = replica(&upstream, server.url(), |all| all.cache.coalesce = true).await;
    let ask = || asked(&other, Call::stream());
    server.freeze();
    let answered_late = async {
        other.until("four requests", |now| now.requests == 4).await;
        server.go_on();
    };
    let words = tokio::join!(ask(), ask(), ask(), ask(), answered_late);
    assert_eq!(words, ("hit".into(), "hit".into(), "hit".into(), "hit".into(), ()));
    assert_eq!((figures(&other).await, upstream.log.requests()), ([1, 0, 0], 1));
    let ask = || asked(&other, question("new"));
    let words = tokio::join!(ask(), ask(), ask(), ask());
    let words = [words.0, words.1, words.2, words.3];
    assert_eq!(words.iter().filter(|word| *word == "miss").count(), 1, "{words:?}");
    assert_eq!((figures(&other).await, upstream.log.requests()), ([1, 1, 0], 2));
    for gateway in [one, other] {
        gateway.stop().await;
    }
}
