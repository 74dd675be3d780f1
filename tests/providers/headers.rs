//! Headers on both legs: those added, those passed on, those removed.

use thalweg::upstream::{ForwardedHeaders, HeaderPattern};

use crate::{
    client::{Call, Version},
    gateway::{PAIRS, PROVIDER_KEY, Plan},
    upstream::{Speaks, Upstream, script},
};

/// The request head at the provider is the gateway's: the provider's key, the gateway's framing, and of the
/// client's headers those that are listed, by default or by `forward_headers` (D1).
#[tokio::test]
async fn request_headers_to_the_provider() {
    for (speaks, version) in PAIRS {
        let upstream = Upstream::always(speaks, script::json(200, script::COMPLETION));
        let gateway = forwarding(&upstream).start().await;
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
            .header("cf-connecting-ip", "192.0.2.1")
            .header("cf-access-jwt-assertion", "a.b.c")
            .header("true-client-ip", "192.0.2.1")
            .header("x-client-ip", "192.0.2.1")
            .header("x-amzn-oidc-accesstoken", "of-the-user")
            .header("x-auth-request-access-token", "of-the-user")
            .header("x-custom", "1")
            .header("x-team", "kept")
            .header("x-codex-turn-state", "kept");
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
            "cf-connecting-ip",
            "cf-access-jwt-assertion",
            "true-client-ip",
            "x-client-ip",
            "x-amzn-oidc-accesstoken",
            "x-auth-request-access-token",
            "x-custom",
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
        for kept in ["x-team", "x-codex-turn-state"] {
            assert_eq!(seen.all(kept), ["kept"], "{kept}");
        }
        assert_eq!(seen.all("user-agent"), ["tests/1"]);
        let authority = if speaks == Speaks::H1 { "host" } else { ":authority" };
        assert_eq!(seen.all(authority), [upstream.address.to_string()]);
        assert_eq!((&*seen.method, &*seen.target), ("POST", "/v1/chat/completions"));
        drop(client);
        gateway.stop().await;
    }
}

/// `x-team` passes up and `x-shard` down, as the file would say it.
fn forwarding(upstream: &Upstream) -> Plan {
    Plan::to(&[upstream]).with(|settings| {
        let pattern = |text| vec![HeaderPattern::parse(text).unwrap()];
        let forwarded = ForwardedHeaders { request: pattern("x-team"), response: pattern("x-*") };
        settings.providers[0].target.forwarded = forwarded;
    })
}

/// Of the provider's headers those reach the client that it is known to read, or that `forward_headers`
/// names. None lets the provider speak for the gateway, or makes a proxy or a browser act (D3).
#[tokio::test]
async fn response_headers_to_the_client() {
    for (speaks, version) in PAIRS {
        for is_stream in [false, true] {
            let mut steps = match is_stream {
                false => script::json(200, script::COMPLETION),
                true => script::sse(script::short_stream()),
            };
            let crate::upstream::Step::Head { headers, .. } = &mut steps[0] else { unreachable!() };
            for (name, value) in [
                ("x-accel-redirect", "/internal/secrets"),
                ("x-accel-limit-rate", "1"),
                ("x-sendfile", "/etc/passwd"),
                ("x-thalweg-provider", "another"),
                ("x-thalweg-attempts", "9"),
                ("refresh", "0; url=https://elsewhere.test"),
                ("clear-site-data", "\"*\""),
                ("location", "https://elsewhere.test"),
                ("set-cookie", "session=of-the-provider"),
                ("set-cookie2", "session=of-the-provider"),
                ("access-control-allow-origin", "https://elsewhere.test"),
                ("alt-svc", "h3=\":443\""),
                ("strict-transport-security", "max-age=1"),
                ("proxy-authenticate", "Basic"),
                ("server", "of-the-provider"),
                ("x-request-id", "of-the-provider"),
                ("request-id", "of-the-provider"),
                ("x-shard", "7"),
                ("openai-processing-ms", "12"),
            ] {
                headers.push((name.into(), value.into()));
            }
            if speaks == Speaks::H1 {
                for (name, value) in [("connection", "x-hop"), ("x-hop", "1"), ("keep-alive", "timeout=5")] {
                    headers.push((name.into(), value.into()));
                }
            }
            let upstream = Upstream::always(speaks, steps);
            let gateway = forwarding(&upstream).start().await;
            let mut client = gateway.client(version).await;
            let call = if is_stream { Call::stream() } else { Call::whole() };
            let answer = client.send(call).await;
            for gone in [
                "x-accel-redirect",
                "x-accel-limit-rate",
                "x-sendfile",
                "refresh",
                "clear-site-data",
                "location",
                "set-cookie",
                "set-cookie2",
                "access-control-allow-origin",
                "alt-svc",
                "strict-transport-security",
                "proxy-authenticate",
                "server",
                "x-hop",
                "keep-alive",
            ] {
                assert!(answer.headers.get(gone).is_none(), "{gone} in {:?}", answer.headers);
            }
            for (own, value) in [("x-thalweg-provider", "p0"), ("x-thalweg-attempts", "1")] {
                let all: Vec<_> = answer.headers.get_all(own).iter().collect();
                assert_eq!(all, [value], "{own}");
            }
            assert_eq!(answer.headers.get_all("x-request-id").iter().count(), 1);
            assert_ne!(answer.header("x-request-id"), "of-the-provider");
            for (kept, value) in [
                ("x-thalweg-provider-request-id", "of-the-provider"),
                ("request-id", "of-the-provider"),
                ("x-shard", "7"),
                ("openai-processing-ms", "12"),
            ] {
                assert_eq!(answer.header(kept), value);
            }
            if !is_stream {
                assert_eq!(answer.header("content-length"), script::COMPLETION.len().to_string());
            }
            answer.collect().await;
            drop(client);
            gateway.stop().await;
        }
    }
}
