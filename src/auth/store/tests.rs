use std::sync::Arc;

use super::*;
use crate::{
    auth::{
        ConfiguredKeys, KeyEditor, KeyName, Principal, StoreError, StoredKeys, TokenSettings, generate,
        limit::{Limit, Reservation},
        sync::KeySync,
    },
    base::Secret,
    database::tests::Scratch,
};

fn key(name: &str, token: &str, limits: KeyLimits) -> StoredKey {
    StoredKey {
        id: format!("key_{name}"),
        name: name.to_owned(),
        shown: generate::shown(token),
        digest: Digest::of(token.as_bytes()),
        old: None,
        admin: false,
        limits,
        created: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
        revoked: None,
        spent: 0,
    }
}

fn limits() -> KeyLimits {
    let allowance = LimitValues {
        requests: Some(60),
        tokens: Some(100_000),
        concurrent: Some(4),
        budget: Some(5_000_000),
    };
    let expires = Some(SystemTime::UNIX_EPOCH + Duration::from_millis(4_000_000_000_123));
    KeyLimits { models: vec!["gpt-*".into(), "a\"b".into()], allowance, expires }
}

/// B15: what is written is what is read, on both databases; the key itself is nowhere in it (R31).
#[tokio::test]
async fn keys_are_added_changed_and_revoked() {
    for scratch in Scratch::each().await {
        let mut registrar = KeyEditor::open(&scratch.settings).await.unwrap();
        let store = KeyStore::open(&scratch.settings).await.unwrap();
        let first = store.version().await.unwrap();
        let alice = key("alice", "sk-thalweg-secret-of-alice", limits());
        registrar.add(&alice).await.unwrap();
        assert_eq!(store.keys().await.unwrap().keys, std::slice::from_ref(&alice));
        let taken = KeyEditor::open(&scratch.settings).await.unwrap().add(&key("alice", "x", limits())).await;
        assert!(matches!(taken, Err(StoreError::Taken(_))), "{taken:?}");
        assert!(store.version().await.unwrap() > first);

        let changed =
            registrar.limit("alice", |limits| limits.allowance = LimitValues::default()).await.unwrap();
        assert_eq!(changed.limits.allowance, LimitValues::default());
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
        let other = (Digest::of(b"other"), "ot…".to_owned());
        let rotated = registrar.rotate("key_alice", other, until).await.unwrap();
        assert_eq!(rotated.old, Some((alice.digest, until)));
        assert_eq!(store.keys().await.unwrap().keys, std::slice::from_ref(&rotated));

        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(9);
        let named = KeyName { id: "key_alice".to_owned(), name: "alice".to_owned() };
        assert_eq!(registrar.revoke("alice", now).await.unwrap(), named);
        assert_eq!(store.keys().await.unwrap().keys[0].revoked, Some(now));
        let gone = KeyEditor::open(&scratch.settings).await.unwrap().revoke("alice", now).await;
        assert!(matches!(gone, Err(StoreError::Unknown(_))), "{gone:?}");
        let mut registrar = KeyEditor::open(&scratch.settings).await.unwrap();
        registrar.add(&key("alice2", "sk-2", KeyLimits::default())).await.unwrap();
        // Told twice it is the same, told late it is nothing, and others' is beside it.
        for (owner, sum, spent) in [("a", 5, 5), ("a", 5, 5), ("b", 7, 12), ("a", 6, 13), ("a", 2, 13)] {
            assert_eq!(store.spend("key_alice2", owner, sum).await.unwrap(), spent, "{owner} {sum}");
        }
        assert_eq!(store.spending().await.unwrap(), [("key_alice2".to_owned(), 13)].into());
        let found = store.keys().await.unwrap();
        assert_eq!((found.keys.len(), found.keys[1].spent, found.unreadable), (2, 13, Vec::new()));
        assert_eq!(registrar.limit("alice2", |_| {}).await.unwrap().spent, 13);
        let most = store.spend("key_alice2", "a", i64::MAX).await.unwrap();
        assert_eq!((most, store.keys().await.unwrap().keys[1].spent), (i64::MAX, i64::MAX));
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
        let mut registrar = KeyEditor::open(&scratch.settings).await.unwrap();
        let (keys, none) = (StoredKeys::default(), ConfiguredKeys::default());
        let mut keeper = KeySync::new(scratch.settings.clone(), keys.clone());
        assert!(keeper.look(Some(&none)).await);
        let find = |token: &[u8]| keys.find(&none, token);
        registrar.add(&key("alice", "sk-alice", KeyLimits { expires: None, ..limits() })).await.unwrap();
        assert!(find(b"sk-alice").is_none());
        assert!(keeper.look(Some(&none)).await);
        let alice = find(b"sk-alice").unwrap();
        assert_eq!(alice.limits.allowance.requests, Some(60));

        let until = SystemTime::now() + Duration::from_secs(60);
        registrar.rotate("alice", (Digest::of(b"sk-new"), String::new()), until).await.unwrap();
        assert!(keeper.look(Some(&none)).await);
        let (old, new) = (find(b"sk-alice").unwrap(), find(b"sk-new").unwrap());
        assert!(Arc::ptr_eq(old.meter.as_ref().unwrap(), new.meter.as_ref().unwrap()));
        assert!(Arc::ptr_eq(new.meter.as_ref().unwrap(), alice.meter.as_ref().unwrap()));
        assert!(old.limits.expires.is_some() && new.limits.expires.is_none());

        registrar.revoke("alice", SystemTime::now()).await.unwrap();
        assert!(keeper.look(Some(&none)).await);
        assert!(find(b"sk-alice").is_none() && find(b"sk-new").is_none());
        keeper.close().await;
        registrar.close().await;
    }
}

/// B15: budgets of both kinds of keys survive a restart.
#[tokio::test]
async fn what_was_spent_survives_a_restart() {
    for scratch in Scratch::each().await {
        let mut registrar = KeyEditor::open(&scratch.settings).await.unwrap();
        registrar.add(&key("alice", "sk-alice", KeyLimits { expires: None, ..limits() })).await.unwrap();
        let bob =
            TokenSettings { limits: limits(), ..TokenSettings::plain("bob", Secret::new("sk-bob".into())) };
        for round in 0..2 {
            let (keys, tokens) = (StoredKeys::default(), ConfiguredKeys::new(std::slice::from_ref(&bob)));
            let mut keeper = KeySync::new(scratch.settings.clone(), keys.clone());
            assert!(keeper.look(Some(&tokens)).await);
            for token in [&b"sk-alice"[..], b"sk-bob"] {
                let principal = keys.find(&tokens, token).unwrap();
                let meter = principal.meter.clone().unwrap();
                assert_eq!(meter.spent(), round * 5_000_000, "{}", principal.name);
                let lease = meter.lease(&principal.limits.allowance, &Reservation::default(), Duration::ZERO);
                if round == 0 {
                    lease.unwrap().settle(0, Duration::ZERO).unwrap().pay(5_000_000);
                } else {
                    assert_eq!(lease.unwrap_err().limit, Limit::Budget);
                }
            }
            assert!(keeper.look(Some(&tokens)).await);
            assert!(keeper.look(Some(&tokens)).await, "nothing is brought twice");
            keeper.close().await;
        }
        registrar.close().await;
    }
}

fn pay(principal: &Principal, cost: i64) {
    let meter = principal.meter.as_ref().unwrap();
    let lease = meter.lease(&principal.limits.allowance, &Reservation::default(), Duration::ZERO).unwrap();
    lease.settle(0, Duration::ZERO).unwrap().pay(cost);
}

/// A budget is its description's: what was spent under one is found under it again, whatever was the secret, and what was
/// not booked yet when the name changed is booked under the old one.
#[tokio::test]
async fn a_budget_is_its_descriptions() {
    for scratch in Scratch::each().await {
        let token = |name: &str, secret: &str| {
            let plain = TokenSettings::plain(name, Secret::new(secret.to_owned()));
            ConfiguredKeys::new(&[TokenSettings { limits: limits(), ..plain }])
        };
        let keys = StoredKeys::default();
        keys.await_store();
        let mut keeper = KeySync::new(scratch.settings.clone(), keys.clone());
        let mut tokens = ConfiguredKeys::default();
        // The token, what it has spent before, and what it spends now: half of it is looked at before the next reload.
        for (name, secret, before, cost) in [
            ("alice", "sk-a", 0, 10),
            ("al", "sk-a", 0, 2),
            ("alice", "sk-a", 10, 4),
            ("alice", "sk-b", 14, 6),
        ] {
            let is_known = tokens.principals().any(|principal| &*principal.name == name);
            tokens = token(name, secret).carry(&tokens);
            let principal = keys.find(&tokens, secret.as_bytes()).unwrap();
            assert_eq!(keys.is_spending_known(&principal), is_known, "{name} {secret}");
            assert!(keeper.look(Some(&tokens)).await);
            assert!(keys.is_spending_known(&principal));
            assert_eq!(principal.meter.as_ref().unwrap().spent(), before, "{name} {secret}");
            pay(&principal, cost / 2);
            assert!(keeper.look(Some(&tokens)).await);
            pay(&principal, cost / 2);
        }
        keeper.settle(&tokens).await;
        let store = KeyStore::open(&scratch.settings).await.unwrap();
        let booked = [("config:alice".to_owned(), 20), ("config:al".to_owned(), 2)];
        assert_eq!(store.spending().await.unwrap(), booked.into());
        keeper.close().await;
        store.close().await;
    }
}

/// What a request costs that was under way when its key was revoked, or its token left the configuration, is booked.
#[tokio::test]
async fn whoever_is_gone_pays_what_was_under_way() {
    for scratch in Scratch::each().await {
        let mut registrar = KeyEditor::open(&scratch.settings).await.unwrap();
        registrar.add(&key("alice", "sk-alice", KeyLimits { expires: None, ..limits() })).await.unwrap();
        let bob =
            TokenSettings { limits: limits(), ..TokenSettings::plain("bob", Secret::new("sk-bob".into())) };
        let (keys, tokens, none) =
            (StoredKeys::default(), ConfiguredKeys::new(&[bob]), ConfiguredKeys::default());
        let mut keeper = KeySync::new(scratch.settings.clone(), keys.clone());
        assert!(keeper.look(Some(&tokens)).await);
        let begin = |secret: &[u8]| {
            let principal = keys.find(&tokens, secret).unwrap();
            let meter = principal.meter.as_ref().unwrap();
            meter.lease(&principal.limits.allowance, &Reservation::default(), Duration::ZERO).unwrap()
        };
        let leases = [(begin(b"sk-alice"), 5), (begin(b"sk-bob"), 7)];
        drop(tokens);
        registrar.revoke("alice", SystemTime::now()).await.unwrap();
        for _ in 0..3 {
            assert!(keeper.look(Some(&none)).await);
        }
        for (lease, cost) in leases {
            lease.settle(0, Duration::ZERO).unwrap().pay(cost);
        }
        keeper.settle(&none).await;
        let store = KeyStore::open(&scratch.settings).await.unwrap();
        let booked = [("key_alice".to_owned(), 5), ("config:bob".to_owned(), 7)];
        assert_eq!(store.spending().await.unwrap(), booked.into());
        assert!(keeper.look(Some(&none)).await);
        assert!(format!("{keeper:?}").contains("debtors: {}"), "nobody is kept for ever");
        keeper.close().await;
        store.close().await;
        registrar.close().await;
    }
}

/// Whose rows there are.
async fn owners(registrar: &mut KeyEditor) -> Vec<String> {
    let found = registrar.0.fetch("SELECT owner FROM api_key_spending ORDER BY id, owner", Vec::new()).await;
    found.unwrap().iter().map(|record| text(record, 0).unwrap()).collect()
}

/// A process that ends well leaves one row for each key, however many there were before it.
#[tokio::test]
async fn the_rows_of_those_that_have_ended_are_one() {
    for scratch in Scratch::each().await {
        let mut registrar = KeyEditor::open(&scratch.settings).await.unwrap();
        let store = KeyStore::open(&scratch.settings).await.unwrap();
        for name in ["alice", "bob"] {
            let limits = KeyLimits { expires: None, ..limits() };
            registrar.add(&key(name, &format!("sk-{name}"), limits)).await.unwrap();
        }
        store.spend("key_alice", "killed", 100).await.unwrap();
        for round in 1..=3 {
            let (keys, none) = (StoredKeys::default(), ConfiguredKeys::default());
            let mut keeper = KeySync::new(scratch.settings.clone(), keys.clone());
            assert!(keeper.look(Some(&none)).await);
            pay(&keys.find(&none, b"sk-alice").unwrap(), 5);
            pay(&keys.find(&none, b"sk-bob").unwrap(), 7);
            keeper.settle(&none).await;
            assert_eq!(owners(&mut registrar).await.len(), if round == 1 { 3 } else { 5 });
            keeper.close().await;
            assert_eq!(owners(&mut registrar).await, ["", "killed", ""]);
            let spent = [("key_alice".to_owned(), 100 + 5 * round), ("key_bob".to_owned(), 7 * round)];
            assert_eq!(store.spending().await.unwrap(), spent.into());
        }
        // What is in doubt stays, and too much is no error.
        store.spend("key_alice", "a", i64::MAX).await.unwrap();
        store.spend("key_bob", "a", 1).await.unwrap();
        KeyStore::fold(&scratch.settings, "a", ["key_bob", "key_carol"].into_iter()).await.unwrap();
        assert_eq!(owners(&mut registrar).await, ["", "killed", "", "a"]);
        assert_eq!(store.spending().await.unwrap()["key_alice"], i64::MAX);
        assert_eq!(store.spending().await.unwrap()["key_bob"], 22);
        store.close().await;
        registrar.close().await;
    }
}

/// A statement that the database runs after its answer was no longer waited for is not run a second time.
#[tokio::test]
async fn what_was_spent_is_booked_once_though_the_answer_was_late() {
    for scratch in Scratch::each().await {
        let mut registrar = KeyEditor::open(&scratch.settings).await.unwrap();
        registrar.add(&key("alice", "sk-alice", KeyLimits { expires: None, ..limits() })).await.unwrap();
        let (keys, none) = (StoredKeys::default(), ConfiguredKeys::default());
        let mut keeper = KeySync::new(scratch.settings.clone(), keys.clone());
        assert!(keeper.look(Some(&none)).await);
        let alice = keys.find(&none, b"sk-alice").unwrap();
        pay(&alice, 5);
        assert!(keeper.look(Some(&none)).await);
        // Somebody else holds the row, or all of SQLite.
        registrar.0.begin().await.unwrap();
        registrar.0.run("UPDATE api_key_spending SET spent = spent", Vec::new()).await.unwrap();
        pay(&alice, 7);
        assert!(keeper.look(Some(&none)).await, "keys could be read");
        assert_eq!(alice.meter.as_ref().unwrap().unsaved(), 7);
        registrar.0.commit().await.unwrap();
        keeper.settle(&none).await;
        keeper.close().await;
        // What was left waiting there runs now, if it has not yet.
        let (store, begun) = (KeyStore::open(&scratch.settings).await.unwrap(), std::time::Instant::now());
        while begun.elapsed() < Duration::from_millis(300) {
            assert_eq!(store.spending().await.unwrap()["key_alice"], 12);
        }
        // Such a one must find the row that it is about.
        assert_ne!(owners(&mut registrar).await, [""]);
        store.close().await;
        registrar.close().await;
    }
}

/// What one key has spent cannot be booked: others' is, and who was revoked is refused.
#[tokio::test]
async fn one_key_that_cannot_be_booked_stops_nobody() {
    for scratch in Scratch::each().await {
        let mut registrar = KeyEditor::open(&scratch.settings).await.unwrap();
        for name in ["alice", "bob", "carol"] {
            let limits = KeyLimits { expires: None, ..limits() };
            registrar.add(&key(name, &format!("sk-{name}"), limits)).await.unwrap();
        }
        let (keys, none) = (StoredKeys::default(), ConfiguredKeys::default());
        let mut keeper = KeySync::new(scratch.settings.clone(), keys.clone());
        assert!(keeper.look(Some(&none)).await);
        let (refuse, relent) = match &scratch.settings.site {
            crate::database::DatabaseUrl::Sqlite(_) => (
                "CREATE TRIGGER refuse BEFORE INSERT ON api_key_spending WHEN NEW.id = 'key_alice' \
                 BEGIN SELECT RAISE(FAIL, 'no'); END",
                "DROP TRIGGER refuse",
            ),
            crate::database::DatabaseUrl::Postgres(_) => (
                "ALTER TABLE api_key_spending ADD CONSTRAINT refuse CHECK (id <> 'key_alice')",
                "ALTER TABLE api_key_spending DROP CONSTRAINT refuse",
            ),
        };
        registrar.0.run(refuse, Vec::new()).await.unwrap();
        for name in ["alice", "bob", "carol"] {
            pay(&keys.find(&none, format!("sk-{name}").as_bytes()).unwrap(), 5);
        }
        registrar.revoke("carol", SystemTime::now()).await.unwrap();
        assert!(keeper.look(Some(&none)).await);
        assert!(keys.find(&none, b"sk-carol").is_none());
        let store = KeyStore::open(&scratch.settings).await.unwrap();
        let booked = [("key_bob".to_owned(), 5), ("key_carol".to_owned(), 5)];
        assert_eq!(store.spending().await.unwrap(), booked.into());
        registrar.0.run(relent, Vec::new()).await.unwrap();
        keeper.settle(&none).await;
        assert_eq!(store.spending().await.unwrap()["key_alice"], 5);
        keeper.close().await;
        store.close().await;
        registrar.close().await;
    }
}

/// A row that somebody else wrote, and wrote wrong, is accepted by nobody and takes no other key with it.
#[tokio::test]
async fn one_unreadable_row_costs_no_other() {
    for scratch in Scratch::each().await {
        let mut registrar = KeyEditor::open(&scratch.settings).await.unwrap();
        let (keys, none) = (StoredKeys::default(), ConfiguredKeys::default());
        let mut keeper = KeySync::new(scratch.settings.clone(), keys.clone());
        let store = KeyStore::open(&scratch.settings).await.unwrap();
        registrar.add(&key("good", "sk-good", limits())).await.unwrap();
        for (column, value) in [
            ("models", "'['"),
            ("digest", "'no'"),
            ("rpm", "-1"),
            ("tpm", "4294967296"),
            ("concurrent", "-1"),
            ("budget", "-1"),
        ] {
            registrar.add(&key("bad", &format!("sk-{column}"), limits())).await.unwrap();
            assert!(keeper.look(Some(&none)).await);
            assert!(keys.find(&none, format!("sk-{column}").as_bytes()).is_some());
            let sql = format!("UPDATE api_keys SET {column} = {value} WHERE name = 'bad'");
            registrar.0.run(sql, Vec::new()).await.unwrap();
            registrar.limit("good", |_| {}).await.unwrap();
            assert!(keeper.look(Some(&none)).await);
            assert!(keys.find(&none, b"sk-good").is_some());
            assert!(keys.find(&none, format!("sk-{column}").as_bytes()).is_none());
            let found = store.keys().await.unwrap();
            assert_eq!(found.keys.len(), 1);
            assert_eq!(found.unreadable, [UnreadableKey { id: "key_bad".to_owned(), column }]);
            registrar.revoke("bad", SystemTime::now()).await.unwrap();
            assert_eq!(store.keys().await.unwrap().unreadable, []);
            registrar.0.run("DELETE FROM api_keys WHERE name = 'bad'", Vec::new()).await.unwrap();
        }
        keeper.close().await;
        store.close().await;
        registrar.close().await;
    }
}

/// R27: with the database away, the keys in memory stay in force.
#[tokio::test]
async fn keys_in_memory_outlive_the_database() {
    let scratch = Scratch::sqlite();
    let mut registrar = KeyEditor::open(&scratch.settings).await.unwrap();
    registrar.add(&key("alice", "sk-alice", KeyLimits::default())).await.unwrap();
    let (keys, none) = (StoredKeys::default(), ConfiguredKeys::default());
    let mut keeper = KeySync::new(scratch.settings.clone(), keys.clone());
    assert!(keeper.look(Some(&none)).await);
    registrar.0.run("ALTER TABLE api_key_version RENAME TO elsewhere", Vec::new()).await.unwrap();
    assert!(!keeper.look(Some(&none)).await);
    assert!(!keeper.look(Some(&none)).await);
    // Nothing is owed: the end of the process need not wait for it.
    keeper.settle(&none).await;
    assert!(keys.find(&none, b"sk-alice").is_some());
    registrar.0.run("ALTER TABLE elsewhere RENAME TO api_key_version", Vec::new()).await.unwrap();
    registrar.revoke("alice", SystemTime::now()).await.unwrap();
    assert!(keeper.look(Some(&none)).await);
    assert!(keys.find(&none, b"sk-alice").is_none());
}
