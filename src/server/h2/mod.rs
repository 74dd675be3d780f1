//! HTTP/2 to clients, by hyper. Adds three things to hyper: streams that their client does not read are
//! reset, a response that comes before the request's end is not followed by a reset, and a body that fails
//! resets its stream after the frames before.
//!
//! - [`state`]: the part of a connection's state that concerns HTTP/2 alone
//! - [`activity`]: whether a stream's client reads it
//! - [`held_frames`]: whether the frames before a reset are written
//! - [`content`]: a response's content: the handler's, or a refusal
//! - [`connection`]: hyper's HTTP/2 on the connection's own worker
//! - [`service`]: from hyper's request to the handler's response
//! - [`unread`]: the rest of a request's body that the handler left

mod activity;
mod connection;
mod content;
mod held_frames;
mod service;
mod state;
mod unread;

pub(super) use connection::serve;
pub(super) use state::H2ConnState;
pub(super) use unread::UnreadBody;
