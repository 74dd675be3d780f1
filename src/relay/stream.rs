//! A stream on its way down, before and after the commit point. Pulls frames from the source, shows them to
//! the tap, passes them on in the chosen mode and checks the deadlines. Renders nothing and reports no
//! completion.
//!
//! Invariant: once the source has ended or failed it is dropped, so that the provider's connection is free
//! before the client has read the last byte.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::time::{Duration, Instant};

use super::{
    added_latency::FrameTimer,
    coalesce::Coalesce,
    deadlines::StreamDeadlines,
    delayed_ack::DelayedAck,
    digest::RunningDigests,
    holdback::{Cut, Holdback},
    settings::{Mode, StreamSettings},
    source::{FailureObserver, FrameSource},
    tap::{Tap, TapReport},
};
use crate::{
    base::{ByteList, Fault, FaultKind, RequestId, Sent, Stage, origins::OriginNote},
    exchange::Outcome,
    telemetry::LatencyMeter,
    wire::Dialect,
};

/// How one stream is relayed.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    pub dialect: Dialect,
    pub mode: Mode,
    /// The body is `text/event-stream`.
    pub events: bool,
    /// Take the extra usage chunk out, because the gateway requested it and not the client.
    pub strip_usage: bool,
    /// Deadline of the first token, and its timeout.
    pub first_token: (Instant, Duration),
    /// [`Deadlines::stream`](crate::base::Deadlines::stream).
    pub stream_timeout: Duration,
    /// Deadline of the whole stream, and its timeout. `None`: no limit.
    pub stream_total: Option<(Instant, Duration)>,
    /// The worker's meter of added latency. `None`: frames are not measured.
    pub meter: Option<LatencyMeter>,
    /// Compute digests of the bytes (B3).
    pub digests: bool,
    /// End with the trace comment (B2).
    pub comment: bool,
    /// A fault after the commit is shown by an event, which needs the id of the answer.
    pub shows_fault: bool,
    /// Remembers the provider of the ids and sealed texts in the stream. `None`: its dialect has none.
    pub origin: Option<OriginNote>,
}

/// From the dialect's last event to the end of the client's body, if the provider's body has not ended by
/// then. Most end in the same read, or some milliseconds later: with the wait their last bytes pass and
/// their connection is kept without a task of its own. A client that waits for the end of the body waits no
/// longer than this for a provider that holds its connection open.
pub(super) const END_GRACE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Stream<S: FrameSource> {
    /// `None` once it has ended.
    source: Option<S>,
    /// The source of a complete answer, if it has not ended. Boxed, because it is rare.
    rest: Option<Box<S>>,
    /// `None` before the commit and once a failure was reported. Dropped with the source.
    observer: Option<S::Observer>,
    /// Bytes that may leave. Order of all bytes: `ready`, then `coalesce`, then `holdback`.
    ready: ByteList,
    holdback: Option<Holdback>,
    /// The last frame ended within an event; kept while there is no `holdback`.
    is_mid_event: bool,
    /// The client has the beginning of an event whose rest is in `holdback`.
    has_open_event: bool,
    /// Boxed, because few streams are buffered.
    coalesce: Option<Box<Coalesce>>,
    strip_usage: bool,
    pub(super) tap: Tap,
    pub(super) timer: FrameTimer,
    digests: Option<Box<RunningDigests>>,
    /// The trace comment is to follow the last event.
    comment: bool,
    /// An error event has passed.
    errored: bool,
    /// The stream has ended before its answer did, and the fault is still to be given.
    cut_short: bool,
    deadlines: StreamDeadlines,
    delayed_ack: DelayedAck,
}

impl<S: FrameSource> Stream<S> {
    /// `started`: the request's arrival; the stats count from there.
    pub(super) fn new(
        source: S,
        options: &RelayOptions,
        settings: &StreamSettings,
        started: Instant,
        id: RequestId,
    ) -> Self {
        let strip_usage = options.strip_usage && options.events;
        let buffered = options.mode == Mode::Buffered && options.events;
        Self {
            source: Some(source),
            rest: None,
            observer: None,
            ready: ByteList::new(),
            holdback: (strip_usage || buffered).then(Holdback::default),
            is_mid_event: false,
            has_open_event: false,
            coalesce: buffered.then(|| Box::new(Coalesce::new(settings.chunk_size, settings.max_delay))),
            strip_usage,
            tap: Tap::new(options.dialect, options.events, settings.max_line, started, id)
                .with_origin(options.origin.clone())
                .noting_response(options.shows_fault),
            timer: FrameTimer::new(options.meter.clone()),
            digests: options.digests.then(Box::default),
            comment: options.comment && options.events,
            errored: false,
            cut_short: false,
            deadlines: StreamDeadlines::new(
                Instant::now(),
                options.first_token,
                options.stream_timeout,
                options.stream_total,
            ),
            delayed_ack: DelayedAck::default(),
        }
    }

    /// The next bytes that may leave. `None` at the end. The source is gone after a fault.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        self.timer.taken(self.tap.stats());
        loop {
            if let Some(bytes) = self.ready.pop() {
                self.timer.give(!self.ready.is_empty());
                if let Some(digests) = &mut self.digests {
                    digests.give(&bytes);
                }
                return Poll::Ready(Some(Ok(bytes)));
            }
            if self.has_ended() {
                return Poll::Ready(self.take_cut().map(Err));
            }
            match self.poll_pull(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(fault)) => return Poll::Ready(Some(Err(fault))),
                Poll::Pending => match self.coalesce.as_mut().map(|coalesce| coalesce.poll_due(cx)) {
                    Some(Poll::Ready(bytes)) => {
                        self.ready.push(bytes);
                        self.timer.read(Instant::now());
                    }
                    Some(Poll::Pending) | None => return Poll::Pending,
                },
            }
        }
    }

    /// Takes one frame from the source to the bytes that may leave.
    pub(super) fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Result<TapReport, Fault>> {
        let Some(source) = &mut self.source else { return Poll::Ready(Ok(TapReport::default())) };
        let outcome = match source.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => self.pass(frame),
            Poll::Ready(Some(Err(fault))) => Err(Fault { stage: self.stage(), ..fault }),
            Poll::Ready(None) => Ok(self.finish()),
            Poll::Pending => {
                let (deadline, timeout) = ready!(self.deadlines.poll(cx));
                if self.is_answered() {
                    self.finish_early();
                    return Poll::Ready(Ok(TapReport::default()));
                }
                Err(self.fault(FaultKind::Timeout(deadline, timeout)))
            }
        };
        Poll::Ready(self.settle(outcome))
    }

    /// Takes in a frame that was read from the source before.
    pub(super) fn take_in(&mut self, frame: Bytes) -> Result<TapReport, Fault> {
        let outcome = self.pass(frame);
        self.settle(outcome)
    }

    /// A fault ends the stream, unless its answer is complete.
    #[inline]
    fn settle(&mut self, outcome: Result<TapReport, Fault>) -> Result<TapReport, Fault> {
        if outcome.is_err() && self.is_answered() {
            // Nothing that was still to come concerns the client.
            self.finish();
            return Ok(TapReport::default());
        }
        if let Err(fault) = &outcome {
            self.report_failure(fault);
            self.note_reported_usage();
            self.source = None;
            self.flush_coalesce();
        }
        outcome
    }

    fn pass(&mut self, frame: Bytes) -> Result<TapReport, Fault> {
        let now = Instant::now();
        let gap = self.tap.gap(now);
        let sheds = self.timer.sheds();
        if sheds {
            self.digests = None;
        }
        if let Some(digests) = &mut self.digests {
            digests.receive(&frame);
        }
        let mut cuts = Vec::new();
        let strip_usage = self.strip_usage;
        let report = self.tap.inspect(&frame, (now, gap), sheds, |start, end| {
            if strip_usage {
                cuts.push(Cut { start, end });
            }
        });
        let mut report =
            report.map_err(|too_long| self.fault(FaultKind::TooLarge { limit: too_long.limit as u64 }))?;
        self.note_error(report);
        self.deadlines.note(now, report.alive);
        let ends_answer = report.done && !self.is_answered();
        // A CR may be the first half of a line end.
        let ends_line = frame.ends_with(b"\n");
        if report.content {
            self.deadlines.first_token_came();
        }
        // The end of an empty stream would make it an answer.
        let is_empty = report.done && self.tap.is_blank();
        self.has_open_event &= report.event_end.is_none();
        match (&mut self.holdback, &mut self.coalesce) {
            _ if is_empty => {}
            (Some(holdback), Some(coalesce)) => {
                let mut complete = ByteList::new();
                self.has_open_event |= holdback.pass(frame, report.event_end, &cuts, &mut complete);
                self.ready.push(coalesce.push(&complete, now).unwrap_or_default());
            }
            (Some(holdback), None) => {
                self.has_open_event |= holdback.pass(frame, report.event_end, &cuts, &mut self.ready);
            }
            (None, _) => self.pass_unheld(frame, report.event_end),
        }
        if report.error {
            self.flush_coalesce();
            if let Some(source) = &self.source {
                self.ready = source.mask_error(std::mem::take(&mut self.ready));
            }
        }
        if ends_answer && ends_line {
            self.flush_coalesce();
        }
        if !self.ready.is_empty() {
            self.timer.read(now);
        }
        match &mut self.source {
            Some(source) if source.is_done() => report.error |= self.finish().error,
            Some(_) if self.deadlines.end().is_some_and(|end| end <= now) => self.finish_early(),
            Some(_) if ends_answer => self.deadlines.end_at(now + END_GRACE),
            Some(source) => {
                if let Some(when) = self.delayed_ack.note(gap) {
                    source.acknowledge(when);
                }
            }
            None => {}
        }
        Ok(report)
    }

    /// Passes a frame as it came. An unfinished event at its end waits for its rest if it may be an error
    /// event that quotes a secret. From then on all unfinished events of this stream are held back, each
    /// until its own end.
    fn pass_unheld(&mut self, frame: Bytes, event_end: Option<usize>) {
        let was_mid_event = self.is_mid_event;
        self.is_mid_event = event_end != Some(frame.len());
        if self.is_mid_event
            && self.tap.may_be_error()
            && let Some(source) = &self.source
            && source.may_quote_secret(frame.get(event_end.unwrap_or(0)..).unwrap_or_default())
        {
            let holdback = self.holdback.insert(Holdback::default());
            let has_begun = holdback.pass(frame, event_end, &[], &mut self.ready);
            self.has_open_event = has_begun || was_mid_event && event_end.is_none();
        } else {
            self.ready.push(frame);
        }
    }

    /// Takes no more from the source, through no fault of the provider.
    pub(super) fn stop(&mut self) {
        self.note_reported_usage();
        (self.source, self.observer) = (None, None);
        self.flush_coalesce();
    }

    /// The source has ended as its framing declares; its last event may lack its blank line, and the answer
    /// its end. Returns the findings in that event.
    fn finish(&mut self) -> TapReport {
        self.note_reported_usage();
        let source = self.source.take();
        let (report, is_usage_chunk) = self.tap.finish();
        let is_usage_chunk = is_usage_chunk && self.strip_usage;
        self.note_error(report);
        self.cut_short = self.tap.is_cut_short();
        if self.cut_short {
            self.report_failure(&self.cut());
        }
        self.observer = None;
        self.flush_coalesce();
        if let Some(holdback) = &mut self.holdback
            && !is_usage_chunk
            && !self.cut_short
        {
            let mut last = ByteList::new();
            holdback.flush(&mut last);
            // It may be an error event without its blank line.
            if !last.is_empty()
                && let Some(source) = source.as_ref().or(self.rest.as_deref())
            {
                last = source.mask_error(last);
            }
            while let Some(bytes) = last.pop() {
                self.ready.push(bytes);
            }
        }
        report
    }

    /// The answer is complete, and the provider has not ended its body in time.
    fn finish_early(&mut self) {
        self.note_reported_usage();
        self.rest = self.source.take().map(Box::new);
        self.finish();
    }

    /// Before any byte of `holdback` leaves, because coalesced bytes are older.
    fn flush_coalesce(&mut self) {
        if let Some(coalesce) = &mut self.coalesce {
            self.ready.push(coalesce.rest());
        }
    }

    /// The first error event is a failure of the provider.
    fn note_error(&mut self, report: TapReport) {
        if report.error && !self.errored {
            self.errored = true;
            let fault = self.fault(FaultKind::ErrorEvent);
            self.report_failure(&fault);
        }
    }

    fn report_failure(&mut self, fault: &Fault) {
        if let Some(observer) = self.observer.take() {
            observer.failed(fault);
        }
    }

    fn fault(&self, kind: FaultKind) -> Fault {
        Fault::provider(self.stage(), kind, Sent::Some)
    }

    /// The fault of a stream that ended before its answer did.
    fn cut(&self) -> Fault {
        if self.tap.is_blank() { self.empty() } else { self.fault(FaultKind::Truncated) }
    }

    /// The fault of a stream without an answer.
    pub(super) fn empty(&self) -> Fault {
        self.fault(FaultKind::Empty("a stream without an answer"))
    }
}

impl<S: FrameSource> Stream<S> {
    pub(super) const fn stage(&self) -> Stage {
        if self.tap.has_content() { Stage::Body } else { Stage::FirstToken }
    }

    /// The provider's part of the outcome: an error event counts as its fault.
    pub(super) fn outcome(&self) -> Outcome {
        if self.errored {
            Outcome::Fault(self.fault(FaultKind::ErrorEvent))
        } else if self.is_answered() && self.tap.is_blank() {
            Outcome::Fault(self.empty())
        } else {
            Outcome::Complete
        }
    }

    /// The answer is good and has come whole: its dialect's end, and no error event.
    pub(super) const fn is_good(&self) -> bool {
        !self.errored && !self.cut_short && self.tap.has_ended_well()
    }

    /// All of an answer without an error event has been read.
    pub(super) const fn is_read(&self) -> bool {
        (self.has_ended() || self.is_answered()) && !self.errored && !self.cut_short
    }

    /// The dialect's last event has come.
    pub(super) const fn is_answered(&self) -> bool {
        self.deadlines.end().is_some()
    }

    /// The source of a complete answer, if it has not ended.
    pub(super) fn take_rest(&mut self) -> Option<S> {
        self.rest.take().map(|rest| *rest).or_else(|| self.source.take_if(|_| self.deadlines.end().is_some()))
    }

    /// Closes an event that the client has been given the beginning of.
    pub(super) fn close_event(&mut self) {
        let terminator: &[u8] = match &self.holdback {
            None => self.tap.event_terminator(),
            // The client's part may end anywhere in a line.
            Some(_) if self.has_open_event => b"\n\n",
            Some(_) => b"",
        };
        self.ready.push(Bytes::from_static(terminator));
    }

    /// Adds `bytes` behind all that waits.
    pub(super) fn add(&mut self, bytes: Bytes) {
        self.ready.push(bytes);
    }

    /// From here on `observer` observes a failure. Not kept for a stream that has ended.
    pub(super) fn observe(&mut self, observer: S::Observer) {
        if self.errored {
            observer.failed(&self.fault(FaultKind::ErrorEvent));
        } else if self.cut_short {
            observer.failed(&self.cut());
        } else if self.source.is_some() {
            self.observer = Some(observer);
        }
    }

    /// The stream has ended before its answer did, and the fault is still to be given.
    pub(super) const fn is_cut_short(&self) -> bool {
        self.cut_short
    }

    /// The fault of a stream that has ended before its answer did, once.
    pub(super) fn take_cut(&mut self) -> Option<Fault> {
        std::mem::take(&mut self.cut_short).then(|| self.cut())
    }

    /// The trace comment is still to come.
    pub(super) const fn owes_comment(&self) -> bool {
        self.comment
    }

    /// Bytes that wait for the client.
    pub(super) fn waiting(&self) -> usize {
        self.ready.len() + self.coalesce.as_ref().map_or(0, |coalesce| coalesce.len())
    }

    /// Notes the usage that the provider has reported in place of usage in the frames. Called before the
    /// source is dropped, and before the usage is read.
    pub(super) fn note_reported_usage(&mut self) {
        if let Some(source) = &self.source {
            let stats = self.tap.stats();
            stats.usage = source.reported_usage(stats.usage);
        }
    }

    /// Takes out the parts that read on without a client. `None`: the stream has ended.
    pub(super) fn detach(&mut self) -> Option<(S, Option<S::Observer>, Tap)> {
        self.source.take().map(|source| (source, self.observer.take(), self.tap.take()))
    }

    /// Writes the digests of all that passed into the stats.
    pub(super) fn note_digests(&mut self) {
        if let Some(digests) = &self.digests {
            self.tap.stats().digests = Some(Box::new(digests.read()));
        }
    }

    /// Whether the trace comment is to follow the last event; true at most once. Not where the last event was
    /// left open, because the comment would become a part of it.
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
    use crate::{base::id::IdSource, relay::Acknowledge};

    /// A provider that always has another event.
    #[derive(Default)]
    struct Endless {
        modes: Vec<Acknowledge>,
    }

    impl FailureObserver for () {
        fn failed(self, _: &Fault) {}
    }

    impl FrameSource for Endless {
        type Observer = ();

        fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
            Poll::Ready(Some(Ok(Bytes::from_static(b"data: x\n\n"))))
        }

        fn is_done(&self) -> bool {
            false
        }

        fn acknowledge(&mut self, when: Acknowledge) {
            self.modes.push(when);
        }
    }

    fn options(now: Instant) -> RelayOptions {
        let hour = Duration::from_secs(3600);
        RelayOptions {
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
            shows_fault: false,
            origin: None,
        }
    }

    /// The acknowledgement modes that the provider's connection is set to in 100 frames.
    async fn modes(gap: Duration) -> Vec<Acknowledge> {
        let now = Instant::now();
        let options = options(now);
        let id = IdSource::default().make();
        let mut stream = Stream::new(Endless::default(), &options, &StreamSettings::default(), now, id);
        for _ in 0..100 {
            tokio::time::advance(gap).await;
            poll_fn(|cx| stream.poll_pull(cx)).await.unwrap();
        }
        stream.source.unwrap().modes
    }

    /// A provider whose frames are these, and whose secret is `SECRET`.
    struct Cut(std::vec::IntoIter<Bytes>);

    impl FrameSource for Cut {
        type Observer = ();

        fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
            Poll::Ready(self.0.next().map(Ok))
        }

        fn is_done(&self) -> bool {
            false
        }

        fn acknowledge(&mut self, _: Acknowledge) {}

        fn may_quote_secret(&self, part: &[u8]) -> bool {
            let text = String::from_utf8_lossy(part);
            text.contains("SECRET") || (1..6).any(|length| text.ends_with(&"SECRET"[..length]))
        }

        fn mask_error(&self, waiting: ByteList) -> ByteList {
            let text = String::from_utf8(waiting.join().to_vec()).unwrap();
            Bytes::from(text.replace("SECRET", "***")).into()
        }
    }

    /// The bytes that the client gets of a stream that is cut there, and how many of its frames are passed at
    /// once.
    async fn relayed(text: &str, cuts: &[usize]) -> (String, usize) {
        let (mut frames, mut at) = (Vec::new(), 0);
        for cut in cuts.iter().copied().chain([text.len()]) {
            frames.push(Bytes::copy_from_slice(&text.as_bytes()[at..cut]));
            at = cut;
        }
        let now = Instant::now();
        let id = IdSource::default().make();
        let source = Cut(frames.into_iter());
        let mut stream = Stream::new(source, &options(now), &StreamSettings::default(), now, id);
        let (mut all, mut passed) = (Vec::new(), 0);
        while let Some(frame) = poll_fn(|cx| stream.poll_frame(cx)).await {
            match frame {
                Ok(bytes) => all.extend_from_slice(&bytes),
                Err(_) => break,
            }
            passed += 1;
        }
        (String::from_utf8(all).unwrap(), passed)
    }

    const CONTENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"TEXT\"}}]}\n\n";

    /// An error event is masked wherever its frames end, with or without its blank line.
    #[tokio::test]
    async fn an_error_event_in_several_frames_keeps_no_secret() {
        let start = CONTENT.replace("TEXT", "hi");
        let error = "data: {\"error\":{\"message\":\"no SECRET\",\"type\":\"x\"}}";
        for end in ["\n\n", "\r\n\r\n", "\n\ndata: [DONE]\n\n", ""] {
            let text = format!("{start}{error}{end}");
            for first in 1..text.len() {
                for second in [first + 1, first + 7, text.len() - 1] {
                    if second > first && second < text.len() {
                        let (relayed, _) = relayed(&text, &[first, second]).await;
                        assert_eq!(relayed, text.replace("SECRET", "***"), "{first} {second} {end:?}");
                    }
                }
            }
        }
    }

    /// Other events pass as they came, though they have a secret's text, and their parts do not wait.
    #[tokio::test]
    async fn other_events_in_several_frames_pass_unchanged() {
        let text = format!("{}{}data: [DONE]\n\n", CONTENT.replace("TEXT", "a SECRET"), CONTENT);
        for first in 1..text.len() - 1 {
            assert_eq!(relayed(&text, &[first, first + 1]).await.0, text, "{first}");
        }
        let content = CONTENT.replace("TEXT", "a SECRET");
        let cut = content.find("RET").unwrap();
        assert_eq!(relayed(&content, &[cut]).await.1, 2, "the first part does not wait");
        // One that looks like an error waits for its end, and passes unchanged.
        let content = CONTENT.replace("TEXT", "an error: SECRET");
        assert_eq!(relayed(&content, &[content.find("RET").unwrap()]).await.0, content);
    }

    #[tokio::test(start_paused = true)]
    async fn dense_frames_are_acknowledged_late() {
        assert_eq!(modes(Duration::from_millis(10)).await, [Acknowledge::Late]);
        assert_eq!(modes(Duration::from_millis(50)).await, []);
    }

    /// With the source of a provider's answer and its observer, 192 bytes, it takes 1024, a size that the
    /// allocator has; the next is 1280.
    #[test]
    fn an_open_stream_is_small() {
        let size = size_of::<Stream<Endless>>() - size_of::<Option<Endless>>();
        assert!(size <= 1024 - 192, "{size}");
    }
}
