//! How far a stream has come, as a running request shows it. The tap writes on it with each frame; a copy of
//! it is the whole cost of being seen.

use tokio::time::{Duration, Instant};

use crate::wire::Dialect;

/// How much text the events carried, estimated from their sizes: the size of the smallest one is taken as the
/// envelope that all have in common.
#[derive(Clone, Copy, Debug, Default)]
pub struct PassedText {
    events: u32,
    smallest: Option<u32>,
    bytes: usize,
}

impl PassedText {
    pub fn note(&mut self, size: usize) {
        self.events += 1;
        self.bytes += size;
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.smallest = Some(self.smallest.map_or(size, |smallest| smallest.min(size)));
    }

    /// Events that carried text.
    #[must_use]
    pub const fn events(&self) -> u32 {
        self.events
    }

    /// At least a token per event, as most providers send them. The Responses API repeats all of its text in
    /// its later events, so there only events count.
    #[must_use]
    pub fn tokens(&self, dialect: Dialect) -> u32 {
        let text = self.bytes.saturating_sub(self.smallest.unwrap_or(0) as usize * self.events as usize);
        match dialect {
            Dialect::Responses => self.events,
            Dialect::ChatCompletions
            | Dialect::Completions
            | Dialect::Embeddings
            | Dialect::Messages
            | Dialect::Gemini => self.events.max(u32::try_from(text / 4).unwrap_or(u32::MAX)),
        }
    }
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
