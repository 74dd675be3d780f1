//! Stored responses belong to the key that made them, and a response that is made in the background is
//! charged with its true usage once that is known.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use http::Method;
use serde_json::{Value, json};
use thalweg::{
    auth::{KeyStore, TokenSettings},
    base::Secret,
    database::Database,
};

use super::{charges::with_budget, database_keys::Folder, keys::refusal};
use crate::{
    client::{Answer, Call, Client, Version},
    gateway::{Gateway, Plan},
    journal,
    upstream::{Gate, Speaks, Step, Upstream, script},
};

const BOB: &str = "sk-of-bob";
const ASK: &str = r#"{"model":"m","input":"Hello"}"#;

fn bobs(call: Call) -> Call {
    call.header("authorization", &format!("Bearer {BOB}"))
}

/// A provider that numbers its responses and has each of them.
fn storing() -> Upstream {
    let made = AtomicUsize::new(0);
    Upstream::by(Speaks::H1, move |_, seen| {
        let id = match (&*seen.method, &*seen.target) {
            ("POST", "/v1/responses") => format!("resp_{}", made.fetch_add(1, Relaxed)),
            (_, target) => target.split('/').nth(3).unwrap().to_owned(),
        };
        let response = json!({"id": id, "object": "response", "status": "completed", "output": []});
        script::json(200, response.to_string())
    })
}

fn two_keys(plan: Plan) -> Plan {
    plan.with(|settings| {
        settings.tokens.push(TokenSettings::plain("bob", Secret::new(BOB.to_owned())));
    })
}

async fn made(client: &mut Client) -> String {
    let made = client.send(Call::post("/v1/responses", ASK)).await.collect().await.json();
    made["id"].as_str().unwrap().to_owned()
}

async fn code(answer: Answer) -> (u16, String) {
    let (status, code, _) = refusal(answer).await;
    (status, code)
}

/// All ways to name a response by its id.
fn by_id(id: &str) -> [Call; 5] {
    [
        Call::get(&format!("/v1/responses/{id}")),
        Call::get(&format!("/v1/responses/{id}/input_items")),
        Call::get(&format!("/v1/responses/{id}?stream=true")),
        Call::new(Method::POST, &format!("/v1/responses/{id}/cancel")),
        Call::new(Method::DELETE, &format!("/v1/responses/{id}")),
    ]
}

#[tokio::test]
async fn a_response_belongs_to_its_key() {
    let upstream = storing();
    let gateway = two_keys(Plan::to(&[&upstream])).start().await;
    let mut client = gateway.client(Version::H1).await;
    let id = made(&mut client).await;
    for call in by_id(&id) {
        assert_eq!(code(client.send(bobs(call)).await).await, (404, "response_not_found".to_owned()));
    }
    let follow = json!({"model": "m", "input": "more", "previous_response_id": id}).to_string();
    for target in ["/v1/responses", "/v1/responses/compact", "/v1/responses/input_tokens"] {
        let refused = refusal(client.send(bobs(Call::post(target, follow.clone()))).await).await;
        let expected =
            (400, "previous_response_not_found".to_owned(), Some("previous_response_id".to_owned()));
        assert_eq!(refused, expected, "{target}");
    }
    // Two parsers might read these differently.
    for (name, value) in [
        (r#""Previous_Response_Id""#, id.clone()),
        (r#""previous_response_id":"resp_x","previous_response_id""#, id.clone()),
        (r#""previous\u005fresponse_id""#, id.clone()),
        (r#""previous_response_id""#, id.replace('_', "\\u005f")),
    ] {
        let body = format!(r#"{{"model":"m","input":"more",{name}:"{value}"}}"#);
        assert_eq!(client.send(bobs(Call::post("/v1/responses", body.clone()))).await.status, 400, "{body}");
    }
    assert_eq!(upstream.log.requests(), 1, "no provider was asked");
    let answer = client.send(Call::post("/v1/responses", follow)).await;
    assert_eq!(answer.status, 200);
    answer.collect().await;
    for call in by_id(&id) {
        let answer = client.send(call).await;
        assert_eq!(answer.status, 200);
        answer.collect().await;
    }
    drop(client);
    gateway.stop().await;
}

/// The id of a stream belongs to its key as soon as the client has it: it may cancel by it.
#[tokio::test]
async fn the_response_of_a_running_stream_belongs_to_its_key() {
    let gate = Gate::new();
    let created = r#"{"type":"response.created","response":{"id":"resp_s","object":"response"}}"#;
    let delta = r#"{"type":"response.output_text.delta","item_id":"msg_1","output_index":0,"content_index":0,"delta":"a"}"#;
    let event = |name: &str, data: &str| format!("event: {name}\ndata: {data}\n\n");
    let first = event("response.created", created) + &event("response.output_text.delta", delta);
    let held = vec![script::sse_head(), script::body(first), Step::Wait(gate.clone()), Step::End];
    let upstream = Upstream::by(Speaks::H1, move |_, seen| match &*seen.method {
        "POST" if seen.target == "/v1/responses" => held.clone(),
        _ => script::json(200, r#"{"id":"resp_s","object":"response","status":"cancelled"}"#),
    });
    let gateway = two_keys(Plan::to(&[&upstream])).start().await;
    let mut streaming = gateway.client(Version::H1).await;
    let mut stream =
        streaming.send(Call::post("/v1/responses", r#"{"model":"m","stream":true,"input":"Hello"}"#)).await;
    stream.piece().await;
    let mut client = gateway.client(Version::H1).await;
    let cancel = || Call::new(Method::POST, "/v1/responses/resp_s/cancel");
    assert_eq!(
        client.send(bobs(cancel())).await.collect().await.json()["error"]["code"],
        "response_not_found"
    );
    assert_eq!(client.send(cancel()).await.collect().await.json()["status"], "cancelled");
    gate.open();
    drop((stream, streaming, client));
    gateway.stop().await;
}

/// A response that was made before the start may be anyone's.
#[tokio::test]
async fn an_unknown_response_is_the_only_keys() {
    let upstream = storing();
    for (keys, is_allowed, status) in [(1, false, 200), (2, false, 404), (2, true, 200)] {
        let mut plan =
            Plan::to(&[&upstream]).with(|settings| settings.routing.unknown_responses = is_allowed);
        if keys == 2 {
            plan = two_keys(plan);
        }
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        for call in by_id("resp_of_yesterday") {
            let answer = client.send(call).await;
            assert_eq!(answer.status, status, "{keys} {is_allowed}");
            answer.collect().await;
        }
        let follow = r#"{"model":"m","input":"more","previous_response_id":"resp_of_yesterday"}"#;
        let answer = client.send(Call::post("/v1/responses", follow)).await;
        assert_eq!(answer.status == 200, status == 200, "{keys} {is_allowed}");
        answer.collect().await;
        drop(client);
        gateway.stop().await;
    }
}

/// One response, which is under way at the first look and has ended at the second.
fn in_background(first: Vec<Step>) -> Upstream {
    let looks = AtomicUsize::new(0);
    let state = |status: &str, usage: Value| {
        json!({"id": "resp_b", "object": "response", "background": true, "status": status, "model": "m",
               "output": [], "usage": usage})
    };
    Upstream::by(Speaks::H1, move |_, seen| {
        if &*seen.method == "POST" {
            return first.clone();
        }
        let response = match looks.fetch_add(1, Relaxed) {
            0 => state("in_progress", Value::Null),
            _ => state("completed", json!({"input_tokens": 100, "output_tokens": 50, "total_tokens": 150})),
        };
        script::json(200, response.to_string())
    })
}

fn queued() -> Vec<Step> {
    let queued = json!({"id": "resp_b", "object": "response", "background": true, "status": "queued",
                        "model": "m", "output": [], "usage": null});
    script::json(200, queued.to_string())
}

/// Tokens in and out and cost over all rows, and the key's spending.
async fn booked(folder: &Folder, gateway: Gateway) -> [i64; 4] {
    gateway.stop().await;
    let database = Database::open(&folder.database(), &[]).await.unwrap();
    let sql = "SELECT CAST(SUM(tokens_in) AS BIGINT), CAST(SUM(tokens_out) AS BIGINT), \
               CAST(SUM(cost) AS BIGINT) FROM requests";
    let rows = database.fetch(sql, Vec::new()).await.unwrap();
    let sums = [0, 1, 2].map(|column| rows[0].int(column).unwrap().unwrap_or(0));
    let sql = "SELECT CAST(SUM(tokens_in) AS BIGINT), CAST(SUM(tokens_out) AS BIGINT), \
               CAST(SUM(cost) AS BIGINT) FROM rollups WHERE span = 3600";
    let rows = database.fetch(sql, Vec::new()).await.unwrap();
    assert_eq!([0, 1, 2].map(|column| rows[0].int(column).unwrap().unwrap_or(0)), sums);
    database.close().await;
    let store = KeyStore::open(&folder.database()).await.unwrap();
    let spent = store.spending().await.unwrap().get("config:alice").copied().unwrap_or(0);
    store.close().await;
    [sums[0], sums[1], sums[2], spent]
}

#[tokio::test]
async fn a_background_response_is_charged_with_its_true_usage_once() {
    for looks in [0, 1, 2, 4] {
        let (folder, upstream) = (Folder::new(), in_background(queued()));
        let plan = with_budget(&[&upstream], 1_000_000).with(|settings| {
            settings.database = Some(folder.database());
        });
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let ask = r#"{"model":"m","background":true,"input":"Hello"}"#;
        assert_eq!(
            client.send(Call::post("/v1/responses", ask)).await.collect().await.json()["status"],
            "queued"
        );
        let mut closing = None;
        for _ in 0..looks {
            let look = Call::get("/v1/responses/resp_b");
            closing = Some(look.id());
            client.send(look).await.collect().await;
        }
        if let Some(id) = closing {
            journal::closing(&id).await;
        }
        drop(client);
        let [input, output, cost, spent] = booked(&folder, gateway).await;
        assert_eq!((input + output, cost), (cost, spent), "{looks} looks");
        match looks {
            0 | 1 => assert!((1..100).contains(&cost), "the estimate: {input} {output}"),
            _ => assert_eq!([input, output, cost], [100, 50, 150], "{looks} looks"),
        }
    }
}

/// To leave the stream of a background response and to read the response instead is not cheaper.
#[tokio::test]
async fn a_background_stream_that_is_left_is_charged_by_the_look_at_it() {
    let created = r#"{"type":"response.created","response":{"id":"resp_b","object":"response","background":true,"status":"queued"}}"#;
    let delta = r#"{"type":"response.output_text.delta","item_id":"msg_1","output_index":0,"content_index":0,"delta":"a"}"#;
    let event = |name: &str, data: &str| format!("event: {name}\ndata: {data}\n\n");
    let first = event("response.created", created) + &event("response.output_text.delta", delta);
    let folder = Folder::new();
    let upstream = in_background(vec![script::sse_head(), script::body(first), Step::Stall]);
    let plan =
        with_budget(&[&upstream], 1_000_000).with(|settings| settings.database = Some(folder.database()));
    let gateway = plan.start().await;
    let mut leaving = gateway.client(Version::H1).await;
    let ask = Call::post("/v1/responses", r#"{"model":"m","background":true,"stream":true,"input":"Hello"}"#);
    let id = ask.id();
    let mut stream = leaving.send(ask).await;
    stream.piece().await;
    drop((stream, leaving));
    journal::closing(&id).await;
    let mut client = gateway.client(Version::H1).await;
    for _ in 0..3 {
        client.send(Call::get("/v1/responses/resp_b")).await.collect().await;
    }
    drop(client);
    assert_eq!(booked(&folder, gateway).await, [100, 50, 150, 150]);
}
