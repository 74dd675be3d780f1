//! The only room that knows the configuration file. Reads it leniently, checks all of it at once, and gives every other
//! room its own settings. No mistake that it reports ever shows a value that may be a key.
//!
//! - [`load`]: file, environment and flags become [`Settings`]; [`parse`] is the file alone, for any input
//! - [`source`]: where settings come from, to be asked again
//! - [`administration`]: where administration is served
//! - [`watch`]: when the file has changed
//! - [`env`]: what is taken from the process's surroundings, and `${NAME}` in the file
//! - [`overrides`]: what flags and variables say over the file
//! - [`discover`]: providers for those who configured none
//! - `document` (JSON to a tree), `section` (walks it and collects the mistakes), `scalar` (single values), `units` (sizes),
//!   `suggestion`; `root`, `provider`, `token`, `routing` and `health` say what the keys mean
//! - [`problem`]: what was wrong, and where
//! - [`settings`]: the checked settings; `account`, `log` and `otel`: further sections of the file

pub mod administration;
pub mod discover;
pub mod env;
pub mod load;
pub mod overrides;
pub mod problem;
pub mod settings;
pub mod source;
pub mod watch;

mod account;
mod document;
mod health;
mod log;
mod otel;
mod provider;
mod root;
mod routing;
mod scalar;
mod section;
mod suggestion;
mod token;
mod units;

#[cfg(test)]
mod tests;

pub use env::Env;
pub use load::{load, parse};
pub use otel::OtelSettings;
pub use overrides::Overrides;
pub use problem::{LoadError, Problem};
pub use settings::{ProviderSettings, Settings};
pub use source::ConfigSource;
pub use watch::FileWatch;
