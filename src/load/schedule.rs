//! When each request is sent. Slots are numbered from 0. In a closed loop a slot is due at once; in an open
//! loop by the clock, independent of the answers.

use std::{cell::Cell, time::Duration};

use super::{clock::LoadInstant, plan::Arrival};

#[derive(Debug)]
pub(super) struct Schedule {
    arrival: Arrival,
    /// The number of slots. `None`: no limit.
    slots: Option<u64>,
    start: LoadInstant,
    taken: Cell<u64>,
}

impl Schedule {
    pub(super) const fn new(arrival: Arrival, slots: Option<u64>, start: LoadInstant) -> Self {
        Self { arrival, slots, start, taken: Cell::new(0) }
    }

    /// The next slot. `None`: all are taken.
    pub(super) fn take(&self) -> Option<u64> {
        let slot = self.taken.get();
        self.taken.set(slot + 1);
        self.slots.is_none_or(|slots| slot < slots).then_some(slot)
    }

    /// When a slot is due. `None`: that depends on the slot before it.
    pub(super) fn due(&self, slot: u64) -> Option<LoadInstant> {
        match self.arrival {
            Arrival::Closed => None,
            Arrival::Open { per_second } => {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "an hour's slots at the highest rate fit in 53 bits"
                )]
                let offset = Duration::from_secs_f64(slot as f64 / per_second);
                Some(self.start.plus(offset))
            }
        }
    }
}

/// The time from which latency counts: when the slot was due, if every stream was busy then; otherwise when
/// it is sent, because a timer's rounding is this program's delay and not the server's.
pub(super) fn count_from(due: LoadInstant, asked: LoadInstant, sent: LoadInstant) -> LoadInstant {
    if asked >= due { due } else { sent }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_out_each_slot_once() {
        let schedule = Schedule::new(Arrival::Closed, Some(2), LoadInstant::from_nanos(0));
        assert_eq!([schedule.take(), schedule.take(), schedule.take()], [Some(0), Some(1), None]);
        assert_eq!(schedule.due(1), None);
    }

    #[test]
    fn an_open_loop_keeps_its_clock() {
        let start = LoadInstant::from_nanos(1_000);
        let schedule = Schedule::new(Arrival::Open { per_second: 200.0 }, None, start);
        let due = schedule.due(3).unwrap();
        assert_eq!(due.since(start), 15_000_000);
        let at = |millis: u64| LoadInstant::from_nanos(1_000 + millis * 1_000_000);
        assert_eq!(count_from(due, at(40), at(41)), due, "busy when it was due: the wait counts");
        assert_eq!(count_from(due, at(9), at(16)), at(16), "idle: a late timer does not count");
    }
}
