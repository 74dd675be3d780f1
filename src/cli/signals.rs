//! When to end: SIGINT and SIGTERM, listened to before anything is started, so that none is missed.

use std::io;

use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

#[derive(Debug)]
pub(super) struct Signals {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn register() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let (interrupt, terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        Ok(Self { runtime, interrupt, terminate })
    }

    /// Blocks until the first signal.
    pub(super) fn first(&mut self) {
        let Self { runtime, interrupt, terminate } = self;
        runtime.block_on(next(interrupt, terminate));
    }

    /// Blocks until `done` is told or another signal comes; true: the signal was first.
    pub(super) fn second_before(&mut self, done: oneshot::Receiver<()>) -> bool {
        let Self { runtime, interrupt, terminate } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = done => false,
                () = next(interrupt, terminate) => true,
            }
        })
    }
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
