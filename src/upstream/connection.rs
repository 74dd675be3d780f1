//! The choice of a request's connection: a shared HTTP/2 connection with room, else an idle one, else a fresh
//! one. Leaves limits and idle HTTP/1.1 connections to `pool`. Invariants: where HTTP/2 may be negotiated,
//! one request dials at a time, and the others wait to share its connection; a request that waits for a
//! permit takes room on a shared connection if that comes first.

use std::{
    cell::{Cell, RefCell},
    pin::pin,
    rc::Rc,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Notify, Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};

use super::{
    dial::dial,
    h2::Connection,
    io::Io,
    places::{ClosingConnection, Place},
    pool::{InUsePermit, Pool, PooledConnection},
    target::Target,
    tls::NegotiatedProtocol,
};
use crate::{
    base::{DeadlineKind, Fault, FaultKind, Sent, Stage, spawn::Tasks},
    http1::ReadBlock,
};

/// A connection that a request may be sent on.
#[derive(Debug)]
pub(super) enum UpstreamConnection {
    H1(PooledConnection),
    H2(Connection),
}

impl UpstreamConnection {
    /// The connection that streams share.
    pub(super) fn multiplexed(&self) -> Option<Connection> {
        match self {
            Self::H1(_) => None,
            Self::H2(connection) => Some(connection.clone()),
        }
    }

    /// Gives back a connection on which nothing was sent.
    pub(super) fn release(self) {
        match self {
            Self::H1(connection) => connection.keep(),
            Self::H2(connection) => connection.release(),
        }
    }
}

/// A worker's HTTP/2 connections to one base URL.
#[derive(Debug)]
pub(super) struct Multiplexed {
    connections: RefCell<Vec<Connection>>,
    /// The protocol of the latest handshake. `None`: no connection yet.
    negotiated: Cell<Option<NegotiatedProtocol>>,
    /// Held while a connection is dialled that other requests could share.
    dialling: Semaphore,
    /// The number of dials that were not answered in time, and the time of the last. Requests that waited for
    /// it do not dial as well, unless they may wait longer.
    unanswered: Cell<(usize, Duration)>,
    /// Notified when there may be room for another stream. A request that finds room notifies the next one.
    room: Notify,
    /// The same for requests that are sent again, to which some room is of no use.
    room_to_repeat: Notify,
}

impl Default for Multiplexed {
    fn default() -> Self {
        Self {
            connections: RefCell::default(),
            negotiated: Cell::new(None),
            dialling: Semaphore::new(1),
            unanswered: Cell::default(),
            room: Notify::new(),
            room_to_repeat: Notify::new(),
        }
    }
}

impl Multiplexed {
    /// A connection that carries streams and has room for another, opened after this time if there is one.
    fn with_room(&self, opened_after: Option<Instant>) -> Option<Connection> {
        let connections = self.connections.borrow();
        let fits = |connection: &&Connection| {
            opened_after.is_none_or(|time| connection.opened() > time) && connection.can_take()
        };
        connections.iter().find(fits).cloned()
    }

    /// A connection may have room for another stream: a request that waits looks.
    pub(super) fn note_room(&self) {
        self.room.notify_one();
        self.room_to_repeat.notify_waiters();
    }

    /// The youngest connection without streams.
    fn idle(&self, expiry: Duration) -> Option<Connection> {
        let connections = self.connections.borrow();
        let fits = |connection: &&Connection| {
            connection.is_trusted() && connection.idle().is_some_and(|since| since < expiry)
        };
        connections.iter().rev().find(fits).cloned()
    }

    /// There are connections without streams.
    pub(super) fn has_idle(&self) -> bool {
        self.connections.borrow().iter().any(Connection::is_idle)
    }

    /// Closes the oldest connection without streams.
    pub(super) fn close_idle(&self, closing: ClosingConnection) {
        let mut connections = self.connections.borrow_mut();
        if let Some(at) = connections.iter().position(Connection::is_idle) {
            connections.remove(at).close(closing);
        }
    }

    /// Whether a request would find a connection.
    fn has_one(&self, expiry: Duration) -> bool {
        self.with_room(None).is_some() || self.idle(expiry).is_some()
    }

    /// Forgets connections that take no more streams.
    pub(super) fn forget_closed(&self) {
        self.connections.borrow_mut().retain(Connection::is_open);
    }

    /// Forgets connections that are closed or idle for too long; dropping the last handle closes a
    /// connection.
    pub(super) fn sweep(&self, expiry: Duration) {
        self.connections.borrow_mut().retain(|connection| {
            connection.note_reads();
            connection.is_open() && connection.idle().is_none_or(|since| since < expiry)
        });
    }

    fn may_share(&self, target: &Target) -> bool {
        self.negotiated
            .get()
            .map_or_else(|| target.may_multiplex(), |protocol| protocol == NegotiatedProtocol::Http2)
    }

    /// Waits until no other request dials a connection that could be shared. `None`: connections cannot be
    /// shared.
    ///
    /// # Errors
    /// The dial was not answered, or none ended within `connect_timeout`.
    async fn dial_turn(&self, target: &Target) -> Result<Option<SemaphorePermit<'_>>, Fault> {
        if !self.may_share(target) {
            return Ok(None);
        }
        let (wait, (unanswered, _)) = (target.connect_timeout, self.unanswered.get());
        let turn = timeout(wait, self.dialling.acquire()).await.ok().and_then(Result::ok);
        let (dials, waited) = self.unanswered.get();
        let turn = turn.filter(|_| dials == unanswered || waited < wait).ok_or_else(|| {
            Fault::provider(Stage::Connect, FaultKind::Timeout(DeadlineKind::Connect, wait), Sent::Nothing)
        })?;
        // The request before may have negotiated HTTP/1.1, which cannot be shared.
        Ok(self.may_share(target).then_some(turn))
    }
}

impl Pool {
    /// A connection for one request, and whether it was used before. `opened_after`: of those that are open
    /// only a later one will do. Dropping the future gives permit and turn back.
    pub(super) async fn acquire(
        self: &Rc<Self>,
        target: &Target,
        block: &ReadBlock,
        tasks: &Tasks,
        (opened_after, stage): (Option<Instant>, &Cell<Stage>),
    ) -> Result<(UpstreamConnection, bool), Fault> {
        stage.set(Stage::Pool);
        let may_reuse = opened_after.is_none();
        if let Some(connection) = self.multiplexed.with_room(opened_after) {
            return Ok((UpstreamConnection::H2(connection), true));
        }
        let permit = {
            let mut admitted = pin!(self.admit(target.pool_timeout));
            loop {
                tokio::select! {
                    biased;
                    permit = admitted.as_mut() => break permit?,
                    () = self.multiplexed.room.notified(), if may_reuse => {
                        if let Some(connection) = self.multiplexed.with_room(None) {
                            self.multiplexed.note_room();
                            return Ok((UpstreamConnection::H2(connection), true));
                        }
                    }
                    () = self.multiplexed.room_to_repeat.notified(), if !may_reuse => {
                        if let Some(connection) = self.multiplexed.with_room(opened_after) {
                            return Ok((UpstreamConnection::H2(connection), true));
                        }
                    }
                }
            }
        };
        if may_reuse {
            if let Some(connection) = self.multiplexed.idle(self.expiry()) {
                connection.occupy(permit);
                self.multiplexed.note_room();
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
        self.fresh(target, permit, (None, opened_after), tasks).await
    }

    /// Opens a connection and keeps it idle, unless one is idle already or none may be kept (S1.9). `true`:
    /// it did.
    pub(super) async fn warm(
        self: &Rc<Self>,
        target: &Target,
        block: &ReadBlock,
        tasks: &Tasks,
    ) -> Result<bool, Fault> {
        if !self.keeps_any() || self.has_idle(block) || self.multiplexed.has_one(self.expiry()) {
            return Ok(false);
        }
        let permit = self.admit(target.pool_timeout).await?;
        let Some(place) = self.free_place() else { return Ok(false) };
        self.fresh(target, permit, (Some(place), None), tasks).await?.0.release();
        Ok(true)
    }

    /// Keeps `transport` as an idle HTTP/2 connection.
    pub(super) async fn adopt<T: AsyncRead + AsyncWrite + Unpin + 'static>(
        self: &Rc<Self>,
        target: &Target,
        transport: T,
        tasks: &Tasks,
    ) -> Result<(), Fault> {
        let permit = self.admit(target.pool_timeout).await?;
        let connection = Connection::open(transport, permit, self, tasks).await?;
        self.multiplexed.connections.borrow_mut().push(connection.clone());
        connection.release();
        Ok(())
    }

    async fn fresh(
        self: &Rc<Self>,
        target: &Target,
        permit: InUsePermit,
        (place, opened_after): (Option<Place>, Option<Instant>),
        tasks: &Tasks,
    ) -> Result<(UpstreamConnection, bool), Fault> {
        let _turn = self.multiplexed.dial_turn(target).await?;
        if let Some(connection) = self.multiplexed.with_room(opened_after) {
            return Ok((UpstreamConnection::H2(connection), true));
        }
        let place = match place {
            Some(place) => place,
            None => self.place(target.pool_timeout).await?,
        };
        let dialled = dial(target, self.trust(), &self.answered).await;
        if let Err(Fault { kind: FaultKind::Timeout(..), .. }) = dialled {
            self.multiplexed.unanswered.update(|(count, _)| (count + 1, target.connect_timeout));
        }
        let (stream, negotiated) = dialled?;
        let io = Io::new(stream, place);
        self.multiplexed.negotiated.set(Some(negotiated));
        match negotiated {
            NegotiatedProtocol::Http1 => {
                Ok((UpstreamConnection::H1(PooledConnection::new(io, Rc::clone(self), permit)), false))
            }
            NegotiatedProtocol::Http2 => {
                let connection = Connection::open(io, permit, self, tasks).await?;
                self.multiplexed.connections.borrow_mut().push(connection.clone());
                self.multiplexed.note_room();
                Ok((UpstreamConnection::H2(connection), false))
            }
        }
    }
}
