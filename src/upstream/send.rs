//! One attempt: a place in the pool, a connection, the request, the head of the answer. A reused connection that dies
//! before a byte of the answer came is replaced once, unseen.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use http::{HeaderMap, StatusCode};
use tokio::time::{Duration, Instant, timeout_at};

use super::{
    Body,
    connection::UpstreamConnection,
    h1,
    head::{Request, build_request, write_request},
    io::ReadBlock,
    pool::{Pool, SharedPools},
    target::{PoolSettings, Target},
};
use crate::{
    base::{ByteList, DeadlineKind, Fault, FaultKind, Sent, Side, Stage, spawn::Tasks},
    telemetry::WorkerGauges,
};

/// A reused connection that ends within this of its taking was stale. After that the provider may have worked.
const STALE: Duration = Duration::from_secs(1);

/// A worker's door to all providers. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Upstream(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: SharedPools,
    settings: Cell<PoolSettings>,
    pools: RefCell<Vec<Rc<Pool>>>,
    block: Rc<ReadBlock>,
    gauges: WorkerGauges,
    /// The drivers of HTTP/2 connections; each ends with its connection.
    tasks: Tasks,
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
    pub kind: DeadlineKind,
    pub after: Duration,
}

impl Deadline {
    #[must_use]
    pub fn new(kind: DeadlineKind, after: Duration) -> Self {
        Self { at: Instant::now() + after, kind, after }
    }

    /// It has passed, at `stage`.
    #[must_use]
    pub const fn fault(&self, stage: Stage) -> Fault {
        let sent = if matches!(stage, Stage::Body) { Sent::Some } else { Sent::Unknown };
        Fault::provider(stage, FaultKind::Timeout(self.kind, self.after), sent)
    }
}

impl Upstream {
    #[must_use]
    pub fn new(shared: SharedPools, settings: PoolSettings, gauges: WorkerGauges) -> Self {
        let (settings, pools) = (Cell::new(settings), RefCell::default());
        Self(Rc::new(Inner { shared, settings, pools, block: Rc::default(), gauges, tasks: Tasks::new() }))
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
        self.send_noting(target, request, body, deadline, &Cell::new(Stage::Pool)).await
    }

    /// [`Upstream::send`] that notes in `stage` how far it has come.
    ///
    /// # Errors
    /// As there.
    pub async fn send_noting(
        &self,
        target: &Target,
        request: &Request<'_>,
        body: ByteList,
        deadline: Deadline,
        stage: &Cell<Stage>,
    ) -> Result<Response, Fault> {
        let start = Instant::now();
        let pool = self.pool(target);
        let Inner { block, tasks, .. } = &*self.0;
        let (line, reused) = pool.line(target, block, tasks, (true, stage)).await?;
        stage.set(Stage::Head);
        let connected_after = start.elapsed();
        match self.exchange(line, (target, request, body.clone()), deadline, connected_after).await {
            Err(fault) if may_replace(&fault, reused && start.elapsed() - connected_after < STALE) => {
                let (line, _) = pool.line(target, block, tasks, (false, stage)).await?;
                stage.set(Stage::Head);
                let connected_after = start.elapsed();
                self.exchange(line, (target, request, body), deadline, connected_after).await
            }
            outcome => outcome,
        }
    }

    async fn exchange(
        &self,
        line: UpstreamConnection,
        (target, request, body): (&Target, &Request<'_>, ByteList),
        deadline: Deadline,
        connected_after: Duration,
    ) -> Result<Response, Fault> {
        let outcome = match line {
            UpstreamConnection::H1(lease) => {
                let head = write_request(target, request, body.len());
                timeout_at(deadline.at, h1::exchange(lease, &self.0.block, head, body)).await
            }
            UpstreamConnection::H2(connection) => {
                let Ok(head) = build_request(target, request, body.len()) else {
                    connection.rest();
                    return Err(unsendable());
                };
                timeout_at(deadline.at, connection.exchange(head, body)).await
            }
        };
        let (status, headers, body) = outcome.unwrap_or_else(|_| Err(deadline.fault(Stage::Head)))?;
        Ok(Response { status, headers, body, connected_after })
    }

    /// Opens a connection to `target` for a request to come, unless one is there. `true`: it did.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn warm(&self, target: &Target) -> Result<bool, Fault> {
        let Inner { block, tasks, .. } = &*self.0;
        self.pool(target).warm(target, block, tasks).await
    }

    fn pool(&self, target: &Target) -> Rc<Pool> {
        let mut pools = self.0.pools.borrow_mut();
        if let Some(pool) = pools.iter().find(|pool| pool.is_of(target)) {
            return Rc::clone(pool);
        }
        let pool = Rc::new(Pool::new(&self.0.shared, target, self.0.settings.get(), self.0.gauges.clone()));
        pools.push(Rc::clone(&pool));
        pool
    }

    /// Heeds these settings, and closes the connections to whoever is not among these targets any more: idle ones now,
    /// those in use when they are given back. Called from time to time, for a request may still live by an old
    /// configuration.
    pub fn follow<'a>(&self, targets: impl Iterator<Item = &'a Target> + Clone, settings: PoolSettings) {
        self.0.settings.set(settings);
        let mut pools = self.0.pools.borrow_mut();
        pools.retain(|pool| {
            let stays = targets.clone().any(|target| pool.is_of(target));
            if !stays {
                pool.retire();
            }
            stays
        });
        for pool in pools.iter() {
            pool.follow(settings);
        }
    }

    /// Closes idle connections that are too old or were closed by their provider. Called from time to time.
    pub fn sweep(&self) {
        for pool in self.0.pools.borrow().iter() {
            pool.sweep(&self.0.block);
        }
    }
}

/// The connection ended before a byte of the answer came: it was stale, or the provider says that it did nothing.
fn may_replace(fault: &Fault, reused: bool) -> bool {
    fault.kind == FaultKind::Reset
        && match fault.sent {
            Sent::Nothing => true,
            Sent::Unknown => reused,
            Sent::Some => false,
        }
}

const fn unsendable() -> Fault {
    let kind = FaultKind::Garbage(std::borrow::Cow::Borrowed("the request cannot be sent over HTTP/2"));
    Fault { side: Side::Gateway, stage: Stage::Send, kind, sent: Sent::Nothing }
}
