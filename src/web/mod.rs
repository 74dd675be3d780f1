//! What the gateway serves beside completions, for the people who run it, and the table of all paths.
//!
//! - [`site`]: the handler: dispatches each request by its route
//! - `routes`: all paths, in one table
//! - [`admin`]: who may ask for what is the operator's
//! - `preflight`: answers that do not depend on the path
//! - `page`, `models`, `health`: what the gateway is, what it offers, how its providers are
//! - `statistics`, `metrics`: what has happened so far
//! - [`events`]: events as they happen
//! - [`reload`]: loading the configuration again
//! - [`compare`]: one prompt through every mode, against the provider itself
//! - [`body`]: the body of every response

pub mod admin;
pub mod body;
pub mod compare;
pub mod events;
mod health;
mod metrics;
mod models;
mod page;
mod preflight;
pub mod reload;
mod routes;
pub mod site;
mod statistics;

pub use admin::ListenerRole;
pub use body::Body;
pub use reload::ReloadHandle;
pub use site::{Site, SiteParts};
