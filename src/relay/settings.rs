//! How responses are relayed, by configuration: mode, buffering, commit point, limits. Read once per request
//! from its snapshot.

use std::time::Duration;

use crate::exchange::OnDisconnect;

/// How a stream is passed to the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Frames as they arrive.
    #[default]
    Asgi,
    /// Coalesced to `chunk_size` or `max_delay`, cut at event ends.
    Buffered,
}

/// The point up to which a request may fail over unseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitPoint {
    /// The provider's response head.
    Headers,
    /// The first bytes of the body.
    FirstFrame,
    /// The first event with content, reasoning or a tool call.
    FirstContent,
}

/// How a fault after the commit point is shown. The body's framing breaks off in both cases, because clients
/// repeat a stream that breaks off, and many give up after an orderly end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FaultDisplay {
    /// By the broken framing alone.
    #[default]
    Break,
    /// By an error event before it.
    Event,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// Used when neither endpoint, header nor body sets it (`x_use_asgi_streaming`).
    pub mode: Mode,
    /// Buffered mode: bytes to coalesce.
    pub chunk_size: usize,
    /// Buffered mode: how long a byte may be held.
    pub max_delay: Duration,
    /// `None`: first content when there is another candidate, else first frame.
    pub commit: Option<CommitPoint>,
    /// Request usage from the provider when the client did not, and take the extra chunk out again.
    pub include_usage: bool,
    /// Bytes of a non-streaming response (`max_response_size`).
    pub max_response_size: u64,
    /// Bytes of one SSE line; a longer one is a fault.
    pub max_line: usize,
    pub on_disconnect: OnDisconnect,
    pub on_fault: FaultDisplay,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Asgi,
            chunk_size: 1024,
            max_delay: Duration::from_millis(50),
            commit: None,
            include_usage: true,
            max_response_size: 10 * 1024 * 1024,
            max_line: 16 * 1024 * 1024,
            on_disconnect: OnDisconnect::default(),
            on_fault: FaultDisplay::default(),
        }
    }
}
