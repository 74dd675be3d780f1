//! A cluster whose slots move and whose masters die: no request fails for it, and limits hold.

use std::time::Duration;

use thalweg::cluster::{RedisSettings, RedisUrl};

use super::{
    limits::{RECOVERY, flood_with, stop},
    nodes::{LIMIT, gateway, masters, until_agreed},
    server::RedisServer,
};
use crate::{
    client::{Call, Version, call::TOKEN},
    gateway::Gateway,
    upstream::{Speaks, Upstream, log::in_time, script},
};

/// Two gateways on this cluster.
async fn gateways(upstream: &Upstream, servers: &[RedisServer]) -> Vec<Gateway> {
    let nodes: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    let url = RedisUrl::parse(&format!("redis://{}", nodes.join(","))).unwrap();
    let wait = Duration::from_millis(500);
    let redis = RedisSettings { cache: None, wait, ..RedisSettings::plain(url) };
    let keys = [TOKEN.to_owned()];
    let gateways = vec![gateway(upstream, redis.clone(), &keys).await, gateway(upstream, redis, &keys).await];
    until_known_there(servers, 2).await;
    gateways
}

/// Waits until one of these counts so many replicas.
async fn until_known_there(servers: &[RedisServer], count: usize) {
    let known = async {
        loop {
            for server in servers {
                // One field for the time of birth.
                if word(server, &["HLEN", "thalweg:1:{replicas}"]).await == (count + 1).to_string() {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    in_time(known).await.unwrap_or_else(|_| panic!("never {count} replicas"));
}

/// The key's record: its name, and the number of the server that has it.
async fn place(servers: &[RedisServer]) -> (String, usize) {
    for (number, server) in servers.iter().enumerate() {
        let answer = server.ask(&["KEYS", "thalweg:1:{*}"]).await;
        // A digest is longer than other names.
        if let Some(name) = answer.lines().find(|line| line.starts_with("thalweg:") && line.len() > 40) {
            return (name.to_owned(), number);
        }
    }
    panic!("no record of the key");
}

async fn word(server: &RedisServer, words: &[&str]) -> String {
    let answer = server.ask(words).await;
    answer.lines().last().unwrap_or_default().trim_start_matches(':').to_owned()
}

/// Waits until the answer has this text.
async fn until_says(server: &RedisServer, words: &[&str], text: &str) {
    let said = async {
        while !server.ask(words).await.contains(text) {
            // Another process's state sends no event.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    in_time(said).await.unwrap_or_else(|_| panic!("{words:?} never had {text}"));
}

/// The slot of a key moves to another master, first so that both may be asked (ASK), then for good (MOVED).
/// Requests go on all the while, and none is lost or refused; the limit holds afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_loses_no_request() {
    const PACED: usize = 30;
    let Some(servers) = masters().await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateways = gateways(&upstream, &servers).await;
    let asked = async |number: usize| {
        let mut client = gateways[number % 2].client(Version::H1).await;
        let answer = client.send(Call::whole()).await;
        assert_eq!(answer.status.as_u16(), 200, "{number}");
        answer.collect().await;
    };
    asked(0).await;
    asked(1).await;
    let (name, number) = place(&servers).await;
    let (source, target) = (&servers[number], &servers[(number + 1) % 3]);
    let slot = word(source, &["CLUSTER", "KEYSLOT", &name]).await;
    let [from, to] = [word(source, &["CLUSTER", "MYID"]).await, word(target, &["CLUSTER", "MYID"]).await];
    let (slot, from, to, port) = (slot.as_str(), from.as_str(), to.as_str(), target.port.to_string());
    let moved = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let steps: [(&RedisServer, &[&str]); 3] = [
            (target, &["CLUSTER", "SETSLOT", slot, "IMPORTING", from]),
            (source, &["CLUSTER", "SETSLOT", slot, "MIGRATING", to]),
            (source, &["MIGRATE", "127.0.0.1", &port, &name, "0", "5000", "REPLACE"]),
        ];
        for (server, words) in steps {
            assert_eq!(server.ask(words).await.trim(), "+OK", "{words:?}");
        }
        // Until then the former master says ASK.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        for server in [target, source] {
            assert_eq!(server.ask(&["CLUSTER", "SETSLOT", slot, "NODE", to]).await.trim(), "+OK");
        }
    };
    let paced = async {
        for number in 0..PACED {
            asked(number).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::join!(moved, paced);
    // Both report to the new place.
    until_says(target, &["HLEN", &name], ":2").await;
    let all: Vec<&Gateway> = gateways.iter().collect();
    let [after, refused, failed] = flood_with(&all, TOKEN, 4, RECOVERY + Duration::from_secs(2)).await;
    let sum = 2 + PACED + after;
    assert!((LIMIT * 9 / 10..=LIMIT).contains(&sum) && failed == 0, "{sum} of {LIMIT}, {failed} failed");
    assert!(refused > 0);
    stop(gateways).await;
}

/// A master dies and its replica takes its place: each gateway has its part meanwhile, and nothing is granted
/// twice afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_outlive_a_master_of_a_cluster() {
    let Some(mut servers) = masters().await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateways = gateways(&upstream, &servers).await;
    let all: Vec<&Gateway> = gateways.iter().collect();
    let [before, _, failed] = flood_with(&all, TOKEN, 2, Duration::from_millis(20)).await;
    assert!((1..=LIMIT).contains(&before) && failed == 0, "{before}, {failed} failed");
    let (name, number) = place(&servers).await;
    let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
    let replica = RedisServer::start(&options).await.unwrap();
    servers[number].ask(&["CLUSTER", "MEET", "127.0.0.1", &replica.port.to_string()]).await;
    until_agreed(&servers, 4).await;
    until_says(&replica, &["CLUSTER", "INFO"], "cluster_known_nodes:4").await;
    let master = word(&servers[number], &["CLUSTER", "MYID"]).await;
    servers[number].ask(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]).await;
    until_says(&replica, &["CLUSTER", "REPLICATE", &master], "+OK").await;
    until_says(&replica, &["ROLE"], "connected").await;
    // Each has reported what it used, and holds nothing.
    tokio::time::sleep(Duration::from_secs(5)).await;
    servers[number].kill();
    let [meanwhile, _, failed] = flood_with(&all, TOKEN, 8, Duration::from_millis(1500)).await;
    assert_eq!(failed, 0);
    until_says(&replica, &["ROLE"], "master").await;
    until_says(&replica, &["CLUSTER", "INFO"], "cluster_state:ok").await;
    let [after, _, failed] = flood_with(&all, TOKEN, 8, RECOVERY + Duration::from_secs(3)).await;
    let sum = before + meanwhile + after;
    assert!(sum <= LIMIT && failed == 0, "{before}, {meanwhile}, {after} of {LIMIT}, {failed} failed");
    assert!(sum >= LIMIT * 8 / 10, "{before}, {meanwhile}, {after} of {LIMIT}");
    assert_eq!(word(&replica, &["HLEN", &name]).await, "2", "both report there");
    stop(gateways).await;
}

/// The rights that docs/CLUSTER.md names are enough, at a server and in a cluster: only the look at the
/// policy of evictions is refused, which is not needed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_of_the_manual_are_enough() {
    let manual = include_str!("../../docs/CLUSTER.md");
    let rights = manual.split('`').find(|part| part.starts_with("user thalweg")).expect("an ACL");
    let rights: Vec<&str> =
        rights.split(' ').skip(2).map(|word| word.trim_start_matches(">PASSWORD")).collect();
    let user = ["ACL", "SETUSER", "thalweg", ">s3cret-of-user"];
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let Some(single) = RedisServer::start(&[]).await else { return };
    let cluster = masters().await.unwrap();
    for servers in [vec![single], cluster] {
        let more: &[&str] = if servers.len() > 1 { &["+cluster|slots"] } else { &[] };
        let words: Vec<&str> =
            [&user[..], &rights, more].concat().into_iter().filter(|word| !word.is_empty()).collect();
        for server in &servers {
            assert_eq!(server.ask(&words).await.trim(), "+OK");
        }
        let nodes: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        let url = RedisUrl::parse(&format!("redis://thalweg:s3cret-of-user@{}", nodes.join(","))).unwrap();
        let redis = RedisSettings { wait: Duration::from_millis(500), ..RedisSettings::plain(url) };
        let gateway = gateway(&upstream, redis, &[TOKEN.to_owned()]).await;
        until_known_there(&servers, 1).await;
        let [good, _, failed] = flood_with(&[&gateway], TOKEN, 2, Duration::from_secs(1)).await;
        assert!((1..=LIMIT).contains(&good) && failed == 0, "{good}, {failed} failed");
        place(&servers).await;
        gateway.stop().await;
        for server in &servers {
            let log = server.ask(&["ACL", "LOG"]).await;
            let lines: Vec<&str> = log.lines().collect();
            let refused = lines.windows(3).filter(|lines| lines[0] == "object").map(|lines| lines[2]);
            let refused: Vec<&str> = refused.filter(|object| *object != "config|get").collect();
            assert!(refused.is_empty(), "{refused:?}");
        }
    }
}
