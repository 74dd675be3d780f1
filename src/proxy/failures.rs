//! The failed attempts of a request, and its refusal when no candidate is left (S3.8). A reason names the
//! provider and the failure in the gateway's own words, because a provider's sentences may quote keys.

use std::{
    fmt::Write,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    attempt_result::AttemptError,
    classify,
    fault::{KEY_REFUSED, Refusal},
    snapshot::Provider,
    translation::UntranslatedRequest,
};
use crate::{
    base::{DeadlineKind, Fault, FaultKind, RequestId, Sent, Stage},
    routing::{FailureClass, retry_after},
    wire::provider_error,
};

const TIMED_OUT: &str = "no provider answered in time";
const FAILED: &str = "all providers of this model failed";
/// Bytes of a provider's error code that are repeated.
const MAX_CODE: usize = 48;

/// One attempt that failed.
#[derive(Debug)]
pub(super) struct FailedAttempt {
    provider: Arc<str>,
    pub(super) class: FailureClass,
    /// The answer's status. `None`: there was none.
    status: Option<u16>,
    /// The provider's `retry-after`. `None`: it gave none.
    pub(super) retry_after: Option<Duration>,
    pub(super) sent: Sent,
    /// The failure in the gateway's own words.
    reason: String,
}

impl FailedAttempt {
    /// `model`: the model's name at the provider.
    pub(super) fn of(provider: Option<&Provider>, model: &str, error: &AttemptError) -> Self {
        let has_key = provider.is_some_and(|provider| provider.target.has_credential());
        let provider = provider.map_or_else(|| "?".into(), |provider| Arc::clone(&provider.target.name));
        match error {
            AttemptError::Fault(fault) => {
                let class = classify::of_fault(fault);
                let reason = fault.to_string();
                Self { provider, class, status: None, retry_after: None, sent: fault.sent, reason }
            }
            AttemptError::Untranslated(UntranslatedRequest { class, refusal }) => Self {
                provider,
                class: *class,
                status: None,
                retry_after: None,
                sent: Sent::Nothing,
                reason: refusal.message.to_string(),
            },
            AttemptError::Error(response) => {
                let (status, error) = (response.status.as_u16(), provider_error::read(&response.text));
                let class = classify::of_error(status, &response.text, model);
                let limited = class == FailureClass::RateLimited;
                let retry_after =
                    retry_after::from_response(&response.headers, &response.text, limited, SystemTime::now());
                let mut reason = match response.status.is_success() {
                    true => FaultKind::ErrorEvent.to_string(),
                    false => FaultKind::Status(status).to_string(),
                };
                if let Some(code) = [error.code, error.kind, error.status].into_iter().flatten().find(is_code)
                {
                    let _ = write!(reason, " ({code})");
                }
                if class == FailureClass::KeyInvalid && !has_key {
                    reason.push_str(", no key is configured for it");
                }
                Self { provider, class, status: Some(status), retry_after, sent: Sent::Some, reason }
            }
        }
    }

    /// The provider's word, else for a rate limit the candidate's rest: some clients give up without one.
    fn retry_after(&self) -> Option<Duration> {
        let rest = || (self.class == FailureClass::RateLimited).then(|| self.class.consequence().rest);
        self.retry_after.or_else(rest)
    }

    pub(super) fn log(&self, id: &RequestId) {
        let Self { provider, class, retry_after, reason, .. } = self;
        let hint = retry_after.map(|after| after.as_secs_f64());
        tracing::debug!(%id, %provider, class = class.as_str(), hint, why = reason, "attempt failed");
    }
}

/// Whether a text has the form of an error code, so that it quotes nothing.
pub(super) fn is_code(word: &&str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    word.len() <= MAX_CODE && word.bytes().all(fits) && word.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// The failed attempts of a request, in the order in which they failed.
#[derive(Debug, Default)]
pub(super) struct FailedAttempts {
    all: Vec<FailedAttempt>,
    /// Some attempts were still running when time was up.
    cut_short: bool,
}

impl FailedAttempts {
    pub(super) fn add(&mut self, failure: FailedAttempt) {
        self.all.push(failure);
    }

    /// Adds the attempts that were still running when time was up.
    pub(super) fn add_slow(&mut self, providers: impl Iterator<Item = Arc<str>>) {
        let before = self.all.len();
        self.all.extend(providers.map(|provider| FailedAttempt {
            provider,
            class: FailureClass::Timeout(DeadlineKind::FirstToken),
            status: None,
            retry_after: None,
            sent: Sent::Unknown,
            reason: "no answer in time".to_owned(),
        }));
        self.cut_short |= self.all.len() > before;
    }

    /// Notes whether time was up.
    pub(super) fn add_late(&mut self, late: bool) {
        self.cut_short |= late;
    }

    /// Whether time ended the search.
    pub(super) fn are_late(&self) -> bool {
        self.cut_short || self.all_timed_out()
    }

    fn all_timed_out(&self) -> bool {
        self.are_all(|class| matches!(class, FailureClass::Timeout(_)))
    }

    fn are_all(&self, is: impl Fn(FailureClass) -> bool) -> bool {
        !self.all.is_empty() && self.all.iter().all(|failure| is(failure.class))
    }

    /// The status of all answers, if they have the same.
    fn shared_status(&self) -> Option<u16> {
        let status = self.all.first()?.status?;
        self.all.iter().all(|failure| failure.status == Some(status)).then_some(status)
    }

    /// The status, type and code of refusals that a repeat would only make dearer. `None`: some attempt
    /// failed otherwise.
    fn refusals(&self) -> Option<(u16, &'static str, &'static str)> {
        const REFUSED: &str = "all_providers_refused";
        let is_quota = |class| class == FailureClass::QuotaExhausted;
        let is_refusal = |class| matches!(class, FailureClass::Forbidden | FailureClass::KeyInvalid);
        if self.are_all(is_quota) {
            let status = self.shared_status().filter(|status| matches!(status, 402 | 403 | 429));
            return Some((status.unwrap_or(402), "insufficient_quota", "insufficient_quota"));
        }
        if self.are_all(|class| is_quota(class) || is_refusal(class)) {
            let status = self.shared_status().filter(|status| matches!(status, 402 | 403)).unwrap_or(403);
            return Some((status, Refusal::kind_of(status), REFUSED));
        }
        let status = self.shared_status().filter(|status| matches!(status, 408 | 409 | 425))?;
        self.are_all(|class| class == FailureClass::Ambiguous)
            .then(|| (status, Refusal::kind_of(status), REFUSED))
    }

    /// The error that the client is given, after a request to the path `endpoint`. A cause that all attempts
    /// share keeps its own status, because clients decide by it whether to repeat.
    pub(super) fn refusal(&self, endpoint: &str) -> Box<Refusal> {
        let no_endpoint = format!("no provider of this model has the endpoint {endpoint}");
        let (status, kind, code, message) = match self.all.as_slice() {
            [] if self.cut_short => (504, "server_error", "all_providers_timed_out", TIMED_OUT),
            [] => (503, "server_error", "no_provider_available", FAILED),
            _ if self.all_timed_out() => (504, "server_error", "all_providers_timed_out", TIMED_OUT),
            _ if self.are_all(|class| class == FailureClass::RateLimited) => {
                (429, "rate_limit_error", "rate_limit_exceeded", "all providers of this model limit its rate")
            }
            _ if self.are_all(|class| class == FailureClass::KeyInvalid) => (
                401,
                "authentication_error",
                KEY_REFUSED,
                "all providers of this model refuse the gateway's key",
            ),
            _ if self.are_all(|class| class == FailureClass::Unsayable) => (
                400,
                "invalid_request_error",
                "invalid_request",
                "no provider of this model can be asked this",
            ),
            _ if self.are_all(|class| class == FailureClass::EndpointMissing) => {
                (404, "invalid_request_error", "endpoint_not_found", &*no_endpoint)
            }
            _ if self.are_all(|class| {
                matches!(
                    class,
                    FailureClass::ModelMissing | FailureClass::ModelElsewhere | FailureClass::EndpointMissing
                )
            }) =>
            {
                (404, "invalid_request_error", "model_not_found", "no provider serves this model")
            }
            _ => match self.refusals() {
                Some((status, kind, code)) => (status, kind, code, "all providers of this model refuse"),
                None => (503, "server_error", "all_providers_failed", FAILED),
            },
        };
        // No time heals a refusal.
        let waits = matches!(status, 429 | 503 | 504) && code != "insufficient_quota";
        let mut message = message.to_owned();
        for (number, failure) in self.all.iter().enumerate() {
            let before = if number == 0 { ": " } else { "; " };
            let _ = write!(message, "{before}{}: {}", failure.provider, failure.reason);
        }
        Box::new(Refusal {
            status,
            kind,
            code,
            message: message.into(),
            param: None,
            allow: None,
            retry_after: waits
                .then(|| self.all.iter().filter_map(FailedAttempt::retry_after).min())
                .flatten(),
            fault: Fault::provider(Stage::Head, FaultKind::Refused(code), Sent::Unknown),
        })
    }
}
