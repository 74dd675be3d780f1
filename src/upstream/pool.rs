//! Connections to one base URL: limits of those in use and of those idle, over all workers together; `places`
//! bounds them all. Each worker keeps its own idle connections and reuses the youngest first. A request that
//! finds no free connection waits for one in order of arrival.
//!
//! Invariant: a connection is idle in the pool, in use as a [`PooledConnection`], or closed; a permit lives
//! exactly as long as its connection is in use.

use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::{Rc, Weak},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time::{Duration, Instant, timeout},
};

use super::{
    connection::Multiplexed,
    io::Io,
    places::{ClosingConnection, PermitPool, Place, Places},
    target::{PoolSettings, Target},
    tls::TrustStore,
};
use crate::{
    base::{DeadlineKind, Fault, FaultKind, Gauge, GaugeGuard, Sent, Stage},
    http1::ReadBlock,
    telemetry::WorkerGauges,
};

/// The limits of one base URL, shared by all workers.
#[derive(Debug)]
struct SharedPool {
    /// The first of the targets that share its connections.
    target: Target,
    in_use: PermitPool,
    /// Of connections in use and of idle ones.
    places: Places,
    idle: Gauge,
    /// `None`: plain.
    trust: Option<TrustStore>,
}

/// The limits of all base URLs: every worker finds the same limits for the same base URL, also after a
/// reload.
#[derive(Clone, Debug, Default)]
pub struct SharedPools(Arc<Mutex<Vec<Arc<SharedPool>>>>);

impl SharedPools {
    fn find(&self, target: &Target, settings: &PoolSettings) -> Arc<SharedPool> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = all.iter().find(|shared| shared.target.shares_connections(target)) {
            return Arc::clone(found);
        }
        // No worker holds a pool of these any more.
        all.retain(|shared| Arc::strong_count(shared) > 1);
        let shared = Arc::new(SharedPool {
            target: target.clone(),
            in_use: PermitPool::new(settings.max_connections),
            places: Places::new(settings.max_connections),
            idle: Gauge::default(),
            trust: target.base.tls.then(|| TrustStore::of(target)),
        });
        all.push(Arc::clone(&shared));
        shared
    }
}

/// One worker's connections to one base URL.
#[derive(Debug)]
pub(super) struct Pool {
    shared: Arc<SharedPool>,
    settings: Cell<PoolSettings>,
    /// Oldest first.
    idle: RefCell<Vec<IdleConnection>>,
    pub(super) multiplexed: Multiplexed,
    /// The provider sends its next small packet only after an acknowledgement of the one before.
    awaits_acknowledgements: Cell<bool>,
    /// The address that answered last.
    pub(super) answered: Cell<Option<IpAddr>>,
    /// Another worker wants a place.
    asked: Arc<Notify>,
    gauges: WorkerGauges,
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Ends the task that waits for it.
        self.asked.notify_one();
    }
}

#[derive(Debug)]
struct IdleConnection {
    /// Dropped before the connection gives its place to another: no more are counted than there may be.
    _permit: IdlePermit,
    io: Io,
    since: Instant,
}

/// The right of one connection to be idle, over all workers.
#[derive(Debug)]
pub(super) struct IdlePermit {
    _counted: GaugeGuard,
    /// Among those of all workers for this base URL.
    _slot: GaugeGuard,
}

/// The right to one connection in use.
#[derive(Debug)]
pub(super) struct InUsePermit {
    _permit: OwnedSemaphorePermit,
    _counted: GaugeGuard,
}

impl Pool {
    pub(super) fn new(
        shared: &SharedPools,
        target: &Target,
        settings: PoolSettings,
        gauges: WorkerGauges,
    ) -> Self {
        let shared = shared.find(target, &settings);
        let asked = Arc::new(Notify::new());
        shared.places.register(&asked);
        Self {
            shared,
            asked,
            answered: Cell::new(None),
            settings: Cell::new(settings),
            idle: RefCell::default(),
            multiplexed: Multiplexed::default(),
            awaits_acknowledgements: Cell::new(false),
            gauges,
        }
    }

    pub(super) fn matches(&self, target: &Target) -> bool {
        self.shared.target.shares_connections(target)
    }

    /// Applies these settings from now on.
    pub(super) fn configure(&self, settings: PoolSettings) {
        self.settings.set(settings);
        self.shared.in_use.resize(settings.max_connections);
        self.shared.places.resize(settings.max_connections);
    }

    /// Keeps no idle connection from now on. A connection in use may keep the pool alive for long.
    pub(super) fn retire(&self) {
        self.settings.set(PoolSettings { max_keepalive: 0, ..self.settings.get() });
        self.multiplexed.sweep(Duration::ZERO);
        self.idle.borrow_mut().clear();
    }

    pub(super) fn trust(&self) -> Option<&TrustStore> {
        self.shared.trust.as_ref()
    }

    pub(super) fn expiry(&self) -> Duration {
        self.settings.get().keepalive_expiry
    }

    /// Waits for a permit, in order of arrival. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// None was free within `pool_timeout`.
    pub(super) async fn admit(&self, pool_timeout: Duration) -> Result<InUsePermit, Fault> {
        let semaphore = Arc::clone(&self.shared.in_use.free);
        let permit = if let Ok(permit) = Arc::clone(&semaphore).try_acquire_owned() {
            Some(permit)
        } else {
            timeout(pool_timeout, semaphore.acquire_owned()).await.ok().and_then(Result::ok)
        };
        let permit = permit.ok_or_else(|| {
            Fault::provider(Stage::Pool, FaultKind::Timeout(DeadlineKind::Pool, pool_timeout), Sent::Nothing)
        })?;
        Ok(InUsePermit { _permit: permit, _counted: self.gauges.upstream_active.hold() })
    }

    /// Waits for a place for a fresh connection. Idle connections, of this worker or another, make room.
    ///
    /// # Errors
    /// There was none within `pool_timeout`.
    pub(super) async fn place(&self, pool_timeout: Duration) -> Result<Place, Fault> {
        self.shared.places.take(pool_timeout).await.ok_or_else(|| {
            Fault::provider(Stage::Pool, FaultKind::Timeout(DeadlineKind::Pool, pool_timeout), Sent::Nothing)
        })
    }

    /// A place that is free.
    pub(super) fn free_place(&self) -> Option<Place> {
        self.shared.places.try_take()
    }

    /// Closes idle connections as far as requests wait for their places.
    fn give_up_idle(&self) {
        while self.has_any_idle()
            && let Some(closing) = self.claim()
        {
            if self.idle.borrow().is_empty() {
                self.multiplexed.close_idle(closing);
            } else {
                drop(self.idle.borrow_mut().remove(0));
                drop(closing);
            }
        }
    }

    /// The order to close an idle connection instead of keeping it.
    pub(super) fn claim(&self) -> Option<ClosingConnection> {
        self.shared.places.claim()
    }

    fn has_any_idle(&self) -> bool {
        !self.idle.borrow().is_empty() || self.multiplexed.has_idle()
    }

    pub(super) fn ping(&self) -> Option<Duration> {
        self.settings.get().http2_ping
    }

    /// The youngest idle connection that is still open. `None`: there is none.
    pub(super) fn take(&self, block: &ReadBlock) -> Option<Io> {
        loop {
            let mut idle = self.idle.borrow_mut().pop()?;
            if idle.since.elapsed() < self.expiry() && idle.io.is_quiet(block) {
                return Some(idle.io);
            }
        }
    }

    /// Closes the connections that were idle at `time`.
    pub(super) fn forget_older(&self, time: Instant) {
        self.idle.borrow_mut().retain(|idle| idle.since > time);
    }

    /// The settings keep idle connections.
    pub(super) fn keeps_any(&self) -> bool {
        self.settings.get().max_keepalive > 0 && !self.expiry().is_zero()
    }

    /// There is an idle connection that is still open.
    pub(super) fn has_idle(&self, block: &ReadBlock) -> bool {
        self.sweep(block);
        !self.idle.borrow().is_empty()
    }

    /// Keeps a connection idle, or closes it when enough are idle.
    pub(super) fn put(&self, io: Io) {
        if let Some(closing) = self.claim() {
            drop(io);
            drop(closing);
            return;
        }
        if let Some(permit) = self.idle_permit() {
            self.idle.borrow_mut().push(IdleConnection { _permit: permit, io, since: Instant::now() });
        }
    }

    /// A permit for an idle connection. `None`: enough are idle.
    pub(super) fn idle_permit(&self) -> Option<IdlePermit> {
        let slot = self.shared.idle.hold_below(self.settings.get().max_keepalive)?;
        Some(IdlePermit { _counted: self.gauges.upstream_idle.hold(), _slot: slot })
    }

    /// Closes connections that have been idle for too long or that the provider closed; the others let go of
    /// the tasks that used them.
    pub(super) fn sweep(&self, block: &ReadBlock) {
        let expiry = self.expiry();
        self.multiplexed.sweep(expiry);
        self.idle.borrow_mut().retain_mut(|idle| {
            idle.io.timer.clear();
            idle.since.elapsed() < expiry && idle.io.is_quiet(block)
        });
    }
}

/// Closes the pool's idle connections when places are wanted. Ends with the pool.
pub(super) async fn give_up_idle(pool: Weak<Pool>) {
    while let Some(asked) = pool.upgrade().map(|pool| Arc::clone(&pool.asked)) {
        asked.notified().await;
        if let Some(pool) = pool.upgrade() {
            pool.give_up_idle();
        }
    }
}

/// A connection in use. Dropping it closes the connection; [`PooledConnection::keep`] gives it back.
#[derive(Debug)]
pub(super) struct PooledConnection {
    pub(super) io: Io,
    pool: Rc<Pool>,
    permit: InUsePermit,
}

impl PooledConnection {
    pub(super) const fn new(io: Io, pool: Rc<Pool>, permit: InUsePermit) -> Self {
        Self { io, pool, permit }
    }

    pub(super) fn acknowledge_late(&self) {
        if !self.pool.awaits_acknowledgements.get() {
            self.io.acknowledge_late();
        }
    }

    /// Notes it for later connections. The kernel acknowledges at once again by now, because a delayed
    /// acknowledgement is how the provider was found to wait.
    pub(super) fn acknowledge_at_once(&self) {
        self.pool.awaits_acknowledgements.set(true);
    }

    /// Gives the connection back after a complete exchange. The permit is released after the connection is
    /// idle, so that the request that waits for the permit finds the connection.
    pub(super) fn keep(self) {
        let Self { io, pool, permit } = self;
        pool.put(io);
        drop(permit);
    }
}
