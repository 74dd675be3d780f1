//! When to end (SIGINT and SIGTERM) and when to load the configuration again (SIGHUP). Signals are received
//! from before the start of the gateway, so that none is missed. A second signal to end is reported to the
//! caller, which then stops waiting.

use std::{io, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::timeout,
};

/// The signal that ends the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopSignal {
    /// SIGINT: a user at a terminal.
    Interrupted,
    /// SIGTERM: a supervisor.
    Terminated,
}

#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Must be called within the runtime that later waits for the signals.
    pub(super) fn register() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the first signal to end, and calls `reload` at each SIGHUP before it.
    pub(super) async fn first(&mut self, mut reload: impl FnMut()) -> StopSignal {
        let Self { interrupt, terminate, hangup } = self;
        loop {
            tokio::select! {
                end = next(interrupt, terminate) => return end,
                _ = hangup.recv() => reload(),
            }
        }
    }

    /// Waits for a signal to end a program that only shows: SIGHUP is one, because its terminal has gone.
    pub(super) async fn end_or_hangup(&mut self) {
        tokio::select! {
            _ = next(&mut self.interrupt, &mut self.terminate) => {}
            _ = self.hangup.recv() => {}
        }
    }

    /// Waits for `time` or until another signal to end comes; true: it came.
    pub(super) async fn second_within(&mut self, time: Duration) -> bool {
        timeout(time, next(&mut self.interrupt, &mut self.terminate)).await.is_ok()
    }

    /// Waits until the sender of `done` is used or gone, or another signal to end comes; true: the signal was
    /// first.
    pub(super) async fn second_before(&mut self, done: oneshot::Receiver<()>) -> bool {
        tokio::select! {
            _ = done => false,
            _ = next(&mut self.interrupt, &mut self.terminate) => true,
        }
    }
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> StopSignal {
    tokio::select! {
        _ = interrupt.recv() => StopSignal::Interrupted,
        _ = terminate.recv() => StopSignal::Terminated,
    }
}
