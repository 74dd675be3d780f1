//! The command line: the only room that prints. Results go to stdout, errors and notices to stderr.
//!
//! - [`args`]: the commands and their options
//! - [`serve`], [`check`], [`bench`], [`compare`], [`reload`], [`healthcheck`], [`keys`], [`usage`],
//!   [`top`], [`schema`]: one module per command
//! - `banner`, `summary`: the start-up lines
//! - `signals`: the signals that end the process or reload it
//! - `destination`: the gateway or provider that a command sends requests to
//! - `table`: figures in aligned columns; `progress`: a progress bar

pub mod args;
pub mod bench;
pub mod check;
pub mod compare;
pub mod healthcheck;
pub mod keys;
pub mod reload;
pub mod schema;
pub mod serve;
pub mod top;
pub mod usage;

mod banner;
mod destination;
mod progress;
mod signals;
mod summary;
mod table;

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

pub use args::Args;
use args::Command;

use crate::database::DatabaseUrl;

/// The error that ended a command; printed with its causes.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Runs the command.
///
/// # Errors
/// The command's error.
pub fn run(args: Args) -> Result<ExitCode, Failure> {
    match args.into_command() {
        Command::Serve(options) => serve::run(&options),
        Command::Check(options) => check::run(&options),
        Command::Reload(options) => reload::run(&options),
        Command::Healthcheck(options) => healthcheck::run(&options),
        Command::Usage(options) => usage::run(&options),
        Command::Top(options) => top::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Compare(options) => compare::run(&options),
        Command::Keys(options) => keys::run(&options),
        Command::Schema => schema::run(),
    }
}

/// Prints the command's database on stderr, because a service may use another one, by its environment.
fn print_database(url: &DatabaseUrl) {
    let database = match url {
        // A relative path would not show the folder.
        DatabaseUrl::Sqlite(file) => {
            DatabaseUrl::Sqlite(std::path::absolute(file).unwrap_or_else(|_| file.clone()))
        }
        DatabaseUrl::Postgres(_) => url.clone(),
    };
    // A closed stderr is no reason to fail.
    let _ = writeln!(io::stderr(), "in {database}");
}

/// Prints the chain of causes. A closed stdout (`thalweg check | head`) is no failure.
#[must_use]
pub fn report(failure: &(dyn Error + Send + Sync + 'static)) -> ExitCode {
    let is_broken_pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    if failure.downcast_ref().is_some_and(is_broken_pipe) {
        return ExitCode::SUCCESS;
    }
    let mut out = io::stderr().lock();
    // A closed stderr is no reason to fail.
    let _ = writeln!(out, "error: {failure}");
    let mut cause = failure.source();
    while let Some(error) = cause {
        let _ = writeln!(out, "  because: {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}
