//! The result of a run. Names are stable and carry units, because programs read it and `perf/` stores it.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    latency::LatencySummary,
    plan::{Arrival, LoadPlan},
    totals::LoadTotals,
};

/// `*_us` are microseconds. A distribution is absent when nothing was recorded in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// Version of this format.
    pub thalweg_bench: u32,
    pub url: String,
    pub streams: u32,
    /// Absent: closed loop.
    pub rate_per_s: Option<f64>,
    pub stream: bool,
    /// The counted time, without the warm-up.
    pub elapsed_s: f64,
    pub requests: Requests,
    pub statuses: BTreeMap<u16, u64>,
    pub errors: BTreeMap<String, u64>,
    pub events: u64,
    pub events_per_s: f64,
    /// Reads that returned bytes.
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
    /// CPU time of this thread divided by the counted time. Near 1, the client was the limit.
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
    /// Streams that ended without their closing event.
    pub without_done: u64,
}

impl LoadReport {
    pub(super) fn new(plan: &LoadPlan, totals: &LoadTotals, elapsed: Duration, cpu: Duration) -> Self {
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
                started: totals.started,
                completed: totals.completed,
                failed: totals.failed(),
                unfinished: totals.started.saturating_sub(totals.completed + totals.failed()),
                completed_per_s: per_s(totals.completed),
                without_done: totals.without_done,
            },
            statuses: totals.statuses.clone(),
            errors: totals.errors.iter().map(|(class, count)| (class.as_str().to_owned(), *count)).collect(),
            events: totals.events,
            events_per_s: per_s(totals.events),
            frames: totals.frames,
            events_per_frame: ratio(totals.events, count(totals.frames).max(1.0)),
            coalesced_share: ratio(totals.coalesced, count(totals.events).max(1.0)),
            bytes: totals.bytes,
            bytes_per_s: per_s(totals.bytes),
            ttfb_us: totals.ttfb.summary(),
            ttft_us: totals.ttft.summary(),
            gap_us: totals.gap.summary(),
            total_us: totals.total.summary(),
            delivery_us: totals.delivery.summary(),
            schedule_lag_us: totals.lag.summary(),
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
