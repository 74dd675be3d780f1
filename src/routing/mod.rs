//! Who may serve a model, and in which order. Pure: no socket, no clock.
//!
//! - [`catalog`]: which provider serves which model
//! - [`health`]: what the last contact with a provider said
//! - [`prober`]: when which provider is asked whether it is well

pub mod catalog;
pub mod health;
pub mod prober;

pub use catalog::{Catalog, Listing, Offered, Plan, Served, UnknownModel};
pub use health::Health;
pub use prober::HealthSettings;
