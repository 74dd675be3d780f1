//! The state of providers that survives a restart (S1.7): their lists, the results of checks, whether their
//! keys were accepted, and which one answered first. Each kind expires after its own time. Holds no key: a
//! provider is named by its name and a digest of everything that decides what its entries mean.
//!
//! - [`file`]: reading and writing on disk
//! - [`writer`]: [`writer::StateFile`], read at start and written after changes

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    base::{
        TtlMap,
        ttl_map::{CacheHits, Timed},
    },
    upstream::{ClientCertificate, KeyHeader, Target},
};

mod file;
pub(super) mod writer;

const MODELS_TTL: Duration = Duration::from_secs(3600);
const HEALTH_TTL: Duration = Duration::from_secs(300);
const KEYS_TTL: Duration = Duration::from_secs(1800);
const FIRST_TTL: Duration = Duration::from_secs(60);

/// Version of the file's form; a file of another version is ignored.
const FORM: u32 = 1;

/// How a check was made (S1.1, S1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SavedMethod {
    /// `GET {base}/models`
    #[default]
    Models,
    /// A chat request for a model that does not exist.
    Dummy,
}

/// The result of a provider's last check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedHealth {
    pub(super) alive: bool,
    pub(super) way: SavedMethod,
}

/// The four kinds, by provider.
#[derive(Debug)]
pub struct SavedState {
    pub(super) models: TtlMap<Vec<Box<str>>>,
    pub(super) health: TtlMap<SavedHealth>,
    /// Whether the provider accepted its key.
    pub(super) keys: TtlMap<bool>,
    /// The first one to answer the pre-check, and after how many milliseconds.
    pub(super) first: TtlMap<u64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateDocument {
    thalweg_state: u32,
    models: SavedEntries<Vec<Box<str>>>,
    health: SavedEntries<SavedHealth>,
    keys: SavedEntries<bool>,
    first: SavedEntries<u64>,
}

type SavedEntries<T> = BTreeMap<Box<str>, Timed<T>>;

impl SavedState {
    /// Empty. Lookups are counted in `recalls`.
    pub(super) fn new(recalls: &CacheHits) -> Self {
        Self {
            models: TtlMap::new(MODELS_TTL, recalls.models.clone()),
            health: TtlMap::new(HEALTH_TTL, recalls.health.clone()),
            keys: TtlMap::new(KEYS_TTL, recalls.keys.clone()),
            first: TtlMap::new(FIRST_TTL, recalls.first.clone()),
        }
    }

    /// `None`: the text is not a state file of this version.
    #[must_use]
    pub fn parse(text: &[u8], recalls: &CacheHits) -> Option<Self> {
        let document: StateDocument = serde_json::from_slice(text).ok()?;
        if document.thalweg_state != FORM {
            return None;
        }
        let mut state = Self::new(recalls);
        fill(&mut state.models, document.models);
        fill(&mut state.health, document.health);
        fill(&mut state.keys, document.keys);
        fill(&mut state.first, document.first);
        Some(state)
    }

    /// The file's text: all entries that have not expired at `now` (seconds since 1970).
    #[must_use]
    pub fn render(&mut self, now: u64) -> Vec<u8> {
        self.clean(now);
        let document = StateDocument {
            thalweg_state: FORM,
            models: entries(&self.models),
            health: entries(&self.health),
            keys: entries(&self.keys),
            first: entries(&self.first),
        };
        serde_json::to_vec(&document).unwrap_or_default()
    }

    pub(super) fn clean(&mut self, now: u64) {
        self.models.clean(now);
        self.health.clean(now);
        self.keys.clean(now);
        self.first.clean(now);
    }
}

fn fill<T>(map: &mut TtlMap<T>, saved: SavedEntries<T>) {
    for (name, entry) in saved {
        map.put(&name, entry.at, entry.value);
    }
}

fn entries<T: Clone>(map: &TtlMap<T>) -> SavedEntries<T> {
    map.values().map(|(name, entry)| (name.into(), entry.clone())).collect()
}

/// A provider's name in the file. With another address, query, key, header or certificate file it is another
/// provider, because results of the old one do not hold for it ([`Target::identifies_as`]).
pub(super) fn identity(target: &Target) -> String {
    let mut digest = Sha256::new();
    let base = target.base.to_string();
    let key = target.key.as_ref().map(|key| key.expose().as_bytes()).unwrap_or_default();
    digest.update(base.as_bytes());
    for part in [&b"\0"[..], key] {
        digest.update(part);
    }
    for (name, value) in &target.headers {
        for part in [&b"\0"[..], name.as_str().as_bytes(), &b"\0"[..], value.as_bytes()] {
            digest.update(part);
        }
    }
    let mut add = |tag: &[u8], part: &[u8]| {
        digest.update(tag);
        digest.update(part);
    };
    if let Some(query) = &target.base.query {
        add(b"?", query.expose().as_bytes());
    }
    if target.key_header != KeyHeader::default() {
        add(b"\0key ", format!("{:?}", target.key_header).as_bytes());
    }
    if let Some(ClientCertificate { certificate, key }) = &target.client_certificate {
        add(b"\0certificate ", certificate.as_os_str().as_encoded_bytes());
        add(b"\0of ", key.as_os_str().as_encoded_bytes());
    }
    if let Some(file) = &target.ca_file {
        add(b"\0ca ", file.as_os_str().as_encoded_bytes());
    }
    let short: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{short}", target.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::Secret, upstream::BaseUrl};

    fn parse(text: &[u8]) -> Option<SavedState> {
        SavedState::parse(text, &CacheHits::default())
    }

    fn target(base: &str, key: &str) -> Target {
        let key = Some(Secret::new(key.to_owned()));
        Target { key, ..Target::plain("p", BaseUrl::parse(base).unwrap()) }
    }

    #[test]
    fn survives_its_own_file() {
        let mut state = SavedState::new(&CacheHits::default());
        state.models.put("p-1", 1000, vec!["m".into()]);
        state.health.put("p-1", 1000, SavedHealth { alive: true, way: SavedMethod::Dummy });
        state.keys.put("p-1", 1000, false);
        state.first.put("p-1", 1000, 12);
        let text = state.render(1050);
        let read = parse(&text).unwrap();
        assert_eq!(read.models.find("p-1", 1050).unwrap().value, [Box::from("m")]);
        assert_eq!(
            read.health.find("p-1", 1050).unwrap().value,
            SavedHealth { alive: true, way: SavedMethod::Dummy }
        );
        assert_eq!(read.keys.find("p-1", 1050).map(|entry| entry.value), Some(false));
        let later = String::from_utf8(state.render(1100)).unwrap();
        assert!(later.contains(r#""first":{}"#) && later.contains(r#""p-1":{"at":1000"#), "{later}");
        assert!(parse(&state.render(1000 + 3600)).unwrap().models.values().next().is_none());
    }

    #[test]
    fn takes_nothing_foreign() {
        let good = String::from_utf8(SavedState::new(&CacheHits::default()).render(0)).unwrap();
        assert!(parse(good.as_bytes()).is_some());
        for text in ["", "{}", "[]", "null", &good[..good.len() - 1], &good.replace("state\":1", "state\":2")]
        {
            assert!(parse(text.as_bytes()).is_none(), "{text}");
        }
        assert!(parse(good.replace("\"keys\":{}", "\"keys\":{},\"more\":1").as_bytes()).is_none());
        assert!(parse(br#"{"providers":[],"tokens":[]}"#).is_none(), "a configuration");
    }

    #[test]
    fn a_provider_is_another_when_its_address_or_key_is() {
        let one = identity(&target("http://h/v1", "sk-very-secret"));
        assert_eq!(one, identity(&target("http://h/v1/", "sk-very-secret")));
        assert_ne!(one, identity(&target("http://h/antigravity/v1", "sk-very-secret")), "S3.12");
        assert_ne!(one, identity(&target("http://h/v1", "sk-other")));
        assert_ne!(one, identity(&target("http://h/v1?tenant=a", "sk-very-secret")));
        let plain = || target("http://h/v1", "sk-very-secret");
        let shown = |file: &str| ClientCertificate { certificate: file.into(), key: file.into() };
        let others = [
            Target { key_header: KeyHeader::ApiKey, ..plain() },
            Target { ca_file: Some("a".into()), ..plain() },
            Target { client_certificate: Some(shown("a")), ..plain() },
            Target { client_certificate: Some(shown("b")), ..plain() },
        ];
        let mut ids: Vec<String> = others.iter().map(identity).collect();
        ids.sort();
        ids.dedup();
        assert!(ids.len() == others.len() && !ids.contains(&one), "{ids:?}");
        assert!(others.iter().all(|other| !other.identifies_as(&plain())), "as a reload sees it");
        assert!(one.starts_with("p-") && !one.contains("secret"), "{one}");
    }
}
