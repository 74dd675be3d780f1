//! Who is calling, and what they may do: keys and the principals behind them.
//!
//! - [`credential`]: where a request shows its key
//! - [`token`], [`limits`]: keys of the configuration, and what a key may do
//! - [`digest`], [`ring`]: the keys that are accepted
//! - [`store`]: keys in the database, changed by the [`registrar`]; [`keeper`] keeps the running gateway's as it has them
//! - [`maker`]: new keys

pub mod credential;
pub mod digest;
pub mod keeper;
pub mod limits;
pub mod maker;
pub mod registrar;
pub mod ring;
pub mod store;
pub mod token;

pub use credential::presented;
pub use digest::Digest;
pub use keeper::Keeper;
pub use limits::Limits;
pub use registrar::{Named, Registrar, StoreError};
pub use ring::{Keys, Principal, Ring, Tokens};
pub use store::{Store, StoredKey};
pub use token::TokenSettings;
