//! The rig: everything of a measurement that is not the proxy under test. A part that serves is one thread,
//! binds a port that the kernel picks and prints it as its first line, so that a script can start them in any
//! number.
//!
//! Read `event` (the events and their age), `emulator` (the provider), `tunnel` (the control), `request` (an
//! agent's request).
//! The client is `thalweg bench`.

mod clock;
mod emulator;
mod event;
mod net;
mod request;
mod tunnel;

use std::io::Write;

use clap::Parser;

/// A provider and a bare tunnel for the benchmark of `perf/run.sh`.
#[derive(Parser)]
enum Part {
    /// An upstream that answers every POST with the workload given here.
    Emulator(emulator::Provider),
    /// Copies bytes between a client and `--to`, understanding nothing: what any proxy has to pay.
    Tunnel(tunnel::Ends),
    /// Writes a request of a coding agent's form to standard output.
    Request {
        #[arg(long, value_enum)]
        dialect: request::Dialect,
        /// Its size, about.
        #[arg(long)]
        bytes: usize,
    },
}

fn main() -> std::io::Result<()> {
    let part = Part::parse();
    if let Part::Request { dialect, bytes } = part {
        return std::io::stdout().write_all(&request::body(dialect, bytes));
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())?
        .block_on(async {
            match part {
                Part::Emulator(provider) => emulator::serve(provider).await,
                Part::Tunnel(ends) => tunnel::serve(ends).await,
                Part::Request { .. } => Ok(()),
            }
        })
}
