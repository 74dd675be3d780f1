//! After a failed attempt and before the commit point: ask the next candidate, or tell the client.

use crate::base::{Fault, Kind, Side};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Somebody else may do better.
    Next,
    /// Everybody would say the same.
    Stop,
}

/// What an answer's status means for the others. What the caller did wrong is the caller's.
#[must_use]
pub const fn of_status(status: u16) -> Verdict {
    match status {
        401..=404 | 408 | 409 | 425 | 429 | 500..=599 => Verdict::Next,
        _ => Verdict::Stop,
    }
}

/// What a fault means for the others.
#[must_use]
pub const fn of_fault(fault: &Fault) -> Verdict {
    match (fault.side, &fault.kind) {
        (Side::Client, _) => Verdict::Stop,
        (Side::Provider | Side::Gateway, Kind::Status(status)) => of_status(*status),
        (
            Side::Provider | Side::Gateway,
            Kind::Unreachable(_)
            | Kind::Tls(_)
            | Kind::Timeout(..)
            | Kind::Reset
            | Kind::Garbage(_)
            | Kind::TooLarge { .. }
            | Kind::ErrorEvent
            | Kind::Gone
            | Kind::Refused(_),
        ) => Verdict::Next,
    }
}

/// Whether the provider itself is in trouble, as far as an answer's status says (S0.6): a refusal is not.
#[must_use]
pub const fn is_alive(status: u16) -> bool {
    status < 500
}
