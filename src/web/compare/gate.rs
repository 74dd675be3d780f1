//! One comparison at a time in the process, because two would disturb each other's times and a loop of them
//! would spend tokens.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Clones share the gate: all workers have one.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<AtomicBool>);

/// The permission to run a comparison; returned when dropped.
#[derive(Debug)]
pub struct GatePass(Arc<AtomicBool>);

impl Gate {
    /// `None`: another comparison runs.
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
    fn admits_one_at_a_time() {
        let gate = Gate::default();
        let other = gate.clone();
        let pass = other.enter();
        assert!(pass.is_some() && gate.enter().is_none() && other.enter().is_none());
        drop(pass);
        assert!(gate.enter().is_some());
    }
}
