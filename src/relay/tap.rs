//! The observer of a stream: inspects every frame and can change none. Counts and times them, finds the first
//! token, the usage and the errors. Its memory is bounded by the scanner's limit on a line.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use memchr::memmem;
use tokio::time::{Duration, Instant};

use crate::{
    base::{RequestId, origins::OriginNote},
    exchange::{AddedSoFar, PassedText, RunningRequest, StreamProgress, StreamStats},
    wire::{
        AnswerEnd, ContentShape, Dialect, Event, EventClass, FailedStream, LineTooLong, Scanner, classify,
        classify_committed, ends_answer, is_idle,
        minted::{self, MintedKind},
        response_id as response_id_of,
    },
};

/// A gap between frames below this counts as none.
const ZERO_GAP_LIMIT: Duration = Duration::from_millis(1);
/// Bytes of an error event that are kept (S1.3).
const MAX_ERROR_TEXT: usize = 1024;
/// Words among the first bytes of an error event in each dialect.
const ERROR_WORDS: [&[u8]; 2] = [b"error", b"failed"];
/// Bytes of a document under an event stream's label that are kept, to the end of a frame.
const MAX_DOCUMENT: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Tap {
    dialect: Dialect,
    id: RequestId,
    /// `None`: the body is not an event stream, bytes are only counted.
    scanner: Option<Scanner>,
    started: Instant,
    /// The text that has passed, and the time of the last frame.
    progress: StreamProgress,
    stats: StreamStats,
    /// An event without content has ended the answer.
    concluded: bool,
    answer_end: AnswerEnd,
    content_shape: ContentShape,
    /// Events before the first content that are no part of an answer.
    idle: u32,
    /// One of them was `[DONE]` or usage, so that no answer follows.
    has_idle_end: bool,
    /// The body begins as a JSON document does; `error_text` has its bytes while it has no event.
    is_document: bool,
    /// The line ends that would have closed the event within which the stream has ended. 0: it was at an
    /// event's end.
    left_open: u8,
    /// The first bytes of an error event before the first content, or of a document.
    error_text: Vec<u8>,
    /// Notes the things that the provider makes. `None`: the dialect has no such things.
    origin: Option<Box<OriginNote>>,
    /// The id of a response is to be kept.
    wants_response_id: bool,
    response_id: Option<Box<str>>,
}

/// The findings in one frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TapReport {
    /// Offset just past the last event that ended in it.
    pub(super) event_end: Option<usize>,
    /// Content has come, in this frame or before.
    pub(super) content: bool,
    /// An error event ended in it.
    pub(super) error: bool,
    /// It held more than comments.
    pub(super) alive: bool,
    /// Events in it that are no part of an answer, and whether one of them was `[DONE]` or usage.
    idle: u32,
    idle_end: bool,
    /// The answer has ended without content.
    concluded: bool,
    /// The dialect's last event ended in it.
    pub(super) done: bool,
}

impl Tap {
    pub(super) fn new(
        dialect: Dialect,
        events: bool,
        max_line: usize,
        started: Instant,
        id: RequestId,
    ) -> Self {
        let scanner = events.then(|| Scanner::new(max_line));
        Self {
            dialect,
            id,
            scanner,
            started,
            progress: StreamProgress { text: PassedText::default(), last: started },
            stats: StreamStats::default(),
            error_text: Vec::new(),
            concluded: false,
            answer_end: AnswerEnd::default(),
            content_shape: ContentShape::default(),
            idle: 0,
            has_idle_end: false,
            is_document: false,
            left_open: 0,
            origin: None,
            wants_response_id: false,
            response_id: None,
        }
    }

    /// The same, which notes the things that the provider makes.
    pub(super) fn noting_response(self, wanted: bool) -> Self {
        Self { wants_response_id: wanted && self.dialect == Dialect::Responses, ..self }
    }

    /// The stream as an event that ends it names it.
    pub(super) fn as_failed(&self) -> FailedStream<'_> {
        let id = self.response_id.as_deref().unwrap_or_else(|| self.id.as_str());
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        FailedStream { id, events: self.stats.events, at }
    }

    pub(super) fn with_origin(self, origin: Option<OriginNote>) -> Self {
        Self { origin: origin.map(Box::new), ..self }
    }

    /// Inspects a frame that came at `now`, `gap` after the last one; `quiet`: without a line in the log.
    /// `on_usage_chunk` is called with the start (`None`: in an earlier frame) and the end of each usage
    /// chunk.
    pub(super) fn inspect(
        &mut self,
        frame: &[u8],
        (now, gap): (Instant, Duration),
        quiet: bool,
        mut on_usage_chunk: impl FnMut(Option<usize>, usize),
    ) -> Result<TapReport, LineTooLong> {
        if !quiet {
            tracing::trace!(id = %self.id, size = frame.len(), gap_us = gap.as_micros() as u64, "chunk");
        }
        self.count(frame.len(), now, gap);
        let Some(scanner) = &mut self.scanner else {
            self.stats.first_token.get_or_insert(now - self.started);
            return Ok(TapReport {
                event_end: Some(frame.len()),
                content: true,
                alive: true,
                ..TapReport::default()
            });
        };
        if self.stats.frames == 1 {
            self.is_document = matches!(frame.trim_ascii_start().first(), Some(b'{' | b'['));
        }
        let mut report = TapReport { content: self.stats.first_token.is_some(), ..TapReport::default() };
        let Self {
            dialect,
            stats,
            error_text,
            progress: StreamProgress { text, .. },
            answer_end,
            content_shape,
            origin,
            wants_response_id,
            response_id,
            ..
        } = self;
        let dialect = *dialect;
        let had_content = report.content;
        if scanner.is_at_line_feed(frame) {
            report.event_end = Some(1);
        }
        scanner.scan(frame, |event| {
            report.event_end = Some(event.end);
            let erred = report.error;
            let noted = (&mut report, &mut *stats, &mut *answer_end, &mut *content_shape);
            let at = (dialect, origin.as_deref());
            match classify_event(at, &event, noted, &mut on_usage_chunk) {
                EventText::Measured(bytes) => text.note_text(bytes),
                EventText::Unknown => text.note_event(dialect, &event),
                EventText::None => {}
            }
            if *wants_response_id && !report.content {
                *response_id = event.data.and_then(response_id_of);
                *wants_response_id = response_id.is_none();
            }
            if !erred {
                keep_error(report, &event, error_text);
            }
        })?;
        report.alive |= scanner.is_mid_field();
        if report.content && !had_content {
            stats.first_token = Some(now - self.started);
        }
        self.note_end(report);
        if self.is_document && self.is_blank() && self.error_text.len() < MAX_DOCUMENT {
            self.error_text.extend_from_slice(frame);
        }
        Ok(report)
    }

    /// From the last frame to `now`.
    pub(super) fn gap(&self, now: Instant) -> Duration {
        now - self.progress.last
    }

    fn count(&mut self, bytes: usize, now: Instant, gap: Duration) {
        let stats = &mut self.stats;
        stats.frames += 1;
        stats.bytes += bytes as u64;
        match stats.first_byte {
            None => stats.first_byte = Some(now - self.started),
            Some(_) => {
                stats.zero_gaps += u32::from(gap < ZERO_GAP_LIMIT);
                if let Some(timings) = &mut stats.frame_timings {
                    timings.gaps.note(gap);
                }
            }
        }
        self.progress.last = now;
    }

    /// The stream has ended: inspects a last event without its blank line. Also whether that was a usage
    /// chunk.
    pub(super) fn finish(&mut self) -> (TapReport, bool) {
        let mut report = TapReport { content: self.has_content(), ..TapReport::default() };
        let mut is_usage_chunk = false;
        if let Some(scanner) = &mut self.scanner {
            self.left_open = scanner.event_terminator().len() as u8;
            let Self { stats, answer_end, content_shape, origin, error_text, .. } = self;
            let at = (self.dialect, origin.as_deref());
            scanner.finish(|event| {
                let noted = (&mut report, &mut *stats, &mut *answer_end, &mut *content_shape);
                let _ = classify_event(at, &event, noted, &mut |_, _| is_usage_chunk = true);
                keep_error(report, &event, error_text);
            });
            self.note_end(report);
        }
        (report, is_usage_chunk)
    }

    fn note_end(&mut self, report: TapReport) {
        self.concluded |= report.concluded;
        self.idle += report.idle;
        self.has_idle_end |= report.idle_end;
    }

    /// A stream that ends here was cut short, or is empty. Known once [`Tap::finish`] has inspected its last
    /// event.
    pub(super) const fn is_cut_short(&self) -> bool {
        self.answer_end.is_missing() || self.is_blank()
    }

    /// The answer has come to its dialect's end.
    pub(super) const fn has_ended_well(&self) -> bool {
        self.is_event_stream() && self.answer_end.has_come()
    }

    /// The last event came without its blank line.
    pub(super) const fn was_left_open(&self) -> bool {
        self.left_open > 0
    }

    /// The stats, to be written on.
    pub(super) const fn stats(&mut self) -> &mut StreamStats {
        &mut self.stats
    }

    /// The stats, taken out.
    pub(super) fn take_stats(&mut self) -> StreamStats {
        let mut stats = std::mem::take(&mut self.stats);
        stats.passed_tokens = self.progress.text.tokens(self.dialect);
        stats.span =
            stats.first_byte.map_or(Duration::ZERO, |first| self.progress.last - (self.started + first));
        stats
    }

    /// The text of an error event before the first content, taken out.
    pub(super) fn take_error_text(&mut self) -> Bytes {
        std::mem::take(&mut self.error_text).into()
    }

    /// Shows how far the stream has come.
    #[inline]
    pub(super) fn show(&self, running: &RunningRequest) {
        running.note(self.progress, self.stats.first_token);
    }

    /// Shows the time that the gateway has added so far.
    pub(super) fn show_added(&self, running: &RunningRequest) {
        let Self { stats: StreamStats { first_added, frame_timings, .. }, .. } = self;
        let max = frame_timings.as_ref().map(|timings| timings.added.max());
        running.note_added(AddedSoFar { first: *first_added, max });
    }

    /// Tokens of output that have passed, estimated.
    pub(super) fn passed_tokens(&self) -> u32 {
        self.progress.text.tokens(self.dialect)
    }

    /// The whole tap, taken out; the one that stays counts as no event stream.
    pub(super) fn take(&mut self) -> Self {
        let empty = Self::new(self.dialect, false, 0, self.started, self.id.clone());
        std::mem::replace(self, empty)
    }

    pub(super) const fn has_content(&self) -> bool {
        self.stats.first_token.is_some()
    }

    /// There is an answer, or an event has ended it without content.
    pub(super) fn has_answer(&self) -> bool {
        self.has_content() || self.concluded && !self.is_blank()
    }

    /// None of its events, if there are any, is a part of an answer.
    pub(super) const fn is_blank(&self) -> bool {
        self.is_event_stream() && self.idle == self.stats.events
    }

    /// Nothing of an answer has come, and none follows: `[DONE]` or usage alone, or a document.
    pub(super) const fn is_without_answer(&self) -> bool {
        self.is_blank() && (self.has_idle_end || self.is_document)
    }

    pub(super) const fn has_frames(&self) -> bool {
        self.stats.frames > 0
    }

    /// Whether the event that is not complete begins as error events do.
    pub(super) fn may_be_error(&self) -> bool {
        let begun = self.scanner.as_ref().map_or(&b""[..], Scanner::unfinished);
        let start = begun.get(..MAX_ERROR_TEXT).unwrap_or(begun);
        ERROR_WORDS.iter().any(|word| memmem::find(start, word).is_some())
    }

    /// The bytes that close an event that has passed in part.
    pub(super) fn event_terminator(&self) -> &'static [u8] {
        match (&self.scanner, self.left_open) {
            (_, 1) => b"\n",
            (_, 2..) => b"\n\n",
            (scanner, 0) => scanner.as_ref().map_or(b"", Scanner::event_terminator),
        }
    }

    pub(super) const fn is_event_stream(&self) -> bool {
        self.scanner.is_some()
    }
}

/// The text that an event carries.
#[derive(Clone, Copy)]
enum EventText {
    None,
    /// So many bytes.
    Measured(usize),
    Unknown,
}

/// Keeps the text of an error event before the first content.
fn keep_error(report: TapReport, event: &Event<'_>, kept: &mut Vec<u8>) {
    if report.error && !report.content {
        let data = event.data.unwrap_or_default();
        *kept = data.get(..MAX_ERROR_TEXT).unwrap_or(data).to_vec();
    }
}

/// The text of the event.
fn classify_event(
    (dialect, origin): (Dialect, Option<&OriginNote>),
    event: &Event<'_>,
    (report, stats, answer_end, shape): (&mut TapReport, &mut StreamStats, &mut AnswerEnd, &mut ContentShape),
    on_usage_chunk: &mut impl FnMut(Option<usize>, usize),
) -> EventText {
    let facts = if report.content {
        if let Some(bytes) = shape.matched_text(event) {
            report.alive = true;
            stats.events += 1;
            return EventText::Measured(bytes);
        }
        let facts = classify_committed(dialect, event);
        answer_end.note(dialect, event, facts.class);
        if facts == EventClass::Other.into() && answer_end.is_missing() {
            shape.learn(event);
        }
        facts
    } else {
        let facts = classify(dialect, event);
        answer_end.note_early(dialect, event, facts.class);
        if is_idle(event, facts.class) {
            report.idle += 1;
            report.idle_end |= matches!(facts.class, EventClass::Done | EventClass::Usage);
        }
        facts
    };
    if let Some(origin) = origin {
        minted::in_event(dialect, event, |token, kind| match kind {
            MintedKind::SealedText => origin.put(token),
            MintedKind::Response => origin.put_response(token),
            MintedKind::BackgroundResponse => {
                origin.put_response(token);
                stats.background = Some(token);
            }
        });
    }
    report.alive |= facts.class != EventClass::Comment;
    report.concluded |= !report.content && ends_answer(event, facts.class);
    match facts.class {
        EventClass::Comment => return EventText::None,
        EventClass::Content => report.content = true,
        EventClass::Error => report.error = true,
        EventClass::Usage => on_usage_chunk(event.start, event.end),
        EventClass::Done => report.done = true,
        EventClass::Other => {}
    }
    stats.events += 1;
    if let Some(found) = facts.usage.of(dialect, event) {
        stats.usage = Some(stats.usage.unwrap_or_default().merge(found));
    }
    match facts.class {
        EventClass::Content | EventClass::Other => EventText::Unknown,
        EventClass::Comment | EventClass::Error | EventClass::Usage | EventClass::Done => EventText::None,
    }
}
