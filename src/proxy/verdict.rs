//! What kind of failure a fault or a status is. What follows from a kind is the routing room's table.

use crate::{
    base::{Clock, Fault, Kind, Side},
    routing::Class,
};

/// What an answer's status says. What the caller did wrong is the caller's.
#[must_use]
pub const fn of_status(status: u16) -> Class {
    match status {
        401 | 403 => Class::KeyInvalid,
        402 => Class::QuotaGone,
        404 => Class::ModelMissing,
        429 => Class::RateLimited,
        503 | 529 => Class::Overloaded,
        408 | 409 | 425 | 500..=599 => Class::ServerError,
        _ => Class::CallerMistake,
    }
}

/// What a fault says.
#[must_use]
pub const fn of_fault(fault: &Fault) -> Class {
    match (fault.side, &fault.kind) {
        (Side::Client, _) => Class::OwnDoing,
        (Side::Provider | Side::Gateway, kind) => match kind {
            Kind::Status(status) => of_status(*status),
            Kind::Unreachable(_) => Class::Unreachable,
            Kind::Tls(_) => Class::Tls,
            Kind::Timeout(clock, _) => Class::Timeout(*clock),
            Kind::Reset | Kind::Gone => Class::Reset,
            Kind::Garbage(_) => Class::Garbage,
            Kind::TooLarge { .. } => Class::TooLarge,
            Kind::ErrorEvent => Class::ErrorEvent,
            Kind::Refused(_) => Class::OwnDoing,
        },
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
    use crate::{
        base::{Sent, Stage},
        routing::class::Then,
    };

    #[test]
    fn the_callers_mistakes_are_not_tried_again() {
        for status in [400, 413, 415, 422] {
            assert_eq!(of_status(status).consequence().then, Then::Stop, "{status}");
        }
        for status in [401, 402, 403, 404, 408, 429, 500, 502, 503, 504, 529] {
            assert!(matches!(of_status(status).consequence().then, Then::Next { .. }), "{status}");
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
