//! The command line: the only room that prints. What a program reads goes to stdout, what a person is told about
//! mistakes goes to stderr.
//!
//! - [`args`]: the commands and what they are given
//! - [`serve`], [`check`], [`bench`], [`compare`], [`reload`], [`keys`], [`usage`]: one file per command
//! - `banner`, `summary`, `client`: what a person is shown at start
//! - `signals`: when to end
//! - `destination`: whom a measuring command speaks to; `table`: figures that line up, `progress`: how far
//!   a long command is

pub mod args;
pub mod bench;
pub mod check;
pub mod compare;
pub mod keys;
pub mod reload;
pub mod serve;
pub mod usage;

mod banner;
mod client;
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

/// Whatever ended a command; shown with its causes.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Runs what was asked for.
///
/// # Errors
/// Whatever kept the command from doing it.
pub fn run(args: Args) -> Result<ExitCode, Failure> {
    match args.chosen() {
        Command::Serve(options) => serve::run(&options),
        Command::Check(options) => check::run(&options),
        Command::Reload(options) => reload::run(&options),
        Command::Usage(options) => usage::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Compare(options) => compare::run(&options),
        Command::Keys(options) => keys::run(&options),
    }
}

/// Tells on stderr which database a command is about: a service may have another one, by its environment.
fn tell_database(site: &DatabaseUrl) {
    let place = match site {
        // A relative one would leave open where.
        DatabaseUrl::Sqlite(file) => {
            DatabaseUrl::Sqlite(std::path::absolute(file).unwrap_or_else(|_| file.clone()))
        }
        DatabaseUrl::Postgres(_) => site.clone(),
    };
    // With stderr gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "in {place}");
}

/// Prints the chain of causes. A reader who has gone (`thalweg check | head`) is no failure.
#[must_use]
pub fn report(failure: &(dyn Error + Send + Sync + 'static)) -> ExitCode {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    if failure.downcast_ref().is_some_and(gone) {
        return ExitCode::SUCCESS;
    }
    let mut out = io::stderr().lock();
    // With stderr gone there is nobody left to tell.
    let _ = writeln!(out, "error: {failure}");
    let mut cause = failure.source();
    while let Some(error) = cause {
        let _ = writeln!(out, "  because: {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}
