//! Who is calling: client tokens and the principals behind them.
//!
//! - [`credential`]: where a request shows its token
//! - [`token`]: the tokens that are accepted, kept as digests
//! - [`maker`]: new tokens

pub mod credential;
pub mod maker;
pub mod token;

pub use credential::presented;
pub use token::{Principal, TokenSettings, Tokens};
