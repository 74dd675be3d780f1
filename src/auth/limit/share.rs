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
    /// answer, and its part of the rest.
    pub(super) own_at_answer: [i64; 2],
    pub(super) level_held: bool,
    pub(super) outage: KeyOutage,
    /// At the last answer: requests at once that other replicas hold; whether the store knew of all.
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
    /// The most that the window may hold while the store recovers from a loss. `None`: it does not.
    pub(super) allowances: Option<[i64; 2]>,
}

impl ShareBook {
    /// A replica's part of the limit; in the first minute without the store no more than the rest at the last
    /// answer left it.
    pub(super) fn allowance(&self, flow: usize, limit: i64, replicas: u32, now: u64) -> i64 {
        let part = (limit / i64::from(replicas.max(1))).max(1);
        if self.answered_at == 0 || now.saturating_sub(self.answered_at) > COUNTED_MS {
            return part;
        }
        part.min(self.own_at_answer[flow])
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

    /// Notes that a request waits for this amount.
    pub(super) fn need(&self, limit: Limit, amount: i64) -> Needed<'_> {
        let need = &self.needs[limit as usize];
        need.fetch_add(amount, AcqRel);
        Needed { need, amount }
    }

    /// The amount of this limit, by its number, that requests wait for.
    pub(super) fn needed(&self, limit: usize) -> u64 {
        self.needs.get(limit).map_or(0, |need| need.load(Acquire).max(0).unsigned_abs())
    }

    /// The store has said that it has nothing for a while; how long until it may have.
    pub(super) fn is_empty(&self, limit: Limit, now: Duration) -> bool {
        millis(now) < self.empty_until[limit as usize].load(Acquire)
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
