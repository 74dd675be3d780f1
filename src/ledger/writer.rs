//! The ledger's thread: the loop and the database. It writes rows to the database in batches. While the
//! database is down, rows go to the spool; afterwards they are replayed in order, a short time per round, so
//! that new rows do not wait for old ones.
//!
//! A row is in one place at a time: the queue, the buffer, the spool or the database. It is in the last two
//! at once when a connection breaks during a commit, or when a slow database's batch was spooled meanwhile. A
//! process that is killed loses the rows of less than 200 ms. A replay therefore skips rows that the database
//! has.

use std::{
    borrow::BorrowMut,
    future::pending,
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::time::{Instant, timeout};

use super::{
    buffer::{Batch, Buffer},
    gauges::LedgerGauges,
    queue::RowQueue,
    retention::Retention,
    row_writer::RowWriter,
    settings::{LedgerPatience, LedgerSettings},
    spool::Spool,
};
use crate::database::{DatabaseError, DatabaseSettings, DatabaseUrl, RowBatch};

/// For one batch from the spool.
const REPLAY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long replayed rows may keep new ones waiting.
const REPLAY_LIMIT: Duration = Duration::from_millis(50);
/// Between rounds while rows are held or spooled and the database is up.
const ROUND_INTERVAL: Duration = Duration::from_millis(20);
/// Between attempts to reach a database that is down: the first, doubled each time, up to the second.
const RETRY_INTERVALS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];
/// A SQLite connection that was not used for this long is closed: it holds a thread of the driver's and its
/// page cache. The next batch opens it again, which takes some 2 ms. One to PostgreSQL holds neither, and
/// stays open.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes rows for the ledger. Dropping it ends the ledger, which writes its last rows first.
#[derive(Debug)]
pub struct LedgerWriter(Arc<RowQueue>);

impl LedgerWriter {
    /// Hands rows in; never waits. A buffer that is lent comes back empty, for the next rows.
    pub fn book(&self, rows: impl BorrowMut<RowBatch>) {
        self.0.push(rows);
    }

    /// Counts requests that get no row.
    pub fn leave_out(&self, rows: usize) {
        self.0.gauges.add_left_out(rows);
    }
}

impl Drop for LedgerWriter {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Starts the ledger's thread, which opens the database: the caller does not wait for it.
///
/// # Errors
/// The system cannot start a thread.
pub fn start(
    settings: LedgerSettings,
    database: DatabaseSettings,
    gauges: LedgerGauges,
) -> io::Result<(LedgerWriter, JoinHandle<()>)> {
    let queue = Arc::new(RowQueue::new(gauges.clone()));
    let writer = LedgerWriter(Arc::clone(&queue));
    let thread = thread::Builder::new().name("ledger".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(WriterThread::new(&settings, database, queue, gauges).run()),
            Err(error) => tracing::error!(%error, "the ledger has no runtime: nothing is booked"),
        }
    })?;
    Ok((writer, thread))
}

struct WriterThread {
    database: DatabaseSettings,
    gauges: LedgerGauges,
    buffer: Buffer,
    retention: Retention,
    /// `None`: the database is down, was not connected yet, or its connection was released.
    row_writer: Option<RowWriter>,
    /// When `row_writer` was last used.
    used_at: Instant,
    /// The connection was closed because it was idle. The database counts as up.
    is_released: bool,
    /// The time of the next attempt to connect, and the interval after that.
    retry_at: Instant,
    retry_interval: Duration,
    patience: LedgerPatience,
}

impl WriterThread {
    fn new(
        settings: &LedgerSettings,
        database: DatabaseSettings,
        queue: Arc<RowQueue>,
        gauges: LedgerGauges,
    ) -> Self {
        let spool = Spool::new(settings.spool_at(&database), settings.spool_size);
        Self {
            buffer: Buffer::new(queue, gauges.clone(), spool, settings),
            retention: Retention::new(settings.retention),
            row_writer: None,
            used_at: Instant::now(),
            is_released: false,
            retry_at: Instant::now(),
            retry_interval: RETRY_INTERVALS[0],
            patience: settings.patience,
            database,
            gauges,
        }
    }

    async fn run(mut self) {
        self.buffer.recover();
        self.connect().await;
        while self.receive().await {
            self.round().await;
        }
        self.finish().await;
    }

    /// Waits for rows, for the next round, or for another part that needs a connection while this one has
    /// one. False: the last rows have come.
    async fn receive(&mut self) -> bool {
        let (is_held, bound) = (self.row_writer.is_some(), self.database.connections.clone());
        let wanted = async move {
            if !is_held {
                pending::<()>().await;
            }
            bound.wanted().await;
        };
        self.buffer.receive(self.next_round(), wanted).await
    }

    /// When there is work without new rows: held or spooled rows, a database to reconnect, rows past their
    /// retention, an idle connection.
    fn next_round(&self) -> Instant {
        if self.row_writer.is_none() && !self.is_released {
            return self.retry_at;
        }
        let Some(until) = self.buffer.idle_until() else { return Instant::now() + ROUND_INTERVAL };
        let until = self.retention.due().min(until);
        self.release_at().map_or(until, |at| at.min(until))
    }

    async fn round(&mut self) {
        let is_due = if self.is_released { self.has_work() } else { Instant::now() >= self.retry_at };
        if self.row_writer.is_none() && is_due {
            self.connect().await;
        }
        self.write().await;
        self.replay().await;
        self.retire().await;
        self.release().await;
        self.buffer.note_waiting();
    }

    /// There are rows to write or to delete.
    fn has_work(&mut self) -> bool {
        !self.buffer.is_empty()
            || !self.buffer.is_spool_empty()
            || self.retention.due() <= Instant::now()
            || self.buffer.adopt()
    }

    /// When the connection counts as idle unless it is used. `None`: there is none, or it stays open.
    fn release_at(&self) -> Option<Instant> {
        let is_sqlite = matches!(self.database.url, DatabaseUrl::Sqlite(_));
        (is_sqlite && self.row_writer.is_some()).then(|| self.used_at + IDLE_TIMEOUT)
    }

    /// Closes the connection if it is idle, or if another part of the process waits for one: rows that are
    /// left come when it is this part's turn again.
    async fn release(&mut self) {
        let is_idle = self.used_at + IDLE_TIMEOUT <= Instant::now() && self.buffer.idle_until().is_some();
        self.buffer.trim(is_idle);
        if ((is_idle && self.release_at().is_some()) || self.database.connections.is_wanted())
            && let Some(row_writer) = self.row_writer.take()
        {
            self.is_released = true;
            let _ = self.buffer.watch(timeout(self.patience.connect, row_writer.close())).await;
        }
    }

    async fn connect(&mut self) {
        self.is_released = false;
        let patience = self.patience;
        let connecting = timeout(patience.connect, async {
            let mut row_writer = RowWriter::open(&self.database).await?;
            row_writer.connection().set_lock_timeout(patience.lock).await?;
            Ok(row_writer)
        });
        match self.buffer.watch(connecting).await.unwrap_or(Err(DatabaseError::Late)) {
            Ok(row_writer) => {
                self.row_writer = Some(row_writer);
                self.used_at = Instant::now();
                self.retry_interval = RETRY_INTERVALS[0];
                self.gauges.set_up(true);
            }
            Err(error) => self.disconnect(&error),
        }
    }

    /// The database is down: no row waits for it in memory.
    fn disconnect(&mut self, error: &DatabaseError) {
        self.row_writer = None;
        self.gauges.set_up(false);
        self.buffer.outages.database_down(&self.database.url, error);
        self.retry_at = Instant::now() + self.retry_interval;
        self.retry_interval = (self.retry_interval * 2).min(RETRY_INTERVALS[1]);
        self.buffer.stash();
    }

    /// Writes all held rows: into the database, or else into the spool.
    async fn write(&mut self) {
        while self.row_writer.is_some()
            && let Some(batch) = self.buffer.next()
        {
            self.write_batch(batch, self.patience.write).await;
        }
        if self.row_writer.is_none() {
            self.buffer.stash();
        }
    }

    /// Writes one batch. Afterwards either it is written or the database counts as down.
    async fn write_batch(&mut self, batch: Batch, limit: Duration) {
        let Some(row_writer) = &mut self.row_writer else { return };
        let begun = Instant::now();
        let writing = timeout(limit, row_writer.write_all(batch.rows(), batch.is_replay));
        match self.buffer.watch(writing).await.unwrap_or(Err(DatabaseError::Late)) {
            Ok(result) => {
                self.used_at = Instant::now();
                self.gauges.note_query(begun.elapsed());
                self.buffer.written(batch, result);
            }
            Err(error) => {
                // The buffer has the rows.
                drop(batch);
                self.disconnect(&error);
            }
        }
    }

    /// Writes the rows of the spool, the oldest first, until new rows have waited for [`REPLAY_LIMIT`].
    async fn replay(&mut self) {
        let begun = Instant::now();
        while self.row_writer.is_some() && (begun.elapsed() < REPLAY_LIMIT || self.buffer.is_empty()) {
            if self.buffer.is_closed() && begun.elapsed() > self.patience.finish / 2 {
                return;
            }
            match self.buffer.next_spooled() {
                Some(batch) => self.write_batch(batch, REPLAY_TIMEOUT).await,
                None if self.buffer.adopt() => {}
                None => return,
            }
        }
    }

    /// Deletes rows past their retention. Not while rows are spooled: a replay sees by the rows that are
    /// there which of its own were written already.
    async fn retire(&mut self) {
        let Some(row_writer) = self.row_writer.as_mut().filter(|_| self.buffer.is_spool_empty()) else {
            return;
        };
        let retiring = timeout(REPLAY_TIMEOUT, self.retention.retire(row_writer.connection()));
        if let Err(error) = self.buffer.watch(retiring).await.unwrap_or(Err(DatabaseError::Late)) {
            self.disconnect(&error);
        }
    }

    /// Writes the last rows within [`LedgerPatience::finish`]: into the database, or else into the spool for
    /// the next start.
    async fn finish(mut self) {
        let last = timeout(self.patience.finish, async {
            if self.is_released && self.has_work() {
                self.connect().await;
            }
            self.write().await;
            self.replay().await;
        });
        // In time or not, rows that are still in memory go to the spool.
        let _ = last.await;
        self.buffer.stash();
        self.buffer.finish();
        if let Some(row_writer) = self.row_writer.take() {
            let _ = timeout(self.patience.finish, row_writer.close()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            row::{Row, RowIds},
            tests::Folder,
        },
        *,
    };

    /// Once the database is down, rows that were taken out of the queue are on the disk.
    #[test]
    fn rows_in_memory_are_spooled_once_the_database_is_down() {
        let folder = Folder::new();
        let settings =
            LedgerSettings { spool: Some(folder.0.join("s")), batch_rows: 1, ..LedgerSettings::default() };
        let database = DatabaseSettings::new(DatabaseUrl::Sqlite(folder.0.join("t.db")));
        let gauges = LedgerGauges::default();
        let queue = Arc::new(RowQueue::new(gauges.clone()));
        let mut writer = WriterThread::new(&settings, database, Arc::clone(&queue), gauges.clone());
        let row = Row::new(RowIds::default().make(0), 0);
        queue.push(std::iter::repeat_n(row, 3).collect::<RowBatch>());
        assert!(!writer.buffer.is_empty());
        writer.buffer.take();
        assert!(!writer.buffer.is_empty(), "new rows are not waiting in the queue alone");
        // One row is being written, two are held.
        drop(writer.buffer.next());
        writer.disconnect(&DatabaseError::Late);
        assert_eq!(gauges.read().spooled, 3);
        assert!(writer.buffer.is_empty() && writer.buffer.next().is_none());
    }

    fn row() -> RowBatch {
        std::iter::once(Row::new(RowIds::default().make(0), 0)).collect()
    }

    #[tokio::test]
    async fn an_idle_connection_is_released_and_opened_again_for_rows() {
        let folder = Folder::new();
        let hour = Duration::from_secs(3600);
        // On a busy machine a row is spooled first where it may not wait.
        let patience =
            LedgerPatience { spool_after: hour, write: hour, lock: hour, connect: hour, finish: hour };
        let settings =
            LedgerSettings { spool: Some(folder.0.join("s")), patience, ..LedgerSettings::default() };
        let database = DatabaseSettings::new(DatabaseUrl::Sqlite(folder.0.join("t.db")));
        let gauges = LedgerGauges::default();
        let queue = Arc::new(RowQueue::new(gauges.clone()));
        let mut writer = WriterThread::new(&settings, database, Arc::clone(&queue), gauges.clone());
        writer.connect().await;
        writer.round().await;
        assert!(writer.row_writer.is_some(), "it was used a moment ago");
        writer.used_at -= IDLE_TIMEOUT;
        writer.round().await;
        assert!(writer.row_writer.is_none() && writer.is_released && gauges.read().up);
        writer.round().await;
        assert!(writer.row_writer.is_none(), "nothing is to be written");
        queue.push(row());
        writer.buffer.take();
        writer.round().await;
        assert!(writer.row_writer.is_some() && !writer.is_released);
        assert_eq!((gauges.read().written, gauges.read().spooled), (1, 0));
        writer.used_at -= IDLE_TIMEOUT;
        writer.round().await;
        queue.push(row());
        writer.buffer.take();
        writer.finish().await;
        assert_eq!((gauges.read().written, gauges.read().spooled), (2, 0), "the last rows, too");
    }
}
