//! What is rationed over all workers: races at once, second calls by hedging, repeats under way. Permits are given back
//! by being dropped.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use super::settings::{HedgeSettings, RaceSettings, RetrySettings};

/// A thousandth of a second call is the smallest coin.
const COIN: f64 = 1000.0;

#[derive(Debug, Default)]
pub struct Budgets {
    races: Arc<AtomicUsize>,
    repeats: Arc<AtomicUsize>,
    /// In thousandths.
    hedges: AtomicU64,
}

/// One of a limited number, until dropped.
#[derive(Debug)]
pub struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Budgets {
    /// S3.11. `None`: as many races as there may be are under way.
    #[must_use]
    pub fn race(&self, settings: &RaceSettings) -> Option<Permit> {
        take(&self.races, settings.max_races)
    }

    /// A repeat, when so many requests are under way at the candidate.
    #[must_use]
    pub fn repeat(&self, settings: &RetrySettings, under_way: usize) -> Option<Permit> {
        let share = (under_way as f64 * settings.share) as usize;
        take(&self.repeats, share.max(settings.least as usize))
    }

    /// A request that may hedge pays in.
    pub fn save(&self, settings: &HedgeSettings) {
        let (coin, most) = ((settings.share * COIN) as u64, (f64::from(settings.burst) * COIN) as u64);
        let saved = |held: u64| (held < most).then_some((held + coin).min(most));
        let _ = self.hedges.fetch_update(Relaxed, Relaxed, saved);
    }

    /// A hedge takes out; `false`: there is not enough for one.
    #[must_use]
    pub fn spend(&self) -> bool {
        let spent = self.hedges.fetch_update(Relaxed, Relaxed, |held| held.checked_sub(COIN as u64));
        spent.is_ok()
    }

    /// Races under way.
    #[must_use]
    pub fn races(&self) -> usize {
        self.races.load(Relaxed)
    }

    /// Repeats under way.
    #[must_use]
    pub fn repeats(&self) -> usize {
        self.repeats.load(Relaxed)
    }
}

fn take(counter: &Arc<AtomicUsize>, most: usize) -> Option<Permit> {
    let more = |held| (held < most).then_some(held + 1);
    counter.fetch_update(Relaxed, Relaxed, more).ok().map(|_| Permit(Arc::clone(counter)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn races_are_capped_and_given_back() {
        let (budgets, settings) =
            (Budgets::default(), RaceSettings { max_races: 2, ..RaceSettings::default() });
        let held = (budgets.race(&settings), budgets.race(&settings), budgets.race(&settings));
        assert!(held.0.is_some() && held.1.is_some() && held.2.is_none());
        drop(held);
        assert_eq!(budgets.races(), 0);
    }

    #[test]
    fn hedges_are_saved_up_to_a_burst() {
        let (budgets, settings) = (Budgets::default(), HedgeSettings { share: 0.25, burst: 2 });
        for _ in 0..3 {
            budgets.save(&settings);
        }
        assert!(!budgets.spend());
        for _ in 0..100 {
            budgets.save(&settings);
        }
        assert!(budgets.spend() && budgets.spend() && !budgets.spend());
    }

    #[test]
    fn repeats_are_a_share_of_what_is_under_way() {
        let (budgets, settings) =
            (Budgets::default(), RetrySettings { share: 0.2, least: 1, ..RetrySettings::default() });
        let one = budgets.repeat(&settings, 5);
        assert!(one.is_some() && budgets.repeat(&settings, 5).is_none());
        let two = budgets.repeat(&settings, 10);
        assert!(two.is_some() && budgets.repeat(&settings, 10).is_none());
    }
}
