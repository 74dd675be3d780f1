//! The use of one key's limits. A [`LimitMeter`] counts it. A [`Lease`] is one request's share by estimate;
//! it is settled once with the real use, or dropped, which gives all of it back.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Requests to providers, one at least; cut to the most that the limit can ever grant.
    pub requests: u32,
    /// Tokens of the prompt; never cut.
    pub prompt: u32,
    /// Tokens that the answer may have, and of the prompts of further requests; cut to the most that the
    /// limit can ever grant.
    pub answer: u32,
    /// Millionths of the currency; 0 when the price is not known. Cut to the rest of the budget.
    pub cost: i64,
}

impl Default for Reservation {
    fn default() -> Self {
        Self { requests: 1, prompt: 0, answer: 0, cost: 0 }
    }
}

/// The real use of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Input and output.
    pub tokens: u64,
    /// Millionths of the currency.
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
    /// Requests beyond the first.
    further: Option<Taken>,
    tokens: Option<Taken>,
    /// Set aside from the budget. `None`: there is no budget.
    cost: Option<i64>,
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

    /// Grants what does not depend on the request's size: a place among the requests at once, and one of the
    /// requests per minute. [`Lease::extend`] grants the rest.
    ///
    /// # Errors
    /// The first limit that is exceeded; a spent budget is.
    pub fn enter(self: &Arc<Self>, limits: &LimitValues, now: Duration) -> Result<Lease, Exceeded> {
        if limits.budget.is_some_and(|budget| self.spent() >= budget) {
            return Err(Exceeded { limit: Limit::Budget, after: None });
        }
        let mut lease = Lease { meter: Arc::clone(self), granted: Granted::default(), at: now };
        lease.enter(limits, now).map(|()| lease)
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

    /// Sets aside `cost`, or the rest of the budget if that is less; gives the sum set aside.
    fn set_aside(&self, cost: i64, budget: i64) -> Result<i64, Exceeded> {
        let aside = &self.spending.aside;
        let part = |aside: i64| {
            let left = budget.saturating_sub(self.spent().saturating_add(aside));
            (left > 0).then(|| cost.clamp(0, left))
        };
        let mut granted = 0;
        let update = |aside: i64| {
            granted = part(aside)?;
            Some(aside.saturating_add(granted))
        };
        match aside.fetch_update(AcqRel, Relaxed, update) {
            Ok(_) => Ok(granted),
            // Requests under way give back all that they do not use.
            Err(_) => Err(Exceeded {
                limit: Limit::Budget,
                after: (self.spent() < budget).then_some(Duration::from_secs(1)),
            }),
        }
    }
}

impl Lease {
    /// Grants the whole reservation beyond what is granted already, or gives all of it back.
    ///
    /// # Errors
    /// The first limit that is exceeded.
    pub fn extend(
        mut self,
        limits: &LimitValues,
        reservation: &Reservation,
        now: Duration,
    ) -> Result<Self, Exceeded> {
        self.grant(limits, reservation, now).map(|()| self)
    }

    fn enter(&mut self, limits: &LimitValues, now: Duration) -> Result<(), Exceeded> {
        let Self { meter, granted, .. } = self;
        if let Some(limit) = limits.concurrent.filter(|_| !granted.running) {
            let fits = |running: u32| (running < limit).then_some(running + 1);
            if meter.running.fetch_update(AcqRel, Relaxed, fits).is_err() {
                return Err(Exceeded { limit: Limit::Concurrent, after: Some(Duration::from_secs(1)) });
            }
            granted.running = true;
        }
        if let Some(limit) = limits.requests.filter(|_| granted.request.is_none()) {
            granted.request = Some(take_requests(&meter.requests, limit, 1, now)?);
        }
        Ok(())
    }

    fn grant(
        &mut self,
        limits: &LimitValues,
        reservation: &Reservation,
        now: Duration,
    ) -> Result<(), Exceeded> {
        if let Some(budget) = limits.budget {
            self.granted.cost = Some(self.meter.set_aside(reservation.cost, budget)?);
        }
        self.enter(limits, now)?;
        let Self { meter, granted, .. } = self;
        if let Some(limit) = limits.requests {
            let beyond = reservation.requests.min(limit).saturating_sub(1);
            if beyond > 0 {
                granted.further = Some(take_requests(&meter.requests, limit, beyond, now)?);
            }
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

    /// The request has ended after `elapsed`: tokens that it has not used are given back to the second they
    /// were taken in, further ones are counted now; its cost is charged, and the rest of the sum set aside
    /// given back. It counts as a request whatever it used.
    pub fn settle(mut self, used: Use, elapsed: Duration) {
        (self.granted.request, self.granted.further) = (None, None);
        if self.granted.cost.is_some() {
            // A sum that wrapped would be a budget that is never spent.
            let add = |unsaved: i64| Some(unsaved.saturating_add(used.cost.max(0)));
            let _ = self.meter.spending.unsaved.fetch_update(AcqRel, Relaxed, add);
        }
        if let Some(taken) = self.granted.tokens.take() {
            let used = u32::try_from(used.tokens).unwrap_or(u32::MAX);
            match used.checked_sub(taken.amount) {
                Some(0) => {}
                Some(beyond) => self.meter.tokens.add(beyond, self.at + elapsed),
                None => self.meter.tokens.give_back(taken, taken.amount - used),
            }
        }
    }
}

fn take_requests(window: &RateWindow, limit: u32, amount: u32, now: Duration) -> Result<Taken, Exceeded> {
    let exceeded = || Exceeded { limit: Limit::Requests, after: window.until(limit, amount, now) };
    window.take(limit, amount, now).ok_or_else(exceeded)
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Granted { running, request, further, tokens, cost } = std::mem::take(&mut self.granted);
        if running {
            self.meter.running.fetch_sub(1, AcqRel);
        }
        let Self { meter, .. } = self;
        for (window, taken) in
            [(&meter.requests, request), (&meter.requests, further), (&meter.tokens, tokens)]
        {
            if let Some(taken) = taken {
                window.give_back(taken, taken.amount);
            }
        }
        if let Some(cost) = cost {
            self.meter.spending.aside.fetch_sub(cost, AcqRel);
        }
    }
}

#[cfg(test)]
mod tests;
