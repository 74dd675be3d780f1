//! The queue between the settlement thread and the ledger's. Pushing never waits: rows beyond the limit are
//! lost and counted.

use std::{
    borrow::BorrowMut,
    sync::{Mutex, PoisonError},
};

use tokio::{sync::Notify, time::Instant};

use super::gauges::LedgerGauges;
use crate::database::RowBatch;

/// The most rows in the queue.
pub(super) const MAX_QUEUED_ROWS: usize = 20_000;

#[derive(Debug)]
pub(super) struct RowQueue {
    state: Mutex<QueueState>,
    ready: Notify,
    crowded: Notify,
    pub(super) gauges: LedgerGauges,
}

#[derive(Debug, Default)]
struct QueueState {
    rows: RowBatch,
    /// When the oldest row came.
    since: Option<Instant>,
    /// Rows beyond the limit that have not been reported.
    lost: usize,
    closed: bool,
}

impl RowQueue {
    pub(super) fn new(gauges: LedgerGauges) -> Self {
        Self { state: Mutex::default(), ready: Notify::new(), crowded: Notify::new(), gauges }
    }

    fn with<T>(&self, act: impl FnOnce(&mut QueueState) -> T) -> T {
        // A panic while the lock is held leaves whole rows behind.
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds rows; returns how many were lost. A buffer that is lent comes back empty; it may be another one.
    pub(super) fn push(&self, mut rows: impl BorrowMut<RowBatch>) -> usize {
        let rows = rows.borrow_mut();
        let (lost, waiting) = self.with(|state| {
            let room = MAX_QUEUED_ROWS.saturating_sub(state.rows.len());
            let lost = rows.len().saturating_sub(room);
            rows.truncate(room);
            state.rows.append(rows);
            state.lost += lost;
            state.since.get_or_insert_with(Instant::now);
            (lost, state.rows.len())
        });
        self.gauges.add_lost(lost);
        self.gauges.set_waiting(waiting);
        if waiting > 0 {
            self.ready.notify_one();
        }
        if waiting > MAX_QUEUED_ROWS / 2 {
            self.crowded.notify_one();
        }
        lost
    }

    pub(super) fn close(&self) {
        self.with(|state| state.closed = true);
        self.ready.notify_one();
    }

    /// Takes all rows, behind those of `rows`. The lock is held for no copy.
    pub(super) fn take_into(&self, rows: &mut RowBatch) {
        let mut taken = if rows.is_empty() { std::mem::take(rows) } else { RowBatch::default() };
        self.with(|state| {
            state.since = None;
            std::mem::swap(&mut state.rows, &mut taken);
        });
        rows.append(&mut taken);
    }

    #[cfg(test)]
    pub(super) fn take(&self) -> RowBatch {
        let mut rows = RowBatch::default();
        self.take_into(&mut rows);
        rows
    }

    /// Gives back room far beyond that of `needed` rows.
    pub(super) fn trim(&self, needed: usize) {
        self.with(|state| state.rows.give_back_room(needed));
    }

    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.with(|state| state.rows.room())
    }

    /// Rows lost since the last call. They are in the gauges already.
    pub(super) fn take_lost(&self) -> usize {
        self.with(|state| std::mem::take(&mut state.lost))
    }

    /// When the oldest row came.
    pub(super) fn since(&self) -> Option<Instant> {
        self.with(|state| state.since)
    }

    pub(super) fn len(&self) -> usize {
        self.with(|state| state.rows.len())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.with(|state| state.closed)
    }

    /// Waits until there are rows, or the queue is closed.
    pub(super) async fn ready(&self) {
        while self.len() == 0 && !self.is_closed() {
            self.ready.notified().await;
        }
    }

    /// Waits until the queue is more than half full.
    pub(super) async fn crowded(&self) {
        while self.len() <= MAX_QUEUED_ROWS / 2 {
            self.crowded.notified().await;
        }
    }
}
