//! The use of one key's limits, counted with atomics alone. Leases take from it and give back to it; with a
//! shared store it takes from the amounts granted there.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{
            AtomicBool, AtomicI64, AtomicU32,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use tokio::sync::mpsc::Sender;

use super::{
    alone::LimitBasis,
    share::{LimitShare, millis},
    values::{Exceeded, Limit, LimitValues},
    window::{RateWindow, Taken},
};

/// The use of one key. Shared by all requests that show the key; outlives a reload.
#[derive(Debug, Default)]
pub struct LimitMeter {
    pub requests: RateWindow,
    pub tokens: RateWindow,
    pub(super) running: AtomicU32,
    pub(super) spending: Spending,
    /// `None`: the limits are this process's alone.
    share: OnceLock<Box<LimitShare>>,
    /// To the background, which gets grants.
    queue: OnceLock<Sender<Arc<Self>>>,
    facts: Mutex<MeterFacts>,
}

/// Of the key that the meter belongs to now.
#[derive(Clone, Debug, Default)]
pub struct MeterFacts {
    pub limits: LimitValues,
    /// Its name among replicas: a digest, the same in each of them.
    pub name: Option<Arc<str>>,
}

/// Millionths of the currency.
#[derive(Debug, Default)]
pub(super) struct Spending {
    /// Spent in all, as the store last reported.
    pub(super) saved: AtomicI64,
    /// Spent here and not reported to the store.
    pub(super) unsaved: AtomicI64,
    /// Set aside for requests under way.
    pub(super) aside: AtomicI64,
    /// Reported to the store by this process so far.
    reported: AtomicI64,
    /// A request was refused, though the budget is not spent as far as is known here.
    is_doubtful: AtomicBool,
}

impl LimitMeter {
    /// From now on its limits are shared with other replicas; `queue` leads to the background.
    pub fn join(&self, queue: &Sender<Arc<Self>>) -> &LimitShare {
        if let Some(share) = self.share() {
            return share;
        }
        self.queue.get_or_init(|| queue.clone());
        self.share.get_or_init(Box::default)
    }

    /// `None`: the limits are this process's alone.
    #[must_use]
    pub fn share(&self) -> Option<&LimitShare> {
        self.share.get().map(|share| &**share)
    }

    /// Puts the key into the queue to the background, unless it is there.
    pub(super) fn wake(self: &Arc<Self>) {
        if let (Some(share), Some(queue)) = (self.share(), self.queue.get())
            && share.note_queued()
        {
            // The next request tries again if it is full.
            if queue.try_send(Arc::clone(self)).is_err() {
                share.note_dequeued();
            }
        }
    }

    /// The key that the meter belongs to now.
    pub fn facts(&self) -> MutexGuard<'_, MeterFacts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn basis(&self) -> LimitBasis {
        if self.share().is_some() { LimitBasis::Granted } else { LimitBasis::Own }
    }

    /// The moment as its windows count time: the shared store's, if there is one.
    #[must_use]
    pub fn clock(&self, now: Duration) -> Duration {
        self.share().map_or(now, |share| share.clock(now))
    }

    /// The rest of requests and tokens for all replicas, as far as is known here. `None`: not shared.
    #[must_use]
    pub fn left(&self) -> Option<[u64; 2]> {
        let share = self.share()?;
        Some(
            share
                .flows
                .each_ref()
                .map(|grant| grant.free.load(Relaxed) + grant.left.load(Relaxed).max(0).unsigned_abs()),
        )
    }

    pub(super) fn saved(&self) -> i64 {
        self.spending.saved.load(Relaxed)
    }

    /// Spent by this process and stored.
    pub(super) fn saved_here(&self) -> i64 {
        self.spending.reported.load(Acquire)
    }

    /// Spent by this process and not stored, or set aside.
    pub(super) fn own_level(&self) -> i64 {
        self.spending.unsaved.load(Acquire).saturating_add(self.spending.aside.load(Acquire))
    }

    /// Marks that the window has changed without a grant.
    pub(super) fn note_change(&self) {
        if let Some(share) = self.share() {
            share.changed.store(true, Release);
        }
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

    /// Whether a request was refused since the last time, though the budget is not spent as far as is known
    /// here: others may have spent it meanwhile.
    pub fn take_doubt(&self) -> bool {
        self.spending.is_doubtful.swap(false, Relaxed)
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
        self.spending.reported.fetch_add(reported, AcqRel);
        self.spending.unsaved.fetch_sub(reported, AcqRel);
    }

    /// Sets aside `cost`, or the rest of the budget if that is less; gives the sum set aside.
    pub(super) fn set_aside(
        self: &Arc<Self>,
        cost: i64,
        budget: i64,
        now: Duration,
        basis: LimitBasis,
    ) -> Result<i64, Exceeded> {
        let granted_to = match basis {
            LimitBasis::Granted => self.share().map(|share| share.ceiling(now).unwrap_or(i64::MIN)),
            LimitBasis::Own | LimitBasis::Part(_) => None,
        };
        let aside = &self.spending.aside;
        let part = |aside: i64| {
            let rest = budget.saturating_sub(self.spent().saturating_add(aside));
            let left = match (basis, granted_to) {
                (LimitBasis::Part(replicas), _) => {
                    let free = budget.saturating_sub(self.saved()) / i64::from(replicas.max(1));
                    rest.min(free.saturating_sub(self.own_level()))
                }
                (_, Some(ceiling)) => {
                    let own = self.saved_here().saturating_add(self.own_level());
                    let granted = ceiling.saturating_sub(own);
                    // Less than the whole only if it is all the rest of the budget, so that no other replica
                    // holds any of it, and for one request at a time: each may use its whole estimate.
                    let is_last = aside == 0 && granted >= rest;
                    if granted < cost && !is_last { 0 } else { granted.min(rest) }
                }
                (_, None) => rest,
            };
            (left > 0).then(|| cost.clamp(0, left))
        };
        let mut granted = 0;
        let update = |aside: i64| {
            granted = part(aside)?;
            Some(aside.saturating_add(granted))
        };
        match aside.fetch_update(AcqRel, Relaxed, update) {
            Ok(_) => {
                if let Some(share) = self.share() {
                    share.set_aside.fetch_add(granted, Relaxed);
                }
                Ok(granted)
            }
            Err(_) => {
                let is_spent = self.spent() >= budget;
                self.spending.is_doubtful.store(!is_spent, Relaxed);
                if basis == LimitBasis::Granted {
                    self.give_sum_back(now);
                }
                // Requests under way give back all that they do not use.
                let after = (!is_spent).then_some(Duration::from_secs(1));
                Err(Exceeded { limit: Limit::Budget, after, amount: cost.max(1) })
            }
        }
    }

    /// The next report gives back a sum that is too small for a request here, if the store has no more: two
    /// replicas with a part of the last sum each would never use it.
    fn give_sum_back(self: &Arc<Self>, now: Duration) {
        let Some(share) = self.share() else { return };
        if !share.is_empty(Limit::Budget as usize, 1, millis(now)) {
            return;
        }
        let own = self.saved_here().saturating_add(self.own_level());
        if share.ceiling(now).is_some_and(|ceiling| ceiling > own) && !share.sum_is_short.swap(true, AcqRel) {
            share.returns.store(true, Release);
            self.wake();
        }
    }

    /// A request is refused because the store had less than its amount: the next report gives back the part
    /// that it had, which other replicas may need.
    pub(super) fn give_part_back(self: &Arc<Self>, limit: Limit) {
        let Some(share) = self.share() else { return };
        let (Some(part), Some(grant)) = (share.parts.get(limit as usize), share.flows.get(limit as usize))
        else {
            return;
        };
        // Others may have taken it.
        let left = part.swap(0, AcqRel).min(grant.left.load(Acquire));
        if left > 0 {
            share.returned_parts[limit as usize].store(left, Release);
            share.returns.store(true, Release);
            self.wake();
        }
    }

    /// Takes from a flow's window or grant.
    pub(super) fn take_flow(
        self: &Arc<Self>,
        limit: Limit,
        (most, amount): (u32, u32),
        now: Duration,
        basis: LimitBasis,
    ) -> Result<Taken, Exceeded> {
        let flow = usize::from(limit == Limit::Tokens);
        let window = if limit == Limit::Tokens { &self.tokens } else { &self.requests };
        let exceeded = |after| Exceeded { limit, after, amount: amount.into() };
        let most = match (basis, self.share()) {
            (LimitBasis::Granted, Some(share)) => {
                if amount > most {
                    return Err(exceeded(None));
                }
                if amount == 0 {
                    return Ok(window.add(0, now));
                }
                // In the window first, so that no report misses it.
                let taken = window.add(amount, now);
                let Some(is_low) = share.take(flow, amount, now) else {
                    window.give_back(taken, amount);
                    return Err(exceeded(Some(share.after(limit, now))));
                };
                if is_low {
                    // Once for each answer.
                    share.flows[flow].low.store(i64::MIN, Relaxed);
                    self.wake();
                }
                return Ok(taken);
            }
            (LimitBasis::Part(replicas), _) => self.allowance_alone(flow, most, replicas, now),
            (LimitBasis::Own | LimitBasis::Granted, _) => most,
        };
        let taken =
            window.take(most, amount, now).ok_or_else(|| exceeded(window.until(most, amount, now)))?;
        self.note_change();
        Ok(taken)
    }
}
