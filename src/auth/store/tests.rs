use std::sync::Arc;

use super::*;
use crate::{
    auth::{Keys, TokenSettings, Tokens, keeper::Keeper, maker},
    base::{
        Secret,
        lease::{Ask, Limit},
    },
    database::tests::Scratch,
};

fn key(name: &str, token: &str, limits: Limits) -> StoredKey {
    StoredKey {
        id: format!("key_{name}"),
        name: name.to_owned(),
        shown: maker::shown(token),
        digest: Digest::of(token.as_bytes()),
        old: None,
        admin: false,
        limits,
        created: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
        revoked: None,
        spent: 0,
    }
}

fn limits() -> Limits {
    let allowance =
        Allowance { requests: Some(60), tokens: Some(100_000), concurrent: Some(4), budget: Some(5_000_000) };
    let expires = Some(SystemTime::UNIX_EPOCH + Duration::from_millis(4_000_000_000_123));
    Limits { models: vec!["gpt-*".into(), "a\"b".into()], allowance, expires }
}

/// B15: what is written is what is read, on both databases; the key itself is nowhere in it (R31).
#[tokio::test]
async fn keys_are_added_changed_and_revoked() {
    for scratch in Scratch::each().await {
        let mut registrar = Registrar::open(&scratch.settings).await.unwrap();
        let store = Store::open(&scratch.settings).await.unwrap();
        let first = store.version().await.unwrap();
        let alice = key("alice", "sk-thalweg-secret-of-alice", limits());
        registrar.add(&alice).await.unwrap();
        assert_eq!(store.keys().await.unwrap(), std::slice::from_ref(&alice));
        let taken = Registrar::open(&scratch.settings).await.unwrap().add(&key("alice", "x", limits())).await;
        assert!(matches!(taken, Err(StoreError::Taken(_))), "{taken:?}");
        assert!(store.version().await.unwrap() > first);

        let changed =
            registrar.limit("alice", |limits| limits.allowance = Allowance::default()).await.unwrap();
        assert_eq!(changed.limits.allowance, Allowance::default());
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
        let other = (Digest::of(b"other"), "ot…".to_owned());
        let rotated = registrar.rotate("key_alice", other, until).await.unwrap();
        assert_eq!(rotated.old, Some((alice.digest, until)));
        assert_eq!(store.keys().await.unwrap(), std::slice::from_ref(&rotated));

        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(9);
        assert_eq!(registrar.revoke("alice", now).await.unwrap().revoked, Some(now));
        let gone = Registrar::open(&scratch.settings).await.unwrap().revoke("alice", now).await;
        assert!(matches!(gone, Err(StoreError::Unknown(_))), "{gone:?}");
        let mut registrar = Registrar::open(&scratch.settings).await.unwrap();
        registrar.add(&key("alice2", "sk-2", Limits::default())).await.unwrap();
        assert_eq!(store.keys().await.unwrap().len(), 2);
        assert_eq!(store.spend("key_alice2", 5).await.unwrap(), 5);
        assert_eq!(store.spend("key_alice2", 7).await.unwrap(), 12);
        assert_eq!(store.spending().await.unwrap(), [("key_alice2".to_owned(), 12)]);
        assert_eq!(store.keys().await.unwrap()[1].spent, 12);
        store.close().await;
        registrar.close().await;
        for file in std::fs::read_dir(&scratch.folder).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(memchr::memmem::find(&bytes, b"secret-of-alice").is_none());
        }
    }
}

/// B15: the running gateway sees changes, and what was used survives them.
#[tokio::test]
async fn the_keeper_follows_the_store() {
    for scratch in Scratch::each().await {
        let mut registrar = Registrar::open(&scratch.settings).await.unwrap();
        let (keys, none) = (Keys::default(), Tokens::default());
        let mut keeper = Keeper::new(scratch.settings.clone(), keys.clone());
        assert!(keeper.look(&none).await);
        let find = |token: &[u8]| keys.find(&none, token);
        registrar.add(&key("alice", "sk-alice", Limits { expires: None, ..limits() })).await.unwrap();
        assert!(find(b"sk-alice").is_none());
        assert!(keeper.look(&none).await);
        let alice = find(b"sk-alice").unwrap();
        assert_eq!(alice.limits.allowance.requests, Some(60));

        let until = SystemTime::now() + Duration::from_secs(60);
        registrar.rotate("alice", (Digest::of(b"sk-new"), String::new()), until).await.unwrap();
        assert!(keeper.look(&none).await);
        let (old, new) = (find(b"sk-alice").unwrap(), find(b"sk-new").unwrap());
        assert!(Arc::ptr_eq(old.meter.as_ref().unwrap(), new.meter.as_ref().unwrap()));
        assert!(Arc::ptr_eq(new.meter.as_ref().unwrap(), alice.meter.as_ref().unwrap()));
        assert!(old.limits.expires.is_some() && new.limits.expires.is_none());

        registrar.revoke("alice", SystemTime::now()).await.unwrap();
        assert!(keeper.look(&none).await);
        assert!(find(b"sk-alice").is_none() && find(b"sk-new").is_none());
        keeper.close().await;
        registrar.close().await;
    }
}

/// B15: budgets of both kinds of keys survive a restart.
#[tokio::test]
async fn what_was_spent_survives_a_restart() {
    for scratch in Scratch::each().await {
        let mut registrar = Registrar::open(&scratch.settings).await.unwrap();
        registrar.add(&key("alice", "sk-alice", Limits { expires: None, ..limits() })).await.unwrap();
        let bob =
            TokenSettings { limits: limits(), ..TokenSettings::plain("bob", Secret::new("sk-bob".into())) };
        for round in 0..2 {
            let (keys, tokens) = (Keys::default(), Tokens::new(std::slice::from_ref(&bob)));
            let mut keeper = Keeper::new(scratch.settings.clone(), keys.clone());
            assert!(keeper.look(&tokens).await);
            for token in [&b"sk-alice"[..], b"sk-bob"] {
                let principal = keys.find(&tokens, token).unwrap();
                let meter = principal.meter.clone().unwrap();
                assert_eq!(meter.spent(), round * 5_000_000, "{}", principal.name);
                let lease = meter.lease(&principal.limits.allowance, &Ask::default(), Duration::ZERO);
                if round == 0 {
                    lease.unwrap().settle(0, Duration::ZERO).unwrap().pay(5_000_000);
                } else {
                    assert_eq!(lease.unwrap_err().limit, Limit::Budget);
                }
            }
            assert!(keeper.look(&tokens).await);
            assert!(keeper.look(&tokens).await, "nothing is brought twice");
            keeper.close().await;
        }
        registrar.close().await;
    }
}

/// R27: with the database away, the keys in memory stay in force.
#[tokio::test]
async fn keys_in_memory_outlive_the_database() {
    let scratch = Scratch::sqlite();
    let mut registrar = Registrar::open(&scratch.settings).await.unwrap();
    registrar.add(&key("alice", "sk-alice", Limits::default())).await.unwrap();
    let (keys, none) = (Keys::default(), Tokens::default());
    let mut keeper = Keeper::new(scratch.settings.clone(), keys.clone());
    assert!(keeper.look(&none).await);
    registrar.0.run("ALTER TABLE api_key_version RENAME TO elsewhere", Vec::new()).await.unwrap();
    assert!(!keeper.look(&none).await);
    assert!(!keeper.look(&none).await);
    assert!(keys.find(&none, b"sk-alice").is_some());
    registrar.0.run("ALTER TABLE elsewhere RENAME TO api_key_version", Vec::new()).await.unwrap();
    registrar.revoke("alice", SystemTime::now()).await.unwrap();
    assert!(keeper.look(&none).await);
    assert!(keys.find(&none, b"sk-alice").is_none());
}
