//! Who is calling, and what they may do: keys and the principals behind them.
//!
//! - [`credential`]: where a request shows its key
//! - [`token`], [`limits`]: keys of the configuration, and what a key may do
//! - [`digest`], [`ring`]: the keys that are accepted
//! - [`maker`]: new keys

pub mod credential;
pub mod digest;
pub mod limits;
pub mod maker;
pub mod ring;
pub mod token;

pub use credential::presented;
pub use digest::Digest;
pub use limits::Limits;
pub use ring::{Keys, Principal, Ring, Tokens};
pub use token::TokenSettings;
