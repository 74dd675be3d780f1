//! What goes upstream, what does not, and that keys stay where they belong.

use crate::relay::bytes::PAIRS;
use crate::{
    client::{Call, Version, call::TOKEN},
    gateway::{PROVIDER_KEY, Plan},
    journal,
    upstream::{Speaks, Upstream, script},
};

/// Hygiene: the head that a provider sees is ours: its own key, our framing, nothing of this hop.
#[tokio::test]
async fn the_head_upstream_is_ours() {
    for (speaks, version) in PAIRS {
        let upstream = Upstream::always(speaks, script::json(200, script::COMPLETION));
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(version).await;
        let mut call = Call::whole()
            .header("x-api-key", "sk-of-the-client")
            .header("api-key", "sk-of-the-client")
            .header("x-goog-api-key", "sk-of-the-client")
            .header("cookie", "session=of-the-client")
            .header("x-use-asgi-streaming", "true")
            .header("user-agent", "tests/1")
            .header("openai-organization", "org")
            .header("openai-project", "proj")
            .header("x-custom", "kept");
        if version == Version::H1 {
            call = call
                .header("connection", "x-hop, keep-alive")
                .header("x-hop", "1")
                .header("keep-alive", "timeout=5")
                .header("te", "trailers")
                .header("proxy-authorization", "Basic c2VjcmV0")
                .header("proxy-connection", "keep-alive");
        }
        assert!(client.send(call).await.collect().await.complete);
        let seen = upstream.log.request(0).await;
        for gone in [
            "x-api-key",
            "api-key",
            "x-goog-api-key",
            "openai-organization",
            "openai-project",
            "cookie",
            "x-use-asgi-streaming",
            "x-hop",
            "keep-alive",
            "te",
            "proxy-authorization",
            "proxy-connection",
            "transfer-encoding",
            "expect",
        ] {
            assert!(seen.all(gone).is_empty(), "{gone} in {:?}", seen.headers);
        }
        assert_eq!(seen.all("authorization"), [format!("Bearer {PROVIDER_KEY}")]);
        assert_eq!(seen.all("content-length"), [seen.body.len().to_string()]);
        assert_eq!(seen.all("content-type"), ["application/json"]);
        assert_eq!(seen.all("x-custom"), ["kept"], "what is not of this hop is the provider's to read");
        let authority = if speaks == Speaks::H1 { "host" } else { ":authority" };
        assert_eq!(seen.all(authority), [upstream.address.to_string()]);
        assert_eq!((&*seen.method, &*seen.target), ("POST", "/v1/chat/completions"));
        drop(client);
        gateway.stop().await;
    }
}

/// A chunked request goes upstream with its length, and another may follow it.
#[tokio::test]
async fn a_chunked_request_is_given_a_length() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.raw().await;
    for turn in 0..2 {
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\
             content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        client.send(head + "7\r\n{\"model\r\n6\r\n\":\"m\"}\r\n0\r\n\r\n").await;
        let head = client.head().await;
        assert_eq!(head.status, 200, "{}", head.text);
        assert_eq!(client.body(&head).await, script::COMPLETION);
        let seen = upstream.log.request(turn).await;
        assert_eq!(seen.body, r#"{"model":"m"}"#);
        assert_eq!(seen.all("content-length"), ["13"]);
        assert!(seen.raw.ends_with(b"\r\n\r\n{\"model\":\"m\"}"), "{:?}", seen.raw);
    }
    drop(client);
    gateway.stop().await;
}

/// Whoever is refused before the body was read is told that the connection ends: hyper reads no more of it.
#[tokio::test]
async fn an_early_answer_to_a_chunked_request_ends_the_connection_and_says_so() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = Plan::to(&[&upstream]).start().await;
    for body in
        ["transfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", "content-length: 9\r\n\r\n{}"]
    {
        let mut client = gateway.raw().await;
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-none\r\n";
        client.send(format!("{head}{body}")).await;
        let head = client.head().await;
        assert_eq!((head.status, head.header("connection")), (401, Some("close")), "{}", head.text);
        client.body(&head).await;
        assert!(client.ended().await);
    }
    gateway.stop().await;
}

/// Nothing of the provider's hop reaches the client either.
#[tokio::test]
async fn the_head_downstream_is_ours() {
    let mut steps = script::json(200, script::COMPLETION);
    let crate::upstream::Step::Head { headers, .. } = &mut steps[0] else { unreachable!() };
    for (name, value) in [
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("set-cookie", "session=of-the-provider"),
        ("openai-processing-ms", "12"),
    ] {
        headers.push((name.into(), value.into()));
    }
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::whole()).await;
    for gone in ["x-hop", "keep-alive", "proxy-authenticate", "set-cookie"] {
        assert!(answer.headers.get(gone).is_none(), "{gone} in {:?}", answer.headers);
    }
    assert_eq!(answer.header("openai-processing-ms"), "12");
    assert_eq!(answer.header("content-length"), script::COMPLETION.len().to_string());
    answer.collect().await;
    drop(client);
    gateway.stop().await;
}

/// R31: no key in a log line or an error, whatever goes wrong.
#[tokio::test]
async fn keys_stay_secret() {
    const STRANGE: &str = "sk-strange-key-that-is-not-known";
    let failing =
        vec![script::raw("HTTP/1.1 200 OK\r\nbad\0header: x\r\n\r\n"), crate::upstream::Step::Close];
    let upstream =
        Upstream::in_turn(Speaks::H1, vec![failing, script::json(401, "{\"error\":{\"message\":\"no\"}}")]);
    let gateway = Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let calls = [
        Call::whole(),
        Call::whole(),
        Call::whole().header("authorization", &format!("Bearer {STRANGE}")),
        Call::whole().header("authorization", STRANGE),
        Call::get("/v1/models?key=sk-strange-key-that-is-not-known"),
        Call::post("/v1/chat/completions", r#"{"model":"#),
    ];
    for call in calls {
        let text = client.send(call).await.collect().await.text();
        assert!(!text.contains(STRANGE) && !text.contains(TOKEN) && !text.contains(PROVIDER_KEY), "{text}");
    }
    drop(client);
    gateway.stop().await;
    for key in [STRANGE, TOKEN, PROVIDER_KEY] {
        assert!(!journal::mentions(key), "{key} was logged");
    }
}

/// R6: a large body arrives as it was sent, whatever the protocols.
#[tokio::test]
async fn a_large_body_arrives_whole() {
    let text = "\\u00e9 \u{e9} \u{1f30a} ".repeat(300_000);
    let body = format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}],"stream":false,"model":"m"}}"#);
    for (speaks, version) in PAIRS {
        let upstream = Upstream::always(speaks, script::json(200, script::COMPLETION));
        let gateway = Plan::to(&[&upstream]).start().await;
        let mut client = gateway.client(version).await;
        let answer = client.send(Call::post("/v1/chat/completions", body.clone())).await;
        assert_eq!(answer.collect().await.text(), script::COMPLETION);
        assert!(upstream.log.request(0).await.body == body, "{speaks:?} {version:?}");
        drop(client);
        gateway.stop().await;
    }
}
