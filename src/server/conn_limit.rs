//! How many connections there are over all workers. The one piece of this room that crosses threads on every accept.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Cloning shares the count.
#[derive(Clone, Debug)]
pub struct ConnLimit {
    count: Arc<AtomicUsize>,
    /// Instead of what the limits say.
    most: Option<usize>,
}

/// One counted connection; dropping it gives the place back.
#[derive(Debug)]
pub(super) struct ConnPermit(Arc<AtomicUsize>);

impl Default for ConnLimit {
    /// The limits alone say how many there may be.
    fn default() -> Self {
        Self { count: Arc::default(), most: None }
    }
}

impl ConnLimit {
    /// Up to `most`, whatever the limits say.
    #[must_use]
    pub fn at_most(most: usize) -> Self {
        Self { count: Arc::default(), most: Some(most) }
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Counts one more unless there are `limit` already.
    pub(super) fn admit(&self, limit: usize) -> Option<ConnPermit> {
        let guest = ConnPermit(Arc::clone(&self.count));
        // Counted before it is judged: two workers can refuse the last place, never both take it.
        if self.count.fetch_add(1, Ordering::Relaxed) < self.most.unwrap_or(limit) {
            Some(guest)
        } else {
            None
        }
    }
}

impl Drop for ConnPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::ConnLimit;

    #[test]
    fn admits_up_to_the_limit_and_again_after_one_left() {
        let census = ConnLimit::default();
        let (first, second) = (census.admit(2), census.admit(2));
        assert!(first.is_some() && second.is_some() && census.admit(2).is_none());
        assert_eq!(census.count(), 2);
        drop(first);
        assert!(census.admit(2).is_some());
        let few = ConnLimit::at_most(1);
        assert!(few.admit(0).is_some_and(|_guest| few.admit(2).is_none()));
    }
}
