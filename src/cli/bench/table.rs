//! The result of a run as text: the counts, then the percentiles in columns. Warns if the client itself was
//! the limit, because the figures are not the server's then.
//!
//! Computes no figures; the report has them.

use std::{collections::BTreeMap, fmt};

use crate::{
    cli::table::{Bytes, Count, Micros, Share, Table},
    load::{LatencySummary, LoadReport},
};

/// Above this share of a core, the client itself limits the result.
const MAX_CLIENT_CPU_SHARE: f64 = 0.9;

pub(super) struct BenchTable<'a>(pub(super) &'a LoadReport);

impl fmt::Display for BenchTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report) = *self;
        write_head(f, report)?;
        write_counts(f, report)?;
        let table = latencies(report);
        if !table.is_empty() {
            write!(f, "\n{table}")?;
        }
        writeln!(f, "\n  this client used {} of a core", Share(report.client_cpu_share))?;
        if report.client_cpu_share > MAX_CLIENT_CPU_SHARE {
            writeln!(f, "  WARNING: the client was the limit; these figures are not the server's")?;
        }
        Ok(())
    }
}

fn write_head(f: &mut fmt::Formatter<'_>, report: &LoadReport) -> fmt::Result {
    let kind = if report.stream { "streams" } else { "requests" };
    let arrival =
        report.rate_per_s.map_or_else(|| "closed loop".to_owned(), |rate| format!("{rate} requests/s"));
    writeln!(f, "{}  ({} {kind} at once, {arrival}, {:.1} s)\n", report.url, report.streams, report.elapsed_s)
}

fn write_counts(f: &mut fmt::Formatter<'_>, report: &LoadReport) -> fmt::Result {
    let requests = &report.requests;
    writeln!(
        f,
        "  requests  {} completed ({:.1}/s), {} failed, {} cut at the end",
        Count(requests.completed),
        requests.completed_per_s,
        Count(requests.failed),
        Count(requests.unfinished),
    )?;
    if report.events > 0 {
        writeln!(
            f,
            "  events    {} ({:.0}/s), {:.2} per read, {} came together with another",
            Count(report.events),
            report.events_per_s,
            report.events_per_frame,
            Share(report.coalesced_share),
        )?;
    }
    writeln!(f, "  bytes     {}", Bytes(report.bytes))?;
    if !report.statuses.is_empty() {
        writeln!(f, "  statuses  {}", joined(&report.statuses))?;
    }
    if !report.errors.is_empty() {
        writeln!(f, "  errors    {}", joined(&report.errors))?;
    }
    if requests.without_done > 0 {
        writeln!(f, "  endings   {} streams ended without saying so", Count(requests.without_done))?;
    }
    Ok(())
}

fn joined<K: fmt::Display>(counts: &BTreeMap<K, u64>) -> String {
    let counts: Vec<_> = counts.iter().map(|(name, count)| format!("{name}: {}", Count(*count))).collect();
    counts.join(", ")
}

fn latencies(report: &LoadReport) -> Table {
    let mut table = Table::new(["", "p50", "p90", "p99", "p99.9", "max", "count"]);
    for (name, summary) in [
        ("first byte", report.ttfb_us),
        ("first token", report.ttft_us),
        ("between events", report.gap_us),
        ("delivery of an event", report.delivery_us),
        ("whole answer", report.total_us),
        ("late at the start", report.schedule_lag_us),
    ] {
        if let Some(LatencySummary { p50, p90, p99, p999, max, count, .. }) = summary {
            let [p50, p90, p99, p999, max] =
                [p50, p90, p99, p999, max].map(|micros| Micros(micros).to_string());
            table.push([name.to_owned(), p50, p90, p99, p999, max, Count(count).to_string()]);
        }
    }
    table
}
