//! The corridor: where the rooms meet. Takes a request from the server's door to a committed answer, and tells its end.
//!
//! - `handle`: the life of a request, top to bottom
//! - [`call`]: one request's id, dialect and end; the door that every answer leaves by
//! - `intake`: the request body, whole
//! - `attempts`: the candidates that are asked, until the commit point; [`attempt`] is one of them, and [`classify`] says
//!   what its failure means
//! - [`answer`]: what passes down
//! - [`fault`]: what the client is told when something went wrong
//! - [`admission`]: the key, its limits, and what the client is told of them
//! - `request_headers`: settings in a request's headers
//! - `attempt_set`: the concurrent attempts of a request; `tracked_body`: a provider's body, counted at its candidate;
//!   `failures`: the failed attempts and their error response
//! - [`snapshot`]: what requests are decided by

use std::{cell::RefCell, fmt, net::IpAddr, rc::Rc, sync::Arc};

use arc_swap::ArcSwap;
use http::request::Parts;

use crate::{
    base::{Rng, id::IdSource},
    exchange::{CompletionQueue, RequestRoute},
    relay::DetachedStreams,
    telemetry::{Gauge, GaugeGuard, WorkerGauges},
    upstream::Upstream,
    wire::Dialect,
};

pub mod admission;
pub mod answer;
pub mod attempt;
mod attempt_set;
mod attempts;
pub mod call;
pub mod classify;
mod failures;
pub mod fault;
mod handle;
mod intake;
mod request_headers;
pub mod snapshot;
mod tracked_body;

pub use call::{Body, Call};
pub use fault::Refusal;
pub use intake::{Incoming, Intake};
pub use snapshot::{AdminAccess, Provider, Snapshot};

/// One worker's corridor.
pub struct Gateway {
    snapshot: Arc<ArcSwap<Snapshot>>,
    upstream: Upstream,
    ends: Rc<CompletionQueue>,
    ids: Rc<RefCell<IdSource>>,
    dice: Rc<RefCell<Rng>>,
    gauges: WorkerGauges,
    /// The share of traces that begin here and are exported. `None`: there are no traces.
    traces: Option<f64>,
    /// The gauge of the streams that begin now, and its generation.
    streams: Rc<RefCell<(u64, Gauge)>>,
    orphans: DetachedStreams,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Corridor").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

impl Gateway {
    /// `traces`: the share of traces that begin here and are exported; `None`: there are no traces.
    #[must_use]
    pub fn new(
        snapshot: Arc<ArcSwap<Snapshot>>,
        upstream: Upstream,
        ends: Rc<CompletionQueue>,
        gauges: WorkerGauges,
        traces: Option<f64>,
    ) -> Self {
        let generation = snapshot.load().generation;
        let streams = Rc::new(RefCell::new((generation, gauges.streams.gauge(generation))));
        let dice = Rc::new(RefCell::new(Rng::random()));
        let orphans = DetachedStreams::new(gauges.drains.clone());
        Self { snapshot, upstream, ends, ids: Rc::default(), dice, gauges, traces, streams, orphans }
    }

    /// Counts a stream that begins by the snapshot of this generation.
    fn hold_stream(&self, generation: u64) -> GaugeGuard {
        let mut streams = self.streams.borrow_mut();
        if streams.0 != generation {
            *streams = (generation, self.gauges.streams.gauge(generation));
        }
        streams.1.hold()
    }

    /// Streams that are read on without a client.
    #[must_use]
    pub const fn orphans(&self) -> &DetachedStreams {
        &self.orphans
    }

    /// Begins a request's record. `dialect`: of its path, whatever the method; errors are given in it.
    #[must_use]
    pub fn open(&self, head: &Parts, peer: Option<IpAddr>, route: RequestRoute, dialect: Dialect) -> Call {
        Call::open(
            head,
            peer,
            (route, dialect),
            || self.ids.borrow_mut().make(),
            &self.ends,
            self.gauges.requests.hold(),
        )
    }

    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }
}
