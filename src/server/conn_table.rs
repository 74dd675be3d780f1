//! The connections of one worker. A [`ConnState`] is what a connection's socket, its driver and its requests note down as
//! they go (a few `Cell`s: no timer, and per frame no look at the clock); a sweep every second or so reads them all, decides who has waited
//! too long and wakes only those. Deadlines are therefore late by up to one period, never early.

use std::{
    cell::{Cell, OnceCell, RefCell},
    net::SocketAddr,
    rc::{Rc, Weak},
    sync::Arc,
    task::Waker,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::{activity::StreamActivity, cut::CutCause, framing::FramingGuard, settings::ServerLimits};

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ConnFate {
    Live,
    /// Answers what it has begun, then closes.
    Finish,
    /// Ends now.
    Cut,
}

#[derive(Debug)]
pub(super) struct ConnTable {
    vitals: RefCell<Vec<Rc<ConnState>>>,
    /// The time of the last sweep.
    now: Cell<Instant>,
    emptied: Notify,
    limits: Arc<ArcSwap<ServerLimits>>,
}

#[derive(Debug)]
pub(super) struct ConnState {
    pub(super) address: SocketAddr,
    /// Index in the register.
    place: Cell<usize>,
    fate: Cell<ConnFate>,
    /// Why responses end with the connection, when it is cut.
    cause: Cell<Option<CutCause>>,
    waker: OnceCell<Waker>,
    multiplexed: Cell<bool>,
    /// The HTTP/2 streams, and the one whose task is about to be spawned.
    pulses: RefCell<Vec<Weak<StreamActivity>>>,
    opening: RefCell<Option<Rc<StreamActivity>>>,
    /// Requests between head and end of response.
    busy: Cell<u32>,
    /// When `busy` became 0.
    idle_since: Cell<Instant>,
    /// Since when the socket takes no more bytes.
    stalled_since: Cell<Option<Instant>>,
    /// A request has begun and not all that answers it has been written.
    answering: Cell<bool>,
    pub(super) framing: RefCell<FramingGuard>,
    register: Rc<ConnTable>,
}

/// A connection's place in the register, given back on drop.
#[derive(Debug)]
pub(super) struct ConnEntry(pub(super) Rc<ConnState>);

impl ConnTable {
    pub(super) fn new(limits: Arc<ArcSwap<ServerLimits>>) -> Rc<Self> {
        Rc::new(Self {
            vitals: RefCell::default(),
            now: Cell::new(Instant::now()),
            emptied: Notify::new(),
            limits,
        })
    }

    pub(super) fn enter(self: &Rc<Self>, address: SocketAddr) -> ConnEntry {
        let mut vitals = self.vitals.borrow_mut();
        let vital = Rc::new(ConnState {
            address,
            place: Cell::new(vitals.len()),
            fate: Cell::new(ConnFate::Live),
            cause: Cell::new(None),
            waker: OnceCell::new(),
            multiplexed: Cell::new(false),
            pulses: RefCell::default(),
            opening: RefCell::default(),
            busy: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            stalled_since: Cell::new(None),
            answering: Cell::new(false),
            framing: RefCell::default(),
            register: Rc::clone(self),
        });
        vitals.push(Rc::clone(&vital));
        ConnEntry(vital)
    }

    /// Short enough that no deadline is late by more than an eighth.
    fn period(&self) -> Duration {
        let limits = self.limits.load();
        let shortest = limits.head_timeout.min(limits.write_timeout);
        (shortest / 8).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }

    /// Runs until dropped.
    pub(super) async fn sweep(&self) {
        loop {
            let now = Instant::now();
            let step = now - self.now.replace(now);
            for vital in &*self.vitals.borrow() {
                vital.judge(now, step);
            }
            sleep(self.period()).await;
        }
    }

    /// Every connection is to close after what it has begun.
    pub(super) fn finish_all(&self) {
        for vital in &*self.vitals.borrow() {
            vital.condemn(ConnFate::Finish);
        }
    }

    pub(super) fn cut_all(&self) {
        for vital in &*self.vitals.borrow() {
            vital.cut(CutCause::Drain);
        }
    }

    pub(super) async fn emptied(&self) {
        while !self.vitals.borrow().is_empty() {
            self.emptied.notified().await;
        }
    }
}

impl ConnState {
    pub(super) fn limits(&self) -> ServerLimits {
        **self.register.limits.load()
    }

    pub(super) fn fate(&self) -> ConnFate {
        self.fate.get()
    }

    /// Remembers how to wake the connection's task, which is the same for all of its life.
    pub(super) fn attend(&self, waker: &Waker) {
        self.waker.get_or_init(|| waker.clone());
    }

    fn condemn(&self, fate: ConnFate) {
        if fate > self.fate.get() {
            self.fate.set(fate);
            if let Some(waker) = self.waker.get() {
                waker.wake_by_ref();
            }
        }
    }

    fn cut(&self, cause: CutCause) {
        if self.cause.get().is_none() {
            self.cause.set(Some(cause));
        }
        self.condemn(ConnFate::Cut);
    }

    pub(super) fn cause(&self) -> Option<CutCause> {
        self.cause.get()
    }

    /// The connection carries HTTP/2.
    pub(super) fn multiplex(&self) {
        self.multiplexed.set(true);
        *self.framing.borrow_mut() = FramingGuard::Foreign;
    }

    pub(super) fn begin_request(self: &Rc<Self>) -> InFlight {
        self.busy.set(self.busy.get() + 1);
        self.answer();
        InFlight(Rc::clone(self))
    }

    /// For an HTTP/2 request: the pulse of its stream, whose task hyper spawns next.
    pub(super) fn begin_stream(&self) -> Option<Rc<StreamActivity>> {
        let pulse = self.multiplexed.get().then(Rc::<StreamActivity>::default)?;
        self.pulses.borrow_mut().push(Rc::downgrade(&pulse));
        self.opening.replace(Some(Rc::clone(&pulse)));
        Some(pulse)
    }

    pub(super) fn take_opening(&self) -> Option<Rc<StreamActivity>> {
        self.opening.take()
    }

    /// The time of the last sweep.
    pub(super) fn now(&self) -> Instant {
        self.register.now.get()
    }

    /// A write was taken, in part or whole, or has to wait.
    pub(super) fn wrote(&self, waits: bool) {
        if !waits {
            self.stalled_since.set(None);
        } else if self.stalled_since.get().is_none() {
            self.stalled_since.set(Some(Instant::now()));
        }
    }

    /// What is written next answers something.
    pub(super) fn answer(&self) {
        self.answering.set(true);
    }

    /// Everything that was to be written has been.
    pub(super) fn flushed(&self) {
        self.answering.set(self.busy.get() > 0);
    }

    /// What is written on an HTTP/1.1 connection answers no request: hyper says so itself that it cannot read one.
    pub(super) fn speaks_unasked(&self) -> bool {
        !self.answering.get() && !self.multiplexed.get()
    }

    fn judge(&self, now: Instant, step: Duration) {
        let limits = self.limits();
        let passed = |since: Instant, allowed: Duration| now.saturating_duration_since(since) > allowed;
        if self.stalled_since.get().is_some_and(|since| passed(since, limits.write_timeout)) {
            tracing::debug!(peer = %self.address, "client does not read, connection cut");
            self.cut(CutCause::Unread(limits.write_timeout));
        }
        self.pulses.borrow_mut().retain(|pulse| {
            let Some(pulse) = pulse.upgrade() else { return false };
            // Noted by the time of the sweep before.
            if pulse.waits_since().is_some_and(|since| passed(since, limits.write_timeout + step)) {
                tracing::debug!(peer = %self.address, "client does not read a stream, stream reset");
                pulse.cut(CutCause::Unread(limits.write_timeout));
            }
            true
        });
        // The end of a response may still be on its way to a slow reader: that is the write clock's.
        let idle = self.busy.get() == 0 && self.stalled_since.get().is_none();
        if !idle || !passed(self.idle_since.get(), limits.head_timeout) {
            return;
        }
        let given_notice = passed(self.idle_since.get(), limits.head_timeout * 2);
        self.condemn(if self.multiplexed.get() && !given_notice { ConnFate::Finish } else { ConnFate::Cut });
    }
}

impl Drop for ConnEntry {
    fn drop(&mut self) {
        let mut vitals = self.0.register.vitals.borrow_mut();
        let place = self.0.place.get();
        vitals.swap_remove(place);
        if let Some(moved) = vitals.get(place) {
            moved.place.set(place);
        }
        if vitals.is_empty() {
            self.0.register.emptied.notify_one();
        }
    }
}

/// One request in flight, from its head to the end of its response.
#[derive(Debug)]
pub(super) struct InFlight(pub(super) Rc<ConnState>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
        self.0.idle_since.set(Instant::now());
        self.0.framing.borrow_mut().end_message();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Between two sweeps the limits become much shorter than the sweeps were apart.
    #[tokio::test(start_paused = true)]
    async fn no_deadline_comes_early_when_limits_are_reloaded() {
        let limits = Arc::new(ArcSwap::from_pointee(ServerLimits::default()));
        let register = ConnTable::new(Arc::clone(&limits));
        let story = async {
            sleep(Duration::from_millis(1900)).await;
            let entry = register.enter(SocketAddr::from(([127, 0, 0, 1], 1)));
            limits.store(Arc::new(ServerLimits {
                head_timeout: Duration::from_millis(400),
                ..ServerLimits::default()
            }));
            sleep(Duration::from_millis(399)).await;
            assert_eq!(entry.0.fate(), ConnFate::Live);
            sleep(Duration::from_millis(100)).await;
            assert_eq!(entry.0.fate(), ConnFate::Cut);
        };
        tokio::select! {
            () = register.sweep() => {}
            () = story => {}
        }
    }
}
