//! Which connection a request goes on: a shared HTTP/2 one that has room, else an idle one, else a fresh one. Where
//! HTTP/2 may be agreed on, one dials at a time and the rest wait to share what it gets.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::{
    dial::dial,
    h2::Connection,
    io::ReadBlock,
    pool::{InUsePermit, Pool, PooledConnection},
    target::Target,
    tls::NegotiatedProtocol,
};
use crate::base::{DeadlineKind, Fault, FaultKind, Sent, Stage, spawn::Tasks};

/// A connection that a request may be sent on.
#[derive(Debug)]
pub(super) enum UpstreamConnection {
    H1(PooledConnection),
    H2(Connection),
}

/// A worker's HTTP/2 connections to one base URL.
#[derive(Debug)]
pub(super) struct Multiplexed {
    connections: RefCell<Vec<Connection>>,
    /// What the provider agreed to last.
    agreed: Cell<Option<NegotiatedProtocol>>,
    /// Held while dialling what others could share.
    dialling: Semaphore,
}

impl Default for Multiplexed {
    fn default() -> Self {
        Self { connections: RefCell::default(), agreed: Cell::new(None), dialling: Semaphore::new(1) }
    }
}

impl Multiplexed {
    /// One that has room beside the streams it carries.
    fn busy(&self) -> Option<Connection> {
        self.connections.borrow().iter().find(|connection| connection.can_take()).cloned()
    }

    /// The youngest that carries none.
    fn idle(&self, expiry: Duration) -> Option<Connection> {
        let connections = self.connections.borrow();
        let fit = |connection: &&Connection| {
            connection.is_open() && connection.idle().is_some_and(|since| since < expiry)
        };
        connections.iter().rev().find(fit).cloned()
    }

    /// A request would find one.
    fn has_one(&self, expiry: Duration) -> bool {
        self.busy().is_some() || self.idle(expiry).is_some()
    }

    /// Forgets what nobody may use any more.
    pub(super) fn forget_closed(&self) {
        self.connections.borrow_mut().retain(Connection::is_open);
    }

    /// Forgets what is closed or idle for too long; dropping the last handle closes a connection.
    pub(super) fn sweep(&self, expiry: Duration) {
        self.connections.borrow_mut().retain(|connection| {
            connection.is_open() && connection.idle().is_none_or(|since| since < expiry)
        });
    }

    fn may_share(&self, target: &Target) -> bool {
        self.agreed.get().map_or_else(|| target.may_multiplex(), |agreed| agreed == NegotiatedProtocol::Http2)
    }

    /// Waits until nobody else dials what could be shared. `None` if nothing can be.
    async fn turn(&self, target: &Target) -> Result<Option<SemaphorePermit<'_>>, Fault> {
        if !self.may_share(target) {
            return Ok(None);
        }
        let wait = target.pool_timeout;
        let turn =
            timeout(wait, self.dialling.acquire()).await.ok().and_then(Result::ok).ok_or_else(|| {
                Fault::provider(Stage::Pool, FaultKind::Timeout(DeadlineKind::Pool, wait), Sent::Nothing)
            })?;
        // Who was before us may have learnt that nothing can be shared.
        Ok(self.may_share(target).then_some(turn))
    }
}

impl Pool {
    /// A connection for one request, and whether it was used before. Dropping the future gives everything back.
    pub(super) async fn line(
        self: &Rc<Self>,
        target: &Target,
        block: &ReadBlock,
        tasks: &Tasks,
        (may_reuse, stage): (bool, &Cell<Stage>),
    ) -> Result<(UpstreamConnection, bool), Fault> {
        stage.set(Stage::Pool);
        if may_reuse && let Some(connection) = self.multiplexed.busy() {
            return Ok((UpstreamConnection::H2(connection), true));
        }
        let permit = self.admit(target.pool_timeout).await?;
        if may_reuse {
            if let Some(connection) = self.multiplexed.idle(self.expiry()) {
                connection.occupy(permit);
                return Ok((UpstreamConnection::H2(connection), true));
            }
            if let Some(io) = self.take(block) {
                return Ok((
                    UpstreamConnection::H1(PooledConnection::new(io, Rc::clone(self), permit)),
                    true,
                ));
            }
        }
        stage.set(Stage::Connect);
        self.fresh(target, permit, tasks).await
    }

    /// Opens a connection and leaves it for later, unless one is there or no place is free (S1.9).
    pub(super) async fn warm(
        self: &Rc<Self>,
        target: &Target,
        block: &ReadBlock,
        tasks: &Tasks,
    ) -> Result<bool, Fault> {
        if !self.keeps_any() || self.keeps_one(block) || self.multiplexed.has_one(self.expiry()) {
            return Ok(false);
        }
        let permit = self.admit(target.pool_timeout).await?;
        match self.fresh(target, permit, tasks).await?.0 {
            UpstreamConnection::H1(lease) => lease.keep(),
            UpstreamConnection::H2(connection) => connection.rest(),
        }
        Ok(true)
    }

    async fn fresh(
        self: &Rc<Self>,
        target: &Target,
        permit: InUsePermit,
        tasks: &Tasks,
    ) -> Result<(UpstreamConnection, bool), Fault> {
        let _turn = self.multiplexed.turn(target).await?;
        if let Some(connection) = self.multiplexed.busy() {
            return Ok((UpstreamConnection::H2(connection), true));
        }
        let (io, agreed) = dial(target, self.trust()).await?;
        self.multiplexed.agreed.set(Some(agreed));
        match agreed {
            NegotiatedProtocol::Http1 => {
                Ok((UpstreamConnection::H1(PooledConnection::new(io, Rc::clone(self), permit)), false))
            }
            NegotiatedProtocol::Http2 => {
                let connection = Connection::open(io, permit, self, tasks).await?;
                self.multiplexed.connections.borrow_mut().push(connection.clone());
                Ok((UpstreamConnection::H2(connection), false))
            }
        }
    }
}
