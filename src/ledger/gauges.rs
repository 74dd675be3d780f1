//! The ledger's state for `/stats` and `/metrics` (S4.5). Written by the ledger's thread, read by any.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

#[derive(Clone, Debug, Default)]
pub struct LedgerGauges(Arc<GaugeCells>);

#[derive(Debug, Default)]
struct GaugeCells {
    written: AtomicU64,
    spooled: AtomicU64,
    replayed: AtomicU64,
    waiting: AtomicU64,
    waiting_bytes: AtomicU64,
    lost: AtomicU64,
    left_out: AtomicU64,
    queries: AtomicU64,
    query_nanos: AtomicU64,
    up: AtomicBool,
}

/// The state at one moment. Counts begin at the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerState {
    /// The last attempt to reach the database was successful.
    pub up: bool,
    /// Rows in the database, replayed ones included.
    pub written: u64,
    /// Rows that went to the spool, and rows replayed from it.
    pub spooled: u64,
    pub replayed: u64,
    /// Rows in memory, and bytes in the spool.
    pub waiting: u64,
    pub waiting_bytes: u64,
    /// Rows that neither database nor spool has taken.
    pub lost: u64,
    /// Requests without a row: those without a valid key, beyond the first of a second.
    pub left_out: u64,
    /// Transactions and queries, and their average duration.
    pub queries: u64,
    pub query: Duration,
}

impl LedgerGauges {
    #[must_use]
    pub fn read(&self) -> LedgerState {
        let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let queries = load(&self.0.queries);
        LedgerState {
            up: self.0.up.load(Ordering::Relaxed),
            written: load(&self.0.written),
            spooled: load(&self.0.spooled),
            replayed: load(&self.0.replayed),
            waiting: load(&self.0.waiting),
            waiting_bytes: load(&self.0.waiting_bytes),
            lost: load(&self.0.lost),
            left_out: load(&self.0.left_out),
            queries,
            query: Duration::from_nanos(load(&self.0.query_nanos).checked_div(queries).unwrap_or(0)),
        }
    }

    /// Counts one transaction or query.
    pub fn note_query(&self, took: Duration) {
        self.0.queries.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0.query_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(super) fn set_up(&self, up: bool) {
        self.0.up.store(up, Ordering::Relaxed);
    }

    pub(super) fn add_written(&self, rows: usize) {
        self.0.written.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(super) fn add_spooled(&self, rows: usize) {
        self.0.spooled.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(super) fn add_replayed(&self, rows: usize) {
        self.0.replayed.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(super) fn add_lost(&self, rows: usize) {
        self.0.lost.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(super) fn add_left_out(&self, rows: usize) {
        self.0.left_out.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(super) fn set_waiting(&self, rows: usize) {
        self.0.waiting.store(rows as u64, Ordering::Relaxed);
    }

    pub(super) fn set_waiting_bytes(&self, bytes: u64) {
        self.0.waiting_bytes.store(bytes, Ordering::Relaxed);
    }
}
