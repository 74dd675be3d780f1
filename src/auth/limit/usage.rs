//! How far a key's limits are used, for work that leaves room to other requests. With a shared store the use
//! by all replicas counts. It is known for a short time after an answer of the store; a look at it asks for
//! the next answer, so that it costs nothing where nothing looks. Time is a parameter.

use std::{
    sync::{
        Arc, PoisonError,
        atomic::Ordering::{Acquire, Relaxed, Release},
    },
    time::Duration,
};

use super::{
    meter::LimitMeter,
    share::{LimitShare, millis},
    values::{Limit, LimitValues},
};

/// The use by other replicas counts as known for so long after an answer.
const KNOWN_MS: u64 = 1000;
/// An answer that is older is followed by a question for the next one.
const ASK_MS: u64 = 250;

/// The use of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitUse {
    /// Used, and waited for by requests.
    pub used: u64,
    pub most: u64,
}

/// Of requests and of tokens per minute, and of requests at once. `None`: there is no such limit.
pub type KeyUse = [Option<LimitUse>; 3];

impl LimitUse {
    /// Of a limit of one nothing may be used.
    #[must_use]
    pub const fn is_below_half(self) -> bool {
        self.used < self.most.div_ceil(2)
    }
}

/// Its limits in the order of a [`KeyUse`].
fn most(limits: &LimitValues) -> [Option<u32>; 3] {
    [limits.requests, limits.tokens, limits.concurrent]
}

impl LimitMeter {
    /// By this process alone, with the whole limits.
    #[must_use]
    pub fn use_here(&self, limits: &LimitValues, now: Duration) -> KeyUse {
        let (most, used) = (most(limits), self.used_here(self.clock(now)));
        std::array::from_fn(|limit| most[limit].map(|most| LimitUse { used: used[limit], most: most.into() }))
    }

    /// By this process alone, of its part while the store is away.
    pub(super) fn use_of_part(&self, limits: &LimitValues, replicas: u32, now: Duration) -> KeyUse {
        let now = self.clock(now);
        let (whole, used) = (most(limits), self.used_here(now));
        std::array::from_fn(|limit| {
            let most = match (whole[limit]?, limit) {
                (whole, 0 | 1) => self.allowance_alone(limit, whole, replicas, now),
                (whole, _) => self.places_alone(whole, replicas, now),
            };
            Some(LimitUse { used: used[limit], most: most.into() })
        })
    }

    /// By all replicas. `None`: it is not known, and the store is asked.
    pub(super) fn use_by_all(
        self: &Arc<Self>,
        share: &LimitShare,
        limits: &LimitValues,
        now: Duration,
    ) -> Option<KeyUse> {
        let now = share.clock(now);
        let at = millis(now);
        let book = share.book.lock().unwrap_or_else(PoisonError::into_inner);
        let age = at.saturating_sub(book.answered_at);
        let is_known = book.answered_at != 0 && book.is_whole && age < KNOWN_MS;
        let others = book.running_elsewhere;
        drop(book);
        if !is_known || age >= ASK_MS {
            share.is_asked.store(true, Release);
            self.wake();
        }
        if !is_known {
            return None;
        }
        let (most, here) = (most(limits), self.used_here(now));
        let is_live = at < share.flow_until.load(Acquire);
        Some(std::array::from_fn(|limit| {
            let most = u64::from(most[limit]?);
            let used = match share.flows.get(limit) {
                Some(grant) => {
                    let left = if is_live { grant.left.load(Acquire).max(0).unsigned_abs() } else { 0 };
                    let free = grant.free.load(Relaxed).saturating_add(left);
                    most.saturating_sub(free).saturating_add(share.needed(limit)).max(here[limit])
                }
                None => here[limit].saturating_add(others),
            };
            Some(LimitUse { used, most })
        }))
    }

    /// `now`: as the windows count it.
    fn used_here(&self, now: Duration) -> [u64; 3] {
        let needed = |limit: Limit| self.share().map_or(0, |share| share.needed(limit as usize));
        [
            self.requests.used(now).saturating_add(needed(Limit::Requests)),
            self.tokens.used(now).saturating_add(needed(Limit::Tokens)),
            u64::from(self.running()).saturating_add(needed(Limit::Concurrent)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::auth::limit::{Lease, report::tests::ModelStore};

    const LIMITS: LimitValues =
        LimitValues { requests: Some(40), tokens: None, concurrent: Some(6), budget: None };

    struct World {
        store: ModelStore,
        meters: [Arc<LimitMeter>; 2],
        now: Duration,
        _queue: mpsc::Receiver<Arc<LimitMeter>>,
    }

    impl World {
        fn new() -> Self {
            let (sender, queue) = mpsc::channel(8);
            let meter = || {
                let meter = Arc::<LimitMeter>::default();
                meter.facts().limits = LIMITS;
                meter.join(&sender);
                meter
            };
            let meters = [meter(), meter()];
            let now = Duration::from_secs(1_800_000_000);
            Self { store: ModelStore::default(), meters, now, _queue: queue }
        }

        fn exchange(&mut self, me: usize, recovery: Option<u32>) {
            let report = self.meters[me].report(self.now, recovery).unwrap();
            let answer = self.store.run(me, &report, millis(self.now)).unwrap();
            self.meters[me].accept(&answer, self.now, 2);
        }

        /// Requests here, each with what it needs from the store.
        fn run(&mut self, me: usize, count: usize) -> Vec<Lease> {
            let mut leases = Vec::new();
            for _ in 0..count {
                let meter = Arc::clone(&self.meters[me]);
                let share = meter.share().unwrap();
                let needed = [share.need(Limit::Requests, 1), share.need(Limit::Concurrent, 1)];
                self.exchange(me, None);
                drop(needed);
                leases.push(meter.enter(&LIMITS, self.now).unwrap());
            }
            leases
        }

        fn by_all(&self, me: usize) -> Option<[u64; 2]> {
            let meter = &self.meters[me];
            let all = meter.use_by_all(meter.share().unwrap(), &LIMITS, self.now)?;
            assert_eq!(all[1], None);
            Some([all[0].unwrap().used, all[2].unwrap().used])
        }
    }

    #[test]
    fn use_elsewhere_counts_and_is_asked_for() {
        let mut world = World::new();
        let running = world.run(0, 4);
        assert_eq!(world.by_all(1), None);
        assert!(world.meters[1].is_due(world.now), "it is asked for");
        world.exchange(1, None);
        let [requests, at_once] = world.by_all(1).unwrap();
        // What the other one holds for its next requests counts as used.
        assert!((4..=10).contains(&requests) && (4..=5).contains(&at_once), "{requests} {at_once}");
        let here = world.meters[1].use_here(&LIMITS, world.now);
        assert_eq!(here, [Some(LimitUse { used: 0, most: 40 }), None, Some(LimitUse { used: 0, most: 6 })]);
        // A request that waits counts.
        let waits = world.meters[1].share().unwrap().need(Limit::Concurrent, 1);
        assert_eq!(world.by_all(1).unwrap()[1], at_once + 1);
        drop(waits);
        world.now += Duration::from_millis(KNOWN_MS);
        assert_eq!(world.by_all(1), None, "it is too old");
        assert!(world.meters[1].is_due(world.now));
        drop(running);
    }

    /// A store that has lost everything does not know the others' use.
    #[test]
    fn nothing_is_known_while_the_store_recovers() {
        let mut world = World::new();
        world.exchange(0, Some(2));
        assert_eq!(world.by_all(0), None);
        world.now += Duration::from_millis(200);
        world.exchange(0, None);
        assert_eq!(world.by_all(0), Some([0, 0]));
    }

    /// Without the store the limits are a part, and use elsewhere is not known.
    #[test]
    fn alone_a_part_is_used() {
        let mut world = World::new();
        let running = world.run(0, 2);
        let part = world.meters[1].use_of_part(&LIMITS, 2, world.now);
        assert_eq!(part, [Some(LimitUse { used: 0, most: 20 }), None, Some(LimitUse { used: 0, most: 3 })]);
        let own = world.meters[0].use_of_part(&LIMITS, 2, world.now);
        assert_eq!(own.map(|limit| limit.map(|limit| limit.used)), [Some(2), None, Some(2)]);
        drop(running);
    }

    #[test]
    fn half_of_a_limit_is_left() {
        let of = |used, most| LimitUse { used, most }.is_below_half();
        assert!(of(0, 1) && of(19, 40) && !of(20, 40) && of(2, 5) && !of(3, 5) && !of(1, 1));
    }
}
