//! Successes and failures of the last so many seconds, in ten slots that are taken over by time. A slot is one atomic:
//! the number of its tenth of a window, and two counts.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::base::{Moment, moment::micros};

const SLOTS: u64 = 10;
const FAILED: u64 = 1;
const WENT_WELL: u64 = 1 << 16;
const COUNTS: u32 = 32;
/// A slot counts no further: what is seen by then decides.
const FULL: u64 = 60_000;

#[derive(Debug, Default)]
pub struct OutcomeWindow([AtomicU64; SLOTS as usize]);

/// What a window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutcomeCounts {
    pub good: u32,
    pub bad: u32,
}

impl OutcomeCounts {
    #[must_use]
    pub const fn all(self) -> u32 {
        self.good + self.bad
    }

    /// The share that failed; 0 of nothing.
    #[must_use]
    pub fn failed(self) -> f64 {
        f64::from(self.bad) / f64::from(self.all().max(1))
    }
}

impl OutcomeWindow {
    pub(super) fn count(&self, good: bool, now: Moment, window: Duration) {
        let tenth = tenth(now, window);
        let Some(slot) = self.0.get((tenth % SLOTS) as usize) else { return };
        let one = if good { WENT_WELL } else { FAILED };
        let held = slot.load(Relaxed);
        if held >> COUNTS == stamp(tenth) {
            if (held & 0xFFFF) < FULL && (held >> 16 & 0xFFFF) < FULL {
                slot.fetch_add(one, Relaxed);
            }
        } else if slot.compare_exchange(held, stamp(tenth) << COUNTS | one, Relaxed, Relaxed).is_err() {
            // Another worker has just taken the slot over.
            slot.fetch_add(one, Relaxed);
        }
    }

    #[must_use]
    pub fn sum(&self, now: Moment, window: Duration) -> OutcomeCounts {
        let latest = tenth(now, window);
        let mut seen = OutcomeCounts::default();
        for age in 0..SLOTS.min(latest + 1) {
            let tenth = latest - age;
            let held = self.0.get((tenth % SLOTS) as usize).map_or(0, |slot| slot.load(Relaxed));
            if held >> COUNTS == stamp(tenth) {
                seen.bad += (held & 0xFFFF) as u32;
                seen.good += (held >> 16 & 0xFFFF) as u32;
            }
        }
        seen
    }

    pub(super) fn clear(&self) {
        self.0.iter().for_each(|slot| slot.store(0, Relaxed));
    }
}

fn tenth(now: Moment, window: Duration) -> u64 {
    now.0 / (micros(window) / SLOTS).max(1)
}

/// Never 0, which is an empty slot.
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
            window.count(second % 2 == 0, at(second * 1000 + 500), WINDOW);
        }
        assert_eq!(window.sum(at(9_999), WINDOW), OutcomeCounts { good: 5, bad: 5 });
        assert_eq!(window.sum(at(10_500), WINDOW), OutcomeCounts { good: 4, bad: 5 });
        assert_eq!(window.sum(at(60_000), WINDOW), OutcomeCounts::default());
        window.count(false, at(60_000), WINDOW);
        assert_eq!(window.sum(at(60_000), WINDOW).failed(), 1.0);
        window.clear();
        assert_eq!(window.sum(at(60_000), WINDOW), OutcomeCounts::default());
    }

    #[test]
    fn a_full_slot_stays_full() {
        let window = OutcomeWindow::default();
        for _ in 0..2 * FULL {
            window.count(true, Moment(5), WINDOW);
        }
        assert_eq!(window.sum(Moment(5), WINDOW), OutcomeCounts { good: FULL as u32, bad: 0 });
    }
}
