//! A client token of the configuration.

use super::KeyLimits;
use crate::base::Secret;

/// `"description|token"`, or an object that says more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    pub description: String,
    pub token: Secret<String>,
    /// It may also ask for what is the operator's alone: a reload, statistics.
    pub admin: bool,
    pub limits: KeyLimits,
}

impl TokenSettings {
    /// A client's, without limits.
    #[must_use]
    pub fn plain(description: &str, token: Secret<String>) -> Self {
        Self { description: description.to_owned(), token, admin: false, limits: KeyLimits::default() }
    }
}
