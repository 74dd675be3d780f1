//! The statistics of the process: sums since the start and times over rolling windows, for all requests and
//! by provider, model and key. The settlement thread adds each completed request; pages read on a thread for
//! blocking work. No worker uses it, because a reader holds the lock for long.
//!
//! `now` is the time since the start of the process.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    exposition::{Buckets, Exposition, MetricKind},
    facts::RequestFacts,
    history::{History, HistorySpan},
    meter::MeterReading,
    races::RaceStats,
    series::{self, OTHER, Series},
    share::StatsShare,
    sums::{GroupShare, GroupStats, MAX_NAMES, RequestCounts},
    window::Windows,
};

#[derive(Debug)]
pub struct Stats {
    all: GroupStats,
    providers: StatsByName,
    models: StatsByName,
    keys: StatsByName,
    added: Windows,
    added_first: Windows,
    waits: Windows,
    /// Added latency of frames since the start.
    added_total: Buckets,
    /// The meters' counts that `added` already holds.
    last_reading: MeterReading,
    series: Series,
    races: RaceStats,
    history: History,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            all: GroupStats::default(),
            providers: StatsByName::default(),
            models: StatsByName::default(),
            keys: StatsByName::default(),
            added: Windows::default(),
            added_first: Windows::default(),
            waits: Windows::default(),
            added_total: Buckets::new(series::OWN),
            last_reading: MeterReading::default(),
            series: Series::default(),
            races: RaceStats::default(),
            history: History::default(),
        }
    }
}

/// Groups by name.
#[derive(Debug, Default)]
struct StatsByName(BTreeMap<Arc<str>, GroupStats>);

impl StatsByName {
    fn add(&mut self, name: Option<&str>, now: Duration, facts: &RequestFacts<'_>) {
        let Some(name) = name else { return };
        if let Some(group) = self.0.get_mut(name) {
            return group.add(now, facts);
        }
        let name = if self.0.len() < MAX_NAMES { name } else { OTHER };
        self.0.entry(name.into()).or_default().add(now, facts);
    }

    fn share(&mut self, now: Duration) -> BTreeMap<String, GroupShare> {
        self.0.iter_mut().map(|(name, group)| (name.to_string(), group.share(now))).collect()
    }
}

impl Stats {
    /// Adds a completed request.
    pub fn add(&mut self, now: Duration, facts: &RequestFacts<'_>) {
        self.all.add(now, facts);
        self.history.add(now, facts);
        self.providers.add(facts.provider, now, facts);
        self.models.add(facts.model, now, facts);
        self.keys.add(facts.key, now, facts);
        if let Some(added) = facts.added_first {
            self.added_first.record(now, added, 1);
        }
        if let Some(waited) = facts.waited {
            self.waits.record(now, waited, 1);
        }
        self.series.add(facts);
        self.races.add(facts);
    }

    /// Adds the counts of the workers' meters since the last call.
    pub fn measure(&mut self, now: Duration, reading: MeterReading) {
        for (time, count) in reading.since(&self.last_reading).iter() {
            self.added.record(now, time, count);
            self.history.add_added(now, time, count);
            self.added_total.note(time.as_secs_f64(), count);
        }
        self.last_reading = reading;
    }

    #[must_use]
    pub const fn sums(&self) -> &RequestCounts {
        &self.all.sums
    }

    /// The sums and times of one key. `None`: no request with it has ended yet.
    pub fn of_key(&mut self, key: &str, now: Duration) -> Option<Value> {
        self.keys.0.get_mut(key).map(|group| group.share(now).report().into())
    }

    /// The steps of a range.
    pub fn history(&mut self, now: Duration, span: HistorySpan) -> Value {
        self.history.report(now, span)
    }

    /// All statistics for `/stats`.
    pub fn share(&mut self, now: Duration) -> StatsShare {
        StatsShare {
            all: self.all.share(now),
            providers: self.providers.share(now),
            models: self.models.share(now),
            keys: self.keys.share(now),
            added: self.added.counts(now),
            added_first: self.added_first.counts(now),
            waits: self.waits.counts(now),
            races: self.races.share(),
        }
    }

    /// All statistics for `/metrics`.
    pub fn write(&self, page: &mut Exposition) {
        self.series.write(page);
        self.races.write(page);
        let help = "How long a frame stayed here: from the read that brought it to the write that took it.";
        page.family("thalweg_added_latency_seconds", MetricKind::Histogram, help)
            .histogram(&[], &self.added_total);
        let sums = &self.all.sums;
        let help = "Requests that reached a provider, by whether the first one asked served them.";
        let failed = sums.attempted - sums.first_succeeded;
        page.family("thalweg_first_attempts_total", MetricKind::Counter, help)
            .sample(&[("result", "success")], sums.first_succeeded as f64)
            .sample(&[("result", "failure")], failed as f64);
        let help = "Requests for which more than one provider was asked, by whether one served them.";
        let failed = sums.retried - sums.retry_succeeded;
        page.family("thalweg_retried_requests_total", MetricKind::Counter, help)
            .sample(&[("result", "success")], sums.retry_succeeded as f64)
            .sample(&[("result", "failure")], failed as f64);
    }
}

/// The statistics behind a lock. Never used on a worker, because a reader may hold the lock for long.
#[derive(Clone, Debug)]
pub struct SharedStats {
    stats: Arc<Mutex<Stats>>,
    started: Instant,
}

impl Default for SharedStats {
    fn default() -> Self {
        Self { stats: Arc::default(), started: Instant::now() }
    }
}

impl SharedStats {
    /// The time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The statistics, and the time since the start.
    pub fn open(&self) -> (MutexGuard<'_, Stats>, Duration) {
        (self.stats.lock().unwrap_or_else(PoisonError::into_inner), self.started.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{
        facts::{RequestOutcome, tests::done},
        meter::LatencyMeter,
        stream_histogram::FrameTimings,
    };

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn sums_and_times_by_provider_model_and_key() {
        let mut stats = Stats::default();
        let mut timings = FrameTimings::default();
        (0..9).for_each(|_| timings.gaps.note(Duration::from_millis(20)));
        stats.add(SECOND, &RequestFacts { frame_timings: Some(&timings), ..done() });
        stats.add(SECOND, &RequestFacts { attempts: 2, provider: Some("q"), ..done() });
        let failed = RequestFacts {
            outcome: RequestOutcome::Failed,
            status: 502,
            served: false,
            attempts: 2,
            ..done()
        };
        stats.add(SECOND, &failed);
        let refused = RequestFacts { provider: None, model: None, attempts: 0, served: false, ..done() };
        stats.add(
            SECOND,
            &RequestFacts { outcome: RequestOutcome::Refused, status: 404, first_token: None, ..refused },
        );
        let report = Value::from(stats.share(2 * SECOND).report());
        assert_eq!(
            (&report["requests"], &report["done"], &report["refused"]),
            (&4.into(), &2.into(), &1.into())
        );
        assert_eq!(report["first_connect"]["rate"], 1.0 / 3.0);
        assert_eq!((&report["retry"]["requests"], &report["retry"]["rate"]), (&2.into(), &0.5.into()));
        assert_eq!(report["providers"]["q"]["requests"], 1);
        assert_eq!(report["models"]["m"]["requests"], 3);
        assert_eq!(report["keys"]["k"]["requests"], 4);
        assert_eq!(report["inter_frame_ms"]["1m"]["count"], 9);
        let gap = report["providers"]["p"]["inter_frame_ms"]["1h"]["p50"].as_f64().unwrap();
        assert!((17.5..22.5).contains(&gap), "{gap}");
        let first = report["first_token_ms"]["5m"]["p99"].as_f64().unwrap();
        assert!((98.0..102.0).contains(&first), "{first}");
        assert!(stats.of_key("k", SECOND).is_some() && stats.of_key("nobody", SECOND).is_none());
    }

    #[test]
    fn names_are_bounded() {
        let mut stats = Stats::default();
        for number in 0..2 * MAX_NAMES {
            stats.add(SECOND, &RequestFacts { model: Some(&number.to_string()), ..done() });
        }
        assert_eq!(stats.models.0.len(), MAX_NAMES + 1);
        assert_eq!(stats.models.0[OTHER].sums.requests, MAX_NAMES as u64);
    }

    #[test]
    fn what_meters_read_is_counted_once() {
        let (mut stats, meter) = (Stats::default(), LatencyMeter::default());
        for _ in 0..3 {
            meter.note(Duration::from_micros(50));
            stats.measure(SECOND, MeterReading::of(std::slice::from_ref(&meter)));
        }
        let report = Value::from(stats.share(SECOND).report());
        assert_eq!(report["added_frame_us"]["1m"]["count"], 3);
        assert_eq!(stats.added_total.count(), 3);
    }
}
