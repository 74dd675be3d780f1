//! Usage that is recorded for a client that has disconnected, by each policy (B6, R12).

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use thalweg::exchange::OnDisconnect;

use crate::{
    client::{Call, Version},
    gateway::{Gateway, Plan},
    journal,
    upstream::{
        Gate, How, Speaks, Step, Upstream,
        script::{self, delta},
    },
};

const FOR_EVER: Duration = Duration::from_secs(3600);

async fn gateway(upstream: &Upstream, policy: OnDisconnect) -> Gateway {
    Plan::to(&[upstream]).with(|settings| settings.stream.on_disconnect = policy).start().await
}

/// Reads the first event of a stream and disconnects. Returns the request's id.
async fn leave(gateway: &Gateway, version: Version) -> String {
    let mut client = gateway.client(version).await;
    let call = Call::stream();
    let id = call.id();
    let mut answer = client.send(call).await;
    answer.piece().await;
    id
}

/// Input tokens, output tokens and their source.
fn usage(line: &Value) -> Value {
    assert_eq!((&line["status"], &line["phase"]), (&json!(499), &json!("mid_stream")), "{line}");
    json!([line["input_tokens"], line["output_tokens"], line["usage"]])
}

/// The estimated tokens of the prompt of [`Call::stream`].
fn prompt() -> usize {
    Call::stream().body.len().div_ceil(4)
}

/// Text counts by its bytes, in whatever number of events of whatever size it came: a client that leaves
/// pays for all that it was sent. An event with little text is a token.
#[tokio::test]
async fn the_text_that_was_passed_counts() {
    let named = |name: &str, data: Value| format!("event: {name}\ndata: {data}\n\n");
    let text = "word ".repeat(600);
    let block = json!({"type": "content_block_delta", "index": 0,
        "delta": {"type": "text_delta", "text": text}});
    let response = json!({"type": "response.output_text.delta", "item_id": "m", "output_index": 0,
        "content_index": 0, "delta": text});
    let logprobs: Vec<_> =
        (0..20).map(|_| json!({"token": " a", "logprob": -0.5, "bytes": [32, 97]})).collect();
    let measured = json!({"choices": [{"index": 0, "delta": {"content": " a"},
        "logprobs": {"content": logprobs}, "finish_reason": null}]});
    let done = json!({"type": "response.output_text.done", "item_id": "m", "text": text.repeat(20)});
    for (path, events, tokens) in [
        ("/v1/chat/completions", delta(&text).repeat(20), 15_000),
        ("/v1/chat/completions", delta(&text.repeat(20)).to_vec(), 15_000),
        ("/v1/chat/completions", format!("data: {measured}\n\n").repeat(20).into(), 20),
        ("/v1/messages", named("content_block_delta", block).repeat(20).into(), 15_000),
        (
            "/v1/responses",
            (named("response.output_text.delta", response).repeat(20)
                + &named("response.output_text.done", done))
                .into(),
            15_000,
        ),
    ] {
        let size = events.len();
        let upstream =
            Upstream::always(Speaks::H1, vec![script::sse_head(), script::body(events), Step::Stall]);
        let gateway = gateway(&upstream, OnDisconnect::Estimate).await;
        let mut client = gateway.client(Version::H1).await;
        let call = Call::post(path, crate::client::call::STREAM);
        let id = call.id();
        let mut answer = client.send(call).await;
        let mut read = 0;
        while read < size {
            read += answer.piece().await.len();
        }
        drop((answer, client));
        let output = journal::closing(&id).await["output_tokens"].as_u64().unwrap();
        assert!((tokens..tokens + 200).contains(&output), "{path} {size}: {output}");
        gateway.stop().await;
    }
}

/// Two events, then silence.
fn stalled() -> Vec<Step> {
    vec![script::sse_head(), script::body([delta("one"), delta("two")].concat()), Step::Stall]
}

/// B6: `cancel` records only reported usage, here none. `estimate` records an estimate of the bytes that
/// passed.
#[tokio::test]
async fn cancel_and_estimate() {
    for speaks in [Speaks::H1, Speaks::H2] {
        for (policy, booked) in [
            (OnDisconnect::Cancel, json!([null, null, null])),
            (OnDisconnect::Estimate, json!([prompt(), 2, "estimated"])),
        ] {
            let upstream = Upstream::always(speaks, stalled());
            let gateway = gateway(&upstream, policy).await;
            let id = leave(&gateway, Version::H1).await;
            upstream.log.gone(0).await;
            assert_eq!(usage(&journal::closing(&id).await), booked);
            gateway.stop().await;
        }
    }
}

/// B6: an Anthropic stream has reported part of its usage by then, and `cancel` records it as partial.
#[tokio::test]
async fn usage_reported_before_the_disconnect() {
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":40,\
                 \"output_tokens\":1}}}\n\n";
    let delta = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n";
    let steps = vec![script::sse_head(), script::body([start, delta, delta].concat()), Step::Stall];
    for (policy, output) in [(OnDisconnect::Cancel, 1), (OnDisconnect::Estimate, 3)] {
        let upstream = Upstream::always(Speaks::H1, steps.clone());
        let gateway = gateway(&upstream, policy).await;
        let mut client = gateway.client(Version::H1).await;
        let call = Call::post("/v1/messages", crate::client::call::STREAM);
        let id = call.id();
        client.send(call).await.piece().await;
        drop(client);
        assert_eq!(usage(&journal::closing(&id).await), json!([40, output, "partial"]));
        gateway.stop().await;
    }
}

/// B6: `drain` reads on until the usage, records it as reported, and gives the connection back to the pool.
#[tokio::test]
async fn drain_reads_to_the_end() {
    for (speaks, version) in [(Speaks::H1, Version::H1), (Speaks::H1, Version::H2), (Speaks::H2, Version::H1)]
    {
        let gate = Gate::new();
        let rest = [delta("two"), script::usage(), script::DONE.into()].concat();
        let held = vec![
            script::sse_head(),
            Step::Body(delta("one")),
            Step::Wait(gate.clone()),
            script::body(rest),
            Step::End,
        ];
        let upstream = Upstream::in_turn(speaks, vec![held, script::sse(script::short_stream())]);
        let gateway = gateway(&upstream, OnDisconnect::Drain { time: FOR_EVER, tokens: 1000 }).await;
        let id = leave(&gateway, version).await;
        let now = gateway.until("a drain", |now| now.drains == 1 && now.connections == 0).await;
        assert_eq!((now.requests, now.streams, now.upstream_active), (0, 0, 1));
        gate.open();
        assert_eq!(usage(&journal::closing(&id).await), json!([9, 3, "reported"]));
        gateway.calm().await;
        let mut client = gateway.client(version).await;
        assert!(client.send(Call::stream()).await.collect().await.complete);
        assert_eq!(upstream.log.connections(), 1, "the connection was whole");
        drop(client);
        gateway.stop().await;
    }
}

/// A drain ends with the answer's last event, whatever the provider does then.
#[tokio::test]
async fn a_drain_ends_with_the_last_event() {
    for end in [Step::Stall, Step::Reset] {
        let gate = Gate::new();
        let rest = [delta("two"), script::usage(), script::DONE.into()].concat();
        let steps = vec![
            script::sse_head(),
            Step::Body(delta("one")),
            Step::Wait(gate.clone()),
            script::body(rest),
            Step::Moment,
            end,
        ];
        let upstream = Upstream::always(Speaks::H1, steps);
        let gateway = gateway(&upstream, OnDisconnect::Drain { time: FOR_EVER, tokens: 1000 }).await;
        let id = leave(&gateway, Version::H1).await;
        gateway.until("a drain", |now| now.drains == 1 && now.connections == 0).await;
        gate.open();
        assert_eq!(usage(&journal::closing(&id).await), json!([9, 3, "reported"]));
        gateway.stop().await;
    }
}

/// B6: a drain ends at its bounds: time, tokens, a provider that breaks off, the end of the process. Usage is
/// then estimated.
#[tokio::test]
async fn the_bounds_of_a_drain() {
    let tokens = OnDisconnect::Drain { time: FOR_EVER, tokens: 5 };
    let time = OnDisconnect::Drain { time: Duration::from_millis(30), tokens: 1000 };
    let patient = OnDisconnect::Drain { time: FOR_EVER, tokens: 1000 };
    let endless: Vec<Bytes> = (0..50).map(|_| delta("x")).collect();
    let gate = Gate::new();
    let much = vec![
        script::sse_head(),
        Step::Body(delta("one")),
        Step::Wait(gate.clone()),
        script::body(endless.concat()),
        Step::Stall,
    ];
    let upstream = Upstream::always(Speaks::H1, much);
    let gateway = gateway(&upstream, tokens).await;
    let id = leave(&gateway, Version::H1).await;
    gateway.until("a drain", |now| now.drains == 1).await;
    gate.open();
    let line = journal::closing(&id).await;
    assert!(line["output_tokens"].as_u64().unwrap() > 5 && line["usage"] == "estimated", "{line}");
    gateway.stop().await;

    let gate = Gate::new();
    let broken = vec![script::sse_head(), Step::Body(delta("one")), Step::Wait(gate.clone()), Step::Reset];
    for (steps, policy) in [(broken, patient), (stalled(), time)] {
        let upstream = Upstream::always(Speaks::H1, steps);
        let gateway = self::gateway(&upstream, policy).await;
        let id = leave(&gateway, Version::H1).await;
        gateway.until("a client that has left", |now| now.connections == 0).await;
        gate.open();
        let line = journal::closing(&id).await;
        assert_eq!(usage(&line)[2], "estimated");
        gateway.stop().await;
    }

    let upstream = Upstream::always(Speaks::H1, stalled());
    let gateway = self::gateway(&upstream, patient).await;
    let id = leave(&gateway, Version::H1).await;
    gateway.until("a drain", |now| now.drains == 1).await;
    tokio::time::timeout(Duration::from_secs(3), gateway.stop_now())
        .await
        .expect("a stop that does not wait for drains");
    assert_eq!(usage(&journal::closing(&id).await), json!([prompt(), 2, "estimated"]));
    let (how, _) = upstream.log.gone(0).await;
    assert!(matches!(how, How::Closed | How::Reset), "{how:?}");
}
