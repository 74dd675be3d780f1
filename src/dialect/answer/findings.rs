//! The results of a translation, for the gateway: facts about an event, and why an answer has no good end.

use super::fact::ErrorCode;

/// The facts about an event that the gateway acts on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Translated {
    /// Text, reasoning, a refusal or a call was written.
    pub is_content: bool,
    /// The answer is complete and its end was written.
    pub is_end: bool,
    /// An error event was written, which ends the stream.
    pub is_error: bool,
    /// A part of the event has no place in the client's dialect and was dropped.
    pub is_dropped: bool,
}

/// A stream that has no good end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenAnswer {
    /// It was cut short; no end was written.
    Cut,
    /// It ended with an error, which was written.
    Failed,
}

/// A body that is no whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WholeError {
    NotJson,
    /// No answer, or one that is not complete.
    Incomplete,
    /// The answer is an error in spite of its status; `status`: the one that its client gets.
    Failed {
        code: ErrorCode,
        status: u16,
        message: String,
    },
}
