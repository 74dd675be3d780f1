//! One request: a permit of the pool, a connection, the request's bytes, the head of the response. Replaces a
//! reused connection once, unseen, when it ends before a byte of the response came. Leaves every other retry
//! to the caller.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::Poll,
};

use http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Duration, Instant, timeout_at},
};

use super::{
    body::Body,
    connection::UpstreamConnection,
    deadline::Deadline,
    h1,
    head::{Request, build_request, write_request},
    pool::{Pool, SharedPools, give_up_idle},
    target::{PoolSettings, Target},
};
use crate::{
    base::{ByteList, Fault, FaultKind, HeaderFields, Sent, Side, Stage, spawn::Tasks},
    http1::ReadBlock,
    telemetry::WorkerGauges,
};

/// A reused connection that ends within this time of its use was stale. After it the provider may have
/// processed the request.
const STALE_LIMIT: Duration = Duration::from_secs(1);

/// A worker's connections to all providers. Cloning shares them.
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

/// A response: its head, and the body to be polled.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderFields,
    pub body: Body,
    /// Time spent waiting for the pool and connecting.
    pub connected_after: Duration,
}

impl Response {
    fn new(status: StatusCode, mut headers: HeaderFields, body: Body, connected_after: Duration) -> Self {
        let is_coded = headers.contains("content-encoding");
        let body = if is_coded { body.decoded(&mut headers) } else { body };
        Self { status, headers, body, connected_after }
    }
}

impl Upstream {
    #[must_use]
    pub fn new(shared: SharedPools, settings: PoolSettings, gauges: WorkerGauges) -> Self {
        let (settings, pools) = (Cell::new(settings), RefCell::default());
        Self(Rc::new(Inner { shared, settings, pools, block: Rc::default(), gauges, tasks: Tasks::new() }))
    }

    /// Sends `request` with `body` to `target` and waits for the head of the response. Dropping the future
    /// closes the connection in use.
    ///
    /// # Errors
    /// The fault holds the stage, and whether the provider may have seen the request.
    pub async fn send(
        &self,
        target: &Target,
        request: &Request<'_>,
        body: ByteList,
        deadline: Deadline,
    ) -> Result<Response, Fault> {
        self.send_noting(target, request, body, deadline, (&Cell::new(Stage::Pool), true)).await
    }

    /// As [`Upstream::send`], and keeps `stage` at the current stage. Without `may_repeat` a request that the
    /// provider may have received is not sent again on another connection.
    ///
    /// # Errors
    /// As [`Upstream::send`].
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` would keep its arguments twice in its future, and copy them"
    )]
    pub fn send_noting(
        &self,
        target: &Target,
        request: &Request<'_>,
        body: ByteList,
        deadline: Deadline,
        (stage, may_repeat): (&Cell<Stage>, bool),
    ) -> impl Future<Output = Result<Response, Fault>> {
        async move {
            let start = Instant::now();
            let pool = self.pool(target);
            let connected = self.connect(&pool, target, deadline, (None, stage)).await?;
            let (connection, reused, connected_at) = connected;
            let connected_after = connected_at - start;
            let multiplexed = connection.multiplexed();
            let again = body.clone();
            let sent = (target, request, body);
            // In its place, because an `await` of the future itself would copy it.
            let outcome = pin!(self.exchange(connection, sent, deadline, connected_after)).await;
            match outcome {
                Err(fault)
                    if may_replace(
                        &fault,
                        may_repeat
                            && (reused && start.elapsed() - connected_after < STALE_LIMIT
                                || multiplexed.is_some_and(|connection| connection.was_silent())),
                    ) =>
                {
                    // One that was open by then may have refused the request, or be leaving as well.
                    let opened_after = Some(connected_at);
                    let connected = self.connect(&pool, target, deadline, (opened_after, stage)).await?;
                    let (connection, _, connected_at) = connected;
                    let connected_after = connected_at - start;
                    self.exchange(connection, (target, request, again), deadline, connected_after).await
                }
                outcome => {
                    // Connections to the same address often die together, and silently.
                    if let Err(Fault { kind: FaultKind::Timeout(..), .. }) = outcome
                        && reused
                    {
                        pool.forget_older(start);
                    }
                    outcome
                }
            }
        }
    }

    /// A connection, whether it was used before, and the time. A request whose deadline has passed is not
    /// sent.
    async fn connect(
        &self,
        pool: &Rc<Pool>,
        target: &Target,
        deadline: Deadline,
        (opened_after, stage): (Option<Instant>, &Cell<Stage>),
    ) -> Result<(UpstreamConnection, bool, Instant), Fault> {
        let Inner { block, tasks, .. } = &*self.0;
        let mut acquired = pin!(pool.acquire(target, block, tasks, (opened_after, stage)));
        // A connection that is there costs no timer.
        let (connection, reused) = match poll_fn(|cx| Poll::Ready(acquired.as_mut().poll(cx))).await {
            Poll::Ready(acquired) => acquired?,
            Poll::Pending => match timeout_at(deadline.at, acquired).await {
                Ok(acquired) => acquired?,
                Err(_) => return Err(deadline.fault(stage.get())),
            },
        };
        let now = Instant::now();
        if now >= deadline.at {
            connection.release();
            return Err(deadline.fault(stage.get()));
        }
        stage.set(Stage::Head);
        Ok((connection, reused, now))
    }

    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` would keep its arguments twice in its future, and copy them"
    )]
    fn exchange(
        &self,
        connection: UpstreamConnection,
        (target, request, body): (&Target, &Request<'_>, ByteList),
        deadline: Deadline,
        connected_after: Duration,
    ) -> impl Future<Output = Result<Response, Fault>> {
        async move {
            let write_timeout = target.write_timeout;
            match connection {
                UpstreamConnection::H1(connection) => {
                    let head = write_request(target, request, body.len());
                    let timeouts = (deadline, write_timeout);
                    // In its place, because an `await` of the future itself would copy it.
                    let exchange = pin!(h1::exchange(connection, &self.0.block, head, body, timeouts));
                    let (status, headers, body) = exchange.await?;
                    Ok(Response::new(status, headers, Body::H1(body), connected_after))
                }
                UpstreamConnection::H2(connection) => {
                    let Ok(head) = build_request(target, request, body.len()) else {
                        connection.release();
                        return Err(unsendable());
                    };
                    let exchange = connection.exchange(head, body, deadline, write_timeout);
                    let outcome = timeout_at(deadline.at, exchange).await;
                    let (status, headers, body) = outcome.map_err(|_| deadline.fault(Stage::Head))??;
                    Ok(Response::new(status, headers, Body::H2(body), connected_after))
                }
            }
        }
    }

    /// Opens a connection to `target` for a later request, unless one is idle. `true`: it did.
    ///
    /// # Errors
    /// The connection could not be opened.
    pub async fn warm(&self, target: &Target) -> Result<bool, Fault> {
        let Inner { block, tasks, .. } = &*self.0;
        self.pool(target).warm(target, block, tasks).await
    }

    /// Keeps `transport`, which is no socket, as an idle HTTP/2 connection to `target`. The fuzz target
    /// `upstream_h2` sends its requests on one.
    ///
    /// # Errors
    /// HTTP/2 could not be begun on it.
    pub async fn adopt<T>(&self, target: &Target, transport: T) -> Result<(), Fault>
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        self.pool(target).adopt(target, transport, &self.0.tasks).await
    }

    fn pool(&self, target: &Target) -> Rc<Pool> {
        let mut pools = self.0.pools.borrow_mut();
        if let Some(pool) = pools.iter().find(|pool| pool.matches(target)) {
            return Rc::clone(pool);
        }
        let pool = Rc::new(Pool::new(&self.0.shared, target, self.0.settings.get(), self.0.gauges.clone()));
        self.0.tasks.spawn(give_up_idle(Rc::downgrade(&pool)));
        pools.push(Rc::clone(&pool));
        pool
    }

    /// Applies these settings, and closes the connections to providers that are not among these targets any
    /// more: idle connections now, those in use when they are given back. Called from time to time, because a
    /// request may still run with an old configuration.
    pub fn follow<'a>(&self, targets: impl Iterator<Item = &'a Target> + Clone, settings: PoolSettings) {
        self.0.settings.set(settings);
        let mut pools = self.0.pools.borrow_mut();
        pools.retain(|pool| {
            let stays = targets.clone().any(|target| pool.matches(target));
            if !stays {
                pool.retire();
            }
            stays
        });
        for pool in pools.iter() {
            pool.configure(settings);
        }
    }

    /// Closes idle connections that are too old or that their provider closed. Called from time to time.
    pub fn sweep(&self) {
        for pool in self.0.pools.borrow().iter() {
            pool.sweep(&self.0.block);
        }
    }
}

/// The connection ended before a byte of the response came: it was stale or silent, or the provider has not
/// processed the request.
fn may_replace(fault: &Fault, was_stale: bool) -> bool {
    fault.kind == FaultKind::Reset
        && match fault.sent {
            Sent::Nothing => true,
            Sent::Unknown => was_stale,
            Sent::Some => false,
        }
}

const fn unsendable() -> Fault {
    let kind = FaultKind::Garbage(std::borrow::Cow::Borrowed("the request cannot be sent over HTTP/2"));
    Fault { side: Side::Gateway, stage: Stage::Send, kind, sent: Sent::Nothing }
}
