//! A server that sentinels know: gateways follow its master, and limits hold through a failover.

use std::time::{Duration, SystemTime};

use thalweg::{
    auth::{TokenSettings, limit::LimitValues},
    base::Secret,
    cluster::{RedisAuthority, RedisSettings, RedisUrl},
};

use super::{
    connection::{until_logged, until_page},
    limits::{RECOVERY, flood_with, stop},
    nodes::TlsFiles,
    server::RedisServer,
};
use crate::{
    client::{Call, Version, call::TOKEN},
    clients::answer_cache::counting,
    free_port::free_port,
    gateway::{Gateway, Plan},
    journal,
    upstream::{Upstream, log::in_time},
};

const NAME: &str = "main";
const PASSWORD: &str = "s3cret-of-master";
const LIMIT: usize = 200;
const UP: &str = "thalweg_redis_up{purpose=\"limits\"} 1\n";

/// Keys of limits of their own, one of them an operator's.
fn keys() -> [String; 3] {
    [TOKEN.to_owned(), format!("{TOKEN}-before"), format!("{TOKEN}-after")]
}

async fn gateway(upstream: &Upstream, url: &RedisUrl) -> Gateway {
    let [operator, limited @ ..] = keys();
    let tokens = limited.into_iter().enumerate().map(|(number, key)| {
        let mut token = TokenSettings::plain(&format!("key-{number}"), Secret::new(key));
        let requests = Some(LIMIT.try_into().unwrap());
        token.limits.allowance = LimitValues { requests, ..LimitValues::default() };
        token
    });
    let operator = TokenSettings { admin: true, ..TokenSettings::plain("op", Secret::new(operator)) };
    let wait = Duration::from_secs(1);
    Plan::to(&[upstream])
        .with(|all| {
            all.tokens = tokens.chain([operator]).collect();
            all.redis = Some(RedisSettings { pool_size: 2, wait, ..RedisSettings::plain(url.clone()) });
            all.cache.enabled = true;
        })
        .start()
        .await
}

/// A sentinel that watches this master; so many have to agree.
fn watching(port: u16, quorum: usize) -> String {
    format!(
        "sentinel monitor {NAME} 127.0.0.1 {port} {quorum}\n\
         sentinel auth-pass {NAME} {PASSWORD}\n\
         sentinel down-after-milliseconds {NAME} 800\n\
         sentinel failover-timeout {NAME} 1500\n"
    )
}

fn url(sentinels: &[u16], options: &str) -> RedisUrl {
    let hosts: Vec<String> = sentinels.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    RedisUrl::parse(&format!("redis+sentinel://:{PASSWORD}@{}/{NAME}{options}", hosts.join(","))).unwrap()
}

/// Waits until the answer to a command has all these texts.
async fn until_answered(server: &RedisServer, words: &[&str], texts: &[&str]) {
    let mut answer = String::new();
    let answered = async {
        loop {
            answer = server.ask(words).await;
            if texts.iter().all(|text| answer.contains(text)) {
                break;
            }
            // Another process's state sends no event.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let outcome = in_time(answered).await;
    assert!(outcome.is_ok(), "{words:?} never had {texts:?}, at last {answer}");
}

/// A master, its replica, and three sentinels that know each other.
async fn watched() -> Option<([RedisServer; 2], Vec<RedisServer>)> {
    let login = ["--requirepass", PASSWORD, "--masterauth", PASSWORD];
    let options = [&login[..], &["--repl-diskless-sync-delay", "0"]].concat();
    let master = RedisServer::start(&options).await?;
    let port = master.port.to_string();
    let link = ["--replicaof", "127.0.0.1", &port];
    let replica = RedisServer::start(&[&options[..], &link].concat()).await?;
    until_answered(&replica, &["ROLE"], &["connected"]).await;
    let mut sentinels = Vec::new();
    for _ in 0..3 {
        sentinels.push(RedisServer::start_sentinel(&watching(master.port, 2)).await?);
    }
    let known = ["num-slaves\r\n$1\r\n1", "num-other-sentinels\r\n$1\r\n2"];
    for sentinel in &sentinels {
        until_answered(sentinel, &["SENTINEL", "MASTER", NAME], &known).await;
    }
    Some(([master, replica], sentinels))
}

/// A master that dies: limits hold, through the failover and after it, and the new master's grants begin with
/// care, because the last ones of the former may be missing there. Answers of the cache are found again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_and_answers_outlive_a_master() {
    let Some(([mut master, replica], sentinels)) = watched().await else { return };
    // One that is not there delays nothing.
    let ports = [free_port(), sentinels[0].port, sentinels[1].port, sentinels[2].port];
    let url = url(&ports, "");
    let upstream = counting();
    let mut gateways = vec![gateway(&upstream, &url).await, gateway(&upstream, &url).await];
    for gateway in &gateways {
        until_page(gateway, "/metrics", UP).await;
    }
    tokio::time::sleep(RECOVERY).await;
    let answer = gateways[0].client(Version::H1).await.send(Call::whole()).await;
    assert_eq!(answer.header("x-thalweg-cache"), "miss");
    answer.collect().await;
    until_page(&gateways[0], "/metrics", "answers_total{result=\"stored\"} 1\n").await;
    until_answered(&replica, &["KEYS", "thalweg:1:cache:*"], &["thalweg:1:cache:"]).await;
    let [_, before, after] = keys();
    let all: Vec<&Gateway> = gateways.iter().collect();
    let [good, _, failed] = flood_with(&all, &before, 2, Duration::from_millis(30)).await;
    assert!(good > 0 && failed == 0, "{good}, {failed} failed");
    let killed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    master.kill();
    let at = format!("by Sentinel, 127.0.0.1:{}", ports[0]);
    let [meanwhile, _, failed] = flood_with(&all, &before, 8, Duration::from_secs(2)).await;
    let sum = good + meanwhile;
    assert!(sum <= LIMIT && failed == 0, "{good} + {meanwhile} of {LIMIT}, {failed} failed");
    for gateway in &gateways {
        until_page(gateway, "/metrics", UP).await;
    }
    until_logged(["Redis is away", &at], 4).await;
    assert_eq!(journal::count(["Redis is away", &at]), 4, "one line each");
    assert!(!journal::mentions(PASSWORD));
    let born = replica.ask(&["HGET", "thalweg:1:{replicas}", "born"]).await;
    let born: u128 = born.lines().rev().find_map(|line| line.parse().ok()).unwrap();
    assert!(born > killed, "{born} {killed}");
    let [more, _, failed] = flood_with(&all, &before, 8, RECOVERY).await;
    let sum = sum + more;
    assert!(sum <= LIMIT && failed == 0, "{sum} of {LIMIT}, {failed} failed");
    let late = gateway(&upstream, &url).await;
    until_page(&late, "/metrics", "thalweg_redis_up{purpose=\"cache\"} 1\n").await;
    let answer = late.client(Version::H1).await.send(Call::whole()).await;
    assert!(answer.header("x-thalweg-cache").starts_with("hit"));
    gateways.push(late);
    let all: Vec<&Gateway> = gateways.iter().collect();
    let [more, ..] = flood_with(&all[2..], &before, 4, Duration::from_millis(500)).await;
    assert!(sum + more <= LIMIT, "{sum} + {more} of {LIMIT}");
    let [good, _, failed] = flood_with(&all, &after, 8, Duration::from_secs(3)).await;
    assert!((LIMIT * 19 / 20..=LIMIT).contains(&good) && failed == 0, "{good} of {LIMIT}, {failed} failed");
    stop(gateways).await;
}

/// A former master that the sentinels cannot reach lives on and does not know of the next one: it is left all
/// the same. The sentinels' own user is sent to them.
#[tokio::test]
async fn a_master_that_sentinels_have_left_is_left() {
    let options = ["--requirepass", PASSWORD];
    let Some(former) = RedisServer::start(&options).await else { return };
    let next = RedisServer::start(&options).await.unwrap();
    let locked = format!("requirepass s3cret-of-sentinel\n{}", watching(former.port, 1));
    let sentinel = RedisServer::start_sentinel(&locked).await.unwrap();
    let url = url(&[sentinel.port], "/0?sentinel_password=s3cret-of-sentinel");
    let upstream = counting();
    let gateway = gateway(&upstream, &url).await;
    until_page(&gateway, "/metrics", UP).await;
    until_answered(&former, &["HLEN", "thalweg:1:{replicas}"], &[":3"]).await;
    for words in [
        &["SENTINEL", "REMOVE", NAME][..],
        &["SENTINEL", "MONITOR", NAME, "127.0.0.1", &next.port.to_string(), "1"],
    ] {
        let answer = sentinel.ask_as("s3cret-of-sentinel", words).await;
        assert!(answer.lines().all(|line| line == "+OK"), "{answer}");
    }
    until_answered(&next, &["HLEN", "thalweg:1:{replicas}"], &[":3"]).await;
    assert!(!journal::mentions("s3cret-of-sentinel") && !journal::mentions(PASSWORD));
    stop(vec![gateway]).await;
}

/// `rediss+sentinel` is TLS to both, by one authority.
#[tokio::test]
async fn sentinels_and_their_master_may_speak_tls() {
    let files = TlsFiles::make("sentinel");
    let options: Vec<String> =
        files.options().into_iter().flat_map(|(name, value)| [format!("--{name}"), value]).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let Some(master) = RedisServer::start(&options).await else { return };
    let [port, own_port] = [free_port(), free_port()];
    let answer = master.ask(&["CONFIG", "SET", "tls-port", &port.to_string()]).await;
    assert!(answer.starts_with("+OK"), "{answer}");
    let lines = files.options().map(|(name, value)| format!("{name} {value}\n")).concat();
    let lines = format!("tls-port {own_port}\n{lines}sentinel monitor {NAME} 127.0.0.1 {port} 1\n");
    let _sentinel = RedisServer::start_sentinel(&lines).await.unwrap();
    let url = RedisUrl::parse(&format!("rediss+sentinel://127.0.0.1:{own_port}/{NAME}")).unwrap();
    let upstream = counting();
    let redis = RedisSettings {
        authority: Some(RedisAuthority::read(&files.authority).unwrap()),
        ..RedisSettings::plain(url)
    };
    let gateway = Plan::to(&[&upstream]).with(|all| all.redis = Some(redis)).start().await;
    until_answered(&master, &["HLEN", "thalweg:1:{replicas}"], &[":3"]).await;
    stop(vec![gateway]).await;
}

/// The log says that sentinels are away, or do not know the name.
#[tokio::test]
async fn the_log_says_why_no_master_is_known() {
    let Some(sentinel) = RedisServer::start_sentinel("").await else { return };
    let upstream = counting();
    let nothing = free_port();
    for (port, why) in [(nothing, "no sentinel answers"), (sentinel.port, "know no master of this name")] {
        let gateway = gateway(&upstream, &url(&[port], "")).await;
        until_logged([why, &format!("{NAME} by Sentinel, 127.0.0.1:{port}")], 2).await;
        let answer = gateway.client(Version::H1).await.send(Call::whole()).await;
        assert_eq!(answer.status.as_u16(), 200);
        answer.collect().await;
        stop(vec![gateway]).await;
    }
}

/// A master of another number is one whose memory may end a moment earlier; the same, or the first, is not.
#[tokio::test]
async fn another_master_is_a_new_beginning_for_limits() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let script = include_str!("../../src/auth/share_replicas.lua");
    let mut births = Vec::new();
    for master in ["0", "5", "5", "0", "6", "6", "5"] {
        let answer = server.ask(&["EVAL", script, "1", "{replicas}", "me", "8000", "0", master]).await;
        let numbers: Vec<u64> = answer.lines().filter_map(|line| line.parse().ok()).collect();
        assert_eq!(numbers[1], 1, "one replica: {answer}");
        births.push(numbers[2]);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let changes: Vec<bool> = births.windows(2).map(|pair| pair[0] != pair[1]).collect();
    assert_eq!(changes, [false, false, false, true, false, true]);
}
