//! Batches run in the gaps that limits leave, also where several gateways share the limits.

use std::time::Duration;

use thalweg::{
    auth::{KeyLimits, limit::LimitValues},
    cluster::RedisSettings,
};

use super::{
    limits::{RECOVERY, until_known},
    server::RedisServer,
};
use crate::{
    client::{Call, Version},
    clients::{
        keys::{allow, requests},
        stored_batches::{CHAT, Folder, begin, chat, is, json_of, until},
    },
    gateway::{Gateway, Plan},
    upstream::{
        Gate, Speaks, Step, Upstream,
        log::in_time,
        script::{self, delta},
    },
};

/// A gateway that runs batches, and one that does not; with the same keys and limits.
async fn pair(
    folder: &Folder,
    upstreams: [&Upstream; 2],
    server: &RedisServer,
    limits: &KeyLimits,
) -> [Gateway; 2] {
    let shared = |plan: Plan| {
        plan.with(|settings| {
            settings.tokens[0].limits = limits.clone();
            settings.tokens[0].admin = true;
            let wait = Duration::from_secs(1);
            settings.redis = Some(RedisSettings { cache: None, wait, ..RedisSettings::plain(server.url()) });
        })
    };
    let [batches, other] = upstreams;
    let gateways = [shared(folder.plan(&[batches])).start().await, shared(Plan::to(&[other])).start().await];
    until_known(server, 2).await;
    gateways
}

/// Waits until an upstream has had `least` requests and gets no more of them.
async fn settled(upstream: &Upstream, least: usize) -> usize {
    let settled = async {
        loop {
            let before = upstream.log.requests();
            // Requests that do not come send no event.
            tokio::time::sleep(Duration::from_millis(1500)).await;
            if before >= least && upstream.log.requests() == before {
                return before;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), settled)
        .await
        .unwrap_or_else(|_| panic!("{} of {least} requests", upstream.log.requests()))
}

/// A batch makes no more than half of the requests that a limit has, those at another gateway included; the
/// rest is there for other requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_leaves_half_of_a_limit_over_all_gateways() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let folder = Folder::new();
    let items = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let others = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let [one, two] = pair(&folder, [&items, &others], &server, &requests(60)).await;
    tokio::time::sleep(RECOVERY).await;
    let mut client = two.client(Version::H1).await;
    for _ in 0..20 {
        assert_eq!(client.send(Call::whole()).await.collect().await.json()["object"], "chat.completion");
    }
    let mut own = one.client(Version::H1).await;
    let text: String = (0..40).map(|number| chat(&number.to_string())).collect();
    let batch = begin(&mut own, CHAT, &text).await;
    let begun = settled(&items, 9).await;
    assert!(begun <= 12, "{begun} items beside 20 requests of 60");
    for number in 0..(60 - 20 - begun) {
        let answer = client.send(Call::whole()).await;
        assert_eq!(answer.status, 200, "{number} of {}", 60 - 20 - begun);
        answer.collect().await;
    }
    let stats = json_of(&mut own, Call::get("/stats")).await;
    let batches = &stats["batches"];
    assert_eq!((&batches["running"], &batches["waiting_in_database"]), (&1.into(), &0.into()), "{batches}");
    assert_eq!(batches["items"]["done"], begun, "{batches}");
    assert!(batches["items"]["waiting"].as_u64() > Some(0), "{batches}");
    let id = batch["id"].as_str().unwrap();
    json_of(&mut own, Call::post(&format!("/v1/batches/{id}/cancel"), "")).await;
    let ended = until(&mut own, id, is("cancelled")).await;
    assert_eq!(ended["request_counts"]["completed"], begun);
    drop((client, own));
    one.stop().await;
    two.stop().await;
}

/// Streams at another gateway keep a batch from its places; it runs when they have ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_waits_for_places_at_another_gateway() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let folder = Folder::new();
    let gate = Gate::new();
    let held = vec![script::sse_head(), Step::Body(delta("one")), Step::Wait(gate.clone()), Step::End];
    let items = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let streams = Upstream::always(Speaks::H1, held);
    let limits = allow(LimitValues { concurrent: Some(4), ..LimitValues::default() });
    let [one, two] = pair(&folder, [&items, &streams], &server, &limits).await;
    tokio::time::sleep(RECOVERY).await;
    let mut client = two.client(Version::H2).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let answer = client.send(Call::stream()).await;
        assert_eq!(answer.status, 200);
        open.push(answer);
    }
    let mut own = one.client(Version::H1).await;
    let batch = begin(&mut own, CHAT, &["a", "b", "c"].map(chat).concat()).await;
    let id = batch["id"].as_str().unwrap();
    until(&mut own, id, |batch| batch["status"] == "in_progress").await;
    let waits = async {
        while json_of(&mut own, Call::get("/stats")).await["batches"]["items"]["waiting"] != 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    in_time(waits).await.expect("three items that wait");
    // They would begin at once if the streams did not count.
    assert_eq!(settled(&items, 0).await, 0);
    gate.open();
    for answer in open {
        answer.collect().await;
    }
    let done = until(&mut own, id, is("completed")).await;
    assert_eq!(done["request_counts"]["completed"], 3);
    drop((client, own));
    one.stop().await;
    two.stop().await;
}
