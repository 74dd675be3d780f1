//! A stored stream at the pace at which it once came: each frame as long after the first as it was. It holds
//! nothing but a reference to the entry, and waits on one timer.

use std::{
    future::Future as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::time::{Duration, Instant, Sleep, sleep_until};

use crate::{
    base::{Fault, Stage},
    cache::StoredAnswer,
    exchange::{Completion, Outcome},
    telemetry::GaugeGuard,
};

#[derive(Debug)]
pub struct PacedAnswer {
    answer: Arc<StoredAnswer>,
    /// The frame that is next.
    next: usize,
    began: Instant,
    /// `None`: the next frame is due.
    pause: Option<Pin<Box<Sleep>>>,
    /// It breaks off with this fault.
    broken: Option<Fault>,
    /// `None`: it has been reported.
    completion: Option<Completion>,
    _guards: [GaugeGuard; 2],
}

impl PacedAnswer {
    pub(super) fn new(answer: Arc<StoredAnswer>, completion: Completion, guards: [GaugeGuard; 2]) -> Self {
        let (began, completion) = (Instant::now(), Some(completion));
        Self { answer, next: 0, began, pause: None, broken: None, completion, _guards: guards }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        if let Some(fault) = self.broken.take() {
            self.next = self.answer.marks.len();
            self.complete(Outcome::Fault(fault.clone()));
            return Poll::Ready(Some(Err(fault)));
        }
        let Some(mark) = self.answer.marks.get(self.next).copied() else { return Poll::Ready(None) };
        let due = self.began + Duration::from_millis(mark.after.into());
        let now = Instant::now();
        if due > now {
            ready!(self.pause.get_or_insert_with(|| Box::pin(sleep_until(due))).as_mut().poll(cx));
        }
        self.pause = None;
        let start = self.next.checked_sub(1).and_then(|before| self.answer.marks.get(before));
        let start = start.map_or(0, |before| before.end) as usize;
        let end = (mark.end as usize).min(self.answer.body.len());
        self.next += 1;
        let frame = self.answer.body.slice(start.min(end)..end);
        if let Some(completion) = &mut self.completion {
            let after = now.saturating_duration_since(completion.record().started);
            completion.running().note_shared(now, after);
            let stats = &mut completion.record().stats;
            stats.frames += 1;
            stats.bytes += frame.len() as u64;
        }
        if self.is_over() {
            self.complete(Outcome::Complete);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    pub(super) fn is_over(&self) -> bool {
        self.next >= self.answer.marks.len() && self.broken.is_none()
    }

    pub(super) fn end(&mut self, fault: impl FnOnce(Stage) -> Fault) {
        if !self.is_over() {
            self.broken = Some(fault(Stage::Body));
        }
    }

    pub(super) fn cut(&mut self, fault: impl FnOnce(Stage) -> Fault) {
        self.complete(Outcome::Fault(fault(Stage::Body)));
    }

    fn complete(&mut self, outcome: Outcome) {
        if let Some(completion) = self.completion.take() {
            completion.complete(outcome);
        }
    }
}
