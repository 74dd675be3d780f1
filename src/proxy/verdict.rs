//! After a failed attempt and before the commit point: ask the next candidate, or tell the client.

use crate::base::{Clock, Fault, Kind, Side};

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

/// Whether the provider is well, as far as an answer's status says (S0.6): a refusal is no trouble.
#[must_use]
pub const fn is_alive(status: u16) -> bool {
    status < 500
}

/// Whether a fault says that the provider is in trouble. A full pool of ours and an answer that is too large do not.
#[must_use]
pub const fn is_trouble(fault: &Fault) -> bool {
    match (fault.side, &fault.kind) {
        (Side::Client | Side::Gateway, _) => false,
        (Side::Provider, Kind::Status(status)) => !is_alive(*status),
        (
            Side::Provider,
            Kind::Timeout(Clock::Pool | Clock::Total, _) | Kind::TooLarge { .. } | Kind::Refused(_),
        ) => false,
        (
            Side::Provider,
            Kind::Unreachable(_)
            | Kind::Tls(_)
            | Kind::Timeout(..)
            | Kind::Reset
            | Kind::Garbage(_)
            | Kind::ErrorEvent
            | Kind::Gone,
        ) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::{Sent, Stage};

    #[test]
    fn the_callers_mistakes_are_not_tried_again() {
        for status in [400, 413, 415, 422] {
            assert_eq!(of_status(status), Verdict::Stop, "{status}");
        }
        for status in [401, 402, 403, 404, 408, 429, 500, 502, 503, 504, 529] {
            assert_eq!(of_status(status), Verdict::Next, "{status}");
        }
    }

    #[test]
    fn a_full_pool_says_nothing_of_the_provider() {
        let fault = |kind| Fault::provider(Stage::Head, kind, Sent::Unknown);
        assert!(!is_trouble(&fault(Kind::Timeout(Clock::Pool, Duration::ZERO))));
        assert!(!is_trouble(&fault(Kind::TooLarge { limit: 1 })));
        assert!(is_trouble(&fault(Kind::Timeout(Clock::FirstToken, Duration::ZERO))));
        assert!(is_trouble(&fault(Kind::Reset)));
    }
}
