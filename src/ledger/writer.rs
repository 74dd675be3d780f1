//! The ledger's thread: gathers rows for a moment, writes them to the database in batches, and where that fails to the
//! spool, from which they are replayed in order once the database answers again, a while at a time, so that new rows need
//! not wait for old ones.
//!
//! A row is in one place at a time: the queue, the batch at hand, the spool, the database. It may be in both of the last
//! two when a connection breaks at the end of a transaction, or when the database was so slow that the batch was written
//! down meanwhile: a process that is killed loses what it held for less than 200 ms. Replays look which rows are there already.

use std::{
    io,
    pin::pin,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::time::{Instant, sleep_until, timeout};

use super::{
    book::{Book, Written},
    entry::Row,
    episode::Episode,
    gauges::LedgerGauges,
    queue::{BOUND, Queue},
    retention::Retention,
    settings::LedgerSettings,
    spool::{Kept, Spool},
};
use crate::database::{DatabaseError, DatabaseSettings};

/// How long the database may take for a batch, and for one out of the spool.
const PATIENCE: Duration = Duration::from_secs(2);
const REPLAY_PATIENCE: Duration = Duration::from_secs(20);
/// How long a batch is in nobody's hands but ours before it is put into the spool, too.
const UNSAFE: Duration = Duration::from_millis(80);
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
/// Rows that are replayed in one transaction.
const RECORD: usize = 2000;
/// How long the last rows may take when the process ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where rows are handed in. The ledger ends when it is dropped, after writing what it has.
#[derive(Debug)]
pub struct Inbox(Arc<Queue>);

impl Inbox {
    /// Hands rows in; never waits.
    pub fn book(&self, rows: Vec<Row>) {
        self.0.push(rows);
    }
}

impl Drop for Inbox {
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
) -> io::Result<(Inbox, JoinHandle<()>)> {
    let queue = Arc::new(Queue::new(gauges.clone()));
    let inbox = Inbox(Arc::clone(&queue));
    let thread = thread::Builder::new().name("ledger".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(Writer::new(settings, database, queue, gauges).run()),
            Err(error) => tracing::error!(%error, "the ledger has no runtime: nothing is booked"),
        }
    })?;
    Ok((inbox, thread))
}

struct Writer {
    settings: LedgerSettings,
    database: DatabaseSettings,
    queue: Arc<Queue>,
    gauges: LedgerGauges,
    spool: Spool,
    retention: Retention,
    episode: Episode,
    /// `None`: the database is away, or was not asked yet.
    book: Option<Book>,
    /// What others left behind may have to be taken over.
    adopting: bool,
    /// When it is asked again, and how long after that.
    retry_at: Instant,
    retry: Duration,
    /// Taken from the queue, and nowhere else yet: those that are being written, and those that are not.
    batch: Vec<Row>,
    held: Vec<Row>,
    /// The batch is in the spool, too.
    written_down: bool,
}

impl Writer {
    fn new(
        settings: LedgerSettings,
        database: DatabaseSettings,
        queue: Arc<Queue>,
        gauges: LedgerGauges,
    ) -> Self {
        let place = settings.spool_at(&database);
        Self {
            spool: Spool::new(place, settings.spool_size),
            retention: Retention::new(settings.retention),
            episode: Episode::new(gauges.clone()),
            book: None,
            adopting: true,
            retry_at: Instant::now(),
            retry: RETRY[0],
            batch: Vec::new(),
            held: Vec::new(),
            written_down: false,
            settings,
            database,
            queue,
            gauges,
        }
    }

    async fn run(mut self) {
        if let Err(error) = self.spool.recover() {
            tracing::error!(%error, "the ledger's spool cannot be read");
        }
        self.connect().await;
        loop {
            self.gather().await;
            let ending = self.queue.is_closed();
            self.take();
            if ending && self.queue.len() == 0 {
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
            () = self.queue.ready() => {}
            () = sleep_until(chores) => return,
        }
        if self.queue.len() < self.settings.batch_rows
            && !self.queue.is_closed()
            && let Some(since) = self.queue.since()
        {
            sleep_until(since + self.settings.batch_delay).await;
        }
    }

    fn chores(&self) -> Instant {
        match self.book {
            Some(_) if self.spool.is_empty() && self.held.is_empty() => self.retention.due(),
            Some(_) => Instant::now() + BREATH,
            None => self.retry_at,
        }
    }

    fn take(&mut self) {
        self.held.append(&mut self.queue.take());
        self.gauges.set_waiting(self.held.len());
    }

    async fn round(&mut self) {
        if self.book.is_none() && Instant::now() >= self.retry_at {
            self.connect().await;
        }
        self.write().await;
        self.replay().await;
        self.retire().await;
        self.gauges.set_waiting(self.held.len());
    }

    async fn connect(&mut self) {
        let opening = timeout(CONNECT, async {
            let mut book = Book::open(&self.database).await?;
            book.connection().set_patience(LOCK).await?;
            Ok(book)
        });
        match opening.await.unwrap_or(Err(DatabaseError::Late)) {
            Ok(book) => {
                self.book = Some(book);
                self.retry = RETRY[0];
                self.gauges.set_up(true);
            }
            Err(error) => self.lose(&error),
        }
    }

    /// The database is away.
    fn lose(&mut self, error: &DatabaseError) {
        self.book = None;
        self.gauges.set_up(false);
        self.episode.away(&self.database.site, error);
        self.retry_at = Instant::now() + self.retry;
        self.retry = (self.retry * 2).min(RETRY[1]);
    }

    /// Writes what is at hand. What does not get into the database goes to the spool.
    async fn write(&mut self) {
        while self.book.is_some() && !self.held.is_empty() {
            let many = self.held.len().min(self.settings.batch_rows);
            self.batch.extend(self.held.drain(..many));
            let begun = Instant::now();
            match self.write_batch().await {
                Ok(written) => {
                    self.batch.clear();
                    self.gauges.note_query(begun.elapsed());
                    self.gauges.add_written(written.new);
                    self.episode.lost(written.lost);
                    self.episode.back(&self.spool);
                }
                Err(error) => self.lose(&error),
            }
        }
        if self.book.is_none() {
            self.stash();
        }
    }

    async fn write_batch(&mut self) -> Result<Written, DatabaseError> {
        let Some(book) = &mut self.book else { return Err(DatabaseError::Late) };
        self.written_down = false;
        let mut safe_at = Instant::now() + UNSAFE;
        let mut writing = pin!(timeout(PATIENCE, book.write_all(&self.batch, false)));
        loop {
            tokio::select! {
                outcome = &mut writing => return outcome.unwrap_or(Err(DatabaseError::Late)),
                () = sleep_until(safe_at) => {
                    safe_at += UNSAFE;
                    if !self.written_down && matches!(self.spool.append(&self.batch), Ok(Kept::Yes)) {
                        self.written_down = true;
                        self.gauges.add_spooled(self.batch.len());
                    }
                    if self.written_down {
                        self.held.append(&mut self.queue.take());
                        put_away(&mut self.spool, &mut self.held, &self.gauges, &mut self.episode);
                    }
                }
                // A slow database must not cost the rows that come meanwhile. What it can take it is given all the same:
                // a row in the spool costs more than one that goes straight in.
                () = self.queue.crowded() => {
                    self.held.append(&mut self.queue.take());
                    if self.held.len() > BOUND {
                        self.episode.slow();
                        put_away(&mut self.spool, &mut self.held, &self.gauges, &mut self.episode);
                    }
                }
            }
        }
    }

    /// Puts what is at hand into the spool.
    fn stash(&mut self) {
        if std::mem::take(&mut self.written_down) {
            self.batch.clear();
        }
        self.batch.append(&mut self.held);
        std::mem::swap(&mut self.batch, &mut self.held);
        put_away(&mut self.spool, &mut self.held, &self.gauges, &mut self.episode);
    }

    /// Brings what waits in the spool into the database, the oldest first, until new rows have waited for a moment.
    async fn replay(&mut self) {
        let begun = Instant::now();
        while begun.elapsed() < SLICE || self.queue.len() == 0 {
            if self.queue.is_closed() && begun.elapsed() > FAREWELL / 2 {
                return;
            }
            let Some(book) = &mut self.book else { return };
            let rows = match self.spool.peek() {
                Ok(Some(rows)) => rows,
                Ok(None) if !self.adopting => return,
                Ok(None) => match self.spool.adopt() {
                    Ok(true) => continue,
                    Ok(false) => {
                        self.adopting = false;
                        return;
                    }
                    Err(error) => return self.episode.disk(&error),
                },
                Err(error) => return self.episode.disk(&error),
            };
            let asked = Instant::now();
            let writing = timeout(REPLAY_PATIENCE, book.write_all(&rows, true));
            match writing.await.unwrap_or(Err(DatabaseError::Late)) {
                Ok(written) => {
                    self.gauges.note_query(asked.elapsed());
                    self.gauges.add_written(written.new);
                    self.episode.lost(written.lost);
                    self.gauges.add_replayed(rows.len());
                    if let Err(error) = self.spool.advance() {
                        self.episode.disk(&error);
                    }
                    self.gauges.set_waiting_bytes(self.spool.waiting());
                    self.episode.back(&self.spool);
                }
                Err(error) => return self.lose(&error),
            }
        }
    }

    /// Lets rows go that are older than they are kept. Not while some wait: which of those were written already is seen
    /// by the rows that are there.
    async fn retire(&mut self) {
        let Some(book) = self.book.as_mut().filter(|_| self.spool.is_empty()) else { return };
        let retiring = timeout(REPLAY_PATIENCE, self.retention.retire(book.connection()));
        if let Err(error) = retiring.await.unwrap_or(Err(DatabaseError::Late)) {
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
        self.stash();
        self.episode.lost(self.held.len());
        self.gauges.set_waiting(0);
        if !self.spool.is_empty() {
            tracing::warn!(
                bytes = self.spool.waiting(),
                "rows wait in the ledger's spool for the next start"
            );
        }
        if let Some(book) = self.book.take() {
            let _ = timeout(FAREWELL, book.close()).await;
        }
    }
}

/// Rows into the spool. Those that the disk does not take stay at hand, as many as there is room for.
fn put_away(spool: &mut Spool, held: &mut Vec<Row>, gauges: &LedgerGauges, episode: &mut Episode) {
    while !held.is_empty() {
        let many = held.len().min(RECORD);
        match spool.append(held.get(..many).unwrap_or_default()) {
            Ok(Kept::Yes) => gauges.add_spooled(many),
            Ok(Kept::Full) => episode.lost(many),
            Err(error) => {
                episode.disk(&error);
                episode.lost(held.len().saturating_sub(BOUND));
                held.truncate(BOUND);
                break;
            }
        }
        held.drain(..many);
    }
    gauges.set_waiting_bytes(spool.waiting());
}
