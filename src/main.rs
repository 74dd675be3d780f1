//! The program: parses the command line, runs the command, prints the error chain, and returns the exit code.
//! All else is in the library.

use std::process::ExitCode;

use thalweg::cli;
use thalweg_allocator::Mimalloc;

/// A gateway makes small, short-lived allocations on many threads; mimalloc serves them without a shared
/// lock.
#[global_allocator]
static ALLOCATOR: Mimalloc = Mimalloc;

fn main() -> ExitCode {
    cli::run(cli::Args::parse_line()).unwrap_or_else(|failure| cli::report(&*failure))
}
