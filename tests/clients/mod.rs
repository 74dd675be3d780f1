//! The client's side: requests, keys, endpoints, and clients that disconnect.

pub mod answer_cache;
mod batch;
mod body_memory;
mod broken_charges;
mod charges;
mod coalescing;
mod coded_bodies;
mod connections;
pub mod database_keys;
mod disconnects;
mod endpoints;
mod further_endpoints;
pub mod keys;
mod rejected_requests;
mod request_bodies;
mod retry_headers;
pub mod stored_batches;
mod stored_responses;
mod usage_after_disconnect;
