//! Counts of races and their winners, hedges and retries (S3.9), since the start of the process. They show
//! whether parallel attempts pay. Updated once per request, when it has ended.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    exposition::{Buckets, Exposition, MetricKind},
    facts::{RaceFacts, RequestFacts},
    series::{LONG, MAX_SERIES, OTHER},
    sums::millis,
};

#[derive(Debug)]
pub struct RaceStats {
    count: u64,
    /// Races that ran out of time.
    timeouts: u64,
    /// Won races by provider and model.
    wins: BTreeMap<(Arc<str>, Arc<str>), u64>,
    /// The time of all won races together.
    total_time: Duration,
    times: Buckets,
    hedges: u64,
    hedges_won: u64,
    retries: u64,
}

impl Default for RaceStats {
    fn default() -> Self {
        Self {
            count: 0,
            timeouts: 0,
            wins: BTreeMap::new(),
            total_time: Duration::ZERO,
            times: Buckets::new(LONG),
            hedges: 0,
            hedges_won: 0,
            retries: 0,
        }
    }
}

impl RaceStats {
    pub fn add(&mut self, facts: &RequestFacts<'_>) {
        let RaceFacts { is_race, hedges, by_hedge, won, late } = facts.race;
        self.hedges += u64::from(hedges);
        self.hedges_won += u64::from(by_hedge);
        if !is_race {
            self.retries += u64::from(facts.attempts.saturating_sub(1).saturating_sub(hedges));
            return;
        }
        self.count += 1;
        self.timeouts += u64::from(late);
        if let Some(after) = won {
            self.total_time += after;
            self.times.note(after.as_secs_f64(), 1);
            *self.wins_of(facts.provider.unwrap_or(OTHER), facts.model.unwrap_or(OTHER)) += 1;
        }
    }

    fn wins_of(&mut self, provider: &str, model: &str) -> &mut u64 {
        let mut key = (provider.into(), model.into());
        if self.wins.len() >= MAX_SERIES && !self.wins.contains_key(&key) {
            key = (OTHER.into(), OTHER.into());
        }
        self.wins.entry(key).or_default()
    }

    /// The counts, as they can be merged.
    pub fn share(&self) -> RaceShare {
        let wins = self.wins.iter();
        RaceShare {
            count: self.count,
            timeouts: self.timeouts,
            wins: wins
                .map(|((provider, model), count)| (provider.to_string(), model.to_string(), *count))
                .collect(),
            won: self.times.count(),
            total_time: self.total_time,
            hedges: self.hedges,
            hedges_won: self.hedges_won,
            retries: self.retries,
        }
    }

    /// For `/metrics`.
    pub fn write(&self, page: &mut Exposition) {
        for (name, help, count) in [
            ("thalweg_races_total", "Requests for which several were asked at once.", self.count),
            (
                "thalweg_race_timeouts_total",
                "Races in which time was up before anybody had won.",
                self.timeouts,
            ),
            ("thalweg_hedges_total", "Requests sent beside one that was slow.", self.hedges),
            ("thalweg_hedge_wins_total", "Those of them that answered first.", self.hedges_won),
            (
                "thalweg_retries_total",
                "Requests sent because those before had failed; without races.",
                self.retries,
            ),
        ] {
            page.single(name, MetricKind::Counter, help, count as f64);
        }
        let mut family =
            page.family("thalweg_race_wins_total", MetricKind::Counter, "Races won, by provider and model.");
        for ((provider, model), count) in &self.wins {
            family.sample(&[("provider", provider), ("model", model)], *count as f64);
        }
        let help = "From a race's start to the answer that won it.";
        page.family("thalweg_race_duration_seconds", MetricKind::Histogram, help).histogram(&[], &self.times);
    }
}

/// The counts at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RaceShare {
    count: u64,
    timeouts: u64,
    /// Provider, model and won races.
    wins: Vec<(String, String, u64)>,
    won: u64,
    total_time: Duration,
    hedges: u64,
    hedges_won: u64,
    retries: u64,
}

impl RaceShare {
    pub fn merge(&mut self, other: &Self) {
        let pairs = [
            (&mut self.count, other.count),
            (&mut self.timeouts, other.timeouts),
            (&mut self.won, other.won),
            (&mut self.hedges, other.hedges),
            (&mut self.hedges_won, other.hedges_won),
            (&mut self.retries, other.retries),
        ];
        for (own, other) in pairs {
            *own = own.saturating_add(other);
        }
        self.total_time = self.total_time.saturating_add(other.total_time);
        self.wins.extend(other.wins.iter().cloned());
        self.wins.sort_unstable();
        self.wins.dedup_by(|next, kept| {
            let is_same = (&next.0, &next.1) == (&kept.0, &kept.1);
            if is_same {
                kept.2 = kept.2.saturating_add(next.2);
            }
            is_same
        });
    }

    /// For `/stats`.
    #[must_use]
    pub fn report(&self) -> Map<String, Value> {
        let mut wins: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
        for (provider, model, count) in &self.wins {
            wins.entry(provider).or_default().insert(model, *count);
        }
        let average = (self.won > 0).then(|| millis(self.total_time.div_f64(self.won as f64)));
        let races =
            json!({"count": self.count, "wins": wins, "average_ms": average, "timeouts": self.timeouts});
        let hedges = json!({"fired": self.hedges, "won": self.hedges_won});
        [("races", races), ("hedges", hedges), ("retries", self.retries.into())]
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::facts::tests::done;

    fn race(provider: &str, won: Option<Duration>) -> RequestFacts<'_> {
        let race = RaceFacts { is_race: true, won, late: won.is_none(), ..RaceFacts::default() };
        RequestFacts { provider: Some(provider), attempts: 3, race, ..done() }
    }

    #[test]
    fn counts_races_hedges_and_retries_apart() {
        let mut races = RaceStats::default();
        races.add(&race("p", Some(Duration::from_millis(100))));
        races.add(&race("q", Some(Duration::from_millis(200))));
        races.add(&race("q", None));
        let hedged = RaceFacts { hedges: 1, by_hedge: true, ..RaceFacts::default() };
        races.add(&RequestFacts { attempts: 3, race: hedged, ..done() });
        races.add(&done());
        let report = Value::from(races.share().report());
        let wins = json!({"p": {"m": 1}, "q": {"m": 1}});
        let expected = json!({
            "races": {"count": 3, "wins": wins, "average_ms": 150.0, "timeouts": 1},
            "hedges": {"fired": 1, "won": 1},
            "retries": 1,
        });
        assert_eq!(report, expected);
    }

    #[test]
    fn labels_are_bounded() {
        let mut races = RaceStats::default();
        for number in 0..2 * MAX_SERIES {
            races.add(&race(&format!("p{number}"), Some(Duration::ZERO)));
        }
        assert_eq!(races.wins.len(), MAX_SERIES + 1);
        assert_eq!(races.wins.values().sum::<u64>(), 2 * MAX_SERIES as u64, "nothing is lost");
    }
}
