//! Who is calling, and what they may do: keys and the principals behind them.
//!
//! - [`credential`]: where a request shows its key
//! - [`token`], [`limits`]: keys of the configuration, and what a key may do
//! - [`limit`]: what was taken of a key's limits, and the duty to settle it
//! - [`digest`], [`key_map`]: the keys that are accepted
//! - [`store`]: keys in the database, changed by the [`editor`]; [`sync`] keeps the running gateway's as it has them
//! - [`generate`]: new keys

pub mod credential;
pub mod digest;
pub mod editor;
pub mod generate;
pub mod key_map;
pub mod limit;
pub mod limits;
pub mod store;
pub mod sync;
pub mod token;

pub use credential::presented;
pub use digest::Digest;
pub use editor::{KeyEditor, KeyName, StoreError};
pub use key_map::{ConfiguredKeys, KeyMap, Principal, StoredKeys};
pub use limits::KeyLimits;
pub use store::{KeyStore, StoredKey};
pub use sync::KeySync;
pub use token::TokenSettings;
