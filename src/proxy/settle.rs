//! What follows from a request's end, away from the line: its closing line in the log (S0.11), its row in the ledger
//! (S3.6), the bill for its key's budget, its place in the statistics (S0.7). Ends travel in batches
//! from the worker to a thread of the process; when that cannot keep up, ends are lost and counted, never waited for.

use std::{
    io,
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
use tokio::time::sleep;
use tracing::{info, warn};

use super::{fact, fault::Refusal, news, row, snapshot::Snapshot, span};
use crate::{
    base::{DeadlineKind, Fault, FaultKind, Side, Stage},
    ledger::{LedgerWriter, RowIds},
    relay::{AddedLatency, Completed, CompletionQueue, Digests, Outcome, UsageSource},
    telemetry::{OverloadGuard, Telemetry, otlp::SpanSender},
};

/// How long a worker gathers ends before they go.
const GATHER: Duration = Duration::from_millis(20);
/// How often the workers' meters are read.
const TICK: Duration = Duration::from_secs(1);
/// Batches that may wait.
const BATCHES: usize = 256;

/// A worker's way to the thread that settles. Cloning shares it; the thread ends with the last clone.
#[derive(Clone, Debug)]
pub struct SettlementHandle {
    batches: SyncSender<Vec<Completed>>,
    board: Telemetry,
}

/// Starts the thread.
///
/// # Errors
/// The system gave no thread.
pub fn start(books: Settlement) -> io::Result<(SettlementHandle, JoinHandle<()>)> {
    let (batches, receiver) = sync_channel(BATCHES);
    let board = books.board.clone();
    let thread = thread::Builder::new().name("settle".to_owned()).spawn(move || books.keep(&receiver))?;
    Ok((SettlementHandle { batches, board }, thread))
}

impl SettlementHandle {
    /// Carries a worker's ends over until dropped.
    pub async fn carry(&self, ends: Rc<CompletionQueue>) {
        loop {
            ends.ready().await;
            sleep(GATHER).await;
            self.flush(&ends);
        }
    }

    /// Carries over what is there now.
    pub fn flush(&self, ends: &CompletionQueue) {
        let (batch, mut lost) = ends.take();
        if let Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) =
            self.batches.try_send(batch)
        {
            lost += batch.len() as u64;
        }
        if lost > 0 {
            self.board.lose(lost);
            warn!(lost, "ends of requests lost: the log cannot keep up");
        }
    }
}

/// Where ends are entered.
#[derive(Debug)]
pub struct Settlement {
    pub board: Telemetry,
    /// The names that statistics may use.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// `None`: nothing is booked.
    pub inbox: Option<LedgerWriter>,
    /// `None`: there are no traces.
    pub spans: Option<SpanSender>,
}

impl Settlement {
    /// Until the last worker has gone.
    fn keep(&self, batches: &Receiver<Vec<Completed>>) {
        let (mut ticked, mut guard) = (Instant::now(), OverloadGuard::default());
        let (mut ids, mut strangers) = (RowIds::default(), UnknownModels::default());
        let mut told = Value::Null;
        loop {
            match batches.recv_timeout(TICK) {
                Ok(batch) => self.enter(batch, &mut ids, &mut strangers),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.board.tick();
                let snapshot = self.snapshot.load();
                self.board.watch(&mut guard, snapshot.telemetry.guard);
                news::tell_sums(&self.board, snapshot.generation, &mut told);
            }
        }
    }

    fn enter(&self, batch: Vec<Completed>, ids: &mut RowIds, strangers: &mut UnknownModels) {
        let snapshot = self.snapshot.load();
        let (mut stats, now) = self.board.stats.open();
        batch.iter().for_each(|end| stats.add(now, &fact::of(end, &snapshot)));
        drop(stats);
        let (mut rows, watched) = (Vec::new(), self.board.bus.is_watched());
        let (mut left_out, entered) = (0, Instant::now());
        for mut end in batch {
            close(&end);
            if let Some(spans) = &self.spans {
                span::put(&end, spans);
            }
            let cost = row::cost(&end, &snapshot);
            if let Some(bill) = end.story.bill.take() {
                bill.pay(payable(cost));
            }
            if (self.inbox.is_none() && !watched) || !row::is_booked(&end) {
                continue;
            }
            if end.story.key.is_none() && !strangers.may_enter(entered) {
                left_out += 1;
                continue;
            }
            rows.extend(row::row(&end, cost, &snapshot, ids));
        }
        if watched {
            rows.iter().for_each(|row| news::tell_row(&self.board.bus, row));
        }
        if let Some(inbox) = &self.inbox {
            inbox.book(rows);
            inbox.leave_out(left_out);
        }
    }
}

/// Who showed no key of ours may have few rows in a second: anybody could fill the ledger. Each is logged and counted all
/// the same.
#[derive(Debug, Default)]
struct UnknownModels {
    /// When the second began, and how many have entered since.
    since: Option<Instant>,
    entered: u32,
}

impl UnknownModels {
    const MOST: u32 = 10;

    fn may_enter(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1)) {
            (self.since, self.entered) = (Some(now), 0);
        }
        self.entered = self.entered.saturating_add(1);
        self.entered <= Self::MOST
    }
}

/// In micro-units. What has no price costs nothing; what no number holds costs all that one does.
fn payable(cost: Option<u64>) -> i64 {
    cost.map_or(0, |cost| i64::try_from(cost).unwrap_or(i64::MAX))
}

/// Logs the closing line.
fn close(end: &Completed) {
    let story = &end.story;
    let figures = LogFields::of(end);
    let digests = story.figures.digests;
    macro_rules! line {
        ($level:ident, $outcome:expr $(, $name:ident = $value:expr)*) => {
            $level!(
                id = %story.id,
                path = story.path,
                status = story.status,
                model = figures.model,
                provider = story.provider.as_deref(),
                mode = figures.mode,
                strategy = figures.strategy,
                attempts = figures.attempts,
                wasted = figures.wasted,
                wasted_tokens = (story.wasted_tokens > 0).then_some(story.wasted_tokens),
                total_ms = millis(end.total),
                connected_ms = figures.attempts.map(|_| millis(story.connected_after)),
                first_byte_ms = story.figures.first_byte.map(millis),
                first_token_ms = story.figures.first_token.map(millis),
                chunks = figures.chunks,
                bytes = (story.figures.bytes > 0).then_some(story.figures.bytes),
                avg_bytes = figures.avg_bytes,
                avg_interval_ms = figures.avg_interval,
                zero_intervals = figures.zero_gaps,
                input_tokens = story.figures.usage.and_then(|usage| usage.input),
                output_tokens = story.figures.usage.and_then(|usage| usage.output),
                added_first_ms = story.added_first().map(millis),
                added_p50_ms = figures.added.map(|added| millis(added.p50)),
                added_p99_ms = figures.added.map(|added| millis(added.p99)),
                added_max_ms = figures.added.map(|added| millis(added.max)),
                waited = figures.waited,
                digest_up = digests.map(|digests| Digests::hex(&digests.received)),
                digest_down = digests.map(|digests| Digests::hex(&digests.given)),
                usage = story.figures.source.map(UsageSource::as_str),
                key = story.principal.as_deref(),
                $($name = $value,)*
                $outcome
            )
        };
    }
    match &end.outcome {
        Outcome::Complete => line!(info, "done"),
        Outcome::Gone(stage) => line!(info, "client gone", phase = phase(*stage)),
        Outcome::Fault(fault) => {
            let (words, code, phase) = (tracing::field::display(fault), code(fault), phase(fault.stage));
            match (&fault.kind, fault.side) {
                (FaultKind::Timeout(DeadlineKind::Write, _), _) => {
                    line!(info, "cut", fault = words, code = code, phase = phase);
                }
                (_, Side::Client) => line!(info, "refused", fault = words, code = code, phase = phase),
                (_, Side::Provider | Side::Gateway) => {
                    line!(warn, "failed", fault = words, code = code, phase = phase);
                }
            }
        }
    }
}

/// As the client is told it, where it still can be told.
fn code(fault: &Fault) -> &'static str {
    Refusal::from(fault.clone()).code
}

/// What a closing line tells only when there is something to tell.
struct LogFields<'a> {
    model: Option<&'a str>,
    mode: Option<&'static str>,
    strategy: Option<&'static str>,
    attempts: Option<u8>,
    wasted: Option<u8>,
    chunks: Option<u32>,
    avg_bytes: Option<f64>,
    avg_interval: Option<f64>,
    /// Share of the gaps that were below a millisecond.
    zero_gaps: Option<f64>,
    added: Option<AddedLatency>,
    waited: Option<u32>,
}

impl<'a> LogFields<'a> {
    fn of(end: &'a Completed) -> Self {
        let (story, figures) = (&end.story, &end.story.figures);
        let share = |part: f64, whole: u32| (whole > 0).then(|| round(part / f64::from(whole)));
        let gaps = figures.frames.saturating_sub(1);
        Self {
            model: (!story.model.is_empty()).then_some(&story.model),
            mode: (story.mode != "-").then_some(story.mode),
            strategy: (story.strategy != "-").then_some(story.strategy),
            wasted: (story.wasted > 0).then_some(story.wasted),
            attempts: (story.attempts > 0).then_some(story.attempts),
            chunks: (figures.frames > 0).then_some(figures.frames),
            avg_bytes: share(figures.bytes as f64, figures.frames),
            avg_interval: share(millis(figures.span), gaps),
            zero_gaps: share(f64::from(figures.zero_gaps), gaps),
            added: figures.added(),
            waited: (figures.waited > 0).then_some(figures.waited),
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// To three decimals.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// A stage in the words of an access log.
pub(super) const fn phase(stage: Stage) -> &'static str {
    match stage {
        Stage::Intake => "request",
        Stage::Pool => "pool",
        Stage::Connect => "connect",
        Stage::Send | Stage::Head => "before_head",
        Stage::FirstToken => "before_first_token",
        Stage::Body => "mid_stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_enter_ten_in_a_second() {
        let (mut strangers, begun) = (UnknownModels::default(), Instant::now());
        let mut entered =
            |millis| (0..25).filter(|_| strangers.may_enter(begun + Duration::from_millis(millis))).count();
        assert_eq!([0, 999, 1000, 1500, 7000].map(&mut entered), [10, 0, 10, 0, 10]);
    }

    #[test]
    fn what_is_too_dear_for_a_number_is_not_free() {
        let told = [None, Some(7), Some(u64::MAX)].map(payable);
        assert_eq!(told, [0, 7, i64::MAX]);
    }
}
