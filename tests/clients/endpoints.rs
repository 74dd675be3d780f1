//! Responses that need no completion: pages, models, CORS, and the headers that every response carries.

use http::Method;
use thalweg::upstream::BaseUrl;

use crate::{
    client::{Call, Version},
    gateway::{PAIRS, PROVIDER_KEY, Plan, provider},
    journal,
    upstream::{Speaks, Upstream, script},
};

async fn with_gateway<F: AsyncFnOnce(&crate::gateway::Gateway)>(upstream: &Upstream, test: F) {
    let gateway = Plan::to(&[upstream]).start().await;
    test(&gateway).await;
    gateway.stop().await;
}

fn sound() -> Upstream {
    Upstream::always(Speaks::H1, script::sse(script::short_stream()))
}

/// S2.8, S0.6: `/` and the health pages, over both protocols, without a token.
#[tokio::test]
async fn root_and_health_pages() {
    let upstream = sound();
    with_gateway(&upstream, async |gateway| {
        for version in Version::BOTH {
            let mut client = gateway.client(version).await;
            for path in ["/", "/health", "/livez", "/readyz"] {
                let answer = client.send(Call::get(path).without("authorization")).await;
                assert_eq!(answer.status, 200, "{path}");
                answer.header("x-request-id");
                answer.header("server-timing");
                answer.collect().await;
            }
            let root = client.send(Call::get("/")).await.collect().await.text();
            for endpoint in ["/v1/chat/completions", "/v1/models", "/health"] {
                assert!(root.contains(endpoint), "{endpoint} in {root}");
            }
            let health = client.send(Call::get("/health")).await.collect().await.json();
            assert_eq!(health["providers"]["p0"], true, "{health}");
            assert_eq!((&health["healthy_providers"], &health["total_providers"]), (&1.into(), &1.into()));
            assert!(health["status"].is_string());
        }
        assert_eq!(upstream.log.requests(), 0, "no model is asked for a probe");
    })
    .await;
}

/// S0.8, S2.3–S2.5: the models of every provider; the list can be filtered by supported parameters.
#[tokio::test]
async fn lists_models() {
    let upstream = sound();
    let plan = Plan::to(&[&upstream]).with(|settings| {
        let mut second = provider("other", &upstream.base(), thalweg::upstream::Protocol::Http1);
        second.models = Some(vec!["m".into(), "n-1".into(), "hidden".into()]);
        settings.providers.push(second);
        settings.supported_models =
            vec![regex::Regex::new("^m$").unwrap(), regex::Regex::new("^n-").unwrap()];
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let list = client.send(Call::get("/v1/models")).await.collect().await.json();
    assert_eq!(list["object"], "list");
    let models = list["data"].as_array().unwrap();
    for model in models {
        assert!(
            model["id"].is_string() && model["object"] == "model" && model["owned_by"].is_string(),
            "{model}"
        );
    }
    let ids: Vec<_> = models.iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert!(ids.iter().any(|id| id.ends_with('m')) && ids.iter().any(|id| id.ends_with("n-1")), "{ids:?}");
    assert!(!ids.iter().any(|id| id.ends_with("hidden")), "{ids:?}");
    let refused = client.send(Call::get("/v1/models").without("authorization")).await;
    assert_eq!(refused.status, 401, "the list is for those with a token");
    drop(client);
    gateway.stop().await;
}

/// S0.8: one model, as OpenAI's clients retrieve it: plain, with its provider, with an encoded slash; an
/// unknown one is a 404 with similar names.
#[tokio::test]
async fn retrieves_a_model() {
    let upstream = sound();
    let plan = Plan::to(&[&upstream, &upstream]).with(|settings| {
        settings.providers[0].models = Some(vec!["m".into(), "org/model".into()]);
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    for (path, id, providers) in [
        ("/v1/models/m", "m", serde_json::json!(["p0", "p1"])),
        ("/models/m", "m", serde_json::json!(["p0", "p1"])),
        ("/v1/models/p1/m", "p1/m", serde_json::json!(["p1"])),
        ("/v1/models/org/model", "org/model", serde_json::json!(["p0"])),
        ("/v1/models/org%2Fmodel", "org/model", serde_json::json!(["p0"])),
    ] {
        let answer = client.send(Call::get(path)).await;
        assert_eq!(answer.status, 200, "{path}");
        let model = answer.collect().await.json();
        assert_eq!((&model["id"], &model["providers"]), (&id.into(), &providers), "{path}");
        assert_eq!((&model["object"], &model["owned_by"]), (&"model".into(), &providers[0]), "{path}");
    }
    for path in ["/v1/models/org/modle", "/v1/models/p1/org/model", "/v1/models/%ff"] {
        let answer = client.send(Call::get(path)).await;
        assert_eq!(answer.status, 404, "{path}");
        let error = answer.collect().await.json();
        assert_eq!(error["error"]["code"], "model_not_found", "{path}");
    }
    let near = client.send(Call::get("/v1/models/org/modle")).await.collect().await.text();
    assert!(near.contains("`org/model`"), "{near}");
    let refused = client.send(Call::get("/v1/models/m").without("authorization")).await;
    assert_eq!(refused.status, 401);
    drop(client);
    gateway.stop().await;
}

/// S2.3: `provider/model` goes to that provider, with the provider's own name for the model.
#[tokio::test]
async fn a_model_may_name_its_provider() {
    let (first, second) = (sound(), sound());
    let gateway = Plan::to(&[&first, &second]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let body = r#"{"stream":true,"model":"p1/m","stream_options":{"include_usage":true},"n":1.0}"#;
    let answer = client.send(Call::post("/v1/chat/completions", body)).await;
    assert_eq!(answer.status, 200);
    answer.collect().await;
    assert_eq!(first.log.requests(), 0);
    assert_eq!(second.log.request(0).await.body, body.replace("p1/m", "m"));
    drop(client);
    gateway.stop().await;
}

/// Every response carries a request id: the client's own if it is valid, else a new one.
#[tokio::test]
async fn request_ids() {
    let upstream = sound();
    with_gateway(&upstream, async |gateway| {
        for version in Version::BOTH {
            let mut client = gateway.client(version).await;
            for (call, path) in
                [(Call::stream(), "stream"), (Call::get("/nowhere"), "404"), (Call::get("/"), "/")]
            {
                let own = call.id();
                let answer = client.send(call).await;
                assert_eq!(answer.header("x-request-id"), own, "{path}");
                answer.collect().await;
            }
            let mut seen = Vec::new();
            for insane in ["a b", "", "x\"y", &"a".repeat(200)] {
                let answer = client.send(Call::stream().header("x-request-id", insane)).await;
                let id = answer.header("x-request-id").to_owned();
                assert!(!id.is_empty() && id != insane && !seen.contains(&id), "{id:?} for {insane:?}");
                seen.push(id);
                answer.collect().await;
            }
        }
    })
    .await;
}

/// CORS: a web page may send requests and read the headers that clients act on.
#[tokio::test]
async fn preflight() {
    let upstream = sound();
    with_gateway(&upstream, async |gateway| {
        for version in Version::BOTH {
            let mut client = gateway.client(version).await;
            let call = Call::new(Method::OPTIONS, "/v1/chat/completions")
                .without("authorization")
                .header("origin", "http://page.example")
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "authorization,content-type,x-use-asgi-streaming");
            let answer = client.send(call).await;
            assert!(answer.status.is_success(), "{}", answer.status);
            let allowed = answer.header("access-control-allow-headers").to_ascii_lowercase();
            for header in ["authorization", "content-type", "x-use-asgi-streaming"] {
                assert!(allowed == "*" || allowed.contains(header), "{header} in {allowed}");
            }
            assert!(answer.header("access-control-allow-methods").contains("POST"));
            answer.header("access-control-allow-origin");
            assert!(answer.collect().await.bytes().is_empty());

            let answer = client.send(Call::stream().header("origin", "http://page.example")).await;
            answer.header("access-control-allow-origin");
            let exposed = answer.header("access-control-expose-headers").to_ascii_lowercase();
            assert!(exposed == "*" || exposed.contains("x-request-id"), "{exposed}");
            answer.collect().await;
        }
        assert_eq!(upstream.log.requests(), 2, "a preflight asks no provider");
    })
    .await;
}

/// HEAD is GET without the body; OPTIONS without CORS lists the allowed methods.
#[tokio::test]
async fn head_and_options() {
    let upstream = sound();
    with_gateway(&upstream, async |gateway| {
        for version in Version::BOTH {
            let mut client = gateway.client(version).await;
            for path in ["/", "/health", "/livez", "/v1/models"] {
                let call = Call::new(Method::HEAD, path);
                let id = call.id();
                let answer = client.send(call).await;
                assert_eq!(answer.status, 200, "{path}");
                assert_ne!(answer.header("content-length"), "0", "{path}");
                let received = answer.collect().await;
                assert!(received.complete && received.bytes().is_empty(), "{path}");
                assert_eq!(journal::closing(&id).await["message"], "done", "nobody left");
            }
            let answer = client.send(Call::new(Method::OPTIONS, "/v1/models")).await;
            assert!(answer.status.is_success());
            assert!(answer.header("allow").contains("GET"));
            answer.collect().await;
        }
    })
    .await;
}

/// B13: requests of the other endpoints are relayed the same way, each to its own path.
#[tokio::test]
async fn every_endpoint_has_its_own_path() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, "{\"ok\":true}"));
    with_gateway(&upstream, async |gateway| {
        let mut client = gateway.client(Version::H1).await;
        let endpoints =
            ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages"];
        for (number, endpoint) in endpoints.into_iter().enumerate() {
            let body = r#"{"model":"m","input":"x","prompt":"x","messages":[],"max_tokens":1}"#;
            let answer = client.send(Call::post(endpoint, body)).await;
            assert_eq!(answer.status, 200, "{endpoint}");
            assert_eq!(answer.collect().await.text(), "{\"ok\":true}");
            let seen = upstream.log.request(number).await;
            assert_eq!((&*seen.target, &seen.body[..]), (endpoint, body.as_bytes()));
        }
    })
    .await;
}

/// B13, S2.7: the token is read from each header in which the APIs' clients send it.
#[tokio::test]
async fn tokens_where_clients_put_them() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, "{\"ok\":true}"));
    with_gateway(&upstream, async |gateway| {
        let mut client = gateway.client(Version::H1).await;
        let token = crate::client::call::TOKEN;
        for name in ["x-api-key", "api-key"] {
            let call = Call::post("/v1/messages", r#"{"model":"m","messages":[],"max_tokens":1}"#);
            let answer = client.send(call.without("authorization").header(name, token)).await;
            assert_eq!(answer.status, 200, "{name}");
            answer.collect().await;
        }
        let answer = client.send(Call::whole().header("authorization", &format!("bearer {token}"))).await;
        assert_eq!(answer.status, 200, "the scheme is not told apart by case (RFC 9110, 11.1)");
        answer.collect().await;
    })
    .await;
}

/// Each credential that is shown is tried, and the first valid one counts: Claude Code that is signed in
/// sends its own beside the gateway's, a proxy in front its Basic (D4). None goes to the provider.
#[tokio::test]
async fn each_credential_shown_is_tried() {
    const TOKEN: &str = crate::client::call::TOKEN;
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    with_gateway(&upstream, async |gateway| {
        for version in Version::BOTH {
            let mut client = gateway.client(version).await;
            for (authorization, key, code) in [
                (Some("Bearer sk-of-another-service"), Some(TOKEN), None),
                (Some("Bearer"), Some(TOKEN), None),
                (Some("Basic dXNlcjpwYXNz"), Some(TOKEN), None),
                (Some("garbage"), Some(TOKEN), None),
                (Some(&*format!("Bearer {TOKEN}")), Some("sk-of-another-service"), None),
                (Some("Bearer sk-a"), Some("sk-b"), Some("invalid_api_key")),
                (Some("Basic dXNlcjpwYXNz"), None, Some("missing_api_key")),
                (Some("Bearer"), None, Some("missing_api_key")),
                (None, None, Some("missing_api_key")),
            ] {
                let mut call = Call::whole().without("authorization");
                for (name, value) in [("authorization", authorization), ("x-api-key", key)] {
                    if let Some(value) = value {
                        call = call.header(name, value);
                    }
                }
                let answer = client.send(call).await;
                assert_eq!(
                    answer.status,
                    if code.is_some() { 401 } else { 200 },
                    "{authorization:?} {key:?}"
                );
                let answer = answer.collect().await.json();
                assert_eq!(answer["error"]["code"].as_str(), code, "{authorization:?} {key:?}");
            }
        }
        for number in 0..upstream.log.requests() {
            let seen = upstream.log.request(number).await;
            assert_eq!(seen.all("authorization"), [format!("Bearer {PROVIDER_KEY}")]);
            assert!(seen.all("x-api-key").is_empty());
        }
    })
    .await;
}

/// The client's query goes to the provider without its keys, a base URL's goes with every request, and takes
/// precedence (D5).
#[tokio::test]
async fn a_query_goes_along() {
    for (speaks, version) in PAIRS {
        let upstream = Upstream::always(speaks, script::json(200, script::COMPLETION));
        for (base_query, asked, seen) in [
            ("", "/v1/messages?beta=true", "/v1/messages?beta=true"),
            ("", "/v1/messages?beta=true&key=sk-client&api%5Fkey=sk-client", "/v1/messages?beta=true"),
            ("", "/v1/messages?key=sk-client", "/v1/messages"),
            ("?api-version=1", "/v1/messages", "/v1/messages?api-version=1"),
            (
                "?api-version=1",
                "/v1/messages?api-version=2&beta=true",
                "/v1/messages?api-version=1&beta=true",
            ),
            (
                "?api-version=1",
                "/openai/deployments/m/chat/completions?api-version=2",
                "/v1/chat/completions?api-version=1",
            ),
        ] {
            let plan = Plan::to(&[&upstream]).with(|settings| {
                let base = format!("{}{base_query}", upstream.base());
                settings.providers[0].target.base = BaseUrl::parse(&base).unwrap();
            });
            let gateway = plan.start().await;
            let mut client = gateway.client(version).await;
            let number = upstream.log.requests();
            let call = Call::post(asked, r#"{"model":"m","messages":[],"max_tokens":1}"#);
            let id = call.id();
            let answer = client.send(call).await;
            assert_eq!(answer.status, 200, "{asked}");
            answer.collect().await;
            assert_eq!(upstream.log.request(number).await.target, seen, "{asked}");
            let closing = journal::closing(&id).await.to_string();
            assert!(!closing.contains("sk-client") && !closing.contains("beta"), "{closing}");
            drop(client);
            gateway.stop().await;
        }
        assert!(!journal::mentions("sk-client&") && !journal::mentions("key=sk-client"));
    }
}
