//! Who is calling: client tokens and the principals behind them.

pub mod maker;

use crate::base::Secret;

/// A client token of the configuration: `"description|token"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    pub description: String,
    pub token: Secret<String>,
}
