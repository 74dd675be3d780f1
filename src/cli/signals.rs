//! When to end (SIGINT and SIGTERM) and when to load the configuration again (SIGHUP); listened to before anything is
//! started, so that none is missed.

use std::{io, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::timeout,
};

/// Who asked for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopSignal {
    /// Somebody at a terminal (SIGINT).
    Interrupted,
    /// A supervisor (SIGTERM).
    Asked,
}

#[derive(Debug)]
pub(super) struct Signals {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn register() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (interrupt, terminate, hangup) = {
            let _inside = runtime.enter();
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            )
        };
        Ok(Self { runtime, interrupt, terminate, hangup })
    }

    /// Blocks until the first signal to end, and calls `reload` at each SIGHUP before it.
    pub(super) fn first(&mut self, mut reload: impl FnMut()) -> StopSignal {
        let Self { runtime, interrupt, terminate, hangup } = self;
        runtime.block_on(async {
            loop {
                tokio::select! {
                    end = next(interrupt, terminate) => return end,
                    _ = hangup.recv() => reload(),
                }
            }
        })
    }

    /// Blocks for so long or until another signal comes; true: it came.
    pub(super) fn second_within(&mut self, time: Duration) -> bool {
        let Self { runtime, interrupt, terminate, hangup: _ } = self;
        runtime.block_on(async { timeout(time, next(interrupt, terminate)).await.is_ok() })
    }

    /// Blocks until `done` is told or another signal comes; true: the signal was first.
    pub(super) fn second_before(&mut self, done: oneshot::Receiver<()>) -> bool {
        let Self { runtime, interrupt, terminate, hangup: _ } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = done => false,
                _ = next(interrupt, terminate) => true,
            }
        })
    }
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> StopSignal {
    tokio::select! {
        _ = interrupt.recv() => StopSignal::Interrupted,
        _ = terminate.recv() => StopSignal::Asked,
    }
}
