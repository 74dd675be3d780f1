//! Streams without a client, read on for their usage after the client left (B6): on the worker they began on,
//! apart from any client connection, counted, within a time and a number of tokens, and ended when the
//! process drains.
//!
//! Invariant: bytes are dropped as they come, and each stream reports its completion exactly once, however it
//! ends.

use std::{
    future::{Future, poll_fn},
    rc::Rc,
};

use tokio::{
    sync::watch,
    time::{Duration, Instant, sleep, timeout},
};

use super::{source::FrameSource, stream::END_GRACE, tap::Tap};
use crate::{
    base::{Stage, spawn::Tasks},
    exchange::{Completion, Outcome, RunningRequest},
    telemetry::{Gauge, GaugeGuard},
};

/// Streams that a worker reads on at once; further ones are ended and estimated.
const MAX_STREAMS: usize = 1024;

/// Time and bytes for the end of a body with a complete answer, so that its connection can be kept.
const MAX_REST_TIME: Duration = Duration::from_secs(1);
const MAX_REST_SIZE: usize = 64 * 1024;

/// A stream without a client.
pub(super) struct DetachedStream<S: FrameSource> {
    pub(super) source: S,
    /// Kept until the source is dropped: it counts the attempt as under way. Failures are not reported to it.
    pub(super) observer: Option<S::Observer>,
    pub(super) tap: Tap,
    pub(super) completion: Completion,
    /// The stage at which the client left.
    pub(super) stage: Stage,
    /// Bounds of the reading.
    pub(super) time: Duration,
    pub(super) tokens: u32,
    pub(super) guard: GaugeGuard,
}

/// A worker's detached streams. Cloning shares them; one pointer, because each open stream has a clone.
#[derive(Clone, Debug)]
pub struct DetachedStreams(Rc<DetachedSet>);

#[derive(Debug)]
struct DetachedSet {
    tasks: Tasks,
    /// Tasks that read for several clients.
    driven: Tasks,
    gauge: Gauge,
    /// True: all of them end.
    closed: watch::Sender<bool>,
}

impl DetachedStreams {
    #[must_use]
    pub fn new(gauge: Gauge) -> Self {
        Self(Rc::new(DetachedSet {
            tasks: Tasks::new(),
            driven: Tasks::new(),
            gauge,
            closed: watch::Sender::new(false),
        }))
    }

    /// Room for one more. `None`: there are too many, or the process drains.
    pub(super) fn reserve(&self) -> Option<GaugeGuard> {
        (!*self.0.closed.borrow() && self.0.tasks.live() < MAX_STREAMS).then(|| self.0.gauge.hold())
    }

    pub(super) fn read_on<S: FrameSource + 'static>(&self, stream: DetachedStream<S>) {
        let closed = self.0.closed.subscribe();
        self.0.tasks.spawn(stream.read_on(closed));
    }

    /// Reads the end of a body with a complete answer; at its end the source gives its connection back.
    pub(super) fn read_rest<S: FrameSource + 'static>(&self, mut source: S) {
        if *self.0.closed.borrow() || self.0.tasks.live() >= MAX_STREAMS {
            return;
        }
        let mut closed = self.0.closed.subscribe();
        self.0.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = discard(&mut source) => {}
                _ = closed.wait_for(|closed| *closed) => {}
                () = sleep(MAX_REST_TIME) => {}
            }
        });
    }

    /// Runs a task that reads a stream for several clients. It ends with the last of them.
    pub fn drive(&self, task: impl Future<Output = ()> + 'static) {
        self.0.driven.spawn(task);
    }

    /// Waits for the end of the tasks that read for several clients.
    pub async fn driven(&self) {
        while self.0.driven.live() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Ends all of them, now and from now on, and waits until they have reported their completions.
    pub async fn close(&self) {
        self.0.closed.send_replace(true);
        while self.0.tasks.live() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

impl<S: FrameSource> DetachedStream<S> {
    /// Reads to the end, or to the first bound.
    async fn read_on(self, mut closed: watch::Receiver<bool>) {
        let Self { mut source, observer, mut tap, mut completion, stage, time, tokens, guard } = self;
        let whole = tokio::select! {
            biased;
            whole = read(&mut source, (&mut tap, tokens), completion.running()) => whole,
            _ = closed.wait_for(|closed| *closed) => false,
            () = sleep(time) => false,
        };
        // The provider's connection is dropped before the completion is reported, because a reader of the
        // completion may look at the connection.
        let stats = tap.stats();
        stats.usage = source.reported_usage(stats.usage);
        drop((source, observer));
        let record = completion.record();
        record.stats = tap.take_stats();
        record.drained = whole;
        completion.complete(Outcome::Gone(stage));
        drop(guard);
    }
}

/// Reads to the end, or to the limit.
async fn discard<S: FrameSource>(source: &mut S) {
    let mut size = 0;
    while !source.is_done() && size <= MAX_REST_SIZE {
        match poll_fn(|cx| source.poll_frame(cx)).await {
            Some(Ok(frame)) => size += frame.len(),
            Some(Err(_)) | None => return,
        }
    }
}

/// Whether the stream came to a good end.
async fn read<S: FrameSource>(
    source: &mut S,
    (tap, tokens): (&mut Tap, u32),
    running: &RunningRequest,
) -> bool {
    while !source.is_done() {
        let frame = match poll_fn(|cx| source.poll_frame(cx)).await {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => return false,
            None => break,
        };
        let now = Instant::now();
        let gap = tap.gap(now);
        let report = tap.inspect(&frame, (now, gap), false, |_, _| {});
        tap.show(running);
        let Ok(report) = report else { return false };
        if report.error || tap.passed_tokens() > tokens {
            return false;
        }
        if report.done {
            // The answer is complete, whatever becomes of its body.
            let _ = timeout(END_GRACE, discard(source)).await;
            break;
        }
    }
    let (last, _) = tap.finish();
    !last.error && !tap.is_cut_short()
}
