//! The end of every request, told exactly once: by whoever knows how it ended, or by being dropped — then the client
//! has left. Telling is a push to the worker's queue; what follows from it (log, ledger, metrics) is done elsewhere.
//!
//! Invariant: an [`Completion`] gives one [`Completed`], whatever happens.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use tokio::{
    sync::Notify,
    time::{Duration, Instant},
};

use super::{
    client_info::ClientInfo, digest::Digests, settings::OnDisconnect, usage_accounting::UsageSource,
};
use crate::{
    base::{
        Fault, RequestId, Stage,
        lease::{Lease, PendingCharge},
    },
    telemetry::{FrameTimings, GaugeGuard, RaceFacts, Trace},
    wire::Usage,
};

/// Ends that a worker may have waiting. Past it the oldest story would be lost; the count says how many were.
const QUEUE: usize = 16 * 1024;

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The last byte was handed to the client's connection.
    Complete,
    /// It was refused or broke off; the client was told.
    Fault(Fault),
    /// The client left at this stage.
    Gone(Stage),
}

/// What passed, measured at the gateway.
#[derive(Clone, Debug, Default)]
pub struct StreamStats {
    pub frames: u32,
    pub events: u32,
    pub bytes: u64,
    /// From the request's arrival.
    pub first_byte: Option<Duration>,
    pub first_token: Option<Duration>,
    /// First frame to last frame.
    pub span: Duration,
    /// Gaps between frames shorter than a millisecond.
    pub zero_gaps: u32,
    pub usage: Option<Usage>,
    /// The frames' own times, if they were measured.
    pub shape: Option<Box<FrameTimings>>,
    /// From the commit, or the first read after it, to the first frame's write (B2).
    pub first_added: Option<Duration>,
    /// Frames whose write had to wait for the client.
    pub waited: u32,
    /// Of the body's bytes, if they were asked for.
    pub digests: Option<Digests>,
    /// Where `usage` comes from; known when the end is told.
    pub source: Option<UsageSource>,
    /// Tokens of output that what passed is thought to be.
    pub passed_tokens: u32,
}

/// What is known of one request when it ends.
#[derive(Debug)]
pub struct RequestRecord {
    pub id: RequestId,
    pub started: Instant,
    pub path: &'static str,
    pub caller: ClientInfo,
    pub model: Box<str>,
    /// Its name at the provider that was asked last.
    pub served: Option<Box<str>>,
    pub provider: Option<Arc<str>>,
    pub mode: &'static str,
    /// As told to the client; 499 when it left before.
    pub status: u16,
    /// In which manner candidates were asked.
    pub strategy: &'static str,
    /// Requests sent to providers,
    pub attempts: u8,
    /// and those of them that were overtaken by another and given up: what they cost is nobody's.
    pub wasted: u8,
    /// Tokens that calls without an answer for the client are known to have taken.
    pub wasted_tokens: u64,
    pub contest: RaceFacts,
    /// From the request's arrival until the first provider was asked.
    pub intake: Duration,
    /// Time spent waiting for a provider's connection.
    pub connected_after: Duration,
    /// From the first provider's being asked to the head of the answer that counts.
    pub answered_after: Option<Duration>,
    pub figures: StreamStats,
    /// Who asked, by name, and by the key's id.
    pub principal: Option<Arc<str>>,
    pub key: Option<Arc<str>>,
    /// What the request is thought to be in tokens.
    pub prompt_tokens: u32,
    pub on_disconnect: OnDisconnect,
    /// The client left, and the stream was read to its end all the same.
    pub drained: bool,
    /// What the request may use of its key's limits; settled when the end is told.
    pub lease: Option<Lease>,
    /// Where it stands in a trace, if traces are made.
    pub trace: Option<Trace>,
    /// What remains to be paid of a key's budget: whoever knows the price settles it.
    pub bill: Option<PendingCharge>,
}

impl RequestRecord {
    /// A request that has just arrived.
    #[must_use]
    pub fn new(id: RequestId, started: Instant, path: &'static str) -> Self {
        Self {
            id,
            started,
            path,
            caller: ClientInfo::default(),
            model: Box::default(),
            served: None,
            provider: None,
            mode: "-",
            status: 0,
            strategy: "-",
            attempts: 0,
            wasted: 0,
            wasted_tokens: 0,
            contest: RaceFacts::default(),
            intake: Duration::ZERO,
            connected_after: Duration::ZERO,
            answered_after: None,
            figures: StreamStats::default(),
            principal: None,
            key: None,
            prompt_tokens: 0,
            on_disconnect: OnDisconnect::default(),
            drained: false,
            lease: None,
            trace: None,
            bill: None,
        }
    }
}

/// How long frames stayed in the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddedLatency {
    pub p50: Duration,
    pub p99: Duration,
    pub max: Duration,
}

impl StreamStats {
    /// `None` if no frame was measured.
    #[must_use]
    pub fn added(&self) -> Option<AddedLatency> {
        let tally = &self.shape.as_ref()?.added;
        Some(AddedLatency { p50: tally.quantile(0.5)?, p99: tally.quantile(0.99)?, max: tally.max() })
    }
}

impl RequestRecord {
    /// What the gateway itself added before the client's first byte: until the provider was asked, and from the commit to
    /// the first write (B2).
    #[must_use]
    pub fn added_first(&self) -> Option<Duration> {
        self.figures.first_added.map(|added| self.intake + added)
    }
}

/// One request's end.
#[derive(Debug)]
pub struct Completed {
    pub story: Box<RequestRecord>,
    pub outcome: Outcome,
    /// From the request's arrival.
    pub total: Duration,
}

/// A worker's queue of ends.
#[derive(Debug, Default)]
pub struct CompletionQueue {
    queue: RefCell<Vec<Completed>>,
    lost: Cell<u64>,
    ready: Notify,
}

impl CompletionQueue {
    fn push(&self, end: Completed) {
        let mut queue = self.queue.borrow_mut();
        if queue.len() < QUEUE {
            queue.push(end);
        } else {
            self.lost.set(self.lost.get() + 1);
        }
        if queue.len() == 1 {
            self.ready.notify_one();
        }
    }

    /// Waits until there is one.
    pub async fn ready(&self) {
        self.ready.notified().await;
    }

    /// All that are waiting, and how many were lost since the last call.
    pub fn take(&self) -> (Vec<Completed>, u64) {
        (self.queue.take(), self.lost.take())
    }
}

/// The duty to tell one end.
#[derive(Debug)]
pub struct Completion {
    /// `None` once told.
    story: Option<Box<RequestRecord>>,
    /// How far the request has come, for a client that leaves.
    stage: Cell<Stage>,
    ends: Rc<CompletionQueue>,
    /// `None`: the request itself is over.
    _request: Option<GaugeGuard>,
}

impl Completion {
    #[must_use]
    pub fn new(story: RequestRecord, ends: Rc<CompletionQueue>, request: GaugeGuard) -> Self {
        Self { story: Some(Box::new(story)), stage: Cell::new(Stage::Intake), ends, _request: Some(request) }
    }

    /// The story so far, to be written on. `None` once it has been told.
    pub fn story(&mut self) -> Option<&mut RequestRecord> {
        self.story.as_deref_mut()
    }

    /// Both to be written on at once: the story so far, and how far the request has come.
    pub fn parts(&mut self) -> (Option<&mut RequestRecord>, &Cell<Stage>) {
        (self.story.as_deref_mut(), &self.stage)
    }

    /// How far the request has come, to be written on.
    #[must_use]
    pub const fn stage(&self) -> &Cell<Stage> {
        &self.stage
    }

    /// The client has left, and somebody else will tell the end. `None`: it has been told.
    pub(super) fn hand_over(&mut self) -> Option<Self> {
        let mut story = self.story.take()?;
        story.status = 499;
        let stage = Cell::new(self.stage.get());
        Some(Self { story: Some(story), stage, ends: Rc::clone(&self.ends), _request: None })
    }

    /// Tells the end. Later calls tell nothing.
    pub fn tell(&mut self, outcome: Outcome) {
        if let Some(mut story) = self.story.take() {
            let total = story.started.elapsed();
            story.reckon(&outcome, total);
            self.ends.push(Completed { story, outcome, total });
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Some(story) = &mut self.story {
            story.status = 499;
            self.tell(Outcome::Gone(self.stage.get()));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{base::id::IdSource, telemetry::Gauge};

    /// An ending for tests, and the queue and gauge it reports to.
    pub(crate) fn ending() -> (Completion, Rc<CompletionQueue>, Gauge) {
        let (ends, gauge) = (Rc::<CompletionQueue>::default(), Gauge::default());
        let story = RequestRecord {
            model: "m".into(),
            mode: "asgi",
            status: 200,
            strategy: "priority",
            attempts: 1,
            ..RequestRecord::new(IdSource::default().make(), Instant::now(), "/v1/chat/completions")
        };
        (Completion::new(story, Rc::clone(&ends), gauge.hold()), ends, gauge)
    }

    #[test]
    fn is_told_once_when_told() {
        let (mut ending, ends, gauge) = ending();
        ending.tell(Outcome::Complete);
        ending.tell(Outcome::Gone(Stage::Body));
        assert_eq!(gauge.read(), 1);
        drop(ending);
        let (told, lost) = ends.take();
        assert_eq!((told.len(), lost, gauge.read()), (1, 0, 0));
        assert_eq!(told[0].outcome, Outcome::Complete);
    }

    #[test]
    fn a_dropped_ending_says_that_the_client_left_and_when() {
        let (ending, ends, _) = ending();
        ending.stage().set(Stage::FirstToken);
        drop(ending);
        let (told, _) = ends.take();
        assert_eq!(told[0].outcome, Outcome::Gone(Stage::FirstToken));
        assert_eq!(told[0].story.status, 499);
    }
}
