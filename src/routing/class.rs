//! The classes of failure (S1.14) and the one table of their consequences: whether another candidate is
//! tried, which scope rests for how long, and whether the failure counts against the candidate's health.
//! `proxy/classify.rs` derives the class from a fault, a status or an error body.

use std::time::Duration;

use crate::base::DeadlineKind;

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// The provider's key is wrong or revoked (401).
    KeyInvalid,
    /// The provider refuses, because of the request or of the key (403, or a 402 that asks for a smaller
    /// request).
    Forbidden,
    /// The account has no money left (402, `insufficient_quota`).
    QuotaExhausted,
    /// The cause may be the request or the provider (408, 409, 425; 498: Groq's flex tier, which the client
    /// chooses, is full).
    Ambiguous,
    /// Too many requests or tokens per time (429).
    RateLimited,
    /// This provider does not serve the model at this endpoint (404, `model_not_found`).
    ModelMissing,
    /// This provider serves the model, but at another endpoint.
    ModelElsewhere,
    /// This provider does not have the endpoint (404 without a word about the model, 405, 501).
    EndpointMissing,
    /// This provider cannot serve such a request, and another one may: too large for its limit, or a feature
    /// that it lacks.
    Unsupported,
    /// The dialect of this provider's endpoint has no words for the request, which was not sent.
    Unsayable,
    /// The conversation is longer than the model's context.
    ContextTooLong,
    /// The provider's moderation refused the content.
    ContentRefused,
    /// The client's mistake: a malformed request, an unknown parameter.
    CallerMistake,
    /// 503, 529, or `overloaded_error`.
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
    /// Not valid HTTP, or not the requested kind of content.
    Garbage,
    /// Beyond the gateway's limits for a response.
    TooLarge,
    /// An error object or event inside a response that began as a success.
    ErrorEvent,
    /// The client left or the gateway itself failed: not the provider's failure.
    Unattributed,
}

/// The next step of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Another candidate may succeed. `may_repeat`: if none is left, the same one may after a pause.
    OtherCandidate { may_repeat: bool },
    /// Every provider would refuse this model; another model of the client's list may succeed.
    OtherModel,
    /// The client is answered now.
    Stop,
}

/// The scope that rests after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    None,
    /// This model at this provider, at the endpoint of the request.
    ModelAtEndpoint,
    /// The endpoint of the request, at this provider.
    Endpoint,
    /// This model at this provider.
    Candidate,
    /// Everything behind the provider's key.
    Provider,
}

/// The consequence of a failure class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consequence {
    pub next_step: NextStep,
    pub scope: Scope,
    /// How long the scope rests, unless the provider requested a pause. Grows with repetition.
    pub rest: Duration,
    /// Whether it counts for the breaker and in the success counts.
    pub counts_against_health: bool,
}

impl FailureClass {
    /// S1.14, B5, R18: the table.
    #[must_use]
    pub const fn consequence(self) -> Consequence {
        const NEXT: NextStep = NextStep::OtherCandidate { may_repeat: false };
        const WAIT: NextStep = NextStep::OtherCandidate { may_repeat: true };
        const fn row(
            next_step: NextStep,
            scope: Scope,
            seconds: u64,
            counts_against_health: bool,
        ) -> Consequence {
            Consequence { next_step, scope, rest: Duration::from_secs(seconds), counts_against_health }
        }
        match self {
            Self::KeyInvalid => row(NEXT, Scope::Provider, 600, false),
            // One client's requests must not close the provider for all.
            Self::Forbidden => row(NEXT, Scope::None, 0, false),
            Self::Ambiguous => row(WAIT, Scope::None, 0, false),
            Self::QuotaExhausted => row(NEXT, Scope::Provider, 900, false),
            // Short at first, because a client that repeats on its own would wait no longer.
            Self::RateLimited => row(WAIT, Scope::Candidate, 1, false),
            Self::ModelMissing | Self::ModelElsewhere => row(NEXT, Scope::ModelAtEndpoint, 300, false),
            Self::EndpointMissing => row(NEXT, Scope::Endpoint, 300, false),
            Self::ContextTooLong | Self::ContentRefused => row(NextStep::OtherModel, Scope::None, 0, false),
            Self::CallerMistake => row(NextStep::Stop, Scope::None, 0, false),
            // The breaker decides how long these rest, unless the provider requested a pause.
            Self::Overloaded => row(WAIT, Scope::Candidate, 0, true),
            Self::ServerError | Self::Unreachable | Self::Reset => row(WAIT, Scope::None, 0, true),
            Self::Tls => row(NEXT, Scope::Provider, 60, true),
            Self::Garbage | Self::ErrorEvent => row(NEXT, Scope::None, 0, true),
            Self::TooLarge | Self::Unsupported | Self::Unsayable => row(NEXT, Scope::None, 0, false),
            Self::Timeout(clock) => match clock {
                // One slow response says little about health, but many in a row trip the breaker.
                DeadlineKind::Connect
                | DeadlineKind::Send
                | DeadlineKind::FirstToken
                | DeadlineKind::Stream
                | DeadlineKind::Total => row(NEXT, Scope::None, 0, true),
                // A full pool is the gateway's own limit.
                DeadlineKind::Pool => row(NEXT, Scope::None, 0, false),
                DeadlineKind::Body | DeadlineKind::Write => row(NextStep::Stop, Scope::None, 0, false),
            },
            Self::Unattributed => row(NextStep::Stop, Scope::None, 0, false),
        }
    }

    /// The name in logs, metrics and `/health`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeyInvalid => "key_invalid",
            Self::Forbidden => "forbidden",
            Self::Ambiguous => "ambiguous",
            Self::QuotaExhausted => "quota_gone",
            Self::RateLimited => "rate_limited",
            Self::ModelMissing => "model_missing",
            Self::ModelElsewhere => "model_elsewhere",
            Self::EndpointMissing => "endpoint_missing",
            Self::Unsupported => "unsupported",
            Self::Unsayable => "unsayable",
            Self::ContextTooLong => "context_too_long",
            Self::ContentRefused => "content_refused",
            Self::CallerMistake => "caller_mistake",
            Self::Overloaded => "overloaded",
            Self::ServerError => "server_error",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Timeout(DeadlineKind::Pool) => "pool_timeout",
            Self::Timeout(DeadlineKind::Connect) => "connect_timeout",
            Self::Timeout(DeadlineKind::Send) => "write_timeout",
            Self::Timeout(DeadlineKind::FirstToken) => "first_token_timeout",
            Self::Timeout(DeadlineKind::Stream) => "idle_timeout",
            Self::Timeout(DeadlineKind::Total) => "total_timeout",
            Self::Timeout(DeadlineKind::Body) => "request_timeout",
            Self::Timeout(DeadlineKind::Write) => "client_write_timeout",
            Self::Reset => "reset",
            Self::Garbage => "garbage",
            Self::TooLarge => "too_large",
            Self::ErrorEvent => "error_event",
            Self::Unattributed => "own_doing",
        }
    }

    /// All classes in a fixed order: the index fits into an atomic.
    pub const ALL: [Self; 30] = [
        Self::KeyInvalid,
        Self::Forbidden,
        Self::QuotaExhausted,
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
        Self::Timeout(DeadlineKind::Send),
        Self::Timeout(DeadlineKind::FirstToken),
        Self::Timeout(DeadlineKind::Stream),
        Self::Timeout(DeadlineKind::Total),
        Self::Timeout(DeadlineKind::Body),
        Self::Timeout(DeadlineKind::Write),
        Self::Reset,
        Self::Garbage,
        Self::TooLarge,
        Self::ErrorEvent,
        Self::Unattributed,
        Self::EndpointMissing,
        Self::Unsupported,
        Self::ModelElsewhere,
        Self::Unsayable,
        Self::Ambiguous,
    ];

    pub(super) fn number(self) -> u8 {
        let place = Self::ALL.iter().position(|class| *class == self);
        place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
    }

    pub(super) fn from_index(number: u8) -> Option<Self> {
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
            assert_eq!(FailureClass::from_index(class.number()), Some(class));
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FailureClass::ALL.len());
        assert_eq!(FailureClass::from_index(u8::MAX), None);
    }

    /// R18: rate limits and the client's mistakes do not count against health.
    #[test]
    fn what_speaks_against_health() {
        for class in [
            FailureClass::RateLimited,
            FailureClass::CallerMistake,
            FailureClass::ContextTooLong,
            FailureClass::ContentRefused,
            FailureClass::ModelMissing,
            FailureClass::EndpointMissing,
            FailureClass::Unsupported,
            FailureClass::Forbidden,
            FailureClass::Ambiguous,
            FailureClass::Timeout(DeadlineKind::Pool),
            FailureClass::Unattributed,
        ] {
            assert!(!class.consequence().counts_against_health, "{class:?}");
        }
        for class in [
            FailureClass::ServerError,
            FailureClass::Unreachable,
            FailureClass::Timeout(DeadlineKind::FirstToken),
            FailureClass::ErrorEvent,
        ] {
            assert!(class.consequence().counts_against_health, "{class:?}");
        }
    }
}
