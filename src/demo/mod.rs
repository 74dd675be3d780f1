//! The built-in provider, for those who have no key yet and for tests: a real HTTP server on loopback inside this
//! process that replays recorded streams with their timing. It refuses nothing but unknown models and broken JSON: any
//! key is good. A client that leaves ends its replay. Dropping [`Demo`] ends the server.
//!
//! In reading order:
//! - [`recording`]: the format, and how one is read
//! - [`catalog`]: the models, each with its recording; [`replay`]: one of them, prepared
//! - [`fold`]: a recorded stream as the answer to `stream: false`
//! - [`embedding`]: vectors that depend on nothing but their input
//! - [`answer`]: from a request to what is answered
//! - [`playback`]: the body that waits and speaks
//! - [`listener`]: sockets and the thread

mod answer;
mod catalog;
mod embedding;
mod fold;
mod listener;
mod playback;
pub mod recording;
mod replay;

pub use catalog::{ReplaySpeed, models};
pub use listener::{Demo, start, start_at};
