//! The limit on connections over all workers. Owns one atomic counter, the only state of the room that every
//! accept shares with other threads. Invariant: the count is the number of live guards.

use crate::base::{Gauge, GaugeGuard};

/// Cloning shares the count.
#[derive(Clone, Debug)]
pub struct ConnLimit {
    count: Gauge,
    /// A limit of its own. `None`: the limit given to [`Self::admit`] applies.
    own: Option<usize>,
}

impl Default for ConnLimit {
    /// No limit of its own.
    fn default() -> Self {
        Self { count: Gauge::default(), own: None }
    }
}

impl ConnLimit {
    /// Up to `limit` connections, instead of `limits.connections`.
    #[must_use]
    pub fn at_most(limit: usize) -> Self {
        Self { count: Gauge::default(), own: Some(limit) }
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.count.read()
    }

    /// Counts one more connection until the guard is dropped. `None`: the limit is reached.
    pub(super) fn admit(&self, limit: usize) -> Option<GaugeGuard> {
        self.count.hold_below(self.own.unwrap_or(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::ConnLimit;

    #[test]
    fn admits_up_to_the_limit_and_again_after_one_left() {
        let limit = ConnLimit::default();
        let (first, second) = (limit.admit(2), limit.admit(2));
        assert!(first.is_some() && second.is_some() && limit.admit(2).is_none());
        assert_eq!(limit.count(), 2);
        drop(first);
        assert!(limit.admit(2).is_some());
        let own = ConnLimit::at_most(1);
        assert!(own.admit(0).is_some_and(|_permit| own.admit(2).is_none()));
    }
}
