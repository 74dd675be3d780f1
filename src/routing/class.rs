//! What kind of failure it was (S1.14), and what follows from it. The one table of consequences: whether somebody else is
//! asked, who rests for how long, and whether it speaks against the candidate's health. How a fault, a status or an error
//! body is understood as a class is the corridor's business (`proxy/verdict.rs`).

use std::time::Duration;

use crate::base::DeadlineKind;

/// Why a candidate's attempt came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// The provider's key is wrong or revoked (401).
    KeyInvalid,
    /// The provider will not do this, and it may be the request's doing or the key's (403, a 402 that asks for less).
    Forbidden,
    /// The account has no money left (402, `insufficient_quota`).
    QuotaGone,
    /// Too many requests or tokens in too short a time (429).
    RateLimited,
    /// This provider does not serve the model after all (404, `model_not_found`).
    ModelMissing,
    /// The conversation is longer than the model takes.
    ContextTooLong,
    /// The provider's moderation refused the content.
    ContentRefused,
    /// The caller's own mistake: a malformed request, an unknown parameter.
    CallerMistake,
    /// 503, 529, or `overloaded_error`: it says itself that it is too much.
    Overloaded,
    /// Any other 5xx.
    ServerError,
    /// Name not found, refused, no route.
    Unreachable,
    Tls,
    /// A deadline passed; which one.
    Timeout(DeadlineKind),
    /// The connection ended before the answer did.
    Reset,
    /// Not the protocol, or not what was asked for.
    Garbage,
    /// Beyond our own limits for an answer.
    TooLarge,
    /// An error object or event inside a response that began as a success.
    ErrorEvent,
    /// It was the client that left, or this gateway that could not: nothing was learnt of the provider.
    OwnDoing,
}

/// What the request does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Somebody else may do better; with nobody left, the same one may after a pause.
    Next { worth_waiting: bool },
    /// Everybody would say the same of this model; another model of the caller's list may do better.
    OtherModel,
    /// The client is answered now.
    Stop,
}

/// Who rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Nobody,
    /// This model at this provider.
    Candidate,
    /// Everything behind the provider's key.
    Provider,
}

/// What follows from a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consequence {
    pub then: NextStep,
    pub scope: Scope,
    /// How long they rest, unless the provider itself said how long. Grows with repetition.
    pub rest: Duration,
    /// Whether it counts in the breaker and the success figures.
    pub counts: bool,
}

impl FailureClass {
    /// S1.14, B5, R18: the table.
    #[must_use]
    pub const fn consequence(self) -> Consequence {
        const NEXT: NextStep = NextStep::Next { worth_waiting: false };
        const WAIT: NextStep = NextStep::Next { worth_waiting: true };
        const fn row(then: NextStep, scope: Scope, seconds: u64, counts: bool) -> Consequence {
            Consequence { then, scope, rest: Duration::from_secs(seconds), counts }
        }
        match self {
            Self::KeyInvalid => row(NEXT, Scope::Provider, 600, false),
            // One client's request must not shut the provider out for all; if it is the key, the breaker finds out.
            Self::Forbidden => row(NEXT, Scope::Nobody, 0, true),
            Self::QuotaGone => row(NEXT, Scope::Provider, 900, false),
            Self::RateLimited => row(WAIT, Scope::Candidate, 5, false),
            Self::ModelMissing => row(NEXT, Scope::Candidate, 300, false),
            Self::ContextTooLong | Self::ContentRefused => row(NextStep::OtherModel, Scope::Nobody, 0, false),
            Self::CallerMistake => row(NextStep::Stop, Scope::Nobody, 0, false),
            // The breaker decides how long these rest, but for a provider's own word.
            Self::Overloaded => row(WAIT, Scope::Candidate, 0, true),
            Self::ServerError | Self::Unreachable | Self::Reset => row(WAIT, Scope::Nobody, 0, true),
            Self::Tls => row(NEXT, Scope::Provider, 60, true),
            Self::Garbage | Self::ErrorEvent => row(NEXT, Scope::Nobody, 0, true),
            Self::TooLarge => row(NEXT, Scope::Nobody, 0, false),
            Self::Timeout(clock) => match clock {
                // One long answer that does not stream says little about health. Nothing but such says enough.
                DeadlineKind::Connect
                | DeadlineKind::FirstToken
                | DeadlineKind::Stream
                | DeadlineKind::Total => row(NEXT, Scope::Nobody, 0, true),
                // A full pool is ours.
                DeadlineKind::Pool => row(NEXT, Scope::Nobody, 0, false),
                DeadlineKind::Body | DeadlineKind::Write => row(NextStep::Stop, Scope::Nobody, 0, false),
            },
            Self::OwnDoing => row(NextStep::Stop, Scope::Nobody, 0, false),
        }
    }

    /// For logs, metrics and `/health`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeyInvalid => "key_invalid",
            Self::Forbidden => "forbidden",
            Self::QuotaGone => "quota_gone",
            Self::RateLimited => "rate_limited",
            Self::ModelMissing => "model_missing",
            Self::ContextTooLong => "context_too_long",
            Self::ContentRefused => "content_refused",
            Self::CallerMistake => "caller_mistake",
            Self::Overloaded => "overloaded",
            Self::ServerError => "server_error",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Timeout(DeadlineKind::Pool) => "pool_timeout",
            Self::Timeout(DeadlineKind::Connect) => "connect_timeout",
            Self::Timeout(DeadlineKind::FirstToken) => "first_token_timeout",
            Self::Timeout(DeadlineKind::Stream) => "idle_timeout",
            Self::Timeout(DeadlineKind::Total) => "total_timeout",
            Self::Timeout(DeadlineKind::Body) => "request_timeout",
            Self::Timeout(DeadlineKind::Write) => "client_write_timeout",
            Self::Reset => "reset",
            Self::Garbage => "garbage",
            Self::TooLarge => "too_large",
            Self::ErrorEvent => "error_event",
            Self::OwnDoing => "own_doing",
        }
    }

    /// Each, in a fixed order: a number for an atomic.
    pub const ALL: [Self; 24] = [
        Self::KeyInvalid,
        Self::Forbidden,
        Self::QuotaGone,
        Self::RateLimited,
        Self::ModelMissing,
        Self::ContextTooLong,
        Self::ContentRefused,
        Self::CallerMistake,
        Self::Overloaded,
        Self::ServerError,
        Self::Unreachable,
        Self::Tls,
        Self::Timeout(DeadlineKind::Pool),
        Self::Timeout(DeadlineKind::Connect),
        Self::Timeout(DeadlineKind::FirstToken),
        Self::Timeout(DeadlineKind::Stream),
        Self::Timeout(DeadlineKind::Total),
        Self::Timeout(DeadlineKind::Body),
        Self::Timeout(DeadlineKind::Write),
        Self::Reset,
        Self::Garbage,
        Self::TooLarge,
        Self::ErrorEvent,
        Self::OwnDoing,
    ];

    pub(super) fn number(self) -> u8 {
        let place = Self::ALL.iter().position(|class| *class == self);
        place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
    }

    pub(super) fn numbered(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_number_and_a_name_of_its_own() {
        let mut names: Vec<&str> = FailureClass::ALL.iter().map(|class| class.as_str()).collect();
        for class in FailureClass::ALL {
            assert_eq!(FailureClass::numbered(class.number()), Some(class));
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FailureClass::ALL.len());
        assert_eq!(FailureClass::numbered(u8::MAX), None);
    }

    /// R18: a limit reached and the caller's own mistakes are no illness.
    #[test]
    fn what_speaks_against_health() {
        for class in [
            FailureClass::RateLimited,
            FailureClass::CallerMistake,
            FailureClass::ContextTooLong,
            FailureClass::ContentRefused,
            FailureClass::ModelMissing,
            FailureClass::Timeout(DeadlineKind::Pool),
            FailureClass::OwnDoing,
        ] {
            assert!(!class.consequence().counts, "{class:?}");
        }
        for class in [
            FailureClass::ServerError,
            FailureClass::Unreachable,
            FailureClass::Timeout(DeadlineKind::FirstToken),
            FailureClass::ErrorEvent,
        ] {
            assert!(class.consequence().counts, "{class:?}");
        }
    }
}
