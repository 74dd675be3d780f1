//! The statistics of one replica in a form that can be merged with those of others, and the document in which
//! they travel. The document's first line says its form and its replica, so that a replica of another version
//! is named where its figures cannot be read.

use std::{
    collections::HashMap,
    io::Read as _,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{candidate_share::CandidateShare, figures::merge_figures, health};
use crate::{
    base::{Moment, time::unix_micros},
    cache::{AnswerCacheFigures, TierFigures},
    ledger::LedgerState,
    proxy::Snapshot,
    telemetry::{StatsShare, Telemetry},
};

/// The form of documents. It changes with every change that an earlier version would misread.
const FORM: &str = "thalweg-stats-1";
/// Names of each kind in a document, first; fewer, if it is too long with them.
const NAMES: [usize; 4] = [100, 30, 10, 0];
/// The longest document, compressed and not.
const MAX_LENGTH: usize = 1 << 20;
const MAX_TEXT: u64 = 64 << 20;

/// The statistics of one replica, or of several merged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplicaStats {
    stats: StatsShare,
    candidates: Vec<CandidateShare>,
    figures: Map<String, Value>,
}

/// The replica of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReplicaName {
    pub(super) instance: String,
    pub(super) version: String,
    /// In seconds since 1970.
    pub(super) started: u64,
}

/// A document, and the digest of the parts whose change is news.
#[derive(Debug)]
pub struct StatsDocument {
    pub bytes: Vec<u8>,
    pub news: u64,
}

impl ReplicaStats {
    /// Of this replica, now. Slow when there are many candidates, so never called on a worker.
    #[must_use]
    pub fn gather(telemetry: &Telemetry, ledger: LedgerState, snapshot: &Snapshot) -> Self {
        let now = Moment::now();
        let tracked = snapshot.catalog.tracked();
        let candidates =
            tracked.iter().map(|(provider, stats)| CandidateShare::of(provider, stats, snapshot, now));
        let mut figures = telemetry.figures(snapshot.generation);
        for (name, value) in [
            ("database", database(ledger)),
            ("cache", answer_cache(snapshot)),
            ("known_before", health::cache_hits(snapshot)),
        ] {
            figures.insert(name.to_owned(), value);
        }
        Self { stats: telemetry.share(), candidates: candidates.collect(), figures }
    }

    /// Adds those of another replica.
    pub(super) fn merge(&mut self, other: Self) {
        self.stats.merge(&other.stats);
        let key = |one: &CandidateShare| (one.provider.clone(), one.model.clone());
        let places: HashMap<_, _> =
            self.candidates.iter().enumerate().map(|(place, own)| (key(own), place)).collect();
        for theirs in other.candidates {
            match places.get(&key(&theirs)).and_then(|place| self.candidates.get_mut(*place)) {
                Some(own) => own.merge(&theirs),
                None => self.candidates.push(theirs),
            }
        }
        merge_figures(&mut self.figures, other.figures);
    }

    /// For `/stats`.
    pub(super) fn report(&self) -> Map<String, Value> {
        let mut report = self.stats.report();
        report.extend(self.figures.clone());
        let candidates = self.candidates.iter().map(CandidateShare::report).collect();
        report.insert("candidates".to_owned(), Value::Array(candidates));
        report
    }

    /// The document of this replica.
    #[must_use]
    pub fn document(mut self, telemetry: &Telemetry) -> StatsDocument {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        self.candidates.retain(CandidateShare::is_used);
        let up = telemetry.stats.elapsed();
        let started = SystemTime::now().checked_sub(up).unwrap_or(SystemTime::UNIX_EPOCH);
        let head = format!(
            "{FORM} {} {} {}\n",
            telemetry.instance.name(),
            env!("CARGO_PKG_VERSION"),
            unix_micros(started) / 1_000_000
        );
        let mut document = StatsDocument { bytes: Vec::new(), news: 0 };
        for names in NAMES {
            self.stats.bound(names);
            let mut hasher = DefaultHasher::new();
            // Asking Redis and the database changes other figures, and is no news.
            for part in [json!(self.stats), json!(self.candidates), json!(self.figures.get("in_flight"))] {
                part.to_string().hash(&mut hasher);
            }
            let text = json!(self).to_string();
            let mut bytes = head.clone().into_bytes();
            // Compressing to memory does not fail.
            bytes.extend(zstd::stream::encode_all(text.as_bytes(), 1).unwrap_or_default());
            document = StatsDocument { bytes, news: hasher.finish() };
            if document.bytes.len() <= MAX_LENGTH {
                break;
            }
        }
        document
    }

    /// Of a document of this version's form.
    ///
    /// # Errors
    /// The replica, if that can be read, and why its figures cannot.
    pub(super) fn read(document: &[u8]) -> Result<(ReplicaName, Self), (Option<ReplicaName>, &'static str)> {
        let broken = (None, "its document is broken");
        let Some(end) = document.iter().take(512).position(|byte| *byte == b'\n') else { return Err(broken) };
        let (head, rest) = document.split_at(end);
        let words: Vec<&str> = str::from_utf8(head).unwrap_or_default().split(' ').collect();
        let [form, instance, version, started] = words[..] else { return Err(broken) };
        let name = ReplicaName {
            instance: instance.to_owned(),
            version: version.to_owned(),
            started: started.parse().unwrap_or(0),
        };
        if form != FORM {
            return Err((Some(name), "its version has another form of statistics"));
        }
        let mut text = Vec::new();
        let decoder = zstd::stream::read::Decoder::with_buffer(rest.get(1..).unwrap_or_default());
        let read = decoder.and_then(|decoder| decoder.take(MAX_TEXT).read_to_end(&mut text));
        match read.ok().and_then(|_| serde_json::from_slice(&text).ok()) {
            Some(stats) => Ok((name, stats)),
            None => Err((Some(name), "its document is broken")),
        }
    }
}

impl ReplicaName {
    /// Of this replica.
    pub(super) fn own(telemetry: &Telemetry) -> Self {
        let started = SystemTime::now().checked_sub(telemetry.stats.elapsed());
        let micros = unix_micros(started.unwrap_or(SystemTime::UNIX_EPOCH));
        Self {
            instance: telemetry.instance.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: u64::try_from(micros / 1_000_000).unwrap_or(0),
        }
    }

    /// For `/stats`. `age`: of its figures.
    pub(super) fn report(&self, age: Duration, is_up: bool) -> Value {
        let now = u64::try_from(unix_micros(SystemTime::now()) / 1_000_000).unwrap_or(0);
        json!({
            "instance": self.instance,
            "version": self.version,
            "age_s": (age.as_secs_f64() * 1e3).round() / 1e3,
            "uptime_s": now.saturating_sub(self.started),
            "up": is_up,
        })
    }
}

/// S4.5: the database, and the rows of the ledger that are not in it yet.
fn database(ledger: LedgerState) -> Value {
    json!({
        "up": ledger.up,
        "rows_written": ledger.written,
        "rows_spooled": ledger.spooled,
        "rows_replayed": ledger.replayed,
        "rows_waiting": ledger.waiting,
        "spool_bytes": ledger.waiting_bytes,
        "rows_lost": ledger.lost,
        "rows_left_out": ledger.left_out,
        "queries": ledger.queries,
        "average_query_ms": ledger.query.as_secs_f64() * 1e3,
    })
}

/// S4.5: the answer cache.
fn answer_cache(snapshot: &Snapshot) -> Value {
    let AnswerCacheFigures { hits, misses, stored, evicted, tokens_saved, coalesced, entries, bytes, tier } =
        snapshot.answers.figures();
    let rate = |hits: u64, misses: u64| (hits + misses > 0).then(|| hits as f64 / (hits + misses) as f64);
    let tier = tier.map(|TierFigures { hits, misses, failed, stored, dropped }| {
        json!({
            "hits": hits,
            "misses": misses,
            "rate": rate(hits, misses),
            "failed": failed,
            "stored": stored,
            "dropped": dropped,
        })
    });
    json!({
        "hits": hits,
        "misses": misses,
        "rate": rate(hits, misses),
        "stored": stored,
        "evicted": evicted,
        "entries": entries,
        "bytes": bytes,
        "tokens_saved": tokens_saved,
        "coalesced": coalesced,
        "redis": tier,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn candidates_are_joined_by_provider_and_model() {
        let one = |model: &str, breaker: &str, succeeded| {
            let mut share = CandidateShare::default();
            share.provider = "p".into();
            share.model = Some(model.into());
            share.succeeded = succeeded;
            share.breakers = [(breaker.to_owned(), 1)].into();
            share
        };
        let mut own = ReplicaStats { candidates: vec![one("m", "admitting", 3)], ..ReplicaStats::default() };
        let candidates = vec![one("m", "tripped", 4), one("n", "admitting", 1)];
        own.merge(ReplicaStats { candidates, ..ReplicaStats::default() });
        let report = Value::from(own.report());
        let found = &report["candidates"];
        assert_eq!((&found[0]["succeeded"], &found[0]["breaker"]), (&7.into(), &"tripped".into()));
        assert_eq!(found[0]["breakers"], json!({"admitting": 1, "tripped": 1}));
        assert_eq!((&found[1]["model"], &found[1]["breakers"]), (&"n".into(), &Value::Null));
    }

    #[test]
    fn a_document_is_read_as_it_was_written_and_others_are_named() {
        let telemetry = Telemetry::new(Vec::new(), || 0);
        let figures = figures(json!({"in_flight": {"requests": 2}}));
        let stats = ReplicaStats { figures, ..ReplicaStats::default() };
        let document = stats.clone().document(&telemetry);
        assert_eq!(stats.clone().document(&telemetry).news, document.news);
        let (name, read) = ReplicaStats::read(&document.bytes).unwrap();
        assert_eq!((read, name.instance.as_str()), (stats, telemetry.instance.name()));
        let (name, why) = ReplicaStats::read(b"thalweg-stats-9 other 9.0 1\n\xff").unwrap_err();
        assert_eq!(
            (name.unwrap().instance.as_str(), why),
            ("other", "its version has another form of statistics")
        );
        for broken in [&b""[..], b"\n", b"a b c d", b"thalweg-stats-1 i v 1\nx", &document.bytes[..60]] {
            assert!(ReplicaStats::read(broken).is_err(), "{broken:?}");
        }
    }
}
