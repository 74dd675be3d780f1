//! Recorded responses of real providers, read from `THALWEG_TRANSCRIPTS` or beside the checkout. They are
//! other people's data and not in the repository; without them these tests print a line and pass. Each stream
//! must give the recorded numbers of events, in any cut.

use std::{fs, path::PathBuf};

use serde_json::Value;

use super::{OwnedEvent, cut, scan_all};

pub(super) struct Transcript {
    pub(super) case: String,
    pub(super) meta: Value,
    pub(super) body: Vec<u8>,
}

pub(super) fn transcripts() -> Vec<Transcript> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/transcripts");
    let root = PathBuf::from(std::env::var("THALWEG_TRANSCRIPTS").unwrap_or_else(|_| beside.into()));
    let Ok(cases) = fs::read_dir(&root) else {
        println!("no transcripts: set THALWEG_TRANSCRIPTS to test with recorded streams");
        return Vec::new();
    };
    let read = |case: PathBuf| {
        let meta: Value = serde_json::from_slice(&fs::read(case.join("meta.json")).ok()?).ok()?;
        meta.get("sse")?;
        let body = fs::read(case.join("response.body")).ok()?;
        Some(Transcript { case: meta["case"].as_str()?.into(), meta, body })
    };
    cases.filter_map(|case| read(case.ok()?.path())).collect()
}

#[test]
fn a_stream_is_told_as_recorded() {
    for Transcript { case, meta, body } in transcripts() {
        let events = scan_all([&body[..]]);
        let facts = &meta["sse"];
        let comments = events.iter().filter(|event| event.comment_only).count();
        assert_eq!(facts["comments"], comments, "{case}");
        assert_eq!(facts["events"], events.len() - comments, "{case}");
        let done = events.iter().any(|event| event.data.as_deref() == Some(b"[DONE]"));
        assert_eq!(facts["done"], done, "{case}");
    }
}

#[test]
fn every_cut_tells_the_same_events() {
    for Transcript { case, meta, body } in transcripts() {
        let whole = scan_all([&body[..]]);
        let same = |cuts: Vec<usize>| {
            assert_eq!(scan_all(cut(&body, cuts.clone())), whole, "{case} cut at {cuts:?}")
        };
        let step = 1 + body.len() / 400;
        for at in (0..body.len()).step_by(step) {
            same(vec![at]);
            same(vec![at, (at * 7919 + 13) % body.len()]);
        }
        if let Some(reads) = meta["chunk_sizes"].as_array() {
            let mut at = 0;
            same(
                reads
                    .iter()
                    .map(|size| {
                        at += size.as_u64().unwrap() as usize;
                        at
                    })
                    .collect(),
            );
        }
        let bytewise: Vec<OwnedEvent> = scan_all(body.chunks(1));
        assert_eq!(bytewise, whole, "{case}");
    }
}
