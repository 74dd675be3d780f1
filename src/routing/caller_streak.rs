//! Whether failures are one caller's own: its requests fail in a row while those of other keys go well. Such
//! failures say more about the requests than about the candidate, so they do not trip its breaker, and no key
//! can take a model from the others. With a single key in use every failure counts. Atomics only; a race
//! between two workers costs one failure more or less.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::base::Moment;

/// Failures in a row of several callers.
const SEVERAL: u32 = u32::MAX;

/// The last callers of one candidate. A caller is a number of a key, 0: unknown.
#[derive(Debug, Default)]
pub(super) struct CallerStreak {
    /// The caller of the failures since the last success; 0: there are none.
    failing: AtomicU32,
    /// The last two different callers with a success: the caller, and the second of the success.
    well: [AtomicU64; 2],
}

impl CallerStreak {
    /// A request of `caller` succeeded.
    pub(super) fn succeeded(&self, caller: u32, now: Moment) {
        if self.failing.load(Relaxed) != 0 {
            self.failing.store(0, Relaxed);
        }
        let [last, before] = &self.well;
        let (known, entry) = (last.load(Relaxed), pack(caller, now));
        if known == entry {
            return;
        }
        if caller_of(known) != caller {
            before.store(known, Relaxed);
        }
        last.store(entry, Relaxed);
    }

    /// A request of `caller` failed. Whether the failures in a row are its alone, while another caller's
    /// request succeeded within `window`.
    pub(super) fn fails_alone(&self, caller: u32, now: Moment, window: Duration) -> bool {
        match self.failing.load(Relaxed) {
            _ if caller == 0 => return false,
            0 => self.failing.store(caller, Relaxed),
            failing if failing != caller => {
                self.failing.store(SEVERAL, Relaxed);
                return false;
            }
            _ => {}
        }
        let is_another = |entry: u64| {
            let since = u64::from(pack_seconds(now)).saturating_sub(entry & u64::from(u32::MAX));
            !matches!(caller_of(entry), 0) && caller_of(entry) != caller && since <= window.as_secs()
        };
        self.well.iter().any(|entry| is_another(entry.load(Relaxed)))
    }
}

fn pack(caller: u32, now: Moment) -> u64 {
    u64::from(caller) << 32 | u64::from(pack_seconds(now))
}

fn pack_seconds(now: Moment) -> u32 {
    u32::try_from(now.0 / 1_000_000).unwrap_or(u32::MAX)
}

fn caller_of(entry: u64) -> u32 {
    u32::try_from(entry >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_000_000_000);
    const WINDOW: Duration = Duration::from_secs(30);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_of_several_callers_fails_alone() {
        let streak = CallerStreak::default();
        streak.succeeded(7, NOW);
        // Its own success in between changes nothing.
        streak.succeeded(8, NOW + SECOND);
        for number in 0..9 {
            assert!(streak.fails_alone(8, NOW + SECOND, WINDOW), "{number}");
        }
        assert!(!streak.fails_alone(7, NOW + SECOND, WINDOW), "now both fail");
        assert!(!streak.fails_alone(8, NOW + SECOND, WINDOW));
        streak.succeeded(7, NOW + 2 * SECOND);
        assert!(streak.fails_alone(8, NOW + 3 * SECOND, WINDOW));
    }

    #[test]
    fn a_single_caller_or_an_old_success_proves_nothing() {
        let streak = CallerStreak::default();
        assert!(!streak.fails_alone(7, NOW, WINDOW));
        streak.succeeded(7, NOW);
        assert!(!streak.fails_alone(7, NOW, WINDOW), "it is alone");
        streak.succeeded(8, NOW);
        assert!(!streak.fails_alone(7, NOW + WINDOW + 2 * SECOND, WINDOW), "long ago");
        assert!(!streak.fails_alone(0, NOW, WINDOW), "unknown");
    }
}
