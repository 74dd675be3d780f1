//! The statistics of a process at one moment, in a form that travels and can be merged: sums are added, and
//! times bucket by bucket, so that quantiles of merged ones are as if one process had seen all. Quantiles
//! themselves are never merged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    races::RaceShare,
    series::OTHER,
    sums::{GroupShare, MAX_NAMES, by_window, micros, millis},
    window::WindowCounts,
};

type GroupsByName = BTreeMap<String, GroupShare>;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatsShare {
    pub(super) all: GroupShare,
    pub(super) providers: GroupsByName,
    pub(super) models: GroupsByName,
    pub(super) keys: GroupsByName,
    pub(super) added: WindowCounts,
    pub(super) added_first: WindowCounts,
    pub(super) waits: WindowCounts,
    pub(super) races: RaceShare,
}

impl StatsShare {
    /// Adds those of another process.
    pub fn merge(&mut self, other: &Self) {
        self.all.merge(&other.all);
        self.added.merge(&other.added);
        self.added_first.merge(&other.added_first);
        self.waits.merge(&other.waits);
        self.races.merge(&other.races);
        for (own, other) in self.groups().into_iter().zip([&other.providers, &other.models, &other.keys]) {
            other.iter().for_each(|(name, group)| add(own, name, group));
        }
    }

    /// Keeps this many names of each kind, those with most requests; the others become one.
    pub fn bound(&mut self, names: usize) {
        for groups in self.groups() {
            if groups.len() <= names {
                continue;
            }
            let mut all: Vec<_> = std::mem::take(groups).into_iter().collect();
            all.sort_by_key(|(_, group)| std::cmp::Reverse(group.sums.requests));
            for (place, (name, group)) in all.iter().enumerate() {
                let name = if place < names { name.as_str() } else { OTHER };
                groups.entry(name.to_owned()).or_default().merge(group);
            }
        }
    }

    /// All of them for `/stats`.
    #[must_use]
    pub fn report(&self) -> Map<String, Value> {
        let groups = |groups: &GroupsByName| -> Value {
            groups.iter().map(|(name, group)| (name.clone(), Value::from(group.report()))).collect()
        };
        let mut report = self.all.report();
        for (name, value) in [
            ("added_frame_us", by_window(&self.added, micros)),
            ("added_first_byte_us", by_window(&self.added_first, micros)),
            ("connection_wait_ms", by_window(&self.waits, millis)),
            ("providers", groups(&self.providers)),
            ("models", groups(&self.models)),
            ("keys", groups(&self.keys)),
        ] {
            report.insert(name.to_owned(), value);
        }
        report.extend(self.races.report());
        report
    }

    const fn groups(&mut self) -> [&mut GroupsByName; 3] {
        [&mut self.providers, &mut self.models, &mut self.keys]
    }
}

fn add(groups: &mut GroupsByName, name: &str, group: &GroupShare) {
    let name = if groups.len() < MAX_NAMES || groups.contains_key(name) { name } else { OTHER };
    groups.entry(name.to_owned()).or_default().merge(group);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::{
        Stats,
        facts::{RequestFacts, tests::done},
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn facts(number: u32) -> RequestFacts<'static> {
        RequestFacts {
            total: Duration::from_millis(u64::from(number * number % 977)),
            model: Some(if number.is_multiple_of(4) { "m" } else { "n" }),
            attempts: 1 + u8::from(number.is_multiple_of(7)),
            ..done()
        }
    }

    #[test]
    fn two_merged_are_as_one_that_saw_all() {
        let mut stats = [Stats::default(), Stats::default(), Stats::default()];
        for number in 0..500_u32 {
            let at = if number.is_multiple_of(3) { 0 } else { 1 };
            stats[at].add(SECOND, &facts(number));
            stats[2].add(SECOND, &facts(number));
        }
        let [one, two, all] = stats.each_mut().map(|stats| stats.share(2 * SECOND));
        let text = serde_json::to_string(&two).unwrap();
        let mut merged = one;
        merged.merge(&serde_json::from_str(&text).unwrap());
        assert_eq!(merged, all);
        let report = Value::from(merged.report());
        assert_eq!(report["requests"], 500);
        assert_eq!(report["total_ms"], Value::from(all.report())["total_ms"]);
    }

    #[test]
    fn names_past_the_bound_become_one_and_nothing_is_lost() {
        let mut stats = Stats::default();
        for number in 0..50 {
            let name = format!("m{}", number % 10);
            stats.add(SECOND, &RequestFacts { model: Some(&name), ..done() });
        }
        (0..9).for_each(|_| stats.add(SECOND, &RequestFacts { model: Some("most"), ..done() }));
        let mut share = stats.share(SECOND);
        share.bound(3);
        let report = Value::from(share.report());
        let models = report["models"].as_object().unwrap();
        assert_eq!((models.len(), &models["most"]["requests"]), (4, &9.into()));
        assert_eq!(models[OTHER]["requests"], 40);
        let mut many = StatsShare::default();
        for number in 0..2 * MAX_NAMES {
            let named = GroupsByName::from([(format!("k{number}"), GroupShare::default())]);
            many.merge(&StatsShare { keys: named, ..StatsShare::default() });
        }
        assert_eq!(many.keys.len(), MAX_NAMES + 1);
    }
}
