//! Connections that may exist to one base URL, over all workers together. A connection holds a [`Place`] from
//! its dial to its close, in use or idle. A worker that finds no place asks the others for one of their idle
//! connections, because a socket stays with the worker that opened it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::{
    sync::{Notify, Semaphore, oneshot},
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

/// The places of one base URL. Cloning shares them.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<PlacesState>,
    /// The length of `waiting`, to be read without the lock.
    waiting_count: AtomicUsize,
}

#[derive(Debug)]
struct PlacesState {
    limit: usize,
    taken: usize,
    /// Requests that wait, in order of arrival. A place that becomes free is theirs.
    waiting: VecDeque<oneshot::Sender<()>>,
    /// Idle connections that are being closed for them.
    closing: usize,
    /// Of every worker's pool, notified when an idle connection should be closed.
    pools: Vec<Weak<Notify>>,
}

/// The right of one connection to exist.
#[derive(Debug)]
pub(super) struct Place(Arc<Inner>);

/// An idle connection that is closed for a request that waits; to be dropped after its place.
#[derive(Debug)]
pub(super) struct ClosingConnection(Arc<Inner>);

/// A request that waits for a place.
struct PlaceAwaited {
    places: Arc<Inner>,
    given: oneshot::Receiver<()>,
}

impl Inner {
    /// Changes the state, gives free places to those that wait, and asks the pools for idle connections if
    /// there are not enough that are being closed. A pool that is asked sees the new count.
    fn change<T>(&self, change: impl FnOnce(&mut PlacesState) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state);
        while state.taken < state.limit
            && let Some(waiting) = state.waiting.pop_front()
        {
            state.taken += usize::from(waiting.send(()).is_ok());
        }
        self.waiting_count.store(state.waiting.len(), Relaxed);
        if state.waiting.len() > state.closing {
            state.pools.iter().filter_map(Weak::upgrade).for_each(|pool| pool.notify_one());
        }
        result
    }
}

impl Places {
    pub(super) fn new(limit: usize) -> Self {
        let state = PlacesState { limit, taken: 0, waiting: VecDeque::new(), closing: 0, pools: Vec::new() };
        Self(Arc::new(Inner { state: Mutex::new(state), waiting_count: AtomicUsize::new(0) }))
    }

    /// Limits the places to `limit`. Connections beyond it end by themselves.
    pub(super) fn resize(&self, limit: usize) {
        self.0.change(|state| state.limit = limit);
    }

    /// Notifies the pool whenever an idle connection should be closed.
    pub(super) fn register(&self, pool: &Arc<Notify>) {
        self.0.change(|state| {
            state.pools.retain(|pool| pool.strong_count() > 0);
            state.pools.push(Arc::downgrade(pool));
        });
    }

    /// A place that is free. `None`: there is none.
    pub(super) fn try_take(&self) -> Option<Place> {
        let is_free = self.0.change(|state| {
            let is_free = state.taken < state.limit;
            state.taken += usize::from(is_free);
            is_free
        });
        is_free.then(|| Place(Arc::clone(&self.0)))
    }

    /// Waits for a place; an idle connection is closed for it. `None`: there was none in time.
    pub(super) async fn take(&self, wait: Duration) -> Option<Place> {
        if let Some(place) = self.try_take() {
            return Some(place);
        }
        let (sender, given) = oneshot::channel();
        self.0.change(|state| state.waiting.push_back(sender));
        let mut awaited = PlaceAwaited { places: Arc::clone(&self.0), given };
        timeout(wait, &mut awaited.given).await.ok()?.ok()?;
        Some(Place(Arc::clone(&self.0)))
    }

    /// The order to close an idle connection, because a request waits for its place.
    pub(super) fn claim(&self) -> Option<ClosingConnection> {
        if self.0.waiting_count.load(Relaxed) == 0 {
            return None;
        }
        let is_wanted = self.0.change(|state| {
            let is_wanted = state.waiting.len() > state.closing;
            state.closing += usize::from(is_wanted);
            is_wanted
        });
        is_wanted.then(|| ClosingConnection(Arc::clone(&self.0)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.change(|state| state.taken -= 1);
    }
}

impl Drop for ClosingConnection {
    fn drop(&mut self) {
        self.0.change(|state| state.closing -= 1);
    }
}

impl Drop for PlaceAwaited {
    /// A place that was given and not taken goes to the next.
    fn drop(&mut self) {
        self.given.close();
        let is_given = self.given.try_recv().is_ok();
        self.places.change(|state| {
            state.waiting.retain(|waiting| !waiting.is_closed());
            state.taken -= usize::from(is_given);
        });
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
    async fn each_request_that_waits_closes_one_connection() {
        let places = Places::new(1);
        let held = places.try_take().unwrap();
        let asked = Arc::new(Notify::new());
        places.register(&asked);
        let waiting = async { places.take(Duration::from_secs(5)).await.unwrap() };
        let closing = async {
            asked.notified().await;
            let closing = places.claim().unwrap();
            assert!(places.claim().is_none());
            drop(held);
            drop(closing);
        };
        let (place, ()) = tokio::join!(waiting, closing);
        assert!(places.take(Duration::ZERO).await.is_none());
        assert!(places.claim().is_none(), "a request that has left wants nothing");
        drop(place);
        assert!(places.try_take().is_some());
    }

    /// A place goes to the request that waited first, not to one that comes as it is given back.
    #[tokio::test]
    async fn a_free_place_is_of_the_first_that_waits() {
        let places = Places::new(2);
        let (first, second) = (places.try_take().unwrap(), places.try_take().unwrap());
        let mut waiting = Box::pin(places.take(Duration::from_secs(5)));
        let mut leaving = Box::pin(places.take(Duration::from_secs(5)));
        for wait in [&mut leaving, &mut waiting] {
            assert!(
                std::future::poll_fn(|cx| std::task::Poll::Ready(wait.as_mut().poll(cx).is_pending())).await
            );
        }
        drop(first);
        assert!(places.try_take().is_none());
        // Its place was given and goes to the next.
        drop(leaving);
        let _place = waiting.await.unwrap();
        drop(second);
        assert!(places.try_take().is_some());
    }

    /// Workers that take, keep idle and give up connections in any order: no request waits for ever.
    #[test]
    fn no_request_is_forgotten() {
        let places = Places::new(2);
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let places = places.clone();
                std::thread::spawn(move || {
                    let asked = Arc::new(Notify::new());
                    places.register(&asked);
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                    runtime.block_on(async {
                        let mut idle: Option<Place> = None;
                        for _ in 0..2000 {
                            let place = match idle.take() {
                                Some(place) => place,
                                None => places.take(Duration::from_secs(20)).await.expect("a place"),
                            };
                            tokio::task::yield_now().await;
                            match places.claim() {
                                Some(closing) => {
                                    drop(place);
                                    drop(closing);
                                }
                                None => idle = Some(place),
                            }
                            if timeout(Duration::ZERO, asked.notified()).await.is_ok()
                                && let Some(closing) = places.claim()
                            {
                                drop(idle.take());
                                drop(closing);
                            }
                        }
                    });
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        assert_eq!(places.0.state.lock().unwrap().taken, 0);
    }
}
