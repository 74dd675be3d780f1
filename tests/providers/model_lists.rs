//! The providers' model lists follow the providers, and clients see them in their own form (B3, B10, B11,
//! G5).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use serde_json::{Value, json};
use thalweg::{
    auth::{KeyLimits, TokenSettings},
    base::Secret,
};

use super::health_checks::{is_list, list, models, page, requests, watched};
use crate::{
    client::{Call, Client, Version},
    gateway::Plan,
    upstream::{Speaks, Upstream, script},
};

/// Lists `old`, and `new` from the moment that the switch is set.
fn growing() -> (Upstream, Arc<AtomicBool>) {
    let has_new = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&has_new);
    let upstream = Upstream::by(Speaks::H1, move |_, seen| match (is_list(seen), has_new.load(Relaxed)) {
        (true, true) => list(&["old", "new"]),
        (true, false) => list(&["old"]),
        (false, _) => script::json(200, script::COMPLETION),
    });
    (upstream, switch)
}

/// G5: a check's list is the provider's list, long before `refresh`.
#[tokio::test]
async fn a_check_refreshes_the_list() {
    let (upstream, switch) = growing();
    let plan = watched(&[&upstream]).with(|settings| settings.health.refresh = Duration::from_secs(3600));
    let gateway = plan.start().await;
    page(&gateway, "/v1/models", "the first list", |page| models(page) == ["old"]).await;
    switch.store(true, Relaxed);
    page(&gateway, "/v1/models", "the new model", |page| models(page) == ["old", "new"]).await;
    gateway.stop().await;
}

/// B3: a request for a model that no list has is served at once, and the list is read again, but not for each
/// such request.
#[tokio::test]
async fn a_request_for_a_new_model_refreshes_the_list_once() {
    let (upstream, switch) = growing();
    let plan = watched(&[&upstream]).with(|settings| settings.health.interval = Duration::ZERO);
    let gateway = plan.start().await;
    page(&gateway, "/v1/models", "the first list", |page| models(page) == ["old"]).await;
    switch.store(true, Relaxed);
    let mut client = gateway.client(Version::H1).await;
    let call = |model: &str| Call::post("/v1/chat/completions", format!(r#"{{"model":"{model}"}}"#));
    assert_eq!(client.send(call("new")).await.status, 200);
    page(&gateway, "/v1/models", "the new model", |page| models(page) == ["old", "new"]).await;
    for number in 0..20 {
        let answer = client.send(call(&format!("other-{number}"))).await;
        assert_eq!(answer.status, 200);
        answer.collect().await;
    }
    let lists = requests(&upstream).iter().filter(|seen| is_list(seen)).count();
    assert_eq!(lists, 2, "at start and once more");
    drop(client);
    gateway.stop().await;
}

/// The list of a provider that says more than names.
const RICH: &str = r#"{"object":"list","data":[
    {"id":"gpt-a","object":"model","created":1715367049,"owned_by":"openai","context_length":128000},
    {"id":"claude-x","type":"model","display_name":"Claude X","created_at":"2025-01-02T03:04:05Z","max_model_len":9},
    {"id":"gpt-b","object":"model"}]}"#;

fn rich() -> Upstream {
    Upstream::by(Speaks::H1, move |_, seen| match is_list(seen) {
        true => script::json(200, RICH),
        false => script::json(200, script::COMPLETION),
    })
}

async fn get(client: &mut Client, call: Call) -> (u16, Value) {
    let answer = client.send(call).await;
    (answer.status.as_u16(), answer.collect().await.json())
}

/// B11: the fields of a provider's list stay; those that it leaves out are filled in.
#[tokio::test]
async fn the_fields_of_a_list_are_kept() {
    let upstream = rich();
    let gateway = watched(&[&upstream]).start().await;
    let list = page(&gateway, "/v1/models", "the list", |page| models(page).len() == 3).await;
    assert_eq!(
        list["data"][0],
        json!({
            "id": "gpt-a", "object": "model", "created": 1_715_367_049, "owned_by": "openai",
            "context_length": 128_000, "providers": ["p0"],
        })
    );
    assert_eq!(list["data"][1]["max_model_len"], 9);
    assert_eq!(
        list["data"][2],
        json!({"id": "gpt-b", "object": "model", "created": 0, "owned_by": "p0", "providers": ["p0"]})
    );
    assert!(list.get("models").is_none());
    let mut client = gateway.client(Version::H1).await;
    let (_, one) = get(&mut client, Call::get("/v1/models/gpt-a")).await;
    assert_eq!(one, list["data"][0]);
    // Codex reads `models`, in a form of its own.
    let (_, codex) = get(&mut client, Call::get("/v1/models?client_version=0.171.0")).await;
    assert_eq!((&codex["models"], models(&codex).len()), (&json!([]), 3));
    drop(client);
    gateway.stop().await;
}

/// A list that cannot be read at the start is read soon, though the provider is found well by other means.
#[tokio::test]
async fn a_list_that_fails_at_the_start_is_read_soon() {
    let no_model = r#"{"error":{"message":"no such model","code":"model_not_found"}}"#;
    let upstream = Upstream::by(Speaks::H1, move |number, seen| match (is_list(seen), number) {
        (true, 0) => script::json(503, "{}"),
        (true, _) => list(&["m"]),
        (false, _) => script::json(404, no_model),
    });
    let gateway = watched(&[&upstream]).start().await;
    page(&gateway, "/v1/models", "the list", |page| models(page) == ["m"]).await;
    gateway.stop().await;
}

/// B11: Anthropic's form and its pages.
#[tokio::test]
async fn anthropics_clients_get_anthropics_form() {
    let upstream = rich();
    let gateway = watched(&[&upstream]).start().await;
    page(&gateway, "/v1/models", "the list", |page| models(page).len() == 3).await;
    let mut client = gateway.client(Version::H1).await;
    let call = |path: &str| Call::get(path).header("anthropic-version", "2023-06-01");
    let (_, list) = get(&mut client, call("/v1/models")).await;
    assert_eq!(models(&list), ["gpt-a", "claude-x", "gpt-b"]);
    assert_eq!(
        (&list["has_more"], &list["first_id"], &list["last_id"]),
        (&json!(false), &json!("gpt-a"), &json!("gpt-b"))
    );
    let [openai, anthropic, plain] = [0, 1, 2].map(|place| &list["data"][place]);
    assert_eq!((&openai["type"], &openai["display_name"]), (&json!("model"), &json!("gpt-a")));
    assert_eq!(
        (&openai["created_at"], &openai["context_length"]),
        (&json!("2024-05-10T18:50:49Z"), &json!(128_000))
    );
    assert_eq!(
        (&anthropic["display_name"], &anthropic["created_at"]),
        (&json!("Claude X"), &json!("2025-01-02T03:04:05Z"))
    );
    assert_eq!(plain["created_at"], "1970-01-01T00:00:00Z");
    for (query, ids, has_more) in [
        ("?limit=2", &["gpt-a", "claude-x"][..], true),
        ("?limit=2&after_id=claude-x", &["gpt-b"], false),
        ("?limit=1&before_id=gpt-b", &["claude-x"], true),
        ("?before_id=claude-x", &["gpt-a"], false),
        ("?after_id=gpt-b", &[], false),
    ] {
        let (_, part) = get(&mut client, call(&format!("/v1/models{query}"))).await;
        assert_eq!((models(&part), &part["has_more"]), (ids.to_vec(), &json!(has_more)), "{query}");
        assert_eq!(part["first_id"].as_str(), ids.first().copied(), "{query}");
    }
    for query in ["?limit=0", "?limit=x", "?after_id=nope", "?after_id=gpt-a&before_id=gpt-b"] {
        let (status, error) = get(&mut client, call(&format!("/v1/models{query}"))).await;
        assert_eq!((status, &error["error"]["type"]), (400, &json!("invalid_request_error")), "{query}");
    }
    let (_, one) = get(&mut client, call("/v1/models/claude-x")).await;
    assert_eq!(one, *anthropic);
    let (status, error) = get(&mut client, call("/v1/models/nope")).await;
    assert_eq!(
        (status, &error["type"], &error["error"]["type"]),
        (404, &json!("error"), &json!("not_found_error"))
    );
    drop(client);
    gateway.stop().await;
}

/// A model of one provider may be listed by a name that begins with the other's: its id is there once, for
/// the provider that serves it (B4).
#[tokio::test]
async fn an_id_is_listed_once() {
    let (first, second) = (rich(), rich());
    let plan = Plan::to(&[&first, &second]).with(|settings| {
        settings.providers[0].models = Some(vec!["m".into()]);
        settings.providers[1].models = Some(vec!["p0/m".into()]);
        settings.tokens.push(TokenSettings {
            limits: KeyLimits { models: vec!["p0/m".to_owned()], ..KeyLimits::default() },
            ..TokenSettings::plain("one", Secret::new("sk-one".to_owned()))
        });
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let call = Call::get("/v1/models").header("authorization", "Bearer sk-one");
    let (_, list) = get(&mut client, call).await;
    assert_eq!((models(&list), &list["data"][0]["providers"]), (vec!["p0/m"], &json!(["p0"])));
    drop(client);
    gateway.stop().await;
}

/// B10: a key sees the models that it may use, in the list, by id and in `/health`; a pattern for one
/// provider shows the name by which the key must ask.
#[tokio::test]
async fn a_key_sees_its_own_models() {
    let (first, second) = (rich(), rich());
    let limited = |name: &str, pattern: &str| TokenSettings {
        limits: KeyLimits { models: vec![pattern.to_owned()], ..KeyLimits::default() },
        ..TokenSettings::plain(name, Secret::new(format!("sk-{name}")))
    };
    let plan = watched(&[&first, &second]).with(|settings| {
        settings.tokens.extend([limited("gpt", "gpt-*"), limited("second", "p1/gpt-a")]);
    });
    let gateway = plan.start().await;
    page(&gateway, "/v1/models", "both lists", |page| page["data"][2]["providers"] == json!(["p0", "p1"]))
        .await;
    let mut client = gateway.client(Version::H1).await;
    let call = |path: &str, key: &str| Call::get(path).header("authorization", &format!("Bearer sk-{key}"));
    let (_, list) = get(&mut client, call("/v1/models", "gpt")).await;
    assert_eq!(models(&list), ["gpt-a", "gpt-b"]);
    for (model, status) in
        [("gpt-a", 200), ("p1/gpt-a", 200), ("claude-x", 404), ("p0/claude-x", 404), ("claude-y", 404)]
    {
        let (found, page) = get(&mut client, call(&format!("/v1/models/{model}"), "gpt")).await;
        assert_eq!(found, status, "{model}");
        assert!(status == 200 || !page.to_string().contains("claude-x`?"), "no other names: {page}");
    }
    let (_, list) = get(&mut client, call("/v1/models", "second")).await;
    assert_eq!((models(&list), &list["data"][0]["providers"]), (vec!["p1/gpt-a"], &json!(["p1"])));
    let body = r#"{"model":"p1/gpt-a"}"#;
    let answer = client
        .send(Call::post("/v1/chat/completions", body).header("authorization", "Bearer sk-second"))
        .await;
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-provider")), (200, "p1"));
    answer.collect().await;
    let (_, health) = get(&mut client, call("/health", "gpt")).await;
    let text = health["details"].to_string();
    assert!(text.contains("gpt-a") && !text.contains("claude-x"), "{text}");
    drop(client);
    gateway.stop().await;
}
