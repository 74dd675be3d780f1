//! The rig: everything of a measurement that is not the proxy under test. Each part is one thread, binds a
//! port that the kernel picks and prints it as its first line, so that a script can start them in any number.
//!
//! Read `event` (the events and their age), `emulator` (the provider), `tunnel` (the control).
//! The client is `thalweg bench`.

mod clock;
mod emulator;
mod event;
mod net;
mod tunnel;

use clap::Parser;

/// A provider and a bare tunnel for the benchmark of `perf/run.sh`.
#[derive(Parser)]
enum Part {
    /// An upstream that answers every POST with the workload given here.
    Emulator(emulator::Provider),
    /// Copies bytes between a client and `--to`, understanding nothing: what any proxy has to pay.
    Tunnel(tunnel::Ends),
}

fn main() -> std::io::Result<()> {
    let part = Part::parse();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())?
        .block_on(async {
            match part {
                Part::Emulator(provider) => emulator::serve(provider).await,
                Part::Tunnel(ends) => tunnel::serve(ends).await,
            }
        })
}
