//! One comparison at a time in the process, because two would disturb each other's times and a loop of them
//! would spend tokens.

use crate::base::{Gauge, GaugeGuard};

/// Clones share the gate: all workers have one.
#[derive(Clone, Debug, Default)]
pub struct Gate(Gauge);

impl Gate {
    /// The permission to run a comparison; returned when dropped. `None`: another comparison runs.
    #[must_use]
    pub fn enter(&self) -> Option<GaugeGuard> {
        self.0.hold_below(1)
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
