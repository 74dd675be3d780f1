//! What stands in Redis: all of it ends by itself, none of it holds a secret, and versions do not mix.

use std::time::Duration;

use thalweg::{
    auth::{
        KeyLimits,
        limit::{LimitValues, WhenAlone},
    },
    cluster::RedisSettings,
    routing::HealthSettings,
};

use super::{
    limits::{RECOVERY, flood_by, flood_with, replica_with, stop, until_known},
    server::RedisServer,
};
use crate::{
    client::{Call, Version, call::TOKEN},
    clients::keys::{allow, requests},
    gateway::{Gateway, PROVIDER_KEY},
    operators::statistics::ADMIN,
    upstream::{Framing, Speaks, Step, Upstream, log::in_time, script},
};

const WAIT: Duration = Duration::from_secs(1);

/// All names in Redis.
async fn names(server: &RedisServer) -> Vec<String> {
    let answer = server.ask(&["KEYS", "*"]).await;
    answer.lines().filter(|line| !line.starts_with(['*', '$'])).map(str::to_owned).collect()
}

/// The value under a name, whatever its type is.
async fn value(server: &RedisServer, name: &str) -> String {
    let kind = server.ask(&["TYPE", name]).await;
    match kind.trim() {
        "+string" => server.ask(&["GET", name]).await,
        "+hash" => server.ask(&["HGETALL", name]).await,
        "+stream" => server.ask(&["XRANGE", name, "-", "+"]).await,
        // It has ended meanwhile.
        "+none" => String::new(),
        other => panic!("{name} is a {other}"),
    }
}

/// Fails if a key would stay for ever or holds a secret.
async fn check(server: &RedisServer) {
    for name in names(server).await {
        let rest = server.ask(&["PTTL", &name]).await;
        assert_ne!(rest.trim(), ":-1", "{name} stays for ever");
        let value = value(server, &name).await;
        for secret in [TOKEN, ADMIN, PROVIDER_KEY, "Bearer"] {
            assert!(!name.contains(secret) && !value.contains(secret), "{secret} in {name}");
        }
    }
}

/// One provider that lists its models, one that requests a pause.
fn providers() -> [Upstream; 2] {
    let good = Upstream::by(Speaks::H1, |_, seen| match seen.target.ends_with("/models") {
        true => script::json(200, r#"{"object":"list","data":[{"id":"m"}]}"#),
        false => script::json(200, script::COMPLETION),
    });
    let headers = vec![("retry-after".into(), "60".into())];
    let head = Step::Head { status: 429, headers, framing: Framing::Length(0) };
    [Upstream::always(Speaks::H1, vec![head, Step::End]), good]
}

/// Limits of each kind, stored answers, pauses, lists, statistics and events of two gateways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_is_stored_ends_and_holds_no_secret() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let [pausing, good] = providers();
    // More than all its requests take: no answer of a refused one is stored.
    let allowance = LimitValues {
        requests: Some(1_000_000),
        tokens: Some(1_000_000_000),
        concurrent: Some(10),
        budget: Some(1_000_000_000),
    };
    let mut gateways = Vec::new();
    for _ in 0..2 {
        let plan = crate::operators::statistics::plan(&[&pausing, &good]).with(|all| {
            all.tokens[0].limits = KeyLimits { allowance, ..KeyLimits::default() };
            all.redis = Some(RedisSettings { wait: WAIT, ..RedisSettings::plain(server.url()) });
            all.cache.enabled = true;
            let refresh = Duration::from_secs(5);
            all.health = HealthSettings { refresh, timeout: Duration::from_secs(2), ..HealthSettings::off() };
            all.providers[1].models = None;
        });
        gateways.push(plan.start().await);
    }
    let mut watching = gateways[0].client(Version::H1).await;
    let events = Call::get("/events?scope=cluster").header("authorization", &format!("Bearer {ADMIN}"));
    let feed = watching.send(events).await;
    let mut missing = Vec::new();
    let filled = async {
        for number in 0.. {
            for gateway in &gateways {
                // Another each time: one that is stored while Redis is late stays in memory alone.
                let body = format!(r#"{{"model":"m","messages":[],"seed":{number}}}"#);
                let call = Call::post("/v1/chat/completions", body);
                gateway.client(Version::H1).await.send(call).await.collect().await;
            }
            check(&server).await;
            let names = names(&server).await;
            assert!(names.iter().all(|name| name.starts_with("thalweg:1:")), "{names:?}");
            let parts = [
                "up",
                "{replicas}",
                "cache:",
                "{facts}",
                "{facts}:list",
                "{stats}",
                "{events}",
                "{events}:lines",
            ];
            missing.clear();
            missing.extend(parts.into_iter().filter(|part| !names.iter().any(|name| name.contains(part))));
            if names.iter().filter(|name| is_of_a_key(name)).count() != 1 {
                missing.push("the use of a key");
            }
            if missing.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let filled = in_time(filled).await;
    assert!(filled.is_ok(), "{missing:?}");
    check(&server).await;
    drop((feed, watching));
    stop(gateways).await;
    check(&server).await;
    assert!(!names(&server).await.is_empty());
}

/// A digest in braces is a key of limits.
fn is_of_a_key(name: &str) -> bool {
    let inner = name.strip_prefix("thalweg:1:{").and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|inner| inner.len() > 20)
}

/// A replica of the version before, whose script has another digest: it reports so many requests of this
/// second under a name.
async fn report_of_before(server: &RedisServer, name: &str, used: u32) {
    let script = format!("-- The version before.\n{}", include_str!("../../src/auth/share_limits.lua"));
    let time = server.ask(&["TIME"]).await;
    let second = time.lines().nth(2).unwrap();
    let window = format!("-{second}:{used},");
    let numbers = "1 100 -1 -1 -1 0 0 0 0 0 0 0 0 0 0 0 3000 8000";
    let mut words = vec!["EVAL", &script, "1", name, "before"];
    words.extend(numbers.split(' '));
    words.extend([window.as_str(), "-"]);
    let answer = server.ask(&words).await;
    assert!(answer.starts_with("*13"), "{answer}");
}

/// Two versions share a Redis while one replaces the other: use that stands under names of the same version
/// counts, and that of another version neither counts nor is touched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_share_names_of_their_version_alone() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let redis = RedisSettings { cache: None, wait: WAIT, ..RedisSettings::plain(server.url()) };
    let gateway = replica_with(&upstream, redis, requests(100), WhenAlone::Share).await;
    until_known(&server, 1).await;
    tokio::time::sleep(RECOVERY).await;
    gateway.client(Version::H1).await.send(Call::whole()).await.collect().await;
    let name = names(&server).await.into_iter().find(|name| is_of_a_key(name)).expect("the key's record");
    let former = name.replace("thalweg:1:", "thalweg:0:");
    report_of_before(&server, &former, 90).await;
    let kept = server.ask(&["HGETALL", &former]).await;
    report_of_before(&server, &name, 60).await;
    let [good, refused, failed] = flood_with(&[&gateway], TOKEN, 4, Duration::from_secs(3)).await;
    assert!((36..40).contains(&good) && refused > 0 && failed == 0, "{good} of 39, {failed} failed");
    let records = server.ask(&["HLEN", &name]).await;
    assert_eq!(records.trim(), ":2", "one of each version");
    assert_eq!(server.ask(&["HGETALL", &former]).await, kept);
    gateway.stop().await;
}

/// Tokens per minute, which each answer corrects when it ends: two gateways together stay below the limit, by
/// the tokens that answers had, and use nearly all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_shared() {
    const LIMIT: u32 = 4000;
    /// As the provider's answer says; estimated are about twice as many.
    const TOKENS: usize = 11;
    const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":2}"#;
    let Some(server) = RedisServer::start(&[]).await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let limits = allow(LimitValues { tokens: Some(LIMIT), ..LimitValues::default() });
    let mut gateways = Vec::new();
    for _ in 0..2 {
        let redis = RedisSettings { cache: None, wait: WAIT, ..RedisSettings::plain(server.url()) };
        gateways.push(replica_with(&upstream, redis, limits.clone(), WhenAlone::Share).await);
    }
    until_known(&server, 2).await;
    tokio::time::sleep(RECOVERY).await;
    let all: Vec<&Gateway> = gateways.iter().collect();
    let call = || Call::post("/v1/chat/completions", BODY);
    let [good, refused, failed] = flood_by(&all, call, 16, Duration::from_secs(8)).await;
    let used = good * TOKENS;
    assert!(used <= LIMIT as usize && failed == 0, "{used} of {LIMIT}, {failed} failed");
    assert!(used >= LIMIT as usize * 9 / 10 && refused > 0, "{used} of {LIMIT}, {refused} refused");
    stop(gateways).await;
}
