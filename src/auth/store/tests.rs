use std::sync::Arc;

use super::*;
use crate::{
    auth::{
        ConfiguredKeys, KeyEditor, KeyName, Principal, StoreError, StoredKeys, TokenSettings, generate,
        limit::{Limit, Reservation, Use},
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
    let strategies = Some(vec!["race:2".into()]);
    KeyLimits { models: vec!["gpt-*".into(), "a\"b".into()], strategies, allowance, expires, cache: None }
}

/// B15: keys are read as they were written, on both databases; the token itself is nowhere in the files
/// (R31).
#[tokio::test]
async fn keys_are_added_changed_and_revoked() {
    for scratch in Scratch::each().await {
        let mut editor = KeyEditor::open(&scratch.settings).await.unwrap();
        let store = KeyStore::open(&scratch.settings).await.unwrap();
        let first = store.version().await.unwrap();
        let alice = key("alice", "sk-thalweg-secret-of-alice", limits());
        editor.add(&alice).await.unwrap();
        assert_eq!(store.keys().await.unwrap().keys, std::slice::from_ref(&alice));
        let taken = KeyEditor::open(&scratch.settings).await.unwrap().add(&key("alice", "x", limits())).await;
        assert!(matches!(taken, Err(StoreError::Taken(_))), "{taken:?}");
        assert!(store.version().await.unwrap() > first);

        let changed =
            editor.limit("alice", |limits| limits.allowance = LimitValues::default()).await.unwrap();
        assert_eq!(changed.limits.allowance, LimitValues::default());
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
        let other = (Digest::of(b"other"), "ot…".to_owned());
        let rotated = editor.rotate("key_alice", other, until, |_| true).await.unwrap();
        assert_eq!(rotated.old, Some((alice.digest, until)));
        assert_eq!(store.keys().await.unwrap().keys, std::slice::from_ref(&rotated));

        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(9);
        let named = KeyName { id: "key_alice".to_owned(), name: "alice".to_owned() };
        assert_eq!(editor.revoke("alice", now).await.unwrap(), named);
        assert_eq!(store.keys().await.unwrap().keys[0].revoked, Some(now));
        let gone = KeyEditor::open(&scratch.settings).await.unwrap().revoke("alice", now).await;
        assert!(matches!(gone, Err(StoreError::Unknown(_))), "{gone:?}");
        let mut editor = KeyEditor::open(&scratch.settings).await.unwrap();
        editor.add(&key("alice2", "sk-2", KeyLimits::default())).await.unwrap();
        // A total stored twice changes nothing, a late one neither, and other processes' totals are added.
        for (owner, sum, spent) in [("a", 5, 5), ("a", 5, 5), ("b", 7, 12), ("a", 6, 13), ("a", 2, 13)] {
            assert_eq!(store.spend("key_alice2", owner, sum).await.unwrap(), spent, "{owner} {sum}");
        }
        assert_eq!(store.spending().await.unwrap(), [("key_alice2".to_owned(), 13)].into());
        let found = store.keys().await.unwrap();
        assert_eq!((found.keys.len(), found.keys[1].spent, found.unreadable), (2, 13, Vec::new()));
        assert_eq!(editor.limit("alice2", |_| {}).await.unwrap().spent, 13);
        let most = store.spend("key_alice2", "a", i64::MAX).await.unwrap();
        assert_eq!((most, store.keys().await.unwrap().keys[1].spent), (i64::MAX, i64::MAX));
        store.close().await;
        editor.close().await;
        for file in std::fs::read_dir(&scratch.folder).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(memchr::memmem::find(&bytes, b"secret-of-alice").is_none());
        }
    }
}

/// B15: a running gateway follows changes, and the meters survive them.
#[tokio::test]
async fn a_running_gateway_follows_the_store() {
    for scratch in Scratch::each().await {
        let mut editor = KeyEditor::open(&scratch.settings).await.unwrap();
        let (keys, none) = (StoredKeys::default(), ConfiguredKeys::default());
        let mut sync = KeySync::new(scratch.settings.clone(), keys.clone());
        assert!(sync.look(Some(&none)).await);
        let find = |token: &[u8]| keys.find(&none, token);
        editor.add(&key("alice", "sk-alice", KeyLimits { expires: None, ..limits() })).await.unwrap();
        assert!(find(b"sk-alice").is_none());
        assert!(sync.look(Some(&none)).await);
        let alice = find(b"sk-alice").unwrap();
        assert_eq!(alice.limits.allowance.requests, Some(60));

        let until = SystemTime::now() + Duration::from_secs(60);
        editor.rotate("alice", (Digest::of(b"sk-new"), String::new()), until, |_| true).await.unwrap();
        assert!(sync.look(Some(&none)).await);
        let (old, new) = (find(b"sk-alice").unwrap(), find(b"sk-new").unwrap());
        assert!(Arc::ptr_eq(old.meter.as_ref().unwrap(), new.meter.as_ref().unwrap()));
        assert!(Arc::ptr_eq(new.meter.as_ref().unwrap(), alice.meter.as_ref().unwrap()));
        assert!(old.limits.expires.is_some() && new.limits.expires.is_none());

        editor.revoke("alice", SystemTime::now()).await.unwrap();
        assert!(sync.look(Some(&none)).await);
        assert!(find(b"sk-alice").is_none() && find(b"sk-new").is_none());
        sync.close().await;
        editor.close().await;
    }
}

/// B15: the spending of stored and configured keys survives a restart.
#[tokio::test]
async fn spending_survives_a_restart() {
    for scratch in Scratch::each().await {
        let mut editor = KeyEditor::open(&scratch.settings).await.unwrap();
        editor.add(&key("alice", "sk-alice", KeyLimits { expires: None, ..limits() })).await.unwrap();
        let bob =
            TokenSettings { limits: limits(), ..TokenSettings::plain("bob", Secret::new("sk-bob".into())) };
        for round in 0..2 {
            let (keys, tokens) = (StoredKeys::default(), ConfiguredKeys::new(std::slice::from_ref(&bob)));
            let mut sync = KeySync::new(scratch.settings.clone(), keys.clone());
            assert!(sync.look(Some(&tokens)).await);
            for token in [&b"sk-alice"[..], b"sk-bob"] {
                let principal = keys.find(&tokens, token).unwrap();
                let meter = principal.meter.clone().unwrap();
                assert_eq!(meter.spent(), round * 5_000_000, "{}", principal.name);
                let lease = meter.lease(&principal.limits.allowance, &Reservation::default(), Duration::ZERO);
                if round == 0 {
                    lease.unwrap().settle(Use { tokens: 0, cost: 5_000_000 }, Duration::ZERO);
                } else {
                    assert_eq!(lease.unwrap_err().limit, Limit::Budget);
                }
            }
            assert!(sync.look(Some(&tokens)).await);
            assert!(sync.look(Some(&tokens)).await, "nothing is stored twice");
            sync.close().await;
        }
        editor.close().await;
    }
}

fn pay(principal: &Principal, cost: i64) {
    let meter = principal.meter.as_ref().unwrap();
    let lease = meter.lease(&principal.limits.allowance, &Reservation::default(), Duration::ZERO).unwrap();
    lease.settle(Use { tokens: 0, cost }, Duration::ZERO);
}

/// A gateway that refuses requests learns that others have spent the budget, though it has nothing to store.
#[tokio::test]
async fn spending_of_others_is_read_where_requests_are_refused() {
    for scratch in Scratch::each().await {
        let bob =
            TokenSettings { limits: limits(), ..TokenSettings::plain("bob", Secret::new("sk-bob".into())) };
        let tokens = [ConfiguredKeys::new(std::slice::from_ref(&bob)), ConfiguredKeys::new(&[bob])];
        let [mut one, mut other] =
            [0; 2].map(|_| KeySync::new(scratch.settings.clone(), StoredKeys::default()));
        assert!(one.look(Some(&tokens[0])).await && other.look(Some(&tokens[1])).await);
        let principals = tokens.each_ref().map(|tokens| tokens.principals().next().unwrap().clone());
        let meter = principals[1].meter.clone().unwrap();
        let reservation = Reservation { cost: 5_000_000, ..Reservation::default() };
        let lease = || meter.lease(&limits().allowance, &reservation, Duration::ZERO);
        let all = lease().unwrap();
        let refused = lease().unwrap_err();
        assert!(refused.limit == Limit::Budget && refused.after.is_some(), "the rest is set aside");
        drop(all);
        pay(&principals[0], 5_000_000);
        assert!(one.look(Some(&tokens[0])).await && other.look(Some(&tokens[1])).await);
        let refused = lease().unwrap_err();
        assert!(refused.limit == Limit::Budget && refused.after.is_none(), "all is spent");
        one.close().await;
        other.close().await;
    }
}

/// A budget belongs to a description: its spending is found again under it, whatever the secret. Spending
/// that is not stored when the name changes is stored under the former name.
#[tokio::test]
async fn a_budget_belongs_to_its_description() {
    for scratch in Scratch::each().await {
        let token = |name: &str, secret: &str| {
            let plain = TokenSettings::plain(name, Secret::new(secret.to_owned()));
            ConfiguredKeys::new(&[TokenSettings { limits: limits(), ..plain }])
        };
        let keys = StoredKeys::default();
        keys.await_store();
        let mut sync = KeySync::new(scratch.settings.clone(), keys.clone());
        let mut tokens = ConfiguredKeys::default();
        // Name, secret, spending before, and spending now: half of it is polled before the next reload.
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
            assert!(sync.look(Some(&tokens)).await);
            assert!(keys.is_spending_known(&principal));
            assert_eq!(principal.meter.as_ref().unwrap().spent(), before, "{name} {secret}");
            pay(&principal, cost / 2);
            assert!(sync.look(Some(&tokens)).await);
            pay(&principal, cost / 2);
        }
        sync.settle(&tokens).await;
        let store = KeyStore::open(&scratch.settings).await.unwrap();
        let stored = [("config:alice".to_owned(), 20), ("config:al".to_owned(), 2)];
        assert_eq!(store.spending().await.unwrap(), stored.into());
        sync.close().await;
        store.close().await;
    }
}

/// A running request's cost is stored though its key was revoked, or left the configuration, meanwhile.
#[tokio::test]
async fn a_revoked_key_pays_for_running_requests() {
    for scratch in Scratch::each().await {
        let mut editor = KeyEditor::open(&scratch.settings).await.unwrap();
        editor.add(&key("alice", "sk-alice", KeyLimits { expires: None, ..limits() })).await.unwrap();
        let bob =
            TokenSettings { limits: limits(), ..TokenSettings::plain("bob", Secret::new("sk-bob".into())) };
        let (keys, tokens, none) =
            (StoredKeys::default(), ConfiguredKeys::new(&[bob]), ConfiguredKeys::default());
        let mut sync = KeySync::new(scratch.settings.clone(), keys.clone());
        assert!(sync.look(Some(&tokens)).await);
        let begin = |secret: &[u8]| {
            let principal = keys.find(&tokens, secret).unwrap();
            let meter = principal.meter.as_ref().unwrap();
            meter.lease(&principal.limits.allowance, &Reservation::default(), Duration::ZERO).unwrap()
        };
        let leases = [(begin(b"sk-alice"), 5), (begin(b"sk-bob"), 7)];
        drop(tokens);
        editor.revoke("alice", SystemTime::now()).await.unwrap();
        for _ in 0..3 {
            assert!(sync.look(Some(&none)).await);
        }
        for (lease, cost) in leases {
            lease.settle(Use { tokens: 0, cost }, Duration::ZERO);
        }
        sync.settle(&none).await;
        let store = KeyStore::open(&scratch.settings).await.unwrap();
        let stored = [("key_alice".to_owned(), 5), ("config:bob".to_owned(), 7)];
        assert_eq!(store.spending().await.unwrap(), stored.into());
        assert!(sync.look(Some(&none)).await);
        assert!(format!("{sync:?}").contains("pending: {}"), "no key is kept for ever");
        sync.close().await;
        store.close().await;
        editor.close().await;
    }
}

/// The owners of all rows.
async fn owners(editor: &mut KeyEditor) -> Vec<String> {
    let found = editor.0.fetch("SELECT owner FROM api_key_spending ORDER BY id, owner", Vec::new()).await;
    found.unwrap().iter().map(|row| text(row, 0).unwrap()).collect()
}

/// Processes that end in order leave one row for each key, however many they were.
#[tokio::test]
async fn rows_of_ended_processes_are_merged() {
    for scratch in Scratch::each().await {
        let mut editor = KeyEditor::open(&scratch.settings).await.unwrap();
        let store = KeyStore::open(&scratch.settings).await.unwrap();
        for name in ["alice", "bob"] {
            let limits = KeyLimits { expires: None, ..limits() };
            editor.add(&key(name, &format!("sk-{name}"), limits)).await.unwrap();
        }
        store.spend("key_alice", "killed", 100).await.unwrap();
        for round in 1..=3 {
            let (keys, none) = (StoredKeys::default(), ConfiguredKeys::default());
            let mut sync = KeySync::new(scratch.settings.clone(), keys.clone());
            assert!(sync.look(Some(&none)).await);
            pay(&keys.find(&none, b"sk-alice").unwrap(), 5);
            pay(&keys.find(&none, b"sk-bob").unwrap(), 7);
            sync.settle(&none).await;
            assert_eq!(owners(&mut editor).await.len(), if round == 1 { 3 } else { 5 });
            sync.close().await;
            assert_eq!(owners(&mut editor).await, ["", "killed", ""]);
            let spent = [("key_alice".to_owned(), 100 + 5 * round), ("key_bob".to_owned(), 7 * round)];
            assert_eq!(store.spending().await.unwrap(), spent.into());
        }
        // Unconfirmed totals stay, and a sum that is too large is no error.
        store.spend("key_alice", "a", i64::MAX).await.unwrap();
        store.spend("key_bob", "a", 1).await.unwrap();
        KeyStore::merge(&scratch.settings, "a", ["key_bob", "key_carol"].into_iter()).await.unwrap();
        assert_eq!(owners(&mut editor).await, ["", "killed", "", "a"]);
        assert_eq!(store.spending().await.unwrap()["key_alice"], i64::MAX);
        assert_eq!(store.spending().await.unwrap()["key_bob"], 22);
        store.close().await;
        editor.close().await;
    }
}

/// A statement that runs after its timeout is not counted a second time.
#[tokio::test]
async fn spending_counts_once_though_the_answer_was_late() {
    for scratch in Scratch::each().await {
        let mut editor = KeyEditor::open(&scratch.settings).await.unwrap();
        editor.add(&key("alice", "sk-alice", KeyLimits { expires: None, ..limits() })).await.unwrap();
        let (keys, none) = (StoredKeys::default(), ConfiguredKeys::default());
        let mut sync = KeySync::new(scratch.settings.clone(), keys.clone());
        assert!(sync.look(Some(&none)).await);
        let alice = keys.find(&none, b"sk-alice").unwrap();
        pay(&alice, 5);
        assert!(sync.look(Some(&none)).await);
        // Another connection holds the row, or all of SQLite.
        editor.0.begin().await.unwrap();
        editor.0.run("UPDATE api_key_spending SET spent = spent", Vec::new()).await.unwrap();
        pay(&alice, 7);
        assert!(sync.look(Some(&none)).await, "keys could be read");
        assert_eq!(alice.meter.as_ref().unwrap().unsaved(), 7);
        editor.0.commit().await.unwrap();
        sync.settle(&none).await;
        sync.close().await;
        // A statement that still waits runs now.
        let (store, begun) = (KeyStore::open(&scratch.settings).await.unwrap(), std::time::Instant::now());
        while begun.elapsed() < Duration::from_millis(300) {
            assert_eq!(store.spending().await.unwrap()["key_alice"], 12);
        }
        // It must find its own row.
        assert_ne!(owners(&mut editor).await, [""]);
        store.close().await;
        editor.close().await;
    }
}

/// Spending of one key cannot be stored: other keys' spending is, and a revoked key is refused.
#[tokio::test]
async fn a_key_that_cannot_be_stored_stops_no_other() {
    for scratch in Scratch::each().await {
        let mut editor = KeyEditor::open(&scratch.settings).await.unwrap();
        for name in ["alice", "bob", "carol"] {
            let limits = KeyLimits { expires: None, ..limits() };
            editor.add(&key(name, &format!("sk-{name}"), limits)).await.unwrap();
        }
        let (keys, none) = (StoredKeys::default(), ConfiguredKeys::default());
        let mut sync = KeySync::new(scratch.settings.clone(), keys.clone());
        assert!(sync.look(Some(&none)).await);
        let (refuse, allow) = match &scratch.settings.url {
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
        editor.0.run(refuse, Vec::new()).await.unwrap();
        for name in ["alice", "bob", "carol"] {
            pay(&keys.find(&none, format!("sk-{name}").as_bytes()).unwrap(), 5);
        }
        editor.revoke("carol", SystemTime::now()).await.unwrap();
        assert!(sync.look(Some(&none)).await);
        assert!(keys.find(&none, b"sk-carol").is_none());
        let store = KeyStore::open(&scratch.settings).await.unwrap();
        let stored = [("key_bob".to_owned(), 5), ("key_carol".to_owned(), 5)];
        assert_eq!(store.spending().await.unwrap(), stored.into());
        editor.0.run(allow, Vec::new()).await.unwrap();
        sync.settle(&none).await;
        assert_eq!(store.spending().await.unwrap()["key_alice"], 5);
        sync.close().await;
        store.close().await;
        editor.close().await;
    }
}

/// A row that another program wrote wrong is not accepted, and affects no other key.
#[tokio::test]
async fn an_unreadable_row_affects_no_other() {
    for scratch in Scratch::each().await {
        let mut editor = KeyEditor::open(&scratch.settings).await.unwrap();
        let (keys, none) = (StoredKeys::default(), ConfiguredKeys::default());
        let mut sync = KeySync::new(scratch.settings.clone(), keys.clone());
        let store = KeyStore::open(&scratch.settings).await.unwrap();
        editor.add(&key("good", "sk-good", limits())).await.unwrap();
        for (column, value) in [
            ("models", "'['"),
            ("digest", "'no'"),
            ("rpm", "-1"),
            ("tpm", "4294967296"),
            ("concurrent", "-1"),
            ("budget", "-1"),
        ] {
            editor.add(&key("bad", &format!("sk-{column}"), limits())).await.unwrap();
            assert!(sync.look(Some(&none)).await);
            assert!(keys.find(&none, format!("sk-{column}").as_bytes()).is_some());
            let sql = format!("UPDATE api_keys SET {column} = {value} WHERE name = 'bad'");
            editor.0.run(sql, Vec::new()).await.unwrap();
            editor.limit("good", |_| {}).await.unwrap();
            assert!(sync.look(Some(&none)).await);
            assert!(keys.find(&none, b"sk-good").is_some());
            assert!(keys.find(&none, format!("sk-{column}").as_bytes()).is_none());
            let found = store.keys().await.unwrap();
            assert_eq!(found.keys.len(), 1);
            assert_eq!(found.unreadable, [UnreadableKey { id: "key_bad".to_owned(), column }]);
            editor.revoke("bad", SystemTime::now()).await.unwrap();
            assert_eq!(store.keys().await.unwrap().unreadable, []);
            editor.0.run("DELETE FROM api_keys WHERE name = 'bad'", Vec::new()).await.unwrap();
        }
        sync.close().await;
        store.close().await;
        editor.close().await;
    }
}

/// SQLite stores any value in any column. One that is of no type of the key's is a wrong column of its row.
#[tokio::test]
async fn a_value_of_any_type_affects_no_other_row() {
    let scratch = Scratch::sqlite();
    let mut editor = KeyEditor::open(&scratch.settings).await.unwrap();
    let store = KeyStore::open(&scratch.settings).await.unwrap();
    editor.add(&key("good", "sk-good", limits())).await.unwrap();
    editor.add(&key("bad", "sk-bad", limits())).await.unwrap();
    let values = [("rpm", "1.5"), ("models", "CAST(X'ff' AS TEXT)"), ("shown", "X'00'"), ("admin", "'yes'")];
    for (column, value) in values {
        let sql = format!("UPDATE api_keys SET {column} = {value} WHERE name = 'bad'");
        editor.0.run(sql, Vec::new()).await.unwrap();
        let found = store.keys().await.unwrap();
        assert_eq!((found.keys.len(), &*found.keys[0].name), (1, "good"), "{column}");
        assert_eq!(found.unreadable, [UnreadableKey { id: "key_bad".to_owned(), column }]);
        editor.0.run("DELETE FROM api_keys WHERE name = 'bad'", Vec::new()).await.unwrap();
        editor.add(&key("bad", "sk-bad", limits())).await.unwrap();
    }
    // Spending that cannot be read is a whole budget, and of no other key.
    for (id, spent) in [("'key_bad'", "1.5"), ("'key_good'", "7"), ("NULL", "9")] {
        let sql = format!("INSERT INTO api_key_spending (id, owner, spent) VALUES ({id}, 'p', {spent})");
        let is_written = editor.0.run(sql, Vec::new()).await.is_ok();
        assert_eq!(is_written, id != "NULL");
    }
    let found = store.keys().await.unwrap();
    let spent: Vec<i64> = found.keys.iter().map(|key| key.spent).collect();
    assert_eq!(spent, [i64::MAX, 7], "{found:?}");
    assert_eq!(store.spend("key_bad", "q", 5).await.unwrap(), i64::MAX);
}

/// R27: while the database is down, the keys in memory stay in force.
#[tokio::test]
async fn keys_in_memory_outlive_the_database() {
    let scratch = Scratch::sqlite();
    let mut editor = KeyEditor::open(&scratch.settings).await.unwrap();
    editor.add(&key("alice", "sk-alice", KeyLimits::default())).await.unwrap();
    let (keys, none) = (StoredKeys::default(), ConfiguredKeys::default());
    let mut sync = KeySync::new(scratch.settings.clone(), keys.clone());
    assert!(sync.look(Some(&none)).await);
    editor.0.run("ALTER TABLE api_key_version RENAME TO elsewhere", Vec::new()).await.unwrap();
    assert!(!sync.look(Some(&none)).await);
    assert!(!sync.look(Some(&none)).await);
    // There is no unstored spending, so the end of the process does not wait.
    sync.settle(&none).await;
    assert!(keys.find(&none, b"sk-alice").is_some());
    editor.0.run("ALTER TABLE elsewhere RENAME TO api_key_version", Vec::new()).await.unwrap();
    editor.revoke("alice", SystemTime::now()).await.unwrap();
    assert!(sync.look(Some(&none)).await);
    assert!(keys.find(&none, b"sk-alice").is_none());
}
