//! Streams whose client has left and which are read on for their usage (B6): on the worker they began on, detached from
//! any connection, counted, within a time and a number of tokens, and ended when the process drains.
//!
//! Invariant: what is read is dropped as it comes. An orphan tells its end exactly once, however it ends.

use std::future::poll_fn;

use tokio::{
    sync::watch,
    time::{Duration, Instant, sleep},
};

use super::{stream::FrameSource, tap::Tap};
use crate::{
    base::{Stage, spawn::Tasks},
    exchange::{Completion, Outcome},
    telemetry::{Gauge, GaugeGuard},
};

/// Streams that a worker reads on at once; beyond it they are ended and estimated.
const MANY: usize = 1024;

/// A stream without a client.
pub(super) struct DetachedStream<S> {
    pub(super) source: S,
    pub(super) tap: Tap,
    pub(super) completion: Completion,
    /// When its client left.
    pub(super) left: Stage,
    pub(super) time: Duration,
    pub(super) tokens: u32,
    pub(super) counted: GaugeGuard,
}

/// A worker's orphans. Cloning shares them.
#[derive(Clone, Debug)]
pub struct DetachedStreams {
    tasks: Tasks,
    gauge: Gauge,
    /// True: all of them end.
    closed: watch::Sender<bool>,
}

impl DetachedStreams {
    #[must_use]
    pub fn new(gauge: Gauge) -> Self {
        Self { tasks: Tasks::new(), gauge, closed: watch::Sender::new(false) }
    }

    /// A place for one more. `None`: there are too many, or no more are wanted.
    pub(super) fn place(&self) -> Option<GaugeGuard> {
        (!*self.closed.borrow() && self.tasks.live() < MANY).then(|| self.gauge.hold())
    }

    pub(super) fn adopt<S: FrameSource + 'static>(&self, orphan: DetachedStream<S>) {
        let closed = self.closed.subscribe();
        self.tasks.spawn(orphan.read_on(closed));
    }

    /// Ends all of them, now and from now on, and waits until they have told their ends.
    pub async fn close(&self) {
        self.closed.send_replace(true);
        while self.tasks.live() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

impl<S: FrameSource> DetachedStream<S> {
    /// Reads to the end, or to the first bound.
    async fn read_on(self, mut closed: watch::Receiver<bool>) {
        let Self { mut source, mut tap, mut completion, left, time, tokens, counted } = self;
        let whole = tokio::select! {
            biased;
            whole = read(&mut source, &mut tap, tokens) => whole,
            _ = closed.wait_for(|closed| *closed) => false,
            () = sleep(time) => false,
        };
        // The provider's connection first: whoever sees the end may look for it.
        drop(source);
        let record = completion.record();
        record.stats = tap.take_stats();
        record.drained = whole;
        completion.complete(Outcome::Gone(left));
        drop(counted);
    }
}

/// Whether it came to a good end.
async fn read<S: FrameSource>(source: &mut S, tap: &mut Tap, tokens: u32) -> bool {
    while !source.is_done() {
        let frame = match poll_fn(|cx| source.poll_frame(cx)).await {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => return false,
            None => break,
        };
        let now = Instant::now();
        let gap = tap.gap(now);
        let good = tap.see(&frame, (now, gap), false, |_, _| {}).is_ok_and(|seen| !seen.error);
        if !good || tap.passed_tokens() > tokens {
            return false;
        }
    }
    tap.finish();
    true
}
