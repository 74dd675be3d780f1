//! The program: parse the command line, run it, print the error chain, say by the exit code how it went.

use std::process::ExitCode;

use thalweg::cli;

/// Small, short-lived allocations by many threads are what a gateway makes; this serves them without a shared lock.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    use_small_pages();
    cli::run(cli::Args::parse_line()).unwrap_or_else(|failure| cli::report(&*failure))
}

/// Most of what an idle stream allocates is never touched. The allocator asks for huge pages, which are backed whole:
/// 19 KB a stream instead of 11, measured on the server alone. A kernel that knows no such switch needs none.
fn use_small_pages() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
