//! The settlement thread of the process, and the way of completions to it. They travel in batches from each
//! worker; when the thread cannot keep up, completions are lost and counted, and no worker waits.

use std::{
    fmt, io,
    rc::Rc,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::time::timeout;
use tracing::warn;

use super::{config::SettlementConfig, events, fact, log_line, row, span};
use crate::{
    base::IdleMemory,
    database::RowBatch,
    exchange::{Completed, CompletionQueue},
    ledger::{LedgerWriter, RowIds},
    telemetry::{OverloadGuard, Telemetry, otlp::SpanSender},
};

/// How long a worker gathers completions before it sends fewer than a batch.
const BATCH_INTERVAL: Duration = Duration::from_millis(20);
/// How often the workers' meters are read.
const METER_INTERVAL: Duration = Duration::from_secs(1);
/// Batches that may wait.
const MAX_BATCHES: usize = 1024;

/// A worker's way to the settlement thread. Cloning shares it; the thread ends with the last clone.
#[derive(Clone, Debug)]
pub struct SettlementHandle {
    batches: SyncSender<Vec<Completed>>,
    telemetry: Telemetry,
}

/// Starts the thread.
///
/// # Errors
/// The system gave no thread.
pub fn start<C>(settlement: Settlement<C>) -> io::Result<(SettlementHandle, JoinHandle<()>)>
where
    C: SettlementConfig + Send + Sync + 'static,
{
    let (batches, receiver) = sync_channel(MAX_BATCHES);
    let telemetry = settlement.telemetry.clone();
    let thread = thread::Builder::new().name("settle".to_owned()).spawn(move || settlement.run(&receiver))?;
    Ok((SettlementHandle { batches, telemetry }, thread))
}

impl SettlementHandle {
    /// Sends a worker's completions until dropped.
    pub async fn carry(&self, queue: Rc<CompletionQueue>) {
        loop {
            queue.ready().await;
            let _ = timeout(BATCH_INTERVAL, queue.full()).await;
            self.flush(&queue);
        }
    }

    /// Sends the completions that are waiting now.
    pub fn flush(&self, queue: &CompletionQueue) {
        let (batch, mut lost) = queue.take();
        if let Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) =
            self.batches.try_send(batch)
        {
            lost += batch.len() as u64;
        }
        if lost > 0 {
            self.telemetry.lose(lost);
            warn!(lost, "ends of requests lost: the log cannot keep up");
        }
    }
}

/// The places that completions are entered in.
pub struct Settlement<C> {
    pub telemetry: Telemetry,
    pub config: Arc<ArcSwap<C>>,
    /// `None`: there is no ledger.
    pub ledger: Option<LedgerWriter>,
    /// `None`: there are no traces.
    pub spans: Option<SpanSender>,
}

impl<C> fmt::Debug for Settlement<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settlement").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

impl<C: SettlementConfig> Settlement<C> {
    /// Until the last worker has gone.
    fn run(&self, batches: &Receiver<Vec<Completed>>) {
        let (mut metered, mut guard) = (Instant::now(), OverloadGuard::default());
        let (mut making, mut unknown) = (RowsInMaking::default(), UnknownClientRows::default());
        let (mut memory, mut last_sums) = (IdleMemory::default(), Value::Null);
        loop {
            match batches.recv_timeout(METER_INTERVAL) {
                Ok(batch) => {
                    if batch.len() >= CompletionQueue::BATCH_SIZE {
                        memory.look(true);
                    }
                    self.enter(batch, &mut making, &mut unknown);
                }
                Err(RecvTimeoutError::Timeout) => {
                    making.trim();
                    memory.look(false);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if metered.elapsed() >= METER_INTERVAL {
                metered = Instant::now();
                making.trim();
                self.telemetry.tick();
                let config = self.config.load();
                self.telemetry.watch(&mut guard, config.telemetry().guard);
                events::send_sums(&self.telemetry, config.generation(), &mut last_sums);
            }
        }
    }

    fn enter(&self, batch: Vec<Completed>, making: &mut RowsInMaking, unknown: &mut UnknownClientRows) {
        let RowsInMaking { ids, rows, needed } = making;
        let config = self.config.load();
        let (mut stats, since_start) = self.telemetry.stats.open();
        let mut names = fact::ListedNames::default();
        for completed in &batch {
            stats.add(since_start, &fact::of(completed, &**config, &mut names));
        }
        drop(stats);
        let watched = self.telemetry.bus.has_subscribers();
        let (mut left_out, entered, now) = (0, Instant::now(), row::Now::read());
        for completed in batch {
            log_line::write(&completed);
            if let Some(spans) = &self.spans {
                span::put(&completed, spans, self.telemetry.tls);
            }
            if (self.ledger.is_none() && !watched) || !row::has_row(&completed) {
                continue;
            }
            if completed.record.key_id.is_none() && !unknown.may_enter(entered) {
                left_out += 1;
                continue;
            }
            let Some(row) = row::row(&completed, &**config, &now, ids) else { continue };
            if watched {
                events::send_row(&self.telemetry.bus, &row);
            }
            if self.ledger.is_some() {
                rows.push(&row);
            }
        }
        *needed = rows.len().max(*needed);
        if let Some(ledger) = &self.ledger {
            ledger.book(&mut *rows);
            ledger.leave_out(left_out);
        }
    }
}

#[derive(Debug, Default)]
struct RowsInMaking {
    ids: RowIds,
    /// Empty between two batches; its memory serves the next.
    rows: RowBatch,
    /// The most rows of a batch since the last look.
    needed: usize,
}

impl RowsInMaking {
    /// Gives back memory that the last batches did not need.
    fn trim(&mut self) {
        self.rows.give_back_room(std::mem::take(&mut self.needed));
    }
}

/// Bounds the rows of requests without a known key, because anybody could fill the ledger with them. Each is
/// logged and counted all the same.
#[derive(Debug, Default)]
struct UnknownClientRows {
    /// When the second began, and how many have entered since.
    since: Option<Instant>,
    entered: u32,
}

impl UnknownClientRows {
    const MAX_PER_SECOND: u32 = 10;

    fn may_enter(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1)) {
            (self.since, self.entered) = (Some(now), 0);
        }
        self.entered = self.entered.saturating_add(1);
        self.entered <= Self::MAX_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_without_a_known_key_enter_ten_rows_in_a_second() {
        let (mut unknown, begun) = (UnknownClientRows::default(), Instant::now());
        let mut entered =
            |millis| (0..25).filter(|_| unknown.may_enter(begun + Duration::from_millis(millis))).count();
        assert_eq!([0, 999, 1000, 1500, 7000].map(&mut entered), [10, 0, 10, 0, 10]);
    }
}
