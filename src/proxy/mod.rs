//! The corridor: where the rooms meet. Takes a request from the server's door to a committed answer, and tells its end.
//!
//! - [`routes`]: the route table
//! - `handle`: the life of a request, top to bottom
//! - [`call`]: one request's id, dialect and end; the door that every answer leaves by
//! - `intake`: the request body, whole
//! - `attempts`: the candidates that are asked, until the commit point; [`attempt`] is one of them, and [`classify`] says
//!   what its failure means
//! - [`answer`]: what passes down
//! - [`fault`]: what the client is told when something went wrong
//! - `admission`: the key, its limits, and what the client is told of them
//! - [`administration`]: who may ask for what is the operator's
//! - [`page`]: what is answered without a provider; `models`: what is offered; `health`: how
//!   the providers are
//! - [`reload`]: what an administrator has the process do
//! - [`settle`]: what follows from an end; `row`: its row in the ledger; [`statistics`]: what is told of all of them
//! - [`snapshot`]: what requests are decided by

use std::{cell::RefCell, fmt, net::IpAddr, rc::Rc, sync::Arc};

use arc_swap::ArcSwap;
use http::{HeaderMap, request::Parts};

use crate::{
    base::{Rng, id::IdSource},
    ledger::LedgerReader,
    relay::{CompletionQueue, DetachedStreams},
    telemetry::{Gauge, GaugeGuard, Telemetry, WorkerGauges},
    upstream::Upstream,
};

pub mod administration;
mod admission;
pub mod answer;
pub mod attempt;
mod attempt_set;
mod attempts;
pub mod call;
pub mod classify;
mod fact;
mod failures;
pub mod fault;
mod handle;
mod health;
mod intake;
mod models;
mod news;
pub mod page;
pub mod reload;
mod request_headers;
pub mod routes;
mod row;
pub mod settle;
pub mod snapshot;
mod span;
pub mod statistics;
mod tracked_body;

pub use administration::{AdminAccess, ListenerRole};
pub use call::{Body, Call};
pub use fault::Refusal;
pub use intake::{Incoming, Intake};
pub use reload::ReloadHandle;
pub use snapshot::{Provider, Snapshot};

/// One worker's corridor. Cloning shares it.
#[derive(Clone)]
pub struct Gateway {
    snapshot: Arc<ArcSwap<Snapshot>>,
    upstream: Upstream,
    ends: Rc<CompletionQueue>,
    ids: Rc<RefCell<IdSource>>,
    dice: Rc<RefCell<Rng>>,
    gauges: WorkerGauges,
    ready: Rc<dyn Fn() -> bool>,
    desk: ReloadHandle,
    board: Telemetry,
    ledger: LedgerReader,
    entrance: ListenerRole,
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
    /// `ready` says whether the process still wants requests (`/readyz`).
    #[must_use]
    pub fn new(
        snapshot: Arc<ArcSwap<Snapshot>>,
        upstream: Upstream,
        ends: Rc<CompletionQueue>,
        gauges: WorkerGauges,
        ready: Rc<dyn Fn() -> bool>,
        desk: ReloadHandle,
        (board, ledger): (Telemetry, LedgerReader),
    ) -> Self {
        let generation = snapshot.load().generation;
        let streams = Rc::new(RefCell::new((generation, gauges.streams.gauge(generation))));
        let (ids, entrance) = (Rc::default(), ListenerRole::Public);
        let dice = Rc::new(RefCell::new(Rng::random()));
        let orphans = DetachedStreams::new(gauges.drains.clone());
        Self {
            snapshot,
            upstream,
            ends,
            ids,
            dice,
            gauges,
            ready,
            desk,
            board,
            ledger,
            entrance,
            streams,
            orphans,
        }
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

    /// The same for another listener.
    #[must_use]
    pub fn behind(self, entrance: ListenerRole) -> Self {
        Self { entrance, ..self }
    }

    /// Whether its listener has this route.
    fn serves(&self, route: routes::Route) -> bool {
        match self.entrance {
            ListenerRole::Public => true,
            ListenerRole::Administration { .. } => route.is_for_operators(),
        }
    }

    /// It serves clients.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.entrance == ListenerRole::Public
    }

    /// Begins a request's story.
    #[must_use]
    pub fn open(&self, head: &Parts, peer: Option<IpAddr>) -> Call {
        Call::open(head, peer, || self.ids.borrow_mut().make(), &self.ends, self.gauges.requests.hold())
    }

    /// Whether the caller may ask for what costs tokens.
    ///
    /// # Errors
    /// No token, or not one of ours.
    pub fn admit(&self, headers: &HeaderMap) -> Result<(), Box<Refusal>> {
        admission::admit(&self.snapshot.load(), headers).map(|_| ())
    }

    /// Whether the caller may ask for what is the operator's alone.
    ///
    /// # Errors
    /// Administration is closed or elsewhere, or no administrator's key was shown.
    pub fn administrate(&self, head: &Parts) -> Result<(), Box<Refusal>> {
        administration::administrate(self.entrance, &self.snapshot.load(), head)
    }

    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }
}
