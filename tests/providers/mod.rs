//! The provider's side: connections to it, its health, and responses that break or surprise.

mod broken_responses;
mod connection_pool;
mod early_responses;
mod headers;
pub mod health_checks;
mod response_size;
mod state_file;
mod tls;
mod unusual_responses;
mod warmup;
