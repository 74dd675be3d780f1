//! Who may serve a model, and in which order. Pure: no socket, no clock.
//!
//! - [`catalog`]: which provider serves which model
//! - [`health`]: what the last contact with a provider said

pub mod catalog;
pub mod health;

pub use catalog::{Catalog, Listing, Offered, Plan, Served, UnknownModel};
pub use health::Health;
