//! What follows from a request's end, away from the line: its closing line in the log (S0.11). Ends travel in batches
//! from the worker to a thread of the process; when that cannot keep up, ends are lost and counted, never waited for.

use std::{
    io,
    rc::Rc,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::time::sleep;
use tracing::{info, warn};

use crate::{
    base::{Side, Stage},
    relay::{End, Ends, Outcome},
};

/// How long a worker gathers ends before they go.
const GATHER: Duration = Duration::from_millis(20);
/// Batches that may wait.
const BATCHES: usize = 256;

/// A worker's way to the thread that settles. Cloning shares it; the thread ends with the last clone.
#[derive(Clone, Debug)]
pub struct Settler(SyncSender<Vec<End>>);

/// Starts the thread.
///
/// # Errors
/// The system gave no thread.
pub fn start() -> io::Result<(Settler, JoinHandle<()>)> {
    let (sender, receiver) = sync_channel(BATCHES);
    let thread = thread::Builder::new().name("settle".to_owned()).spawn(move || settle(&receiver))?;
    Ok((Settler(sender), thread))
}

impl Settler {
    /// Carries a worker's ends over until dropped.
    pub async fn carry(&self, ends: Rc<Ends>) {
        loop {
            ends.ready().await;
            sleep(GATHER).await;
            self.flush(&ends);
        }
    }

    /// Carries over what is there now.
    pub fn flush(&self, ends: &Ends) {
        let (batch, mut lost) = ends.take();
        if let Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) = self.0.try_send(batch) {
            lost += batch.len() as u64;
        }
        if lost > 0 {
            warn!(lost, "ends of requests lost: the log cannot keep up");
        }
    }
}

fn settle(receiver: &Receiver<Vec<End>>) {
    while let Ok(batch) = receiver.recv() {
        for end in &batch {
            close(end);
        }
    }
}

/// Logs the closing line.
fn close(end: &End) {
    let story = &end.story;
    let figures = &story.figures;
    let millis = |duration: Duration| duration.as_micros() as f64 / 1000.0;
    let gaps = figures.frames.saturating_sub(1);
    let share = |part: f64, whole: u32| if whole == 0 { 0.0 } else { part / f64::from(whole) };
    let usage = figures.usage.unwrap_or_default();
    macro_rules! line {
        ($level:ident, $outcome:expr, $($more:tt)*) => {
            $level!(
                id = %story.id,
                path = story.path,
                model = %story.model,
                provider = story.provider.as_deref().unwrap_or("-"),
                mode = story.mode,
                status = story.status,
                attempts = story.attempts,
                chunks = figures.frames,
                events = figures.events,
                bytes = figures.bytes,
                avg_bytes = share(figures.bytes as f64, figures.frames),
                total_ms = millis(end.total),
                connected_ms = millis(story.connected_after),
                first_byte_ms = figures.first_byte.map(millis),
                first_token_ms = figures.first_token.map(millis),
                avg_interval_ms = share(millis(figures.span), gaps),
                zero_intervals = share(f64::from(figures.zero_gaps), gaps),
                input_tokens = usage.input,
                output_tokens = usage.output,
                $($more)*
                $outcome
            )
        };
    }
    match &end.outcome {
        Outcome::Complete => line!(info, "done",),
        Outcome::Gone(stage) => line!(info, "client gone", phase = phase(*stage),),
        Outcome::Fault(fault) if fault.side == Side::Client => {
            line!(info, "refused", fault = %fault, phase = phase(fault.stage),);
        }
        Outcome::Fault(fault) => line!(warn, "failed", fault = %fault, phase = phase(fault.stage),),
    }
}

/// A stage in the words of an access log.
const fn phase(stage: Stage) -> &'static str {
    match stage {
        Stage::Intake => "request",
        Stage::Pool => "pool",
        Stage::Connect => "connect",
        Stage::Send | Stage::Head => "before_head",
        Stage::FirstToken => "before_first_token",
        Stage::Body => "mid_stream",
    }
}
