//! Responses that the server ends before their end. Their bodies are told why before they are dropped: to a body that is
//! only dropped, the client has left.

use std::time::Duration;

/// Why a response is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutCause {
    /// The client took no bytes for so long.
    Unread(Duration),
    /// The drain's time is over.
    Drain,
}

/// A body that can be told.
pub trait Cuttable {
    /// It will be dropped, and not because the client has left.
    fn cut(&mut self, cause: CutCause);
}
