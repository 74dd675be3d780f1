//! One attempt to one target: from a pooled or fresh connection to the last byte of the body. Owns the sockets to
//! providers and everything about them; knows nothing of clients, models or JSON.

pub mod target;

pub use target::{BaseUrl, BaseUrlError, Clocks, KeyHeader, PoolSettings, Protocol, Target};
