//! The client's side: its requests, its keys, the endpoints, and a client that leaves.

mod connections;
mod disconnects;
mod endpoints;
mod keys;
mod rejected_requests;
mod usage_after_disconnect;
