//! The ledger's thread: gathers rows for a moment, writes them to the database in batches, and where that fails to the
//! spool, from which they are replayed in order once the database answers again, a while at a time, so that new rows need
//! not wait for old ones.
//!
//! A row is in one place at a time: the queue, the batch at hand, the spool, the database. It may be in both of the last
//! two when a connection breaks at the end of a transaction, or when the database was so slow that the batch was written
//! down meanwhile: a process that is killed loses what it held for less than 200 ms. Replays look which rows are there already.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::time::{Instant, sleep_until, timeout};

use super::{
    buffer::Buffer,
    gauges::LedgerGauges,
    queue::RowQueue,
    retention::Retention,
    row::Row,
    row_writer::{RowWriter, WriteResult},
    settings::LedgerSettings,
    spool::Spool,
};
use crate::database::{DatabaseError, DatabaseSettings};

/// How long the database may take for a batch, and for one out of the spool.
const PATIENCE: Duration = Duration::from_secs(2);
const REPLAY_PATIENCE: Duration = Duration::from_secs(20);
/// How long SQLite may be locked by others before rows go to the spool.
const LOCK: Duration = Duration::from_millis(500);
/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// How long old rows may keep new ones waiting.
const SLICE: Duration = Duration::from_millis(50);
/// Between rounds while something waits that could not be brought in at once.
const BREATH: Duration = Duration::from_millis(20);
/// Between attempts to reach a database that is away.
const RETRY: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];
/// Between looks for what processes that are gone left behind.
const ADOPT: Duration = Duration::from_secs(5);
/// How long the last rows may take when the process ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where rows are handed in. The ledger ends when it is dropped, after writing what it has.
#[derive(Debug)]
pub struct LedgerWriter(Arc<RowQueue>);

impl LedgerWriter {
    /// Hands rows in; never waits.
    pub fn book(&self, rows: Vec<Row>) {
        self.0.push(rows);
    }

    /// So many rows were not made.
    pub fn leave_out(&self, rows: usize) {
        self.0.gauges.add_left_out(rows);
    }
}

impl Drop for LedgerWriter {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Starts the ledger. The database is opened by its thread: nobody waits for it.
///
/// # Errors
/// The system gave no thread.
pub fn start(
    settings: LedgerSettings,
    database: DatabaseSettings,
    gauges: LedgerGauges,
) -> io::Result<(LedgerWriter, JoinHandle<()>)> {
    let queue = Arc::new(RowQueue::new(gauges.clone()));
    let inbox = LedgerWriter(Arc::clone(&queue));
    let thread = thread::Builder::new().name("ledger".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(WriterThread::new(settings, database, queue, gauges).run()),
            Err(error) => tracing::error!(%error, "the ledger has no runtime: nothing is booked"),
        }
    })?;
    Ok((inbox, thread))
}

struct WriterThread {
    settings: LedgerSettings,
    database: DatabaseSettings,
    hands: Buffer,
    retention: Retention,
    /// `None`: the database is away, or was not asked yet.
    book: Option<RowWriter>,
    /// When it is looked whether others left something behind.
    adopt_at: Instant,
    /// When it is asked again, and how long after that.
    retry_at: Instant,
    retry: Duration,
    /// Taken from the queue, and being written.
    batch: Vec<Row>,
}

impl WriterThread {
    fn new(
        settings: LedgerSettings,
        database: DatabaseSettings,
        queue: Arc<RowQueue>,
        gauges: LedgerGauges,
    ) -> Self {
        let place = settings.spool_at(&database);
        Self {
            hands: Buffer::new(queue, gauges, Spool::new(place, settings.spool_size), settings.batch_delay),
            retention: Retention::new(settings.retention),
            book: None,
            adopt_at: Instant::now(),
            retry_at: Instant::now(),
            retry: RETRY[0],
            batch: Vec::new(),
            settings,
            database,
        }
    }

    async fn run(mut self) {
        if let Err(error) = self.hands.spool.recover() {
            tracing::error!(%error, "the ledger's spool cannot be read");
        }
        self.connect().await;
        loop {
            self.gather().await;
            let ending = self.hands.queue.is_closed();
            self.hands.take();
            self.hands.gauges.set_waiting(self.hands.held.len());
            if ending && self.hands.queue.len() == 0 {
                break;
            }
            self.round().await;
        }
        self.finish().await;
    }

    /// Waits until there is something to do: rows that have waited for others, a database to be asked again, rows that
    /// are too old.
    async fn gather(&self) {
        let chores = self.chores();
        tokio::select! {
            () = self.hands.queue.ready() => {}
            () = sleep_until(chores) => return,
        }
        if self.hands.queue.len() < self.settings.batch_rows
            && !self.hands.queue.is_closed()
            && let Some(since) = self.hands.queue.since()
        {
            sleep_until(since + self.settings.batch_delay).await;
        }
    }

    fn chores(&self) -> Instant {
        match self.book {
            Some(_) if self.hands.spool.is_empty() && self.hands.held.is_empty() => {
                self.retention.due().min(self.adopt_at)
            }
            Some(_) => Instant::now() + BREATH,
            None => self.retry_at,
        }
    }

    async fn round(&mut self) {
        if self.book.is_none() && Instant::now() >= self.retry_at {
            self.connect().await;
        }
        self.write().await;
        self.replay().await;
        self.retire().await;
        self.hands.gauges.set_waiting(self.hands.held.len());
    }

    async fn connect(&mut self) {
        let opening = timeout(CONNECT, async {
            let mut book = RowWriter::open(&self.database).await?;
            book.connection().set_patience(LOCK).await?;
            Ok(book)
        });
        match self.hands.watch(&[], opening).await.unwrap_or(Err(DatabaseError::Late)) {
            Ok(book) => {
                self.book = Some(book);
                self.retry = RETRY[0];
                self.hands.gauges.set_up(true);
            }
            Err(error) => self.lose(&error),
        }
    }

    /// The database is away: what is at hand does not wait for it in memory.
    fn lose(&mut self, error: &DatabaseError) {
        self.book = None;
        self.hands.gauges.set_up(false);
        self.hands.episode.away(&self.database.site, error);
        self.retry_at = Instant::now() + self.retry;
        self.retry = (self.retry * 2).min(RETRY[1]);
        self.hands.stash(&mut self.batch);
    }

    /// Writes what is at hand. What does not get into the database goes to the spool.
    async fn write(&mut self) {
        while self.book.is_some() && !self.hands.held.is_empty() {
            let many = self.hands.held.len().min(self.settings.batch_rows);
            self.batch.extend(self.hands.held.drain(..many));
            let begun = Instant::now();
            match self.write_batch().await {
                Ok(written) => {
                    self.batch.clear();
                    self.hands.gauges.note_query(begun.elapsed());
                    self.hands.gauges.add_written(written.new);
                    self.hands.episode.lost(written.lost);
                    self.hands.episode.back(&self.hands.spool);
                }
                Err(error) => self.lose(&error),
            }
        }
        if self.book.is_none() {
            self.hands.stash(&mut self.batch);
        }
    }

    async fn write_batch(&mut self) -> Result<WriteResult, DatabaseError> {
        let Some(book) = &mut self.book else { return Err(DatabaseError::Late) };
        let writing = timeout(PATIENCE, book.write_all(&self.batch, false));
        self.hands.watch(&self.batch, writing).await.unwrap_or(Err(DatabaseError::Late))
    }

    /// Brings what waits in the spool into the database, the oldest first, until new rows have waited for a moment.
    async fn replay(&mut self) {
        let begun = Instant::now();
        while begun.elapsed() < SLICE || self.hands.is_empty() {
            if self.hands.queue.is_closed() && begun.elapsed() > FAREWELL / 2 {
                return;
            }
            let Some(book) = &mut self.book else { return };
            let rows = match self.hands.spool.peek() {
                Ok(Some(rows)) => rows,
                // Nothing is left, or it was put aside.
                Ok(None) if Instant::now() < self.adopt_at => {
                    return self.hands.gauges.set_waiting_bytes(self.hands.spool.waiting());
                }
                Ok(None) => match self.hands.spool.adopt() {
                    Ok(true) => continue,
                    Ok(false) => {
                        self.adopt_at = Instant::now() + ADOPT;
                        return;
                    }
                    Err(error) => {
                        self.adopt_at = Instant::now() + ADOPT;
                        return self.hands.episode.disk(&error);
                    }
                },
                Err(error) => return self.hands.episode.disk(&error),
            };
            let asked = Instant::now();
            let writing = timeout(REPLAY_PATIENCE, book.write_all(&rows, true));
            match self.hands.watch(&[], writing).await.unwrap_or(Err(DatabaseError::Late)) {
                Ok(written) => {
                    self.hands.gauges.note_query(asked.elapsed());
                    self.hands.gauges.add_written(written.new);
                    self.hands.episode.lost(written.lost);
                    self.hands.gauges.add_replayed(rows.len());
                    if let Err(error) = self.hands.spool.advance() {
                        self.hands.episode.disk(&error);
                    }
                    self.hands.gauges.set_waiting_bytes(self.hands.spool.waiting());
                    self.hands.episode.back(&self.hands.spool);
                }
                Err(error) => return self.lose(&error),
            }
        }
    }

    /// Lets rows go that are older than they are kept. Not while some wait: which of those were written already is seen
    /// by the rows that are there.
    async fn retire(&mut self) {
        let Some(book) = self.book.as_mut().filter(|_| self.hands.spool.is_empty()) else { return };
        let retiring = timeout(REPLAY_PATIENCE, self.retention.retire(book.connection()));
        if let Err(error) = self.hands.watch(&[], retiring).await.unwrap_or(Err(DatabaseError::Late)) {
            self.lose(&error);
        }
    }

    /// The last rows, within a time: into the database, or else into the spool for the next start.
    async fn finish(mut self) {
        let last = timeout(FAREWELL, async {
            self.write().await;
            self.replay().await;
        });
        // Late or not: what is still at hand goes to the spool.
        let _ = last.await;
        self.hands.stash(&mut self.batch);
        self.hands.episode.lost(self.hands.held.len());
        self.hands.gauges.set_waiting(0);
        if !self.hands.spool.is_empty() {
            tracing::warn!(
                bytes = self.hands.spool.waiting(),
                "rows wait in the ledger's spool for the next start"
            );
        }
        if let Some(book) = self.book.take() {
            let _ = timeout(FAREWELL, book.close()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{row::RowIds, tests::Folder},
        *,
    };

    /// Whatever it was that found the database away: rows that were taken out of the queue meanwhile are on the disk.
    #[test]
    fn what_is_at_hand_is_on_the_disk_once_the_database_is_away() {
        let folder = Folder::new();
        let settings = LedgerSettings { spool: Some(folder.0.join("s")), ..LedgerSettings::default() };
        let database = DatabaseSettings::new(crate::database::DatabaseUrl::Sqlite(folder.0.join("t.db")));
        let gauges = LedgerGauges::default();
        let queue = Arc::new(RowQueue::new(gauges.clone()));
        let mut writer = WriterThread::new(settings, database, Arc::clone(&queue), gauges.clone());
        let row = Row::new(RowIds::default().make(0), 0);
        queue.push(vec![row.clone(); 2]);
        assert!(!writer.hands.is_empty());
        writer.hands.take();
        assert!(!writer.hands.is_empty(), "new rows are not waiting in the queue alone");
        writer.batch.push(row);
        writer.lose(&DatabaseError::Late);
        assert_eq!((gauges.read().spooled, writer.batch.len()), (3, 0));
        assert!(writer.hands.is_empty());
    }
}
