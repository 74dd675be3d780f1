//! The entries of this process, by their keys, shared by all workers. At a bound in bytes the entry that was
//! used longest ago goes. A lookup holds the lock for a hundred nanoseconds, and only requests that use the
//! cache come here. Behind the memory is the tier that replicas share, if there is one.
//!
//! Invariant: `bytes` is the sum of the entries' sizes, and every key in `order` has an entry.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use super::{
    entry::StoredAnswer,
    key::AnswerKey,
    tier::{AnswerTier, TierFigures},
};

/// The entries, and their figures. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct AnswerCache(Arc<SharedCache>);

#[derive(Debug, Default)]
struct SharedCache {
    shelf: Mutex<Shelf>,
    tier: OnceLock<AnswerTier>,
    max_size: AtomicUsize,
    /// Bytes of answers that are on their way in.
    held: AtomicUsize,
    hits: AtomicU64,
    misses: AtomicU64,
    stored: AtomicU64,
    evicted: AtomicU64,
    tokens_saved: AtomicU64,
    coalesced: AtomicU64,
}

#[derive(Debug, Default)]
struct Shelf {
    entries: HashMap<AnswerKey, PlacedEntry>,
    /// Keys by their last use.
    order: BTreeMap<u64, AnswerKey>,
    uses: u64,
    bytes: usize,
}

#[derive(Debug)]
struct PlacedEntry {
    answer: Arc<StoredAnswer>,
    last_use: u64,
}

/// Counts since the start, and the entries now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerCacheFigures {
    /// In memory or in the tier.
    pub hits: u64,
    pub misses: u64,
    pub stored: u64,
    /// Entries that made room for others, or were too old.
    pub evicted: u64,
    pub tokens_saved: u64,
    /// Requests that shared an answer under way.
    pub coalesced: u64,
    pub entries: usize,
    pub bytes: usize,
    /// `None`: replicas share nothing.
    pub tier: Option<TierFigures>,
}

impl AnswerCache {
    /// `max_size`: bytes of all entries.
    #[must_use]
    pub fn new(max_size: usize) -> Self {
        let cache = Self::default();
        cache.set_max_size(max_size);
        cache
    }

    /// Sets the bytes of all entries. What is above them goes with the next entry.
    pub fn set_max_size(&self, max_size: usize) {
        self.0.max_size.store(max_size, Relaxed);
    }

    /// The answer under `key`, if it is no older than `max_age` and `fits`. Counts neither hit nor miss.
    #[must_use]
    pub fn find(
        &self,
        key: &AnswerKey,
        max_age: Duration,
        fits: impl FnOnce(&StoredAnswer) -> bool,
    ) -> Option<Arc<StoredAnswer>> {
        let mut shelf = self.shelf();
        let answer = Arc::clone(&shelf.entries.get(key)?.answer);
        if max_age.is_zero() || answer.age(SystemTime::now()) > max_age || !fits(&answer) {
            return None;
        }
        shelf.touch(key);
        Some(answer)
    }

    /// Shares answers with other replicas from now on. A later call changes nothing.
    pub fn share(&self, tier: AnswerTier) {
        let _ = self.0.tier.set(tier);
    }

    /// Whether replicas share answers, and the tier can be asked now.
    #[must_use]
    pub fn may_fetch(&self) -> bool {
        self.0.tier.get().is_some_and(AnswerTier::is_open)
    }

    /// The answer that another replica, or an earlier run, has shared, if it is no older than `max_age`, no
    /// longer than `max_size`, and `fits`; keeps it. Waits a bounded time. Counts neither hit nor miss.
    pub async fn fetch(
        &self,
        key: &AnswerKey,
        bounds: (Duration, usize),
        fits: impl FnOnce(&StoredAnswer) -> bool,
    ) -> Option<Arc<StoredAnswer>> {
        let answer = Arc::new(self.0.tier.get()?.find(key, bounds, fits).await?);
        let kept = self.shelf().entries.get(key).map(|entry| Arc::clone(&entry.answer));
        // A request that did not wait may have brought a newer one meanwhile.
        if kept.is_none_or(|kept| kept.at < answer.at) {
            self.keep(*key, Arc::clone(&answer), bounds.0);
        }
        Some(answer)
    }

    /// Keeps an answer, in place of an earlier one, and shares it.
    pub fn store(&self, key: AnswerKey, answer: StoredAnswer, max_age: Duration) {
        let answer = Arc::new(answer);
        if self.keep(key, Arc::clone(&answer), max_age) {
            self.0.stored.fetch_add(1, Relaxed);
            if let Some(tier) = self.0.tier.get() {
                tier.put(key, answer, max_age);
            }
        }
    }

    /// False: it is larger than all entries may be.
    fn keep(&self, key: AnswerKey, answer: Arc<StoredAnswer>, max_age: Duration) -> bool {
        let max_size = self.0.max_size.load(Relaxed);
        if answer.size() > max_size {
            return false;
        }
        let evicted = self.shelf().put(key, answer, (max_size, max_age));
        self.0.evicted.fetch_add(evicted, Relaxed);
        true
    }

    /// Forgets all answers.
    pub fn clear(&self) {
        let forgotten = std::mem::take(&mut *self.shelf());
        self.0.evicted.fetch_add(forgotten.entries.len() as u64, Relaxed);
    }

    /// Counts a hit, which saved these tokens.
    pub fn note_hit(&self, tokens: u64) {
        self.0.hits.fetch_add(1, Relaxed);
        self.0.tokens_saved.fetch_add(tokens, Relaxed);
    }

    /// Counts a request that shares an answer under way.
    pub fn note_coalesced(&self) {
        self.0.coalesced.fetch_add(1, Relaxed);
    }

    pub fn note_miss(&self) {
        self.0.misses.fetch_add(1, Relaxed);
    }

    #[must_use]
    pub fn figures(&self) -> AnswerCacheFigures {
        let (entries, bytes) = {
            let shelf = self.shelf();
            (shelf.entries.len(), shelf.bytes)
        };
        let SharedCache { hits, misses, stored, evicted, tokens_saved, coalesced, .. } = &*self.0;
        AnswerCacheFigures {
            hits: hits.load(Relaxed),
            misses: misses.load(Relaxed),
            stored: stored.load(Relaxed),
            evicted: evicted.load(Relaxed),
            tokens_saved: tokens_saved.load(Relaxed),
            coalesced: coalesced.load(Relaxed),
            entries,
            bytes,
            tier: self.0.tier.get().map(AnswerTier::figures),
        }
    }

    /// Counts bytes of an answer on its way in. False: with them it would be more than all entries may have.
    pub(super) fn hold(&self, bytes: usize) -> bool {
        let max_size = self.0.max_size.load(Relaxed);
        let more = |held: usize| held.checked_add(bytes).filter(|held| *held <= max_size);
        self.0.held.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    pub(super) fn release(&self, bytes: usize) {
        self.0.held.fetch_sub(bytes, Relaxed);
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // No code panics between two changes that belong together.
        self.0.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn touch(&mut self, key: &AnswerKey) {
        if let Some(entry) = self.entries.get_mut(key) {
            self.uses += 1;
            self.order.remove(&entry.last_use);
            entry.last_use = self.uses;
            self.order.insert(self.uses, *key);
        }
    }

    /// The number of entries that had to go.
    fn put(
        &mut self,
        key: AnswerKey,
        answer: Arc<StoredAnswer>,
        (max_size, max_age): (usize, Duration),
    ) -> u64 {
        self.remove(&key);
        let (now, size) = (SystemTime::now(), answer.size());
        let mut evicted = 0;
        while let Some((_, oldest)) = self.order.first_key_value() {
            let oldest = *oldest;
            let is_old = self.entries.get(&oldest).is_none_or(|entry| entry.answer.age(now) > max_age);
            if self.bytes + size <= max_size && !is_old {
                break;
            }
            self.remove(&oldest);
            evicted += 1;
        }
        self.bytes += size;
        self.uses += 1;
        self.order.insert(self.uses, key);
        self.entries.insert(key, PlacedEntry { answer, last_use: self.uses });
        evicted
    }

    fn remove(&mut self, key: &AnswerKey) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.last_use);
            self.bytes -= entry.answer.size();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::HeaderFields,
        cache::{AnswerMaker, MakerPlace},
    };

    const HOUR: Duration = Duration::from_secs(3600);

    fn key(number: u8) -> AnswerKey {
        AnswerKey([number; 32])
    }

    fn answer(size: usize, ago: Duration) -> StoredAnswer {
        StoredAnswer {
            headers: HeaderFields::new(),
            body: vec![b'x'; size].into(),
            marks: Box::default(),
            at: SystemTime::now() - ago,
            tokens: 1,
            maker: AnswerMaker { provider: "p".into(), place: MakerPlace::default(), model: "m".into() },
        }
    }

    fn has(cache: &AnswerCache, number: u8) -> bool {
        cache.find(&key(number), HOUR, |_| true).is_some()
    }

    #[test]
    fn the_entry_that_was_used_longest_ago_makes_room() {
        let cache = AnswerCache::new(3 * answer(1000, Duration::ZERO).size());
        for number in 1..=3 {
            cache.store(key(number), answer(1000, Duration::ZERO), HOUR);
        }
        assert!(has(&cache, 1));
        cache.store(key(4), answer(1000, Duration::ZERO), HOUR);
        assert_eq!([1, 2, 3, 4].map(|number| has(&cache, number)), [true, false, true, true]);
        let figures = cache.figures();
        assert_eq!((figures.stored, figures.evicted, figures.entries), (4, 1, 3));
        assert_eq!(figures.bytes, 3 * answer(1000, Duration::ZERO).size());
        // In place of itself, and one that is larger than all.
        cache.store(key(4), answer(10, Duration::ZERO), HOUR);
        cache.store(key(5), answer(10_000, Duration::ZERO), HOUR);
        assert_eq!((cache.figures().entries, has(&cache, 5)), (3, false));
    }

    #[test]
    fn an_answer_has_an_age() {
        let cache = AnswerCache::new(1 << 20);
        cache.store(key(1), answer(1, Duration::from_secs(60)), HOUR);
        let find = |seconds| cache.find(&key(1), Duration::from_secs(seconds), |_| true).is_some();
        assert_eq!([59, 61].map(find), [false, true]);
        assert!(cache.find(&key(1), HOUR, |_| false).is_none(), "it must fit");
        // What is too old goes with the next entry.
        cache.store(key(2), answer(1, Duration::ZERO), Duration::from_secs(30));
        assert_eq!((cache.figures().entries, cache.figures().evicted), (1, 1));
    }
}
