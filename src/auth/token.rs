//! A client token of the configuration.

use super::KeyLimits;
use crate::base::Secret;

/// `"description|token"`, or an object with more fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    pub description: String,
    pub token: Secret<String>,
    /// May also use the operator's pages: reload, statistics.
    pub admin: bool,
    pub limits: KeyLimits,
}

impl TokenSettings {
    /// A client's token without limits.
    #[must_use]
    pub fn plain(description: &str, token: Secret<String>) -> Self {
        Self { description: description.to_owned(), token, admin: false, limits: KeyLimits::default() }
    }
}
