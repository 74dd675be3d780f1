//! Why a request is not translated.
//!
//! A request that is wrong in its own dialect is a 400 in that dialect; so is one that the provider's dialect
//! has no words for, with the member's name. Messages are bounded: they may repeat a client's words.

use super::own_names::own_name;
use crate::dialect::ApiDialect;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError {
    pub message: String,
    /// The path of the member, in the form of the client's dialect.
    pub param: Option<String>,
    pub kind: RequestErrorKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestErrorKind {
    /// The request is wrong in its own dialect.
    Invalid,
    /// The provider's dialect has no words for it.
    Unsayable,
}

impl std::fmt::Display for RequestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RequestError {}

impl RequestError {
    pub(super) fn invalid(message: String, param: Option<String>) -> Self {
        Self { message: bounded(message), param, kind: RequestErrorKind::Invalid }
    }

    pub(super) fn unsayable(message: impl Into<String>) -> Self {
        Self { message: message.into(), param: None, kind: RequestErrorKind::Unsayable }
    }

    /// Says that the provider's dialect has no words for `param`.
    pub(super) fn unsayable_member(param: &str, reason: &str) -> Self {
        Self {
            message: bounded(format!("`{param}` cannot be translated for this model's provider: {reason}")),
            param: Some(param.to_owned()),
            kind: RequestErrorKind::Unsayable,
        }
    }

    /// Parts that are known from an earlier request do not fit the others. All are read then, and no client
    /// sees this.
    pub(super) fn unfit() -> Self {
        Self::unsayable("known parts do not fit")
    }

    /// The same with the member's name in the client's dialect.
    pub(super) fn in_dialect(mut self, client: ApiDialect) -> Self {
        if let Some(param) = &mut self.param {
            let own = own_name(client, param).to_owned();
            self.message = self.message.replacen(&format!("`{param}`"), &format!("`{own}`"), 1);
            *param = own;
        }
        self
    }
}

/// A message may repeat a client's words; a header or a log line holds it.
fn bounded(message: String) -> String {
    const MAX_LENGTH: usize = 500;
    if message.len() <= MAX_LENGTH { message } else { message.chars().take(MAX_LENGTH / 4).collect() }
}
