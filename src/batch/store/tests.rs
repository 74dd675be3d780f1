//! The statements of files and batches, on both databases.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::{
    batch::{BatchSettings, DeskError},
    database::tests::Scratch,
    proxy::Refusal,
};

const LEASE: Duration = Duration::from_secs(60);

async fn stored(store: &BatchStore, owner: &str, text: &str) -> StoredFile {
    let text = Bytes::copy_from_slice(text.as_bytes());
    match store.upload(owner, "in.jsonl", &text, &BatchSettings::default()).await.unwrap() {
        Upload::Stored(file) => file,
        refused @ (Upload::Full | Upload::TooManyLines) => panic!("{refused:?}"),
    }
}

async fn content(store: &BatchStore, file: &StoredFile) -> String {
    let (mut text, mut after) = (String::new(), 0);
    while let Some((last, page)) = store.page(file, after).await.unwrap() {
        assert!(last > after);
        after = last;
        text.push_str(std::str::from_utf8(&page).unwrap());
    }
    text
}

#[tokio::test]
async fn a_file_comes_back_byte_for_byte_and_belongs_to_its_key() {
    for scratch in Scratch::each().await {
        let store = BatchStore::open(&scratch.settings).await.unwrap();
        let long = "x".repeat(700_000);
        let many: String = (0..1500).map(|number| format!("{number}\r\n")).collect();
        for text in ["a\n\nb", "a\n", &format!("{long}\n{long}\n{long}"), &many] {
            let file = stored(&store, "alice", text).await;
            assert_eq!((file.bytes, file.kind), (i64::try_from(text.len()).unwrap(), FileKind::Input));
            assert!(content(&store, &file).await == text, "{} bytes", text.len());
            assert_eq!(store.file("alice", &file.id).await.unwrap(), Some(file.clone()));
            assert_eq!(store.file("bob", &file.id).await.unwrap(), None);
        }
        let mut all = Vec::new();
        while let Some(last) = {
            let after = all.last().map(|file: &StoredFile| file.id.clone());
            let page = store.files("alice", Some("batch"), (after.as_deref(), false), 2).await.unwrap();
            page.into_iter().next()
        } {
            all.push(last);
        }
        assert_eq!(all.len(), 4);
        let newest = store.files("alice", None, (None, true), 10).await.unwrap();
        assert!(newest.iter().eq(all.iter().rev()), "{newest:?}");
        assert!(store.files("bob", None, (None, true), 10).await.unwrap().is_empty());
        assert!(store.files("alice", Some("batch_output"), (None, true), 10).await.unwrap().is_empty());
        store.remove_file(&all[0].id).await.unwrap();
        assert_eq!(content(&store, &all[0]).await, "");
        store.close().await;
    }
}

#[tokio::test]
async fn the_files_of_a_key_have_bounds() {
    for scratch in Scratch::each().await {
        let store = BatchStore::open(&scratch.settings).await.unwrap();
        let bounds = BatchSettings {
            files_per_key: 2,
            bytes_per_key: 10,
            max_requests: 2,
            ..BatchSettings::default()
        };
        let upload = async |owner: &'static str, text: &'static str| {
            store.upload(owner, "f", &Bytes::from_static(text.as_bytes()), &bounds).await.unwrap()
        };
        assert!(matches!(upload("alice", "12345678").await, Upload::Stored(_)));
        assert_eq!(upload("alice", "123").await, Upload::Full, "bytes");
        assert!(matches!(upload("alice", "12").await, Upload::Stored(_)));
        assert_eq!(upload("alice", "").await, Upload::Full, "files");
        assert!(matches!(upload("bob", "1\n2").await, Upload::Stored(_)), "another key has its own");
        assert_eq!(upload("bob", "1\n2\n3").await, Upload::TooManyLines);
        store.close().await;
    }
}

#[tokio::test]
async fn a_batch_runs_at_one_replica_and_an_item_has_one_answer() {
    for scratch in Scratch::each().await {
        let store = BatchStore::open(&scratch.settings).await.unwrap();
        let input = stored(&store, "alice", "1\n2\n3\n").await;
        let made =
            store.create("alice", ("/v1/embeddings", &input.id), Some(r#"{"a":"b"}"#.into()), None).await;
        let job = made.unwrap().unwrap();
        let id = job.id.as_str();
        assert_eq!(store.free().await.unwrap(), [(job.id.clone(), "alice".to_owned())]);
        assert!(store.lease(id, "r1", LEASE).await.unwrap());
        assert!(!store.lease(id, "r2", LEASE).await.unwrap(), "another holds it");
        assert!(store.lease(id, "r1", LEASE).await.unwrap(), "it is renewed");
        assert!(store.free().await.unwrap().is_empty());
        let begin = (BatchStatus::Validating, BatchStatus::InProgress);
        assert!(!store.advance((id, "r2"), begin, Some(3)).await.unwrap());
        assert!(store.advance((id, "r1"), begin, Some(3)).await.unwrap());
        assert_eq!(store.unanswered(&input.id, id, 0).await.unwrap(), [1, 2, 3]);
        store.answer((id, "r1"), 2, true, b"first").await.unwrap();
        store.answer((id, "r1"), 2, true, b"again").await.unwrap();
        store.answer((id, "r2"), 3, true, b"of another replica").await.unwrap();
        store.answer((id, "r1"), 3, false, b"bad").await.unwrap();
        assert_eq!(store.unanswered(&input.id, id, 0).await.unwrap(), [1]);
        // The replica dies: its lease runs out.
        let sql = "UPDATE batch_jobs SET leased_until = 1";
        store.database.run(sql, Vec::new()).await.unwrap();
        assert!(store.lease(id, "r2", LEASE).await.unwrap());
        store.answer((id, "r1"), 1, true, b"late").await.unwrap();
        // `r1` ends the batch without its lease: no file is made of the answers so far.
        let job = store.job("alice", id).await.unwrap().unwrap();
        store.finish(&job, "r1", BatchStatus::Completed, i64::MAX).await.unwrap();
        store.answer((id, "r2"), 1, true, b"second").await.unwrap();
        let job = store.job("alice", id).await.unwrap().unwrap();
        let json = job.json();
        assert_eq!(json["request_counts"], serde_json::json!({"total": 3, "completed": 2, "failed": 1}));
        assert_eq!((&json["status"], &json["metadata"]["a"]), (&"in_progress".into(), &"b".into()));
        for _ in 0..2 {
            store.finish(&job, "r2", BatchStatus::Completed, i64::MAX).await.unwrap();
        }
        let job = store.job("alice", id).await.unwrap().unwrap().json();
        let file = async |name: &str| {
            let id = job[name].as_str().unwrap();
            store.file("alice", id).await.unwrap().unwrap()
        };
        let output = file("output_file_id").await;
        assert_eq!((content(&store, &output).await.as_str(), output.bytes), ("second\nfirst\n", 13));
        assert_eq!(content(&store, &file("error_file_id").await).await, "bad\n");
        assert!(job["completed_at"].is_i64() && job["failed_at"].is_null(), "{job}");
        assert!(store.free().await.unwrap().is_empty());
        store.remove_file(&output.id).await.unwrap();
        assert_eq!(content(&store, &output).await, "");
        let counts = store.job("alice", id).await.unwrap().unwrap().json()["request_counts"].clone();
        assert_eq!(counts, json["request_counts"], "they stay without the file");
        store.close().await;
    }
}

/// However many batches of one key wait, another key's is found.
#[tokio::test]
async fn no_key_hides_the_batches_of_others() {
    for scratch in Scratch::each().await {
        let store = BatchStore::open(&scratch.settings).await.unwrap();
        for (owner, count) in [("alice", 70), ("bob", 1)] {
            let input = stored(&store, owner, "1\n").await;
            for _ in 0..count {
                store.create(owner, ("/v1/embeddings", &input.id), None, None).await.unwrap().unwrap();
            }
        }
        let free = store.free().await.unwrap();
        assert_eq!(free.len(), 64);
        assert_eq!(free[1].1, "bob");
        store.close().await;
    }
}

#[tokio::test]
async fn a_batch_is_cancelled_and_listed_by_its_key_alone() {
    for scratch in Scratch::each().await {
        let store = BatchStore::open(&scratch.settings).await.unwrap();
        let input = stored(&store, "alice", "1\n").await;
        let mut ids = Vec::new();
        for _ in 0..3 {
            let made =
                store.create("alice", ("/v1/embeddings", &input.id), None, None).await.unwrap().unwrap();
            ids.push(made.id);
        }
        assert!(store.is_in_use(&input.id).await.unwrap());
        assert_eq!(store.cancel("bob", &ids[0]).await.unwrap(), None);
        for id in &ids {
            let cancelled = store.cancel("alice", id).await.unwrap().unwrap();
            assert_eq!(cancelled.status, BatchStatus::Cancelling);
            assert!(store.lease(id, "r", LEASE).await.unwrap());
            let begin = (BatchStatus::Validating, BatchStatus::InProgress);
            assert!(!store.advance((id, "r"), begin, None).await.unwrap(), "it does not begin any more");
            store.finish(&cancelled, "r", BatchStatus::Cancelled, 0).await.unwrap();
            assert!(!store.lease(id, "other", LEASE).await.unwrap(), "it has ended");
            let ended = store.cancel("alice", id).await.unwrap().unwrap();
            assert_eq!((ended.status, &ended.json()["output_file_id"]), (BatchStatus::Cancelled, &().into()));
        }
        let (mut seen, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = store.jobs("alice", after.as_deref(), 1).await.unwrap();
            let Some(job) = page.first() else { break };
            assert_eq!(page.len() > 1, seen.len() < 2);
            seen.push(job.id.clone());
            after = Some(job.id.clone());
        }
        let mut sorted = seen.clone();
        sorted.sort_unstable();
        ids.sort_unstable();
        assert_eq!(sorted, ids);
        assert!(store.jobs("bob", None, 9).await.unwrap().is_empty());
        // Both are old enough, and no batch reads the file any more.
        store.database.run("UPDATE batch_files SET expires = 1", Vec::new()).await.unwrap();
        assert_eq!(store.file("alice", &input.id).await.unwrap(), None, "its time is over");
        assert!(store.files("alice", None, (None, true), 9).await.unwrap().is_empty());
        assert!(store.line(&input.id, 1).await.unwrap().is_some());
        store.clean(i64::MAX).await.unwrap();
        assert!(store.jobs("alice", None, 9).await.unwrap().is_empty());
        assert_eq!(store.file("alice", &input.id).await.unwrap(), None);
        assert_eq!(store.line(&input.id, 1).await.unwrap(), None);
        store.close().await;
    }
}

/// An upload that the disk has no room for leaves nothing behind, and the error says so.
#[tokio::test]
async fn a_full_disk_is_an_error_of_the_upload() {
    let scratch = Scratch::sqlite();
    let store = BatchStore::open(&scratch.settings).await.unwrap();
    store.database.fetch("PRAGMA max_page_count = 60", Vec::new()).await.unwrap();
    let text = Bytes::from("x".repeat(2 << 20));
    let error = store.upload("alice", "f", &text, &BatchSettings::default()).await.unwrap_err();
    assert!(error.is_full(), "{error}");
    let refusal = Box::<Refusal>::from(DeskError::Database(error));
    assert_eq!((refusal.status, refusal.code), (507, "batch_storage_full"));
    let refusal = Box::<Refusal>::from(DeskError::Away);
    assert_eq!((refusal.status, refusal.code), (503, "batch_storage_unavailable"));
    store.database.fetch("PRAGMA max_page_count = 100000", Vec::new()).await.unwrap();
    assert!(store.files("alice", None, (None, true), 9).await.unwrap().is_empty());
    let rows = store.database.fetch("SELECT id FROM batch_files", Vec::new()).await.unwrap();
    assert!(rows.is_empty(), "{rows:?}");
    store.close().await;
}
