//! The only room that reads the configuration file. Reads it leniently, checks all of it at once, and gives
//! every other room its settings. No reported problem shows a value that may be a secret key.
//!
//! - [`load`]: builds [`Settings`] from file, environment and flags; [`parse`] reads the file's text alone
//! - [`source`]: file, environment and flags of this process, for loading again
//! - [`settings`]: the result
//! - [`administration`]: the administration listener
//! - [`watch`]: detects changes of the file
//! - [`env`]: environment variables, and `${NAME}` in the file
//! - [`overrides`]: flags and variables that override the file
//! - [`discover`]: providers if none is configured
//! - `document` (JSON to a tree), `section` (walks the tree and collects problems), `scalar` (single values),
//!   `units` (sizes), `suggestion` (similar words)
//! - `root` (top-level keys), `provider`, `http_proxy`, `forward`, `token`, `routing`, `health`, `log`,
//!   `otel`, `account`, `batch`, `cache`, `cluster`: the keys of each part
//! - `shown`: the file as operators may see it, without secrets
//! - [`problem`]: one problem, with its path
//! - [`schema`]: a JSON schema of the file

pub mod administration;
pub mod discover;
pub mod env;
pub mod load;
pub mod overrides;
pub mod problem;
pub mod schema;
pub mod settings;
pub mod source;
pub mod watch;

mod account;
mod batch;
mod cache;
mod cluster;
mod document;
mod forward;
mod health;
mod http_proxy;
mod log;
mod otel;
mod provider;
mod root;
mod routing;
mod scalar;
mod section;
mod shown;
mod suggestion;
mod token;
mod units;

#[cfg(test)]
mod tests;

pub use env::Env;
pub use load::{load, load_database, load_listen, parse};
pub use otel::OtelSettings;
pub use overrides::Overrides;
pub use problem::{LoadError, Problem};
pub use settings::{ProviderSettings, Settings};
pub use source::ConfigSource;
pub use watch::FileWatch;
