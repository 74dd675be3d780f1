//! The attempt behind a committed stream: it counts as under way at its candidate until the stream's last
//! byte, and a stream that fails counts against its candidate. Joins `relay` and `upstream`: the provider's
//! body is a source of frames.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{classify, secret_mask::Within, translation::AnswerBody};
use crate::{
    base::{ByteList, Endpoint, Fault, Moment, Rng},
    relay::{Acknowledge, FailureObserver, FrameSource},
    routing::{CandidateStats, candidate_stats::AttemptFailure, settings::RoutingSettings},
    telemetry::GaugeGuard,
    upstream,
    wire::Usage,
};

#[derive(Debug)]
pub struct CommittedAttempt {
    pub(super) stats: Arc<CandidateStats>,
    pub(super) endpoint: Endpoint,
    pub(super) caller: u32,
    /// When the attempt began.
    pub(super) began: Moment,
    /// Shared, because they are needed by a failure alone.
    pub(super) settings: Arc<RoutingSettings>,
    /// Held until the end.
    pub(super) _under_way: GaugeGuard,
    /// It is a stream, of which no failure has been seen.
    pub(super) is_well: bool,
}

impl FailureObserver for CommittedAttempt {
    /// A stream that breaks off, or holds an error event, counts against its candidate, although no other can
    /// serve the request any more.
    fn failed(mut self, fault: &Fault) {
        self.is_well = false;
        let class = classify::of_fault(fault);
        let Self { endpoint, caller, began: started, .. } = self;
        let failure = AttemptFailure { class, endpoint, caller, retry_after: None, started };
        self.stats.broke_off(&failure, Moment::now(), &self.settings.breaker, &mut Rng::random());
    }
}

impl Drop for CommittedAttempt {
    fn drop(&mut self) {
        if self.is_well {
            self.stats.stream_ended();
        }
    }
}

impl FrameSource for AnswerBody {
    type Observer = CommittedAttempt;

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        Self::poll_frame(self, cx)
    }

    fn reported_usage(&self, in_frames: Option<Usage>) -> Option<Usage> {
        Self::reported_usage(self, in_frames)
    }

    fn acknowledge(&mut self, when: Acknowledge) {
        FrameSource::acknowledge(self.source(), when);
    }

    fn is_done(&self) -> bool {
        Self::is_done(self)
    }

    fn may_quote_secret(&self, part: &[u8]) -> bool {
        self.secrets().may_be_in(part)
    }

    fn mask_error(&self, waiting: ByteList) -> ByteList {
        self.secrets().mask(waiting, Within::Error)
    }
}

impl FrameSource for upstream::Body {
    type Observer = CommittedAttempt;

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
