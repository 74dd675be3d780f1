//! One attempt: a place in the pool, a connection, the request, the head of the answer. A reused connection that dies
//! before a byte of the answer came is replaced once, unseen.

use std::{cell::RefCell, rc::Rc};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::time::{Duration, Instant, timeout_at};

use super::{
    Body, dial, h1,
    head::{Request, write_request},
    io::ReadBlock,
    pool::{Lease, Pool, SharedPools},
    target::{PoolSettings, Target},
};
use crate::{
    base::{ByteList, Clock, Fault, Kind, Sent, Stage},
    telemetry::WorkerGauges,
};

/// A worker's door to all providers. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Upstream(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: SharedPools,
    settings: PoolSettings,
    pools: RefCell<Vec<Rc<Pool>>>,
    block: Rc<ReadBlock>,
    gauges: WorkerGauges,
}

/// The head of an answer; the body is pulled.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
    /// Time spent waiting for the pool and connecting.
    pub connected_after: Duration,
}

/// Until when the head must have come, and what to call it when it did not.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    pub at: Instant,
    pub clock: Clock,
    pub after: Duration,
}

impl Deadline {
    #[must_use]
    pub fn new(clock: Clock, after: Duration) -> Self {
        Self { at: Instant::now() + after, clock, after }
    }

    /// It has passed, at `stage`.
    #[must_use]
    pub const fn fault(&self, stage: Stage) -> Fault {
        let sent = if matches!(stage, Stage::Body) { Sent::Some } else { Sent::Unknown };
        Fault::provider(stage, Kind::Timeout(self.clock, self.after), sent)
    }
}

impl Upstream {
    #[must_use]
    pub fn new(shared: SharedPools, settings: PoolSettings, gauges: WorkerGauges) -> Self {
        let pools = RefCell::default();
        Self(Rc::new(Inner { shared, settings, pools, block: Rc::default(), gauges }))
    }

    /// Sends `request` with `body` to `target` and waits for the head of the answer. Dropping the future closes the
    /// connection it was using.
    ///
    /// # Errors
    /// The fault says how far it came and whether the provider may have seen the request.
    pub async fn send(
        &self,
        target: &Target,
        request: &Request<'_>,
        body: ByteList,
        deadline: Deadline,
    ) -> Result<Response, Fault> {
        let start = Instant::now();
        let pool = self.pool(target);
        let head = write_request(target, request, body.len());
        let permit = pool.admit(&target.clocks).await?;
        if let Some(io) = pool.take(&self.0.block) {
            let lease = Lease::new(io, Rc::clone(&pool), permit);
            match self.exchange(lease, head.clone(), body.clone(), deadline, start).await {
                Err(fault) if fault.kind == Kind::Reset && fault.sent != Sent::Some => {}
                outcome => return outcome,
            }
            let permit = pool.admit(&target.clocks).await?;
            return self.fresh(target, pool, permit, (head, body), deadline, start).await;
        }
        self.fresh(target, pool, permit, (head, body), deadline, start).await
    }

    async fn fresh(
        &self,
        target: &Target,
        pool: Rc<Pool>,
        permit: super::pool::Permit,
        (head, body): (Bytes, ByteList),
        deadline: Deadline,
        start: Instant,
    ) -> Result<Response, Fault> {
        let io = dial::dial(target).await?;
        self.exchange(Lease::new(io, pool, permit), head, body, deadline, start).await
    }

    async fn exchange(
        &self,
        mut lease: Lease,
        head: Bytes,
        body: ByteList,
        deadline: Deadline,
        start: Instant,
    ) -> Result<Response, Fault> {
        let connected_after = start.elapsed();
        let exchange = h1::Exchange::new(&mut lease, &self.0.block, head, body);
        let Ok(outcome) = timeout_at(deadline.at, exchange.run()).await else {
            return Err(deadline.fault(Stage::Head));
        };
        let (head, rest) = outcome?;
        let body = h1::Body::new(lease, &head, rest, Rc::clone(&self.0.block));
        Ok(Response { status: head.status, headers: head.headers, body: Body::H1(body), connected_after })
    }

    fn pool(&self, target: &Target) -> Rc<Pool> {
        let mut pools = self.0.pools.borrow_mut();
        if let Some(pool) = pools.iter().find(|pool| pool.is_of(target)) {
            return Rc::clone(pool);
        }
        let pool = Rc::new(Pool::new(&self.0.shared, target, self.0.settings, self.0.gauges.clone()));
        pools.push(Rc::clone(&pool));
        pool
    }

    /// Closes idle connections that are too old or were closed by their provider. Called from time to time.
    pub fn sweep(&self) {
        for pool in self.0.pools.borrow().iter() {
            pool.sweep(&self.0.block);
        }
    }
}
