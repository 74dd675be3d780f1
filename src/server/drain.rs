//! The steps in which the process stops its workers: first unready, so that a balancer chooses another
//! process while this one still serves, then draining. Invariant: the phase only advances.

use std::sync::Arc;

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Serving,
    /// Everything is served, but `/readyz` denies readiness.
    Unready,
    /// No connection is accepted; requests in flight may finish.
    Draining,
}

/// Cloning shares the phase.
#[derive(Clone, Debug)]
pub struct Drain(Arc<watch::Sender<Phase>>);

impl Default for Drain {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Serving)))
    }
}

impl Drain {
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Advances to `phase`, unless the current phase is later.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let advances = phase > *current;
            *current = phase.max(*current);
            advances
        });
    }

    /// Waits until `phase` is reached or passed.
    pub async fn reached(&self, phase: Phase) {
        let mut receiver = self.0.subscribe();
        // Cannot fail, because `self` is the sender.
        let _ = receiver.wait_for(|current| *current >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::{Drain, Phase};

    #[tokio::test]
    async fn only_advances_and_wakes_waiters() {
        let drain = Drain::default();
        drain.reached(Phase::Serving).await;
        let waiting = drain.reached(Phase::Unready);
        drain.advance(Phase::Draining);
        waiting.await;
        drain.advance(Phase::Unready);
        assert_eq!(drain.phase(), Phase::Draining);
    }
}
