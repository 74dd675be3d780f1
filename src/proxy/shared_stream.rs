//! An answer that several equal requests share: the task that reads it from its provider, and the body by
//! which each request follows it.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{answer_place::RecordedAnswer, fault, translation::AnswerBody};
use crate::{
    base::{Fault, FaultKind, Sent, Side, Stage},
    cache::flight::{FlightEnd, FlightFollower, FlightFrame, FlightLeader},
    exchange::{Completion, Outcome},
    relay::Committed,
    telemetry::GaugeGuard,
    wire::{Dialect, FailedStream},
};

/// Reads a stream for all that follow it, whatever the pace of each, until it ends or nobody follows. Then it
/// is dropped, which ends it at its provider.
pub(super) async fn drive(
    mut stream: Committed<AnswerBody>,
    mut leader: FlightLeader,
    mut recorded: Option<RecordedAnswer>,
) {
    loop {
        let frame = poll_fn(|cx| {
            if !ready!(leader.poll_wanted(cx)) {
                return Poll::Ready(None);
            }
            stream.poll_frame(cx).map(Some)
        });
        let Some(frame) = frame.await else {
            // Clients close their connection once they have the last event, before the body ends.
            if let Some(usage) = stream.whole_answer() {
                keep(&mut recorded, usage.total());
            } else if let Some(fault) = leader.left_by() {
                stream.cut(|_| fault);
            }
            return;
        };
        let is_answered = stream.is_answered();
        let whole =
            if is_answered || stream.is_over() || frame.is_none() { stream.whole_answer() } else { None };
        let tokens = whole.map_or(0, |usage| usage.total());
        let end = || stream.own_fault().map_or(FlightEnd::Complete(tokens), FlightEnd::Failed);
        match frame {
            Some(Ok(bytes)) => {
                if recorded.as_mut().is_some_and(|recorded| !recorded.add(&bytes)) {
                    recorded = None;
                }
                let is_last = stream.is_over();
                if is_last && whole.is_some() {
                    keep(&mut recorded, tokens);
                }
                if is_answered {
                    leader.note_answered(end());
                }
                leader.add(&bytes, is_last.then(end));
                if is_last {
                    return;
                }
            }
            Some(Err(fault)) => {
                return leader.end(FlightEnd::Broken { fault, is_shown: stream.shows_fault() });
            }
            None => {
                if whole.is_some() {
                    keep(&mut recorded, tokens);
                }
                return leader.end(end());
            }
        }
    }
}

fn keep(recorded: &mut Option<RecordedAnswer>, tokens: u64) {
    if let Some(recorded) = recorded.take() {
        recorded.keep_stream(tokens);
    }
}

/// A request's own way through a shared stream.
#[derive(Debug)]
pub struct SharedStream {
    follower: FlightFollower,
    dialect: Dialect,
    /// The id by which an error event names the answer, if one is to be shown.
    shows_fault: Option<Box<str>>,
    /// It breaks off with this fault, after this event.
    broken: Option<Fault>,
    event: Option<Bytes>,
    has_yielded: bool,
    has_ended: bool,
    arrived: Instant,
    /// `None`: it has been reported, or the task that reads the stream reports it.
    completion: Option<Completion>,
    _guards: Option<[GaugeGuard; 2]>,
}

impl SharedStream {
    /// `shows_fault`: the request's id, if an event shows a fault; `owned`: the completion of a request that
    /// does not pay, with its guards; `None`: the one that pays.
    pub(super) fn new(
        follower: FlightFollower,
        dialect: Dialect,
        shows_fault: Option<Box<str>>,
        arrived: Instant,
        owned: Option<(Completion, [GaugeGuard; 2])>,
    ) -> Self {
        let (completion, guards) = owned.unzip();
        Self {
            follower,
            dialect,
            shows_fault,
            broken: None,
            event: None,
            has_yielded: false,
            has_ended: false,
            arrived,
            completion,
            _guards: guards,
        }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        if let Some(event) = self.event.take() {
            return Poll::Ready(Some(Ok(event)));
        }
        if self.broken.is_some() && !self.has_yielded {
            // A reset discards the frames of an HTTP/2 stream that wait, so the connection's task runs before
            // it.
            self.has_yielded = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(fault) = self.broken.take() {
            self.has_ended = true;
            self.complete(Outcome::Fault(fault.clone()));
            return Poll::Ready(Some(Err(fault)));
        }
        if self.has_ended {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.follower.poll_frame(cx)) {
            FlightFrame::Frame(frame) => Some(Ok(self.pass(frame))),
            FlightFrame::Last(frame, end) => {
                let frame = self.pass(frame);
                self.finish(end);
                Some(Ok(frame))
            }
            FlightFrame::End(FlightEnd::Broken { fault, is_shown }) => {
                self.break_off(fault, is_shown);
                return self.poll_frame(cx);
            }
            FlightFrame::End(FlightEnd::Absent) => {
                self.break_off(Fault::provider(Stage::Body, FaultKind::Reset, Sent::Some), false);
                return self.poll_frame(cx);
            }
            FlightFrame::End(end) => {
                self.finish(end);
                None
            }
            FlightFrame::Behind => {
                let kind = FaultKind::Refused("fell_behind");
                let fault = Fault { side: Side::Client, stage: Stage::Body, kind, sent: Sent::Some };
                self.break_off(fault, false);
                return self.poll_frame(cx);
            }
        })
    }

    pub(super) const fn is_over(&self) -> bool {
        self.has_ended
    }

    pub(super) fn end(&mut self, fault: impl FnOnce(Stage) -> Fault) {
        if !self.has_ended && self.broken.is_none() && self.follower.answered().is_none() {
            let fault = fault(Stage::Body);
            self.follower.note_end(fault.clone());
            self.break_off(fault, false);
        }
    }

    pub(super) fn cut(&mut self, fault: impl FnOnce(Stage) -> Fault) {
        match self.follower.answered() {
            Some(end) => self.finish(end),
            None => {
                let fault = fault(Stage::Body);
                self.follower.note_end(fault.clone());
                self.complete(Outcome::Fault(fault));
            }
        }
    }

    fn pass(&mut self, frame: Bytes) -> Bytes {
        let now = Instant::now();
        let after = now.saturating_duration_since(self.arrived);
        if let Some(completion) = &mut self.completion {
            completion.running().note_shared(now, after);
            let stats = &mut completion.record().stats;
            stats.first_byte.get_or_insert(after);
            stats.frames += 1;
            stats.bytes += frame.len() as u64;
        }
        frame
    }

    fn finish(&mut self, end: FlightEnd) {
        self.has_ended = true;
        if let (Some(completion), FlightEnd::Complete(tokens)) = (&mut self.completion, &end)
            && let Some(reuse) = &mut completion.record().reuse
        {
            reuse.tokens_saved = *tokens;
        }
        self.complete(match end {
            FlightEnd::Failed(fault) => Outcome::Fault(fault),
            FlightEnd::Complete(_) | FlightEnd::Broken { .. } | FlightEnd::Absent => Outcome::Complete,
        });
    }

    /// `is_shown`: an event that reports the fault has passed.
    fn break_off(&mut self, fault: Fault, is_shown: bool) {
        self.event = if is_shown { None } else { self.event(&fault) };
        self.broken = Some(fault);
    }

    /// The error in its client's dialect, apart from an event that has passed in part.
    fn event(&self, fault: &Fault) -> Option<Bytes> {
        let id = self.shows_fault.as_deref()?;
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let event = fault::event(self.dialect, fault, &FailedStream { id, events: 0, at });
        Some([&b"\n\n"[..], &event].concat().into())
    }

    fn complete(&mut self, outcome: Outcome) {
        if let Some(completion) = self.completion.take() {
            completion.complete(outcome);
        }
    }
}

/// Clients close their connection once they have the last event, before the body ends.
impl Drop for SharedStream {
    fn drop(&mut self) {
        if self.completion.is_some()
            && let Some(end) = self.follower.answered()
        {
            self.finish(end);
        }
    }
}
