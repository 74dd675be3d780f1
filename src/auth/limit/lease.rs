//! The use of one key's limits. A [`LimitMeter`] counts it. A [`Lease`] is one request's share by estimate;
//! it is settled once with the real use, or dropped, which gives all of it back.
//!
//! Invariants: a lease gives back no more than it took; a reservation is granted as a whole or keeps nothing;
//! only atomics, no lock.

use std::{
    sync::{
        Arc,
        atomic::Ordering::{AcqRel, Relaxed},
    },
    time::Duration,
};

use super::{
    alone::LimitBasis,
    meter::LimitMeter,
    values::{Exceeded, Limit, LimitValues, Reservation, Use},
    window::Taken,
};

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
        let (basis, now) = (self.basis(), self.clock(now));
        let mut lease = Lease { meter: Arc::clone(self), granted: Granted::default(), at: now };
        // Parts that were granted before a refusal are given back by the drop.
        lease.grant(limits, reservation, now, basis).map(|()| lease)
    }

    /// Grants what does not depend on the request's size: a place among the requests at once, and one of the
    /// requests per minute. [`Lease::extend`] grants the rest.
    ///
    /// # Errors
    /// The first limit that is exceeded; a spent budget is.
    pub fn enter(self: &Arc<Self>, limits: &LimitValues, now: Duration) -> Result<Lease, Exceeded> {
        self.enter_on(limits, now, self.basis())
    }

    pub(super) fn enter_on(
        self: &Arc<Self>,
        limits: &LimitValues,
        now: Duration,
        basis: LimitBasis,
    ) -> Result<Lease, Exceeded> {
        let mut lease = self.empty_lease();
        lease.enter_on(limits, now, basis).map(|()| lease)
    }

    /// A lease that nothing is granted to yet.
    pub(super) fn empty_lease(self: &Arc<Self>) -> Lease {
        Lease { meter: Arc::clone(self), granted: Granted::default(), at: Duration::ZERO }
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
        self.extend_on(limits, reservation, now, self.meter.basis()).map(|()| self)
    }

    /// As [`LimitMeter::enter`]; keeps what was granted, so that it can be tried again.
    pub(super) fn enter_on(
        &mut self,
        limits: &LimitValues,
        now: Duration,
        basis: LimitBasis,
    ) -> Result<(), Exceeded> {
        if limits.budget.is_some_and(|budget| self.meter.spent() >= budget) {
            return Err(Exceeded { limit: Limit::Budget, after: None, amount: 0 });
        }
        self.at = self.meter.clock(now);
        self.enter(limits, self.at, basis)
    }

    /// As [`Self::extend`]; keeps what was granted, so that it can be tried again.
    pub(super) fn extend_on(
        &mut self,
        limits: &LimitValues,
        reservation: &Reservation,
        now: Duration,
        basis: LimitBasis,
    ) -> Result<(), Exceeded> {
        let now = self.meter.clock(now);
        self.grant(limits, reservation, now, basis)
    }

    /// The amounts by limit that are not granted yet: of a whole reservation, or of the entry alone. More
    /// tokens than the limit count as 0, because no wait grants them.
    pub(super) fn missing(&self, limits: &LimitValues, reservation: Option<&Reservation>) -> [i64; 4] {
        let Granted { running, request, further, tokens, cost } = &self.granted;
        let mut missing = [0; 4];
        if let Some(limit) = limits.requests {
            let beyond = reservation.filter(|_| further.is_none()).map_or(0, |asked| asked.further(limit));
            missing[Limit::Requests as usize] = i64::from(request.is_none()) + i64::from(beyond);
        }
        if let (Some(limit), Some(asked), None) = (limits.tokens, reservation, tokens) {
            let amount = asked.tokens(limit);
            missing[Limit::Tokens as usize] = if amount > limit { 0 } else { amount.into() };
        }
        missing[Limit::Concurrent as usize] = i64::from(limits.concurrent.is_some() && !running);
        if let (Some(_), Some(asked), None) = (limits.budget, reservation, cost) {
            missing[Limit::Budget as usize] = asked.cost.max(1);
        }
        missing
    }

    pub(super) const fn meter(&self) -> &Arc<LimitMeter> {
        &self.meter
    }

    fn enter(&mut self, limits: &LimitValues, now: Duration, basis: LimitBasis) -> Result<(), Exceeded> {
        let Self { meter, granted, .. } = self;
        if let Some(limit) = limits.concurrent.filter(|_| !granted.running) {
            let most = match (basis, meter.share()) {
                (LimitBasis::Granted, Some(share)) => {
                    share.entered.fetch_add(1, Relaxed);
                    u32::try_from(share.running_cap(now)).unwrap_or(0).min(limit)
                }
                (LimitBasis::Part(replicas), _) => meter.places_alone(limit, replicas, now),
                (LimitBasis::Own | LimitBasis::Granted, _) => limit,
            };
            let fits = |running: u32| (running < most).then_some(running + 1);
            if meter.running.fetch_update(AcqRel, Relaxed, fits).is_err() {
                let after = Some(Duration::from_secs(1));
                return Err(Exceeded { limit: Limit::Concurrent, after, amount: 1 });
            }
            granted.running = true;
        }
        if let Some(limit) = limits.requests.filter(|_| granted.request.is_none()) {
            granted.request = Some(meter.take_flow(Limit::Requests, (limit, 1), now, basis)?);
        }
        Ok(())
    }

    fn grant(
        &mut self,
        limits: &LimitValues,
        reservation: &Reservation,
        now: Duration,
        basis: LimitBasis,
    ) -> Result<(), Exceeded> {
        if let Some(budget) = limits.budget.filter(|_| self.granted.cost.is_none()) {
            self.granted.cost = Some(self.meter.set_aside(reservation.cost, budget, now, basis)?);
        }
        self.enter(limits, now, basis)?;
        let Self { meter, granted, .. } = self;
        if let Some(limit) = limits.requests.filter(|_| granted.further.is_none()) {
            let beyond = reservation.further(limit);
            if beyond > 0 {
                granted.further = Some(meter.take_flow(Limit::Requests, (limit, beyond), now, basis)?);
            }
        }
        if let Some(limit) = limits.tokens.filter(|_| granted.tokens.is_none()) {
            let amount = reservation.tokens(limit);
            granted.tokens = Some(meter.take_flow(Limit::Tokens, (limit, amount), now, basis)?);
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
                Some(beyond) => {
                    self.meter.tokens.add(beyond, self.at + elapsed);
                    self.meter.note_change();
                }
                None => {
                    self.meter.tokens.give_back(taken, taken.amount - used);
                    self.meter.note_change();
                }
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Granted { running, request, further, tokens, cost } = std::mem::take(&mut self.granted);
        if running {
            self.meter.running.fetch_sub(1, AcqRel);
            self.meter.note_place_left();
        }
        let Self { meter, .. } = self;
        for (window, taken) in
            [(&meter.requests, request), (&meter.requests, further), (&meter.tokens, tokens)]
        {
            if let Some(taken) = taken {
                window.give_back(taken, taken.amount);
                meter.note_change();
            }
        }
        if let Some(cost) = cost {
            self.meter.spending.aside.fetch_sub(cost, AcqRel);
        }
    }
}

#[cfg(test)]
mod tests;
