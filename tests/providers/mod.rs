//! The provider's side: connections, health checks, TLS, and responses that are broken, early or unusual.

mod broken_responses;
mod claude_models;
mod coded_answers;
mod connection_pool;
mod early_responses;
mod errors;
mod gemini;
mod headers;
pub mod health_checks;
mod known_turns;
mod model_lists;
mod response_size;
mod state_file;
mod stream_ends;
mod tls;
mod translation;
mod unusual_responses;
mod warmup;
