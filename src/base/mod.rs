//! Leaf of the house: words that every room shares. Knows nothing of sockets or configuration.
//!
//! - [`decode`]: message bodies of HTTP/1.1
//! - [`fault`]: the one error type at the seams between rooms
//! - [`secret`]: values that never print
//! - [`id`]: request ids
//! - [`window`], [`lease`]: what was taken in the last minute, and the duty to settle it
//! - [`moment`]: time as a number; [`dice`]: chance from a seed
//! - [`list`]: a chain of `Bytes` that is written without being joined
//! - [`network`]: ranges of addresses
//! - [`date`]: moments as people write them
//! - [`pem`]: certificate and key files
//! - [`shelf`]: what was learnt, and for how long it holds good
//! - [`spawn`]: the only door to the runtime's spawner
//! - [`star`]: names with stars in them
//! - [`turn`]: which poll of a worker this is

pub mod date;
pub mod decode;
pub mod dice;
pub mod fault;
pub mod id;
pub mod lease;
pub mod list;
pub mod moment;
pub mod network;
pub mod pem;
pub mod secret;
pub mod shelf;
pub mod spawn;
pub mod star;
pub mod turn;
pub mod window;

pub use dice::Dice;
pub use fault::{Clock, Fault, Kind, Sent, Side, Stage};
pub use id::RequestId;
pub use list::ByteList;
pub use moment::Moment;
pub use network::Network;
pub use secret::Secret;
pub use shelf::Shelf;
