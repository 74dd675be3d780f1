//! A failure concerns what failed: the provider, the model and the endpoint (B1, B2).

use thalweg::base::{Endpoint, EndpointSet};

use crate::{
    client::{Call, Client, Version},
    gateway::{Gateway, Plan},
    upstream::{Seen, Speaks, Step, Upstream, script},
};

const NOT_FOUND: &str = r#"{"detail":"Not Found"}"#;
const EMBEDDING: &str =
    r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"model":"m"}"#;
const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"text","text":"a"}],"model":"m","stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;

/// A good answer of any endpoint.
fn good(seen: &Seen) -> Vec<Step> {
    match seen.target.rsplit('/').next() {
        Some("embeddings") => script::json(200, EMBEDDING),
        Some("messages") => script::json(200, MESSAGE),
        Some(_) | None => script::json(200, script::COMPLETION),
    }
}

/// Has chat alone; the rest is answered so.
fn chat_alone(status: u16, text: &'static str) -> Upstream {
    Upstream::by(Speaks::H1, move |_, seen| match seen.target.ends_with("/chat/completions") {
        true => good(seen),
        false => script::json(status, text),
    })
}

/// Without translation, which would serve messages by chat.
fn native(upstreams: &[&Upstream]) -> Plan {
    Plan::to(upstreams).with(|settings| settings.routing.native_only = true)
}

fn all() -> Upstream {
    Upstream::by(Speaks::H1, |_, seen| good(seen))
}

fn post(path: &str) -> Call {
    Call::post(path, r#"{"model":"m","input":"a","max_tokens":5,"messages":[{"role":"user","content":"a"}]}"#)
}

/// Status, provider and number of attempts of a request.
async fn asked(client: &mut Client, call: Call) -> (u16, String, String) {
    let answer = client.send(call).await;
    let (status, provider) = (answer.status.as_u16(), answer.header("x-thalweg-provider").to_owned());
    let attempts = answer.header("x-thalweg-attempts").to_owned();
    answer.collect().await;
    (status, provider, attempts)
}

async fn state_of_model(gateway: &Gateway) -> serde_json::Value {
    let mut client = gateway.client(Version::H1).await;
    client.send(Call::get("/health")).await.collect().await.json()["details"][0].clone()
}

/// B1: each form of a missing endpoint is a 404 in the client's dialect, and the model goes on to be served
/// at the endpoints that there are.
#[tokio::test]
async fn a_missing_endpoint_is_a_404_in_the_clients_dialect() {
    for (status, text) in [
        (404, NOT_FOUND),
        (404, "404 page not found"),
        (404, "<html>not found</html>"),
        (404, ""),
        (405, r#"{"detail":"Method Not Allowed"}"#),
        (501, "not implemented"),
    ] {
        let upstream = chat_alone(status, text);
        let gateway = native(&[&upstream]).start().await;
        let mut client = gateway.client(Version::H1).await;
        for _ in 0..5 {
            let answer = client.send(post("/v1/embeddings")).await;
            assert_eq!((answer.status.as_u16(), answer.header("x-should-retry")), (404, "false"), "{text}");
            let error = answer.collect().await.json()["error"].clone();
            assert_eq!(error["code"], "endpoint_not_found");
            assert!(error["message"].as_str().unwrap().contains("/embeddings"), "{error}");
        }
        let answer = client.send(post("/v1/messages")).await;
        assert_eq!(answer.status, 404);
        let error = answer.collect().await.json();
        assert_eq!((&error["type"], &error["error"]["type"]), (&"error".into(), &"not_found_error".into()));
        let state = state_of_model(&gateway).await;
        assert_eq!(state["missing_endpoints"], serde_json::json!(["embeddings", "messages"]));
        assert_eq!(state["candidates"][0]["state"], "admitting", "{state}");
        assert_eq!(asked(&mut client, Call::whole()).await, (200, "p0".into(), "1".into()), "{text}");
        drop(client);
        gateway.stop().await;
    }
}

/// A 404 or a 401 that a query of the client's own may have caused says nothing about other requests.
#[tokio::test]
async fn a_query_of_the_clients_own_closes_nothing() {
    for (status, text) in [(404, "Resource not found"), (401, r#"{"error":{"message":"no"}}"#)] {
        let upstream = Upstream::by(Speaks::H1, move |_, seen| match seen.target.contains("bogus") {
            true => script::json(status, text),
            false => good(seen),
        });
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(post("/v1/chat/completions?api-version=bogus")).await;
        answer.collect().await;
        let state = state_of_model(&gateway).await;
        assert_eq!(
            (&state["missing_endpoints"], &state["state"]),
            (&serde_json::json!([]), &"admitting".into())
        );
        let answer = client.send(Call::whole()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.headers.get("x-thalweg-dialect")),
            (200, None),
            "{status}"
        );
        answer.collect().await;
        drop(client);
        gateway.stop().await;
    }
}

/// B1: an error that the client's dialect has passes as it came, from the only provider.
#[tokio::test]
async fn the_only_providers_own_words_pass() {
    let words = r#"{"error":{"message":"Invalid URL (POST /v1/embeddings)","type":"invalid_request_error","param":null,"code":null}}"#;
    let upstream = chat_alone(404, words);
    let gateway = native(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(post("/v1/embeddings")).await;
    assert_eq!((answer.status.as_u16(), answer.collect().await.text()), (404, words.to_owned()));
    let answer = client.send(post("/v1/messages")).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.collect().await.json()["error"]["type"], "not_found_error", "not OpenAI's form");
    drop(client);
    gateway.stop().await;
}

/// B1: a provider that lacks an endpoint is asked there once; where it has one, it stays the first.
#[tokio::test]
async fn the_next_requests_go_where_the_endpoint_is() {
    for (status, text) in [(404, NOT_FOUND), (501, ""), (405, "")] {
        let (first, second) = (chat_alone(status, text), all());
        let gateway = Plan::to(&[&first, &second]).start().await;
        let mut client = gateway.client(Version::H1).await;
        for attempts in ["2", "1", "1"] {
            assert_eq!(
                asked(&mut client, post("/v1/messages")).await,
                (200, "p1".into(), attempts.into()),
                "{status}"
            );
            assert_eq!(asked(&mut client, Call::whole()).await, (200, "p0".into(), "1".into()), "{status}");
        }
        assert_eq!(asked(&mut client, post("/v1/embeddings")).await, (200, "p1".into(), "2".into()));
        drop(client);
        gateway.stop().await;
    }
}

/// B1: all lack it: a 404 that names them, each time, whatever `all_tripped` says.
#[tokio::test]
async fn all_lack_the_endpoint() {
    let (first, second) = (chat_alone(404, NOT_FOUND), chat_alone(501, ""));
    let plan = native(&[&first, &second])
        .with(|settings| settings.routing.all_tripped = thalweg::routing::settings::AllTripped::Refuse);
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    for _ in 0..3 {
        let answer = client.send(post("/v1/messages")).await;
        assert_eq!(answer.status, 404);
        let error = answer.collect().await.json();
        assert_eq!(error["error"]["type"], "not_found_error", "{error}");
    }
    assert_eq!(first.log.requests() + second.log.requests(), 4, "both once, then one for each request");
    drop(client);
    gateway.stop().await;
}

/// B1: one key's request cannot close an endpoint that is in use.
#[tokio::test]
async fn an_endpoint_in_use_stays_open() {
    let first = Upstream::by(Speaks::H1, |number, seen| match number {
        1 => script::json(404, NOT_FOUND),
        _ => good(seen),
    });
    let second = all();
    let gateway = Plan::to(&[&first, &second]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for provider in ["p0", "p1", "p0"] {
        assert_eq!(asked(&mut client, Call::whole()).await.1, provider);
    }
    drop(client);
    gateway.stop().await;
}

/// B1: `dialects` takes precedence over answers: a provider is not asked at an endpoint that it is said to
/// lack.
#[tokio::test]
async fn a_provider_may_be_said_to_lack_an_endpoint() {
    let (first, second) = (all(), all());
    let plan = Plan::to(&[&first, &second]).with(|settings| {
        settings.providers[0].dialects = Some(EndpointSet::from_iter([Endpoint::ChatCompletions]));
        settings.providers[1].dialects = Some(EndpointSet::from_iter([Endpoint::Messages]));
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    assert_eq!(asked(&mut client, post("/v1/messages")).await, (200, "p1".into(), "1".into()));
    assert_eq!(asked(&mut client, Call::whole()).await, (200, "p0".into(), "1".into()));
    let answer = client.send(post("/v1/embeddings")).await;
    assert_eq!(answer.status, 404);
    let error = answer.collect().await.json()["error"].clone();
    assert_eq!(error["code"], "endpoint_not_found");
    assert!(error["message"].as_str().unwrap().contains("`/embeddings`"), "{error}");
    assert_eq!((first.log.requests(), second.log.requests()), (1, 1));
    drop(client);
    gateway.stop().await;
}

/// B2: a 400 that says that there is no such model leads to the next candidate; the model rests at that
/// endpoint alone.
#[tokio::test]
async fn a_missing_model_is_known_by_the_body() {
    for (status, text) in [
        (400, r#"{"error":{"code":400,"message":"model 'm' not found","type":"invalid_request_error"}}"#),
        (
            400,
            r#"{"error":{"message":"{'error': '/chat/completions: Invalid model name passed in model=m. Call `/v1/models` to view available models for your key.'}","type":"None","param":"None","code":"400"}}"#,
        ),
        (404, r#"{"error":{"message":"The model `m` does not exist.","code":"model_not_found"}}"#),
        (
            404,
            r#"{"error":{"message":"This is not a chat model and thus not supported in the v1/chat/completions endpoint.","param":"model","code":null}}"#,
        ),
    ] {
        let first = Upstream::by(Speaks::H1, move |_, seen| match seen.target.ends_with("/embeddings") {
            true => good(seen),
            false => script::json(status, text),
        });
        let second = all();
        let gateway = Plan::to(&[&first, &second]).start().await;
        let mut client = gateway.client(Version::H1).await;
        for attempts in ["2", "1"] {
            assert_eq!(
                asked(&mut client, Call::whole()).await,
                (200, "p1".into(), attempts.into()),
                "{text}"
            );
        }
        assert_eq!(asked(&mut client, post("/v1/embeddings")).await, (200, "p0".into(), "1".into()));
        let state = state_of_model(&gateway).await;
        assert_eq!(state["candidates"][0]["missing_at"], serde_json::json!(["chat"]), "{state}");
        assert_eq!(state["missing_endpoints"], serde_json::json!([]), "{state}");
        drop(client);
        gateway.stop().await;
    }
}

/// A 404 about another thing that the request names, and a limit that this request alone exceeds, close
/// nothing.
#[tokio::test]
async fn a_request_that_fails_alone_closes_nothing() {
    for (status, text, provider) in [
        (
            404,
            r#"{"error":{"message":"Previous response with id 'resp_1' not found.","code":"previous_response_not_found"}}"#,
            "p1",
        ),
        (404, r#"{"error":{"message":"No endpoints found that support tool use","code":404}}"#, "p1"),
        (
            429,
            r#"{"error":{"message":"Request too large for m on tokens per min (TPM): Limit 1, Requested 9.","code":"rate_limit_exceeded"}}"#,
            "p1",
        ),
    ] {
        let first = Upstream::by(Speaks::H1, move |number, seen| match number {
            0 => script::json(status, text),
            _ => good(seen),
        });
        let second = all();
        let gateway = Plan::to(&[&first, &second]).start().await;
        let mut client = gateway.client(Version::H1).await;
        assert_eq!(asked(&mut client, Call::whole()).await.1, provider, "{text}");
        assert_eq!(asked(&mut client, Call::whole()).await, (200, "p0".into(), "1".into()), "{text}");
        drop(client);
        gateway.stop().await;
    }
}
