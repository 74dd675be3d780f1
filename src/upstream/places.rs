//! Connections that may exist to one base URL, over all workers together. A connection holds a [`Place`] from
//! its dial to its close, in use or idle. A worker that finds no place asks the others for one of their idle
//! connections, because a socket stays with the worker that opened it.

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Duration, timeout},
};

/// Permits of one kind, whose number may change.
#[derive(Debug)]
pub(super) struct PermitPool {
    pub(super) free: Arc<Semaphore>,
    /// Permits that exist, in use or not.
    permits: Mutex<usize>,
}

impl PermitPool {
    pub(super) fn new(limit: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(limit)), permits: Mutex::new(limit) }
    }

    /// Limits the permits to `limit`. Those in use beyond it end by themselves; a later call, which comes
    /// from time to time, then removes them.
    pub(super) fn resize(&self, limit: usize) {
        let mut permits = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
        if limit > *permits {
            self.free.add_permits(limit - *permits);
            *permits = limit;
        } else {
            *permits -= self.free.forget_permits(*permits - limit);
        }
    }
}

/// The right of one connection to exist.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// The places of one base URL.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) permits: PermitPool,
    /// Requests that wait for a place for which no idle connection has been closed yet, by their number.
    wanted: Mutex<Vec<usize>>,
    /// The length of `wanted`.
    wanted_count: AtomicUsize,
    next_number: AtomicUsize,
    /// Of every worker's pool, notified when a place is wanted.
    pools: Mutex<Vec<Weak<Notify>>>,
}

/// A request that waits for a place, until it is dropped.
struct PlaceWanted<'a> {
    places: &'a Places,
    number: usize,
}

impl Places {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            permits: PermitPool::new(limit),
            wanted: Mutex::default(),
            wanted_count: AtomicUsize::new(0),
            next_number: AtomicUsize::new(0),
            pools: Mutex::default(),
        }
    }

    /// Notifies the pool whenever a place is wanted.
    pub(super) fn register(&self, pool: &Arc<Notify>) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    /// A place that is free. `None`: there is none.
    pub(super) fn try_take(&self) -> Option<Place> {
        Arc::clone(&self.permits.free).try_acquire_owned().ok().map(Place)
    }

    /// Waits for a place; an idle connection is closed for it. `None`: there was none in time.
    pub(super) async fn take(&self, wait: Duration) -> Option<Place> {
        if let Some(place) = self.try_take() {
            return Some(place);
        }
        let _wanted = self.want();
        timeout(wait, Arc::clone(&self.permits.free).acquire_owned()).await.ok()?.ok().map(Place)
    }

    /// Whether the caller should close an idle connection: a request waits for its place.
    pub(super) fn claim(&self) -> bool {
        if self.wanted_count.load(Relaxed) == 0 {
            return false;
        }
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_wanted = !wanted.is_empty();
        // The oldest, which gets the next free place.
        wanted.drain(..usize::from(is_wanted));
        self.wanted_count.store(wanted.len(), Relaxed);
        is_wanted
    }

    fn want(&self) -> PlaceWanted<'_> {
        let number = self.next_number.fetch_add(1, Relaxed);
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.push(number);
        self.wanted_count.store(wanted.len(), Relaxed);
        drop(wanted);
        for pool in &*self.pools.lock().unwrap_or_else(PoisonError::into_inner) {
            if let Some(pool) = pool.upgrade() {
                pool.notify_one();
            }
        }
        PlaceWanted { places: self, number }
    }
}

impl Drop for PlaceWanted<'_> {
    fn drop(&mut self) {
        let mut wanted = self.places.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.retain(|number| *number != self.number);
        self.places.wanted_count.store(wanted.len(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_shrink_as_they_are_given_back() {
        let pool = PermitPool::new(3);
        let taken: Vec<_> = (0..3).map(|_| Arc::clone(&pool.free).try_acquire_owned().unwrap()).collect();
        pool.resize(1);
        drop(taken);
        pool.resize(1);
        assert_eq!(pool.free.available_permits(), 1);
        let _taken = Arc::clone(&pool.free).try_acquire_owned().unwrap();
        pool.resize(4);
        assert_eq!(pool.free.available_permits(), 3);
        pool.resize(2);
        assert_eq!(pool.free.available_permits(), 1);
    }

    /// One idle connection is closed for one request that waits, however many workers are asked.
    #[tokio::test]
    async fn each_wanted_place_is_claimed_once() {
        let places = Places::new(1);
        let held = places.try_take().unwrap();
        let asked = Arc::new(Notify::new());
        places.register(&asked);
        let waiting = async { places.take(Duration::from_secs(5)).await.unwrap() };
        let closing = async {
            asked.notified().await;
            assert!(places.claim());
            assert!(!places.claim());
            drop(held);
        };
        let (_place, ()) = tokio::join!(waiting, closing);
        assert!(places.take(Duration::ZERO).await.is_none());
        assert!(!places.claim(), "a request that has left wants nothing");
    }
}
