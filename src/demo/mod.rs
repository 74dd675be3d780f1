//! The built-in provider, for trials without a key and for tests: a real HTTP server on loopback inside this
//! process that replays recorded streams with their timing. It refuses only unknown models and invalid JSON,
//! and accepts any key. A client that leaves ends its replay. Dropping [`Demo`] ends the server.
//!
//! In reading order:
//! - [`recording`]: the format of recordings and its parser
//! - [`endpoint`]: the APIs, by path
//! - [`catalog`]: the models, each with its recording; [`replay`]: one recording, prepared
//! - [`fold`]: a recorded stream as the answer for `stream: false`
//! - [`embedding`]: vectors that depend on their input alone
//! - [`answer`]: from a request to its answer
//! - [`playback`]: the body that sends recorded reads at their times
//! - [`listener`]: sockets and the thread

mod answer;
mod catalog;
mod embedding;
mod endpoint;
mod fold;
mod listener;
mod playback;
pub mod recording;
mod replay;

pub use catalog::models;
pub use listener::{Demo, start, start_at};
pub use replay::ReplaySpeed;
