//! Limits of keys that several gateways share: never exceeded together, nearly used up, and without Redis as
//! `limits.when_alone` says.

use std::time::Duration;

use thalweg::{
    auth::{
        KeyLimits, TokenSettings,
        limit::{LimitValues, WhenAlone},
    },
    base::Secret,
    cluster::{RedisSettings, RedisUrl},
};
use tokio::time::Instant;

use super::server::RedisServer;
use crate::{
    client::{Call, Version, call::TOKEN},
    clients::keys::{refusal, requests},
    free_port::free_port,
    gateway::{Gateway, Plan},
    upstream::{
        Gate, Speaks, Step, Upstream,
        log::in_time,
        script::{self, delta},
    },
};

/// After a start of Redis replicas are careful for five seconds.
pub const RECOVERY: Duration = Duration::from_millis(5500);

/// Longer than by default, because a request that a busy machine makes wait is decided without the others.
const LONG_WAIT: Duration = Duration::from_secs(1);

async fn replica(upstream: &Upstream, url: &RedisUrl, limits: KeyLimits, when_alone: WhenAlone) -> Gateway {
    let redis = RedisSettings { cache: None, wait: LONG_WAIT, ..RedisSettings::plain(url.clone()) };
    replica_with(upstream, redis, limits, when_alone).await
}

pub async fn replica_with(
    upstream: &Upstream,
    redis: RedisSettings,
    limits: KeyLimits,
    when_alone: WhenAlone,
) -> Gateway {
    let token = TokenSettings { limits, ..TokenSettings::plain("alice", Secret::new(TOKEN.to_owned())) };
    let plan = Plan::to(&[upstream]).with(|settings| {
        settings.tokens = vec![token];
        settings.redis = Some(redis);
        settings.when_alone = when_alone;
    });
    plan.start().await
}

async fn replicas(count: usize, upstream: &Upstream, url: &RedisUrl, limits: &KeyLimits) -> Vec<Gateway> {
    let mut gateways = Vec::new();
    for _ in 0..count {
        gateways.push(replica(upstream, url, limits.clone(), WhenAlone::Share).await);
    }
    gateways
}

/// Waits until Redis counts so many replicas.
pub async fn until_known(server: &RedisServer, count: usize) {
    let known = async {
        // One field for the time of birth.
        while !server.ask(&["HLEN", "thalweg:1:{replicas}"]).await.starts_with(&format!(":{}", count + 1)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    in_time(known).await.unwrap_or_else(|_| panic!("never {count} replicas"));
}

/// Requests of so many clients, spread over these gateways, for a time: how many succeeded, were refused by
/// the limit, and failed.
async fn flood(gateways: &[&Gateway], clients: usize, time: Duration) -> [usize; 3] {
    flood_with(gateways, TOKEN, clients, time).await
}

/// The same with this key.
pub async fn flood_with(gateways: &[&Gateway], key: &str, clients: usize, time: Duration) -> [usize; 3] {
    let bearer = format!("Bearer {key}");
    flood_by(gateways, move || Call::whole().header("authorization", &bearer), clients, time).await
}

/// The same with requests of one's own.
pub async fn flood_by(
    gateways: &[&Gateway],
    call: impl Fn() -> Call + Clone + Send + 'static,
    clients: usize,
    time: Duration,
) -> [usize; 3] {
    let ends = Instant::now() + time;
    let mut tasks = Vec::new();
    for client in 0..clients {
        let address = gateways[client % gateways.len()].address;
        let call = call.clone();
        tasks.push(tokio::spawn(async move {
            let mut client = crate::client::Client::connect(Version::H1, address).await;
            let mut counts = [0; 3];
            // One at least, however late it begins.
            loop {
                let answer = client.send(call()).await;
                let kind = match answer.status.as_u16() {
                    200 => 0,
                    429 => 1,
                    _ => 2,
                };
                counts[kind] += 1;
                answer.collect().await;
                if kind > 0 {
                    // As a client that waits before it tries again.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                if Instant::now() >= ends {
                    return counts;
                }
            }
        }));
    }
    let mut sums = [0; 3];
    for task in tasks {
        let counts = task.await.unwrap();
        sums = std::array::from_fn(|kind| sums[kind] + counts[kind]);
    }
    sums
}

pub async fn stop(gateways: Vec<Gateway>) {
    for gateway in gateways {
        gateway.stop().await;
    }
}

/// 64 clients at three gateways get no more than the limit together, and nearly all of it; then another
/// gateway that had none of the traffic gets nothing either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_holds_over_three_gateways() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateways = replicas(3, &upstream, &server.url(), &requests(400)).await;
    until_known(&server, 3).await;
    let all: Vec<&Gateway> = gateways.iter().collect();
    let [good, refused, failed] = flood(&all, 64, RECOVERY + Duration::from_secs(3)).await;
    assert!((380..=400).contains(&good) && failed == 0, "{good} of 400, {refused} refused, {failed} failed");
    assert!(refused > 100, "{refused}");
    let late = replica(&upstream, &server.url(), requests(400), WhenAlone::Share).await;
    until_known(&server, 4).await;
    let [more, ..] = flood(&[&late], 4, Duration::from_millis(500)).await;
    assert!(good + more <= 400, "{good} and {more}");
    late.stop().await;
    let keys = server.ask(&["KEYS", "*"]).await;
    assert!(keys.contains("thalweg:1:{") && !keys.contains(TOKEN), "{keys}");
    stop(gateways).await;
}

/// A single gateway of three that gets all requests admits nearly the whole limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gateway_with_all_requests_gets_the_limit() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateways = replicas(3, &upstream, &server.url(), &requests(300)).await;
    until_known(&server, 3).await;
    tokio::time::sleep(RECOVERY).await;
    let good = use_up(&gateways[..1], 300).await;
    assert!((285..=300).contains(&good), "{good} of 300");
    stop(gateways).await;
}

/// Redis dies and comes back empty: what was used before is not granted again, and no request fails for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_back_empty_grants_nothing_twice() {
    let Some(mut server) = RedisServer::start(&[]).await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateways = replicas(2, &upstream, &server.url(), &requests(300)).await;
    until_known(&server, 2).await;
    let all: Vec<&Gateway> = gateways.iter().collect();
    tokio::time::sleep(RECOVERY).await;
    let before = use_up(&gateways, 300).await;
    server.kill();
    let [without, _, failed] = flood(&all, 8, Duration::from_secs(2)).await;
    server.start_again().await;
    let [after, ..] = flood(&all, 8, RECOVERY + Duration::from_secs(3)).await;
    let sum = before + without + after;
    assert!(sum <= 300 && failed == 0, "{before} + {without} + {after}, {failed} failed");
    stop(gateways).await;
}

/// What a gateway has used counts for the others when Redis has lost everything, though it has no requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn use_by_an_idle_gateway_counts_after_a_loss() {
    let Some(mut server) = RedisServer::start(&[]).await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateways = replicas(2, &upstream, &server.url(), &requests(300)).await;
    until_known(&server, 2).await;
    tokio::time::sleep(RECOVERY).await;
    let before = use_up(&gateways[..1], 300).await;
    // Nothing of the key is held any more.
    tokio::time::sleep(Duration::from_secs(6)).await;
    server.kill();
    server.start_again().await;
    until_known(&server, 2).await;
    tokio::time::sleep(RECOVERY).await;
    let [after, ..] = flood(&[&gateways[1]], 8, Duration::from_secs(1)).await;
    assert!(before + after <= 300, "{before} + {after}");
    stop(gateways).await;
}

/// Requests until nearly the whole limit is used up: how many were admitted.
async fn use_up(gateways: &[Gateway], limit: usize) -> usize {
    let all: Vec<&Gateway> = gateways.iter().collect();
    let (mut sum, mut refused) = (0, 0);
    for _ in 0..40 {
        let [good, more, failed] = flood(&all, 8, Duration::from_millis(300)).await;
        assert_eq!(failed, 0);
        (sum, refused) = (sum + good, refused + more);
        if refused > 0 && sum * 20 >= limit * 19 {
            return sum;
        }
    }
    panic!("{sum} of {limit}, {refused} refused");
}

/// A server that stands still for two seconds delays no request of a key that is far from its limit by more
/// than a moment, and none fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_stands_still_fails_no_request() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let mut gateways = Vec::new();
    for _ in 0..2 {
        let redis = RedisSettings { cache: None, ..RedisSettings::plain(server.url()) };
        gateways.push(replica_with(&upstream, redis, requests(1_000_000), WhenAlone::Share).await);
    }
    until_known(&server, 2).await;
    let all: Vec<&Gateway> = gateways.iter().collect();
    let [before, ..] = flood(&all, 4, Duration::from_millis(300)).await;
    server.freeze();
    let [still, refused, failed] = flood(&all, 4, Duration::from_secs(2)).await;
    server.go_on();
    let [after, ..] = flood(&all, 4, Duration::from_millis(300)).await;
    assert!(before > 0 && after > 0 && still > 20, "{before} {still} {after}");
    assert_eq!((refused, failed), (0, 0));
    stop(gateways).await;
}

/// A request waits for a slow server as long as it may, and the connection stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_redis_is_waited_for() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    // Without an answer of Redis the request is refused.
    let redis = RedisSettings { cache: None, wait: 5 * LONG_WAIT, ..RedisSettings::plain(server.url()) };
    let gateway = replica_with(&upstream, redis, requests(1000), WhenAlone::Closed).await;
    until_known(&server, 1).await;
    server.freeze();
    let mut client = gateway.client(Version::H1).await;
    let answer = tokio::spawn(async move { client.send(Call::whole()).await.status.as_u16() });
    tokio::time::sleep(Duration::from_millis(700)).await;
    server.go_on();
    assert_eq!(answer.await.unwrap(), 200);
    stop(vec![gateway]).await;
}

/// Places for requests at once are shared, and come back when their gateway ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_once_are_shared() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let gate = Gate::new();
    let held = vec![script::sse_head(), Step::Body(delta("one")), Step::Wait(gate.clone()), Step::End];
    let upstream = Upstream::always(Speaks::H1, held);
    let allowance = LimitValues { concurrent: Some(3), ..LimitValues::default() };
    let limits = KeyLimits { allowance, ..KeyLimits::default() };
    let gateways = replicas(2, &upstream, &server.url(), &limits).await;
    until_known(&server, 2).await;
    tokio::time::sleep(RECOVERY).await;
    let mut clients = [gateways[0].client(Version::H2).await, gateways[1].client(Version::H2).await];
    let mut held = Vec::new();
    for index in [0, 1, 0] {
        let answer = clients[index].send(Call::stream()).await;
        assert_eq!(answer.status.as_u16(), 200, "{index}");
        held.push(answer);
    }
    for client in &mut clients {
        let told = refusal(client.send(Call::stream()).await).await;
        assert_eq!(told, (429, "rate_limit_exceeded".into(), Some("concurrent".into())));
    }
    gate.open();
    for answer in held {
        answer.collect().await;
    }
    for gateway in &gateways {
        gateway.calm().await;
    }
    let free = async {
        loop {
            let answer = clients[1].send(Call::stream()).await;
            let status = answer.status.as_u16();
            answer.collect().await;
            if status == 200 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    in_time(free).await.expect("places that are free again");
    drop(clients);
    stop(gateways).await;
}

/// One request after the other, each to the next gateway, with one place for all: none is refused, because a
/// place is given back when its request ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_moves_to_the_next_gateway() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let allowance = LimitValues { concurrent: Some(1), ..LimitValues::default() };
    let limits = KeyLimits { allowance, ..KeyLimits::default() };
    let gateways = replicas(2, &upstream, &server.url(), &limits).await;
    until_known(&server, 2).await;
    tokio::time::sleep(RECOVERY).await;
    let mut clients = [gateways[0].client(Version::H1).await, gateways[1].client(Version::H1).await];
    let mut statuses = Vec::new();
    for turn in 0..20 {
        let answer = clients[turn % 2].send(Call::whole()).await;
        statuses.push(answer.status.as_u16());
        answer.collect().await;
    }
    assert_eq!(statuses, vec![200; 20]);
    drop(clients);
    stop(gateways).await;
}

/// Without Redis: a part of the limit, all of it, or nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_limits_are_as_configured() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let url = RedisUrl::parse(&format!("redis://127.0.0.1:{}", free_port())).unwrap();
    for (when_alone, good) in [(WhenAlone::Share, 5), (WhenAlone::Open, 5), (WhenAlone::Closed, 0)] {
        let gateway = replica(&upstream, &url, requests(5), when_alone).await;
        let mut client = gateway.client(Version::H1).await;
        let mut statuses = Vec::new();
        for _ in 0..6 {
            let answer = client.send(Call::whole()).await;
            statuses.push(answer.status.as_u16());
            answer.collect().await;
        }
        let expected = if good == 0 { vec![503; 6] } else { vec![200, 200, 200, 200, 200, 429] };
        assert_eq!(statuses, expected, "{when_alone:?}");
        if good == 0 {
            let answer = client.send(Call::whole()).await;
            assert_eq!(answer.header("retry-after"), "1");
            assert_eq!(refusal(answer).await.1, "limits_unavailable");
        }
        drop(client);
        gateway.stop().await;
    }
    let Some(mut server) = RedisServer::start(&[]).await else { return };
    let gateways = replicas(2, &upstream, &server.url(), &requests(100)).await;
    until_known(&server, 2).await;
    // Both have counted each other at their next sign of life.
    tokio::time::sleep(Duration::from_secs(5)).await;
    server.kill();
    let [good, ..] = flood(&[&gateways[0]], 8, Duration::from_secs(3)).await;
    assert_eq!(good, 50, "half of the limit");
    stop(gateways).await;
}

/// A server that is out of memory answers, and grants nothing: each gateway has its part, as without a
/// server, and nothing is granted twice when there is room again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_out_of_memory_leaves_each_its_part() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateways = replicas(2, &upstream, &server.url(), &requests(100)).await;
    until_known(&server, 2).await;
    // Both have counted each other at their next sign of life.
    tokio::time::sleep(RECOVERY).await;
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let [meanwhile, _, failed] = flood(&[&gateways[0]], 8, Duration::from_secs(2)).await;
    assert_eq!((meanwhile, failed), (50, 0), "half of the limit");
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    let all: Vec<&Gateway> = gateways.iter().collect();
    let [after, _, failed] = flood(&all, 8, RECOVERY + Duration::from_secs(2)).await;
    let sum = meanwhile + after;
    assert!((95..=100).contains(&sum) && failed == 0, "{meanwhile} and {after} of 100, {failed} failed");
    stop(gateways).await;
}
