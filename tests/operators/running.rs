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
        let streams = |view: &Value| view["rows"][0]["phase"] == "mid_stream";
        let shown = view(&mut feed, &mut rest, streams).await;
        let row = &shown["rows"][0];
        assert_eq!((&row["tokens_out"], &row["state"]), (&1.into(), &"running".into()), "{row}");
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
    let (mut rest, mut plain_rest) = (String::new(), String::new());
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
    let row = next(&mut plain, &mut plain_rest, "row").await;
    assert_eq!(row["request_id"], *id, "{row}");
    assert!(!plain_rest.contains("event: running"));
    for path in ["/events?running=yes", "/stats?running=1"] {
        assert_eq!(client().await.send(as_admin(Call::get(path))).await.status, 400, "{path}");
    }
    drop((other, feed, plain, clients));
    gateway.stop().await;
}
