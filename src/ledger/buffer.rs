//! Rows that have left the queue and are nowhere else yet, and the care for them while the database is asked something:
//! whatever it is, and however long it takes, no row waits long in memory alone. A process that is killed loses what came
//! within `batch_delay`, [`UNSAFE`] and the time that the disk takes.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{
    gauges::LedgerGauges,
    outage_log::OutageLog,
    queue::{BOUND, RowQueue},
    row::Row,
    spool::{Spool, SpoolState},
};

/// How long rows are in nobody's hands but ours before they are put into the spool, too.
pub(super) const UNSAFE: Duration = Duration::from_millis(80);
/// Rows that are replayed in one transaction.
const RECORD: usize = 2000;

#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) queue: Arc<RowQueue>,
    pub(super) gauges: LedgerGauges,
    pub(super) spool: Spool,
    pub(super) episode: OutageLog,
    /// Those that are not being written.
    pub(super) held: Vec<Row>,
    /// When the oldest of them is to be on the disk, if it is not being written by then.
    safe_by: Option<Instant>,
    /// How long a row may wait in the queue.
    delay: Duration,
    /// Those that are being written are in the spool, too.
    written_down: bool,
}

impl Buffer {
    pub(super) fn new(queue: Arc<RowQueue>, gauges: LedgerGauges, spool: Spool, delay: Duration) -> Self {
        let episode = OutageLog::new(gauges.clone());
        let (held, safe_by, written_down) = (Vec::new(), None, false);
        Self { queue, gauges, spool, episode, held, safe_by, delay, written_down }
    }

    /// What has come.
    pub(super) fn take(&mut self) {
        if self.held.is_empty() {
            self.safe_by = self.queue.since().map(|since| since + self.delay + UNSAFE);
        }
        self.held.append(&mut self.queue.take());
        self.episode.tell(self.queue.lost());
    }

    /// Nothing has come that is not being written or in the spool.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.queue.len() == 0
    }

    /// Asks the database something, and looks after `batch`, which is being written by that, and after what comes
    /// meanwhile. Dropping the future leaves all rows where they are.
    pub(super) async fn watch<T>(&mut self, batch: &[Row], work: impl Future<Output = T>) -> T {
        self.written_down = false;
        let mut safe_at = Instant::now() + UNSAFE;
        // One short batch after another leaves the last of what is at hand waiting for long.
        if let Some(safe_by) = self.safe_by.filter(|_| !self.held.is_empty()) {
            safe_at = safe_at.min(safe_by);
        }
        let mut work = pin!(work);
        loop {
            tokio::select! {
                outcome = &mut work => return outcome,
                () = sleep_until(safe_at) => {
                    safe_at = Instant::now() + UNSAFE;
                    self.take();
                    if self.write_down(batch) || self.held.len() > BOUND {
                        self.put_away(BOUND);
                    }
                }
                // A slow database must not cost the rows that come meanwhile. What it can take it is given all the same:
                // a row in the spool costs more than one that goes straight in.
                () = self.queue.crowded() => {
                    self.take();
                    if self.held.len() > BOUND {
                        self.episode.slow();
                        self.put_away(BOUND);
                    }
                }
            }
            self.gauges.set_waiting(self.held.len());
        }
    }

    /// The batch first, then what came after it. True: it is on the disk.
    fn write_down(&mut self, batch: &[Row]) -> bool {
        if batch.is_empty() || self.written_down {
            return true;
        }
        self.written_down = matches!(self.spool.append(batch), Ok(SpoolState::Yes));
        if self.written_down {
            self.gauges.add_spooled(batch.len());
        }
        self.written_down
    }

    /// Puts all that is at hand into the spool: the database is away.
    pub(super) fn stash(&mut self, batch: &mut Vec<Row>) {
        if std::mem::take(&mut self.written_down) {
            batch.clear();
        }
        batch.append(&mut self.held);
        std::mem::swap(batch, &mut self.held);
        self.put_away(0);
    }

    /// Rows into the spool. When that is full, `room` of them stay at hand; when the disk fails, as many as there is
    /// room for.
    fn put_away(&mut self, room: usize) {
        while !self.held.is_empty() {
            let many = self.held.len().min(RECORD);
            let room = match self.spool.append(self.held.get(..many).unwrap_or_default()) {
                Ok(SpoolState::Yes) => {
                    self.gauges.add_spooled(many);
                    self.held.drain(..many);
                    continue;
                }
                Ok(SpoolState::Full) => room,
                Err(error) => {
                    self.episode.disk(&error);
                    BOUND
                }
            };
            self.episode.lost(self.held.len().saturating_sub(room));
            self.held.truncate(room);
            break;
        }
        self.gauges.set_waiting_bytes(self.spool.waiting());
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::{
        super::{row::RowIds, tests::Folder},
        *,
    };

    fn hands(folder: &Folder, limit: u64) -> Buffer {
        let gauges = LedgerGauges::default();
        let queue = Arc::new(RowQueue::new(gauges.clone()));
        Buffer::new(queue, gauges, Spool::new(folder.0.join("s"), limit), UNSAFE)
    }

    fn rows(count: usize) -> Vec<Row> {
        let mut ids = RowIds::default();
        (0..count).map(|_| Row::new(ids.make(0), 0)).collect()
    }

    /// Whatever the database is asked: what takes long costs no row, neither a process that is killed nor for want of room.
    #[tokio::test]
    async fn rows_are_put_away_while_anything_is_waited_for() {
        let folder = Folder::new();
        let mut hands = hands(&folder, 1 << 30);
        let (queue, batch) = (Arc::clone(&hands.queue), rows(3));
        hands
            .watch(&batch, async {
                queue.push(rows(5));
                sleep(UNSAFE + UNSAFE / 2).await;
            })
            .await;
        assert_eq!((hands.gauges.read().spooled, hands.held.len(), hands.queue.len()), (8, 0, 0));
        hands
            .watch(&[], async {
                for _ in 0..5 {
                    queue.push(rows(BOUND - 1));
                    while queue.len() > 0 {
                        sleep(Duration::from_millis(1)).await;
                    }
                }
            })
            .await;
        let state = hands.gauges.read();
        assert_eq!((state.lost, state.spooled as usize + hands.held.len()), (0, 8 + 5 * (BOUND - 1)));
        assert!(hands.episode.has_told().is_none(), "nothing was lost");
    }

    /// Each batch is quick, but there are many: the last of them are on the disk in time all the same.
    #[tokio::test(start_paused = true)]
    async fn rows_behind_many_short_batches_are_put_away() {
        let folder = Folder::new();
        let mut hands = hands(&folder, 1 << 30);
        hands.queue.push(rows(10));
        hands.take();
        for batches in 1_usize.. {
            let batch: Vec<Row> = hands.held.drain(..1).collect();
            hands.watch(&batch, sleep(UNSAFE / 4 + Duration::from_millis(1))).await;
            if hands.held.is_empty() {
                // While the eighth was written, `delay` and `UNSAFE` were over.
                assert_eq!(batches, 8);
                break;
            }
        }
        assert!(hands.gauges.read().spooled > 0);
    }

    /// What the queue has no room for is counted once, and said.
    #[tokio::test]
    async fn what_the_queue_loses_is_said() {
        let folder = Folder::new();
        let mut hands = hands(&folder, 1 << 30);
        let queue = Arc::clone(&hands.queue);
        hands
            .watch(&[], async {
                queue.push(rows(BOUND + 5));
                sleep(UNSAFE + UNSAFE / 2).await;
            })
            .await;
        assert_eq!(hands.gauges.read().lost, 5);
        assert!(hands.episode.has_told().is_some());
    }

    /// A full spool is no reason to lose what the database may still take.
    #[tokio::test]
    async fn a_full_spool_leaves_rows_at_hand_while_the_database_is_asked() {
        let folder = Folder::new();
        let mut hands = hands(&folder, 10);
        let queue = Arc::clone(&hands.queue);
        hands
            .watch(&[], async {
                queue.push(rows(5));
                sleep(UNSAFE + UNSAFE / 2).await;
            })
            .await;
        assert_eq!((hands.gauges.read().lost, hands.held.len()), (0, 5));
        hands.stash(&mut Vec::new());
        assert_eq!((hands.gauges.read().lost, hands.held.len()), (5, 0));
    }
}
