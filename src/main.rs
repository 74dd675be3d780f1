//! The program: parse the command line, run it, print the error chain, say by the exit code how it went.

use std::process::ExitCode;

use thalweg::cli;

/// Small, short-lived allocations by many threads are what a gateway makes; this serves them without a shared lock.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(cli::Args::parse_line()).unwrap_or_else(|failure| cli::report(&*failure))
}
