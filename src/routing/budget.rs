//! Limits over all workers: races at once, hedges, failovers, repeats in flight. They keep a failing provider
//! from multiplying the load on the others. A permit returns when it is dropped. Atomics only; a budget never
//! goes below zero.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::settings::{BudgetSettings, RaceSettings, RetrySettings};
use crate::base::{Gauge, GaugeGuard};

/// A budget counts in millionths of an attempt.
const UNITS_PER_CALL: f64 = 1e6;
/// The initial value of a budget that begins full; its limit is known only when it is first used.
const INITIALLY_FULL: u64 = u64::MAX;

#[derive(Debug)]
pub struct Budgets {
    races: Gauge,
    repeats: Gauge,
    /// Begins empty.
    pub hedges: TokenBudget,
    /// Begins full, because the very first request may need a failover.
    pub failovers: TokenBudget,
}

/// A budget of extra attempts: each request deposits a share of one, each extra attempt takes one. In
/// millionths.
#[derive(Debug, Default)]
pub struct TokenBudget(AtomicU64);

impl Default for Budgets {
    fn default() -> Self {
        let (races, repeats) = Default::default();
        Self { races, repeats, hedges: TokenBudget::default(), failovers: TokenBudget::initially_full() }
    }
}

impl Budgets {
    /// A permit for a race (S3.11). `None`: the limit of concurrent races is reached.
    #[must_use]
    pub fn race(&self, settings: &RaceSettings) -> Option<GaugeGuard> {
        self.races.hold_below(settings.max_races)
    }

    /// A permit for a repeat at a candidate with `in_flight` requests. `None`: the limit is reached.
    #[must_use]
    pub fn repeat(&self, settings: &RetrySettings, in_flight: usize) -> Option<GaugeGuard> {
        self.repeats.hold_below(repeat_limit(settings, in_flight))
    }

    /// Whether [`Budgets::repeat`] would return a permit now.
    #[must_use]
    pub fn may_repeat(&self, settings: &RetrySettings, in_flight: usize) -> bool {
        self.repeats.read() < repeat_limit(settings, in_flight)
    }

    /// Races in progress.
    #[must_use]
    pub fn races(&self) -> usize {
        self.races.read()
    }

    /// Repeats in progress.
    #[must_use]
    pub fn repeats(&self) -> usize {
        self.repeats.read()
    }
}

impl TokenBudget {
    const fn initially_full() -> Self {
        Self(AtomicU64::new(INITIALLY_FULL))
    }

    /// A request that may need an extra attempt deposits its share. The budget holds up to `burst` plus
    /// `in_flight` attempts. A full budget is not written to.
    pub fn deposit(&self, settings: BudgetSettings, in_flight: usize) {
        let (deposit, limit) = ((settings.share * UNITS_PER_CALL) as u64, settings.limit(in_flight));
        // The first deposit fixes the amount of an initially full budget.
        let deposited = |balance: u64| match balance {
            INITIALLY_FULL => Some(limit),
            _ => (balance < limit).then(|| (balance + deposit).min(limit)),
        };
        let _ = self.0.fetch_update(Relaxed, Relaxed, deposited);
    }

    /// Takes one extra attempt. `false`: the budget holds less than one.
    #[must_use]
    pub fn withdraw(&self, settings: BudgetSettings, in_flight: usize) -> bool {
        let withdrawn = |balance: u64| {
            // The budget is not cut to this caller's limit, because other callers may have more in flight.
            let balance = if balance == INITIALLY_FULL { settings.limit(in_flight) } else { balance };
            balance.checked_sub(UNITS_PER_CALL as u64)
        };
        self.0.fetch_update(Relaxed, Relaxed, withdrawn).is_ok()
    }
}

impl BudgetSettings {
    fn limit(self, in_flight: usize) -> u64 {
        ((f64::from(self.burst) + in_flight as f64) * UNITS_PER_CALL) as u64
    }
}

fn repeat_limit(settings: &RetrySettings, in_flight: usize) -> usize {
    let share = (in_flight as f64 * settings.share) as usize;
    share.max(settings.min_repeats as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn races_are_capped_and_given_back() {
        let (budgets, settings) =
            (Budgets::default(), RaceSettings { max_races: 2, ..RaceSettings::default() });
        let balance = (budgets.race(&settings), budgets.race(&settings), budgets.race(&settings));
        assert!(balance.0.is_some() && balance.1.is_some() && balance.2.is_none());
        drop(balance);
        assert_eq!(budgets.races(), 0);
    }

    #[test]
    fn hedges_are_saved_up_to_a_burst() {
        let (budget, settings) = (TokenBudget::default(), BudgetSettings { share: 0.25, burst: 2 });
        for _ in 0..3 {
            budget.deposit(settings, 0);
        }
        assert!(!budget.withdraw(settings, 0));
        for _ in 0..100 {
            budget.deposit(settings, 0);
        }
        assert!(
            budget.withdraw(settings, 0) && budget.withdraw(settings, 0) && !budget.withdraw(settings, 0)
        );
    }

    #[test]
    fn a_full_purse_has_its_burst_and_no_more() {
        let (budget, settings) = (TokenBudget::initially_full(), BudgetSettings { share: 0.5, burst: 2 });
        budget.deposit(settings, 0);
        assert!(
            budget.withdraw(settings, 0) && budget.withdraw(settings, 0) && !budget.withdraw(settings, 0)
        );
        budget.deposit(settings, 0);
        assert!(!budget.withdraw(settings, 0));
        budget.deposit(settings, 0);
        assert!(budget.withdraw(settings, 0));
        for _ in 0..100 {
            budget.deposit(settings, 3);
        }
        assert!(budget.withdraw(settings, 0), "by the request with fewer in flight");
        assert_eq!(
            (0..9).filter(|_| budget.withdraw(settings, 3)).count(),
            4,
            "and one for each that is live"
        );
    }

    #[test]
    fn repeats_are_a_share_of_what_is_under_way() {
        let (budgets, settings) =
            (Budgets::default(), RetrySettings { share: 0.2, min_repeats: 1, ..RetrySettings::default() });
        let one = budgets.repeat(&settings, 5);
        assert!(one.is_some() && budgets.repeat(&settings, 5).is_none());
        let two = budgets.repeat(&settings, 10);
        assert!(two.is_some() && budgets.repeat(&settings, 10).is_none());
    }
}
