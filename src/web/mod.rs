//! The paths of the gateway and their dispatch. Completions are answered by [`crate::proxy`]; the pages of
//! operators and clients (models, health, statistics, events, reload, comparison) are answered here, without
//! a provider.
//!
//! In reading order:
//! - `routes`: all paths, in one table
//! - [`site`]: the handler of a worker, which dispatches each request by its route
//! - [`admin`]: the access that a route requires, and its check
//! - `batch`: many completions in one request; `stored`: files and batches that the gateway keeps and runs,
//!   `file_body`: a file's content
//! - `preflight`: answers that do not depend on the path
//! - `page`: the list of paths, liveness and readiness; `models`: the models that are offered; `health`: the
//!   state of providers and candidates
//! - `pages`: the pages for people, and their files; `managed`: the things that they manage, `session`:
//!   signing in, `keys`: keys of the database, by a `key_change`
//! - `statistics`, `metrics`: counts and times since the start, as JSON and for Prometheus; [`stats_share`]:
//!   those of all replicas in one (`candidate_share`, `figures`)
//! - [`reload`]: the handle that reloads the configuration
//! - `streams`: the operations that answer with a stream: [`events`], the events of requests as they happen,
//!   and [`compare`], one prompt through every mode beside the provider itself; `runs`: comparisons that are
//!   kept
//! - [`body`]: the body of every response; `json_array`: a stream as one array, for clients of Gemini's API

pub mod admin;
mod batch;
pub mod body;
mod candidate_share;
pub mod compare;
pub mod events;
mod figures;
mod file_body;
mod health;
mod json_array;
mod key_change;
mod keys;
mod managed;
mod metrics;
mod models;
mod page;
mod pages;
mod preflight;
pub mod reload;
mod routes;
mod runs;
mod session;
pub mod site;
mod statistics;
pub mod stats_share;
mod stored;
mod streams;

pub use admin::ListenerRole;
pub use body::Body;
pub use reload::ReloadHandle;
pub use routes::dialect_of;
pub use site::{Site, SiteParts};
pub use statistics::ledger_query;
pub use stats_share::ReplicaStats;
