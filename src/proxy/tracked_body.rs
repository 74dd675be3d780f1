//! Where the relay's streams come from: the provider's body, which counts as under way at its candidate until its last
//! byte. The one place where relay and upstream are joined.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::classify;
use crate::{
    base::{Fault, Moment, Rng},
    relay::{Acknowledge, FrameSource},
    routing::{CandidateStats, candidate_stats::AttemptFailure, settings::BreakerSettings},
    telemetry::GaugeGuard,
    upstream,
};

#[derive(Debug)]
pub struct TrackedBody {
    body: upstream::Body,
    watched: Option<CommittedAttempt>,
}

/// What a stream that has been committed means for its candidate.
#[derive(Debug)]
pub(super) struct CommittedAttempt {
    pub(super) record: Arc<CandidateStats>,
    pub(super) asked: Moment,
    pub(super) breaker: BreakerSettings,
    pub(super) under_way: GaugeGuard,
}

impl TrackedBody {
    pub(super) const fn new(body: upstream::Body) -> Self {
        Self { body, watched: None }
    }

    /// From here on the candidate is answerable for how the stream ends.
    pub(super) fn watch(&mut self, watch: CommittedAttempt) {
        self.watched = Some(watch);
    }
}

impl FrameSource for upstream::Body {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        Self::poll_frame(self, cx)
    }

    fn acknowledge(&mut self, when: Acknowledge) {
        match when {
            Acknowledge::Late => self.acknowledge_late(),
            Acknowledge::AtOnce => self.acknowledge_at_once(),
        }
    }

    fn is_done(&self) -> bool {
        Self::is_done(self)
    }
}

impl FrameSource for TrackedBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        self.body.poll_frame(cx)
    }

    fn acknowledge(&mut self, when: Acknowledge) {
        FrameSource::acknowledge(&mut self.body, when);
    }

    fn is_done(&self) -> bool {
        self.body.is_done()
    }

    /// A stream that was cut, or told of an error, speaks against its candidate, though nobody else can be asked any more.
    fn failed(&mut self, fault: &Fault) {
        if let Some(CommittedAttempt { record, asked, breaker, under_way }) = self.watched.take() {
            let failure =
                AttemptFailure { class: classify::of_fault(fault), retry_after: None, started: asked };
            record.failed(&failure, Moment::now(), &breaker, &mut Rng::random());
            drop(under_way);
        }
    }
}
