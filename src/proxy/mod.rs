//! The gateway itself: takes a completion request from its route to a committed answer, and writes its
//! record. Joins the rooms below; serves no page and knows no path.
//!
//! - `handle`: the life of a completion, from first line to last; `further`: that of all other requests to
//!   providers
//! - [`direct`]: a request past the relay, through the same door; [`single`]: a completion without a
//!   connection of its own
//! - [`call`]: one request's id, dialect and completion; every response is made there
//! - [`admission`]: the key and its limits, [`page_session`]: a page's session in the place of a key
//! - `limit_headers`: the response's headers about limits
//! - `intake`: the request body, read whole, by [`decode`] where it is compressed; [`body_memory`]: the
//!   memory that bodies hold; `request_headers`: the headers that address the gateway
//! - `query`: the query that goes to the provider; [`gemini_path`]: paths that name model and method
//! - `recall`: the answer cache on a request's way, by the request's `cache_key`; `answer_place`: an answer
//!   into it and out of it, `whole_answer`: which are good enough, `paced_answer`: a stream at its own pace,
//!   `shared_stream`: one that several requests follow
//! - `planning`: trace, candidates, mode: the decisions before the first attempt
//! - `attempts`: attempts until one reaches the commit point, out of `attempt_set`; each reads the
//!   `request_context`
//! - `attempt`: one of them; `running_attempt`: its state; `attempt_result`: how it ended;
//!   `error_response`: a provider's error; `refused_options`: the options that a model refuses as such;
//!   [`classify`]: the class of a failure, `missing`: of a missing model or endpoint; `failures`: the
//!   failures of a request, and its refusal
//! - `first_bytes`: decide whether a body has events where its label is not of what was requested
//! - [`translation`]: an attempt in another dialect than the client's
//! - [`encode`]: compresses documents on their way down; `accept_encoding`: the coding that a client accepts
//! - `secret_mask`: takes a provider's own key out of collected bodies
//! - [`body`]: the body of an answer
//! - `answer`: a good answer, `response_headers`: its headers; `committed_attempt`: its attempt, until its
//!   last byte
//! - [`fault`]: the error that a client is given
//! - [`snapshot`]: the configuration that a request is served by

use std::{cell::RefCell, fmt, future::Future, net::IpAddr, rc::Rc, sync::Arc};

use arc_swap::ArcSwap;

use crate::{
    base::{RequestHead, Rng, Stage, id::IdSource},
    exchange::{BackgroundCharges, CompletionQueue, RequestRoute},
    relay::DetachedStreams,
    telemetry::{Gauge, GaugeGuard, WorkerGauges},
    upstream::Upstream,
    wire::Dialect,
};

mod accept_encoding;
pub mod admission;
mod answer;
mod answer_place;
mod attempt;
mod attempt_result;
mod attempt_set;
mod attempts;
mod body;
pub mod body_memory;
mod cache_key;
pub mod call;
pub mod classify;
mod committed_attempt;
pub mod decode;
pub mod direct;
pub mod encode;
mod error_response;
mod failures;
pub mod fault;
mod first_bytes;
mod further;
pub mod gemini_path;
mod handle;
mod intake;
mod limit_headers;
mod missing;
mod paced_answer;
pub mod page_session;
mod planning;
mod query;
mod recall;
mod refused_options;
mod request_context;
mod request_headers;
mod response_headers;
mod running_attempt;
mod secret_mask;
mod shared_stream;
pub mod single;
pub mod snapshot;
pub mod translation;
mod whole_answer;

pub use body::{Body, CacheBody};
pub use body_memory::{BodyBounds, BodyMemory};
pub use call::Call;
pub use direct::{DirectAnswer, DirectCall};
pub use encode::CompressionSettings;
pub use fault::Refusal;
pub use handle::Addressed;
pub use intake::{Incoming, Intake, ReadBody};
pub use secret_mask::SecretMask;
pub use single::{SingleAnswer, SingleRequest};
pub use snapshot::{AdminAccess, Provider, Snapshot};
pub use translation::AnswerBody;

/// One worker's gateway.
pub struct Gateway {
    snapshot: Arc<ArcSwap<Snapshot>>,
    upstream: Upstream,
    completions: Rc<CompletionQueue>,
    ids: Rc<RefCell<IdSource>>,
    rng: Rc<RefCell<Rng>>,
    gauges: WorkerGauges,
    /// The share of traces that begin here and are exported. `None`: there are no traces.
    traces: Option<f64>,
    /// The gauge of the streams that begin now, and its generation.
    streams: Rc<RefCell<(u64, Gauge)>>,
    detached: DetachedStreams,
    /// Shared by all workers.
    bodies: BodyMemory,
    background: BackgroundCharges,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

impl Gateway {
    /// `traces`: the share of traces that begin here and are exported; `None`: there are no traces.
    #[must_use]
    pub fn new(
        snapshot: Arc<ArcSwap<Snapshot>>,
        upstream: Upstream,
        completions: Rc<CompletionQueue>,
        gauges: WorkerGauges,
        traces: Option<f64>,
        (bodies, background): (BodyMemory, BackgroundCharges),
    ) -> Self {
        let generation = snapshot.load().generation;
        let streams = Rc::new(RefCell::new((generation, gauges.streams.gauge(generation))));
        let rng = Rc::new(RefCell::new(Rng::random()));
        let detached = DetachedStreams::new(gauges.drains.clone());
        let ids = Rc::default();
        Self {
            snapshot,
            upstream,
            completions,
            ids,
            rng,
            gauges,
            traces,
            streams,
            detached,
            bodies,
            background,
        }
    }

    /// The drain's time is over: requests that are polled from now on and have no answer are refused.
    pub fn end(&self) {
        self.completions.end();
    }

    /// No provider is asked for a client that cannot wait for it.
    fn check_ended(&self) -> Result<(), Box<Refusal>> {
        if self.completions.has_ended() { Err(Refusal::shutting_down(Stage::Intake)) } else { Ok(()) }
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
    pub const fn detached(&self) -> &DetachedStreams {
        &self.detached
    }

    /// Begins a request's record. `dialect`: of its path, whatever the method; errors are given in it.
    #[must_use]
    pub fn open(
        &self,
        head: &RequestHead,
        peer: Option<IpAddr>,
        route: RequestRoute,
        dialect: Dialect,
    ) -> Call {
        Call::open(
            head,
            peer,
            (route, dialect),
            || self.ids.borrow_mut().make(),
            &self.completions,
            self.gauges.requests.hold(),
        )
    }

    /// See [`page_session::refresh`].
    pub fn refreshed_session(&self, head: &RequestHead) -> Option<impl Future<Output = ()> + use<>> {
        page_session::refresh(&self.snapshot.load(), head)
    }

    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }
}
