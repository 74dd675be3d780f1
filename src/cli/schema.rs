//! `thalweg schema`: prints the JSON schema of the configuration file, for editors. Reads nothing.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use super::Failure;
use crate::config::schema::schema;

/// # Errors
/// Stdout cannot be written.
pub fn run() -> Result<ExitCode, Failure> {
    writeln!(io::stdout().lock(), "{}", serde_json::to_string_pretty(&schema())?)?;
    Ok(ExitCode::SUCCESS)
}
