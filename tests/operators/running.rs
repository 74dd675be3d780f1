//! Running requests: `/events?running=true`, to each key its own, and `/stats?running=true`.

use serde_json::Value;

use crate::operators::{
    events::next,
    statistics::{ADMIN, plan},
};
use crate::{
    client::{Answer, Call, Version},
    upstream::{
        Speaks, Step, Upstream,
        script::{self, DONE, Gate, delta},
    },
};

fn as_admin(call: Call) -> Call {
    call.header("authorization", &format!("Bearer {ADMIN}"))
}

/// The next view that fulfils `wanted`.
async fn view(feed: &mut Answer, rest: &mut String, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let view = next(feed, rest, "running").await;
        if wanted(&view) {
            return view;
        }
    }
}

/// A provider that waits for the first gate before its head, and for the second after its first event.
fn provider(gates: &[Gate; 2]) -> Upstream {
    let first =
        [Step::Wait(gates[0].clone()), script::sse_head(), script::body(delta("one")), Step::Delivered];
    let rest = [Step::Wait(gates[1].clone()), script::body(delta("two")), script::body(DONE), Step::End];
    Upstream::always(Speaks::H1, [first, rest].concat())
}

#[tokio::test]
async fn a_running_stream_is_seen_with_its_phase_and_leaves() {
    for version in Version::BOTH {
        let gates = [Gate::new(), Gate::new()];
        let upstream = provider(&gates);
        let gateway = plan(&[&upstream]).start().await;
        let mut watching = gateway.client(version).await;
        let mut asking = gateway.client(version).await.telling(&upstream.log);
        let mut feed = watching.send(as_admin(Call::get("/events?running=true"))).await;
        let mut rest = String::new();
        let empty = next(&mut feed, &mut rest, "running").await;
        assert_eq!((&empty["requests"], &empty["rows"]), (&0.into(), &Value::Array(Vec::new())), "{empty}");
        assert!(empty["instance"].as_str().is_some_and(|name| !name.is_empty()), "{empty}");
        let call = Call::stream();
        let id = call.id();
        let asked = tokio::spawn(async move { (asking.send(call).await.collect().await, asking) });
        let waits = |view: &Value| view["rows"][0]["phase"] == "before_head";
        let shown = view(&mut feed, &mut rest, waits).await;
        let row = &shown["rows"][0];
        let names = ["request_id", "principal", "model_asked", "provider", "path", "mode"];
        let expected = [&*id, "tests", "m", "p0", "/v1/chat/completions", "asgi"];
        assert_eq!(names.map(|name| row[name].as_str().unwrap()), expected, "{row}");
        assert!(row["age_us"].as_u64() > Some(0) && row["ttft_us"].is_null(), "{row}");
        gates[0].open();
        // The time added is known once the client's connection has taken the frame, and the stream is silent.
        let streams = |view: &Value| {
            let row = &view["rows"][0];
            row["phase"] == "mid_stream" && row["added_max_ns"].as_u64() > Some(0)
        };
        let shown = view(&mut feed, &mut rest, streams).await;
        let row = &shown["rows"][0];
        assert_eq!((&row["tokens_out"], &row["state"]), (&1.into(), &"running".into()), "{row}");
        assert_eq!((&row["added_first_ns"], &shown["workers_missing"]), (&row["added_max_ns"], &0.into()));
        assert!(row["ttft_us"].as_u64() > Some(0) && row["quiet_us"].as_u64() > Some(0), "{row}");
        let stats = as_admin(Call::get("/stats?running=true"));
        let stats = gateway.client(version).await.send(stats).await.collect().await.json();
        assert_eq!(stats["running"]["rows"][0]["request_id"], *id, "{stats}");
        gates[1].open();
        let (received, asking) = asked.await.unwrap();
        assert!(received.complete);
        view(&mut feed, &mut rest, |view| view["requests"] == 0).await;
        drop((feed, watching, asking));
        gateway.stop().await;
    }
}

/// A request that is hedged is seen with the attempt that began last among those that run.
#[tokio::test]
async fn a_hedged_request_is_seen_with_its_last_attempt() {
    let gates = [Gate::new(), Gate::new(), Gate::new()];
    let wait = |gate: usize| Step::Wait(gates[gate].clone());
    let answer = [wait(0), script::sse_head(), script::body(delta("one")), Step::Delivered, wait(1)];
    let first = Upstream::always(Speaks::H1, [&answer[..], &[script::body(DONE), Step::End]].concat());
    let second = Upstream::always(Speaks::H1, vec![script::sse_head(), wait(2), Step::Reset]);
    let plan = plan(&[&first, &second]).with(|settings| settings.routing.hedge.share = 1.0);
    let gateway = plan.start().await;
    let mut watching = gateway.client(Version::H1).await;
    let mut asking = gateway.client(Version::H1).await.telling(&first.log);
    let mut feed = watching.send(as_admin(Call::get("/events?running=true"))).await;
    let mut rest = String::new();
    let call = Call::stream().header("x-thalweg-strategy", "hedge:20ms");
    let asked = tokio::spawn(async move { (asking.send(call).await.collect().await, asking) });
    for (gate, provider, phase) in
        [(None, "p1", "before_first_token"), (Some(2), "p0", "before_head"), (Some(0), "p0", "mid_stream")]
    {
        gate.into_iter().for_each(|gate: usize| gates[gate].open());
        let is_shown = |view: &Value| {
            let row = &view["rows"][0];
            row["provider"] == provider && row["phase"] == phase
        };
        view(&mut feed, &mut rest, is_shown).await;
    }
    gates[1].open();
    let (received, asking) = asked.await.unwrap();
    assert!(received.complete);
    drop((feed, watching, asking));
    gateway.stop().await;
}

/// A stream that its client leaves is no longer seen.
#[tokio::test]
async fn each_key_sees_its_own_running_requests() {
    let gates = [Gate::new(), Gate::new()];
    let upstream = provider(&gates);
    gates[0].open();
    let gateway = plan(&[&upstream]).start().await;
    let client = async || gateway.client(Version::H1).await;
    let mut clients = [client().await, client().await, client().await, client().await];
    let [own, others, watching, unasked] = &mut clients;
    let mut feed = watching.send(Call::get("/events?running=true")).await;
    let mut plain = unasked.send(as_admin(Call::get("/events"))).await;
    let (mut rest, mut events) = (String::new(), String::new());
    let mut other = others.send(as_admin(Call::stream())).await;
    other.piece().await;
    let call = Call::stream();
    let id = call.id();
    let mut stream = own.send(call).await;
    stream.piece().await;
    let shown = view(&mut feed, &mut rest, |view| view["requests"] != 0).await;
    assert_eq!((&shown["requests"], &shown["rows"][0]["request_id"]), (&1.into(), &(*id).into()), "{shown}");
    drop(stream);
    *own = client().await;
    view(&mut feed, &mut rest, |view| view["requests"] == 0).await;
    let row = loop {
        match events.split_once("event: row\n").and_then(|(_, row)| row.split_once("\n\n")) {
            Some((row, _)) => break row,
            None => events.push_str(std::str::from_utf8(&plain.piece().await).unwrap()),
        }
    };
    assert!(row.contains(&*id), "{row}");
    assert!(!events.contains("event: running"), "{events}");
    for path in ["/events?running=yes", "/stats?running=1"] {
        assert_eq!(client().await.send(as_admin(Call::get(path))).await.status, 400, "{path}");
    }
    drop((other, feed, plain, clients));
    gateway.stop().await;
}
