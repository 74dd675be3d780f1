//! The deadlines of a request at a provider: which event starts each, which event ends it, and the error code
//! of the response when it passes. [`DeadlineKind`] names every deadline of a request, including those of the
//! client's side, whose values are in `server::ServerLimits`. The tables in `docs/` use the same words.
//!
//! Fields and variants follow the configuration's keys, without `_timeout`. Invariant: a deadline may pass
//! late, never early.

use std::time::Duration;

/// The values that the configuration gives a provider. Upstream is given `pool`, `connect` and `write` alone;
/// the others belong to the code that reads the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// `pool_timeout`: from the wait for a place in the connection pool to the place. 503 `pool_timeout`.
    pub pool: Duration,
    /// `connect_timeout`: from the name lookup to the end of the TCP and TLS handshakes; where HTTP/2 can be
    /// shared, once more for the wait until another request has dialled. 504 `connect_timeout`.
    pub connect: Duration,
    /// `write_timeout`: from a write to the provider that has to wait to progress. 504 `write_timeout`.
    pub write: Duration,
    /// `first_token_timeout`: from the beginning of an attempt that streams, before pool and connection, to
    /// the first event with content; comments and empty events do not end it. 504 `first_token_timeout`.
    pub first_token: Duration,
    /// `stream_timeout`: from the bytes of one event to the bytes of the next, after the first content;
    /// comments do not restart it. 504 `idle_timeout`.
    pub stream: Duration,
    /// `non_stream_timeout`: from the beginning of an attempt that does not stream, before pool and
    /// connection, to the last byte of its response. 504 `upstream_timeout`.
    pub non_stream: Duration,
    /// `stream_total_timeout`: from the arrival of the request to the end of its stream. `None`: no limit.
    /// 504 `upstream_timeout`.
    pub stream_total: Option<Duration>,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            pool: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            write: Duration::from_secs(30),
            first_token: Duration::from_secs(300),
            stream: Duration::from_secs(300),
            non_stream: Duration::from_secs(600),
            stream_total: None,
        }
    }
}

/// Which deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeadlineKind {
    /// [`Deadlines::pool`].
    Pool,
    /// [`Deadlines::connect`].
    Connect,
    /// [`Deadlines::write`].
    Send,
    /// [`Deadlines::first_token`].
    FirstToken,
    /// [`Deadlines::stream`].
    Stream,
    /// [`Deadlines::non_stream`] or [`Deadlines::stream_total`]: one error code and one failure class stand
    /// for both.
    Total,
    /// `limits.body_timeout`: from the request's head to the end of its body. 408 `request_timeout`.
    Body,
    /// `limits.write_timeout`: from a write to the client that has to wait to progress.
    /// `client_write_timeout` in the log; the client sees a closed connection or a reset stream.
    Write,
}

impl DeadlineKind {
    /// The event that did not come in time.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pool => "a free connection",
            Self::Connect => "a connection",
            Self::Send => "the provider to read",
            Self::FirstToken => "the first token",
            Self::Stream => "the next byte",
            Self::Total => "the complete response",
            Self::Body => "the request body",
            Self::Write => "the client to read",
        }
    }
}
