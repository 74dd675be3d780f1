//! The bound on a process's connections to its database, shared by all parts that open some. A connection has
//! a place from before it is opened until after it is closed. A part that finds no free place waits for one,
//! in turn and for a limited time; a part that keeps a connection between its statements sees that another
//! waits, and closes it.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::DatabaseError;

/// How long a part waits for a place. Less than the parts' own deadlines, so that the error names the cause.
const WAIT_TIMEOUT: Duration = Duration::from_secs(4);

/// Clones share the bound. Two bounds are equal if they allow the same number.
#[derive(Clone, Debug)]
pub struct ConnectionBound {
    max: u32,
    state: Arc<BoundState>,
}

#[derive(Debug)]
struct BoundState {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Notified when a part begins to wait.
    waits: Notify,
}

/// The right to one open connection, given back on drop.
#[derive(Debug)]
pub struct ConnectionPlace {
    _permit: OwnedSemaphorePermit,
}

/// A part that waits for a place.
struct WaitingPart<'a>(&'a BoundState);

impl<'a> WaitingPart<'a> {
    fn begin(state: &'a BoundState) -> Self {
        state.waiting.fetch_add(1, Ordering::SeqCst);
        state.waits.notify_waiters();
        Self(state)
    }
}

impl Drop for WaitingPart<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl PartialEq for ConnectionBound {
    fn eq(&self, other: &Self) -> bool {
        self.max == other.max
    }
}

impl Eq for ConnectionBound {}

impl ConnectionBound {
    /// A bound of its own, of one connection at least.
    #[must_use]
    pub fn new(max: u32) -> Self {
        let max = max.max(1);
        let state = BoundState {
            places: Arc::new(Semaphore::new(usize::try_from(max).unwrap_or(1).min(Semaphore::MAX_PERMITS))),
            waiting: AtomicUsize::new(0),
            waits: Notify::new(),
        };
        Self { max, state: Arc::new(state) }
    }

    #[must_use]
    pub const fn max(&self) -> u32 {
        self.max
    }

    /// A place; waits for one in turn.
    ///
    /// # Errors
    /// None became free in time.
    pub(super) async fn take(&self) -> Result<ConnectionPlace, DatabaseError> {
        let place = |permit| ConnectionPlace { _permit: permit };
        if let Ok(permit) = Arc::clone(&self.state.places).try_acquire_owned() {
            return Ok(place(permit));
        }
        let _waiting = WaitingPart::begin(&self.state);
        let acquiring = timeout(WAIT_TIMEOUT, Arc::clone(&self.state.places).acquire_owned());
        // The semaphore is never closed.
        let permit = acquiring.await.ok().and_then(Result::ok);
        permit.map(place).ok_or(DatabaseError::Crowded { max: self.max })
    }

    /// Every place is taken.
    pub(super) fn is_full(&self) -> bool {
        self.state.places.available_permits() == 0
    }

    /// A part waits for a place.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.state.waiting.load(Ordering::SeqCst) > 0
    }

    /// Returns when a part waits for a place.
    pub async fn wanted(&self) {
        loop {
            let mut waits = pin!(self.state.waits.notified());
            waits.as_mut().enable();
            if self.is_wanted() {
                return;
            }
            waits.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_place_is_waited_for_in_turn_and_not_for_ever() {
        let bound = ConnectionBound::new(1);
        let first = bound.take().await.unwrap();
        assert!(bound.is_full() && !bound.is_wanted());
        let give_way = async {
            bound.wanted().await;
            drop(first);
        };
        let ((), second) = tokio::join!(give_way, bound.take());
        drop(second.unwrap());
        assert!(!bound.is_wanted() && !bound.is_full());
        let _held = bound.take().await.unwrap();
        assert!(matches!(bound.take().await, Err(DatabaseError::Crowded { max: 1 })));
        assert!(!bound.is_wanted(), "the part has given up");
        assert_eq!((ConnectionBound::new(0).max(), bound), (1, ConnectionBound::new(1)));
    }
}
