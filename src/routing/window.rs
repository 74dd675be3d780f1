//! Counts successes and failures of the last seconds in ten slots, which are reused in turn. A slot is one
//! atomic: the number of its tenth of a window (the stamp), and two counts of 16 bits.
//!
//! No worker waits; if two workers reuse a slot at once, a count may fall into the newer tenth.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::base::{Moment, moment::micros};

const SLOTS: u64 = 10;
const ONE_FAILURE: u64 = 1;
const ONE_SUCCESS: u64 = 1 << 16;
const STAMP_SHIFT: u32 = 32;
/// A slot stops counting here, below the 16 bits of a count; so many outcomes are enough to decide.
const MAX_SLOT_COUNT: u64 = 60_000;

#[derive(Debug, Default)]
pub struct OutcomeWindow([AtomicU64; SLOTS as usize]);

/// The counts of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutcomeCounts {
    pub successes: u32,
    pub failures: u32,
}

impl OutcomeCounts {
    #[must_use]
    pub const fn total(self) -> u32 {
        self.successes + self.failures
    }

    /// The share of failures, from 0 to 1; 0 if the window is empty.
    #[must_use]
    pub fn failure_share(self) -> f64 {
        f64::from(self.failures) / f64::from(self.total().max(1))
    }
}

impl OutcomeWindow {
    pub(super) fn record(&self, successes: bool, now: Moment, window: Duration) {
        let tenth = tenth(now, window);
        let Some(slot) = self.0.get((tenth % SLOTS) as usize) else { return };
        let one = if successes { ONE_SUCCESS } else { ONE_FAILURE };
        let value = slot.load(Relaxed);
        if value >> STAMP_SHIFT == stamp(tenth) {
            if (value & 0xFFFF) < MAX_SLOT_COUNT && (value >> 16 & 0xFFFF) < MAX_SLOT_COUNT {
                slot.fetch_add(one, Relaxed);
            }
        } else if slot.compare_exchange(value, stamp(tenth) << STAMP_SHIFT | one, Relaxed, Relaxed).is_err() {
            // Another worker has just reused the slot.
            slot.fetch_add(one, Relaxed);
        }
    }

    #[must_use]
    pub fn sum(&self, now: Moment, window: Duration) -> OutcomeCounts {
        let latest = tenth(now, window);
        let mut counts = OutcomeCounts::default();
        for age in 0..SLOTS.min(latest + 1) {
            let tenth = latest - age;
            let value = self.0.get((tenth % SLOTS) as usize).map_or(0, |slot| slot.load(Relaxed));
            if value >> STAMP_SHIFT == stamp(tenth) {
                counts.failures += (value & 0xFFFF) as u32;
                counts.successes += (value >> 16 & 0xFFFF) as u32;
            }
        }
        counts
    }

    pub(super) fn clear(&self) {
        self.0.iter().for_each(|slot| slot.store(0, Relaxed));
    }
}

fn tenth(now: Moment, window: Duration) -> u64 {
    now.0 / (micros(window) / SLOTS).max(1)
}

/// The stamp of a tenth; never 0, which marks an empty slot.
const fn stamp(tenth: u64) -> u64 {
    (tenth & 0x7FFF_FFFF) | 0x8000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    #[test]
    fn forgets_by_tenths() {
        let window = OutcomeWindow::default();
        let at = |millis: u64| Moment(1) + Duration::from_millis(millis);
        for second in 0..10 {
            window.record(second % 2 == 0, at(second * 1000 + 500), WINDOW);
        }
        assert_eq!(window.sum(at(9_999), WINDOW), OutcomeCounts { successes: 5, failures: 5 });
        assert_eq!(window.sum(at(10_500), WINDOW), OutcomeCounts { successes: 4, failures: 5 });
        assert_eq!(window.sum(at(60_000), WINDOW), OutcomeCounts::default());
        window.record(false, at(60_000), WINDOW);
        assert_eq!(window.sum(at(60_000), WINDOW).failure_share(), 1.0);
        window.clear();
        assert_eq!(window.sum(at(60_000), WINDOW), OutcomeCounts::default());
    }

    #[test]
    fn a_full_slot_stays_full() {
        let window = OutcomeWindow::default();
        for _ in 0..2 * MAX_SLOT_COUNT {
            window.record(true, Moment(5), WINDOW);
        }
        assert_eq!(
            window.sum(Moment(5), WINDOW),
            OutcomeCounts { successes: MAX_SLOT_COUNT as u32, failures: 0 }
        );
    }
}
