//! The only room that knows the configuration file. Reads it leniently, checks all of it at once, and gives every other
//! room its own settings.

pub mod settings;

pub use settings::{LogFormat, LogSettings, ProviderSettings, Settings};
