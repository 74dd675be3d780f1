//! HTTP/2 to clients, by hyper. Adds two things to hyper: streams that their client does not read are reset,
//! and a response that comes before the request's end is not followed by a reset.
//!
//! - [`state`]: the part of a connection's state that concerns HTTP/2 alone
//! - [`activity`]: whether a stream's client reads it
//! - [`connection`]: hyper's HTTP/2 on the connection's own worker
//! - [`service`]: from hyper's request to the handler's response
//! - [`unread`]: the rest of a request's body that the handler left

mod activity;
mod connection;
mod service;
mod state;
mod unread;

pub(super) use connection::serve;
pub(super) use state::H2ConnState;
pub(super) use unread::UnreadBody;
