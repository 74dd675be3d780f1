//! The commit point as a type. An [`Uncommitted`] stream may be given up unseen: nothing of it has reached the client. A
//! [`Committed`] one may not: what goes wrong from there on is told in the stream itself, then it ends.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    detached::{DetachedStream, DetachedStreams},
    settings::{CommitPoint, StreamSettings},
    stream::{FrameSource, RelayOptions, Stream},
    trace_comment,
};
use crate::{
    base::{Fault, FaultKind, RequestId, Sent, Stage},
    exchange::{Completion, OnDisconnect, Outcome},
    telemetry::GaugeGuard,
    wire::{Dialect, Usage},
};

/// A stream that is held back past this commits, whatever it holds.
const MAX_WAITING: usize = 256 * 1024;

/// A stream of which the client has seen nothing.
#[derive(Debug)]
pub struct Uncommitted<S>(Box<Stream<S>>);

impl<S: FrameSource + 'static> Uncommitted<S> {
    #[must_use]
    pub fn new(
        source: S,
        manner: &RelayOptions,
        settings: &StreamSettings,
        started: Instant,
        id: RequestId,
    ) -> Self {
        Self(Box::new(Stream::new(source, manner, settings, started, id)))
    }

    /// Pulls until `point` is reached.
    ///
    /// # Errors
    /// What went wrong before; an error event counts until the first content has come, and [`Uncommitted::told`] is
    /// what it said: such a stream can still be committed.
    pub async fn reach(&mut self, point: CommitPoint) -> Result<(), Fault> {
        poll_fn(|cx| self.poll_reach(point, cx)).await
    }

    /// Where it comes from. `None` if it has ended.
    pub const fn source(&mut self) -> Option<&mut S> {
        self.0.source()
    }

    /// What it has told of tokens so far.
    pub fn usage(&mut self) -> Option<Usage> {
        self.0.tap.stats().usage
    }

    /// The first bytes of the error event that came before the first content.
    #[must_use]
    pub fn told(&mut self) -> Bytes {
        self.0.tap.take_told()
    }

    fn poll_reach(&mut self, point: CommitPoint, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let stream = &mut self.0;
        loop {
            let reached = match point {
                CommitPoint::Headers => true,
                CommitPoint::FirstFrame => stream.tap.has_frames(),
                CommitPoint::FirstContent => stream.tap.has_content() || stream.waiting() > MAX_WAITING,
            };
            if reached {
                return Poll::Ready(Ok(()));
            }
            if stream.has_ended() {
                // A ping, a role, half an event and then the end: that is no answer.
                let cut = point == CommitPoint::FirstContent && !stream.tap.has_answer();
                let fault = || Fault::provider(stream.stage(), FaultKind::Reset, Sent::Some);
                return Poll::Ready(if cut { Err(fault()) } else { Ok(()) });
            }
            let seen = ready!(stream.poll_pull(cx))?;
            if seen.error && !seen.content && point == CommitPoint::FirstContent {
                return Poll::Ready(Err(Fault::provider(stream.stage(), FaultKind::ErrorEvent, Sent::Some)));
            }
        }
    }

    /// From here on the client sees it. `on_fault` renders the event that tells of a fault.
    #[must_use]
    pub fn commit(
        mut self,
        dialect: Dialect,
        on_fault: OnFault,
        completion: Completion,
        (in_flight, counted, orphans): (GaugeGuard, GaugeGuard, DetachedStreams),
    ) -> Committed<S> {
        self.0.passage.commit();
        Committed {
            stream: self.0,
            dialect,
            on_fault,
            broken: None,
            failed: None,
            completion: Some(completion),
            orphans,
            _counted: [in_flight, counted],
        }
    }
}

/// Renders a fault as an event of a dialect.
pub type OnFault = fn(Dialect, &Fault) -> Bytes;

/// A stream that the client sees.
#[derive(Debug)]
pub struct Committed<S: FrameSource + 'static> {
    stream: Box<Stream<S>>,
    dialect: Dialect,
    on_fault: OnFault,
    /// The body breaks off with this: it has no events that could tell it.
    broken: Option<Fault>,
    /// It ends with this.
    failed: Option<Fault>,
    /// `None` only while it is dropped.
    completion: Option<Completion>,
    /// Where it goes if the client leaves and it is to be read on.
    orphans: DetachedStreams,
    /// The request and the stream.
    _counted: [GaugeGuard; 2],
}

impl<S: FrameSource + 'static> Committed<S> {
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        let frame = match ready!(self.stream.poll_frame(cx)) {
            Some(Ok(bytes)) => Some(Ok(bytes)),
            Some(Err(fault)) => {
                self.fail(fault);
                return self.poll_frame(cx);
            }
            None => match self.broken.take() {
                Some(fault) => Some(Err(fault)),
                None => self.comment().map(Ok),
            },
        };
        Poll::Ready(frame)
    }

    /// What the stream was, for a client that asked.
    fn comment(&mut self) -> Option<Bytes> {
        if !self.stream.take_comment() {
            return None;
        }
        self.stream.note_digests();
        let record = self.completion.as_mut()?.record();
        Some(trace_comment::comment(record, self.stream.tap.stats()))
    }

    /// The client is told by an event where there are events, else by breaking off.
    fn fail(&mut self, fault: Fault) {
        if self.stream.tap.is_event_stream() {
            self.stream.close_event();
            self.stream.add((self.on_fault)(self.dialect, &fault));
        } else {
            self.broken = Some(fault.clone());
        }
        self.failed = Some(fault);
    }
}

impl<S: FrameSource + 'static> Committed<S> {
    /// The client will not be given more.
    pub(super) fn is_over(&self) -> bool {
        self.is_given() && !self.stream.owes_comment()
    }

    /// The client was given all that there is of the answer.
    fn is_given(&self) -> bool {
        self.stream.has_ended() && self.stream.waiting() == 0 && self.broken.is_none()
    }

    /// It ends here, whatever the provider would still have sent; the client is not told.
    pub(super) fn cut(&mut self, fault: impl FnOnce(Stage) -> Fault) {
        let stage = self.stream.stage();
        self.failed.get_or_insert_with(|| fault(stage));
    }

    /// How it ended, unless the client has left before it was given all.
    fn outcome(&mut self) -> Option<Outcome> {
        match self.failed.take() {
            Some(fault) => Some(Outcome::Fault(fault)),
            None => self.is_given().then(|| self.stream.outcome()),
        }
    }

    /// The client has left: the stream is read on, if that is the policy and there is room. Else the completion is
    /// dropped, which reports that the client left.
    fn leave(&mut self, mut completion: Completion) {
        if let OnDisconnect::Drain { time, tokens } = completion.record().on_disconnect
            && let Some(counted) = self.orphans.place()
            && let Some((source, tap)) = self.stream.leave()
        {
            let left = completion.stage().get();
            self.orphans.adopt(DetachedStream { source, tap, completion, left, time, tokens, counted });
        } else {
            completion.record().stats = self.stream.tap.take_stats();
        }
    }
}

/// The completion is reported when the client's connection lets go of the stream: after the last frame's write.
impl<S: FrameSource + 'static> Drop for Committed<S> {
    fn drop(&mut self) {
        self.stream.passage.taken(self.stream.tap.stats());
        let outcome = self.outcome();
        self.stream.note_digests();
        let Some(mut completion) = self.completion.take() else { return };
        completion.stage().set(self.stream.stage());
        match outcome {
            Some(outcome) => {
                completion.record().stats = self.stream.tap.take_stats();
                completion.complete(outcome);
            }
            None => self.leave(completion),
        }
    }
}
