//! Requests that the gateway refuses: the status is right, the error has the dialect of the endpoint and the
//! place of the mistake, and no provider gets the request.

use http::Method;
use serde_json::Value;

use crate::{
    client::{Call, Client, Version, call::TOKEN},
    gateway::{Gateway, Plan},
    journal,
    upstream::{Speaks, Upstream, script},
};

pub async fn running(upstream: &Upstream) -> Gateway {
    Plan::to(&[upstream]).start().await
}

pub fn sound() -> Upstream {
    Upstream::always(Speaks::H1, script::sse(script::short_stream()))
}

const OPENAI: [&str; 5] = [
    "/v1/chat/completions",
    "/v1/chat/completions/asgi",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
];

async fn refused(client: &mut Client, call: Call, status: u16) -> Value {
    let shown = format!("{call:?}");
    let answer = client.send(call).await;
    assert_eq!(answer.status, status, "{shown}");
    assert_eq!(answer.header("content-type"), "application/json");
    answer.header("x-request-id");
    let body = answer.collect().await.json();
    assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    assert!(body["error"]["type"].is_string(), "{body}");
    body
}

/// S2.7, S2.12, B13: a missing, wrong or truncated token is a 401 in each dialect.
#[tokio::test]
async fn missing_or_wrong_token() {
    let upstream = sound();
    let gateway = running(&upstream).await;
    for version in Version::BOTH {
        let mut client = gateway.client(version).await;
        let half = format!("Bearer {}", &TOKEN[..TOKEN.len() - 1]);
        let longer = format!("Bearer {TOKEN}x");
        for wrong in
            [None, Some("Bearer sk-wrong"), Some(&half), Some(&longer), Some("Bearer "), Some("Basic x")]
        {
            for endpoint in OPENAI.into_iter().chain(["/v1/messages", "/v1/models"]) {
                let call = match endpoint {
                    "/v1/models" => Call::get(endpoint),
                    _ => Call::post(endpoint, r#"{"model":"m"}"#),
                };
                let call = match wrong {
                    None => call.without("authorization"),
                    Some(value) => call.header("authorization", value),
                };
                let body = refused(&mut client, call, 401).await;
                assert_eq!(body["error"]["type"], "authentication_error");
                if endpoint == "/v1/messages" {
                    assert_eq!(body["type"], "error", "Anthropic's shape: {body}");
                } else {
                    assert!(
                        body["error"].get("param").is_some() && body["error"].get("code").is_some(),
                        "{body}"
                    );
                }
            }
        }
    }
    assert_eq!(upstream.log.requests(), 0);
    gateway.stop().await;
}

/// S0.10: a model that no provider serves is a 404 with similar names.
#[tokio::test]
async fn an_unknown_model() {
    let upstream = sound();
    let plan = Plan::to(&[&upstream]).with(|settings| {
        settings.providers[0].models = Some(vec!["gpt-4o-mini".into(), "gpt-4o".into(), "llama".into()]);
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    for endpoint in OPENAI {
        let body = refused(&mut client, Call::post(endpoint, r#"{"model":"gpt-4o-mni"}"#), 404).await;
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains("gpt-4o-mini") && !message.contains("llama"), "{message}");
        assert_eq!(
            (&body["error"]["code"], &body["error"]["param"]),
            (&"model_not_found".into(), &"model".into())
        );
    }
    let body = refused(&mut client, Call::post("/v1/messages", r#"{"model":"nothing-like-it"}"#), 404).await;
    assert_eq!((&body["type"], &body["error"]["type"]), (&"error".into(), &"not_found_error".into()));
    assert_eq!(upstream.log.requests(), 0);
    drop(client);
    gateway.stop().await;
}

/// S0.10: malformed JSON is a 400 with line and column.
#[tokio::test]
async fn bad_json_says_where() {
    let upstream = sound();
    let gateway = running(&upstream).await;
    let mut client = gateway.client(Version::H1).await;
    let bodies = [
        ("", ""),
        ("{\"model\":\"m\",}", "13"),
        ("{\"model\":\"m\" \"stream\":true}", "13"),
        ("{\"model\":\"m\"", ""),
        ("{\"model\":\"m\"} x", ""),
        ("[1]", ""),
        ("\"m\"", ""),
        ("{\"model\":\"m\u{1}\"}", ""),
        ("{\"model\":\"\\ud800\"}", ""),
    ];
    for (body, position) in bodies {
        let error = refused(&mut client, Call::post("/v1/chat/completions", body), 400).await;
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(position), "{position} in {message:?} for {body}");
        assert_eq!(error["error"]["type"], "invalid_request_error");
    }
    let bytes: &[u8] = b"{\"model\":\"m\xff\"}";
    refused(&mut client, Call::post("/v1/chat/completions", bytes), 400).await;
    assert_eq!(upstream.log.requests(), 0);
    drop(client);
    gateway.stop().await;
}

/// DESIGN 5: fields that decide how a request is served must have their type and occur once, because the
/// provider might read the other one.
#[tokio::test]
async fn deciding_fields_have_a_type_and_occur_once() {
    let upstream = sound();
    let gateway = running(&upstream).await;
    let mut client = gateway.client(Version::H1).await;
    for (body, param) in [
        (r#"{"messages":[]}"#, "model"),
        (r#"{"model":7}"#, "model"),
        (r#"{"model":null}"#, "model"),
        (r#"{"model":"m","stream":"yes"}"#, "stream"),
        (r#"{"model":"m","stream":1}"#, "stream"),
        (r#"{"model":"m","x_use_asgi_streaming":"maybe"}"#, "x_use_asgi_streaming"),
        (r#"{"model":"m","x_use_asgi_streaming":1}"#, "x_use_asgi_streaming"),
        (r#"{"model":"m","stream":true,"model":"n"}"#, "model"),
        (r#"{"model":"m","stream":true,"stream":false}"#, "stream"),
        (r#"{"model":"m","mod\u0065l":"n"}"#, "model"),
    ] {
        let error = refused(&mut client, Call::post("/v1/chat/completions", body), 400).await;
        assert_eq!(error["error"]["param"], param, "{body}: {error}");
    }
    assert_eq!(upstream.log.requests(), 0);
    drop(client);
    gateway.stop().await;
}

/// A wrong method is a 405 with `Allow`, a wrong path a 404 in JSON.
#[tokio::test]
async fn wrong_method_or_path() {
    let upstream = sound();
    let gateway = running(&upstream).await;
    for version in Version::BOTH {
        let mut client = gateway.client(version).await;
        for endpoint in OPENAI.into_iter().chain(["/v1/messages"]) {
            for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
                let answer = client.send(Call::new(method.clone(), endpoint)).await;
                assert_eq!(answer.status, 405, "{method} {endpoint}");
                assert!(answer.header("allow").split(", ").any(|allowed| allowed == "POST"));
                assert!(answer.collect().await.json()["error"]["message"].is_string());
            }
        }
        let answer = client.send(Call::post("/v1/models", "{}")).await;
        assert_eq!(answer.status, 405);
        assert!(answer.header("allow").contains("GET"));
        answer.collect().await;
        for path in
            ["/nowhere", "/v1/chat/completions/", "/v1/chat/completion", "/v1/chat//completions", "//"]
        {
            refused(&mut client, Call::post(path, r#"{"model":"m"}"#), 404).await;
        }
    }
    assert_eq!(upstream.log.requests(), 0);
    gateway.stop().await;
}

/// Limits: a body too large is a 413, by its declared length and by the bytes sent; a head too large is a
/// 431.
#[tokio::test]
async fn body_or_head_too_large() {
    let upstream = sound();
    let plan = Plan::to(&[&upstream]).with(|settings| {
        settings.limits.body_size = 10_000;
        settings.limits.head_size = 16 << 10;
    });
    let gateway = plan.start().await;
    for version in Version::BOTH {
        let mut client = gateway.client(version).await;
        let fits = format!(r#"{{"model":"m","stream":true,"x":"{}"}}"#, "a".repeat(9_900));
        assert_eq!(
            client.send(Call::post("/v1/chat/completions", fits)).await.collect().await.bytes(),
            script::short_stream()
        );
        let large = format!(r#"{{"model":"m","x":"{}"}}"#, "a".repeat(10_000));
        refused(&mut client, Call::post("/v1/chat/completions", large), 413).await;
    }
    let mut raw = gateway.raw().await;
    let start = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n");
    raw.send(format!("{start}content-length: 999999999999\r\n\r\n")).await;
    assert_eq!(raw.head().await.status, 413, "told before the body is sent");
    let mut raw = gateway.raw().await;
    raw.send(format!("{start}transfer-encoding: chunked\r\n\r\n4000\r\n{}\r\n", "a".repeat(0x4000))).await;
    assert_eq!(raw.head().await.status, 413);
    let mut raw = gateway.raw().await;
    raw.send(format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(20 << 10))).await;
    let head = raw.head().await;
    assert_eq!((head.status, head.header("x-should-retry")), (431, Some("false")));
    drop(raw);
    gateway.stop().await;
}

/// A9: a request that the server itself refuses is not to be repeated, and its error has its path's shape.
#[tokio::test]
async fn the_servers_own_refusals_are_not_to_be_repeated() {
    let upstream = sound();
    let gateway = running(&upstream).await;
    for (path, kind) in [("/v1/messages", Some("error")), ("/v1/chat/completions", None)] {
        let mut raw = gateway.raw().await;
        raw.send(format!("POST {path} HTTP/1.1\r\ncontent-length: 0\r\n\r\n")).await;
        let head = raw.head().await;
        assert_eq!((head.status, head.header("x-should-retry")), (400, Some("false")), "{}", head.text);
        let error: Value = serde_json::from_slice(&raw.body(&head).await).unwrap();
        assert_eq!(error["type"].as_str(), kind, "{error}");
    }
    gateway.stop().await;
}

/// R37: a WebSocket upgrade is refused at once with an error, and the connection does not hang.
#[tokio::test]
async fn a_websocket_is_refused() {
    let upstream = sound();
    let gateway = running(&upstream).await;
    for path in ["/v1/responses", "/v1/chat/completions", "/v1/realtime?model=m"] {
        let mut client = gateway.raw().await;
        client
            .send(format!(
                "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\nupgrade: websocket\r\n\
                 connection: Upgrade\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 sec-websocket-version: 13\r\n\r\n"
            ))
            .await;
        let head = client.head().await;
        assert!(matches!(head.status, 400..=499), "{}", head.text);
        let body: Value = serde_json::from_slice(&client.body(&head).await).unwrap();
        assert!(body["error"]["message"].as_str().unwrap().contains("WebSocket"), "{body}");
    }
    gateway.stop().await;
}

/// An offer to upgrade to h2c is ignored (RFC 9110 section 7.8): `curl --http2` gets its answer over
/// HTTP/1.1.
#[tokio::test]
async fn an_offer_of_h2c_is_passed_over() {
    let upstream = sound();
    let gateway = running(&upstream).await;
    let mut client = gateway.raw().await;
    client
        .send(
            "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n\r\n"
                .to_owned(),
        )
        .await;
    assert_eq!(client.head().await.status, 200);
    drop(client);
    gateway.stop().await;
}

/// S0.11: each refusal has one log line.
#[tokio::test]
async fn refusals_are_logged() {
    let upstream = sound();
    let gateway = running(&upstream).await;
    let mut client = gateway.client(Version::H1).await;
    for (call, status) in [
        (Call::post("/v1/chat/completions", r#"{"model":"nobody"}"#), 404),
        (Call::post("/v1/chat/completions", "{"), 400),
        (Call::whole().without("authorization"), 401),
    ] {
        let id = call.id();
        refused(&mut client, call, status).await;
        assert_eq!(journal::closing(&id).await["status"], status);
    }
    drop(client);
    gateway.stop().await;
}
