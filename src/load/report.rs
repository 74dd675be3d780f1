//! The result of a run, with names that stay and units in them: programs read it, and `perf/` keeps it.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    latency::LatencySummary,
    plan::{Arrival, LoadPlan},
    totals::LoadTotals,
};

/// `*_us` are microseconds; a distribution is absent when nothing was recorded in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// Version of this format.
    pub thalweg_bench: u32,
    pub url: String,
    pub streams: u32,
    /// Absent: closed loop.
    pub rate_per_s: Option<f64>,
    pub stream: bool,
    /// The time that was counted, without the warm-up.
    pub elapsed_s: f64,
    pub requests: Requests,
    pub statuses: BTreeMap<u16, u64>,
    pub errors: BTreeMap<String, u64>,
    pub events: u64,
    pub events_per_s: f64,
    /// Reads that brought something.
    pub frames: u64,
    pub events_per_frame: f64,
    /// Share of events that came in one read with an earlier one.
    pub coalesced_share: f64,
    pub bytes: u64,
    pub bytes_per_s: f64,
    /// Request to first byte of the body.
    pub ttfb_us: Option<LatencySummary>,
    /// Request to first content or reasoning.
    pub ttft_us: Option<LatencySummary>,
    /// Between two events of a stream.
    pub gap_us: Option<LatencySummary>,
    /// Request to the end of the body.
    pub total_us: Option<LatencySummary>,
    /// From the stamp `"t"` inside an event to its arrival.
    pub delivery_us: Option<LatencySummary>,
    /// How late an open loop's requests were sent.
    pub schedule_lag_us: Option<LatencySummary>,
    /// CPU time of this thread over the time that was counted: near 1 the client was the limit.
    pub client_cpu_share: f64,
    pub client_cpu_s: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Requests {
    pub started: u64,
    pub completed: u64,
    pub failed: u64,
    /// Still in flight at the end, and cut.
    pub unfinished: u64,
    pub completed_per_s: f64,
    /// Streams that ended without saying so.
    pub without_done: u64,
}

impl LoadReport {
    pub(super) fn new(plan: &LoadPlan, tally: &LoadTotals, elapsed: Duration, cpu: Duration) -> Self {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        let per_s = |count| ratio(count, seconds);
        Self {
            thalweg_bench: 1,
            url: format!("{}{}", plan.target.base, plan.dialect.path()),
            streams: plan.streams.get(),
            rate_per_s: match plan.arrival {
                Arrival::Closed => None,
                Arrival::Open { per_second } => Some(per_second),
            },
            stream: plan.stream,
            elapsed_s: seconds,
            requests: Requests {
                started: tally.started,
                completed: tally.completed,
                failed: tally.failed(),
                unfinished: tally.started.saturating_sub(tally.completed + tally.failed()),
                completed_per_s: per_s(tally.completed),
                without_done: tally.without_done,
            },
            statuses: tally.statuses.clone(),
            errors: tally.errors.iter().map(|(class, count)| (class.as_str().to_owned(), *count)).collect(),
            events: tally.events,
            events_per_s: per_s(tally.events),
            frames: tally.frames,
            events_per_frame: ratio(tally.events, count(tally.frames).max(1.0)),
            coalesced_share: ratio(tally.coalesced, count(tally.events).max(1.0)),
            bytes: tally.bytes,
            bytes_per_s: per_s(tally.bytes),
            ttfb_us: tally.ttfb.summary(),
            ttft_us: tally.ttft.summary(),
            gap_us: tally.gap.summary(),
            total_us: tally.total.summary(),
            delivery_us: tally.delivery.summary(),
            schedule_lag_us: tally.lag.summary(),
            client_cpu_share: cpu.as_secs_f64() / seconds,
            client_cpu_s: cpu.as_secs_f64(),
        }
    }
}

fn ratio(dividend: u64, divisor: f64) -> f64 {
    count(dividend) / divisor
}

#[expect(clippy::cast_precision_loss, reason = "no run counts to 2^53")]
const fn count(number: u64) -> f64 {
    number as f64
}
