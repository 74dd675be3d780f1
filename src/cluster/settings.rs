//! The servers for each purpose, as the configuration names them.

use std::time::Duration;

use super::{RedisAuthority, RedisUrl};

/// Connections to the server of caches, as requirements name the number (S4.3).
pub const POOL_SIZE: usize = 10;
/// The longest wait of a request for Redis.
pub const WAIT: Duration = Duration::from_millis(50);
/// A client that waits longer has more use for an answer without Redis.
pub const MAX_WAIT: Duration = Duration::from_secs(2);
/// Begins the name of every key in Redis.
pub const PREFIX: &str = "thalweg:";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisSettings {
    /// The server that shares the limits of keys. `None`: each replica counts for itself.
    pub limits: Option<RedisUrl>,
    /// The server for caches. `None`: there is none.
    pub cache: Option<RedisUrl>,
    /// The certificate of the authority that signs the servers' certificates. `None`: the system's.
    pub authority: Option<RedisAuthority>,
    /// Connections for caches; the limits share one.
    pub pool_size: usize,
    pub prefix: String,
    /// The longest wait of a request; a call has twice this time.
    pub wait: Duration,
}

impl RedisSettings {
    /// One server for all purposes.
    #[must_use]
    pub fn plain(url: RedisUrl) -> Self {
        Self {
            limits: Some(url.clone()),
            cache: Some(url),
            authority: None,
            pool_size: POOL_SIZE,
            prefix: PREFIX.to_owned(),
            wait: WAIT,
        }
    }
}
