//! A stream on its way down, before and after the commit point: pulls frames from the provider, shows them to the tap,
//! passes them on in the chosen manner and watches the clocks.
//!
//! Invariant: once the source has ended or failed it is dropped, so that the provider's connection is free before the
//! client has read the last byte.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::time::{Duration, Instant};

use super::{
    added_latency::FrameTimer,
    coalesce::Coalesce,
    deadlines::StreamDeadlines,
    delayed_ack::{Acknowledge, DelayedAck},
    digest::RunningDigests,
    holdback::{Cut, Holdback},
    settings::{Mode, StreamSettings},
    tap::{Tap, TapReport},
};
use crate::{
    base::{ByteList, Fault, FaultKind, RequestId, Sent, Stage},
    exchange::Outcome,
    telemetry::LatencyMeter,
    wire::Dialect,
};

/// Where a stream comes from.
pub trait FrameSource: Unpin {
    /// The next bytes. `None` at the end.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>>;

    /// All has been read: the next poll would give `None`.
    fn is_done(&self) -> bool;

    /// How the provider's connection is to acknowledge what comes.
    fn acknowledge(&mut self, when: Acknowledge);

    /// It went wrong in this way, be it its own fault or a deadline's. Told once.
    fn failed(&mut self, _fault: &Fault) {}
}

/// How one stream is to be relayed.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    pub dialect: Dialect,
    pub mode: Mode,
    /// The body is `text/event-stream`.
    pub events: bool,
    /// Take the extra usage chunk out: it was asked for by us.
    pub strip_usage: bool,
    /// When the first token must have come, and the time it was given.
    pub first_token: (Instant, Duration),
    /// [`Deadlines::stream`](crate::base::Deadlines::stream).
    pub stream_timeout: Duration,
    /// When the whole stream must have ended, and the time it was given. `None`: no limit.
    pub stream_total: Option<(Instant, Duration)>,
    /// Where the frames' own times are noted. `None`: they are not measured.
    pub meter: Option<LatencyMeter>,
    /// Digest the bytes (B3).
    pub digests: bool,
    /// End with a comment that tells what the stream was (B2).
    pub comment: bool,
}

#[derive(Debug)]
pub(super) struct Stream<S> {
    /// `None` once it has ended.
    source: Option<S>,
    /// Bytes that may leave.
    ready: ByteList,
    hold: Option<Holdback>,
    gather: Option<Coalesce>,
    strip: bool,
    pub(super) tap: Tap,
    pub(super) passage: FrameTimer,
    digests: Option<Box<RunningDigests>>,
    /// A comment is to follow the last event.
    comment: bool,
    /// An error event has passed.
    errored: bool,
    clocks: StreamDeadlines,
    pace: DelayedAck,
}

impl<S: FrameSource> Stream<S> {
    /// `started` is when the request arrived: the stats count from there.
    pub(super) fn new(
        source: S,
        manner: &RelayOptions,
        settings: &StreamSettings,
        started: Instant,
        id: RequestId,
    ) -> Self {
        let strip = manner.strip_usage && manner.events;
        let buffered = manner.mode == Mode::Buffered && manner.events;
        Self {
            source: Some(source),
            ready: ByteList::new(),
            hold: (strip || buffered).then(Holdback::default),
            gather: buffered.then(|| Coalesce::new(settings.chunk_size, settings.max_delay)),
            strip,
            tap: Tap::new(manner.dialect, manner.events, settings.max_line, started, id),
            passage: FrameTimer::new(manner.meter.clone()),
            digests: manner.digests.then(Box::default),
            comment: manner.comment && manner.events,
            errored: false,
            clocks: StreamDeadlines::new(
                Instant::now(),
                manner.first_token,
                manner.stream_timeout,
                manner.stream_total,
            ),
            pace: DelayedAck::default(),
        }
    }

    /// The next bytes that may leave. `None` at the end. The source is gone after a fault.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        self.passage.taken(self.tap.stats());
        loop {
            if let Some(bytes) = self.ready.pop() {
                self.passage.give(!self.ready.is_empty());
                if let Some(digests) = &mut self.digests {
                    digests.give(&bytes);
                }
                return Poll::Ready(Some(Ok(bytes)));
            }
            if self.has_ended() {
                return Poll::Ready(None);
            }
            match self.poll_pull(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(fault)) => return Poll::Ready(Some(Err(fault))),
                Poll::Pending => match self.gather.as_mut().map(|gather| gather.poll_due(cx)) {
                    Some(Poll::Ready(bytes)) => {
                        self.ready.push(bytes);
                        self.passage.read(Instant::now());
                    }
                    Some(Poll::Pending) | None => return Poll::Pending,
                },
            }
        }
    }

    /// One frame from the source to what may leave.
    pub(super) fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Result<TapReport, Fault>> {
        let Some(source) = &mut self.source else { return Poll::Ready(Ok(TapReport::default())) };
        let outcome = match source.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => self.pass(frame),
            Poll::Ready(Some(Err(fault))) => Err(Fault { stage: self.stage(), ..fault }),
            Poll::Ready(None) => {
                self.finish();
                Ok(TapReport::default())
            }
            Poll::Pending => {
                let (clock, given) = ready!(self.clocks.poll(cx));
                Err(self.fault(FaultKind::Timeout(clock, given)))
            }
        };
        if let Err(fault) = &outcome {
            if let Some(mut source) = self.source.take() {
                source.failed(fault);
            }
            self.flush_gather();
        }
        Poll::Ready(outcome)
    }

    fn pass(&mut self, frame: Bytes) -> Result<TapReport, Fault> {
        let now = Instant::now();
        let gap = self.tap.gap(now);
        let sheds = self.passage.sheds();
        if sheds {
            self.digests = None;
        }
        if let Some(digests) = &mut self.digests {
            digests.receive(&frame);
        }
        let mut cuts = Vec::new();
        let strip = self.strip;
        let seen = self.tap.see(&frame, (now, gap), sheds, |start, end| {
            if strip {
                cuts.push(Cut { start, end });
            }
        });
        let seen =
            seen.map_err(|too_long| self.fault(FaultKind::TooLarge { limit: too_long.limit as u64 }))?;
        if seen.error && !self.errored {
            self.errored = true;
            let fault = self.fault(FaultKind::ErrorEvent);
            if let Some(source) = &mut self.source {
                source.failed(&fault);
            }
        }
        self.clocks.note(now, seen.alive);
        if seen.content {
            self.clocks.first_token_came();
        }
        match (&mut self.hold, &mut self.gather) {
            (Some(hold), Some(gather)) => {
                let mut complete = ByteList::new();
                hold.pass(frame, seen.event_end, &cuts, &mut complete);
                self.ready.push(gather.push(&complete, now).unwrap_or_default());
            }
            (Some(hold), None) => hold.pass(frame, seen.event_end, &cuts, &mut self.ready),
            (None, _) => self.ready.push(frame),
        }
        if !self.ready.is_empty() {
            self.passage.read(now);
        }
        match &mut self.source {
            Some(source) if source.is_done() => self.finish(),
            Some(source) => {
                if let Some(when) = self.pace.note(gap) {
                    source.acknowledge(when);
                }
            }
            None => {}
        }
        Ok(seen)
    }

    /// The source has ended well; its last event may lack its blank line.
    fn finish(&mut self) {
        self.source = None;
        let extra = self.tap.finish() && self.strip;
        self.flush_gather();
        if let Some(hold) = &mut self.hold
            && !extra
        {
            hold.flush(&mut self.ready);
        }
    }

    /// What is gathered is younger than what is ready, and older than what is withheld.
    fn flush_gather(&mut self) {
        if let Some(gather) = &mut self.gather {
            self.ready.push(gather.rest());
        }
    }

    fn fault(&self, kind: FaultKind) -> Fault {
        Fault::provider(self.stage(), kind, Sent::Some)
    }
}

impl<S> Stream<S> {
    pub(super) const fn stage(&self) -> Stage {
        if self.tap.has_content() { Stage::Body } else { Stage::FirstToken }
    }

    /// How it ended, as far as the provider is concerned.
    pub(super) fn outcome(&self) -> Outcome {
        if self.errored {
            Outcome::Fault(Fault::provider(self.stage(), FaultKind::ErrorEvent, Sent::Some))
        } else {
            Outcome::Complete
        }
    }

    /// Closes an event of which the client has been given the beginning.
    pub(super) fn close_event(&mut self) {
        if self.hold.is_none() {
            self.ready.push(Bytes::from_static(self.tap.event_terminator()));
        }
    }

    /// Puts `bytes` behind all that waits.
    pub(super) fn add(&mut self, bytes: Bytes) {
        self.ready.push(bytes);
    }

    /// Where it comes from. `None` once it has ended.
    pub(super) const fn source(&mut self) -> Option<&mut S> {
        self.source.as_mut()
    }

    /// A comment is still to come.
    pub(super) const fn owes_comment(&self) -> bool {
        self.comment
    }

    /// Bytes that wait for the client.
    pub(super) const fn waiting(&self) -> usize {
        self.ready.len()
    }

    /// What is left of it when its client has gone: where it comes from, and what was seen. `None`: it has ended.
    pub(super) fn leave(&mut self) -> Option<(S, Tap)> {
        self.source.take().map(|source| (source, self.tap.take()))
    }

    /// Digests of all that passed, into the stats.
    pub(super) fn note_digests(&mut self) {
        if let Some(digests) = &self.digests {
            self.tap.stats().digests = Some(digests.read());
        }
    }

    /// Whether a comment is to follow the last event; asked once. Not where the last event was left open: the comment
    /// would become a part of it.
    pub(super) fn take_comment(&mut self) -> bool {
        std::mem::take(&mut self.comment) && !self.tap.was_left_open()
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.source.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::base::id::IdSource;

    /// A provider that always has another event.
    #[derive(Default)]
    struct Endless {
        told: Vec<Acknowledge>,
    }

    impl FrameSource for Endless {
        fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
            Poll::Ready(Some(Ok(Bytes::from_static(b"data: x\n\n"))))
        }

        fn is_done(&self) -> bool {
            false
        }

        fn acknowledge(&mut self, when: Acknowledge) {
            self.told.push(when);
        }
    }

    /// What the provider's connection is told in 100 frames.
    async fn told(gap: Duration) -> Vec<Acknowledge> {
        let (now, hour) = (Instant::now(), Duration::from_secs(3600));
        let manner = RelayOptions {
            dialect: Dialect::ChatCompletions,
            mode: Mode::Asgi,
            events: true,
            strip_usage: false,
            first_token: (now + hour, hour),
            stream_timeout: hour,
            stream_total: None,
            meter: None,
            digests: false,
            comment: false,
        };
        let id = IdSource::default().make();
        let mut stream = Stream::new(Endless::default(), &manner, &StreamSettings::default(), now, id);
        for _ in 0..100 {
            tokio::time::advance(gap).await;
            poll_fn(|cx| stream.poll_pull(cx)).await.unwrap();
        }
        stream.source.unwrap().told
    }

    #[tokio::test(start_paused = true)]
    async fn dense_frames_are_acknowledged_late() {
        assert_eq!(told(Duration::from_millis(10)).await, [Acknowledge::Late]);
        assert_eq!(told(Duration::from_millis(50)).await, []);
    }
}
