//! The end of the wait for a response's head, pool and connection included, and the timer that watches it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Duration, Instant, Sleep, sleep_until};

use crate::base::{DeadlineKind, Fault, FaultKind, Sent, Stage};

/// The end of the wait for a response's head, and its name and length for the fault.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    pub at: Instant,
    pub kind: DeadlineKind,
    /// From the start of the wait to `at`.
    pub after: Duration,
}

impl Deadline {
    #[must_use]
    pub fn new(kind: DeadlineKind, after: Duration) -> Self {
        Self { at: Instant::now() + after, kind, after }
    }

    /// The fault of a deadline that passed at `stage`.
    #[must_use]
    pub const fn fault(&self, stage: Stage) -> Fault {
        Fault::provider(stage, FaultKind::Timeout(self.kind, self.after), Sent::before(stage))
    }
}

/// A connection's timer for the heads of its responses, kept from one request to the next, because to set
/// and to clear a timer costs more than to poll one that is set. It stands at the earliest of the deadlines
/// since it last rang; where that one no longer counts, it is set to the one that does. It holds the task
/// that waited last.
#[derive(Debug)]
pub(super) struct KeptTimer(Option<Pin<Box<Sleep>>>);

impl KeptTimer {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// Of a connection that is not used for a while.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    /// Ready once `deadline` has come.
    pub(super) fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_kept_timer_rings_at_each_deadline_and_not_before() {
        let (mut timer, start) = (KeptTimer::new(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        // The first wait ends early, and the timer stays where it is.
        for deadline in [50, 90, 60, 60, 20] {
            let polled = poll_fn(|cx| Poll::Ready(timer.poll(at(deadline), cx))).await;
            assert!(polled.is_pending(), "{deadline}");
        }
        for deadline in [40, 90, 91, 200] {
            poll_fn(|cx| timer.poll(at(deadline), cx)).await;
            let late = Instant::now().checked_duration_since(at(deadline));
            assert!(late.is_some_and(|late| late < Duration::from_millis(2)), "{deadline}: {late:?}");
        }
        assert!(poll_fn(|cx| Poll::Ready(timer.poll(at(10), cx))).await.is_ready(), "it has passed");
    }
}
