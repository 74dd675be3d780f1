//! The facts that all attempts of one request share. An attempt only reads them; the two cells are the
//! exception, because an attempt that is cancelled returns nothing.

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use http::request::Parts;
use tokio::time::Instant;

use super::{request_headers::TraceOptions, snapshot::Snapshot};
use crate::{
    base::{Moment, RequestId, Stage},
    exchange::WastedAttempt,
    relay::{CommitPoint, Mode},
    telemetry::LatencyMeter,
    upstream::Upstream,
    wire::{Dialect, Envelope},
};

#[derive(Clone, Copy, Debug)]
pub(super) struct RequestContext<'a> {
    pub(super) upstream: &'a Upstream,
    /// The worker's meter of added latency.
    pub(super) meter: &'a LatencyMeter,
    pub(super) snapshot: &'a Snapshot,
    pub(super) id: &'a RequestId,
    /// When the request arrived.
    pub(super) started: Instant,
    pub(super) head: &'a Parts,
    pub(super) body: &'a Bytes,
    pub(super) envelope: &'a Envelope,
    pub(super) dialect: Dialect,
    pub(super) mode: Mode,
    pub(super) trace: TraceOptions,
    /// How far the request has come, by the attempt that ended last.
    pub(super) stage: &'a Cell<Stage>,
    /// Attempts that ended without an answer for the client.
    pub(super) wasted: &'a RefCell<Vec<WastedAttempt>>,
    /// There is no other candidate: the answer passes as it comes.
    pub(super) is_sole: bool,
    /// The client's deadline, or the race's. `None`: there is none.
    pub(super) deadline: Option<Moment>,
    /// The model's configured commit point. `None`: none is configured for it.
    pub(super) model_commit: Option<CommitPoint>,
}

impl RequestContext<'_> {
    pub(super) fn streams(&self) -> bool {
        self.envelope.stream() == Some(true)
    }

    /// Usage is requested on the client's behalf where the dialect has it and the client did not set it
    /// (B24).
    pub(super) fn requests_usage(&self) -> bool {
        self.streams()
            && self.snapshot.stream.include_usage
            && self.dialect.has_stream_options()
            && self.envelope.include_usage().is_none()
    }

    /// The commit point by configuration: the model's, else the general one.
    pub(super) fn configured_commit(&self) -> Option<CommitPoint> {
        self.model_commit.or(self.snapshot.stream.commit)
    }

    /// Without another candidate, holding back past the first frame would only delay.
    pub(super) fn commit_point(&self) -> CommitPoint {
        let usual = if self.is_sole { CommitPoint::FirstFrame } else { CommitPoint::FirstContent };
        self.configured_commit().unwrap_or(usual)
    }
}
