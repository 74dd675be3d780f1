//! Responses that the server ends before their end. The body receives the cause before it is dropped, because
//! a body that is dropped without one takes it that the client has left.

use std::time::Duration;

/// Why a response is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutCause {
    /// The client took no bytes for this long.
    Unread(Duration),
    /// The drain's time is over.
    Drain,
}

/// A body that receives the cause of its cut.
pub trait Cuttable {
    /// The body is to end by itself soon: it gives what shows the cause to its client, and then its error.
    /// May be called again.
    fn end(&mut self, cause: CutCause);

    /// Called at most once, before the drop. Not called when the client has left.
    fn cut(&mut self, cause: CutCause);
}
