//! The use of a limit in the last minute: a sliding window that many threads share without a lock. It is cut
//! into slots of a second; an amount counts until a whole minute after the end of its slot, so in no minute,
//! wherever it begins, is more taken than the limit. Time is a parameter, counted from any fixed moment.
//!
//! Invariant: `used` is never below the sum of the slots, and equal to it when no call is under way. A call
//! that puts into a slot adds to `used` first; the call that takes out of a slot subtracts from `used`, so
//! nothing leaves twice.

use std::{
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
    time::Duration,
};

/// Seconds that a slot counts after its own.
const SPAN: u32 = 60;
/// A power of two above `SPAN`: a slot that is used again has long ceased to count.
const SLOTS: usize = 64;

#[derive(Debug)]
pub struct RateWindow {
    used: AtomicU64,
    /// The second of the last sweep.
    swept: AtomicU32,
    /// Each holds its second (upper half; 0: none yet) and the amount taken in it (lower half).
    slots: [AtomicU64; SLOTS],
}

/// An amount and its second, which giving it back needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    second: u32,
    pub amount: u32,
}

impl Default for RateWindow {
    fn default() -> Self {
        Self {
            used: AtomicU64::default(),
            swept: AtomicU32::default(),
            slots: [const { AtomicU64::new(0) }; SLOTS],
        }
    }
}

impl RateWindow {
    /// Takes `amount`. `None`: it does not fit below `limit`.
    pub fn take(&self, limit: u32, amount: u32, now: Duration) -> Option<Taken> {
        let second = second(now);
        if self.swept.load(Relaxed) != second {
            self.sweep(second);
        }
        let fits = |used: u64| {
            let used = used.checked_add(amount.into())?;
            (used <= limit.into()).then_some(used)
        };
        self.used.fetch_update(AcqRel, Relaxed, fits).ok()?;
        Some(Taken { second: self.put(second, amount), amount })
    }

    /// Counts an amount that has been used already, beyond the limit if need be.
    pub fn add(&self, amount: u32, now: Duration) -> Taken {
        self.used.fetch_add(amount.into(), AcqRel);
        Taken { second: self.put(second(now), amount), amount }
    }

    /// The amounts that count at this moment, by second.
    #[must_use]
    pub fn seconds(&self, now: Duration) -> Vec<(u32, u32)> {
        let current = second(now);
        let slots = self.slots.iter().map(|slot| unpack(slot.load(Acquire)));
        slots.filter(|(second, amount)| *amount > 0 && current.saturating_sub(*second) <= SPAN).collect()
    }

    /// Gives back `amount` of `taken`. Nothing to do once its second has ceased to count.
    pub fn give_back(&self, taken: Taken, amount: u32) {
        let Some(slot) = self.slot(taken.second) else { return };
        let less = |packed: u64| {
            let (second, count) = unpack(packed);
            (second == taken.second).then(|| pack(second, count - count.min(amount)))
        };
        if let Ok(before) = slot.fetch_update(AcqRel, Acquire, less) {
            self.used.fetch_sub(unpack(before).1.min(amount).into(), AcqRel);
        }
    }

    /// The sum that counts at this moment.
    #[must_use]
    pub fn used(&self, now: Duration) -> u64 {
        let second = second(now);
        if self.swept.load(Relaxed) != second {
            self.sweep(second);
        }
        self.used.load(Relaxed)
    }

    /// How long until `amount` fits below `limit`, if no more is taken. `None`: never.
    #[must_use]
    pub fn until(&self, limit: u32, amount: u32, now: Duration) -> Option<Duration> {
        let mut excess = (self.used(now) + u64::from(amount)).saturating_sub(limit.into());
        if excess == 0 {
            return Some(Duration::ZERO);
        }
        let current = second(now);
        for past in (0..=SPAN).rev() {
            let Some(at) = current.checked_sub(past) else { continue };
            let count =
                self.slot(at).map(|slot| unpack(slot.load(Relaxed))).filter(|(second, _)| *second == at);
            excess = excess.saturating_sub(count.map_or(0, |(_, count)| count.into()));
            if excess == 0 {
                return Some(ends(at).saturating_sub(now));
            }
        }
        None
    }

    /// How long until every amount of now has ceased to count.
    #[must_use]
    pub fn reset(&self, now: Duration) -> Duration {
        let current = second(now);
        let newest = (0..=SPAN).filter_map(|past| current.checked_sub(past)).find(|at| {
            self.slot(*at)
                .is_some_and(|slot| matches!(unpack(slot.load(Relaxed)), (second, 1..) if second == *at))
        });
        newest.map_or(Duration::ZERO, |at| ends(at).saturating_sub(now))
    }

    /// Puts into the slot of `second`; gives the second that it counts under: a later one, if the slot
    /// already holds it.
    fn put(&self, mut second: u32, amount: u32) -> u32 {
        let Some(slot) = self.slot(second) else { return second };
        let mut current = slot.load(Acquire);
        loop {
            let (at, count) = unpack(current);
            let (gone, kept) = if at < second { (count, 0) } else { (0, count) };
            second = second.max(at);
            let next = kept.saturating_add(amount);
            match slot.compare_exchange_weak(current, pack(second, next), AcqRel, Acquire) {
                Ok(_) => {
                    let dropped = u64::from(gone) + u64::from(kept) + u64::from(amount) - u64::from(next);
                    if dropped > 0 {
                        self.used.fetch_sub(dropped, AcqRel);
                    }
                    return second;
                }
                Err(changed) => current = changed,
            }
        }
    }

    /// Empties the slots that have ceased to count.
    fn sweep(&self, current: u32) {
        for slot in &self.slots {
            let (second, count) = unpack(slot.load(Acquire));
            let is_over = count > 0 && current.saturating_sub(second) > SPAN;
            if is_over && slot.compare_exchange(pack(second, count), 0, AcqRel, Relaxed).is_ok() {
                self.used.fetch_sub(count.into(), AcqRel);
            }
        }
        self.swept.store(current, Relaxed);
    }

    fn slot(&self, second: u32) -> Option<&AtomicU64> {
        self.slots.get(second as usize % SLOTS)
    }
}

/// From 1, so that an untouched slot belongs to no second.
fn second(now: Duration) -> u32 {
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX - 1).saturating_add(1)
}

/// When amounts of this second cease to count.
fn ends(second: u32) -> Duration {
    Duration::from_secs(u64::from(second) + u64::from(SPAN))
}

const fn pack(second: u32, count: u32) -> u64 {
    (second as u64) << 32 | count as u64
}

#[expect(clippy::cast_possible_truncation, reason = "halves of the whole")]
const fn unpack(packed: u64) -> (u32, u32) {
    ((packed >> 32) as u32, packed as u32)
}

#[cfg(test)]
mod tests;
