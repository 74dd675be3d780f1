//! The use of one key's limits. A [`LimitMeter`] counts it. A [`Lease`] is one request's share by estimate;
//! it is settled once with the real use, or dropped, which gives all of it back. The budget is settled last,
//! when the price is known: a settled lease leaves a [`PendingCharge`] for it.
//!
//! Invariants: a lease gives back no more than it took; a reservation is granted as a whole or keeps nothing;
//! only atomics, no lock.

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

/// The limits of a key. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitValues {
    /// Requests per minute.
    pub requests: Option<u32>,
    /// Tokens per minute, input and output together.
    pub tokens: Option<u32>,
    /// Requests at once.
    pub concurrent: Option<u32>,
    /// Millionths of the currency, in all.
    pub budget: Option<i64>,
}

/// The estimated use of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    /// Tokens of the prompt; never cut.
    pub prompt: u32,
    /// Tokens that the answer may have; cut to the most that the limit can ever grant.
    pub answer: u32,
    /// Millionths of the currency; 0 when the price is not known. Cut to the rest of the budget.
    pub cost: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Requests,
    Tokens,
    Concurrent,
    Budget,
}

/// The limit that a reservation exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    pub limit: Limit,
    /// When to try again; `None`: time does not help.
    pub after: Option<Duration>,
}

/// The use of one key. Shared by all requests that show the key; outlives a reload.
#[derive(Debug, Default)]
pub struct LimitMeter {
    pub requests: RateWindow,
    pub tokens: RateWindow,
    running: AtomicU32,
    spending: Spending,
}

/// Millionths of the currency.
#[derive(Debug, Default)]
struct Spending {
    /// Spent in all, as the store last reported.
    saved: AtomicI64,
    /// Spent here and not reported to the store.
    unsaved: AtomicI64,
    /// Set aside for requests under way.
    aside: AtomicI64,
}

/// One request's share. Dropping it gives all of it back, the request itself included.
#[derive(Debug)]
#[must_use]
pub struct Lease {
    meter: Arc<LimitMeter>,
    granted: Granted,
    /// When it was taken, in the meter's time.
    at: Duration,
}

#[derive(Debug, Default)]
struct Granted {
    running: bool,
    request: Option<Taken>,
    tokens: Option<Taken>,
    /// Set aside from the budget. `None`: there is no budget.
    cost: Option<i64>,
}

/// The rest of a lease whose tokens are settled: its cost. Dropping it charges nothing.
#[derive(Debug)]
#[must_use]
pub struct PendingCharge {
    meter: Arc<LimitMeter>,
    aside: i64,
}

impl LimitMeter {
    /// Grants the whole reservation or nothing. `now` counts from the same moment for all calls.
    ///
    /// # Errors
    /// The first limit that is exceeded.
    pub fn lease(
        self: &Arc<Self>,
        limits: &LimitValues,
        reservation: &Reservation,
        now: Duration,
    ) -> Result<Lease, Exceeded> {
        let mut lease = Lease { meter: Arc::clone(self), granted: Granted::default(), at: now };
        // Parts that were granted before a refusal are given back by the drop.
        lease.grant(limits, reservation, now).map(|()| lease)
    }

    /// Requests under way.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.running.load(Relaxed)
    }

    /// Millionths spent, as far as is known here.
    #[must_use]
    pub fn spent(&self) -> i64 {
        self.spending.saved.load(Relaxed).saturating_add(self.spending.unsaved.load(Relaxed))
    }

    /// Millionths that have not been reported to the store.
    #[must_use]
    pub fn unsaved(&self) -> i64 {
        self.spending.unsaved.load(Relaxed)
    }

    /// `reported` of the unsaved sum is in the store now, which has `spent` in all. The sum counts twice for
    /// a moment rather than not at all.
    pub fn note_saved(&self, reported: i64, spent: i64) {
        self.spending.saved.store(spent, Relaxed);
        self.spending.unsaved.fetch_sub(reported, AcqRel);
    }

    /// Sets aside `cost`, or the rest of the budget if that is less; gives the sum set aside. `None`: nothing
    /// is left.
    fn set_aside(&self, cost: i64, budget: i64) -> Option<i64> {
        let Spending { saved, unsaved, aside } = &self.spending;
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
    fn grant(
        &mut self,
        limits: &LimitValues,
        reservation: &Reservation,
        now: Duration,
    ) -> Result<(), Exceeded> {
        let Self { meter, granted, .. } = self;
        if let Some(budget) = limits.budget {
            let aside = meter.set_aside(reservation.cost, budget);
            granted.cost = Some(aside.ok_or(Exceeded { limit: Limit::Budget, after: None })?);
        }
        if let Some(limit) = limits.concurrent {
            let fits = |running: u32| (running < limit).then_some(running + 1);
            if meter.running.fetch_update(AcqRel, Relaxed, fits).is_err() {
                return Err(Exceeded { limit: Limit::Concurrent, after: Some(Duration::from_secs(1)) });
            }
            granted.running = true;
        }
        if let Some(limit) = limits.requests {
            granted.request = Some(meter.requests.take(limit, 1, now).ok_or_else(|| Exceeded {
                limit: Limit::Requests,
                after: meter.requests.until(limit, 1, now),
            })?);
        }
        if let Some(limit) = limits.tokens {
            let amount =
                reservation.prompt.saturating_add(reservation.answer).min(limit.max(reservation.prompt));
            granted.tokens = Some(meter.tokens.take(limit, amount, now).ok_or_else(|| Exceeded {
                limit: Limit::Tokens,
                after: meter.tokens.until(limit, amount, now),
            })?);
        }
        Ok(())
    }

    /// The request has ended after `elapsed` and used `tokens`: unused ones are given back to the second they
    /// were taken in, further ones are counted now. It counts as a request whatever it used. `None`: there is
    /// no budget to charge.
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
        let charge = granted.cost.take().map(|aside| PendingCharge { meter: Arc::clone(&self.meter), aside });
        self.granted = granted;
        charge
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
            self.meter.spending.aside.fetch_sub(cost, AcqRel);
        }
    }
}

impl PendingCharge {
    /// Charges the real cost, in millionths.
    pub fn pay(self, cost: i64) {
        // A sum that wrapped would be a budget that is never spent.
        let add = |unsaved: i64| Some(unsaved.saturating_add(cost.max(0)));
        let _ = self.meter.spending.unsaved.fetch_update(AcqRel, Relaxed, add);
    }
}

impl Drop for PendingCharge {
    fn drop(&mut self) {
        self.meter.spending.aside.fetch_sub(self.aside, AcqRel);
    }
}

#[cfg(test)]
mod tests;
