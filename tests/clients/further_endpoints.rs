//! Endpoints beside completions: each goes the same way (key, model, limits, ledger), with its body as it
//! came.

use bytes::Bytes;
use http::Method;
use serde_json::json;
use thalweg::{
    auth::{KeyLimits, TokenSettings, limit::LimitValues},
    base::Secret,
    routing::settings::ModelRule,
};

use super::keys::{allow, limited, refusal};
use crate::{
    client::{Call, Version, call::TOKEN},
    gateway::{PROVIDER_KEY, Plan},
    journal,
    upstream::{Framing, Speaks, Step, Upstream, script},
};

const COUNT: &str = r#"{"model": "m", "messages":[{"role":"user","content":"hi"}],"new_field":1.50}"#;
const NOT_FOUND: &str = r#"{"error":{"message":"not here","type":"invalid_request_error","code":null}}"#;

fn form(model: &str, file: &[u8]) -> Bytes {
    let head = "--B0und\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
         Content-Type: audio/wav\r\n\r\n";
    let rest = format!(
        "\r\n--B0und\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n\
         --B0und\r\nContent-Disposition: form-data; name=\"language\"\r\n\r\nen\r\n--B0und--\r\n"
    );
    [head.as_bytes(), file, rest.as_bytes()].concat().into()
}

fn upload(target: &str, body: Bytes) -> Call {
    Call::post(target, body).header("content-type", "multipart/form-data; boundary=B0und")
}

/// Claude Code counts the tokens of 25 texts at once: each is a request, none costs tokens.
#[tokio::test]
async fn counted_tokens_cost_none() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, r#"{"input_tokens":2095}"#));
    let limits = LimitValues { requests: Some(30), tokens: Some(20), ..LimitValues::default() };
    let gateway = limited(&upstream, allow(limits)).await;
    for version in Version::BOTH {
        let mut client = gateway.client(version).await;
        let call = Call::post("/v1/messages/count_tokens", COUNT);
        let id = call.id();
        let answer = client.send(call).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-ratelimit-remaining-tokens")), (200, "20"));
        assert_eq!(answer.header("x-thalweg-provider"), "p0");
        assert_eq!(answer.collect().await.text(), r#"{"input_tokens":2095}"#);
        let line = journal::closing(&id).await;
        assert_eq!(line["path"], "/v1/messages/count_tokens", "{line}");
    }
    let seen = upstream.log.request(0).await;
    assert_eq!((&*seen.method, &*seen.target), ("POST", "/v1/messages/count_tokens"));
    assert_eq!(seen.body, COUNT);
    assert_eq!(seen.all("authorization"), [format!("Bearer {PROVIDER_KEY}")]);
    let mut client = gateway.client(Version::H1).await;
    for _ in 0..28 {
        client.send(Call::post("/v1/messages/count_tokens", COUNT)).await.collect().await;
    }
    let refused = client.send(Call::post("/v1/messages/count_tokens", COUNT)).await;
    assert_eq!(refused.status, 429);
    let error = refused.collect().await.json();
    assert_eq!((&error["type"], &error["error"]["type"]), (&json!("error"), &json!("rate_limit_error")));
    drop(client);
    gateway.stop().await;
}

/// Errors below `/v1/messages` have Anthropic's shape, whether the path exists or not.
#[tokio::test]
async fn errors_below_messages_have_anthropics_shape() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, "{}"));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for (call, status, kind) in [
        (
            Call::post("/v1/messages/count_tokens", COUNT).without("authorization"),
            401,
            "authentication_error",
        ),
        (Call::post("/v1/messages/count_tokens", "{}"), 400, "invalid_request_error"),
        (Call::get("/v1/messages/count_tokens"), 405, "invalid_request_error"),
        (Call::post("/v1/messages/batches", "{}"), 404, "not_found_error"),
    ] {
        let answer = client.send(call).await;
        assert_eq!(answer.status.as_u16(), status);
        let error = answer.collect().await.json();
        assert_eq!((&error["type"], &error["error"]["type"]), (&json!("error"), &json!(kind)), "{error}");
    }
    drop(client);
    gateway.stop().await;
}

/// A stored response is asked of every provider until one has it; those that do not have it stay in use for
/// completions.
#[tokio::test]
async fn a_stored_response_is_found_where_it_is() {
    let other = Upstream::by(Speaks::H1, |_, seen| match &*seen.target {
        "/v1/chat/completions" => script::json(200, script::COMPLETION),
        _ => script::json(404, NOT_FOUND),
    });
    let maker =
        Upstream::always(Speaks::H2, script::json(200, r#"{"id":"resp_1","usage":{"input_tokens":9}}"#));
    let gateway = Plan::to(&[&other, &maker]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for (number, (method, path)) in [
        (Method::GET, "/v1/responses/resp_1?include%5B%5D=reasoning.encrypted_content"),
        (Method::GET, "/v1/responses/resp_1/input_items?limit=2"),
        (Method::POST, "/v1/responses/resp_1/cancel"),
        (Method::DELETE, "/v1/responses/resp_1"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = client.send(Call::new(method.clone(), path)).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-provider")), (200, "p1"), "{path}");
        assert_eq!(answer.collect().await.text(), r#"{"id":"resp_1","usage":{"input_tokens":9}}"#);
        let seen = maker.log.request(number).await;
        assert_eq!((&*seen.method, &*seen.target, seen.body.len()), (method.as_str(), path, 0));
        assert!(seen.all("content-type").is_empty(), "there is no body");
    }
    let answer = client.send(Call::whole()).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-provider")), (200, "p0"));
    answer.collect().await;
    for path in ["/v1/responses/..", "/v1/responses/a%2Fb", "/v1/responses/../cancel"] {
        assert_eq!(refusal(client.send(Call::get(path)).await).await.0 / 100, 4, "{path}");
    }
    assert_eq!(maker.log.requests(), 4, "no path leads elsewhere");
    drop(client);
    gateway.stop().await;
}

/// When no provider has it, the client gets the only provider's own words.
#[tokio::test]
async fn the_providers_own_error_passes() {
    let upstream = Upstream::always(Speaks::H1, script::json(404, NOT_FOUND));
    let gateway = Plan::to(&[&upstream, &upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for call in [
        Call::get("/v1/responses/resp_1"),
        Call::post("/v1/moderations", r#"{"input":"x"}"#),
        Call::post("/v1/images/generations", r#"{"model":"m","prompt":"x"}"#),
    ] {
        let answer = client.send(call).await;
        assert_eq!(answer.status, 404);
        assert_eq!(answer.collect().await.text(), NOT_FOUND);
    }
    assert_eq!(upstream.log.requests(), 6);
    drop(client);
    gateway.stop().await;
}

/// A provider that rests is asked last.
#[tokio::test]
async fn a_resting_provider_is_asked_last() {
    let headers = vec![("retry-after".into(), "60".into())];
    let head = Step::Head { status: 429, headers, framing: Framing::Length(0) };
    let first = Upstream::always(Speaks::H1, vec![head, Step::End]);
    let second = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = Plan::to(&[&first, &second]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for call in [Call::whole(), Call::post("/v1/moderations", r#"{"model":"m","input":"x"}"#)] {
        let answer = client.send(call).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-provider")), (200, "p1"));
        answer.collect().await;
        assert_eq!(first.log.requests(), 1);
    }
    drop(client);
    gateway.stop().await;
}

/// A transcription's form goes up as it came; the model is a field of it.
#[tokio::test]
async fn a_form_goes_up_as_it_came() {
    let upstream = Upstream::always(
        Speaks::H1,
        vec![
            script::head(200, "text/plain; charset=utf-8", Framing::Length(5)),
            Step::Body("hello".into()),
            Step::End,
        ],
    );
    let file: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let plan = Plan::to(&[&upstream, &upstream]).with(|settings| {
        let alias = ModelRule { name: "whisper-1".into(), targets: vec!["m".into()], ..ModelRule::default() };
        settings.routing.models.push(alias);
        let limits = KeyLimits {
            models: vec!["m".into(), "whisper-*".into()],
            ..allow(LimitValues { tokens: Some(20_000), ..LimitValues::default() })
        };
        settings.tokens =
            vec![TokenSettings { limits, ..TokenSettings::plain("alice", Secret::new(TOKEN.to_owned())) }];
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    for (number, path) in ["/v1/audio/transcriptions", "/audio/translations"].into_iter().enumerate() {
        let answer = client.send(upload(path, form("m", &file))).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(answer.collect().await.text(), "hello");
        let seen = upstream.log.request(number).await;
        assert!(seen.body == form("m", &file));
        assert_eq!(seen.all("content-type"), ["multipart/form-data; boundary=B0und"]);
        assert!(seen.target.starts_with("/v1/audio/tran"), "{}", seen.target);
    }
    let renamed = client.send(upload("/v1/audio/transcriptions", form("whisper-1", &file))).await;
    assert_eq!(renamed.collect().await.text(), "hello");
    assert!(upstream.log.request(2).await.body == form("m", &file), "an alias is replaced");
    let other = client.send(upload("/v1/audio/transcriptions", form("gpt-4o", &file))).await;
    assert_eq!(refusal(other).await, (403, "model_not_allowed".into(), Some("model".into())));
    let broken = client.send(upload("/v1/audio/transcriptions", form("m", b"\n--B0und\n"))).await;
    assert_eq!(refusal(broken).await.0, 400);
    drop(client);
    gateway.stop().await;
}

/// Sound is relayed as it comes.
#[tokio::test]
async fn speech_is_relayed_as_it_comes() {
    let upstream = Upstream::always(
        Speaks::H1,
        vec![
            script::head(200, "audio/mpeg", Framing::Chunked),
            Step::Body("ID3\u{0}one".into()),
            Step::Delivered,
            Step::Body("two".into()),
            Step::End,
        ],
    );
    let gateway = Plan::to(&[&upstream, &upstream]).start().await;
    for version in Version::BOTH {
        let mut client = gateway.client(version).await.telling(&upstream.log);
        let answer =
            client.send(Call::post("/v1/audio/speech", r#"{"model":"m","input":"say","voice":"x"}"#)).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "audio/mpeg"));
        assert_eq!(answer.collect().await.bytes(), "ID3\u{0}onetwo");
    }
    gateway.stop().await;
}

/// A model that the request leaves to the provider; a key for certain models must name one.
#[tokio::test]
async fn a_model_may_be_the_providers_choice() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, r#"{"results":[]}"#));
    let plan = Plan::to(&[&upstream]).with(|settings| {
        let limits = KeyLimits { models: vec!["m".into()], ..KeyLimits::default() };
        let narrow =
            TokenSettings { limits, ..TokenSettings::plain("bob", Secret::new("sk-bob".to_owned())) };
        settings.tokens.push(narrow);
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let bob = |call: Call| call.header("authorization", "Bearer sk-bob");
    for (path, target) in [
        ("/v1/moderations", "/v1/moderations"),
        ("/v1/images/generations", "/v1/images/generations"),
        ("/images/edits", "/v1/images/edits"),
        ("/v1/responses/input_tokens", "/v1/responses/input_tokens"),
        ("/v1/rerank", "/v1/rerank"),
        ("/v2/rerank", "/v1/rerank"),
        ("/rerank", "/v1/rerank"),
    ] {
        for body in [r#"{"input": "x"}"#, r#"{"input": "x", "model": "m"}"#] {
            let before = upstream.log.requests();
            let answer = client.send(Call::post(path, body)).await;
            assert_eq!(answer.status, 200, "{path}");
            answer.collect().await;
            let seen = upstream.log.request(before).await;
            assert_eq!((&*seen.target, &seen.body[..]), (target, body.as_bytes()));
        }
        let unnamed = client.send(bob(Call::post(path, r#"{"input":"x"}"#))).await;
        assert_eq!(refusal(unnamed).await.0, 403, "{path}");
        let named = client.send(bob(Call::post(path, r#"{"input":"x","model":"m"}"#))).await;
        assert_eq!(named.status, 200, "{path}");
        named.collect().await;
    }
    let missing = client.send(Call::post("/v1/responses/compact", r#"{"input":"x"}"#)).await;
    assert_eq!(refusal(missing).await, (400, "invalid_request".into(), Some("model".into())));
    drop(client);
    gateway.stop().await;
}

/// Azure's paths name the model; the body need not, and does not decide.
#[tokio::test]
async fn azures_paths_name_the_model() {
    let upstream = Upstream::always(Speaks::H1, script::sse(script::short_stream()));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    for (body, sent) in [
        (r#"{"stream":true}"#, r#"{"stream":true,"model":"m","stream_options":{"include_usage":true}}"#),
        (
            r#"{"model":"gpt-4o","stream":true,"models":["x"]}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        ("{ }", r#"{ "model":"m"}"#),
    ] {
        let before = upstream.log.requests();
        let path = "/openai/deployments/m/chat/completions?api-version=2024-10-21";
        let answer = client.send(Call::post(path, body)).await;
        assert_eq!(answer.status, 200, "{body}");
        answer.collect().await;
        let seen = upstream.log.request(before).await;
        assert!(seen.target.starts_with("/v1/chat/completions"), "{}", seen.target);
        assert_eq!(seen.body, sent);
    }
    let unknown =
        client.send(Call::post("/openai/deployments/none/chat/completions", r#"{"model":"m"}"#)).await;
    assert_eq!(refusal(unknown).await.1, "model_not_found");
    let newer =
        client.send(Call::post("/openai/v1/chat/completions", r#"{"model":"m","stream":true}"#)).await;
    assert_eq!(newer.status, 200);
    newer.collect().await;
    drop(client);
    gateway.stop().await;
}

/// Claude Code asks whether its server is there.
#[tokio::test]
async fn says_hello() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, "{}"));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::new(Method::HEAD, "/api/hello").without("authorization")).await;
    assert_eq!(answer.status, 200);
    answer.collect().await;
    drop(client);
    gateway.stop().await;
}
