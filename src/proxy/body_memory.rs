//! The memory that bodies of requests hold, bounded over all requests and for each key. Shared by all
//! workers. A body that came in one frame is not counted; any other counts byte by byte as it arrives, and
//! until its request is answered.
//!
//! Where a bound is reached, a body waits. So that waiting bodies do not wait for each other, the oldest
//! unfinished body of a key passes the bound on its key's unfinished bodies, and the oldest of all passes the
//! bound over all: bodies hold at most one body more than a bound says.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// Bounds in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyBounds {
    /// Bodies of all requests.
    pub all: usize,
    /// Bodies of one key's requests.
    pub key: usize,
    /// Bodies of one key's requests that have not arrived whole.
    pub unfinished: usize,
}

/// The bound for which a body waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyBound {
    All,
    Key,
}

/// The account of all bodies. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct BodyMemory(Arc<SharedBodies>);

#[derive(Debug, Default)]
struct SharedBodies {
    /// Never held over an await.
    account: Mutex<BodyAccount>,
    /// Memory of any key was given back.
    freed: Notify,
}

#[derive(Debug, Default)]
struct BodyAccount {
    held: usize,
    /// Unfinished bodies, the oldest first.
    unfinished: BTreeSet<u64>,
    next: u64,
    keys: HashMap<Arc<str>, KeyBodies>,
}

/// The bodies of one key. Removed with its last body.
#[derive(Debug, Default)]
struct KeyBodies {
    held: usize,
    unfinished_bytes: usize,
    unfinished: BTreeSet<u64>,
    bodies: usize,
    /// Memory of this key was given back.
    freed: Arc<Notify>,
}

/// The memory of one body. Dropping it gives all of it back.
#[derive(Debug)]
pub(super) struct HeldBody {
    memory: BodyMemory,
    key: Arc<str>,
    number: u64,
    held: usize,
    finished: bool,
}

impl BodyMemory {
    /// A body of this key begins to arrive.
    pub(super) fn open(&self, key: &Arc<str>) -> HeldBody {
        let mut account = self.account();
        let number = account.next;
        account.next += 1;
        account.unfinished.insert(number);
        let of_key = account.keys.entry(Arc::clone(key)).or_default();
        of_key.unfinished.insert(number);
        of_key.bodies += 1;
        drop(account);
        HeldBody { memory: self.clone(), key: Arc::clone(key), number, held: 0, finished: false }
    }

    /// Bytes that are held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.account().held
    }

    fn account(&self) -> MutexGuard<'_, BodyAccount> {
        // A sum stays a sum, whatever panicked beside it.
        self.0.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldBody {
    /// Counts `bytes` more, as soon as the bounds allow it. `waits_for` says for which bound it waits.
    pub(super) async fn grow(
        &mut self,
        bytes: usize,
        bounds: &BodyBounds,
        mut waits_for: impl FnMut(Option<BodyBound>),
    ) {
        loop {
            let of_key = self.of_key();
            // Enabled before the look, so that nothing given back in between is missed.
            let (mut all, mut key) =
                (std::pin::pin!(self.memory.0.freed.notified()), std::pin::pin!(of_key.notified()));
            all.as_mut().enable();
            key.as_mut().enable();
            let bound = self.memory.account().take(&self.key, self.number, bytes, bounds);
            waits_for(bound);
            match bound {
                None => break,
                Some(BodyBound::All) => all.await,
                Some(BodyBound::Key) => key.await,
            }
        }
        self.held += bytes;
    }

    /// The body has arrived whole.
    pub(super) fn finish(&mut self) {
        self.close();
    }

    /// `bytes` of it are not needed any more.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.held);
        self.held -= bytes;
        let mut account = self.memory.account();
        account.held = account.held.saturating_sub(bytes);
        if let Some(of_key) = account.keys.get_mut(&self.key) {
            of_key.held = of_key.held.saturating_sub(bytes);
            if !self.finished {
                of_key.unfinished_bytes = of_key.unfinished_bytes.saturating_sub(bytes);
            }
        }
        drop(account);
        self.wake();
    }

    fn of_key(&self) -> Arc<Notify> {
        let account = self.memory.account();
        account.keys.get(&self.key).map(|of_key| Arc::clone(&of_key.freed)).unwrap_or_default()
    }

    fn close(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let mut account = self.memory.account();
        account.unfinished.remove(&self.number);
        if let Some(of_key) = account.keys.get_mut(&self.key) {
            of_key.unfinished.remove(&self.number);
            of_key.unfinished_bytes = of_key.unfinished_bytes.saturating_sub(self.held);
        }
        drop(account);
        self.wake();
    }

    /// Lets the bodies look again that wait.
    fn wake(&self) {
        self.of_key().notify_waiters();
        self.memory.0.freed.notify_waiters();
    }
}

impl Drop for HeldBody {
    fn drop(&mut self) {
        self.close();
        self.shrink(self.held);
        let mut account = self.memory.account();
        if let Some(of_key) = account.keys.get_mut(&self.key) {
            of_key.bodies = of_key.bodies.saturating_sub(1);
            if of_key.bodies == 0 {
                account.keys.remove(&self.key);
            }
        }
    }
}

impl BodyAccount {
    /// Counts the bytes, or names the bound that they would exceed.
    fn take(&mut self, key: &Arc<str>, number: u64, bytes: usize, bounds: &BodyBounds) -> Option<BodyBound> {
        let is_first = |unfinished: &BTreeSet<u64>| unfinished.first() == Some(&number);
        let of_key = self.keys.get_mut(key)?;
        let fits = |held: usize, bound: usize| held.saturating_add(bytes) <= bound;
        let fits_unfinished =
            fits(of_key.unfinished_bytes, bounds.unfinished) || is_first(&of_key.unfinished);
        // One body alone always fits.
        if !fits_unfinished || !(fits(of_key.held, bounds.key) || of_key.bodies == 1) {
            return Some(BodyBound::Key);
        }
        if !fits(self.held, bounds.all) && !is_first(&self.unfinished) {
            return Some(BodyBound::All);
        }
        self.held += bytes;
        of_key.held += bytes;
        of_key.unfinished_bytes += bytes;
        None
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use tokio::time::timeout;

    use super::*;

    const BOUNDS: BodyBounds = BodyBounds { all: 100, key: 60, unfinished: 20 };

    async fn grows(body: &mut HeldBody, bytes: usize) -> Option<BodyBound> {
        let bound = Cell::new(None);
        let grown = timeout(Duration::ZERO, body.grow(bytes, &BOUNDS, |now| bound.set(now))).await;
        assert_eq!(grown.is_ok(), bound.get().is_none());
        bound.get()
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_unfinished_body_of_a_key_goes_on() {
        let memory = BodyMemory::default();
        let key: Arc<str> = "a".into();
        let (mut first, mut second) = (memory.open(&key), memory.open(&key));
        assert_eq!(grows(&mut second, 20).await, None);
        assert_eq!(grows(&mut second, 1).await, Some(BodyBound::Key));
        assert_eq!(grows(&mut first, 40).await, None, "or nothing would go on");
        assert_eq!(memory.held(), 60);
        assert_eq!(grows(&mut first, 1).await, Some(BodyBound::Key), "the key holds enough");
        first.finish();
        assert_eq!(grows(&mut second, 1).await, Some(BodyBound::Key), "a finished body is held, too");
        drop(first);
        assert_eq!(grows(&mut second, 5).await, None);
        drop(second);
        assert_eq!((memory.held(), memory.account().keys.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn keys_share_a_bound_and_one_key_does_not_stop_another() {
        let memory = BodyMemory::default();
        let mut held = Vec::new();
        for key in ["a", "b", "c", "d", "e"] {
            let mut body = memory.open(&key.into());
            assert_eq!(grows(&mut body, 20).await, None);
            held.push(body);
        }
        let mut late = memory.open(&"f".into());
        assert_eq!(grows(&mut late, 1).await, Some(BodyBound::All));
        assert_eq!(grows(&mut held[0], 30).await, None, "the oldest goes on");
        held.truncate(2);
        assert_eq!(grows(&mut late, 1).await, None);
    }

    /// What is given back wakes the one that waits for it.
    #[tokio::test]
    async fn a_waiting_body_is_woken() {
        let memory = BodyMemory::default();
        let key: Arc<str> = "a".into();
        let (mut first, mut second) = (memory.open(&key), memory.open(&key));
        first.grow(20, &BOUNDS, |_| ()).await;
        let give_back = async {
            tokio::task::yield_now().await;
            first.finish();
        };
        let both = async { tokio::join!(second.grow(20, &BOUNDS, |_| ()), give_back) };
        timeout(Duration::from_secs(5), both).await.unwrap();
        assert_eq!(memory.held(), 40);
    }
}
