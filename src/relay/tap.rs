//! The observer of a stream: sees every frame, cannot touch one. Counts, times, finds the first token, the usage and the
//! errors; what it keeps is bounded by the scanner's carry.

use bytes::Bytes;
use tokio::time::{Duration, Instant};

use crate::{
    base::RequestId,
    exchange::StreamStats,
    wire::{
        Dialect, Event, EventClass, LineTooLong, Scanner, classify, classify_committed, ends_answer, usage,
    },
};

/// A gap between frames below this counts as none.
const ZERO_GAP: Duration = Duration::from_millis(1);
/// Bytes of an error event that are kept (S1.3).
const MAX_TOLD: usize = 1024;

#[derive(Debug)]
pub(super) struct Tap {
    dialect: Dialect,
    id: RequestId,
    /// `None`: the body is not an event stream, bytes are only counted.
    scanner: Option<Scanner>,
    started: Instant,
    /// When the first and the last frame came.
    first: Option<Instant>,
    last: Instant,
    stats: StreamStats,
    /// An event without content has said that the answer is over.
    concluded: bool,
    /// The stream has ended within an event.
    left_open: bool,
    /// What an error event before the first content said.
    told: Bytes,
    text: PassedText,
}

/// How much text events carry, thought from their sizes: what all have in common, the smallest, is their envelope.
#[derive(Clone, Copy, Debug, Default)]
struct PassedText {
    events: u32,
    bytes: usize,
    smallest: Option<usize>,
}

impl PassedText {
    fn note(&mut self, size: usize) {
        self.events += 1;
        self.bytes += size;
        self.smallest = Some(self.smallest.map_or(size, |smallest| smallest.min(size)));
    }

    /// A token an event at least, as most providers send them. The Responses API tells all of its text again in its
    /// later events: there only events count.
    fn tokens(&self, dialect: Dialect) -> u32 {
        let text = self.bytes.saturating_sub(self.smallest.unwrap_or(0) * self.events as usize);
        match dialect {
            Dialect::Responses => self.events,
            Dialect::ChatCompletions | Dialect::Completions | Dialect::Embeddings | Dialect::Messages => {
                self.events.max(u32::try_from(text / 4).unwrap_or(u32::MAX))
            }
        }
    }
}

/// What one frame was.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TapReport {
    /// Offset just past the last event that ended in it.
    pub(super) event_end: Option<usize>,
    /// Something with content has come, in this frame or before.
    pub(super) content: bool,
    /// An error event ended in it.
    pub(super) error: bool,
    /// It held more than comments.
    pub(super) alive: bool,
    /// The answer is over without content.
    concluded: bool,
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
            first: None,
            last: started,
            stats: StreamStats::default(),
            told: Bytes::new(),
            concluded: false,
            left_open: false,
            text: PassedText::default(),
        }
    }

    /// Looks at a frame that came at `now`, so long after the last one; `quiet`: without a word in the log. `on_extra` is
    /// told the extra usage chunks: where they begin (`None`: in an earlier frame) and where they end.
    pub(super) fn see(
        &mut self,
        frame: &[u8],
        (now, gap): (Instant, Duration),
        quiet: bool,
        mut on_extra: impl FnMut(Option<usize>, usize),
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
        let mut seen = TapReport { content: self.stats.first_token.is_some(), ..TapReport::default() };
        let Self { dialect, stats, told, text, .. } = self;
        let dialect = *dialect;
        let had_content = seen.content;
        scanner.scan(frame, |event| {
            seen.event_end = Some(event.end);
            let erred = seen.error;
            if let Some(size) = observe(dialect, &event, &mut seen, stats, &mut on_extra) {
                text.note(size);
            }
            if seen.error && !erred && !seen.content {
                let data = event.data.unwrap_or_default();
                *told = Bytes::copy_from_slice(data.get(..MAX_TOLD).unwrap_or(data));
            }
        })?;
        self.concluded |= seen.concluded;
        seen.alive |= scanner.is_mid_event();
        if seen.content && !had_content {
            stats.first_token = Some(now - self.started);
        }
        Ok(seen)
    }

    /// How long before `now` the last frame came.
    pub(super) fn gap(&self, now: Instant) -> Duration {
        now - self.last
    }

    fn count(&mut self, bytes: usize, now: Instant, gap: Duration) {
        let stats = &mut self.stats;
        stats.frames += 1;
        stats.bytes += bytes as u64;
        match self.first {
            None => {
                self.first = Some(now);
                stats.first_byte = Some(now - self.started);
            }
            Some(_) => {
                stats.zero_gaps += u32::from(gap < ZERO_GAP);
                if let Some(timings) = &mut stats.frame_timings {
                    timings.gaps.note(gap);
                }
            }
        }
        self.last = now;
    }

    /// The stream has ended. Looks at a last event without its blank line; whether that was an extra usage chunk.
    pub(super) fn finish(&mut self) -> bool {
        let mut extra = false;
        if let Some(scanner) = &mut self.scanner {
            self.left_open = scanner.is_mid_event();
            let (dialect, stats, mut seen) = (self.dialect, &mut self.stats, TapReport::default());
            scanner.finish(|event| {
                let _ = observe(dialect, &event, &mut seen, stats, &mut |_, _| extra = true);
            });
            self.concluded |= seen.concluded;
        }
        extra
    }

    /// The last event came without its blank line.
    pub(super) const fn was_left_open(&self) -> bool {
        self.left_open
    }

    /// The stats, to be written on.
    pub(super) const fn stats(&mut self) -> &mut StreamStats {
        &mut self.stats
    }

    /// The stats, taken out.
    pub(super) fn take_stats(&mut self) -> StreamStats {
        let mut stats = std::mem::take(&mut self.stats);
        stats.passed_tokens = self.text.tokens(self.dialect);
        stats.span = self.first.map_or(Duration::ZERO, |first| self.last - first);
        stats
    }

    /// What an error event before the first content said, taken out.
    pub(super) fn take_told(&mut self) -> Bytes {
        std::mem::take(&mut self.told)
    }

    /// Tokens of output that have passed, thought from their sizes.
    pub(super) fn passed_tokens(&self) -> u32 {
        self.text.tokens(self.dialect)
    }

    /// All that is known, taken out.
    pub(super) fn take(&mut self) -> Self {
        let empty = Self::new(self.dialect, false, 0, self.started, self.id.clone());
        std::mem::replace(self, empty)
    }

    pub(super) const fn has_content(&self) -> bool {
        self.stats.first_token.is_some()
    }

    /// There is an answer, or it was said that there is none.
    pub(super) const fn has_answer(&self) -> bool {
        self.has_content() || self.concluded
    }

    pub(super) const fn has_frames(&self) -> bool {
        self.stats.frames > 0
    }

    /// What closes an event whose beginning has passed and whose end has not.
    pub(super) fn event_terminator(&self) -> &'static [u8] {
        self.scanner.as_ref().map_or(b"", Scanner::event_terminator)
    }

    pub(super) const fn is_event_stream(&self) -> bool {
        self.scanner.is_some()
    }
}

/// Gives the size of an event that may say something.
fn observe(
    dialect: Dialect,
    event: &Event<'_>,
    seen: &mut TapReport,
    stats: &mut StreamStats,
    on_extra: &mut impl FnMut(Option<usize>, usize),
) -> Option<usize> {
    let facts = if seen.content { classify_committed(dialect, event) } else { classify(dialect, event) };
    seen.alive |= facts.class != EventClass::Comment;
    seen.concluded |= !seen.content && ends_answer(event, facts.class);
    match facts.class {
        EventClass::Comment => return None,
        EventClass::Content => seen.content = true,
        EventClass::Error => seen.error = true,
        EventClass::Usage => on_extra(event.start, event.end),
        EventClass::Done | EventClass::Other => {}
    }
    stats.events += 1;
    if facts.usage
        && let Some(data) = event.data
        && let Some(found) = usage::read(data)
    {
        stats.usage = Some(stats.usage.unwrap_or_default().merge(found));
    }
    matches!(facts.class, EventClass::Content | EventClass::Other).then(|| event.data.map_or(0, <[u8]>::len))
}
