//! The connections of one worker. A sweep, every second at most, reads the notes of each [`ConnRecord`],
//! finds the connections past a deadline and wakes only those. Deadlines are therefore late by up to one
//! period, never early.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::state::{ConnFate, ConnRecord, SweepContext};
use crate::server::{cut::CutCause, peer::Peer, settings::ServerLimits};

#[derive(Debug)]
pub(in crate::server) struct ConnTable {
    records: RefCell<Vec<Rc<ConnRecord>>>,
    context: Rc<SweepContext>,
    emptied: Notify,
}

/// A connection's place in the table, given back on drop.
#[derive(Debug)]
pub(in crate::server) struct ConnEntry {
    pub(in crate::server) record: Rc<ConnRecord>,
    table: Rc<ConnTable>,
}

impl ConnTable {
    pub(in crate::server) fn new(limits: Arc<ArcSwap<ServerLimits>>) -> Rc<Self> {
        let context = Rc::new(SweepContext { limits, swept_at: Cell::new(Instant::now()) });
        Rc::new(Self { records: RefCell::default(), context, emptied: Notify::new() })
    }

    pub(in crate::server) fn enter(self: &Rc<Self>, peer: Peer) -> ConnEntry {
        let mut records = self.records.borrow_mut();
        let record = Rc::new(ConnRecord::new(peer, records.len(), Rc::clone(&self.context)));
        records.push(Rc::clone(&record));
        ConnEntry { record, table: Rc::clone(self) }
    }

    /// Short enough that no deadline is late by more than an eighth.
    fn period(&self) -> Duration {
        let limits = self.context.limits.load();
        let shortest = limits.head_timeout.min(limits.write_timeout);
        (shortest / 8).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }

    /// Runs until dropped.
    pub(in crate::server) async fn sweep(&self) {
        loop {
            let now = Instant::now();
            let step = now - self.context.swept_at.replace(now);
            for record in &*self.records.borrow() {
                record.check_deadlines(now, step);
            }
            sleep(self.period()).await;
        }
    }

    /// Every connection closes after the requests in flight.
    pub(in crate::server) fn finish_all(&self) {
        for record in &*self.records.borrow() {
            record.advance(ConnFate::Finish);
        }
    }

    /// The streams in flight break off by themselves.
    pub(in crate::server) fn end_all(&self) {
        for record in &*self.records.borrow() {
            record.end();
        }
    }

    pub(in crate::server) fn cut_all(&self) {
        for record in &*self.records.borrow() {
            record.cut(CutCause::Drain);
        }
    }

    pub(in crate::server) async fn emptied(&self) {
        while !self.records.borrow().is_empty() {
            self.emptied.notified().await;
        }
    }
}

impl Drop for ConnEntry {
    fn drop(&mut self) {
        let mut records = self.table.records.borrow_mut();
        let index = self.record.index.get();
        records.swap_remove(index);
        if let Some(moved) = records.get(index) {
            moved.index.set(index);
        }
        if records.is_empty() {
            self.table.emptied.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Between two sweeps the limits become much shorter than the sweeps were apart.
    #[tokio::test(start_paused = true)]
    async fn no_deadline_comes_early_when_limits_are_reloaded() {
        let limits = Arc::new(ArcSwap::from_pointee(ServerLimits::default()));
        let table = ConnTable::new(Arc::clone(&limits));
        let scenario = async {
            sleep(Duration::from_millis(1900)).await;
            let address = ([127, 0, 0, 1], 1).into();
            let entry = table.enter(Peer { address, tls: false });
            limits.store(Arc::new(ServerLimits {
                head_timeout: Duration::from_millis(400),
                ..ServerLimits::default()
            }));
            sleep(Duration::from_millis(399)).await;
            assert_eq!(entry.record.fate(), ConnFate::Live);
            sleep(Duration::from_millis(100)).await;
            assert_eq!(entry.record.fate(), ConnFate::Cut);
        };
        tokio::select! {
            () = table.sweep() => {}
            () = scenario => {}
        }
    }
}
