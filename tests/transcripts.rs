//! Recorded answers of real providers: the folder that `THALWEG_TRANSCRIPTS` names, or
//! `../shared/transcripts` beside the checkout. They are other people's data and not part of the repository;
//! where the folder is absent the tests say so in a line and run on our own fixtures, which have the same
//! traits.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use bytes::Bytes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A stream of events.
    Sse,
    /// An answer in one piece, error or not.
    Json,
}

/// One answer to replay.
#[derive(Clone, Debug)]
pub struct Transcript {
    pub name: String,
    pub kind: Kind,
    pub status: u16,
    /// The recorded headers, without those that frame the body.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// The lengths of the reads as they came from the recorder's socket.
    pub reads: Option<Vec<usize>>,
}

impl Transcript {
    /// The body cut where the network cut it.
    pub fn pieces(&self) -> Option<Vec<Bytes>> {
        let mut rest = self.body.clone();
        let pieces = self.reads.as_ref()?.iter().map(|size| rest.split_to(*size)).collect();
        assert!(rest.is_empty(), "the recorded reads of {} are not its body", self.name);
        Some(pieces)
    }
}

/// All of them, in the order of their names: fixtures first, then recordings.
pub fn all() -> &'static [Transcript] {
    static ALL: OnceLock<Vec<Transcript>> = OnceLock::new();
    ALL.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut all = read(&root.join("tests/fixtures"));
        assert!(!all.is_empty(), "the fixtures are part of the repository");
        let folder = std::env::var_os("THALWEG_TRANSCRIPTS")
            .map_or_else(|| root.join("../shared/transcripts"), PathBuf::from);
        if folder.is_dir() {
            all.extend(read(&folder));
        } else {
            // Written directly, because the test harness shows no output of passing tests.
            let line = format!("left out: recorded transcripts (no {}); fixtures only\n", folder.display());
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
        all
    })
}

pub fn streams() -> impl Iterator<Item = &'static Transcript> {
    all().iter().filter(|transcript| transcript.kind == Kind::Sse)
}

pub fn documents() -> impl Iterator<Item = &'static Transcript> {
    all().iter().filter(|transcript| transcript.kind == Kind::Json)
}

pub fn named(name: &str) -> Option<&'static Transcript> {
    all().iter().find(|transcript| transcript.name == name)
}

fn read(folder: &Path) -> Vec<Transcript> {
    let mut folders: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("meta.json").is_file())
        .collect();
    folders.sort();
    folders.iter().map(|path| transcript(path)).collect()
}

fn transcript(path: &Path) -> Transcript {
    let meta = std::fs::read(path.join("meta.json")).unwrap();
    let meta: serde_json::Value = serde_json::from_slice(&meta).unwrap();
    let body = std::fs::read(path.join("response.body")).unwrap();
    let framing = ["content-length", "content-encoding", "transfer-encoding", "connection"];
    let header = |(name, value): (&String, &serde_json::Value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (!framing.contains(&name.as_str())).then(|| (name.clone(), value))
    };
    let numbers = |value: &serde_json::Value| {
        value.as_array().map(|sizes| sizes.iter().map(|size| size.as_u64().unwrap() as usize).collect())
    };
    Transcript {
        name: path.file_name().unwrap().to_string_lossy().into_owned(),
        kind: if meta["kind"] == "sse" { Kind::Sse } else { Kind::Json },
        status: u16::try_from(meta["status"].as_u64().unwrap()).unwrap(),
        headers: meta["response_headers"].as_object().into_iter().flatten().filter_map(header).collect(),
        body: body.into(),
        reads: numbers(&meta["chunk_sizes"]),
    }
}

#[test]
fn reads_are_the_body() {
    for transcript in all() {
        if let Some(pieces) = transcript.pieces() {
            assert_eq!(pieces.concat(), transcript.body, "{}", transcript.name);
        }
    }
}
