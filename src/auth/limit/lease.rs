//! What one key has taken of what it may take, and the duty to settle it. A [`LimitMeter`] counts; a [`Lease`] is what one
//! request was given by estimate, and is settled once with what it really used, or dropped, and then all of it is given
//! back. A key's budget is settled last, when the price is known: that is the [`PendingCharge`] which a settled lease leaves.
//!
//! Invariants: a lease gives back no more than it took; all of an ask is granted or nothing of it is kept; only atomics.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicI64, AtomicU32,
            Ordering::{AcqRel, Relaxed},
        },
    },
    time::Duration,
};

use super::window::{RateWindow, Taken};

/// What may be taken. `None`: as much as one likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitValues {
    /// In a minute.
    pub requests: Option<u32>,
    /// In a minute, input and output together.
    pub tokens: Option<u32>,
    /// Requests at once.
    pub concurrent: Option<u32>,
    /// Millionths of the currency, in all.
    pub budget: Option<i64>,
}

/// What one request is thought to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    /// Tokens that cannot be done without: the prompt's.
    pub prompt: u32,
    /// Tokens that the answer may have; cut to what the limit can ever grant.
    pub answer: u32,
    /// Millionths of the currency; 0 when the price is not known. Cut to what is left of the budget.
    pub cost: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Requests,
    Tokens,
    Concurrent,
    Budget,
}

/// Which limit stood in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    pub limit: Limit,
    /// When to try again; `None`: time does not help.
    pub after: Option<Duration>,
}

/// What one key has taken. Shared by all that present it; outlives a reload.
#[derive(Debug, Default)]
pub struct LimitMeter {
    pub requests: RateWindow,
    pub tokens: RateWindow,
    running: AtomicU32,
    purse: Spending,
}

/// Millionths of the currency.
#[derive(Debug, Default)]
struct Spending {
    /// What the store says was spent.
    saved: AtomicI64,
    /// What was spent here and the store has not heard of.
    unsaved: AtomicI64,
    /// What is set aside for requests under way.
    aside: AtomicI64,
}

/// What one request was given. Dropping it gives all of it back, the request itself included.
#[derive(Debug)]
#[must_use]
pub struct Lease {
    meter: Arc<LimitMeter>,
    granted: Granted,
    /// When it was taken, as the meter counts time.
    at: Duration,
}

#[derive(Debug, Default)]
struct Granted {
    running: bool,
    request: Option<Taken>,
    tokens: Option<Taken>,
    /// There is a budget, and this much of it was set aside.
    cost: Option<i64>,
}

/// What remains of a lease when its tokens are settled: the money. Dropping it costs nothing.
#[derive(Debug)]
#[must_use]
pub struct PendingCharge {
    meter: Arc<LimitMeter>,
    aside: i64,
}

impl LimitMeter {
    /// Grants all of `ask` or nothing of it. `now` counts from the same moment for all calls.
    ///
    /// # Errors
    /// The first limit that stood in the way.
    pub fn lease(
        self: &Arc<Self>,
        may: &LimitValues,
        ask: &Reservation,
        now: Duration,
    ) -> Result<Lease, Exceeded> {
        let mut lease = Lease { meter: Arc::clone(self), granted: Granted::default(), at: now };
        // What was granted before a refusal is given back by the drop.
        lease.grant(may, ask, now).map(|()| lease)
    }

    /// Requests under way.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.running.load(Relaxed)
    }

    /// Millionths spent, as far as is known here.
    #[must_use]
    pub fn spent(&self) -> i64 {
        self.purse.saved.load(Relaxed).saturating_add(self.purse.unsaved.load(Relaxed))
    }

    /// What the store has not heard of yet.
    #[must_use]
    pub fn unsaved(&self) -> i64 {
        self.purse.unsaved.load(Relaxed)
    }

    /// The store has been told `told` of what was unsaved, and says that `spent` was spent in all. Spent counts twice for
    /// a moment rather than not at all.
    pub fn note_saved(&self, told: i64, spent: i64) {
        self.purse.saved.store(spent, Relaxed);
        self.purse.unsaved.fetch_sub(told, AcqRel);
    }

    /// Sets aside `cost`, or what is left of the budget if that is less; how much it was. `None`: nothing is left.
    fn set_aside(&self, cost: i64, budget: i64) -> Option<i64> {
        let Spending { saved, unsaved, aside } = &self.purse;
        let part = |aside: i64| {
            let spent = saved.load(Relaxed).saturating_add(unsaved.load(Relaxed));
            let left = budget.saturating_sub(spent.saturating_add(aside));
            (left > 0).then(|| cost.clamp(0, left))
        };
        let mut granted = 0;
        let update = |aside: i64| {
            granted = part(aside)?;
            Some(aside.saturating_add(granted))
        };
        aside.fetch_update(AcqRel, Relaxed, update).ok()?;
        Some(granted)
    }
}

impl Lease {
    fn grant(&mut self, may: &LimitValues, ask: &Reservation, now: Duration) -> Result<(), Exceeded> {
        let Self { meter, granted, .. } = self;
        if let Some(budget) = may.budget {
            let aside = meter.set_aside(ask.cost, budget);
            granted.cost = Some(aside.ok_or(Exceeded { limit: Limit::Budget, after: None })?);
        }
        if let Some(limit) = may.concurrent {
            let fits = |running: u32| (running < limit).then_some(running + 1);
            if meter.running.fetch_update(AcqRel, Relaxed, fits).is_err() {
                return Err(Exceeded { limit: Limit::Concurrent, after: Some(Duration::from_secs(1)) });
            }
            granted.running = true;
        }
        if let Some(limit) = may.requests {
            granted.request = Some(meter.requests.take(limit, 1, now).ok_or_else(|| Exceeded {
                limit: Limit::Requests,
                after: meter.requests.until(limit, 1, now),
            })?);
        }
        if let Some(limit) = may.tokens {
            let amount = ask.prompt.saturating_add(ask.answer).min(limit.max(ask.prompt));
            granted.tokens = Some(meter.tokens.take(limit, amount, now).ok_or_else(|| Exceeded {
                limit: Limit::Tokens,
                after: meter.tokens.until(limit, amount, now),
            })?);
        }
        Ok(())
    }

    /// The request has ended after `elapsed` and used so many tokens: what it did not use is given back to when it was
    /// taken, what it used beyond is counted now. It counts as a request whatever it used. `None`: nothing to be paid.
    #[must_use]
    pub fn settle(mut self, tokens: u64, elapsed: Duration) -> Option<PendingCharge> {
        let mut granted = std::mem::take(&mut self.granted);
        granted.request = None;
        if let Some(taken) = granted.tokens.take() {
            let used = u32::try_from(tokens).unwrap_or(u32::MAX);
            match used.checked_sub(taken.amount) {
                Some(0) => {}
                Some(beyond) => self.meter.tokens.add(beyond, self.at + elapsed),
                None => self.meter.tokens.give_back(taken, taken.amount - used),
            }
        }
        let bill = granted.cost.take().map(|aside| PendingCharge { meter: Arc::clone(&self.meter), aside });
        self.granted = granted;
        bill
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Granted { running, request, tokens, cost } = std::mem::take(&mut self.granted);
        if running {
            self.meter.running.fetch_sub(1, AcqRel);
        }
        for (window, taken) in [(&self.meter.requests, request), (&self.meter.tokens, tokens)] {
            if let Some(taken) = taken {
                window.give_back(taken, taken.amount);
            }
        }
        if let Some(cost) = cost {
            self.meter.purse.aside.fetch_sub(cost, AcqRel);
        }
    }
}

impl PendingCharge {
    /// What it really cost, in millionths.
    pub fn pay(self, cost: i64) {
        // A sum that wrapped would be a budget that is never spent.
        let add = |unsaved: i64| Some(unsaved.saturating_add(cost.max(0)));
        let _ = self.meter.purse.unsaved.fetch_update(AcqRel, Relaxed, add);
    }
}

impl Drop for PendingCharge {
    fn drop(&mut self) {
        self.meter.purse.aside.fetch_sub(self.aside, AcqRel);
    }
}

#[cfg(test)]
mod tests;
