//! Headers on both legs: those added, those passed on, those removed.

use crate::{
    client::{Call, Version},
    gateway::{PAIRS, PROVIDER_KEY, Plan},
    upstream::{Speaks, Upstream, script},
};

/// The request head at the provider is the gateway's: the provider's key, the gateway's framing, no header of
/// the client's hop.
#[tokio::test]
async fn request_headers_to_the_provider() {
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

/// No header of the provider's hop reaches the client either.
#[tokio::test]
async fn response_headers_to_the_client() {
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
