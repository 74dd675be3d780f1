//! B10: a thousand streams are held while the configuration is replaced a hundred times, every fifth time by
//! a broken file. Every stream ends with exactly its bytes, and a gauge counts the streams of older
//! configurations.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::operators::reload::{ADMIN, File, asked, reloaded};
use crate::{
    client::{Answer, Call, Client, Version, call::TOKEN},
    gateway::Plan,
    journal,
    upstream::{Gate, Seen, Speaks, Step, Upstream, script},
};

const STREAMS: usize = 1000;
/// Few enough over HTTP/1.1 for a machine that allows a process 1024 file descriptors.
const OVER_HTTP1: usize = 200;
const RELOADS: usize = 100;
/// The last pieces are sent after the last reload.
const PIECES: usize = 21;
const CONNECTIONS: usize = 8;

fn name_of(seen: &Seen) -> String {
    seen.json()["messages"][0]["content"].as_str().unwrap().to_owned()
}

fn piece(name: &str, number: usize) -> Bytes {
    script::delta(&format!("{name} \u{1f30a} {number}"))
}

fn whole(name: &str) -> Bytes {
    let pieces: Vec<Bytes> = (0..PIECES).map(|number| piece(name, number)).collect();
    [&pieces.concat()[..], script::DONE].concat().into()
}

/// Each stream has its own name in every piece; the n-th piece waits for the n-th gate.
fn upstream(speaks: Speaks, gates: &Arc<Vec<Gate>>) -> Upstream {
    let gates = Arc::clone(gates);
    Upstream::by(speaks, move |_, seen| {
        let name = name_of(seen);
        let mut steps = vec![script::sse_head()];
        for (number, gate) in gates.iter().enumerate() {
            steps.extend([Step::Wait(gate.clone()), script::body(piece(&name, number))]);
        }
        steps.extend([script::body(script::DONE), Step::End]);
        steps
    })
}

/// Everything that a reload may change does change: addresses, names, models, tokens, limits.
fn config(turn: usize, streaming: [&Upstream; 2], other: &Upstream) -> Value {
    let old = turn == 0;
    let provider = |name: &str, base: &Upstream, protocol: &str, model: &str| json!({"name": name, "base_url": base.base(), "protocol": protocol, "models": [model]});
    let providers = if old {
        vec![provider("one", streaming[0], "http1", "m1"), provider("two", streaming[1], "http2", "m2")]
    } else {
        vec![provider(&format!("turn-{turn}"), other, "http1", "m1")]
    };
    let token = if old { TOKEN.to_owned() } else { format!("sk-{turn}") };
    json!({
        "providers": providers,
        "tokens": [format!("tests|{token}"), {"description": "admin", "token": ADMIN, "admin": true}],
        "supported_models": if turn.is_multiple_of(2) { json!([]) } else { json!(["^m"]) },
        "max_connections": 1000 + turn,
        "max_response_size": 1_000_000 + turn,
        "failover": turn.is_multiple_of(2),
        "health": {"interval": 0, "precheck": 0, "warmup": 0},
        "watch": false,
        "state_file": false,
    })
}

#[tokio::test]
async fn a_thousand_streams_and_a_hundred_reloads() {
    let gates: Arc<Vec<Gate>> = Arc::new((0..PIECES).map(|_| Gate::new()).collect());
    let streaming = [upstream(Speaks::H1, &gates), upstream(Speaks::H2, &gates)];
    let other = Upstream::always(Speaks::H1, script::json(200, "{}"));
    let config = |turn| config(turn, [&streaming[0], &streaming[1]], &other);
    let file = File::new(&config(0));
    let gateway = Plan::file(&file.0).start().await;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Client::connect(Version::H2, gateway.address).await);
    }
    gates[0].open();
    let mut held: Vec<(String, Answer)> = Vec::new();
    for number in 0..STREAMS {
        let model = if number < OVER_HTTP1 { "m1" } else { "m2" };
        let body = json!({"model": model, "stream": true, "messages": [{"role": "user", "content": format!("stream {number}")}]});
        let call = Call::post("/v1/chat/completions", body.to_string());
        let id = call.id();
        let answer = clients[number % CONNECTIONS].send(call).await;
        assert_eq!(answer.status, 200);
        held.push((id, answer));
    }
    assert_eq!((gateway.gauges().streams, gateway.gauges().old_streams), (STREAMS, 0));
    let begun = Instant::now();
    for turn in 1..=RELOADS {
        if turn.is_multiple_of(5) {
            file.write("{\"providers\": [\"broken\"]}");
            assert_eq!(reloaded(&gateway).await.0, 400);
        } else {
            file.write(config(turn).to_string());
            let (status, told) = reloaded(&gateway).await;
            assert_eq!(status, 200, "{told}");
            let whole = json!({"model": "m1", "messages": []}).to_string();
            let call = Call::post("/v1/chat/completions", whole);
            let call = call.header("authorization", &format!("Bearer sk-{turn}"));
            assert_eq!(asked(&gateway, call).await.0, 200, "a new request lives by the new one");
        }
        assert_eq!(gateway.gauges().old_streams, STREAMS);
        if turn.is_multiple_of(5) {
            gates[turn / 5].open();
        }
    }
    println!("{RELOADS} reloads under {STREAMS} streams in {:?}", begun.elapsed());
    for (number, (id, answer)) in held.into_iter().enumerate() {
        let received = answer.collect().await;
        assert!(received.complete, "stream {number}");
        assert_eq!(received.bytes(), whole(&format!("stream {number}")), "stream {number}");
        if number.is_multiple_of(100) {
            assert_eq!(journal::closing(&id).await["message"], "done");
        }
    }
    gateway.until("no stream on an old configuration", |now| now.old_streams == 0).await;
    drop(clients);
    gateway.stop().await;
}
