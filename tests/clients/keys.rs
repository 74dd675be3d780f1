//! Keys and their limits: who is let in, what the client is told, and that nothing of a limit leaks whatever the end.

use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use thalweg::{
    auth::{Digest, KeyEditor, KeyLimits, StoredKey, TokenSettings},
    base::{Secret, lease::LimitValues},
    database::{DatabaseSettings, DatabaseUrl},
    ledger::{Price, Prices},
    server::Listen,
};

use crate::{
    client::{Answer, Call, Client, Version, call::TOKEN},
    gateway::{Gateway, Plan},
    journal,
    upstream::{
        Framing, Speaks, Step, Upstream,
        script::{self, delta},
    },
};

/// A gateway whose one key has these limits.
async fn limited(upstream: &Upstream, limits: KeyLimits) -> Gateway {
    let token = TokenSettings { limits, ..TokenSettings::plain("alice", Secret::new(TOKEN.to_owned())) };
    Plan::to(&[upstream]).with(|settings| settings.tokens = vec![token]).start().await
}

fn allow(allowance: LimitValues) -> KeyLimits {
    KeyLimits { allowance, ..KeyLimits::default() }
}

fn requests(limit: u32) -> KeyLimits {
    allow(LimitValues { requests: Some(limit), ..LimitValues::default() })
}

fn tokens(limit: u32) -> KeyLimits {
    allow(LimitValues { tokens: Some(limit), ..LimitValues::default() })
}

/// The status, the error's `code` and `param`.
async fn refusal(answer: Answer) -> (u16, String, Option<String>) {
    let status = answer.status.as_u16();
    let error = answer.collect().await.json()["error"].clone();
    (status, error["code"].as_str().unwrap().to_owned(), error["param"].as_str().map(str::to_owned))
}

/// Tokens that the client is told to have left; asks for nothing that costs any.
async fn remaining(answer: &Answer) -> u64 {
    answer.header("x-ratelimit-remaining-tokens").parse().unwrap()
}

/// B15, R33: the third request of two is refused, tells which limit and when to come again, in the caller's dialect.
#[tokio::test]
async fn requests_per_minute() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let gateway = limited(&upstream, requests(2)).await;
    let mut client = gateway.client(Version::H1).await;
    for left in ["1", "0"] {
        let answer = client.send(Call::whole()).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("x-ratelimit-limit-requests"), "2");
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), left);
        let reset = answer.header("x-ratelimit-reset-requests").strip_suffix('s').unwrap().parse::<f64>();
        assert!((58.0..=61.0).contains(&reset.unwrap()));
        assert!(!answer.headers.contains_key("x-ratelimit-limit-tokens"));
        answer.collect().await;
    }
    let call = Call::whole().header("origin", "https://page.example");
    let id = call.id();
    let answer = client.send(call).await;
    assert_eq!(answer.header("x-ratelimit-remaining-requests"), "0");
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    let millis: u64 = answer.header("retry-after-ms").parse().unwrap();
    assert!(seconds == millis.div_ceil(1000) && (57_000..=61_000).contains(&millis), "{seconds} {millis}");
    assert!(answer.header("access-control-expose-headers").contains("x-ratelimit-remaining-requests"));
    let told = refusal(answer).await;
    assert_eq!(told, (429, "rate_limit_exceeded".into(), Some("rpm".into())));
    let line = journal::closing(&id).await;
    assert_eq!((line["status"].as_u64(), line["key"].as_str()), (Some(429), Some("alice")));
    let anthropic = client.send(Call::post("/v1/messages", crate::client::call::WHOLE)).await;
    assert_eq!(anthropic.collect().await.json()["error"]["type"], "rate_limit_error");
    assert_eq!(upstream.log.requests(), 2);
    drop(client);
    gateway.stop().await;
}

/// B15: estimate, then settle: what was asked for is held, for each of the answers that are wanted, and what was used is
/// what remains counted.
#[tokio::test]
async fn tokens_per_minute() {
    let gate = crate::upstream::Gate::new();
    let events = [delta("one"), script::usage(), script::DONE.into()].concat();
    let steps = vec![
        script::sse_head(),
        script::body(delta("a")),
        Step::Wait(gate.clone()),
        script::body(events),
        Step::End,
    ];
    let upstream = Upstream::always(Speaks::H1, steps);
    let gateway = limited(&upstream, tokens(1000)).await;
    let body =
        r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"n":3,"max_tokens":300}"#;
    let call = || Call::post("/v1/chat/completions", body);
    let mut client = gateway.client(Version::H2).await;
    let first = client.send(call()).await;
    let estimate = 900 + body.len().div_ceil(4) as u64;
    assert_eq!(remaining(&first).await, 1000 - estimate);
    let told = refusal(client.send(call()).await).await;
    assert_eq!(told, (429, "rate_limit_exceeded".into(), Some("tpm".into())));
    gate.open();
    assert!(first.collect().await.complete);
    let second = client.send(call()).await;
    // The provider reported 12 for the first.
    assert_eq!(remaining(&second).await, 1000 - estimate - 12);
    assert!(second.collect().await.complete);
    drop(client);
    gateway.stop().await;
}

/// B15: at once, and free again with the end.
#[tokio::test]
async fn requests_at_once() {
    let gate = crate::upstream::Gate::new();
    let held = vec![script::sse_head(), Step::Body(delta("one")), Step::Wait(gate.clone()), Step::End];
    let upstream = Upstream::in_turn(Speaks::H1, vec![held, script::sse(script::short_stream())]);
    let gateway =
        limited(&upstream, allow(LimitValues { concurrent: Some(1), ..LimitValues::default() })).await;
    let mut client = gateway.client(Version::H2).await;
    let first = client.send(Call::stream()).await;
    let answer = client.send(Call::stream()).await;
    assert_eq!(answer.header("retry-after"), "1");
    let told = refusal(answer).await;
    assert_eq!(told, (429, "rate_limit_exceeded".into(), Some("concurrent".into())));
    gate.open();
    first.collect().await;
    assert!(client.send(Call::stream()).await.collect().await.complete);
    drop(client);
    gateway.stop().await;
}

/// B15: models, expiry, a budget that is spent already.
#[tokio::test]
async fn models_expiry_and_budget() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let past = SystemTime::now() - Duration::from_secs(1);
    let spent = LimitValues { budget: Some(0), ..LimitValues::default() };
    for (limits, expected) in [
        (
            KeyLimits { models: vec!["gpt-*".into()], ..KeyLimits::default() },
            (403, "model_not_allowed", Some("model")),
        ),
        (KeyLimits { expires: Some(past), ..KeyLimits::default() }, (401, "key_expired", None)),
        (allow(spent), (402, "budget_exceeded", Some("budget"))),
    ] {
        let gateway = limited(&upstream, limits).await;
        let mut client = gateway.client(Version::H1).await;
        let (status, code, param) = refusal(client.send(Call::whole()).await).await;
        assert_eq!((status, &*code, param.as_deref()), expected);
        drop(client);
        gateway.stop().await;
    }
    let limits = KeyLimits {
        models: vec!["x".into(), "m".into()],
        expires: Some(SystemTime::now() + Duration::from_secs(60)),
        ..KeyLimits::default()
    };
    let gateway = limited(&upstream, limits).await;
    let mut client = gateway.client(Version::H1).await;
    // A list is as good as its worst.
    let listed = Call::post("/v1/chat/completions", r#"{"model":"m","models":["x","other"]}"#);
    let (status, code, _) = refusal(client.send(listed).await).await;
    assert_eq!((status, &*code), (403, "model_not_allowed"));
    let answer = client.send(Call::whole()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("x-ratelimit")));
    drop((answer, client));
    gateway.stop().await;
}

/// R33: the provider's own figures pass where the key has no limit of that kind, and make way for it where it has.
#[tokio::test]
async fn the_providers_own_figures() {
    let headers =
        ["x-ratelimit-limit-requests", "x-ratelimit-remaining-tokens", "anthropic-ratelimit-tokens-limit"]
            .map(|name| (name.to_owned(), "77".to_owned()))
            .into_iter()
            .chain([("content-type".to_owned(), "application/json".to_owned())])
            .collect();
    let head = Step::Head { status: 200, headers, framing: Framing::Length(script::COMPLETION.len() as u64) };
    let upstream = Upstream::always(Speaks::H1, vec![head, script::body(script::COMPLETION), Step::End]);
    let gateway = limited(&upstream, requests(5)).await;
    let mut client = gateway.client(Version::H1).await;
    let answer = client.send(Call::whole()).await;
    assert_eq!(answer.header("x-ratelimit-limit-requests"), "5");
    assert_eq!(answer.header("x-ratelimit-remaining-tokens"), "77");
    assert_eq!(answer.header("anthropic-ratelimit-tokens-limit"), "77");
    drop((answer, client));
    gateway.stop().await;
}

/// R13, R32: a provider that fails in any way costs the key no tokens, and one that was never reached no request.
#[tokio::test]
async fn failures_are_given_back() {
    let half = script::head(200, "application/json", Framing::Length(100));
    let broken = [
        script::json(500, r#"{"error":{"message":"x"}}"#),
        vec![half, script::body("{"), Step::Close],
        vec![script::sse_head(), script::body(delta("one")), Step::Moment, Step::Reset],
        vec![Step::Reset],
    ];
    for steps in broken {
        let upstream =
            Upstream::in_turn(Speaks::H1, vec![steps.clone(), script::json(200, script::COMPLETION)]);
        let both = LimitValues { requests: Some(10), tokens: Some(10_000), ..LimitValues::default() };
        let gateway = limited(&upstream, allow(both)).await;
        let mut client = gateway.client(Version::H2).await;
        let call = if steps.len() == 4 { Call::stream() } else { Call::whole() };
        client.send(call).await.collect().await;
        gateway.calm().await;
        let answer = client.send(Call::whole()).await;
        let held = 512 + Call::whole().body.len().div_ceil(4) as u64;
        assert_eq!(remaining(&answer).await, 10_000 - held, "{steps:?}");
        answer.collect().await;
        drop(client);
        gateway.stop().await;
    }
    let nobody = Upstream::always(Speaks::H1, Vec::new());
    let gateway = limited(&nobody, requests(10)).await;
    drop(nobody);
    let mut client = gateway.client(Version::H1).await;
    let mut left = Vec::new();
    for _ in 0..2 {
        let answer = client.send(Call::whole()).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
        left.push(answer.header("x-ratelimit-remaining-requests").to_owned());
        answer.collect().await;
    }
    assert_eq!(left, ["9", "9"]);
    drop(client);
    gateway.stop().await;
}

/// R13, R32: clients that leave in every phase leave nothing of their key's limits taken but what they were sent.
#[tokio::test]
async fn clients_that_leave_in_every_phase() {
    let mid_stream = vec![script::sse_head(), Step::Body(delta("one")), Step::Stall];
    let half =
        vec![script::head(200, "application/json", Framing::Length(100)), script::body("{"), Step::Stall];
    for (steps, streams) in [
        (vec![Step::Stall], false),
        (vec![Step::Stall], true),
        (vec![script::sse_head(), Step::Stall], true),
        (mid_stream, true),
        (half, false),
    ] {
        for version in Version::BOTH {
            let upstream = Upstream::by(Speaks::H1, {
                let steps = steps.clone();
                move |number, _| {
                    if number < 8 { steps.clone() } else { script::json(200, script::COMPLETION) }
                }
            });
            let all = LimitValues {
                requests: Some(100),
                tokens: Some(8192),
                concurrent: Some(8),
                ..LimitValues::default()
            };
            let gateway = limited(&upstream, allow(all)).await;
            let leaving: Vec<_> = (0..8)
                .map(|_| {
                    let address = gateway.address;
                    tokio::spawn(async move {
                        let mut client = Client::connect(version, address).await;
                        let call = if streams { Call::stream() } else { Call::whole() };
                        let Ok(mut answer) = client.try_send(call).await else { return };
                        let _ = answer.next().await;
                        std::future::pending::<()>().await;
                    })
                })
                .collect();
            upstream.log.request(7).await;
            gateway.until("eight requests", |now| now.requests == 8).await;
            leaving.iter().for_each(tokio::task::JoinHandle::abort);
            for task in leaving {
                let _ = task.await;
            }
            gateway.calm().await;
            let mut client = gateway.client(Version::H1).await;
            let answer = client.send(Call::whole()).await;
            assert_eq!(answer.status, StatusCode::OK, "nothing runs any more");
            let held = 512 + Call::whole().body.len().div_ceil(4) as u64;
            let prompt = if streams { Call::stream() } else { Call::whole() }.body.len().div_ceil(4) as u64;
            let passed = 8192 - held - remaining(&answer).await;
            assert!((8 * prompt..=8 * (prompt + 1)).contains(&passed), "{steps:?} {version:?}: {passed}");
            answer.collect().await;
            drop(client);
            gateway.stop().await;
        }
    }
}

/// A folder of the test's own, gone when dropped.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("thalweg-keys-{}", crate::client::call::next_id()));
        let folder = folder.with_extension(std::process::id().to_string());
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn database(&self) -> DatabaseSettings {
        DatabaseSettings::new(DatabaseUrl::Sqlite(self.0.join("t.db")))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn stored(name: &str, secret: &str, limits: KeyLimits) -> StoredKey {
    StoredKey {
        id: format!("key_{name}"),
        name: name.to_owned(),
        shown: String::new(),
        digest: Digest::of(secret.as_bytes()),
        old: None,
        admin: false,
        limits,
        created: SystemTime::now(),
        revoked: None,
        spent: 0,
    }
}

/// How long until a call with this key is answered with `status`: less than a second.
async fn within_a_second(client: &mut Client, secret: &str, status: u16) {
    let begun = Instant::now();
    loop {
        let call = Call::whole().header("authorization", &format!("Bearer {secret}"));
        let answer = client.send(call).await;
        if answer.status.as_u16() == status {
            break;
        }
        let told = answer.collect().await.text();
        assert!(begun.elapsed() < Duration::from_secs(1), "not {status} after a second, but {told}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// B15: keys of the database, made, rotated and revoked while the gateway runs: it knows within a second, on every
/// worker, and a stream that began before goes on.
#[tokio::test]
async fn keys_of_the_database() {
    const SECRET: &str = "sk-thalweg-of-the-database";
    let gate = crate::upstream::Gate::new();
    let held = vec![script::sse_head(), Step::Body(delta("one")), Step::Wait(gate.clone()), Step::End];
    let upstream = Upstream::by(Speaks::H1, move |_, seen| {
        if seen.body.windows(6).any(|at| at == b"stream") {
            held.clone()
        } else {
            script::json(200, script::COMPLETION)
        }
    });
    let folder = Folder::new();
    let plan = Plan::to(&[&upstream]).with(|settings| {
        settings.database = Some(folder.database());
        settings.workers = std::num::NonZeroUsize::new(2).unwrap();
    });
    let gateway = plan.start().await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(gateway.client(Version::H1).await);
    }
    let mut registrar = KeyEditor::open(&folder.database()).await.unwrap();
    registrar.add(&stored("alice", SECRET, requests(1_000_000))).await.unwrap();
    for client in &mut clients {
        within_a_second(client, SECRET, 200).await;
    }
    let mut streaming = gateway.client(Version::H1).await;
    let call = Call::stream().header("authorization", &format!("Bearer {SECRET}"));
    let mut stream = streaming.send(call).await;
    stream.piece().await;

    let other = (Digest::of(b"sk-thalweg-rotated"), String::new());
    registrar.rotate("alice", other, SystemTime::now() + Duration::from_secs(60)).await.unwrap();
    within_a_second(&mut clients[0], "sk-thalweg-rotated", 200).await;
    within_a_second(&mut clients[1], SECRET, 200).await;
    let other = (Digest::of(b"sk-thalweg-again"), String::new());
    registrar.rotate("alice", other, SystemTime::now()).await.unwrap();
    within_a_second(&mut clients[0], SECRET, 401).await;
    within_a_second(&mut clients[1], "sk-thalweg-again", 200).await;

    registrar.revoke("alice", SystemTime::now()).await.unwrap();
    for client in &mut clients {
        within_a_second(client, "sk-thalweg-again", 401).await;
    }
    gate.open();
    assert!(stream.collect().await.complete, "what had begun goes on");
    assert!(!journal::mentions(SECRET) && !journal::mentions("sk-thalweg-again"), "R31");
    registrar.close().await;
    drop((clients, streaming));
    gateway.stop().await;
}

/// A key of the database that is an administrator's opens administration, and closes it for those who show none.
#[tokio::test]
async fn an_administrator_of_the_database() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let folder = Folder::new();
    let mut registrar = KeyEditor::open(&folder.database()).await.unwrap();
    for apart in [false, true] {
        let plan = Plan::to(&[&upstream]).with(|settings| {
            settings.database = Some(folder.database());
            settings.admin_listen = apart.then(|| Listen { host: "127.0.0.1".into(), port: 0, tls: None });
        });
        let gateway = plan.start().await;
        let address = if apart { gateway.admin_address() } else { gateway.address };
        let mut client = Client::connect(Version::H1, address).await;
        let (name, secret) = (format!("boss-{apart}"), format!("sk-boss-{apart}"));
        let mut asked = async |secret: &str| {
            let call = Call::get("/stats").header("authorization", &format!("Bearer {secret}"));
            let answer = client.send(call).await;
            let status = answer.status.as_u16();
            answer.collect().await;
            status
        };
        assert_eq!(asked(&secret).await, if apart { 200 } else { 403 });
        let boss = stored(&name, &secret, KeyLimits::default());
        registrar.add(&StoredKey { admin: true, ..boss }).await.unwrap();
        let begun = Instant::now();
        while asked("sk-stranger").await != 401 || asked(&secret).await != 200 {
            assert!(begun.elapsed() < Duration::from_secs(2));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(asked(TOKEN).await, 403);
        registrar.revoke(&name, SystemTime::now()).await.unwrap();
        while asked(&secret).await != if apart { 200 } else { 403 } {
            assert!(begun.elapsed() < Duration::from_secs(4));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(client);
        gateway.stop().await;
    }
    registrar.close().await;
}

/// R27: before the database has been read, nobody is told that a key is wrong; keys of the configuration are served.
#[tokio::test]
async fn a_database_that_cannot_be_had() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let nowhere = DatabaseSettings::new(DatabaseUrl::Sqlite("/nowhere/at/all/t.db".into()));
    let budget = allow(LimitValues { budget: Some(1_000_000), ..LimitValues::default() });
    let budget =
        TokenSettings { limits: budget, ..TokenSettings::plain("bob", Secret::new("sk-bob".to_owned())) };
    let plan = Plan::to(&[&upstream]).with(|settings| {
        settings.database = Some(nowhere);
        settings.tokens.push(budget);
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    assert_eq!(client.send(Call::whole()).await.status, StatusCode::OK);
    // It may be spent already.
    let unknown = client.send(Call::whole().header("authorization", "Bearer sk-bob")).await;
    assert_eq!((unknown.status.as_u16(), unknown.header("retry-after")), (503, "1"));
    assert_eq!(refusal(unknown).await.1, "keys_unavailable");
    let stranger = client.send(Call::whole().header("authorization", "Bearer sk-stranger")).await;
    assert_eq!((stranger.status.as_u16(), stranger.header("retry-after")), (503, "1"));
    assert_eq!(refusal(stranger).await.1, "keys_unavailable");
    drop(client);
    gateway.stop().await;
}

/// R27: before the database has been read it may hold an administrator's key: loopback alone opens nothing then but what
/// is open anyway.
#[tokio::test]
async fn administration_waits_for_the_database() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let ask = async |plan: Plan, secret: Option<&str>| {
        let gateway = plan.start().await;
        let mut client = Client::connect(Version::H1, gateway.admin_address()).await;
        let mut told = Vec::new();
        for path in ["/stats", "/metrics", "/livez", "/health"] {
            let call = match secret {
                Some(secret) => Call::get(path).header("authorization", &format!("Bearer {secret}")),
                None => Call::get(path).without("authorization"),
            };
            let answer = client.send(call).await;
            let status = answer.status.as_u16();
            told.push(status);
            if status == 503 {
                assert_eq!(answer.header("retry-after"), "1");
                assert_eq!(refusal(answer).await.1, "keys_unavailable");
            } else {
                answer.collect().await;
            }
        }
        drop(client);
        gateway.stop().await;
        told
    };
    let plan = |public_metrics| {
        Plan::to(&[&upstream]).with(|settings| {
            settings.database =
                Some(DatabaseSettings::new(DatabaseUrl::Sqlite("/nowhere/at/all/t.db".into())));
            settings.admin_listen = Some(Listen { host: "127.0.0.1".into(), port: 0, tls: None });
            settings.telemetry.public_metrics = public_metrics;
        })
    };
    for secret in [None, Some(TOKEN)] {
        assert_eq!(ask(plan(false), secret).await, [503, 503, 200, 200], "{secret:?}");
        assert_eq!(ask(plan(true), secret).await, [503, 200, 200, 200], "{secret:?}");
    }
    // The configuration's own is known.
    let boss =
        TokenSettings { admin: true, ..TokenSettings::plain("boss", Secret::new("sk-boss".to_owned())) };
    let plan = plan(false).with(|settings| settings.tokens.push(boss));
    assert_eq!(ask(plan, Some("sk-boss")).await, [200, 200, 200, 200]);
}

/// B15: a budget is spent by what answers cost, and what is under way is set aside.
#[tokio::test]
async fn a_budget_is_spent() {
    let gate = crate::upstream::Gate::new();
    let held = vec![
        script::sse_head(),
        Step::Body(delta("one")),
        Step::Wait(gate.clone()),
        Step::Body(script::usage()),
        Step::End,
    ];
    let upstream = Upstream::in_turn(Speaks::H1, vec![held, script::json(200, script::COMPLETION)]);
    let folder = Folder::new();
    let allowance = LimitValues { budget: Some(20), ..LimitValues::default() };
    let token = TokenSettings {
        limits: allow(allowance),
        ..TokenSettings::plain("alice", Secret::new(TOKEN.to_owned()))
    };
    // A millionth of the currency for each token: a stream costs 12, an answer 11.
    let price = Price { input: 1_000_000, output: 1_000_000, cached: None };
    let plan = Plan::to(&[&upstream]).with(|settings| {
        settings.tokens = vec![token];
        settings.prices = Prices::new([("m".to_owned(), price)]);
        settings.database = Some(folder.database());
    });
    let settings = plan.settings.clone();
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H2).await;
    let first = client.send(Call::stream()).await;
    let told = refusal(client.send(Call::whole()).await).await;
    assert_eq!(told, (402, "budget_exceeded".into(), Some("budget".into())), "all that is left is set aside");
    gate.open();
    first.collect().await;
    // Bills are paid behind the line.
    let mut answer = client.send(Call::whole()).await;
    for _ in 0..200 {
        if answer.status == StatusCode::OK {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        answer = client.send(Call::whole()).await;
    }
    assert_eq!(answer.status, StatusCode::OK);
    answer.collect().await;
    drop(client);
    gateway.stop().await;

    // 23 of 20 are spent, and a restart does not forget it, not even for a moment.
    let gateway = Plan { settings, source: None }.start().await;
    let mut client = gateway.client(Version::H1).await;
    assert_eq!(client.send(Call::whole()).await.status, StatusCode::PAYMENT_REQUIRED);
    drop(client);
    gateway.stop().await;
}
