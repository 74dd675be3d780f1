//! Connections to one base URL: at most so many in use and so many idle over all workers together; each worker keeps
//! its own idle ones, the youngest used first. Who finds none free waits in order of arrival.
//!
//! Invariant: a connection is in the pool, in a lease, or closed; a permit lives exactly as long as its lease.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Waker},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Duration, Instant, timeout},
};

use super::{
    connection::Multiplexed,
    io::{Io, ReadBlock},
    target::{BaseUrl, PoolSettings, Protocol, Target},
    tls::TrustStore,
};
use crate::{
    base::{DeadlineKind, Fault, FaultKind, Gauge, GaugeGuard, Sent, Stage},
    telemetry::WorkerGauges,
};

/// What all workers share about one base URL.
#[derive(Debug)]
struct SharedPool {
    key: PoolKey,
    in_use: Arc<Semaphore>,
    /// Permits that there are, in use or not.
    given: Mutex<usize>,
    idle: Gauge,
    /// `None`: plain.
    trust: Option<TrustStore>,
}

impl SharedPool {
    /// At most so many in use from now on. What is in use beyond ends by itself; asked again from time to time, this takes
    /// its permits out then.
    fn resize(&self, wanted: usize) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted > *given {
            self.in_use.add_permits(wanted - *given);
            *given = wanted;
        } else {
            *given -= self.in_use.forget_permits(*given - wanted);
        }
    }
}

/// Which targets may share connections.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PoolKey {
    base: BaseUrl,
    protocol: Protocol,
    ca_file: Option<std::path::PathBuf>,
}

impl PoolKey {
    fn is_of(&self, target: &Target) -> bool {
        self.base == target.base && self.protocol == target.protocol && self.ca_file == target.ca_file
    }
}

/// The process's pools: hands every worker the same limits for the same base URL, also over a reload.
#[derive(Clone, Debug, Default)]
pub struct SharedPools(Arc<Mutex<Vec<Arc<SharedPool>>>>);

impl SharedPools {
    fn find(&self, target: &Target, settings: &PoolSettings) -> Arc<SharedPool> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = all.iter().find(|shared| shared.key.is_of(target)) {
            return Arc::clone(found);
        }
        // Nobody uses these any more.
        all.retain(|shared| Arc::strong_count(shared) > 1);
        let shared = Arc::new(SharedPool {
            key: PoolKey {
                base: target.base.clone(),
                protocol: target.protocol,
                ca_file: target.ca_file.clone(),
            },
            in_use: Arc::new(Semaphore::new(settings.max_connections)),
            given: Mutex::new(settings.max_connections),
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
    /// The provider sends its next small packet only when we have acknowledged the one before.
    waits: Cell<bool>,
    gauges: WorkerGauges,
}

#[derive(Debug)]
struct IdleConnection {
    io: Io,
    since: Instant,
    _kept: IdlePermit,
}

/// The right of one connection to be idle, over all workers.
#[derive(Debug)]
pub(super) struct IdlePermit {
    _counted: GaugeGuard,
    /// Among those of all workers for this base URL.
    _place: GaugeGuard,
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
        Self {
            shared: shared.find(target, &settings),
            settings: Cell::new(settings),
            idle: RefCell::default(),
            multiplexed: Multiplexed::default(),
            waits: Cell::new(false),
            gauges,
        }
    }

    pub(super) fn is_of(&self, target: &Target) -> bool {
        self.shared.key.is_of(target)
    }

    /// Heeds these settings from now on.
    pub(super) fn follow(&self, settings: PoolSettings) {
        self.settings.set(settings);
        self.shared.resize(settings.max_connections);
    }

    /// Keeps nothing from now on. Whoever holds a connection of it may hold the pool for long.
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

    /// Waits in line for the right to a connection. Dropping the future leaves the line.
    pub(super) async fn admit(&self, pool_timeout: Duration) -> Result<InUsePermit, Fault> {
        let semaphore = Arc::clone(&self.shared.in_use);
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

    pub(super) fn ping(&self) -> Option<Duration> {
        self.settings.get().http2_ping
    }

    /// The youngest idle connection that is still open.
    pub(super) fn take(&self, block: &ReadBlock) -> Option<Io> {
        loop {
            let mut idle = self.idle.borrow_mut().pop()?;
            if idle.since.elapsed() < self.expiry() && is_quiet(&mut idle.io, block) {
                return Some(idle.io);
            }
        }
    }

    /// Connections are kept for later at all.
    pub(super) fn keeps_any(&self) -> bool {
        self.settings.get().max_keepalive > 0 && !self.expiry().is_zero()
    }

    /// An idle connection that is still open is there.
    pub(super) fn keeps_one(&self, block: &ReadBlock) -> bool {
        self.sweep(block);
        !self.idle.borrow().is_empty()
    }

    /// Keeps a connection for later, or closes it when enough are kept.
    pub(super) fn put(&self, io: Io) {
        if let Some(kept) = self.keep() {
            self.idle.borrow_mut().push(IdleConnection { io, since: Instant::now(), _kept: kept });
        }
    }

    /// A place for an idle connection. `None`: enough are kept.
    pub(super) fn keep(&self) -> Option<IdlePermit> {
        let place = self.shared.idle.hold_below(self.settings.get().max_keepalive)?;
        Some(IdlePermit { _counted: self.gauges.upstream_idle.hold(), _place: place })
    }

    /// Closes what has been idle for too long or was closed by the provider.
    pub(super) fn sweep(&self, block: &ReadBlock) {
        let expiry = self.expiry();
        self.multiplexed.sweep(expiry);
        self.idle
            .borrow_mut()
            .retain_mut(|idle| idle.since.elapsed() < expiry && is_quiet(&mut idle.io, block));
    }
}

/// Nothing has come on an idle connection: neither its end nor bytes that nobody asked for.
fn is_quiet(io: &mut Io, block: &ReadBlock) -> bool {
    block.poll_read(io, &mut Context::from_waker(Waker::noop())).is_pending()
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
        if !self.pool.waits.get() {
            self.io.acknowledge_late();
        }
    }

    /// The kernel does so already, or the provider would not have been found out.
    pub(super) fn acknowledge_at_once(&self) {
        self.pool.waits.set(true);
    }

    /// The exchange is over and the connection clean. The permit is released after the connection is back, so that
    /// who waits for it finds the connection.
    pub(super) fn keep(self) {
        let Self { io, pool, permit } = self;
        pool.put(io);
        drop(permit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_shrinks_as_its_connections_are_given_back() {
        let target = Target::plain("p", BaseUrl::parse("http://localhost:1").unwrap());
        let settings = PoolSettings { max_connections: 3, ..PoolSettings::default() };
        let shared = SharedPools::default().find(&target, &settings);
        let taken: Vec<_> = (0..3).map(|_| Arc::clone(&shared.in_use).try_acquire_owned().unwrap()).collect();
        shared.resize(1);
        drop(taken);
        shared.resize(1);
        assert_eq!(shared.in_use.available_permits(), 1);
        let _taken = Arc::clone(&shared.in_use).try_acquire_owned().unwrap();
        shared.resize(4);
        assert_eq!(shared.in_use.available_permits(), 3);
        shared.resize(2);
        assert_eq!(shared.in_use.available_permits(), 1);
    }
}
