//! Types that every room shares. A leaf: imports no other room, opens no socket and reads no configuration.
//! Whatever belongs to one room alone stays in that room.
//!
//! - [`fault`]: the error type between rooms; [`deadlines`]: the waits of a request and their error codes
//! - [`time`]: dates and durations as text; [`moment`]: a point of time as a number
//! - [`gauge`]: a counter with a guard; [`episode`]: a condition that is logged at its beginning and end
//! - [`ttl_map`]: values that expire; [`byte_list`]: `Bytes` in a row, written without being joined
//! - [`memory`]: what the allocator keeps for an idle thread
//! - [`scale`]: the buckets of histograms; [`rng`]: random numbers from a seed
//! - [`id`]: request ids; [`secret`]: values that never print; [`endpoint`]: the endpoints of providers
//! - [`origins`]: the providers that made ids and sealed texts, and the keys that made responses
//! - `free_port`: ports for the servers of tests
//! - [`network`]: ranges of addresses; [`keepalive`]: TCP keepalive; [`glob`]: name patterns
//! - [`pem`]: certificate and key files; [`base64`]: bytes as text; [`control`]: characters that change how a
//!   text is shown
//! - [`header_fields`]: the fields of a head; [`request_head`], [`handler_response`]: in any protocol
//! - [`content_coding`]: compressed bodies
//! - [`spawn`]: the only access to the runtime's spawner; [`turn`]: the number of the current poll

pub mod base64;
pub mod byte_list;
pub mod content_coding;
pub mod control;
pub mod deadlines;
pub mod endpoint;
pub mod episode;
pub mod fault;
#[cfg(test)]
pub mod free_port;
pub mod gauge;
pub mod glob;
pub mod handler_response;
pub mod header_fields;
pub mod id;
pub mod keepalive;
pub mod memory;
pub mod moment;
pub mod network;
pub mod origins;
pub mod pem;
pub mod request_head;
pub mod rng;
pub mod scale;
pub mod secret;
pub mod spawn;
pub mod time;
pub mod ttl_map;
pub mod turn;

pub use byte_list::ByteList;
pub use deadlines::{DeadlineKind, Deadlines};
pub use endpoint::{Endpoint, EndpointSet};
pub use episode::Episode;
pub use fault::{Fault, FaultKind, Sent, Side, Stage};
pub use gauge::{Gauge, GaugeGuard};
pub use handler_response::HandlerResponse;
pub use header_fields::{HeaderFields, field_number, field_text};
pub use id::RequestId;
pub use keepalive::keep_alive;
pub use memory::IdleMemory;
pub use moment::Moment;
pub use network::Network;
pub use request_head::RequestHead;
pub use rng::Rng;
pub use secret::Secret;
pub use ttl_map::TtlMap;
