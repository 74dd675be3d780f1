//! The state of one connection. Its socket and its requests note events here (a few `Cell`s: no timer, and
//! per frame no reading of the clock); the sweep of `table` reads the notes and decides.
//!
//! Invariant: a fate only advances, from live to finish to end to cut.

use std::{
    cell::{Cell, OnceCell},
    rc::Rc,
    sync::Arc,
    task::Waker,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::server::{cut::CutCause, h2::H2ConnState, peer::Peer, settings::ServerLimits};

/// How a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::server) enum ConnFate {
    Live,
    /// Answers the requests in flight, then closes.
    Finish,
    /// Streams in flight break off by themselves, which shows their clients the cause.
    End,
    /// Ends now.
    Cut,
}

/// Shared by all connections of a worker.
#[derive(Debug)]
pub(in crate::server) struct SweepContext {
    pub(in crate::server) limits: Arc<ArcSwap<ServerLimits>>,
    /// The time of the last sweep.
    pub(in crate::server) swept_at: Cell<Instant>,
}

#[derive(Debug)]
pub(in crate::server) struct ConnRecord {
    pub(in crate::server) peer: Peer,
    /// Index in the table.
    pub(super) index: Cell<usize>,
    fate: Cell<ConnFate>,
    /// Why responses end with the connection. `None` unless it is cut.
    cut_cause: Cell<Option<CutCause>>,
    waker: OnceCell<Waker>,
    /// Requests between their head and the end of their response.
    in_flight: Cell<u32>,
    /// When `in_flight` became 0.
    idle_since: Cell<Instant>,
    /// Since when the socket takes no more bytes. `None`: it takes them.
    stalled_since: Cell<Option<Instant>>,
    /// The part of the state that concerns HTTP/2 alone. Unset: the connection is not HTTP/2, or not known to
    /// be yet.
    h2: OnceCell<H2ConnState>,
    context: Rc<SweepContext>,
}

impl ConnRecord {
    pub(super) fn new(peer: Peer, index: usize, context: Rc<SweepContext>) -> Self {
        Self {
            peer,
            index: Cell::new(index),
            fate: Cell::new(ConnFate::Live),
            cut_cause: Cell::new(None),
            waker: OnceCell::new(),
            in_flight: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            stalled_since: Cell::new(None),
            h2: OnceCell::new(),
            context,
        }
    }

    pub(in crate::server) fn limits(&self) -> ServerLimits {
        **self.context.limits.load()
    }

    /// The time of the last sweep.
    pub(in crate::server) fn swept_at(&self) -> Instant {
        self.context.swept_at.get()
    }

    pub(in crate::server) fn fate(&self) -> ConnFate {
        self.fate.get()
    }

    pub(in crate::server) fn cut_cause(&self) -> Option<CutCause> {
        self.cut_cause.get()
    }

    /// Keeps the waker of the connection's task, which is the same for all of its life.
    pub(in crate::server) fn register_waker(&self, waker: &Waker) {
        self.waker.get_or_init(|| waker.clone());
    }

    /// The connection is HTTP/2. Only the first call counts.
    pub(in crate::server) fn set_h2(&self, state: H2ConnState) {
        // A connection opens once.
        let _ = self.h2.set(state);
    }

    pub(in crate::server) fn h2(&self) -> Option<&H2ConnState> {
        self.h2.get()
    }

    /// Advances to `fate` and wakes the connection, unless its fate is the same or later.
    pub(super) fn advance(&self, fate: ConnFate) {
        if fate > self.fate.get() {
            self.fate.set(fate);
            if let Some(waker) = self.waker.get() {
                waker.wake_by_ref();
            }
        }
    }

    pub(super) fn cut(&self, cause: CutCause) {
        if self.cut_cause.get().is_none() {
            self.cut_cause.set(Some(cause));
        }
        self.advance(ConnFate::Cut);
    }

    /// The drain's time is over.
    pub(super) fn end(&self) {
        if self.cut_cause.get().is_none() {
            self.cut_cause.set(Some(CutCause::Drain));
        }
        self.advance(ConnFate::End);
        if let Some(h2) = self.h2() {
            h2.wake_streams();
        }
    }

    /// Why a body is to end by itself. `None`: it is not.
    pub(in crate::server) fn end_cause(&self) -> Option<CutCause> {
        if self.fate.get() < ConnFate::End { None } else { self.cut_cause.get() }
    }

    pub(in crate::server) fn begin_request(self: &Rc<Self>) -> InFlight {
        self.in_flight.set(self.in_flight.get() + 1);
        InFlight(Rc::clone(self))
    }

    /// A write was taken, in part or whole, or has to wait.
    pub(in crate::server) fn note_write(&self, waits: bool) {
        if !waits {
            self.stalled_since.set(None);
        } else if self.stalled_since.get().is_none() {
            self.stalled_since.set(Some(Instant::now()));
        }
    }

    /// Applies the deadlines; `step` is the time since the sweep before.
    pub(super) fn check_deadlines(&self, now: Instant, step: Duration) {
        let limits = self.limits();
        let passed = |since: Instant, allowed: Duration| now.saturating_duration_since(since) > allowed;
        if self.stalled_since.get().is_some_and(|since| passed(since, limits.write_timeout)) {
            tracing::debug!(peer = %self.peer.address, "client does not read, connection cut");
            self.cut(CutCause::Unread(limits.write_timeout));
        }
        if let Some(h2) = self.h2() {
            // A stream notes the time of the sweep before, so `step` is added.
            let cause = CutCause::Unread(limits.write_timeout);
            h2.cut_streams(cause, |since| {
                let is_due = passed(since, limits.write_timeout + step);
                if is_due {
                    tracing::debug!(peer = %self.peer.address, "client does not read a stream, stream reset");
                }
                is_due
            });
        }
        // While the end of a response waits for a slow client, `write_timeout` alone applies.
        let is_idle = self.in_flight.get() == 0 && self.stalled_since.get().is_none();
        if !is_idle || !passed(self.idle_since.get(), limits.head_timeout) {
            return;
        }
        // HTTP/2 announces its end by GOAWAY and is cut when the client stays nevertheless.
        let announced = passed(self.idle_since.get(), limits.head_timeout * 2);
        self.advance(if self.h2().is_some() && !announced { ConnFate::Finish } else { ConnFate::Cut });
    }
}

/// One request in flight, from its head to the end of its response.
#[derive(Debug)]
pub(in crate::server) struct InFlight(pub(in crate::server) Rc<ConnRecord>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        self.0.idle_since.set(Instant::now());
    }
}
