//! A map of values that expire (S1.7): each has the time it was stored, and one time to live applies to all.
//! Lookups are counted as hits and misses. Times are seconds since 1970, because the values outlive the
//! process in the state file. A value from the future counts as expired, because the clock has then been set
//! back.
//!
//! Invariant: at most `MAX_VALUES` values; the oldest is removed first.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// The largest number of values.
const MAX_VALUES: usize = 4096;

/// A value and the time it was stored, in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed<T> {
    pub at: u64,
    pub value: T,
}

/// Hits and misses of one map. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct HitCounter(Arc<(AtomicU64, AtomicU64)>);

/// Hits and misses for each kind of result about providers (S1.7). Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct CacheHits {
    pub models: HitCounter,
    pub health: HitCounter,
    pub keys: HitCounter,
    pub first: HitCounter,
}

/// Values by name, with one time to live.
#[derive(Debug)]
pub struct TtlMap<T> {
    ttl: Duration,
    values: BTreeMap<Box<str>, Timed<T>>,
    lookups: HitCounter,
}

impl HitCounter {
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn misses(&self) -> u64 {
        self.0.1.load(Ordering::Relaxed)
    }

    fn count(&self, hit: bool) {
        let count = if hit { &self.0.0 } else { &self.0.1 };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl<T> TtlMap<T> {
    /// An empty map that counts its lookups in `lookups`.
    #[must_use]
    pub const fn new(ttl: Duration, lookups: HitCounter) -> Self {
        Self { ttl, values: BTreeMap::new(), lookups }
    }

    /// The value of `name` at `now`. `None`: there is none, or it has expired.
    pub fn find(&self, name: &str, now: u64) -> Option<&Timed<T>> {
        let found = self.values.get(name).filter(|entry| self.holds(entry, now));
        self.lookups.count(found.is_some());
        found
    }

    /// Stores a value with its time, in place of an earlier one.
    pub fn put(&mut self, name: &str, at: u64, value: T) {
        self.values.insert(name.into(), Timed { at, value });
        if self.values.len() > MAX_VALUES
            && let Some(oldest) = self.oldest()
        {
            self.values.remove(&oldest);
        }
    }

    pub fn remove(&mut self, name: &str) {
        self.values.remove(name);
    }

    /// Removes expired values.
    pub fn clean(&mut self, now: u64) {
        let ttl = self.ttl;
        self.values.retain(|_, entry| is_fresh(entry.at, now, ttl));
    }

    /// All values, expired ones included.
    pub fn values(&self) -> impl Iterator<Item = (&str, &Timed<T>)> {
        self.values.iter().map(|(name, entry)| (&**name, entry))
    }

    fn holds(&self, entry: &Timed<T>, now: u64) -> bool {
        is_fresh(entry.at, now, self.ttl)
    }

    fn oldest(&self) -> Option<Box<str>> {
        self.values.iter().min_by_key(|(_, entry)| entry.at).map(|(name, _)| name.clone())
    }
}

fn is_fresh(at: u64, now: u64, ttl: Duration) -> bool {
    now.checked_sub(at).is_some_and(|age| age < ttl.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_holds_for_its_time_and_not_from_the_future() {
        let lookups = HitCounter::default();
        let mut map = TtlMap::new(Duration::from_secs(60), lookups.clone());
        map.put("a", 1000, 'x');
        let known = |map: &TtlMap<char>, now| map.find("a", now).map(|entry| entry.value);
        assert_eq!(known(&map, 1000), Some('x'));
        assert_eq!(known(&map, 1059), Some('x'));
        assert_eq!(known(&map, 1060), None);
        assert_eq!(known(&map, 999), None, "the clock was set back");
        assert_eq!((lookups.hits(), lookups.misses()), (2, 2));
        map.clean(1060);
        assert_eq!(map.values().count(), 0);
    }

    #[test]
    fn keeps_so_many_and_lets_the_oldest_go() {
        let mut map = TtlMap::new(Duration::from_secs(60), HitCounter::default());
        for number in 0..=MAX_VALUES as u64 {
            map.put(&number.to_string(), 1000 + number, ());
        }
        assert_eq!(map.values().count(), MAX_VALUES);
        assert!(map.find("0", 1001).is_none() && map.find("1", 1001).is_some());
        map.remove("1");
        assert!(map.find("1", 1001).is_none());
    }
}
