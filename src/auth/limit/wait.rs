//! A request whose key has nothing granted here waits for the shared store: for a bounded time, and then it
//! is decided here alone.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicU32,
            Ordering::{Acquire, Relaxed},
        },
    },
    time::Duration,
};

use tokio::{
    sync::mpsc::Sender,
    time::{Instant, sleep, timeout_at},
};

use super::{
    alone::{LimitBasis, WhenAlone},
    lease::Lease,
    meter::LimitMeter,
    share::millis,
    usage::KeyUse,
    values::{Exceeded, LimitValues, Reservation},
};

/// Before a request that was roused without an answer looks again.
const ROUSED_PAUSE: Duration = Duration::from_millis(1);

/// The way to shared limits, as requests see it. Cloning shares it.
#[derive(Clone, Debug)]
pub struct ShareHandle {
    pub queue: Sender<Arc<LimitMeter>>,
    /// Replicas last seen, this one included.
    pub replicas: Arc<AtomicU32>,
    pub when_alone: WhenAlone,
    /// The longest wait of a request for a grant.
    pub wait: Duration,
}

/// Why a request gets no lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A limit is exceeded.
    Exceeded(Exceeded),
    /// The shared store is away, and `closed` is configured.
    Closed,
}

/// How a wait ended.
enum Waited {
    /// There was an answer.
    Answered,
    /// What it waits for may have become free here.
    Roused,
    /// The store has nothing.
    Empty,
    /// There was no answer in time.
    Late,
    /// The store is away.
    Alone,
}

impl ShareHandle {
    /// As [`LimitMeter::enter`], out of the shared limit. `is_up`: the store can be asked. `clock` gives the
    /// present moment as meters count it.
    ///
    /// # Errors
    /// As there, or the store is away.
    pub async fn enter(
        &self,
        meter: &Arc<LimitMeter>,
        limits: &LimitValues,
        is_up: impl Fn() -> bool,
        clock: impl Fn() -> Duration,
    ) -> Result<Lease, Refused> {
        meter.join(&self.queue);
        self.take(meter.empty_lease(), limits, None, is_up, clock).await
    }

    /// As [`Lease::extend`], out of the shared limit.
    ///
    /// # Errors
    /// As there, or the store is away.
    pub async fn extend(
        &self,
        lease: Lease,
        limits: &LimitValues,
        reservation: &Reservation,
        is_up: impl Fn() -> bool,
        clock: impl Fn() -> Duration,
    ) -> Result<Lease, Refused> {
        self.take(lease, limits, Some(reservation), is_up, clock).await
    }

    /// Takes the missing amounts of a reservation, or of the entry. Granted amounts are kept in the waits,
    /// because a report that asks for the rest would give them back.
    async fn take(
        &self,
        mut lease: Lease,
        limits: &LimitValues,
        reservation: Option<&Reservation>,
        is_up: impl Fn() -> bool,
        clock: impl Fn() -> Duration,
    ) -> Result<Lease, Refused> {
        let meter = Arc::clone(lease.meter());
        let grant = |lease: &mut Lease, basis| match reservation {
            Some(reservation) => lease.extend_on(limits, reservation, clock(), basis),
            None => lease.enter_on(limits, clock(), basis),
        };
        let deadline = Instant::now() + self.wait;
        let mut had_answer = false;
        loop {
            let exceeded = match grant(&mut lease, LimitBasis::Granted) {
                Ok(()) => return Ok(lease),
                Err(exceeded) => exceeded,
            };
            let missing = lease.missing(limits, reservation);
            let is_alone = match self.wait(&meter, (&exceeded, missing), &is_up, deadline, &clock).await {
                Waited::Answered => {
                    had_answer = true;
                    continue;
                }
                Waited::Roused => continue,
                Waited::Empty => false,
                // After an answer the store is not away, and other requests were faster.
                Waited::Late => !had_answer,
                Waited::Alone => true,
            };
            if is_alone {
                let basis = self.alone()?;
                return grant(&mut lease, basis).map(|()| lease).map_err(Refused::Exceeded);
            }
            meter.give_part_back(exceeded.limit);
            return Err(Refused::Exceeded(exceeded));
        }
    }

    /// How far the limits of this key are used. `None`: it is not known, or keys are closed without the
    /// store.
    #[must_use]
    pub fn usage(
        &self,
        meter: &Arc<LimitMeter>,
        limits: &LimitValues,
        is_up: bool,
        now: Duration,
    ) -> Option<KeyUse> {
        let share = meter.join(&self.queue);
        match self.when_alone {
            _ if is_up => meter.use_by_all(share, limits, now),
            WhenAlone::Share => Some(meter.use_of_part(limits, self.replicas.load(Relaxed).max(1), now)),
            WhenAlone::Open => Some(meter.use_here(limits, now)),
            WhenAlone::Closed => None,
        }
    }

    fn alone(&self) -> Result<LimitBasis, Refused> {
        match self.when_alone {
            WhenAlone::Share => Ok(LimitBasis::Part(self.replicas.load(Relaxed).max(1))),
            WhenAlone::Open => Ok(LimitBasis::Own),
            WhenAlone::Closed => Err(Refused::Closed),
        }
    }

    /// Waits for the answer to a report with this request's needs: all missing amounts, so that one answer
    /// grants them all.
    async fn wait(
        &self,
        meter: &Arc<LimitMeter>,
        (exceeded, missing): (&Exceeded, [i64; 4]),
        is_up: impl Fn() -> bool,
        deadline: Instant,
        clock: impl Fn() -> Duration,
    ) -> Waited {
        let (Some(share), Some(_)) = (meter.share(), exceeded.after) else { return Waited::Empty };
        if !is_up() {
            // The use that is admitted alone is reported when the store is back.
            meter.wake();
            return Waited::Alone;
        }
        let now = share.clock(clock());
        let mut until = deadline;
        let limit = exceeded.limit as usize;
        if share.is_empty(limit, exceeded.amount, millis(now)) {
            let Some(retry) = meter.place_retry(share, exceeded.limit, now) else { return Waited::Empty };
            until = Instant::now() + retry;
            if until >= deadline {
                return Waited::Empty;
            }
        }
        // Before the need is noted, so that no answer is missed.
        let answered = share.answered.notified();
        tokio::pin!(answered);
        answered.as_mut().enable();
        // Where the store had too little of this limit, the report asks for nothing else for this request.
        let is_scarce = share.empty_until[limit].load(Acquire) > 0;
        let mut needs = missing;
        (0..4).filter(|other| is_scarce && *other != limit).for_each(|other| needs[other] = 0);
        let _needs = share.need_all(needs);
        let reported = share.reported.load(Acquire);
        meter.wake();
        // A wait that ends before the deadline is the pause after an answer, so it counts as answered.
        let is_over = timeout_at(until, answered).await.is_err() && until == deadline;
        let is_answered = share.answered_report.load(Acquire) > reported || until < deadline;
        match is_up() {
            false => Waited::Alone,
            true if is_over => Waited::Late,
            true if is_answered => Waited::Answered,
            true => {
                // Bounds the looks of a request where others take each free amount first.
                sleep(ROUSED_PAUSE).await;
                Waited::Roused
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::sync::mpsc::{self, Receiver};

    use super::*;
    use crate::auth::limit::{Limit, Use, report::tests::ModelStore};

    const WAIT: Duration = Duration::from_millis(50);
    const MS: Duration = Duration::from_millis(1);

    /// A gateway's background, with a store that takes time.
    struct Rig {
        limits: LimitValues,
        handle: ShareHandle,
        meter: Arc<LimitMeter>,
        store: RefCell<ModelStore>,
        begun: Instant,
        /// From a request's wake-up to a look at its key, and from a report to its answer.
        delays: [Duration; 2],
    }

    impl Rig {
        fn new(
            limits: LimitValues,
            (replicas, when_alone): (u32, WhenAlone),
        ) -> (Self, Receiver<Arc<LimitMeter>>) {
            let (queue, woken) = mpsc::channel(8);
            let handle = ShareHandle { queue, replicas: Arc::new(replicas.into()), when_alone, wait: WAIT };
            let meter = Arc::<LimitMeter>::default();
            meter.facts().limits = limits;
            let (store, begun) = (RefCell::default(), Instant::now());
            (Self { limits, handle, meter, store, begun, delays: [Duration::ZERO, MS] }, woken)
        }

        fn clock(&self) -> Duration {
            Duration::from_secs(1_800_000_000) + self.begun.elapsed()
        }

        async fn enter(&self) -> Result<Lease, Refused> {
            self.handle.enter(&self.meter, &self.limits, || true, || self.clock()).await
        }

        async fn tokens(&self, prompt: u32) -> Result<Lease, Refused> {
            let reservation = Reservation { prompt, ..Reservation::default() };
            let lease = self.enter().await?;
            self.handle.extend(lease, &self.limits, &reservation, || true, || self.clock()).await
        }

        async fn exchange(&self, name: usize, meter: &LimitMeter) {
            let (sent, replicas) = (self.clock(), self.handle.replicas.load(Relaxed));
            let report = meter.report(sent, None).unwrap();
            sleep(self.delays[1]).await;
            let answer = self.store.borrow_mut().run(name, &report, millis(self.clock()));
            meter.accept(&answer.unwrap(), sent, replicas);
        }

        /// Until `work` has ended.
        async fn run<T>(&self, mut woken: Receiver<Arc<LimitMeter>>, work: impl Future<Output = T>) -> T {
            let background = async {
                loop {
                    if let Ok(Some(woken)) = timeout_at(Instant::now() + 5 * WAIT, woken.recv()).await {
                        sleep(self.delays[0]).await;
                        woken.share().unwrap().note_dequeued();
                    }
                    while self.meter.is_due(self.clock()) {
                        self.exchange(0, &self.meter).await;
                    }
                    self.meter.rouse_if_met(self.clock());
                }
            };
            tokio::select! {
                () = background => unreachable!(),
                ended = work => ended,
            }
        }
    }

    /// An idle key holds neither a place nor one of the requests per minute. The request after the pause
    /// gets both with one answer.
    #[tokio::test(start_paused = true)]
    async fn a_key_with_two_limits_gets_both_after_a_pause() {
        for delay in [1, 30] {
            let limits = LimitValues { requests: Some(10), concurrent: Some(6), ..LimitValues::default() };
            let (mut rig, woken) = Rig::new(limits, (2, WhenAlone::Closed));
            rig.delays[1] = delay * MS;
            let requests = async {
                for pause in [0, 10, 1, 30] {
                    sleep(Duration::from_secs(pause)).await;
                    let lease = rig.enter().await;
                    assert!(lease.is_ok(), "after {pause} s: {lease:?}");
                    lease.unwrap().settle(Use::default(), Duration::ZERO);
                }
            };
            rig.run(woken, requests).await;
        }
    }

    /// A place that becomes free here as a request begins to wait for one is its own.
    #[tokio::test(start_paused = true)]
    async fn a_place_that_becomes_free_here_is_seen() {
        let limits = LimitValues { concurrent: Some(8), ..LimitValues::default() };
        let (mut rig, woken) = Rig::new(limits, (1, WhenAlone::Closed));
        rig.delays[0] = 2 * MS;
        let requests = async {
            let mut running = vec![rig.enter().await.unwrap()];
            while let Ok(lease) = rig.meter.enter(&limits, rig.clock()) {
                running.push(lease);
            }
            let leave = async {
                sleep(MS).await;
                running.pop();
            };
            let (entered, ()) = tokio::join!(rig.enter(), leave);
            assert!(entered.is_ok(), "{entered:?}");
        };
        rig.run(woken, requests).await;
    }

    /// The rest that is less than a request needs is for others, here and elsewhere.
    #[tokio::test(start_paused = true)]
    async fn a_refused_request_keeps_no_part_of_the_rest() {
        let limits = LimitValues { tokens: Some(1000), ..LimitValues::default() };
        let (rig, woken) = Rig::new(limits, (2, WhenAlone::Closed));
        let other = Arc::<LimitMeter>::default();
        other.facts().limits = limits;
        other.join(&rig.handle.queue);
        let get = async |amount: i64| {
            let need = other.share().unwrap().need(Limit::Tokens, amount);
            rig.exchange(1, &other).await;
            drop(need);
            let asked = Reservation { prompt: amount.try_into().unwrap(), ..Reservation::default() };
            other.lease(&limits, &asked, rig.clock())
        };
        let requests = async {
            let none = rig.tokens(0).await;
            assert!(none.is_ok(), "no tokens need no grant: {none:?}");
            let used = get(500).await.unwrap();
            let refused = rig.tokens(600).await;
            assert!(matches!(refused, Err(Refused::Exceeded(Exceeded { limit: Limit::Tokens, .. }))));
            let small = rig.tokens(50).await;
            assert!(small.is_ok(), "{small:?}");
            sleep(5 * MS).await;
            let larger = rig.tokens(200).await;
            assert!(larger.is_ok(), "{larger:?}");
            let elsewhere = get(50).await;
            assert!(elsewhere.is_ok(), "{elsewhere:?}");
            drop((used, small, larger, elsewhere));
        };
        rig.run(woken, requests).await;
    }

    /// An answer to a report from before the request does not show that the store has nothing for it.
    #[tokio::test(start_paused = true)]
    async fn an_answer_to_an_earlier_report_refuses_nothing() {
        let limits = LimitValues { requests: Some(10), ..LimitValues::default() };
        let (mut rig, woken) = Rig::new(limits, (2, WhenAlone::Share));
        rig.delays[1] = 40 * MS;
        let later = async {
            sleep(5 * MS).await;
            rig.enter().await
        };
        let (first, second) = rig.run(woken, async { tokio::join!(rig.enter(), later) }).await;
        assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
    }

    /// Use that is admitted without the store is looked at when the store is back.
    #[tokio::test(start_paused = true)]
    async fn use_alone_is_known_to_the_background() {
        let limits = LimitValues { concurrent: Some(6), ..LimitValues::default() };
        let (rig, mut woken) = Rig::new(limits, (2, WhenAlone::Share));
        let entered = rig.handle.enter(&rig.meter, &limits, || false, || rig.clock()).await;
        assert!(entered.is_ok() && woken.try_recv().is_ok());
    }
}
