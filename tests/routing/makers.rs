//! A provider that made an id or a sealed text gets it back (B6).

use serde_json::{Value, json};
use thalweg::routing::Strategy;

use crate::{
    client::{Call, Client, Version},
    gateway::{Gateway, Plan},
    upstream::{Seen, Speaks, Step, Upstream, script},
};

/// A sealed text of this provider.
fn sealed(name: &str, number: usize) -> String {
    format!("{}-{name}-{number:04}", "EqQBCkYIBxgCKkDd".repeat(6))
}

fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap())
}

fn response(name: &str, number: usize) -> Value {
    let reasoning = json!({
        "type": "reasoning", "id": format!("rs_{name}_{number}"), "encrypted_content": sealed(name, number)
    });
    json!({"id": format!("resp_{name}_{number}"), "object": "response", "status": "completed", "output": [reasoning]})
}

fn message(name: &str, number: usize) -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
        "content": [{"type": "thinking", "thinking": "t", "signature": sealed(name, number)}],
        "usage": {"input_tokens": 1, "output_tokens": 1},
    })
}

/// Answers of a provider with this name, streamed or whole.
fn answer(name: &str, number: usize, seen: &Seen) -> Vec<Step> {
    if seen.method == "GET" {
        return script::json(200, response(name, number).to_string());
    }
    let streams = seen.json()["stream"] == true;
    let events = if seen.target.ends_with("/messages") {
        if !streams {
            return script::json(200, message(name, number).to_string());
        }
        let (thought, signature) = ("thinking_delta", "signature_delta");
        vec![
            json!({"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 1}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": thought, "thinking": "a"}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": thought, "thinking": "b"}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": signature, "signature": sealed(name, number)}}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}),
            json!({"type": "message_stop"}),
        ]
    } else {
        let whole = response(name, number);
        if !streams {
            return script::json(200, whole.to_string());
        }
        vec![
            json!({"type": "response.created", "response": {"id": whole["id"], "object": "response"}}),
            json!({"type": "response.output_text.delta", "delta": "a"}),
            json!({"type": "response.output_text.delta", "delta": "b"}),
            json!({"type": "response.output_item.done", "item": whole["output"][0]}),
            json!({"type": "response.completed", "response": whole}),
        ]
    };
    script::sse(events.iter().map(event).collect::<String>())
}

fn maker(name: &'static str) -> Upstream {
    Upstream::by(Speaks::H1, move |number, seen| answer(name, number, seen))
}

async fn gateway(upstreams: [&Upstream; 3]) -> Gateway {
    Plan::to(&upstreams).with(|settings| settings.routing.strategy = Strategy::Weighted).start().await
}

/// The provider of the answer, and its text.
async fn asked(client: &mut Client, call: Call) -> (String, String) {
    let answer = client.send(call).await;
    assert_eq!(answer.status, 200);
    let provider = answer.header("x-thalweg-provider").to_owned();
    (provider, answer.collect().await.text())
}

/// The text between `before` and the next quote.
fn after<'t>(text: &'t str, before: &str) -> &'t str {
    text.split_once(before).unwrap_or_else(|| panic!("{before} in {text}")).1.split('"').next().unwrap()
}

/// Every request goes where its thing was made, streamed or whole, whatever the strategy.
#[tokio::test]
async fn a_thing_goes_back_to_its_maker() {
    let upstreams = [maker("a"), maker("b"), maker("c")];
    let gateway = gateway(upstreams.each_ref()).await;
    let mut client = gateway.client(Version::H1).await;
    let mut makers = std::collections::BTreeSet::new();
    for number in 0..20 {
        let stream = number % 2 == 0;
        let first = json!({"model": "m", "input": "hi", "stream": stream}).to_string();
        let (made_by, text) = asked(&mut client, Call::post("/v1/responses", first)).await;
        let id = after(&text, r#""id":"resp_"#);
        let follow = json!({"model": "m", "previous_response_id": format!("resp_{id}"), "input": "more"});
        let (served_by, _) = asked(&mut client, Call::post("/v1/responses", follow.to_string())).await;
        assert_eq!(served_by, made_by, "previous_response_id");
        let item = json!({"type": "reasoning", "summary": [], "encrypted_content": after(&text, r#""encrypted_content":""#)});
        let follow =
            json!({"model": "m", "store": false, "input": [item, {"role": "user", "content": "more"}]});
        let (served_by, _) = asked(&mut client, Call::post("/v1/responses", follow.to_string())).await;
        assert_eq!(served_by, made_by, "encrypted_content");
        let (served_by, _) = asked(&mut client, Call::get(&format!("/v1/responses/resp_{id}"))).await;
        assert_eq!(served_by, made_by, "a stored response");

        let first = json!({"model": "m", "max_tokens": 9, "messages": [], "stream": stream}).to_string();
        let (made_by, text) = asked(&mut client, Call::post("/v1/messages", first)).await;
        let signature = after(&text, r#""signature":""#);
        let thought = json!({"type": "thinking", "thinking": "ab", "signature": signature});
        let follow =
            json!({"model": "m", "max_tokens": 9, "messages": [{"role": "assistant", "content": [thought]}]});
        let (served_by, _) = asked(&mut client, Call::post("/v1/messages", follow.to_string())).await;
        assert_eq!(served_by, made_by, "signature");
        makers.insert(made_by);
    }
    assert!(makers.len() > 1, "all at {makers:?}");
    drop(client);
    gateway.stop().await;
}

/// The maker fails: its error is the answer, because no other provider can help.
#[tokio::test]
async fn a_makers_failure_is_its_own() {
    let words = r#"{"error":{"message":"down","type":"server_error","code":null}}"#;
    let first = Upstream::by(Speaks::H1, move |number, seen| match number {
        0 => answer("a", number, seen),
        _ => script::json(500, words),
    });
    let second = maker("b");
    let gateway = Plan::to(&[&first, &second]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let (made_by, _) = asked(&mut client, Call::post("/v1/responses", r#"{"model":"m","input":"hi"}"#)).await;
    assert_eq!(made_by, "p0");
    let follow = r#"{"model":"m","previous_response_id":"resp_a_0","input":"more"}"#;
    let failed = client.send(Call::post("/v1/responses", follow)).await;
    assert_eq!((failed.status.as_u16(), failed.header("x-thalweg-attempts")), (500, "1"));
    assert_eq!(failed.collect().await.text(), words);
    let (served_by, _) =
        asked(&mut client, Call::post("/v1/responses", r#"{"model":"m","input":"hi"}"#)).await;
    assert_eq!(served_by, "p1", "other requests go on");
    drop(client);
    gateway.stop().await;
}

/// After a restart makers are not known: the providers are asked in order until one knows its thing. If none
/// does, the last one's words pass.
#[tokio::test]
async fn an_unknown_maker_is_found_by_asking() {
    for (status, words) in [
        (
            400,
            r#"{"error":{"message":"Previous response with id 'resp_x' not found.","type":"invalid_request_error","param":"previous_response_id","code":"previous_response_not_found"}}"#,
        ),
        (
            400,
            r#"{"error":{"message":"The encrypted content for item rs_1 could not be verified.","type":"invalid_request_error","code":"invalid_encrypted_content"}}"#,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0: Invalid `signature` in `thinking` block"}}"#,
        ),
    ] {
        let stranger = || Upstream::always(Speaks::H1, script::json(status, words));
        let follow = r#"{"model":"m","previous_response_id":"resp_x","input":"more"}"#;
        let (first, second) = (stranger(), maker("b"));
        let gateway = Plan::to(&[&first, &second]).start().await;
        let mut client = gateway.client(Version::H1).await;
        for _ in 0..2 {
            let (served_by, _) = asked(&mut client, Call::post("/v1/responses", follow)).await;
            assert_eq!(served_by, "p1", "{words}");
        }
        assert_eq!(first.log.requests(), 2, "no provider rests for a thing of another");
        drop(client);
        gateway.stop().await;

        let (first, second) = (stranger(), stranger());
        let gateway = Plan::to(&[&first, &second]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let failed = client.send(Call::post("/v1/responses", follow)).await;
        assert_eq!((failed.status.as_u16(), failed.header("x-thalweg-attempts")), (status, "2"));
        assert_eq!(failed.collect().await.text(), words);
        drop(client);
        gateway.stop().await;
    }
}
