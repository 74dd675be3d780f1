//! Health checks of providers (S0.6, S1.1, S1.2): cheap, robust against any response, and none while traffic
//! proves that a provider is well. A provider that fails is found, and found again when it recovers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use thalweg::{routing::HealthSettings, upstream::Protocol};

use crate::{
    client::{Call, Version},
    gateway::{Gateway, Plan, provider},
    upstream::{
        Event, Seen, Speaks, Step, Upstream,
        log::EVENT_TIMEOUT,
        script::{self, head},
    },
};

/// The interval of checks.
pub const CHECK_INTERVAL: Duration = Duration::from_millis(60);

/// Providers without configured models, checked often. A check fails by its result and not by its time, so
/// that a busy machine changes no test.
pub fn watched(upstreams: &[&Upstream]) -> Plan {
    Plan::to(upstreams).with(|settings| {
        settings.health = HealthSettings { interval: CHECK_INTERVAL, ..HealthSettings::off() };
        settings.health.timeout = EVENT_TIMEOUT;
        settings.providers.iter_mut().for_each(|provider| provider.models = None);
    })
}

/// Lists these models, and answers chat requests with `chat`.
pub fn listing(models: &'static [&'static str], chat: Vec<Step>) -> Upstream {
    Upstream::by(Speaks::H1, move |_, seen| if is_list(seen) { list(models) } else { chat.clone() })
}

pub fn list(models: &[&str]) -> Vec<Step> {
    let data: Vec<Value> = models.iter().map(|model| json!({"id": model, "object": "model"})).collect();
    script::json(200, json!({"object": "list", "data": data}).to_string())
}

pub fn is_list(seen: &Seen) -> bool {
    seen.target.ends_with("/models")
}

pub fn is_dummy(seen: &Seen) -> bool {
    seen.model().as_deref() == Some("test-speed-health-check-dummy")
}

/// `/health` as soon as it fulfils `wanted`.
pub async fn health(gateway: &Gateway, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    page(gateway, "/health", what, wanted).await
}

pub async fn page(gateway: &Gateway, path: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut client = gateway.client(Version::H1).await;
    let begun = Instant::now();
    loop {
        let shown = client.send(Call::get(path)).await.collect().await.json();
        if wanted(&shown) {
            return shown;
        }
        assert!(begun.elapsed() < EVENT_TIMEOUT, "{path} never showed {what}: {shown:#}");
        // Checks run in the background and send no event.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub fn models(page: &Value) -> Vec<&str> {
    page["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect()
}

/// The requests so far.
pub fn requests(upstream: &Upstream) -> Vec<Arc<Seen>> {
    let seen = |event| if let Event::Request(seen) = event { Some(seen) } else { None };
    upstream.log.events().into_iter().filter_map(seen).collect()
}

/// The refusal of a model that does not exist.
const NO_MODEL: &str = r#"{"error":{"message":"no such model","code":"model_not_found"}}"#;

/// S1.1, S1.2: each response to a check is understood, and its meaning shows in `/health`.
#[tokio::test]
async fn every_response_to_a_check_is_understood() {
    let not_found = || script::json(404, "{}");
    let no_model = || script::json(404, NO_MODEL);
    let html = || vec![head(200, "text/html", script_length("<html>")), script::body("<html>"), Step::End];
    let huge = || {
        let long: String = "x".repeat(9 << 20);
        script::json(200, format!(r#"{{"data":[{{"id":"{long}"}}]}}"#))
    };
    let mut cases = tokio::task::JoinSet::new();
    for (name, to_list, to_dummy, alive) in [
        ("a list", list(&["m"]), vec![], true),
        ("no page, the dummy refused", not_found(), no_model(), true),
        ("no method, the dummy refused", script::json(405, ""), script::json(400, "{}"), true),
        ("not implemented", script::json(501, ""), script::json(422, "{}"), true),
        ("a page of something else", html(), no_model(), true),
        ("a list without end", huge(), no_model(), true),
        ("a broken list alone", script::json(500, "{}"), no_model(), true),
        // A base URL without such an API: `/v1` is missing, or one part too many (CASES F6).
        ("no page at all", not_found(), script::json(404, r#"{"detail":"Not Found"}"#), false),
        ("a web page for every path", html(), html(), false),
        ("a limit", script::json(429, "{}"), vec![], true),
        ("a limit for the dummy", not_found(), script::json(429, "{}"), true),
        ("a key that is not taken", script::json(401, "{}"), script::json(401, "{}"), false),
        ("a key that may not list", script::json(403, "{}"), no_model(), true),
        ("nothing but errors", script::json(500, "{}"), script::json(502, "{}"), false),
        ("no protocol", vec![script::raw("HELO\r\n\r\n"), Step::Close], vec![], false),
        ("nothing", vec![Step::Close], vec![], false),
        ("silence", vec![Step::Stall], vec![], false),
        (
            "silence in a list",
            vec![script::raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"), Step::Stall],
            vec![],
            false,
        ),
        ("a redirect", script::json(301, ""), script::json(301, ""), false),
    ] {
        cases.spawn(understood(name, to_list, to_dummy, alive));
    }
    cases.join_all().await;
}

async fn understood(name: &str, to_list: Vec<Step>, to_dummy: Vec<Step>, alive: bool) {
    let answer = move |_, seen: &Seen| if is_list(seen) { to_list.clone() } else { to_dummy.clone() };
    let upstream = Upstream::by(Speaks::H1, answer);
    let silent = name.starts_with("silence");
    let gateway = watched(&[&upstream])
        .with(|settings| {
            if silent {
                settings.health.timeout = Duration::from_millis(300);
            }
        })
        .start()
        .await;
    // The second check: by then the first result is in force.
    upstream
        .log
        .wait_for("a second look", |events| {
            let lists = events.iter().filter(|event| matches!(event, Event::Request(_))).count();
            (lists > 3).then_some(())
        })
        .await;
    let shown = health(&gateway, name, |health| health["providers"]["p0"] == alive).await;
    assert_eq!(shown["status"], if alive { "healthy" } else { "unhealthy" }, "{name}");
    for seen in requests(&upstream) {
        assert!(is_list(&seen) || is_dummy(&seen), "{name}: {seen:?}");
        assert_eq!(seen.all("authorization").len(), 1, "with the provider's key");
    }
    gateway.stop().await;
}

fn script_length(text: &str) -> crate::upstream::Framing {
    crate::upstream::Framing::Length(text.len() as u64)
}

/// S1.2: the dummy request costs one token at most, and the check method that worked is used again.
#[tokio::test]
async fn the_check_method_that_works_is_remembered() {
    let upstream = Upstream::by(Speaks::H1, |_, _| script::json(404, NO_MODEL));
    let gateway = watched(&[&upstream]).start().await;
    for number in 0..6 {
        let seen = upstream.log.request(number).await;
        assert_eq!(is_list(&seen), number == 0, "{number}: {seen:?}");
        if number > 0 {
            assert!(is_dummy(&seen));
            assert_eq!((&seen.json()["max_tokens"], &*seen.target), (&json!(1), "/v1/chat/completions"));
        }
    }
    gateway.stop().await;
}

/// S0.6: checks run at their interval, one at a time, and not while live traffic proves that the provider is
/// well.
#[tokio::test]
async fn no_checks_while_traffic_proves_health() {
    let upstream = listing(&["m"], script::json(200, script::COMPLETION));
    let interval = Duration::from_secs(1);
    let gateway = watched(&[&upstream]).with(|settings| settings.health.interval = interval).start().await;
    page(&gateway, "/v1/models", "the list", |page| models(page) == ["m"]).await;
    let mut client = gateway.client(Version::H1).await;
    let begun = Instant::now();
    while begun.elapsed() < 2 * interval {
        assert_eq!(client.send(Call::whole()).await.collect().await.text(), script::COMPLETION);
        tokio::time::sleep(CHECK_INTERVAL / 6).await;
    }
    let checks = requests(&upstream).iter().filter(|seen| is_list(seen)).count();
    assert_eq!(checks, 1, "only the list at start");
    // Without traffic the checks return.
    upstream
        .log
        .wait_for("a check", |events| {
            let is_check = |event: &&Event| matches!(event, Event::Request(seen) if is_list(seen));
            (events.iter().filter(is_check).count() > 1).then_some(())
        })
        .await;
    drop(client);
    gateway.stop().await;
}

/// S0.6, S1.3: a provider that fails is found without a request, gets no requests while it is down, and comes
/// back by itself with its models of then.
#[tokio::test]
async fn a_dead_provider_is_found_and_recovers() {
    let dead = Arc::new(AtomicBool::new(false));
    let renamed = Arc::new(AtomicBool::new(false));
    let (is_dead, is_renamed) = (Arc::clone(&dead), Arc::clone(&renamed));
    let first = Upstream::by(Speaks::H1, move |_, seen| match (is_dead.load(Relaxed), is_list(seen)) {
        (true, _) => vec![Step::Close],
        (false, true) if is_renamed.load(Relaxed) => list(&["m", "new"]),
        (false, true) => list(&["m", "old"]),
        (false, false) => script::json(200, script::COMPLETION),
    });
    let second = listing(&["m"], script::json(200, script::COMPLETION));
    let gateway = watched(&[&first, &second]).start().await;
    page(&gateway, "/v1/models", "both lists", |page| {
        models(page) == ["m", "old"] && page["data"][0]["providers"] == json!(["p0", "p1"])
    })
    .await;
    dead.store(true, Relaxed);
    let shown = health(&gateway, "a dead provider", |health| health["providers"]["p0"] == false).await;
    assert_eq!(
        (&shown["status"], &shown["healthy_providers"], &shown["total_providers"]),
        (&json!("degraded"), &json!(1), &json!(2))
    );
    renamed.store(true, Relaxed);
    dead.store(false, Relaxed);
    health(&gateway, "a provider that is back", |health| health["providers"]["p0"] == true).await;
    page(&gateway, "/v1/models", "its new list", |page| models(page) == ["m", "new"]).await;
    gateway.stop().await;
}

/// S3.12: endpoints of one host with different paths are separate providers: each has its own list and its
/// own health.
#[tokio::test]
async fn endpoints_of_one_host_are_separate() {
    let host = Upstream::by(Speaks::H1, |_, seen| match &*seen.target {
        "/v1/models" => list(&["one"]),
        "/antigravity/v1/models" => list(&["two"]),
        "/openai/models" => script::json(401, "{}"),
        "/antigravity/v1/chat/completions" => script::json(200, script::COMPLETION),
        _ => script::json(401, "{}"),
    });
    let plan = watched(&[&host]).with(|settings| {
        for (name, path) in [("p1", "antigravity/v1"), ("p2", "openai")] {
            let base = format!("http://{}/{path}", host.address);
            let mut provider = provider(name, &base, Protocol::Http1);
            provider.models = None;
            settings.providers.push(provider);
        }
    });
    let gateway = plan.start().await;
    page(&gateway, "/v1/models", "both lists", |page| models(page) == ["one", "two"]).await;
    let shown = health(&gateway, "one that refuses", |health| health["providers"]["p2"] == false).await;
    assert_eq!(shown["providers"], json!({"p0": true, "p1": true, "p2": false}));
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::post("/v1/chat/completions", r#"{"model":"two"}"#)).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-provider")), (200, "p1"));
    answer.collect().await;
    drop(client);
    gateway.stop().await;
}

/// A change of a provider's list changes the offered models and no running request.
#[tokio::test]
async fn a_removed_model_disappears_and_no_request_is_dropped() {
    let gate = crate::upstream::Gate::new();
    let held = vec![
        script::sse_head(),
        Step::Body(script::delta("one")),
        Step::Wait(gate.clone()),
        script::body(script::DONE),
        Step::End,
    ];
    let removed = Arc::new(AtomicBool::new(false));
    let is_removed = Arc::clone(&removed);
    let upstream = Upstream::by(Speaks::H1, move |_, seen| match is_list(seen) {
        true if is_removed.load(Relaxed) => list(&["m"]),
        true => list(&["m", "lost"]),
        false => held.clone(),
    });
    let plan = watched(&[&upstream]).with(|settings| settings.health.refresh = 2 * CHECK_INTERVAL);
    let gateway = plan.start().await;
    page(&gateway, "/v1/models", "the first list", |page| models(page) == ["m", "lost"]).await;
    let mut client = gateway.client(Version::H1).await;
    let body = r#"{"model":"lost","stream":true}"#;
    let mut answer = client.send(Call::post("/v1/chat/completions", body)).await;
    answer.piece().await;
    removed.store(true, Relaxed);
    page(&gateway, "/v1/models", "the second list", |page| models(page) == ["m"]).await;
    gate.open();
    assert!(answer.collect().await.complete);
    drop(client);
    gateway.stop().await;
}

/// S2.8: without a key `/health` has the old fields and nothing else. S0.6, S3.9: with a key it has all that
/// is known, and no secret.
#[tokio::test]
async fn details_are_for_those_with_a_key() {
    let upstream = Upstream::by(Speaks::H1, |_, seen| match (is_list(seen), seen.model()) {
        (true, _) => list(&["m", "broken"]),
        (false, Some(model)) if model == "broken" => script::json(500, "{}"),
        (false, _) => script::sse(script::short_stream()),
    });
    let gateway = watched(&[&upstream])
        .with(|settings| {
            settings.routing.breaker.failures = 2;
            settings.providers[0].target.key = Some(thalweg::base::Secret::new("sk-of-the-provider".into()));
        })
        .start()
        .await;
    page(&gateway, "/v1/models", "the list", |page| {
        models(page) == ["broken", "m"] || models(page) == ["m", "broken"]
    })
    .await;
    let mut client = gateway.client(Version::H1).await;
    for body in [r#"{"model":"m","stream":true}"#, r#"{"model":"broken"}"#, r#"{"model":"broken"}"#] {
        client.send(Call::post("/v1/chat/completions", body)).await.collect().await;
    }
    let public = client.send(Call::get("/health").without("authorization")).await.collect().await.json();
    let keys: Vec<&String> = public.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["healthy_providers", "providers", "status", "total_providers"]);
    let wrong = client.send(Call::get("/health").header("authorization", "Bearer sk-nobody")).await;
    assert_eq!((wrong.status.as_u16(), wrong.collect().await.json()["details"].is_null()), (200, true));
    let health =
        health(&gateway, "a check", |health| health["details"][0]["last_check"]["means"] == "models").await;
    let known = &health["details"][0];
    assert_eq!(
        (&known["provider"], &known["state"], &known["healthy"]),
        (&json!("p0"), &json!("admitting"), &json!(true))
    );
    assert_eq!((&known["last_check"]["alive"], &known["last_error"]), (&json!(true), &Value::Null));
    let candidate = |name: &str| {
        let candidates = known["candidates"].as_array().unwrap();
        candidates.iter().find(|candidate| candidate["model"] == name).unwrap().clone()
    };
    let (good, broken) = (candidate("m"), candidate("broken"));
    assert_eq!(
        (&good["state"], &good["requests"], &good["success_rate"]),
        (&json!("admitting"), &json!(1), &json!(1.0))
    );
    assert!(good["ttft_ms"]["peak"].as_f64().unwrap() > 0.0 && good["last_success"].is_string(), "{good}");
    assert_eq!((&broken["state"], &broken["success_rate"]), (&json!("tripped"), &json!(0.0)));
    assert_eq!(broken["last_error"]["class"], "server_error");
    assert!(broken["until"].as_str().unwrap().ends_with('Z'), "{broken}");
    let lookups = &health["known_before"]["models"];
    let [hits, misses] = ["hits", "misses"].map(|name| lookups[name].as_u64().unwrap());
    // CASES G10.
    let rate = (hits + misses > 0).then(|| hits as f64 / (hits + misses) as f64);
    assert_eq!(lookups["rate"].as_f64(), rate, "{lookups}");
    let text = health.to_string();
    for secret in ["sk-of-the-provider", "127.0.0.1", "http"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    drop(client);
    gateway.stop().await;
}

/// S0.6, S1.14: the failure of a check is shown by its class, and a rejected key makes its provider rest.
#[tokio::test]
async fn a_rejected_key_has_its_own_class() {
    let refused = Arc::new(AtomicBool::new(true));
    let at = Arc::clone(&refused);
    let first = Upstream::by(Speaks::H1, move |_, seen| match (at.load(Relaxed), is_list(seen)) {
        (true, _) => script::json(401, "{}"),
        (false, true) => list(&["m"]),
        (false, false) => script::json(200, script::COMPLETION),
    });
    let second = listing(&["m"], script::json(200, script::COMPLETION));
    let plan = watched(&[&first, &second]).with(|settings| {
        settings.providers[0].models = Some(vec!["m".into()]);
        // The rest after a failed check lasts twice as long, and a slow check must not outlast it.
        settings.health.interval = Duration::from_secs(2);
    });
    let gateway = plan.start().await;
    let shown =
        health(&gateway, "a refused key", |health| health["details"][0]["why"] == "key_invalid").await;
    let known = &shown["details"][0];
    assert_eq!((&known["state"], &known["healthy"]), (&json!("resting"), &json!(false)));
    assert_eq!(
        (&known["last_error"]["class"], &known["last_check"]["alive"]),
        (&json!("key_invalid"), &json!(false))
    );
    page(&gateway, "/v1/models", "the other's list", |page| {
        page["data"][0]["providers"] == json!(["p0", "p1"])
    })
    .await;
    let before = requests(&first).iter().filter(|seen| !is_list(seen) && !is_dummy(seen)).count();
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::whole()).await;
    assert_eq!(answer.header("x-thalweg-provider"), "p1", "nobody pays for finding out");
    answer.collect().await;
    assert_eq!(requests(&first).iter().filter(|seen| !is_list(seen) && !is_dummy(seen)).count(), before);
    refused.store(false, Relaxed);
    health(&gateway, "a key that is taken", |health| health["details"][0]["state"] == "admitting").await;
    let answer = client.send(Call::whole()).await;
    assert_eq!(answer.header("x-thalweg-provider"), "p0");
    answer.collect().await;
    drop(client);
    gateway.stop().await;
}

/// S1.14: many providers list models without a valid key, so a list does not clear a key that requests found
/// rejected.
#[tokio::test]
async fn a_list_does_not_prove_a_key() {
    let first = listing(&["m"], script::json(401, "{}"));
    let second = listing(&["m"], script::json(200, script::COMPLETION));
    let gateway = watched(&[&first, &second]).start().await;
    page(&gateway, "/v1/models", "both lists", |page| page["data"][0]["providers"] == json!(["p0", "p1"]))
        .await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::whole()).await;
    assert_eq!((answer.header("x-thalweg-provider"), answer.header("x-thalweg-attempts")), ("p1", "2"));
    answer.collect().await;
    let before = requests(&first).len();
    first.log.request(before + 2).await;
    let shown = health(&gateway, "its rest", |health| health["details"][0]["why"] == "key_invalid").await;
    let known = &shown["details"][0];
    assert_eq!((&known["state"], &known["last_check"]["alive"]), (&json!("resting"), &json!(true)));
    assert_eq!(shown["providers"]["p0"], false, "reachable, but of no use");
    let answer = client.send(Call::whole()).await;
    assert_eq!((answer.header("x-thalweg-provider"), answer.header("x-thalweg-attempts")), ("p1", "1"));
    answer.collect().await;
    drop(client);
    gateway.stop().await;
}

/// A provider that is slow to answer a check gets no second check meanwhile, and other checks do not wait for
/// it.
#[tokio::test]
async fn one_check_at_a_time() {
    let gate = crate::upstream::Gate::new();
    let held = gate.clone();
    let slow = Upstream::by(Speaks::H1, move |_, _| [vec![Step::Wait(held.clone())], list(&["m"])].concat());
    let quick = listing(&["m"], vec![]);
    let gateway = watched(&[&slow, &quick]).start().await;
    slow.log.request(0).await;
    quick.log.request(5).await;
    assert_eq!(slow.log.requests(), 1);
    gate.open();
    slow.log.request(2).await;
    gateway.stop().await;
}
