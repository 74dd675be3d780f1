//! One comparison at a time in the whole process: two would measure each other, and a loop of them would burn tokens.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Shared by all workers.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<AtomicBool>);

/// The right to compare; given back when dropped.
#[derive(Debug)]
pub struct GatePass(Arc<AtomicBool>);

impl Gate {
    /// `None`: somebody else is comparing.
    #[must_use]
    pub fn enter(&self) -> Option<GatePass> {
        let was_taken = self.0.swap(true, Ordering::AcqRel);
        (!was_taken).then(|| GatePass(Arc::clone(&self.0)))
    }
}

impl Drop for GatePass {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_one_in_at_a_time() {
        let gate = Gate::default();
        let other = gate.clone();
        let pass = other.enter();
        assert!(pass.is_some() && gate.enter().is_none() && other.enter().is_none());
        drop(pass);
        assert!(gate.enter().is_some());
    }
}
