//! How far a stream has come, as a running request shows it. The tap writes on it with each frame; a copy of
//! it is the whole cost of being seen.

use tokio::time::{Duration, Instant};

use crate::wire::{Dialect, Event, content_shape};

/// Bytes. A larger event holds more than an envelope: its text is measured.
const MAX_ENVELOPE: usize = 512;
/// Bytes of an event of the Responses API among which its type stands.
const TYPE_BYTES: usize = 128;

/// How much text the events carried. Of those of a known shape, and of large ones, it is measured; of the
/// others it is estimated from their sizes: that of the smallest one is taken as their envelope.
#[derive(Clone, Copy, Debug, Default)]
pub struct PassedText {
    events: u32,
    /// Small events of an unknown shape, their bytes, and the smallest one's.
    small: u32,
    small_bytes: u32,
    smallest: u32,
    /// Bytes of text that were measured.
    text: usize,
}

impl PassedText {
    /// An event that carried so many bytes of text.
    pub const fn note_text(&mut self, bytes: usize) {
        self.events = self.events.saturating_add(1);
        self.text = self.text.saturating_add(bytes);
    }

    /// An event that may have carried text.
    pub fn note_event(&mut self, dialect: Dialect, event: &Event<'_>) {
        let data = event.data.unwrap_or_default();
        if data.len() > MAX_ENVELOPE {
            let carries = dialect != Dialect::Responses || is_delta(event.name, data);
            return self.note_text(if carries { content_shape::text_bytes(data, MAX_ENVELOPE) } else { 0 });
        }
        let size = data.len() as u32;
        self.smallest = if self.small == 0 { size } else { self.smallest.min(size) };
        self.events = self.events.saturating_add(1);
        self.small = self.small.saturating_add(1);
        self.small_bytes = self.small_bytes.saturating_add(size);
    }

    /// Events that carried text.
    #[must_use]
    pub const fn events(&self) -> u32 {
        self.events
    }

    /// At least a token per event, as most providers send them. The Responses API repeats all of its text in
    /// its later events, so there only the text of deltas counts.
    #[must_use]
    pub fn tokens(&self, dialect: Dialect) -> u32 {
        let envelopes = self.smallest.saturating_mul(self.small);
        let text = match dialect {
            Dialect::Responses => self.text,
            Dialect::ChatCompletions
            | Dialect::Completions
            | Dialect::Embeddings
            | Dialect::Messages
            | Dialect::Gemini => {
                self.text.saturating_add(self.small_bytes.saturating_sub(envelopes) as usize)
            }
        };
        self.events.max(u32::try_from(text / 4).unwrap_or(u32::MAX))
    }
}

/// Whether an event of the Responses API is a delta, by its name or its type.
fn is_delta(name: Option<&[u8]>, data: &[u8]) -> bool {
    name.map_or_else(
        || memchr::memmem::find(data.get(..TYPE_BYTES).unwrap_or(data), b".delta\"").is_some(),
        |name| name.ends_with(b"delta"),
    )
}

/// The state of a stream at its last frame.
#[derive(Clone, Copy, Debug)]
pub struct StreamProgress {
    pub text: PassedText,
    /// Time of the last frame.
    pub last: Instant,
}

/// The gateway's own share of a stream's time so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddedSoFar {
    /// Of the first frame. `None`: it has not been measured.
    pub first: Option<Duration>,
    /// Of the slowest frame.
    pub max: Option<Duration>,
}
