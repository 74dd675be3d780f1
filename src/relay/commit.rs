//! The commit point as a type. An [`Uncommitted`] stream may be dropped unseen: nothing of it has reached the
//! client. A [`Committed`] one may not: a failure from there on is reported in the stream itself, and ends
//! it.

use std::{
    future::{Future as _, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::time::{Duration, Instant, Sleep, sleep};

use super::{
    detached::{DetachedStream, DetachedStreams},
    settings::{CommitPoint, StreamSettings},
    source::FrameSource,
    stream::{RelayOptions, Stream},
    tap::TapReport,
    trace_comment,
};
use crate::{
    base::{Fault, FaultKind, RequestId, Sent, Stage},
    exchange::{Completion, OnDisconnect, Outcome, StreamStats},
    telemetry::GaugeGuard,
    wire::{Dialect, FailedStream, Usage},
};

/// A stream that holds back more bytes than this commits, whatever it holds.
const MAX_WAITING: usize = 256 * 1024;

/// A stream of which the client has seen nothing.
#[derive(Debug)]
pub struct Uncommitted<S: FrameSource> {
    stream: Box<Stream<S>>,
    /// Bytes that were read before; empty: none.
    first: Bytes,
}

impl<S: FrameSource + 'static> Uncommitted<S> {
    #[must_use]
    pub fn new(
        source: S,
        options: &RelayOptions,
        settings: &StreamSettings,
        started: Instant,
        id: RequestId,
    ) -> Self {
        let stream = Box::new(Stream::new(source, options, settings, started, id));
        Self { stream, first: Bytes::new() }
    }

    /// The stream of which these bytes have been read before.
    #[must_use]
    pub fn beginning_with(self, first: Bytes) -> Self {
        Self { first, ..self }
    }

    /// Pulls until `point` is reached.
    ///
    /// # Errors
    /// The fault that came before. An error event counts as one until the first content has come;
    /// [`Uncommitted::error_text`] has its text, and such a stream can still be committed.
    pub async fn reach(&mut self, point: CommitPoint) -> Result<(), Fault> {
        poll_fn(|cx| self.poll_reach(point, cx)).await
    }

    /// Has `observer` observe a failure after the commit. It is dropped if the stream has ended.
    pub fn observe(&mut self, observer: S::Observer) {
        self.stream.observe(observer);
    }

    /// Usage that the provider has reported so far.
    pub fn usage(&mut self) -> Option<Usage> {
        self.stream.note_reported_usage();
        self.stream.tap.stats().usage
    }

    /// Tokens of output that have come, estimated.
    #[must_use]
    pub fn passed_tokens(&self) -> u32 {
        self.stream.tap.passed_tokens()
    }

    /// The first bytes of the error event that came before the first content, or of the document that came in
    /// place of events.
    #[must_use]
    pub fn error_text(&mut self) -> Bytes {
        self.stream.tap.take_error_text()
    }

    fn poll_reach(&mut self, point: CommitPoint, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Self { stream, first } = self;
        if !first.is_empty() {
            let report = stream.take_in(std::mem::take(first))?;
            if is_refused(report, point) {
                return Poll::Ready(Err(Fault::provider(stream.stage(), FaultKind::ErrorEvent, Sent::Some)));
            }
        }
        loop {
            if stream.has_ended() && stream.tap.is_blank() {
                return Poll::Ready(Err(stream.empty()));
            }
            let reached = match point {
                CommitPoint::Headers => true,
                CommitPoint::FirstFrame => {
                    stream.tap.has_frames()
                        && (!stream.tap.is_without_answer() || stream.waiting() > MAX_WAITING)
                }
                CommitPoint::FirstContent => stream.tap.has_content() || stream.waiting() > MAX_WAITING,
            };
            if point == CommitPoint::FirstContent
                && let Some(fault) = stream.take_cut()
            {
                return Poll::Ready(Err(fault));
            }
            if reached {
                return Poll::Ready(Ok(()));
            }
            if stream.has_ended() {
                // A ping, a role, half an event and then the end are no answer.
                let cut = point == CommitPoint::FirstContent && !stream.tap.has_answer();
                let fault = || Fault::provider(stream.stage(), FaultKind::Reset, Sent::Some);
                return Poll::Ready(if cut { Err(fault()) } else { Ok(()) });
            }
            let report = ready!(stream.poll_pull(cx))?;
            if is_refused(report, point) {
                return Poll::Ready(Err(Fault::provider(stream.stage(), FaultKind::ErrorEvent, Sent::Some)));
            }
        }
    }

    /// From here on the client sees it. `on_fault` renders the event that reports a fault, `None`: only the
    /// broken framing does; `guards` count the request and the stream until it is dropped.
    #[must_use]
    pub fn commit(
        mut self,
        dialect: Dialect,
        on_fault: Option<OnFault>,
        completion: Completion,
        guards: [GaugeGuard; 2],
        detached: DetachedStreams,
    ) -> Committed<S> {
        self.stream.timer.commit();
        Committed {
            stream: self.stream,
            dialect,
            on_fault,
            failure: None,
            completion: Some(completion),
            detached,
            _guards: guards,
        }
    }
}

/// Whether an error event came before the first content, while that is waited for.
fn is_refused(report: TapReport, point: CommitPoint) -> bool {
    report.error && !report.content && point == CommitPoint::FirstContent
}

/// From the last bytes of a Gemini stream to its error, and from there to the break. Google's Node client
/// sees an error only in a read of its own, and fetch drops bytes that it finds together with the end of a
/// connection.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Renders a fault as an event of a dialect.
pub type OnFault = fn(Dialect, &Fault, &FailedStream<'_>) -> Bytes;

/// The end of a stream by a fault.
#[derive(Debug)]
struct StreamFailure {
    fault: Fault,
    /// The body still has to break off with the fault, after the bytes that wait.
    breaks: bool,
    /// The bytes before the break have been given time to leave.
    has_yielded: bool,
    /// The error of a Gemini stream, and the time before and after it. `None`: there is none.
    apart: Option<Bytes>,
    pause: Option<Pin<Box<Sleep>>>,
}

/// A stream that the client sees.
#[derive(Debug)]
pub struct Committed<S: FrameSource + 'static> {
    stream: Box<Stream<S>>,
    dialect: Dialect,
    /// `None`: a fault is shown by the broken framing alone.
    on_fault: Option<OnFault>,
    /// `None`: it has no fault. Boxed, because nearly every stream has none.
    failure: Option<Box<StreamFailure>>,
    /// `None` only while the stream is dropped.
    completion: Option<Completion>,
    /// Where the stream goes if the client leaves and it is to be read on.
    detached: DetachedStreams,
    /// Of the request and of the stream.
    _guards: [GaugeGuard; 2],
}

impl<S: FrameSource + 'static> Committed<S> {
    /// The next bytes for the client. `None` at the end.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        let polled = self.stream.poll_frame(cx);
        if self.stream.timer.take_news()
            && let Some(completion) = &self.completion
        {
            self.stream.tap.show_added(completion.running());
        }
        let frame = match ready!(polled) {
            Some(Ok(bytes)) => {
                if let Some(completion) = &self.completion {
                    self.stream.tap.show(completion.running());
                }
                if self.is_settled() {
                    let outcome = self.stream.outcome();
                    self.settle(&outcome);
                }
                Some(Ok(bytes))
            }
            Some(Err(fault)) => {
                self.fail(fault);
                return self.poll_frame(cx);
            }
            None => {
                if self.breaks()
                    && self.on_fault.is_some()
                    && let Some(comment) = self.trace_comment()
                {
                    return Poll::Ready(Some(Ok(comment)));
                }
                if let Some(error) = ready!(self.poll_before_break(cx)) {
                    return Poll::Ready(Some(Ok(error)));
                }
                match self.take_break() {
                    Some(fault) => {
                        self.settle(&Outcome::Fault(fault.clone()));
                        Some(Err(fault))
                    }
                    None => self.trace_comment().map(Ok),
                }
            }
        };
        Poll::Ready(frame)
    }

    /// Ready when the body may break off, or has no break before it; or with bytes that stand apart before
    /// the break.
    fn poll_before_break(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(failure) = self.failure.as_deref_mut().filter(|failure| failure.breaks) else {
            return Poll::Ready(None);
        };
        if failure.has_yielded {
            return Poll::Ready(None);
        }
        if let Some(pause) = &mut failure.pause {
            ready!(pause.as_mut().poll(cx));
        }
        if let Some(error) = failure.apart.take() {
            failure.pause = Some(Box::pin(sleep(ERROR_PAUSE)));
            return Poll::Ready(Some(error));
        }
        // A reset discards the frames of an HTTP/2 stream that wait, so the connection's task runs before it.
        failure.has_yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The body still has to break off.
    fn breaks(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.breaks)
    }

    /// The fault that the body breaks off with, once.
    fn take_break(&mut self) -> Option<Fault> {
        let failure = self.failure.as_mut()?;
        std::mem::take(&mut failure.breaks).then(|| failure.fault.clone())
    }

    /// The whole answer has come and its last bytes are given to the client, so its usage does not change any
    /// more. A provider that has not reported it may still do so until its body ends.
    fn is_settled(&mut self) -> bool {
        let has_ended = self.is_given();
        let is_answered = self.stream.is_answered() && self.stream.waiting() == 0;
        has_ended
            || is_answered && {
                self.stream.note_reported_usage();
                self.stream.tap.stats().usage.is_some_and(Usage::is_complete)
            }
    }

    /// The client's next request may come as soon as it has the last bytes of this answer.
    fn settle(&mut self, outcome: &Outcome) {
        let passed_tokens = self.stream.tap.passed_tokens();
        let StreamStats { usage, frames, .. } = *self.stream.tap.stats();
        if let Some(completion) = &mut self.completion {
            completion
                .settle(outcome, StreamStats { usage, frames, passed_tokens, ..StreamStats::default() });
        }
    }

    /// The trace comment, if the client requested it and has not been given it.
    fn trace_comment(&mut self) -> Option<Bytes> {
        if !self.stream.take_comment() {
            return None;
        }
        self.stream.note_digests();
        let record = self.completion.as_mut()?.record();
        Some(trace_comment::render(record, self.stream.tap.stats()))
    }

    /// The body breaks off. One of events may report the fault before that.
    fn fail(&mut self, fault: Fault) {
        let (mut apart, mut pause) = (None, None);
        if let Some(render) = self.on_fault
            && self.stream.tap.is_event_stream()
        {
            self.stream.close_event();
            let event = render(self.dialect, &fault, &self.stream.tap.as_failed());
            if self.dialect == Dialect::Gemini {
                apart = Some(event);
                pause = Some(Box::pin(sleep(ERROR_PAUSE)));
            } else {
                self.stream.add(event);
            }
        }
        self.failure =
            Some(Box::new(StreamFailure { fault, breaks: true, has_yielded: false, apart, pause }));
    }

    /// Nothing more follows for the client.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_given() && !self.stream.owes_comment()
    }

    /// The client was given the whole answer.
    fn is_given(&self) -> bool {
        self.stream.has_ended() && self.stream.waiting() == 0 && !self.breaks() && !self.stream.is_cut_short()
    }

    /// All of the answer has come and gone on, though the provider may not have ended its body.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.stream.is_answered() && self.stream.waiting() == 0 && self.failure.is_none()
    }

    /// The client was given all of a good answer, with these tokens; nothing of it is the gateway's own.
    /// `None`: it was not, or not yet.
    pub fn whole_answer(&mut self) -> Option<Usage> {
        let is_whole =
            (self.is_given() || self.is_answered()) && self.failure.is_none() && self.stream.is_good();
        is_whole.then(|| self.stream.tap.stats().usage.unwrap_or_default())
    }

    /// An event reports that the stream breaks off.
    #[must_use]
    pub const fn shows_fault(&self) -> bool {
        self.on_fault.is_some() && self.stream.tap.is_event_stream()
    }

    /// The fault of a stream that has ended in order: an error event, or no answer.
    #[must_use]
    pub fn own_fault(&self) -> Option<Fault> {
        match self.stream.outcome() {
            Outcome::Fault(fault) => Some(fault),
            Outcome::Complete | Outcome::Gone(_) => None,
        }
    }

    /// The stream breaks off here, although the provider would send on. Nothing happens once it has ended or
    /// its answer is complete.
    pub fn end(&mut self, fault: impl FnOnce(Stage) -> Fault) {
        if self.failure.is_none() && !self.stream.has_ended() && !self.stream.is_answered() {
            self.stream.stop();
            self.fail(fault(self.stream.stage()));
        }
    }

    /// The stream ends here, although the provider would send on; nothing in it reports this to the client.
    pub fn cut(&mut self, fault: impl FnOnce(Stage) -> Fault) {
        let stage = self.stream.stage();
        self.failure.get_or_insert_with(|| {
            let fault = fault(stage);
            Box::new(StreamFailure { fault, breaks: false, has_yielded: false, apart: None, pause: None })
        });
    }

    /// `None`: the client left before it was given all.
    fn outcome(&mut self) -> Option<Outcome> {
        match self.failure.take() {
            Some(failure) => Some(Outcome::Fault(failure.fault)),
            None => (self.is_given() || self.is_answered()).then(|| self.stream.outcome()),
        }
    }

    /// The client has left: the stream is read on, if that is the policy and there is room. Else the
    /// completion is dropped, which reports that the client left.
    fn leave(&mut self, mut completion: Completion) {
        if let OnDisconnect::Drain { time, tokens } = completion.record().on_disconnect
            && let Some(guard) = self.detached.reserve()
            && let Some((source, observer, tap)) = self.stream.detach()
        {
            let stage = completion.stage().get();
            tap.show_added(completion.running());
            let stream = DetachedStream { source, observer, tap, completion, stage, time, tokens, guard };
            self.detached.read_on(stream);
        } else {
            let record = completion.record();
            record.drained =
                matches!(record.on_disconnect, OnDisconnect::Drain { .. }) && self.stream.is_read();
            record.stats = self.stream.tap.take_stats();
        }
    }
}

/// The completion is reported when the client's connection drops the stream: after the last frame's write.
impl<S: FrameSource + 'static> Drop for Committed<S> {
    fn drop(&mut self) {
        self.stream.timer.taken(self.stream.tap.stats());
        self.stream.note_reported_usage();
        let outcome = self.outcome();
        if let Some(source) = self.stream.take_rest() {
            self.detached.read_rest(source);
        }
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
