//! The failed attempts of a request, and its refusal when no candidate is left (S3.8). A reason names the
//! provider and the failure in the gateway's own words, because a provider's sentences may quote keys.

use std::{
    fmt::Write,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{attempt_result::AttemptError, classify, fault::Refusal};
use crate::{
    base::{DeadlineKind, Fault, FaultKind, RequestId, Sent, Stage},
    routing::{FailureClass, retry_after},
    wire::provider_error,
};

/// Bytes of a provider's error code that are repeated.
const MAX_CODE: usize = 48;

/// One attempt that failed.
#[derive(Debug)]
pub(super) struct FailedAttempt {
    provider: Arc<str>,
    pub(super) class: FailureClass,
    /// The provider's `retry-after`. `None`: it gave none.
    pub(super) retry_after: Option<Duration>,
    pub(super) sent: Sent,
    /// The failure in the gateway's own words.
    reason: String,
}

impl FailedAttempt {
    pub(super) fn of(provider: Option<Arc<str>>, error: &AttemptError) -> Self {
        let provider = provider.unwrap_or_else(|| "?".into());
        match error {
            AttemptError::Fault(fault) => {
                let class = classify::of_fault(fault);
                Self { provider, class, retry_after: None, sent: fault.sent, reason: fault.to_string() }
            }
            AttemptError::Error(response) => {
                let (status, error) = (response.status.as_u16(), provider_error::read(&response.text));
                let class = classify::of_error(status, &error);
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
                Self { provider, class, retry_after, sent: Sent::Some, reason }
            }
        }
    }

    pub(super) fn log(&self, id: &RequestId) {
        let Self { provider, class, retry_after, reason, .. } = self;
        let hint = retry_after.map(|after| after.as_secs_f64());
        tracing::debug!(%id, %provider, class = class.as_str(), hint, why = reason, "attempt failed");
    }
}

/// Whether a text has the form of an error code, so that it quotes nothing.
fn is_code(word: &&str) -> bool {
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
        let timed_out = |failure: &FailedAttempt| matches!(failure.class, FailureClass::Timeout(_));
        !self.all.is_empty() && self.all.iter().all(timed_out)
    }

    /// The error that the client is given.
    pub(super) fn refusal(&self) -> Box<Refusal> {
        let (status, code) = match self.all.as_slice() {
            [] if self.cut_short => (504, "all_providers_timed_out"),
            [] => (503, "no_provider_available"),
            _ if self.all_timed_out() => (504, "all_providers_timed_out"),
            _ => (503, "all_providers_failed"),
        };
        let mut message = match status {
            504 => "no provider answered in time".to_owned(),
            _ => "all providers of this model failed".to_owned(),
        };
        for (number, failure) in self.all.iter().enumerate() {
            let before = if number == 0 { ": " } else { "; " };
            let _ = write!(message, "{before}{}: {}", failure.provider, failure.reason);
        }
        Box::new(Refusal {
            status,
            kind: "server_error",
            code,
            message: message.into(),
            param: None,
            allow: None,
            retry_after: self.all.iter().filter_map(|failure| failure.retry_after).min(),
            fault: Fault::provider(Stage::Head, FaultKind::Refused(code), Sent::Unknown),
        })
    }
}
