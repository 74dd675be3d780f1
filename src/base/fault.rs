//! The one error type at the seams. A room that fails says whose fault it was, how far the request had come, what
//! happened and whether the provider may have seen the request; whether to try again, which status to answer and what
//! to log follow from these by exhaustive matches elsewhere (`proxy/fault.rs`), never from a message.

use std::{borrow::Cow, fmt, time::Duration};

use super::deadlines::DeadlineKind;

/// Whose doing it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Client,
    Gateway,
    Provider,
}

/// How far the request had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Reading or understanding the client's request.
    Intake,
    /// Waiting for a place in the connection pool.
    Pool,
    /// Name lookup, TCP and TLS handshakes.
    Connect,
    /// Writing the request to the provider.
    Send,
    /// Waiting for the provider's response head.
    Head,
    /// Head received, no event with content yet.
    FirstToken,
    /// In the middle of the body.
    Body,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Name not found, refused, no route.
    Unreachable(Cow<'static, str>),
    /// The TLS handshake failed or the certificate was not accepted.
    Tls(Cow<'static, str>),
    /// A deadline passed after so long.
    Timeout(DeadlineKind, Duration),
    /// The connection ended or was reset before the message did.
    Reset,
    /// Bytes that are not the protocol's.
    Garbage(Cow<'static, str>),
    /// A head, line or body beyond its limit, in bytes.
    TooLarge { limit: u64 },
    /// A complete response with an error status.
    Status(u16),
    /// An error object or error event inside a response that began as a success.
    ErrorEvent,
    /// The peer closed or cancelled.
    Gone,
    /// We answered with this error code instead.
    Refused(&'static str),
}

/// Whether the provider may have seen the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sent {
    /// Not a byte was written: trying elsewhere is always safe.
    Nothing,
    /// Some or all of it was written and nothing came back.
    Unknown,
    /// Bytes of an answer came back.
    Some,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub side: Side,
    pub stage: Stage,
    pub kind: FaultKind,
    pub sent: Sent,
}

impl Fault {
    /// A fault of the provider's.
    pub const fn provider(stage: Stage, kind: FaultKind, sent: Sent) -> Self {
        Self { side: Side::Provider, stage, kind, sent }
    }

    /// The client left, or broke the protocol.
    pub const fn client(stage: Stage, kind: FaultKind) -> Self {
        Self { side: Side::Client, stage, kind, sent: Sent::Unknown }
    }
}

/// What happened, in words that may be shown to the client: no address, no key.
impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "unreachable: {why}"),
            Self::Tls(why) => write!(f, "TLS failed: {why}"),
            Self::Timeout(deadline, after) => {
                write!(f, "waited {} s for {}", after.as_secs_f64(), deadline.as_str())
            }
            Self::Reset => f.write_str("the connection ended before the response did"),
            Self::Garbage(why) => write!(f, "malformed: {why}"),
            Self::TooLarge { limit } => write!(f, "larger than the limit of {limit} bytes"),
            Self::Status(status) => write!(f, "answered {status}"),
            Self::ErrorEvent => f.write_str("answered an error inside a successful response"),
            Self::Gone => f.write_str("closed the connection"),
            Self::Refused(code) => write!(f, "refused: {code}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for Fault {}
