//! The client's side: its requests, its keys, the endpoints, and a client that leaves.

mod connections;
mod database_keys;
mod disconnects;
mod endpoints;
mod keys;
mod rejected_requests;
mod request_bodies;
mod usage_after_disconnect;
