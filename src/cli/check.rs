//! `thalweg check`: prints all problems of a configuration, or the summary of its settings. Starts nothing
//! and opens no connection, except to search for a local Ollama.
//!
//! Exit code 1 means that there are problems.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use super::{Failure, summary::StartSummary};
use crate::config::{self, Env, LoadError, Overrides};

#[derive(clap::Args, Debug)]
pub struct Options {
    /// The file [default: THALWEG_CONFIG, or ./config.json when there is one]
    pub(super) file: Option<PathBuf>,
    /// Print mistakes only
    #[arg(short, long)]
    pub(super) quiet: bool,
}

/// # Errors
/// The file cannot be read, or stdout cannot be written. Problems give exit code 1 instead.
pub fn run(options: &Options) -> Result<ExitCode, Failure> {
    match config::load(options.file.as_deref(), &Overrides::default(), &Env::of_process()) {
        Ok(settings) => {
            if !options.quiet {
                let summary = StartSummary {
                    settings: &settings,
                    addresses: &[],
                    admin_port: None,
                    stored_admin: None,
                    database_refusal: None,
                    down: &[],
                };
                write!(io::stdout().lock(), "The configuration is good.\n\n{summary}")?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(problems @ LoadError::Mistakes { .. }) => {
            writeln!(io::stdout().lock(), "{problems}")?;
            Ok(ExitCode::FAILURE)
        }
        Err(unreadable @ LoadError::Unreadable { .. }) => Err(unreadable.into()),
    }
}
