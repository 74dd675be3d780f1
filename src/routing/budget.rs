//! What is rationed over all workers: races at once, second calls by hedging, failovers, repeats under way. Permits are
//! given back by being dropped.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use super::settings::{RaceSettings, Ration, RetrySettings};

/// A millionth of a call is the smallest coin.
const COIN: f64 = 1e6;
/// In a purse: as much as it may hold.
const FULL: u64 = u64::MAX;

#[derive(Debug)]
pub struct Budgets {
    races: Arc<AtomicUsize>,
    repeats: Arc<AtomicUsize>,
    /// Empty at first.
    pub hedges: TokenBudget,
    /// Full at first: the first of all requests may need one.
    pub failovers: TokenBudget,
}

/// What requests pay in for further calls, in millionths of a call.
#[derive(Debug, Default)]
pub struct TokenBudget(AtomicU64);

/// One of a limited number, until dropped.
#[derive(Debug)]
pub struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Default for Budgets {
    fn default() -> Self {
        let (races, repeats) = Default::default();
        Self { races, repeats, hedges: TokenBudget::default(), failovers: TokenBudget::full() }
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
        take(&self.repeats, repeats(settings, under_way))
    }

    /// Whether [`Budgets::repeat`] would give one now.
    #[must_use]
    pub fn may_repeat(&self, settings: &RetrySettings, under_way: usize) -> bool {
        self.repeats.load(Relaxed) < repeats(settings, under_way)
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

impl TokenBudget {
    const fn full() -> Self {
        Self(AtomicU64::new(FULL))
    }

    /// A request that may need a further call pays in; `live`: so many calls more than the ration's burst may be saved up.
    /// A full purse is not written to.
    pub fn save(&self, ration: Ration, live: usize) {
        let (coin, most) = ((ration.share * COIN) as u64, ration.most(live));
        // At first it is full, however much that is.
        let saved = |held: u64| match held {
            FULL => Some(most),
            _ => (held < most).then(|| (held + coin).min(most)),
        };
        let _ = self.0.fetch_update(Relaxed, Relaxed, saved);
    }

    /// A further call takes out; `false`: there is not enough for one.
    #[must_use]
    pub fn spend(&self, ration: Ration, live: usize) -> bool {
        let spent = |held: u64| {
            // What others have saved, who may have more under way, is not taken from them.
            let held = if held == FULL { ration.most(live) } else { held };
            held.checked_sub(COIN as u64)
        };
        self.0.fetch_update(Relaxed, Relaxed, spent).is_ok()
    }
}

impl Ration {
    fn most(self, live: usize) -> u64 {
        ((f64::from(self.burst) + live as f64) * COIN) as u64
    }
}

fn repeats(settings: &RetrySettings, under_way: usize) -> usize {
    let share = (under_way as f64 * settings.share) as usize;
    share.max(settings.least as usize)
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
        let (purse, ration) = (TokenBudget::default(), Ration { share: 0.25, burst: 2 });
        for _ in 0..3 {
            purse.save(ration, 0);
        }
        assert!(!purse.spend(ration, 0));
        for _ in 0..100 {
            purse.save(ration, 0);
        }
        assert!(purse.spend(ration, 0) && purse.spend(ration, 0) && !purse.spend(ration, 0));
    }

    #[test]
    fn a_full_purse_has_its_burst_and_no_more() {
        let (purse, ration) = (TokenBudget::full(), Ration { share: 0.5, burst: 2 });
        purse.save(ration, 0);
        assert!(purse.spend(ration, 0) && purse.spend(ration, 0) && !purse.spend(ration, 0));
        purse.save(ration, 0);
        assert!(!purse.spend(ration, 0));
        purse.save(ration, 0);
        assert!(purse.spend(ration, 0));
        for _ in 0..100 {
            purse.save(ration, 3);
        }
        assert!(purse.spend(ration, 0), "by whoever has less under way");
        assert_eq!((0..9).filter(|_| purse.spend(ration, 3)).count(), 4, "and one for each that is live");
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
