//! The end of the wait for a response's head.

use tokio::time::{Duration, Instant};

use crate::base::{DeadlineKind, Fault, FaultKind, Sent, Stage};

/// The end of the wait for a response's head, and its name and length for the fault.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    pub at: Instant,
    pub kind: DeadlineKind,
    /// From the start of the wait to `at`.
    pub after: Duration,
}

impl Deadline {
    #[must_use]
    pub fn new(kind: DeadlineKind, after: Duration) -> Self {
        Self { at: Instant::now() + after, kind, after }
    }

    /// The fault of a deadline that passed at `stage`.
    #[must_use]
    pub const fn fault(&self, stage: Stage) -> Fault {
        let sent = if matches!(stage, Stage::Body) { Sent::Some } else { Sent::Unknown };
        Fault::provider(stage, FaultKind::Timeout(self.kind, self.after), sent)
    }
}
