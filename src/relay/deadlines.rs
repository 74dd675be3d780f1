//! The deadlines of a stream that flows: `first_token`, `stream` (the gap between two events),
//! `stream_total`.
//!
//! A frame costs no timer work: the one timer is armed for the earliest deadline and, when it fires, checks
//! whether bytes have moved the deadline since.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use tokio::time::{Duration, Instant, Sleep, sleep_until};

use crate::base::DeadlineKind;

/// How far the answer has come.
#[derive(Debug)]
enum StreamPhase {
    /// Deadline of the first token, and its timeout.
    Silent(Instant, Duration),
    Flowing,
    /// The answer is complete: the stream ends at this time.
    Answered(Instant),
}

#[derive(Debug)]
pub(super) struct StreamDeadlines {
    phase: StreamPhase,
    stream: Duration,
    /// Deadline and timeout. `None`: no limit. Boxed, because few streams have one.
    total: Option<Box<(Instant, Duration)>>,
    /// Time of the last bytes of an event.
    last: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// The task that the timer will wake, and whether a frame has come since the timer was polled.
    waker: Option<Waker>,
    moved: bool,
    /// The deadline may be earlier than the timer is set for. Otherwise deadlines only move away.
    nearer: bool,
}

impl StreamDeadlines {
    /// Starts at `now`. `first_token` counts from the time the request was sent.
    pub(super) fn new(
        now: Instant,
        first_token: (Instant, Duration),
        stream: Duration,
        total: Option<(Instant, Duration)>,
    ) -> Self {
        Self {
            phase: StreamPhase::Silent(first_token.0, first_token.1),
            stream,
            total: total.map(Box::new),
            last: now,
            timer: None,
            waker: None,
            moved: false,
            nearer: false,
        }
    }

    /// Bytes came at `now`. Comments alone (`alive` is false) do not re-arm `stream`.
    pub(super) const fn note(&mut self, now: Instant, alive: bool) {
        if alive {
            self.last = now;
            self.moved = true;
        }
    }

    pub(super) const fn first_token_came(&mut self) {
        if matches!(self.phase, StreamPhase::Silent(..)) {
            self.phase = StreamPhase::Flowing;
            self.nearer = true;
        }
    }

    /// The answer is complete. From here on only `end` counts.
    pub(super) const fn end_at(&mut self, end: Instant) {
        self.phase = StreamPhase::Answered(end);
        self.nearer = true;
    }

    /// When a stream with a complete answer ends.
    pub(super) const fn end(&self) -> Option<Instant> {
        match self.phase {
            StreamPhase::Answered(end) => Some(end),
            StreamPhase::Silent(..) | StreamPhase::Flowing => None,
        }
    }

    fn due(&self) -> (Instant, DeadlineKind, Duration) {
        let mut due = match self.phase {
            StreamPhase::Silent(at, timeout) => (at, DeadlineKind::FirstToken, timeout),
            StreamPhase::Flowing => (self.last + self.stream, DeadlineKind::Stream, self.stream),
            StreamPhase::Answered(end) => return (end, DeadlineKind::Stream, self.stream),
        };
        if let Some((at, timeout)) = self.total.as_deref().copied()
            && at < due.0
        {
            due = (at, DeadlineKind::Total, timeout);
        }
        due
    }

    /// Ready when a deadline has passed without the bytes that it waits for.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(DeadlineKind, Duration)> {
        if self.is_armed_for(cx) {
            return Poll::Pending;
        }
        loop {
            let (at, kind, timeout) = self.due();
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if timer.is_elapsed() || timer.deadline() > at {
                timer.as_mut().reset(at);
            }
            self.nearer = false;
            self.waker = Some(cx.waker().clone());
            ready!(timer.as_mut().poll(cx));
            if self.due().0 <= Instant::now() {
                return Poll::Ready((kind, timeout));
            }
        }
    }

    /// A frame has come and the timer is still set for this task, no later than the deadline. A timer that
    /// fired while the client did not read woke no poll, so it must be set again.
    fn is_armed_for(&mut self, cx: &Context<'_>) -> bool {
        let moved = std::mem::take(&mut self.moved);
        let set = self.timer.as_ref().is_some_and(|timer| !timer.is_elapsed()) && !self.nearer;
        moved && set && self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn deadlines(total: Option<Duration>) -> StreamDeadlines {
        let now = Instant::now();
        StreamDeadlines::new(
            now,
            (now + 5 * SECOND, 5 * SECOND),
            3 * SECOND,
            total.map(|total| (now + total, total)),
        )
    }

    async fn fires(deadlines: &mut StreamDeadlines) -> (DeadlineKind, Duration) {
        let start = Instant::now();
        let (kind, _) = poll_fn(|cx| deadlines.poll(cx)).await;
        (kind, start.elapsed())
    }

    /// Polls once, as a stream does when it has nothing.
    async fn poll_once(deadlines: &mut StreamDeadlines) {
        poll_fn(|cx| {
            assert!(deadlines.poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_token_brings_the_deadline_nearer() {
        let mut deadlines = deadlines(None);
        poll_once(&mut deadlines).await;
        tokio::time::advance(SECOND).await;
        deadlines.note(Instant::now(), true);
        deadlines.first_token_came();
        deadlines.stream = SECOND;
        let start = Instant::now();
        // One poll after the frame, as within one turn of a worker: it alone must arm the timer.
        poll_once(&mut deadlines).await;
        assert_eq!(deadlines.timer.as_ref().unwrap().deadline(), start + SECOND);
        assert_eq!(fires(&mut deadlines).await, (DeadlineKind::Stream, SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_token_deadline_ignores_other_bytes() {
        let mut deadlines = deadlines(None);
        for _ in 0..4 {
            tokio::time::advance(SECOND).await;
            deadlines.note(Instant::now(), true);
            poll_once(&mut deadlines).await;
        }
        let (kind, after) = fires(&mut deadlines).await;
        assert_eq!((kind, after.as_secs()), (DeadlineKind::FirstToken, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn events_re_arm_the_stream_deadline_and_comments_do_not() {
        let mut deadlines = deadlines(None);
        deadlines.first_token_came();
        for _ in 0..10 {
            tokio::time::advance(2 * SECOND).await;
            deadlines.note(Instant::now(), true);
            poll_once(&mut deadlines).await;
        }
        tokio::time::advance(2 * SECOND).await;
        deadlines.note(Instant::now(), false);
        let (kind, after) = fires(&mut deadlines).await;
        assert_eq!((kind, after.as_secs()), (DeadlineKind::Stream, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_total_deadline_ends_a_stream_that_flows() {
        let mut deadlines = deadlines(Some(4 * SECOND));
        deadlines.first_token_came();
        tokio::time::advance(2 * SECOND).await;
        deadlines.note(Instant::now(), true);
        poll_once(&mut deadlines).await;
        assert_eq!(fires(&mut deadlines).await, (DeadlineKind::Total, 2 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_fired_while_the_client_did_not_read_is_set_again() {
        let (mut deadlines, start) = (deadlines(None), Instant::now());
        deadlines.first_token_came();
        poll_once(&mut deadlines).await;
        tokio::time::advance(2 * SECOND).await;
        deadlines.note(Instant::now(), true);
        // The client does not read: the timer fires at 3 s, and the stream is polled again at 4 s.
        tokio::time::advance(2 * SECOND).await;
        poll_once(&mut deadlines).await;
        assert_eq!(deadlines.timer.as_ref().unwrap().deadline(), start + 5 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_fired_together_with_a_frame_is_set_again() {
        let mut deadlines = deadlines(None);
        deadlines.first_token_came();
        poll_once(&mut deadlines).await;
        tokio::time::advance(3 * SECOND).await;
        deadlines.note(Instant::now(), true);
        poll_once(&mut deadlines).await;
        assert_eq!(fires(&mut deadlines).await, (DeadlineKind::Stream, 3 * SECOND));
    }
}
