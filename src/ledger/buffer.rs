//! Rows on their way from the queue to the database. The buffer owns the queue's receiving end, the rows
//! taken out of it and the spool; the writer has the loop and the database. Five verbs: [`Buffer::receive`],
//! [`Buffer::next`] (and [`Buffer::next_spooled`]), [`Buffer::watch`], [`Buffer::written`] and
//! [`Buffer::stash`].
//!
//! Invariant: no row stays in memory alone for long, whatever the database is doing. A process that is killed
//! loses the rows of the last `batch_delay` + `spool_after` + one write to the disk.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{
    gauges::LedgerGauges,
    outage_log::OutageLog,
    queue::{MAX_QUEUED_ROWS, RowQueue},
    row::Row,
    row_writer::WriteResult,
    settings::LedgerSettings,
    spool::{Spool, SpoolState},
};
use crate::{base::IdleMemory, database::RowBatch};

/// Rows of one record of the spool, which is replayed in one transaction.
const MAX_RECORD_ROWS: usize = 2000;
/// Between two searches for spools that ended processes left behind.
const ADOPT_INTERVAL: Duration = Duration::from_secs(5);
/// Rows at once that leave behind memory worth half a millisecond of the thread.
const BUSY_ROWS: usize = 500;
/// Between two looks at the room that rows need.
const TRIM_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Buffer {
    queue: Arc<RowQueue>,
    gauges: LedgerGauges,
    spool: Spool,
    pub(super) outages: OutageLog,
    /// Rows that were taken out of the queue and are not in the batch.
    held: RowBatch,
    /// When the oldest row of `held` must be on the disk, unless it is being written by then.
    spool_by: Option<Instant>,
    /// Rows that are being written. Shared with the statement that writes them, because a slow statement's
    /// rows are spooled while it runs.
    batch: Arc<RowBatch>,
    /// The batch is in the spool, too.
    is_batch_spooled: bool,
    batch_rows: usize,
    /// How long a row may wait in the queue for others.
    batch_delay: Duration,
    /// Rows older than this in memory are also spooled.
    spool_after: Duration,
    /// When spools that ended processes left behind are searched for next.
    adopt_at: Instant,
    /// The most rows that were held at once since the last look.
    needed: usize,
    trim_at: Instant,
    memory: IdleMemory,
}

/// Rows for one transaction. There is one at a time, and it goes back to the buffer when it is written.
#[derive(Debug)]
pub(super) struct Batch {
    rows: Arc<RowBatch>,
    /// The rows come from the spool: some may be in the database already.
    pub(super) is_replay: bool,
}

impl Batch {
    pub(super) fn rows(&self) -> &RowBatch {
        &self.rows
    }
}

impl Buffer {
    pub(super) fn new(
        queue: Arc<RowQueue>,
        gauges: LedgerGauges,
        spool: Spool,
        settings: &LedgerSettings,
    ) -> Self {
        Self {
            queue,
            outages: OutageLog::new(gauges.clone()),
            gauges,
            spool,
            held: RowBatch::default(),
            spool_by: None,
            batch: Arc::default(),
            is_batch_spooled: false,
            batch_rows: settings.batch_rows,
            batch_delay: settings.batch_delay,
            spool_after: settings.patience.spool_after,
            adopt_at: Instant::now(),
            needed: 0,
            trim_at: Instant::now() + TRIM_INTERVAL,
            memory: IdleMemory::default(),
        }
    }

    /// Takes over the spool that an earlier process left.
    pub(super) fn recover(&mut self) {
        if let Err(error) = self.spool.recover() {
            tracing::error!(%error, "the ledger's spool cannot be read");
        }
    }

    /// Waits for rows, at most until `until` or `wanted`, and takes them out of the queue. Rows that are
    /// fewer than a batch wait `batch_delay` for others. False: these are the last.
    pub(super) async fn receive(&mut self, until: Instant, wanted: impl Future<Output = ()>) -> bool {
        tokio::select! {
            () = self.queue.ready() => self.wait_for_batch().await,
            () = sleep_until(until) => {}
            () = wanted => {}
        }
        let is_closed = self.is_closed();
        self.take();
        self.note_waiting();
        !(is_closed && self.queue.len() == 0)
    }

    async fn wait_for_batch(&self) {
        if self.queue.len() < self.batch_rows
            && !self.queue.is_closed()
            && let Some(since) = self.queue.since()
        {
            sleep_until(since + self.batch_delay).await;
        }
    }

    /// Takes all rows out of the queue.
    pub(super) fn take(&mut self) {
        if self.held.is_empty() {
            self.spool_by = self.queue.since().map(|since| since + self.batch_delay + self.spool_after);
        }
        self.queue.take_into(&mut self.held);
        self.needed = self.needed.max(self.held.len());
        self.outages.report_lost(self.queue.take_lost());
    }

    /// No more rows will come into the queue.
    pub(super) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// All rows are in the batch, the spool or the database.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.queue.len() == 0
    }

    pub(super) const fn is_spool_empty(&self) -> bool {
        self.spool.is_empty()
    }

    /// When there is work without new rows. `None`: at once, because rows are held or spooled.
    pub(super) const fn idle_until(&self) -> Option<Instant> {
        if self.spool.is_empty() && self.held.is_empty() { Some(self.adopt_at) } else { None }
    }

    pub(super) fn note_waiting(&self) {
        self.gauges.set_waiting(self.held.len());
    }

    /// The next batch of held rows. Each batch is handed to [`Buffer::written`], or [`Buffer::stash`]
    /// follows.
    pub(super) fn next(&mut self) -> Option<Batch> {
        let count = self.held.len().min(self.batch_rows);
        if count == 0 {
            return None;
        }
        self.is_batch_spooled = false;
        // Not shared here, so this clones nothing.
        let batch = Arc::make_mut(&mut self.batch);
        let mut rest = self.held.split_off(count);
        batch.append(&mut self.held);
        self.held.append(&mut rest);
        Some(Batch { rows: Arc::clone(&self.batch), is_replay: false })
    }

    /// The oldest rows of the spool; the same until they are written. `None`: there are none, or the disk
    /// fails.
    pub(super) fn next_spooled(&mut self) -> Option<Batch> {
        match self.spool.peek() {
            Ok(rows) => {
                rows.map(|rows| Batch { rows: Arc::new(rows.into_iter().collect()), is_replay: true })
            }
            Err(error) => {
                self.outages.disk_failed(&error);
                None
            }
        }
    }

    /// Looks for a spool that an ended process left behind, at most every [`ADOPT_INTERVAL`] and only while
    /// this process's own is empty. True: its rows are in the spool now.
    pub(super) fn adopt(&mut self) -> bool {
        if !self.spool.is_empty() || Instant::now() < self.adopt_at {
            self.gauges.set_waiting_bytes(self.spool.waiting());
            return false;
        }
        let adopted = self.spool.adopt();
        if !matches!(adopted, Ok(true)) {
            self.adopt_at = Instant::now() + ADOPT_INTERVAL;
        }
        adopted.unwrap_or_else(|error| {
            self.outages.disk_failed(&error);
            false
        })
    }

    /// Runs `work`, which waits for the database. Meanwhile rows are taken out of the queue, and those that
    /// get too old are spooled, the batch first. Dropping the future leaves all rows where they are.
    pub(super) async fn watch<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut spool_at = Instant::now() + self.spool_after;
        // With one short batch after another, the last of the held rows would never get old during a single
        // one.
        if let Some(spool_by) = self.spool_by.filter(|_| !self.held.is_empty()) {
            spool_at = spool_at.min(spool_by);
        }
        let mut work = pin!(work);
        loop {
            tokio::select! {
                outcome = &mut work => return outcome,
                () = sleep_until(spool_at) => {
                    spool_at = Instant::now() + self.spool_after;
                    self.take();
                    if self.spool_batch() || self.held.len() > MAX_QUEUED_ROWS {
                        self.spool_held(MAX_QUEUED_ROWS);
                    }
                }
                // A slow database must not cost the rows that come meanwhile. Rows that fit stay in memory,
                // because a row costs more by way of the spool than straight into the database.
                () = self.queue.crowded() => {
                    self.take();
                    if self.held.len() > MAX_QUEUED_ROWS {
                        self.outages.database_slow();
                        self.spool_held(MAX_QUEUED_ROWS);
                    }
                }
            }
            self.note_waiting();
        }
    }

    /// The database has the batch.
    pub(super) fn written(&mut self, batch: Batch, result: WriteResult) {
        let Batch { rows, is_replay } = batch;
        let count = rows.len();
        // The last reference but ours: clearing copies nothing then, and keeps the room for the next batch.
        drop(rows);
        Arc::make_mut(&mut self.batch).clear();
        self.gauges.add_written(result.new);
        // Refused rows of a batch that is in the spool, too, are refused again by its replay, and counted
        // then.
        if is_replay || !std::mem::take(&mut self.is_batch_spooled) {
            self.outages.rows_lost(result.lost);
        }
        if is_replay {
            self.gauges.add_replayed(count);
            if let Err(error) = self.spool.advance() {
                self.outages.disk_failed(&error);
            }
            self.gauges.set_waiting_bytes(self.spool.waiting());
        }
        self.outages.database_up(&self.spool);
    }

    /// Gives back memory that no row has needed of late; `is_idle`: that no row needs. The buffers of busy
    /// times stay otherwise, because pages that are given back and taken again cost more than the rows in
    /// them.
    pub(super) fn trim(&mut self, is_idle: bool) {
        let is_busy = self.needed >= BUSY_ROWS;
        let now = Instant::now();
        if is_idle || now >= self.trim_at {
            self.trim_at = now + TRIM_INTERVAL;
            let needed = std::mem::take(&mut self.needed);
            let needed = if is_idle { 0 } else { needed };
            self.held.give_back_room(needed);
            Arc::make_mut(&mut self.batch).give_back_room(needed);
            self.queue.trim(needed);
        }
        if is_busy || is_idle {
            self.memory.look(is_busy);
        }
    }

    /// Puts all held rows and the batch into the spool: the database is down.
    pub(super) fn stash(&mut self) {
        let mut rows = Arc::unwrap_or_clone(std::mem::take(&mut self.batch));
        if std::mem::take(&mut self.is_batch_spooled) {
            rows.clear();
        }
        rows.append(&mut self.held);
        self.held = rows;
        self.spool_held(0);
    }

    /// Counts rows as lost that neither the database nor the spool has taken: the process ends.
    pub(super) fn finish(&mut self) {
        self.outages.rows_lost(self.held.len());
        self.gauges.set_waiting(0);
        if !self.spool.is_empty() {
            tracing::warn!(
                bytes = self.spool.waiting(),
                "rows wait in the ledger's spool for the next start"
            );
        }
    }

    /// Puts the batch into the spool, once. True: it is on the disk, or there is none.
    fn spool_batch(&mut self) -> bool {
        if self.batch.is_empty() || self.is_batch_spooled {
            return true;
        }
        let rows: Vec<Row<'_>> = (0..self.batch.len()).map(|at| Row::of(&self.batch, at)).collect();
        self.is_batch_spooled = matches!(self.spool.append(&rows), Ok(SpoolState::Appended));
        if self.is_batch_spooled {
            self.gauges.add_spooled(self.batch.len());
        }
        self.is_batch_spooled
    }

    /// Puts held rows into the spool. When that is full, the first `keep` of them stay in memory; when the
    /// disk fails, the first [`MAX_QUEUED_ROWS`]. The rest is lost.
    fn spool_held(&mut self, keep: usize) {
        while !self.held.is_empty() {
            let count = self.held.len().min(MAX_RECORD_ROWS);
            let rows: Vec<Row<'_>> = (0..count).map(|at| Row::of(&self.held, at)).collect();
            let keep = match self.spool.append(&rows) {
                Ok(SpoolState::Appended) => {
                    self.gauges.add_spooled(count);
                    self.held = self.held.split_off(count);
                    continue;
                }
                Ok(SpoolState::Full) => keep,
                Err(error) => {
                    self.outages.disk_failed(&error);
                    MAX_QUEUED_ROWS
                }
            };
            self.outages.rows_lost(self.held.len().saturating_sub(keep));
            self.held.truncate(keep);
            break;
        }
        self.gauges.set_waiting_bytes(self.spool.waiting());
    }
}

#[cfg(test)]
mod tests;
