//! Many chat completions in one request (S1.11): each goes the way of a single one, and each has an answer of
//! its own.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use thalweg::{auth::limit::LimitValues, batch::BatchSettings};

use super::keys::{allow, limited, refusal, requests};
use crate::{
    client::{Answer, Call, Version},
    gateway::{PAIRS, Plan},
    journal,
    upstream::{
        Framing, Seen, Speaks, Step, Upstream,
        log::in_time,
        script::{self, Gate},
    },
};

const PATH: &str = "/v1/chat/completions/batch";

/// A batch of these items: name and prompt.
fn batch(items: &[(&str, &str)]) -> Value {
    let item = |(name, prompt): &(&str, &str)| json!({"custom_id": name, "body": {"model": "m", "messages": [{"role": "user", "content": prompt}]}});
    json!({"requests": items.iter().map(item).collect::<Vec<_>>()})
}

fn post(batch: &Value) -> Call {
    Call::post(PATH, batch.to_string())
}

fn prompt(seen: &Seen) -> String {
    seen.json()["messages"][0]["content"].as_str().unwrap().to_owned()
}

/// Answers with the prompt; one that is `slow` only when the gate is open.
fn echo(speaks: Speaks, gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::by(speaks, move |_, seen| {
        let prompt = prompt(seen);
        let answer = script::json(200, json!({"id": "c", "choices": [], "said": prompt}).to_string());
        match &*prompt {
            "slow" => [vec![Step::Wait(gate.clone())], answer].concat(),
            "bad" => script::json(400, r#"{"error":{"message":"no","type":"invalid_request_error"}}"#),
            _ => answer,
        }
    })
}

/// The pieces of JSON in a stream of lines or events.
async fn line(answer: &mut Answer, before: &str) -> Value {
    let mut text = String::new();
    while !text.ends_with('\n') {
        text.push_str(std::str::from_utf8(&answer.piece().await).unwrap());
    }
    serde_json::from_str(text.trim().strip_prefix(before).unwrap()).unwrap()
}

/// A document has its answers in the order of the requests, whatever came first. Each item is a request of
/// its own: id, row, log line; a bad one fails alone, with its own error.
#[tokio::test]
async fn a_document_has_all_answers_in_order() {
    for (speaks, version) in PAIRS {
        let gate = Gate::new();
        let upstream = echo(speaks, &gate);
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(version).await;
        let mut asked = batch(&[("a", "slow"), ("b", "bad"), ("c", "quick")]);
        asked["requests"].as_array_mut().unwrap().extend([
            json!({"custom_id": "d", "body": {"messages": []}}),
            json!({"custom_id": "e", "body": {"model": "unknown", "messages": []}}),
            json!({"custom_id": "f", "body": {"model": "m", "messages": [], "stream": true}}),
            json!({"custom_id": "g"}),
        ]);
        let call =
            post(&asked).header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let call =
            call.header("idempotency-key", "k").header("x-idempotency-key", "k").header("openai-beta", "x");
        let id = call.id();
        let answer = client.send(call).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
        assert_eq!(
            (answer.header("x-request-id"), answer.header("cache-control")),
            (&*id, "no-store, no-transform")
        );
        // The last has ended, and nothing is sent but what is before the first.
        journal::closing(&format!("{id}.6")).await;
        gate.open();
        let body = answer.collect().await;
        assert!(body.complete);
        let document = body.json();
        assert_eq!((&document["id"], &document["object"]), (&json!(id), &json!("list")));
        assert_eq!(document["request_counts"], json!({"total": 7, "completed": 2, "failed": 5}));
        let lines = document["data"].as_array().unwrap();
        for (number, (name, status, code)) in [
            ("a", 200, Value::Null),
            ("b", 400, Value::Null),
            ("c", 200, Value::Null),
            ("d", 400, "invalid_request".into()),
            ("e", 404, "model_not_found".into()),
            ("f", 400, "invalid_request".into()),
            ("g", 400, "invalid_request".into()),
        ]
        .into_iter()
        .enumerate()
        {
            let (own, line) = (format!("{id}.{number}"), &lines[number]);
            assert_eq!((&line["custom_id"], &line["id"]), (&json!(name), &json!(own)), "{line}");
            assert_eq!((&line["error"], &line["response"]["request_id"]), (&Value::Null, &json!(own)));
            assert_eq!(line["response"]["status_code"], status, "{line}");
            assert_eq!(line["response"]["body"]["error"]["code"], code, "{line}");
            let logged = journal::closing(&own).await;
            assert_eq!(
                (&logged["path"], &logged["status"]),
                (&json!("/v1/chat/completions"), &json!(status))
            );
            assert_eq!(logged["key"], "tests");
        }
        assert_eq!(lines[0]["response"]["body"]["said"], "slow");
        assert_eq!(lines[5]["response"]["body"]["error"]["param"], "stream");
        let mut sent = Vec::new();
        for number in 0..3 {
            sent.push(upstream.log.request(number).await);
        }
        // They are under way at once.
        let first = asked["requests"][0]["body"].to_string();
        let seen = sent.iter().find(|seen| seen.body == first).expect("the first item");
        assert_eq!(&*seen.target, "/v1/chat/completions");
        let ids: HashSet<&str> = sent.iter().map(|seen| seen.all("x-request-id")[0]).collect();
        assert!(ids.len() == 3 && ids.iter().all(|own| own.starts_with(&format!("{id}."))), "{ids:?}");
        for name in ["idempotency-key", "x-idempotency-key"] {
            assert!(seen.all(name).is_empty(), "{name} would make all items one");
        }
        assert_eq!((seen.all("openai-beta"), seen.all("accept")), (vec!["x"], vec!["application/json"]));
        drop(client);
        gateway.stop().await;
    }
}

/// As lines or events each answer comes when it is there; the slow one comes last.
#[tokio::test]
async fn lines_and_events_come_as_they_are_ready() {
    for (accept, before) in [("application/x-ndjson", ""), ("text/event-stream", "data: ")] {
        let gate = Gate::new();
        let upstream = echo(Speaks::H1, &gate);
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let call = post(&batch(&[("a", "slow"), ("b", "quick")])).header("accept", accept);
        let mut answer = client.send(call).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, accept));
        assert_eq!(line(&mut answer, before).await["custom_id"], "b");
        gate.open();
        assert_eq!(line(&mut answer, before).await["custom_id"], "a");
        let rest = answer.collect().await;
        assert_eq!(rest.text(), if before.is_empty() { "" } else { "data: [DONE]\n\n" });
        assert!(rest.complete);
        drop(client);
        gateway.stop().await;
    }
}

/// A batch that cannot be told apart is refused as a whole, and the error names the place.
#[tokio::test]
async fn a_batch_with_a_mistake_is_refused() {
    let upstream = echo(Speaks::H1, &Gate::new());
    let settings = BatchSettings { max_items: 2, ..BatchSettings::default() };
    let gateway = Plan::to(&[&upstream]).with(|it| it.batch = settings).start().await;
    let mut client = gateway.client(Version::H1).await;
    let unnamed = json!({"requests": [{"custom_id": "a", "body": {}}, {"body": {}}]});
    let unknown = json!({"requests": [{"custom_id": "a", "body": {}}], "model": "m"});
    for (asked, code, param) in [
        (batch(&[("a", ""), ("a", "")]), "duplicate_custom_id", "requests[1].custom_id"),
        (unnamed, "missing_required_parameter", "requests[1].custom_id"),
        (batch(&[("a", ""), ("b", ""), ("c", "")]), "invalid_request", "requests"),
        (json!({"requests": []}), "invalid_request", "requests"),
        (unknown, "invalid_request", "model"),
    ] {
        let answer = client.send(post(&asked)).await;
        let expected = (400, code.to_owned(), Some(param.to_owned()));
        assert_eq!(refusal(answer).await, expected, "{asked}");
    }
    let answer = client.send(Call::post(PATH, "{")).await;
    assert_eq!(refusal(answer).await, (400, "invalid_json".to_owned(), None));
    let answer = client.send(post(&batch(&[("a", "")])).without("authorization")).await;
    assert_eq!(refusal(answer).await.0, 401);
    assert_eq!(client.send(Call::get(PATH)).await.status, 405);
    assert_eq!(upstream.log.requests(), 0);
    drop(client);
    gateway.stop().await;
}

/// Limits are each item's: of five, two are within the key's requests per minute.
#[tokio::test]
async fn each_item_takes_from_the_limits_of_the_key() {
    let upstream = echo(Speaks::H1, &Gate::new());
    let gateway = limited(&upstream, requests(2)).await;
    let mut client = gateway.client(Version::H1).await;
    let names = ["a", "b", "c", "d", "e"].map(|name| (name, "quick"));
    let document = client.send(post(&batch(&names))).await.collect().await.json();
    assert_eq!(document["request_counts"], json!({"total": 5, "completed": 2, "failed": 3}));
    let refused = &document["data"][4]["response"];
    assert_eq!((&refused["status_code"], &refused["body"]["error"]["param"]), (&json!(429), &json!("rpm")));
    drop(client);
    gateway.stop().await;
}

/// Items at once: as the request says, at most as the setting says, and at most the key's requests at once.
#[tokio::test]
async fn items_at_once_are_bounded() {
    for (asked, set, of_key, expected) in
        [(Some(2), 8, None, 2), (Some(9), 3, None, 3), (None, 8, Some(2), 2), (None, 1, None, 1)]
    {
        let (gate, most, now) = (Gate::new(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (opens, counts, running) = (gate.clone(), Arc::clone(&most), Arc::clone(&now));
        let upstream = Upstream::by(Speaks::H1, move |_, _| {
            let count = running.fetch_add(1, Ordering::SeqCst) + 1;
            counts.fetch_max(count, Ordering::SeqCst);
            [vec![Step::Wait(opens.clone())], script::json(200, script::COMPLETION)].concat()
        });
        let limits = LimitValues { concurrent: of_key, ..LimitValues::default() };
        let mut plan = Plan::to(&[&upstream]).with(|it| it.batch.max_concurrency = set);
        plan.settings.tokens[0].limits = allow(limits);
        let gateway = plan.start().await;
        let mut client = gateway.client(Version::H1).await;
        let mut body = batch(&["a", "b", "c", "d", "e", "f"].map(|name| (name, "x")));
        if let Some(asked) = asked {
            body["max_concurrency"] = asked.into();
        }
        let answer = client.send(post(&body)).await;
        upstream.log.request(expected - 1).await;
        assert_eq!(most.load(Ordering::SeqCst), expected);
        // One more request of the key's own would begin one more at the provider.
        gateway.until("the items", |gauges| gauges.requests == expected + 1).await;
        gate.open();
        let document = answer.collect().await.json();
        assert_eq!(document["request_counts"]["completed"], 6, "{document}");
        drop(client);
        gateway.stop().await;
    }
}

/// Answers that wait for an earlier one are held within bounds: past them the item says why, and none begins.
#[tokio::test]
async fn answers_that_wait_are_bounded() {
    let gate = Gate::new();
    let upstream = echo(Speaks::H1, &gate);
    let long = "x".repeat(2000);
    let gateway = Plan::to(&[&upstream])
        .with(|it| it.batch = BatchSettings { max_response_bytes: 3000, max_concurrency: 3, ..it.batch })
        .start()
        .await;
    let mut client = gateway.client(Version::H1).await;
    let call = post(&batch(&[("a", "slow"), ("b", &long), ("c", &long), ("d", &long), ("e", "quick")]));
    let id = call.id();
    let answer = client.send(call).await;
    for number in [1, 2] {
        journal::closing(&format!("{id}.{number}")).await;
    }
    gate.open();
    let document = answer.collect().await.json();
    let codes: Vec<_> =
        document["data"].as_array().unwrap().iter().map(|line| &line["error"]["code"]).collect();
    assert!(codes.contains(&&json!("response_too_large")), "{codes:?}");
    assert_eq!((codes[0], codes[4], codes.len()), (&Value::Null, &Value::Null, 5));
    drop(client);
    gateway.stop().await;
}

/// The client leaves: the items under way are cancelled at the provider, and no further one begins.
#[tokio::test]
async fn a_client_that_leaves_ends_its_items() {
    for (speaks, version) in PAIRS {
        let upstream = Upstream::always(speaks, vec![Step::Stall]);
        let gateway = Plan::to(&[&upstream]).with(|it| it.batch.max_concurrency = 2).start().await;
        let mut client = gateway.client(version).await;
        let call = post(&batch(&["a", "b", "c", "d"].map(|name| (name, "x"))));
        let id = call.id();
        let answer = client.send(call).await;
        upstream.log.request(1).await;
        drop((answer, client));
        for number in [0, 1] {
            let line = journal::closing(&format!("{id}.{number}")).await;
            assert_eq!((&line["status"], &line["message"]), (&json!(499), &json!("client gone")), "{line}");
            upstream.log.gone(number).await;
        }
        gateway.calm().await;
        assert_eq!(upstream.log.requests(), 2);
        gateway.stop().await;
    }
}

/// An item may go to a model whose provider is asked in another dialect; an answer of several lines is one
/// line of the batch.
#[tokio::test]
async fn an_item_is_translated_like_a_single_request() {
    let message = "{\n \"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\n \
                   \"content\":[{\"type\":\"text\",\"text\":\"hi\"}],\"stop_reason\":\"end_turn\",\n \
                   \"usage\":{\"input_tokens\":3,\"output_tokens\":1}}";
    let upstream = Upstream::by(Speaks::H1, move |_, seen| match seen.target.ends_with("/messages") {
        true => script::json(200, message),
        false => script::json(404, r#"{"error":{"message":"not here","type":"invalid_request_error"}}"#),
    });
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let mut answer = client.send(post(&batch(&[("a", "x")])).header("accept", "application/x-ndjson")).await;
    let line = line(&mut answer, "").await;
    assert_eq!(line["response"]["body"]["choices"][0]["message"]["content"], "hi", "{line}");
    drop((answer, client));
    gateway.stop().await;
}

/// Events in place of an answer have the same bound.
#[tokio::test]
async fn an_items_answer_is_bounded_also_where_it_comes_as_events() {
    let events = script::delta(&"x".repeat(1000)).repeat(200);
    let upstream = Upstream::always(Speaks::H1, script::sse(events));
    let plan = Plan::to(&[&upstream]).with(|settings| settings.stream.max_response_size = 50_000);
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let document = client.send(post(&batch(&[("a", "x")]))).await.collect().await.json();
    assert_eq!(document["data"][0]["error"]["code"], "response_too_large", "{document}");
    drop(client);
    gateway.stop().await;
}

/// An answer that breaks off is an error of its item alone.
#[tokio::test]
async fn a_broken_answer_is_its_items_error() {
    let upstream = Upstream::by(Speaks::H1, |_, seen| match &*prompt(seen) {
        "broken" => {
            let head = script::head(200, "application/json", Framing::Length(100));
            vec![head, script::body("{"), Step::Reset]
        }
        _ => script::json(200, script::COMPLETION),
    });
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let document = client.send(post(&batch(&[("a", "broken"), ("b", "x")]))).await.collect().await.json();
    let [broken, good] = [0, 1].map(|number| &document["data"][number]);
    assert_eq!(broken["response"]["status_code"], 502, "{broken}");
    assert_eq!(good["response"]["status_code"], 200, "{good}");
    drop(client);
    gateway.stop().await;
}

/// A batch that outlasts the drain breaks off, as a stream does: its items end, and its line says why.
#[tokio::test]
async fn a_batch_that_outlasts_the_drain_breaks_off() {
    let upstream = Upstream::always(Speaks::H1, vec![Step::Stall]);
    let plan = Plan::to(&[&upstream]).with(|it| it.limits.drain = Duration::from_millis(50));
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let call = post(&batch(&[("a", "x")]));
    let id = call.id();
    let answer = client.send(call).await;
    upstream.log.request(0).await;
    let stopping = tokio::spawn(gateway.stop_now());
    let body = answer.collect().await;
    assert!(!body.complete && body.text().starts_with("{\"id\":"), "{}", body.text());
    drop(client);
    in_time(stopping).await.unwrap().unwrap();
    upstream.log.gone(0).await;
    let said = |line: &Value| line["id"] == id && line["code"] == "shutting_down";
    assert!(journal::lines(&id).iter().any(said), "{:#?}", journal::lines(&id));
    let item = journal::closing(&format!("{id}.0")).await;
    assert_eq!((&item["code"], &item["message"]), (&json!("shutting_down"), &json!("failed")), "{item}");
}
