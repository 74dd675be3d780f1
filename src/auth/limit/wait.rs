//! A request whose key has nothing granted here waits for the shared store: for a bounded time, and then it
//! is decided here alone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc::Sender,
    time::{Instant, timeout_at},
};

use super::{
    alone::{LimitBasis, WhenAlone},
    lease::Lease,
    meter::LimitMeter,
    usage::KeyUse,
    values::{Exceeded, LimitValues, Reservation},
};

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
        let deadline = Instant::now() + self.wait;
        let mut had_answer = false;
        // Keeps its place while it waits for one of the requests per minute. The report that asks for one
        // would give the other back, so that a key with both limits never had both.
        let mut lease = meter.empty_lease();
        loop {
            let exceeded = match lease.enter_on(limits, clock(), LimitBasis::Granted) {
                Ok(()) => return Ok(lease),
                Err(exceeded) => exceeded,
            };
            match self.wait(meter, &exceeded, &is_up, deadline, &clock).await {
                Waited::Answered => had_answer = true,
                Waited::Empty => return Err(Refused::Exceeded(exceeded)),
                // The store answers, and others were faster.
                Waited::Late if had_answer => return Err(Refused::Exceeded(exceeded)),
                Waited::Late | Waited::Alone => {
                    let basis = self.alone()?;
                    let entered = lease.enter_on(limits, clock(), basis);
                    return entered.map(|()| lease).map_err(Refused::Exceeded);
                }
            }
        }
    }

    /// As [`Lease::extend`], out of the shared limit.
    ///
    /// # Errors
    /// As there, or the store is away.
    pub async fn extend(
        &self,
        mut lease: Lease,
        limits: &LimitValues,
        reservation: &Reservation,
        is_up: impl Fn() -> bool,
        clock: impl Fn() -> Duration,
    ) -> Result<Lease, Refused> {
        let meter = Arc::clone(lease.meter());
        let deadline = Instant::now() + self.wait;
        let mut had_answer = false;
        loop {
            let exceeded = match lease.extend_on(limits, reservation, clock(), LimitBasis::Granted) {
                Ok(()) => return Ok(lease),
                Err(exceeded) => exceeded,
            };
            match self.wait(&meter, &exceeded, &is_up, deadline, &clock).await {
                Waited::Answered => had_answer = true,
                Waited::Empty => return Err(Refused::Exceeded(exceeded)),
                Waited::Late if had_answer => return Err(Refused::Exceeded(exceeded)),
                Waited::Late | Waited::Alone => {
                    let basis = self.alone()?;
                    let extended = lease.extend_on(limits, reservation, clock(), basis);
                    return extended.map(|()| lease).map_err(Refused::Exceeded);
                }
            }
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

    /// Waits for the answer to a report that includes this request's need.
    async fn wait(
        &self,
        meter: &Arc<LimitMeter>,
        exceeded: &Exceeded,
        is_up: impl Fn() -> bool,
        deadline: Instant,
        clock: impl Fn() -> Duration,
    ) -> Waited {
        let (Some(share), Some(_)) = (meter.share(), exceeded.after) else { return Waited::Empty };
        if !is_up() {
            return Waited::Alone;
        }
        let now = share.clock(clock());
        let mut until = deadline;
        if share.is_empty(exceeded.limit, now) {
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
        let _need = share.need(exceeded.limit, exceeded.amount);
        meter.wake();
        // A pause before the next question follows an answer.
        let is_over = timeout_at(until, answered).await.is_err() && until == deadline;
        match is_up() {
            false => Waited::Alone,
            true if is_over => Waited::Late,
            true => Waited::Answered,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{sync::mpsc, time::sleep};

    use super::*;
    use crate::auth::limit::{Use, report::tests::ModelStore, share::millis};

    /// An idle key holds neither a place nor one of the requests per minute. The request after the pause
    /// gets both, each with an answer of its own.
    #[tokio::test(start_paused = true)]
    async fn a_key_with_two_limits_gets_both_after_a_pause() {
        let limits = LimitValues { requests: Some(100), tokens: None, concurrent: Some(6), budget: None };
        let (queue, mut woken) = mpsc::channel(8);
        let (replicas, wait) = (Arc::new(AtomicU32::new(2)), Duration::from_millis(50));
        let handle = ShareHandle { queue, replicas, when_alone: WhenAlone::Closed, wait };
        let meter = Arc::<LimitMeter>::default();
        meter.facts().limits = limits;
        let begun = Instant::now();
        let clock = || Duration::from_secs(1_800_000_000) + begun.elapsed();
        let exchange = async {
            let mut store = ModelStore::default();
            loop {
                if let Ok(Some(woken)) = timeout_at(Instant::now() + 5 * wait, woken.recv()).await {
                    woken.share().unwrap().note_dequeued();
                }
                while meter.is_due(clock()) {
                    let sent = clock();
                    let report = meter.report(sent, None).unwrap();
                    sleep(Duration::from_millis(1)).await;
                    meter.accept(&store.run(0, &report, millis(clock())).unwrap(), sent, 2);
                }
            }
        };
        let requests = async {
            for pause in [0, 10, 1, 30] {
                sleep(Duration::from_secs(pause)).await;
                let lease = handle.enter(&meter, &limits, || true, clock).await;
                assert!(lease.is_ok(), "after {pause} s: {lease:?}");
                lease.unwrap().settle(Use::default(), Duration::ZERO);
            }
        };
        tokio::select! {
            () = exchange => {}
            () = requests => {}
        }
    }
}
