//! Authentication: keys and the principals that own them. Reads no request body and writes no response.
//!
//! - [`credential`]: the header with the key
//! - [`token`], [`limits`]: configured keys, and the limits of a key
//! - [`meter_clock`]: their time
//! - [`limit`]: the amounts taken from a key's limits, and the duty to settle them
//! - [`shared_limits`]: the same limits over all replicas, through Redis
//! - [`digest`], `digest_memo`, [`key_map`]: the accepted keys
//! - [`store`]: keys in the database, changed by the [`editor`]; [`sync`] keeps the running gateway's keys up
//!   to date
//! - [`generate`]: new keys; [`key_text`]: names and limits as people write them; [`key_facts`]: keys as
//!   JSON; [`key_desk`]: the way of pages to stored keys
//! - [`session`]: sessions of the pages, each of a key; `shared_session`: those of all replicas;
//!   [`sign_in_guard`]: the bound of sign-ins that fail; [`page_request`]: the proof that a page of this
//!   gateway sent a request, and its cookie

pub mod credential;
pub mod digest;
mod digest_memo;
pub mod editor;
pub mod generate;
pub mod key_desk;
pub mod key_facts;
pub mod key_map;
pub mod key_text;
pub mod limit;
pub mod limits;
pub mod meter_clock;
pub mod page_request;
pub mod session;
pub mod shared_limits;
mod shared_session;
pub mod sign_in_guard;
pub mod store;
pub mod sync;
pub mod token;

pub use credential::presented;
pub use digest::Digest;
pub use editor::{KeyEditor, KeyName, StoreError};
pub use key_desk::{KeyAnswer, KeyDesk, KeyDeskError};
pub use key_map::{ConfiguredKeys, KeyMap, Principal, StoredKeys};
pub use limits::KeyLimits;
pub use meter_clock::MeterClock;
pub use session::PageSessions;
pub use shared_limits::{LimitHub, LimitKeeper};
pub use store::{KeyStore, StoredKey};
pub use sync::KeySync;
pub use token::TokenSettings;
