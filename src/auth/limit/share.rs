//! A key's limits as several replicas share them. This replica holds amounts that the shared store has
//! granted it for a short time; a request takes from them, with atomics alone. [`super::report`] asks for
//! more in the background, before they run out. Time is a parameter, in milliseconds of the store's clock.
//!
//! Invariants: an amount is added to the window before it is taken from the grant, so that each report counts
//! it at least once; nothing is taken from a grant after its end.

use std::{
    sync::{
        Mutex,
        atomic::{
            AtomicBool, AtomicI64, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{outage::KeyOutage, values::Limit};

/// The key's part of a limit that replicas share.
#[derive(Debug, Default)]
pub struct LimitShare {
    /// Requests and tokens.
    pub(super) flows: [FlowGrant; 2],
    /// The end of both grants.
    pub(super) flow_until: AtomicU64,
    /// Requests at once that are granted, and how many began since the last report.
    pub(super) running_cap: AtomicI64,
    pub(super) entered: AtomicI64,
    /// Few places are free: those not in use are given back at once.
    pub(super) places_are_few: AtomicBool,
    /// The sum granted of the budget is less than a request needs, and the store has no more.
    pub(super) sum_is_short: AtomicBool,
    /// The next report gives something back that others may wait for.
    pub(super) returns: AtomicBool,
    /// The most that may be spent and set aside here, counted from the start of the process; and the sum set
    /// aside since the last report.
    pub(super) ceiling: AtomicI64,
    pub(super) set_aside: AtomicI64,
    /// The end of the grants of requests at once and of the budget.
    pub(super) level_until: AtomicU64,
    /// By [`Limit`]: amounts that requests wait for; until when the store has nothing; when it has again.
    pub(super) needs: [AtomicI64; 4],
    pub(super) empty_until: [AtomicU64; 4],
    pub(super) free_at: [AtomicU64; 4],
    /// By flow: the granted amount, where it was less than needed; and the part of that which was given
    /// back because a request was refused.
    pub(super) parts: [AtomicI64; 2],
    pub(super) returned_parts: [AtomicI64; 2],
    /// The numbers of the last report and of the last answer.
    pub(super) reported: AtomicU64,
    pub(super) answered_report: AtomicU64,
    /// The store's clock less the process's.
    pub(super) offset: AtomicI64,
    /// Amounts were given back, or counted without a grant, since the last report.
    pub(super) changed: AtomicBool,
    /// The use by all replicas is asked for.
    pub(super) is_asked: AtomicBool,
    /// It is in the queue to the background already.
    queued: AtomicBool,
    pub(super) answered: Notify,
    pub(super) book: Mutex<ShareBook>,
}

/// How long a use counts, with its second.
pub(super) const COUNTED_MS: u64 = 62_000;

/// A granted amount of requests or tokens.
#[derive(Debug, Default)]
pub(super) struct FlowGrant {
    pub(super) left: AtomicI64,
    /// Below this more is asked for.
    pub(super) low: AtomicI64,
    /// Taken since the last report.
    pub(super) taken: AtomicU64,
    /// Left for all replicas at the last answer.
    pub(super) free: AtomicU64,
}

/// An amount that a request waits for, until this is dropped.
pub(super) struct Needed<'a> {
    need: &'a AtomicI64,
    amount: i64,
}

impl Drop for Needed<'_> {
    fn drop(&mut self) {
        self.need.fetch_sub(self.amount, AcqRel);
    }
}

/// The background's record of a key's exchange.
#[derive(Debug, Default)]
pub struct ShareBook {
    pub(super) seq: u64,
    pub(super) pending: Option<PendingReport>,
    /// When the last report was made, and the last one that was answered.
    pub(super) reported_at: u64,
    pub(super) answered_at: u64,
    /// By flow: amounts per second, and those held in the store's view.
    pub(super) rates: [f64; 2],
    pub(super) held: [i64; 2],
    /// By level: the amount held beyond use.
    pub(super) spare: [i64; 2],
    /// The most that this replica may have in its window while the store is away: its own use at the last
    /// answer, and its part of the rest; and that use by second.
    pub(super) own_at_answer: [i64; 2],
    pub(super) own_seconds: [Vec<(u32, u32)>; 2],
    /// When the replica first decided by itself after the last answer. 0: it has not.
    pub(super) alone_since: u64,
    pub(super) level_held: bool,
    pub(super) outage: KeyOutage,
    /// At the last answer: requests at once that this replica and others hold; whether the store knew of all.
    pub(super) running_here: i64,
    pub(super) running_elsewhere: u64,
    pub(super) is_whole: bool,
}

#[derive(Debug)]
pub(super) struct PendingReport {
    pub(super) seq: u64,
    pub(super) sent: u64,
    pub(super) keep: [i64; 2],
    pub(super) needs: [i64; 4],
    pub(super) levels: [i64; 2],
    pub(super) saved_here: i64,
    pub(super) own: [i64; 2],
    pub(super) windows: [Vec<(u32, u32)>; 2],
    /// The most that the window may hold while the store recovers from a loss. `None`: it does not.
    pub(super) allowances: Option<[i64; 2]>,
}

impl ShareBook {
    /// A replica's part of the limit; in the first minute without the store no more than the rest at the last
    /// answer left it, less the uses that have ceased to count before the store was away.
    pub(super) fn allowance(&self, flow: usize, limit: i64, replicas: u32, now: u64) -> i64 {
        let part = (limit / i64::from(replicas.max(1))).max(1);
        if self.answered_at == 0 || now.saturating_sub(self.answered_at) > COUNTED_MS {
            return part;
        }
        // The store has given to others by then what ceased to count; nothing, while it is away.
        let until = if self.alone_since == 0 { now } else { now.min(self.alone_since) };
        let gone =
            self.own_seconds[flow].iter().filter(|(second, _)| u64::from(*second) * 1000 + 60_000 <= until);
        let gone: i64 = gone.map(|(_, amount)| i64::from(*amount)).sum();
        part.min((self.own_at_answer[flow] - gone).max(0))
    }
}

impl LimitShare {
    /// A moment of the process in the store's time.
    pub(super) fn clock(&self, now: Duration) -> Duration {
        let offset = self.offset.load(Relaxed);
        let shift = Duration::from_millis(offset.unsigned_abs());
        if offset < 0 { now.saturating_sub(shift) } else { now.saturating_add(shift) }
    }

    /// Takes from a grant of requests or tokens. True: more should be asked for. `None`: not enough is left.
    pub(super) fn take(&self, flow: usize, amount: u32, now: Duration) -> Option<bool> {
        let grant = self.flows.get(flow)?;
        if millis(now) >= self.flow_until.load(Acquire) {
            return None;
        }
        let amount = i64::from(amount);
        let fits = |left: i64| (left >= amount).then_some(left - amount);
        let before = grant.left.fetch_update(AcqRel, Relaxed, fits).ok()?;
        grant.taken.fetch_add(amount.unsigned_abs(), Relaxed);
        Some(before - amount < grant.low.load(Relaxed))
    }

    /// Requests at once that may run here.
    pub(super) fn running_cap(&self, now: Duration) -> i64 {
        if millis(now) < self.level_until.load(Acquire) { self.running_cap.load(Acquire) } else { 0 }
    }

    /// Up to where spending and sums set aside may rise here. `None`: nothing is granted.
    pub(super) fn ceiling(&self, now: Duration) -> Option<i64> {
        (millis(now) < self.level_until.load(Acquire)).then(|| self.ceiling.load(Acquire))
    }

    /// It is put into the queue to the background. False: it is there already.
    pub(super) fn note_queued(&self) -> bool {
        !self.queued.swap(true, AcqRel)
    }

    /// It was taken out of the queue.
    pub fn note_dequeued(&self) {
        self.queued.store(false, Release);
    }

    /// Notes that a request waits for these amounts, by limit.
    pub(super) fn need_all(&self, amounts: [i64; 4]) -> [Needed<'_>; 4] {
        std::array::from_fn(|limit| {
            let (need, amount) = (&self.needs[limit], amounts[limit]);
            need.fetch_add(amount, AcqRel);
            Needed { need, amount }
        })
    }

    /// The same for one limit.
    #[cfg(test)]
    pub(super) fn need(&self, limit: Limit, amount: i64) -> [Needed<'_>; 4] {
        let mut amounts = [0; 4];
        amounts[limit as usize] = amount;
        self.need_all(amounts)
    }

    /// The amount of this limit, by its number, that requests wait for.
    pub(super) fn needed(&self, limit: usize) -> u64 {
        self.needs.get(limit).map_or(0, |need| need.load(Acquire).max(0).unsigned_abs())
    }

    /// By the last answer the store lacks this amount for now. An amount up to the part that was given back
    /// may be there.
    pub(super) fn is_empty(&self, limit: usize, amount: i64, now: u64) -> bool {
        let part = self.returned_parts.get(limit).map_or(0, |part| part.load(Acquire));
        now < self.empty_until[limit].load(Acquire) && amount > part
    }

    /// When the store has the amount again that was last asked for in vain.
    pub(super) fn after(&self, limit: Limit, now: Duration) -> Duration {
        let at = self.free_at[limit as usize].load(Relaxed);
        Duration::from_millis(at.saturating_sub(millis(now)).clamp(100, 61_000))
    }
}

pub(super) fn millis(now: Duration) -> u64 {
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;

    use super::*;
    use crate::auth::limit::{
        LimitMeter, LimitValues, Use,
        alone::LimitBasis,
        report::{GRANT_LIFE_MS, tests::ModelStore},
    };

    const LIMITS: LimitValues =
        LimitValues { requests: Some(30), tokens: None, concurrent: None, budget: None };

    struct TwoReplicas {
        store: ModelStore,
        meters: [Arc<LimitMeter>; 2],
        now: Duration,
        _queue: mpsc::Receiver<Arc<LimitMeter>>,
    }

    impl TwoReplicas {
        /// One uses nearly half of the limit and the other one the rest; the first one a little more after
        /// forty seconds.
        fn at_forty_seconds() -> Self {
            let (sender, queue) = mpsc::channel(8);
            let meter = || {
                let meter = Arc::<LimitMeter>::default();
                meter.facts().limits = LIMITS;
                meter.join(&sender);
                meter
            };
            let now = Duration::from_secs(1_800_000_000);
            let store = ModelStore::default();
            let mut replicas = Self { store, meters: [meter(), meter()], now, _queue: queue };
            replicas.use_up_to(0, 14);
            replicas.use_up_to(1, 15);
            replicas.now = now + Duration::from_secs(40);
            replicas.use_up_to(0, 1);
            replicas
        }

        fn exchange(&mut self, me: usize, recovery: Option<u32>) {
            let report = self.meters[me].report(self.now, recovery).unwrap();
            let answer = self.store.run(me, &report, millis(self.now)).unwrap();
            self.meters[me].accept(&answer, self.now, 2);
        }

        /// Requests here, and what was not needed is given back: how many were admitted.
        fn use_up_to(&mut self, me: usize, count: i64) -> usize {
            let meter = Arc::clone(&self.meters[me]);
            let need = meter.share().unwrap().need(Limit::Requests, count);
            self.exchange(me, None);
            drop(need);
            let admitted = (0..count).filter(|_| self.is_admitted(me, LimitBasis::Granted)).count();
            self.now += Duration::from_millis(GRANT_LIFE_MS);
            self.exchange(me, None);
            self.now += Duration::from_millis(GRANT_LIFE_MS);
            self.exchange(me, None);
            admitted
        }

        fn is_admitted(&self, me: usize, basis: LimitBasis) -> bool {
            let lease = self.meters[me].enter_on(&LIMITS, self.now, basis);
            lease.map(|lease| lease.settle(Use::default(), Duration::ZERO)).is_ok()
        }

        fn alone(&self, me: usize) -> usize {
            (0..40).filter(|_| self.is_admitted(me, LimitBasis::Part(2))).count()
        }
    }

    /// Uses that have ceased to count, and that the store has given to another replica, are not used again
    /// without the store.
    #[test]
    fn uses_that_others_got_are_not_used_again_alone() {
        let mut replicas = TwoReplicas::at_forty_seconds();
        replicas.now += Duration::from_secs(22);
        let other = replicas.use_up_to(1, 29);
        assert!(other >= 28, "{other}");
        let alone = replicas.alone(0);
        assert!(1 + other + alone <= 30, "{other} and {alone} alone");
    }

    /// The same where the store has lost everything.
    #[test]
    fn uses_that_others_got_are_not_used_again_after_a_loss() {
        let mut replicas = TwoReplicas::at_forty_seconds();
        replicas.now += Duration::from_secs(22);
        let other = replicas.use_up_to(1, 29);
        replicas.store = ModelStore::default();
        let meter = Arc::clone(&replicas.meters[0]);
        let _need = meter.share().unwrap().need(Limit::Requests, 20);
        let mut alone = 0;
        for _ in 0..4 {
            replicas.now += Duration::from_millis(500);
            replicas.exchange(0, Some(2));
            alone += (0..20).filter(|_| replicas.is_admitted(0, LimitBasis::Granted)).count();
        }
        assert!(1 + other + alone <= 30, "{other} and {alone}");
    }

    /// Own uses that cease to count while the store is away are this replica's again: no other gets them.
    #[test]
    fn uses_that_cease_while_the_store_is_away_return() {
        let mut replicas = TwoReplicas::at_forty_seconds();
        assert_eq!(replicas.alone(0), 0, "nothing was left");
        replicas.now += Duration::from_secs(15);
        assert_eq!(replicas.alone(0), 14);
    }
}
