//! What the last contact with a provider said: alive or not. Written by probes and by live traffic, read by `/health`.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

const UNKNOWN: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;

/// Shared by all who talk to one provider.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<AtomicU8>);

impl Health {
    /// It answered, or it did not. Repeating what is known costs one load.
    pub fn note(&self, alive: bool) {
        let state = if alive { UP } else { DOWN };
        if self.0.load(Ordering::Relaxed) != state {
            self.0.store(state, Ordering::Relaxed);
        }
    }

    /// `None` before the first contact.
    #[must_use]
    pub fn is_alive(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            UNKNOWN => None,
            state => Some(state == UP),
        }
    }
}
