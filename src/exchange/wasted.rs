//! Attempts of a request that gave its client no answer. Their providers may have begun to work, and count
//! that work all the same: the key that caused it is charged for it.

use std::sync::Arc;

use crate::wire::Usage;

/// An attempt without an answer for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WastedAttempt {
    /// The provider's configured name, and the model's name there.
    pub provider: Arc<str>,
    pub model: Box<str>,
    /// Usage that the provider had reported by the attempt's end.
    pub reported: Option<Usage>,
    /// It was cancelled after the request had been sent: tokens of output that had come by then, estimated.
    /// `None`: it failed, and only reported usage counts.
    pub passed_tokens: Option<u32>,
}

impl WastedAttempt {
    /// The usage that the provider counts, as far as it is known; completed by an estimate for a cancelled
    /// attempt, whose prompt had `prompt_tokens`.
    pub(super) fn usage(&self, prompt_tokens: u32) -> Usage {
        let known = self.reported.unwrap_or_default();
        match self.passed_tokens {
            Some(passed) => known
                .at_least_output(passed.into())
                .or(Usage { input: Some(prompt_tokens.into()), ..Usage::default() }),
            None => known,
        }
    }
}
