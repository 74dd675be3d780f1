//! How the process tells its workers to stop: first unready, so that a balancer looks elsewhere while we still serve,
//! then draining. It only ever goes forward.

use std::sync::Arc;

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Serving,
    /// Everything is served, but readiness is denied.
    Unready,
    /// Nothing is accepted; what runs may finish.
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

    /// Goes to `phase` unless it is further already.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let further = phase > *current;
            *current = phase.max(*current);
            further
        });
    }

    /// Waits until `phase` is reached or passed.
    pub async fn reached(&self, phase: Phase) {
        let mut receiver = self.0.subscribe();
        // Cannot fail: the sender is `self`.
        let _ = receiver.wait_for(|current| *current >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::{Drain, Phase};

    #[tokio::test]
    async fn goes_forward_only_and_wakes_who_waits() {
        let drain = Drain::default();
        drain.reached(Phase::Serving).await;
        let waiting = drain.reached(Phase::Unready);
        drain.advance(Phase::Draining);
        waiting.await;
        drain.advance(Phase::Unready);
        assert_eq!(drain.phase(), Phase::Draining);
    }
}
