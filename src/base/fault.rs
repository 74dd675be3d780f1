//! The error type between rooms. A fault names the side that caused it, the stage the request had reached,
//! the kind of failure, and whether the provider may have received the request. Retries, status codes and log
//! lines follow from these by exhaustive matches elsewhere (`proxy/fault.rs`), never from a message's text.

use std::{borrow::Cow, time::Duration};

use super::deadlines::DeadlineKind;

/// The side that caused the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Client,
    Gateway,
    Provider,
}

/// The stage that the request had reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Reading and parsing the client's request.
    Intake,
    /// Waiting for a place in the connection pool.
    Pool,
    /// Name lookup, TCP and TLS handshakes.
    Connect,
    /// Writing the request to the provider.
    Send,
    /// Waiting for the provider's response head.
    Head,
    /// Head received, no event with content so far.
    FirstToken,
    /// Inside the body, after the first content.
    Body,
}

/// The cause. Its text may be shown to the client: it holds no address and no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// Name not found, refused, no route.
    #[error("unreachable: {0}")]
    Unreachable(Cow<'static, str>),
    /// The TLS handshake failed or the certificate was not accepted.
    #[error("TLS failed: {0}")]
    Tls(Cow<'static, str>),
    /// This deadline passed, after this time.
    #[error("waited {} s for {}", .1.as_secs_f64(), .0.as_str())]
    Timeout(DeadlineKind, Duration),
    /// The connection ended or was reset before the end of the message.
    #[error("the connection ended before the response did")]
    Reset,
    /// Bytes that violate the protocol.
    #[error("malformed: {0}")]
    Garbage(Cow<'static, str>),
    /// A head, line or body longer than its limit, in bytes.
    #[error("larger than the limit of {limit} bytes")]
    TooLarge { limit: u64 },
    /// A complete response with an error status.
    #[error("answered {0}")]
    Status(u16),
    /// A redirection, which is not followed, and where to, without its query.
    #[error("redirects to {0}, which is not followed")]
    Redirect(Box<str>),
    /// An error object or an error event in a response with a success status.
    #[error("answered an error inside a successful response")]
    ErrorEvent,
    /// The response ended as its framing declares, but without the last event of its dialect.
    #[error("the response ended before the answer did")]
    Truncated,
    /// A success without an answer in it, to a request for a stream.
    #[error("answered the request for a stream with {0}")]
    Empty(&'static str),
    /// The peer closed or cancelled.
    #[error("closed the connection")]
    Gone,
    /// The gateway answered with this error code itself.
    #[error("refused: {0}")]
    Refused(&'static str),
}

/// The code of a fault: the gateway's own system has no socket or memory left for a connection.
pub const NO_SOCKET: &str = "no_socket";

/// Whether the provider may have received the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sent {
    /// No byte was written: another attempt is always safe.
    Nothing,
    /// Some or all bytes were written, and no response byte arrived.
    Unknown,
    /// Response bytes arrived.
    Some,
}

impl Sent {
    /// What is known of a request that ended at `stage`.
    #[must_use]
    pub const fn before(stage: Stage) -> Self {
        match stage {
            Stage::Intake | Stage::Pool | Stage::Connect => Self::Nothing,
            Stage::Send | Stage::Head | Stage::FirstToken => Self::Unknown,
            Stage::Body => Self::Some,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct Fault {
    pub side: Side,
    pub stage: Stage,
    pub kind: FaultKind,
    pub sent: Sent,
}

impl Fault {
    /// A fault that the provider caused.
    pub const fn provider(stage: Stage, kind: FaultKind, sent: Sent) -> Self {
        Self { side: Side::Provider, stage, kind, sent }
    }

    /// A fault that the client caused: it left, or violated the protocol.
    pub const fn client(stage: Stage, kind: FaultKind) -> Self {
        Self { side: Side::Client, stage, kind, sent: Sent::Unknown }
    }

    /// The drain's time was over when the request had come so far.
    pub const fn shutting_down(stage: Stage) -> Self {
        let kind = FaultKind::Refused("shutting_down");
        Self { side: Side::Gateway, stage, kind, sent: Sent::before(stage) }
    }

    /// The error's code: in the answer to the client, as far as one can still be given, and in log and
    /// ledger.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match (&self.kind, self.side) {
            (FaultKind::Refused(code), _) => code,
            (FaultKind::Timeout(DeadlineKind::Write, _), Side::Client) => "client_write_timeout",
            (FaultKind::Timeout(..), Side::Client) => "request_timeout",
            (FaultKind::TooLarge { .. }, Side::Client) => "request_too_large",
            (FaultKind::Gone | FaultKind::Reset, Side::Client) => "client_gone",
            (
                FaultKind::Unreachable(_)
                | FaultKind::Tls(_)
                | FaultKind::Garbage(_)
                | FaultKind::Status(_)
                | FaultKind::Redirect(_)
                | FaultKind::Truncated
                | FaultKind::Empty(_)
                | FaultKind::ErrorEvent,
                Side::Client,
            ) => "bad_request",
            (FaultKind::Timeout(deadline, _), Side::Provider | Side::Gateway) => match deadline {
                DeadlineKind::Pool => "pool_timeout",
                DeadlineKind::Connect => "connect_timeout",
                DeadlineKind::Send => "write_timeout",
                DeadlineKind::FirstToken => "first_token_timeout",
                DeadlineKind::Stream => "idle_timeout",
                DeadlineKind::Total | DeadlineKind::Body | DeadlineKind::Write => "upstream_timeout",
            },
            (FaultKind::Unreachable(_), Side::Provider | Side::Gateway) => "upstream_unreachable",
            (FaultKind::Tls(_), Side::Provider | Side::Gateway) => "upstream_tls",
            (FaultKind::Reset | FaultKind::Gone, Side::Provider | Side::Gateway) => "upstream_reset",
            (FaultKind::Truncated, Side::Provider | Side::Gateway) => "upstream_truncated",
            (FaultKind::Empty(_), Side::Provider | Side::Gateway) => "upstream_empty",
            (FaultKind::Garbage(_), Side::Provider | Side::Gateway) => "upstream_garbage",
            (FaultKind::TooLarge { .. }, Side::Provider | Side::Gateway) => "response_too_large",
            (FaultKind::Status(_), Side::Provider | Side::Gateway) => "upstream_status",
            (FaultKind::Redirect(_), Side::Provider | Side::Gateway) => "upstream_redirect",
            (FaultKind::ErrorEvent, Side::Provider | Side::Gateway) => "upstream_error",
        }
    }
}
