//! `/events?running=true&scope=cluster`: the requests under way at all gateways that share a Redis, in one
//! view.

use std::time::Duration;

use serde_json::Value;

use super::{
    events::{replica, with},
    server::RedisServer,
};
use crate::{
    client::{Answer, Call, Version},
    operators::{events::next, statistics::ADMIN},
    upstream::{
        Speaks, Step, Upstream,
        script::{self, DONE, Gate, delta},
    },
};

/// The next view that fulfils `wanted`.
async fn view(feed: &mut Answer, rest: &mut String, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let found = async {
        loop {
            last = next(feed, rest, "running").await;
            if wanted(&last) {
                return;
            }
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(20), found).await;
    assert!(found.is_ok(), "{last:#}");
    last
}

fn instances(view: &Value) -> Vec<&str> {
    let rows = view["rows"].as_array().unwrap().iter();
    let mut names: Vec<_> = rows.map(|row| row["instance"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

/// A stream at each gateway is in the view of either, with the gateway's name, to each key its own; and a
/// view of one gateway alone has none of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_all_gateways_are_one_view() {
    let Some(mut server) = RedisServer::start(&[]).await else { return };
    let gate = Gate::new();
    let steps = [
        script::sse_head(),
        script::body(delta("one")),
        Step::Wait(gate.clone()),
        script::body(DONE),
        Step::End,
    ];
    let upstream = Upstream::always(Speaks::H1, steps.to_vec());
    let one = replica(&upstream, Some(server.url()), "one").await;
    let two = replica(&upstream, Some(server.url()), "two").await;
    let (mut watching, mut spying, mut alone) =
        (one.client(Version::H1).await, one.client(Version::H1).await, one.client(Version::H1).await);
    let call = || Call::get("/events?running=true&scope=cluster");
    let mut feed = watching.send(with(ADMIN, call())).await;
    let mut own = spying.send(with("sk-other", call())).await;
    let mut single = alone.send(with(ADMIN, Call::get("/events?running=true"))).await;
    let (mut rest, mut own_rest, mut single_rest) = (String::new(), String::new(), String::new());

    let mut clients = Vec::new();
    let mut streams = Vec::new();
    for (gateway, key) in [(&one, ADMIN), (&two, ADMIN), (&two, "sk-other")] {
        let mut client = gateway.client(Version::H1).await;
        streams.push(client.send(with(key, Call::stream())).await);
        clients.push(client);
    }
    let all = view(&mut feed, &mut rest, |view| view["requests"] == 3).await;
    assert_eq!(instances(&all), ["one", "two", "two"]);
    let sums: Vec<_> = all["replicas"].as_array().unwrap().iter().collect();
    assert_eq!(
        sums.iter().map(|one| (&one["instance"], &one["requests"])).collect::<Vec<_>>(),
        [(&"one".into(), &1.into()), (&"two".into(), &2.into())]
    );
    let seen = view(&mut own, &mut own_rest, |view| view["requests"] == 1).await;
    assert_eq!((instances(&seen), &seen["rows"][0]["principal"]), (vec!["two"], &"other".into()));
    assert!(!own_rest.contains("admin"), "{own_rest}");
    let seen = view(&mut single, &mut single_rest, |view| view["requests"] == 1).await;
    assert!(seen["replicas"].is_null() && seen["rows"][0]["instance"].is_null(), "{seen}");

    // While Redis is away there are those of the asked gateway.
    server.kill();
    view(&mut feed, &mut rest, |view| view["requests"] == 1).await;
    server.start_again().await;
    view(&mut feed, &mut rest, |view| view["requests"] == 3).await;
    gate.open();
    for stream in streams {
        stream.collect().await;
    }
    view(&mut feed, &mut rest, |view| view["requests"] == 0).await;
    drop((feed, own, single, watching, spying, alone, clients));
    one.stop().await;
    two.stop().await;
}
