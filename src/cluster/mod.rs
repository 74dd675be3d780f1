//! The way to the Redis (or Valkey) that replicas of a gateway share: settings, connection, single calls.
//! Rooms that keep something there have their keys and scripts themselves. Nothing on a request's path waits
//! for this room without a bound, and neither the start nor readiness waits for Redis at all.
//!
//! - [`address`]: where a server is, read from a URL that may hold a password; `url_text`: its parts
//! - [`settings`]: the servers for each purpose; [`authority`]: the certificate that signs theirs
//! - [`client`]: calls with a deadline; [`script`]: scripts that the server may have forgotten; [`fault`]:
//!   why a call failed
//! - [`board`]: documents that replicas put up for each other; [`channel`]: lines that they pass on;
//!   [`values`]: bytes under a name, with a life
//! - [`keeper`]: opens the connections, watches them, and opens them again
//! - `link`: the connections of one server or cluster; `sentinel`: which server is the master; `dial`: one
//!   server, as the client library takes it

pub mod address;
pub mod authority;
pub mod board;
pub mod channel;
pub mod client;
mod dial;
pub mod fault;
pub mod keeper;
mod link;
pub mod script;
mod sentinel;
pub mod settings;
mod url_text;
pub mod values;

pub use address::RedisUrl;
pub use authority::RedisAuthority;
pub use board::DocumentBoard;
pub use channel::{ChannelPlace, OtherListeners, ReplicaChannel};
pub use client::RedisClient;
pub use fault::RedisFault;
pub use keeper::RedisKeeper;
pub use redis::Value as RedisValue;
pub use script::{RedisScript, numbers};
pub use settings::RedisSettings;
pub use values::ValueShelf;
