//! Reloads of the configuration while the gateway serves (S2.6, B10, R35): which settings change, which stay,
//! and that only an administrator may request one.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};

use crate::{
    client::{Call, Client, Raw, Version, call::TOKEN},
    gateway::{Gateway, Plan},
    upstream::{Event, Gate, Speaks, Step, Upstream, log::in_time, script},
};

pub const ADMIN: &str = "sk-admin-of-the-tests";

/// A configuration file in a temporary folder.
pub struct File(pub PathBuf);

impl File {
    pub fn new(config: &Value) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("thalweg-reload-{}-{number}.json", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        file.write(config.to_string());
        file
    }

    pub fn write(&self, text: impl AsRef<[u8]>) {
        fs::write(&self.0, text).unwrap();
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// These upstreams as providers `p0`, `p1`… of the model `m`, the tests' token and an administrator's.
fn config(upstreams: &[&Upstream]) -> Value {
    let providers = upstreams.iter().enumerate().map(|(number, upstream)| {
        let name = format!("p{number}");
        json!({"name": name, "base_url": upstream.base(), "protocol": "http1", "models": ["m"]})
    });
    json!({
        "providers": providers.collect::<Vec<_>>(),
        "tokens": [format!("tests|{TOKEN}"), {"description": "admin", "token": ADMIN, "admin": true}],
        "log_level": "DEBUG",
        "state_file": false,
        "health": {"interval": 0, "precheck": 0, "warmup": 0},
        "watch": false,
    })
}

fn answering(text: &'static str) -> Upstream {
    Upstream::always(Speaks::H1, script::json(200, text))
}

/// An answer of this text.
fn completion(text: &str) -> Vec<Step> {
    script::json(200, script::COMPLETION.replace("one two", text))
}

fn completing(text: &str) -> Upstream {
    Upstream::always(Speaks::H1, completion(text))
}

fn text((_, answer): (u16, Value)) -> Value {
    answer["choices"][0]["message"]["content"].clone()
}

pub async fn asked(gateway: &Gateway, call: Call) -> (u16, Value) {
    let answer = gateway.client(Version::H1).await.send(call).await;
    (answer.status.as_u16(), answer.collect().await.json())
}

pub async fn reloaded(gateway: &Gateway) -> (u16, Value) {
    let call = Call::post("/v1/reload", "").header("authorization", &format!("Bearer {ADMIN}"));
    asked(gateway, call).await
}

/// A stored answer is given by a provider that the request might go to, and by no other.
#[tokio::test]
async fn a_reload_leaves_no_answers_of_other_providers_in_the_cache() {
    let [old, new] = &["old", "new"].map(completing);
    let with_cache = |upstream: &Upstream, name: &str| {
        let mut config = config(&[upstream]);
        config["cache"] = json!({});
        config["providers"][0]["name"] = name.into();
        config.to_string()
    };
    let file = File::new(&json!({}));
    file.write(with_cache(old, "p0"));
    let gateway = Plan::file(&file.0).start().await;
    for (upstream, name, expected) in
        [(old, "p0", "old"), (old, "p0", "old"), (new, "p0", "new"), (old, "p1", "old"), (new, "p2", "new")]
    {
        file.write(with_cache(upstream, name));
        assert_eq!(reloaded(&gateway).await.0, 200);
        for _ in 0..2 {
            assert_eq!(text(asked(&gateway, Call::whole()).await), expected, "{name}");
        }
    }
    assert_eq!((old.log.requests(), new.log.requests()), (2, 2));
    gateway.stop().await;
}

/// S2.6: the answer lists the providers loaded and the changes, which are in force.
#[tokio::test]
async fn a_reload_changes_providers_and_tokens() {
    let (old, new) = (answering("{\"from\":\"old\"}"), answering("{\"from\":\"new\"}"));
    let file = File::new(&config(&[&old]));
    let gateway = Plan::file(&file.0).start().await;
    assert_eq!(asked(&gateway, Call::whole()).await.1["from"], "old");
    let mut next = config(&[&new]);
    next["providers"][0]["name"] = "other".into();
    next["tokens"][0] = "more|sk-more".into();
    next["port"] = 1.into();
    next["failover"] = false.into();
    next["log_level"] = "ERROR".into();
    next["workers"] = 3.into();
    file.write(next.to_string());
    let (status, told) = reloaded(&gateway).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["loaded"]["providers"], json!(["other"]));
    assert_eq!(told["loaded"]["tokens"], json!(["more", "admin"]));
    assert_eq!(told["loaded"]["log_level"], "ERROR");
    let changes = &told["changes"];
    assert_eq!(changes["providers"], json!({"added": ["other"], "removed": ["p0"], "changed": []}));
    assert_eq!(changes["tokens"], json!({"added": ["more"], "removed": ["tests"], "changed": []}));
    assert_eq!(
        (&changes["log_level"], &changes["settings"]),
        (&"DEBUG to ERROR".into(), &json!(["failover"]))
    );
    // Port and workers are set by flags, which take precedence over the file.
    assert_eq!(changes["restart_needed"], json!([]));
    assert!(!told.to_string().contains("sk-"), "{told}");
    assert_eq!(asked(&gateway, Call::whole()).await.0, 401);
    let call = Call::whole().header("authorization", "Bearer sk-more");
    assert_eq!(asked(&gateway, call).await.1["from"], "new");
    gateway.stop().await;
}

/// S2.6: every mistake is reported with its path, and the old configuration stays in force.
#[tokio::test]
async fn a_broken_file_changes_nothing() {
    let upstream = answering("{\"from\":\"old\"}");
    let file = File::new(&config(&[&upstream]));
    let gateway = Plan::file(&file.0).start().await;
    let mut wrong = config(&[&upstream]);
    wrong["providers"][0]["base_url"] = "ftp://x".into();
    wrong["prot"] = 1.into();
    for (text, paths) in [
        (wrong.to_string(), vec!["providers[0].base_url", "prot"]),
        ("{\"providers\": [".to_owned(), vec!["line 1, column 15"]),
        (json!({"state_file": false, "watch": false}).to_string(), vec!["tokens"]),
    ] {
        file.write(&text);
        let (status, told) = reloaded(&gateway).await;
        assert_eq!((status, &told["error"]["code"]), (400, &"invalid_configuration".into()), "{told}");
        let told: Vec<&str> =
            told["error"]["errors"].as_array().unwrap().iter().map(|e| e["path"].as_str().unwrap()).collect();
        assert_eq!(told, paths, "{text}");
        assert_eq!(asked(&gateway, Call::whole()).await.1["from"], "old");
    }
    fs::remove_file(&file.0).unwrap();
    let (status, told) = reloaded(&gateway).await;
    assert_eq!(status, 400, "{told}");
    assert!(told["error"]["message"].as_str().unwrap().starts_with("cannot read "), "{told}");
    // Opening a pipe blocks until a writer opens it.
    assert!(std::process::Command::new("mkfifo").arg(&file.0).status().unwrap().success());
    let (status, told) = in_time(reloaded(&gateway)).await.unwrap();
    assert_eq!(status, 400, "{told}");
    assert!(told["error"]["message"].as_str().unwrap().ends_with("not a regular file"), "{told}");
    assert_eq!(asked(&gateway, Call::whole()).await.1["from"], "old");
    gateway.stop().await;
}

/// A gateway in use does not go over to the demo provider: clients would take its texts for answers.
#[tokio::test]
async fn a_file_without_providers_is_refused() {
    let upstream = answering("{\"from\":\"old\"}");
    let file = File::new(&config(&[&upstream]));
    let gateway = Plan::file(&file.0).start().await;
    let mut empty = config(&[&upstream]);
    empty["providers"] = json!([]);
    file.write(empty.to_string());
    let (status, told) = reloaded(&gateway).await;
    assert_eq!((status, &told["error"]["code"]), (400, &"invalid_configuration".into()), "{told}");
    assert_eq!(told["error"]["errors"][0]["path"], "providers");
    assert_eq!(asked(&gateway, Call::whole()).await.1["from"], "old");
    gateway.stop().await;
}

/// `?check=true` reports the changes and applies none.
#[tokio::test]
async fn a_check_changes_nothing() {
    let upstream = answering("{}");
    let file = File::new(&config(&[&upstream]));
    let gateway = Plan::file(&file.0).start().await;
    let mut next = config(&[&upstream, &upstream]);
    next["state_file"] = "/tmp/elsewhere.json".into();
    file.write(next.to_string());
    let check =
        || Call::post("/v1/reload?check=true", "").header("authorization", &format!("Bearer {ADMIN}"));
    for _ in 0..2 {
        let (status, told) = asked(&gateway, check()).await;
        assert_eq!((status, &told["status"]), (200, &"good".into()));
        assert_eq!(told["changes"]["providers"]["added"], json!(["p1"]), "{told}");
        assert_eq!(told["changes"]["restart_needed"], json!(["state_file"]));
    }
    gateway.stop().await;
}

/// Only an administrator's key may reload; without one configured, reloading is closed.
#[tokio::test]
async fn reloads_need_an_administrators_key() {
    let upstream = answering("{}");
    let file = File::new(&config(&[&upstream]));
    let gateway = Plan::file(&file.0).start().await;
    let call = || Call::post("/v1/reload", "");
    for (call, status, code) in [
        (call().without("authorization"), 401, "missing_api_key"),
        (call().header("authorization", "Bearer sk-none"), 401, "invalid_api_key"),
        (call(), 403, "not_an_administrator"),
        (Call::get("/v1/reload"), 405, "method_not_allowed"),
    ] {
        let (told, error) = asked(&gateway, call).await;
        assert_eq!((told, &error["error"]["code"]), (status, &code.into()), "{error}");
    }
    let mut closed = config(&[&upstream]);
    closed["tokens"][1]["admin"] = false.into();
    file.write(closed.to_string());
    assert_eq!(reloaded(&gateway).await.0, 200, "by the configuration that it takes away");
    let (status, error) = reloaded(&gateway).await;
    assert_eq!((status, &error["error"]["code"]), (403, &"administration_closed".into()));
    gateway.stop().await;
}

/// Connections to a removed provider are closed: idle ones soon, those in use when they are given back.
#[tokio::test]
async fn connections_to_a_removed_provider_are_closed() {
    let gate = Gate::new();
    let held = vec![
        script::sse_head(),
        script::body(script::delta("one")),
        Step::Wait(gate.clone()),
        script::body(script::DONE),
        Step::End,
    ];
    let whole = script::json(200, "{}");
    let old =
        Upstream::by(
            Speaks::H1,
            move |_, seen| {
                if seen.json()["stream"] == true { held.clone() } else { whole.clone() }
            },
        );
    let new = answering("{}");
    let file = File::new(&config(&[&old]));
    // One worker, so that the stream in use and the idle connection are in one pool.
    let plan = Plan::file(&file.0).with(|settings| settings.workers = std::num::NonZeroUsize::MIN);
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::stream()).await;
    assert_eq!(asked(&gateway, Call::whole()).await.0, 200);
    gateway.until("one idle", |now| now.upstream_idle == 1 && now.upstream_active == 1).await;
    file.write(config(&[&new]).to_string());
    assert_eq!(reloaded(&gateway).await.0, 200);
    gateway.until("none idle", |now| now.upstream_idle == 0 && now.upstream_active == 1).await;
    gate.open();
    assert!(answer.collect().await.complete);
    let gone = |events: &[Event]| {
        let idle = events.iter().filter(|event| matches!(event, Event::Gone { request: None, .. }));
        (idle.count() == 2).then_some(())
    };
    old.log.wait_for("both connections' ends", gone).await;
    drop(client);
    gateway.stop().await;
}

/// A larger pool is in force at once, also for requests that wait already.
#[tokio::test]
async fn the_size_of_a_pool_changes() {
    let gate = Gate::new();
    let steps = vec![
        script::sse_head(),
        script::body(script::delta("one")),
        Step::Wait(gate.clone()),
        script::body(script::DONE),
        Step::End,
    ];
    let upstream = Upstream::always(Speaks::H1, steps);
    let mut sized = config(&[&upstream]);
    sized["max_connections"] = 1.into();
    let file = File::new(&sized);
    let gateway = Plan::file(&file.0).start().await;
    let (mut one, mut two) = (gateway.client(Version::H1).await, gateway.client(Version::H1).await);
    let first = one.send(Call::stream()).await;
    let second = tokio::spawn(async move { (two.send(Call::stream()).await, two) });
    gateway.until("a second request", |now| now.requests == 2).await;
    assert_eq!(upstream.log.requests(), 1);
    sized["max_connections"] = 2.into();
    file.write(sized.to_string());
    let (_, told) = reloaded(&gateway).await;
    assert_eq!(told["changes"]["settings"], json!(["max_connections"]), "{told}");
    let (second, two) = second.await.unwrap();
    gate.open();
    assert!(first.collect().await.complete && second.collect().await.complete);
    drop((one, two));
    gateway.stop().await;
}

/// Limits and health settings are in force with the answer, also on open connections.
#[tokio::test]
async fn limits_and_health_change() {
    let upstream = answering("{\"object\":\"list\",\"data\":[{\"id\":\"m\"}]}");
    let mut next = config(&[&upstream]);
    let file = File::new(&next);
    let gateway = Plan::file(&file.0).start().await;
    let mut idle = Raw::connect(gateway.address).await;
    idle.send("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let head = idle.head().await;
    idle.body(&head).await;
    next["limits"] = json!({"head_timeout": 0.1});
    next["health"]["interval"] = 0.05.into();
    file.write(next.to_string());
    let (_, told) = reloaded(&gateway).await;
    assert_eq!(told["changes"]["settings"], json!(["limits", "health"]), "{told}");
    assert_eq!(told["changes"]["restart_needed"], json!([]));
    assert!(idle.ended().await, "idle for longer than is allowed now");
    let check = |events: &[Event]| {
        events
            .iter()
            .find(|event| matches!(event, Event::Request(seen) if seen.target == "/v1/models"))
            .map(|_| ())
    };
    upstream.log.wait_for("a check", check).await;
    gateway.stop().await;
}

/// The order of providers is a setting: the first that serves a model is asked first.
#[tokio::test]
async fn the_order_of_providers_changes() {
    let (one, two) = (completing("one"), completing("two"));
    let mut next = config(&[&one, &two]);
    let file = File::new(&next);
    let gateway = Plan::file(&file.0).start().await;
    assert_eq!(text(asked(&gateway, Call::whole()).await), "one");
    next["providers"].as_array_mut().unwrap().reverse();
    file.write(next.to_string());
    let (_, told) = reloaded(&gateway).await;
    let nothing = json!({"added": [], "removed": [], "changed": []});
    assert_eq!((&told["changes"]["provider_order"], &told["changes"]["providers"]), (&json!(true), &nothing));
    assert_eq!(text(asked(&gateway, Call::whole()).await), "two");
    next["http2_ping"] = 5.into();
    file.write(next.to_string());
    let (_, told) = reloaded(&gateway).await;
    assert_eq!(told["changes"]["settings"], json!(["http2_ping"]), "{told}");
    assert_eq!(told["changes"]["provider_order"], json!(false));
    gateway.stop().await;
}

/// A provider that has refused the old key, header or query is asked with the new one at once.
#[tokio::test]
async fn a_mended_credential_ends_the_providers_rest() {
    type Mend = fn(&mut Value, &str);
    let header: Mend = |provider, secret| provider["headers"] = json!({"x-secret": secret});
    let query: Mend = |provider, secret| {
        let base = provider["base_url"].as_str().unwrap();
        let base = base.split('?').next().unwrap();
        provider["base_url"] = format!("{base}?key={secret}").into();
    };
    let key: Mend = |provider, secret| provider["api_key"] = secret.into();
    for (mend, name) in [(header, "header"), (query, "query"), (key, "key")] {
        let picky = Upstream::by(Speaks::H1, |_, seen| {
            let is_let_in = seen.target.contains("right")
                || seen.headers.iter().any(|(_, value)| value.contains("right"));
            if is_let_in { completion("a") } else { script::json(401, "{\"error\":{\"message\":\"no\"}}") }
        });
        let other = completing("b");
        let mut next = config(&[&picky, &other]);
        mend(&mut next["providers"][0], "wrong");
        let file = File::new(&next);
        let gateway = Plan::file(&file.0).start().await;
        for _ in 0..2 {
            assert_eq!(text(asked(&gateway, Call::whole()).await), "b", "{name}");
        }
        assert_eq!(picky.log.requests(), 1, "it rests");
        mend(&mut next["providers"][0], "right");
        file.write(next.to_string());
        assert_eq!(reloaded(&gateway).await.0, 200);
        assert_eq!(text(asked(&gateway, Call::whole()).await), "a", "{name}");
        gateway.stop().await;
    }
}

/// The maximum age of a list of models applies to the present list, too.
#[tokio::test]
async fn a_shorter_list_age_applies_at_once() {
    let upstream = answering("{\"object\":\"list\",\"data\":[{\"id\":\"m\"}]}");
    let mut next = config(&[&upstream]);
    next["providers"][0].as_object_mut().unwrap().remove("models");
    let file = File::new(&next);
    let gateway = Plan::file(&file.0).start().await;
    let asked = |times: usize| {
        move |events: &[Event]| {
            let is_list =
                |event: &&Event| matches!(event, Event::Request(seen) if seen.target == "/v1/models");
            (events.iter().filter(is_list).count() >= times).then_some(())
        }
    };
    upstream.log.wait_for("the first list", asked(1)).await;
    next["health"]["refresh"] = 0.01.into();
    file.write(next.to_string());
    assert_eq!(reloaded(&gateway).await.0, 200);
    upstream.log.wait_for("another", asked(2)).await;
    gateway.stop().await;
}

/// `admin_listen`: needs no key where none is configured, serves no clients and no web pages.
#[tokio::test]
async fn administration_has_a_listener_of_its_own() {
    let upstream = answering("{}");
    let mut apart = config(&[&upstream]);
    apart["admin_listen"] = "127.0.0.1:0".into();
    apart["tokens"][1]["admin"] = false.into();
    let file = File::new(&apart);
    let gateway = Plan::file(&file.0).start().await;
    let (status, error) = reloaded(&gateway).await;
    assert_eq!((status, &error["error"]["code"]), (403, &"administration_elsewhere".into()));
    let at = |call: Call| async {
        let answer = Client::connect(Version::H1, gateway.admin_address()).await.send(call).await;
        answer.status.as_u16()
    };
    let reload = || Call::post("/v1/reload", "");
    assert_eq!(at(reload().without("authorization")).await, 200);
    assert_eq!(at(reload().without("authorization").header("origin", "http://evil.example")).await, 403);
    for (call, status) in [
        (Call::get("/readyz"), 200),
        (Call::get("/health"), 200),
        (Call::get("/v1/models"), 404),
        (Call::whole(), 404),
        (Call::get("/streaming-compare?model=m"), 404),
    ] {
        let target = call.target.clone();
        assert_eq!(at(call).await, status, "{target}");
    }
    // A configured key closes it for all others, also when it came by a reload.
    apart["tokens"][1]["admin"] = true.into();
    file.write(apart.to_string());
    assert_eq!(at(reload()).await, 200);
    assert_eq!(at(reload()).await, 403);
    assert_eq!(at(reload().header("authorization", &format!("Bearer {ADMIN}"))).await, 200);
    gateway.stop().await;
}

/// B10: a stream keeps the configuration it began with, and is counted by it until it ends.
#[tokio::test]
async fn a_stream_keeps_its_configuration_and_is_counted() {
    let gate = Gate::new();
    let steps = vec![
        script::sse_head(),
        script::body(script::delta("one")),
        Step::Wait(gate.clone()),
        script::body(script::DONE),
        Step::End,
    ];
    let (old, new) = (Upstream::always(Speaks::H1, steps), answering("{}"));
    let file = File::new(&config(&[&old]));
    let gateway = Plan::file(&file.0).start().await;
    let mut client = gateway.client(Version::H1).await;
    let mut answer = client.send(Call::stream()).await;
    assert_eq!(answer.piece().await, script::delta("one"));
    assert_eq!((gateway.gauges().streams, gateway.gauges().old_streams), (1, 0));
    file.write(config(&[&new]).to_string());
    assert_eq!(reloaded(&gateway).await.0, 200);
    assert_eq!((gateway.gauges().streams, gateway.gauges().old_streams), (1, 1));
    gate.open();
    let rest = answer.collect().await;
    assert!(rest.complete);
    assert_eq!(rest.bytes(), script::DONE);
    gateway.until("no old stream", |now| now.old_streams == 0).await;
    drop(client);
    gateway.stop().await;
}
