//! Requests at once, as replicas share them. Near the limit a place goes back to the store when its request
//! ends, because other replicas may wait for it; a request that is refused a place asks again for a moment.
//! Without the store a replica has the places that it held, and its part of those that were free.

use std::{
    sync::{
        Arc, PoisonError,
        atomic::Ordering::{Acquire, Relaxed, Release},
    },
    time::Duration,
};

use super::{
    meter::LimitMeter,
    share::{COUNTED_MS, LimitShare, ShareBook, millis},
    values::Limit,
};

/// Of a limit up to this no replica holds a place that no request uses.
const FEW: i64 = 16;
/// A place that the store did not have is asked for again after this.
pub(super) const RETRY_MS: u64 = 10;

impl ShareBook {
    /// The most places that this replica has while the store is away: its part of the limit, and in the
    /// first minute no more than it held, with its part of the places that were free.
    pub(super) fn place_allowance(&self, limit: i64, replicas: u32, now: u64) -> i64 {
        let replicas = i64::from(replicas.max(1));
        let part = (limit / replicas).max(1);
        if self.answered_at == 0 || now.saturating_sub(self.answered_at) > COUNTED_MS {
            return part;
        }
        let elsewhere = i64::try_from(self.running_elsewhere).unwrap_or(i64::MAX);
        let free = limit.saturating_sub(self.running_here).saturating_sub(elsewhere).max(0) / replicas;
        // Of fewer places than replicas each has one, unless another is known to hold some.
        part.min(self.running_here + free.max(i64::from(elsewhere == 0)))
    }

    /// Takes the numbers of places held here and elsewhere from an answer. A store that `recovers` does not
    /// know all of them.
    pub(super) fn note_places(&mut self, here: i64, elsewhere: Option<u64>, recovers: bool) {
        let elsewhere = elsewhere.unwrap_or(self.running_elsewhere);
        if recovers {
            self.running_here = self.running_here.max(here);
            self.running_elsewhere = self.running_elsewhere.max(elsewhere);
        } else {
            (self.running_here, self.running_elsewhere) = (here, elsewhere);
        }
    }
}

impl LimitMeter {
    /// A request has left its place.
    pub(super) fn note_place_left(self: &Arc<Self>) {
        if let Some(share) = self.share()
            && share.places_are_few.load(Relaxed)
        {
            share.returns.store(true, Release);
            self.wake();
        }
    }

    /// After an answer with a cap of places, and so many of them held elsewhere.
    pub(super) fn look_at_places(&self, share: &LimitShare, limit: i64, elsewhere: u64, replicas: u32) {
        let cap = share.running_cap.load(Acquire);
        let free = limit.saturating_sub_unsigned(elsewhere).saturating_sub(cap);
        let are_few = replicas > 1 && (limit <= FEW || free < limit / 4);
        share.places_are_few.store(are_few, Relaxed);
        // Requests that waited for them have given up, or others have ended.
        if are_few && cap > i64::from(self.running()).saturating_add_unsigned(share.needed(2)) {
            share.returns.store(true, Release);
        }
    }

    /// How long until the store, which had no place, is asked again for one. `None`: that is of no use soon.
    pub(super) fn place_retry(&self, share: &LimitShare, limit: Limit, now: Duration) -> Option<Duration> {
        // Where all requests run here, a place becomes free here.
        let has_all = || self.facts().limits.concurrent.is_none_or(|most| self.running() >= most);
        if limit != Limit::Concurrent || !share.places_are_few.load(Relaxed) || has_all() {
            return None;
        }
        let rest = share.empty_until[limit as usize].load(Acquire).saturating_sub(millis(now));
        (rest <= RETRY_MS).then(|| Duration::from_millis(rest.max(1)))
    }

    /// The most places that this replica has while the store is away.
    pub(super) fn places_alone(&self, limit: u32, replicas: u32, now: Duration) -> u32 {
        let Some(share) = self.share() else { return limit };
        let book = share.book.lock().unwrap_or_else(PoisonError::into_inner);
        u32::try_from(book.place_allowance(limit.into(), replicas, millis(now))).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::auth::limit::{
        Lease, LimitValues, alone::LimitBasis, report::tests::ModelStore, values::Exceeded,
    };

    const LIMITS: LimitValues =
        LimitValues { requests: None, tokens: None, concurrent: Some(6), budget: None };

    struct Places {
        store: ModelStore,
        meters: [Arc<LimitMeter>; 2],
        now: Duration,
        _queue: mpsc::Receiver<Arc<LimitMeter>>,
    }

    impl Places {
        /// One replica runs five requests, and the other one knows.
        fn five_of_six() -> (Self, Vec<Lease>) {
            let (sender, queue) = mpsc::channel(8);
            let meter = || {
                let meter = Arc::<LimitMeter>::default();
                meter.facts().limits = LIMITS;
                meter.join(&sender);
                meter
            };
            let now = Duration::from_secs(1_800_000_000);
            let store = ModelStore::default();
            let mut places = Self { store, meters: [meter(), meter()], now, _queue: queue };
            let meter = Arc::clone(&places.meters[0]);
            let need = meter.share().unwrap().need(Limit::Concurrent, 5);
            places.exchange(0, None);
            drop(need);
            let running = (0..5).map(|_| places.meters[0].enter(&LIMITS, places.now).unwrap()).collect();
            places.exchange(0, None);
            places.exchange(1, None);
            (places, running)
        }

        fn exchange(&mut self, me: usize, recovery: Option<u32>) {
            let report = self.meters[me].report(self.now, recovery).unwrap();
            let answer = self.store.run(me, &report, millis(self.now)).unwrap();
            self.meters[me].accept(&answer, self.now, 2);
        }

        fn alone(&self, me: usize) -> Result<Lease, Exceeded> {
            self.meters[me].enter_on(&LIMITS, self.now, LimitBasis::Part(2))
        }
    }

    /// A replica without the store knows of the places that others held.
    #[test]
    fn alone_places_that_others_hold_are_not_taken() {
        let (mut places, mut running) = Places::five_of_six();
        places.now += Duration::from_secs(3);
        assert_eq!(places.alone(1).unwrap_err().limit, Limit::Concurrent);
        assert_eq!(places.alone(0).unwrap_err().limit, Limit::Concurrent);
        let part = places.meters[1].use_of_part(&LIMITS, 2, places.now)[2].unwrap();
        assert_eq!(part.most, 0, "the use of a part says the same");
        // The replica that held them has its part of the limit when they end.
        running.truncate(2);
        running.push(places.alone(0).unwrap());
        assert!(places.alone(0).is_err() && places.alone(1).is_err());
        // After a minute nothing is known any more.
        places.now += Duration::from_secs(62);
        let parts: Vec<_> = (0..3).map(|_| places.alone(1).unwrap()).collect();
        assert!(places.alone(1).is_err());
        drop(parts);
    }

    /// A store that has lost everything does not give away places that were in use before.
    #[test]
    fn places_known_before_a_loss_are_not_granted_again() {
        let (mut places, _running) = Places::five_of_six();
        places.store = ModelStore::default();
        let meter = Arc::clone(&places.meters[1]);
        let _need = meter.share().unwrap().need(Limit::Concurrent, 3);
        for _ in 0..3 {
            places.now += Duration::from_millis(300);
            places.exchange(1, Some(2));
            assert_eq!(meter.share().unwrap().running_cap(places.now), 0);
        }
        places.exchange(0, Some(2));
        places.now += Duration::from_millis(300);
        places.exchange(1, None);
        assert_eq!(meter.share().unwrap().running_cap(places.now), 1, "the one that is free");
    }

    /// Of fewer places than replicas, each has one where none is known to be in use.
    #[test]
    fn alone_a_small_limit_has_a_place() {
        let mut book = ShareBook { answered_at: 1000, ..ShareBook::default() };
        assert_eq!(book.place_allowance(1, 3, 2000), 1);
        book.running_elsewhere = 1;
        assert_eq!(book.place_allowance(1, 3, 2000), 0);
        assert_eq!(book.place_allowance(9, 3, 2000), 2);
        assert_eq!(book.place_allowance(9, 3, 1001 + COUNTED_MS), 3);
    }
}
