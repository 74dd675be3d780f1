//! Keys that the database holds: revoked within a second, budgets, and a database that is away (B15, R27).

use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use thalweg::{
    auth::{Digest, KeyEditor, KeyLimits, StoredKey, TokenSettings, limit::LimitValues},
    base::Secret,
    database::{DatabaseSettings, DatabaseUrl},
    ledger::{Price, Prices},
    server::Listen,
};

use super::keys::{allow, refusal, requests};
use crate::{
    client::{Call, Client, Version, call::TOKEN},
    gateway::Plan,
    journal,
    upstream::{
        Speaks, Step, Upstream,
        script::{self, delta},
    },
};

/// A temporary folder, removed on drop.
pub struct Folder(std::path::PathBuf);

impl Folder {
    pub fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("thalweg-keys-{}", crate::client::call::next_id()));
        let folder = folder.with_extension(std::process::id().to_string());
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub fn database(&self) -> DatabaseSettings {
        DatabaseSettings::new(DatabaseUrl::Sqlite(self.0.join("t.db")))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn stored(name: &str, secret: &str, limits: KeyLimits) -> StoredKey {
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

/// Waits until a call with this key gets `status`; fails after a second.
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

/// B15: keys are created, rotated and revoked in the database while the gateway runs. Every worker applies a
/// change within a second; a stream that began before goes on.
#[tokio::test]
async fn keys_of_the_database() {
    const SECRET: &str = "sk-thalweg-of-the-database";
    let gate = crate::upstream::Gate::new();
    let held = vec![
        script::sse_head(),
        Step::Body(delta("one")),
        Step::Wait(gate.clone()),
        script::body(script::DONE),
        Step::End,
    ];
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
    registrar.rotate("alice", other, SystemTime::now() + Duration::from_secs(60), |_| true).await.unwrap();
    within_a_second(&mut clients[0], "sk-thalweg-rotated", 200).await;
    within_a_second(&mut clients[1], SECRET, 200).await;
    let other = (Digest::of(b"sk-thalweg-again"), String::new());
    registrar.rotate("alice", other, SystemTime::now(), |_| true).await.unwrap();
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

/// An administrator's key in the database opens administration, and closes it for requests without a key.
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

/// R27: before the database has been read, no key is called invalid; keys of the configuration are served.
#[tokio::test]
async fn an_unreachable_database() {
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
    // Its budget may be spent already.
    let unknown = client.send(Call::whole().header("authorization", "Bearer sk-bob")).await;
    assert_eq!((unknown.status.as_u16(), unknown.header("retry-after")), (503, "1"));
    assert_eq!(refusal(unknown).await.1, "keys_unavailable");
    let stranger = client.send(Call::whole().header("authorization", "Bearer sk-stranger")).await;
    assert_eq!((stranger.status.as_u16(), stranger.header("retry-after")), (503, "1"));
    assert_eq!(refusal(stranger).await.1, "keys_unavailable");
    drop(client);
    gateway.stop().await;
}

/// R27: before the database has been read it may hold an administrator's key, so a loopback request opens
/// only the pages that are always open.
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
    // Keys of the configuration are known at once.
    let boss =
        TokenSettings { admin: true, ..TokenSettings::plain("boss", Secret::new("sk-boss".to_owned())) };
    let plan = plan(false).with(|settings| settings.tokens.push(boss));
    assert_eq!(ask(plan, Some("sk-boss")).await, [200, 200, 200, 200]);
}

/// B15: the cost of answers is taken from the budget, and the estimate of a running request is reserved.
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
    let price = Price { input: 1_000_000, output: 1_000_000, ..Price::default() };
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
    assert_eq!(
        told,
        (429, "rate_limit_exceeded".into(), Some("budget".into())),
        "all that is left is set aside"
    );
    gate.open();
    first.collect().await;
    let answer = client.send(Call::whole()).await;
    assert_eq!(answer.status, StatusCode::OK);
    answer.collect().await;
    drop(client);
    gateway.stop().await;

    // 23 of 20 are spent; after a restart the gateway knows it from the first request on.
    let gateway = Plan { settings, source: None }.start().await;
    let mut client = gateway.client(Version::H1).await;
    assert_eq!(client.send(Call::whole()).await.status, StatusCode::PAYMENT_REQUIRED);
    drop(client);
    gateway.stop().await;
}
