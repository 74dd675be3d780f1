//! What came of each candidate that was asked in vain, and what the client is told when that was all of them (S3.8). A
//! reason names the provider and what happened in the gateway's own words: a provider's sentences may quote keys.

use std::{
    fmt::Write,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{attempt::AttemptError, classify, fault::Refusal};
use crate::{
    base::{DeadlineKind, Fault, FaultKind, RequestId, Sent, Stage},
    routing::{FailureClass, retry_after},
    wire::provider_error,
};

/// Bytes of a provider's own word for its error that are repeated.
const WORD: usize = 48;

/// One attempt that came to nothing.
#[derive(Debug)]
pub(super) struct FailedAttempt {
    provider: Arc<str>,
    pub(super) class: FailureClass,
    /// How long the provider asked to be left alone.
    pub(super) hint: Option<Duration>,
    pub(super) sent: Sent,
    words: String,
}

impl FailedAttempt {
    pub(super) fn of(provider: Option<Arc<str>>, bad: &AttemptError) -> Self {
        let provider = provider.unwrap_or_else(|| "?".into());
        match bad {
            AttemptError::Fault(fault) => {
                let class = classify::of_fault(fault);
                Self { provider, class, hint: None, sent: fault.sent, words: fault.to_string() }
            }
            AttemptError::Error(lament) => {
                let (status, told) = (lament.status.as_u16(), provider_error::read(&lament.told));
                let class = classify::of_error(status, &told);
                let limited = class == FailureClass::RateLimited;
                let hint =
                    retry_after::from_response(&lament.headers, &lament.told, limited, SystemTime::now());
                let mut words = match lament.status.is_success() {
                    true => FaultKind::ErrorEvent.to_string(),
                    false => FaultKind::Status(status).to_string(),
                };
                if let Some(word) = [told.code, told.kind, told.status].into_iter().flatten().find(is_word) {
                    let _ = write!(words, " ({word})");
                }
                Self { provider, class, hint, sent: Sent::Some, words }
            }
        }
    }

    pub(super) fn log(&self, id: &RequestId) {
        let Self { provider, class, hint, words, .. } = self;
        let hint = hint.map(|hint| hint.as_secs_f64());
        tracing::debug!(%id, %provider, class = class.as_str(), hint, why = words, "attempt failed");
    }
}

/// A word of an error's vocabulary, which quotes nobody.
fn is_word(word: &&str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    word.len() <= WORD && word.bytes().all(fits) && word.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// In the order in which they failed.
#[derive(Debug, Default)]
pub(super) struct FailedAttempts {
    all: Vec<FailedAttempt>,
    /// Some were still being asked when time was up.
    cut_short: bool,
}

impl FailedAttempts {
    pub(super) fn add(&mut self, failure: FailedAttempt) {
        self.all.push(failure);
    }

    /// Those that were still being asked when time was up.
    pub(super) fn add_slow(&mut self, providers: impl Iterator<Item = Arc<str>>) {
        let before = self.all.len();
        self.all.extend(providers.map(|provider| FailedAttempt {
            provider,
            class: FailureClass::Timeout(DeadlineKind::FirstToken),
            hint: None,
            sent: Sent::Unknown,
            words: "no answer in time".to_owned(),
        }));
        self.cut_short |= self.all.len() > before;
    }

    /// Time was up.
    pub(super) fn add_late(&mut self, late: bool) {
        self.cut_short |= late;
    }

    /// Whether it was time that ended the search.
    pub(super) fn are_late(&self) -> bool {
        self.cut_short || self.all_timed_out()
    }

    fn all_timed_out(&self) -> bool {
        let timed_out = |failure: &FailedAttempt| matches!(failure.class, FailureClass::Timeout(_));
        !self.all.is_empty() && self.all.iter().all(timed_out)
    }

    /// What the client is told.
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
            let _ = write!(message, "{before}{}: {}", failure.provider, failure.words);
        }
        Box::new(Refusal {
            status,
            kind: "server_error",
            code,
            message: message.into(),
            param: None,
            allow: None,
            retry_after: self.all.iter().filter_map(|failure| failure.hint).min(),
            fault: Fault::provider(Stage::Head, FaultKind::Refused(code), Sent::Unknown),
        })
    }
}
