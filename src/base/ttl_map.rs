//! What was learnt and for how long it holds good (S1.7): values by name, each with the moment it was learnt, one time
//! to live for all of a shelf. Looking one up is counted as a hit or a miss. Times are seconds since 1970, because a
//! shelf outlives the process; a value from the future is not trusted, for then the clock has been set back.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Values kept at once; the oldest leaves.
const ROOM: usize = 4096;

/// A value and when it was learnt, in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed<T> {
    pub at: u64,
    pub value: T,
}

/// How often a shelf was asked, and knew or did not. Cloning shares the counts.
#[derive(Clone, Debug, Default)]
pub struct HitCounter(Arc<(AtomicU64, AtomicU64)>);

/// How often each kind of finding about providers was asked for (S1.7). Cloning shares the counts.
#[derive(Clone, Debug, Default)]
pub struct CacheHits {
    pub models: HitCounter,
    pub health: HitCounter,
    pub keys: HitCounter,
    pub first: HitCounter,
}

/// One kind of values.
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
    /// Counts what is looked up in `lookups`.
    #[must_use]
    pub const fn new(ttl: Duration, lookups: HitCounter) -> Self {
        Self { ttl, values: BTreeMap::new(), lookups }
    }

    /// The value, unless it is older than its time to live.
    pub fn find(&self, name: &str, now: u64) -> Option<&Timed<T>> {
        let found = self.values.get(name).filter(|learnt| self.holds(learnt, now));
        self.lookups.count(found.is_some());
        found
    }

    /// Keeps what was learnt `at`, in the place of what was known before.
    pub fn put(&mut self, name: &str, at: u64, value: T) {
        self.values.insert(name.into(), Timed { at, value });
        if self.values.len() > ROOM
            && let Some(oldest) = self.oldest()
        {
            self.values.remove(&oldest);
        }
    }

    pub fn remove(&mut self, name: &str) {
        self.values.remove(name);
    }

    /// Forgets what is too old.
    pub fn clean(&mut self, now: u64) {
        let ttl = self.ttl;
        self.values.retain(|_, learnt| is_fresh(learnt.at, now, ttl));
    }

    /// All that is kept, fresh or not.
    pub fn values(&self) -> impl Iterator<Item = (&str, &Timed<T>)> {
        self.values.iter().map(|(name, learnt)| (&**name, learnt))
    }

    fn holds(&self, learnt: &Timed<T>, now: u64) -> bool {
        is_fresh(learnt.at, now, self.ttl)
    }

    fn oldest(&self) -> Option<Box<str>> {
        self.values.iter().min_by_key(|(_, learnt)| learnt.at).map(|(name, _)| name.clone())
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
        let mut shelf = TtlMap::new(Duration::from_secs(60), lookups.clone());
        shelf.put("a", 1000, 'x');
        let known = |shelf: &TtlMap<char>, now| shelf.find("a", now).map(|learnt| learnt.value);
        assert_eq!(known(&shelf, 1000), Some('x'));
        assert_eq!(known(&shelf, 1059), Some('x'));
        assert_eq!(known(&shelf, 1060), None);
        assert_eq!(known(&shelf, 999), None, "the clock was set back");
        assert_eq!((lookups.hits(), lookups.misses()), (2, 2));
        shelf.clean(1060);
        assert_eq!(shelf.values().count(), 0);
    }

    #[test]
    fn keeps_so_many_and_lets_the_oldest_go() {
        let mut shelf = TtlMap::new(Duration::from_secs(60), HitCounter::default());
        for number in 0..=ROOM as u64 {
            shelf.put(&number.to_string(), 1000 + number, ());
        }
        assert_eq!(shelf.values().count(), ROOM);
        assert!(shelf.find("0", 1001).is_none() && shelf.find("1", 1001).is_some());
        shelf.remove("1");
        assert!(shelf.find("1", 1001).is_none());
    }
}
