//! The token counts of an event, which are read once: by the reader of its class, or where they are wanted.

use super::{
    dialect::Dialect,
    sse::Event,
    usage::{self, Usage},
};

/// The token counts that an event holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventUsage {
    None,
    /// It has not been looked whether it holds any.
    Unread,
    Read(Usage),
}

impl EventUsage {
    /// Whether there may be any.
    #[must_use]
    pub fn is_possible(self) -> bool {
        self != Self::None
    }

    /// The counts of `event`, which this was found in.
    #[must_use]
    pub fn of(self, dialect: Dialect, event: &Event<'_>) -> Option<Usage> {
        match self {
            Self::None => None,
            Self::Unread => usage::read_event(dialect, event.data?),
            Self::Read(usage) => Some(usage),
        }
    }
}
