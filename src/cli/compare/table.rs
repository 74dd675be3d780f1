//! A comparison as text: the result of each leg, the latency that it adds to the provider's own, and the
//! recommendation. Computes nothing; the report has all figures.
//!
//! An absent figure is shown as a dash.

use std::fmt;

use crate::{
    cli::table::{Count, Micros, Share, Table},
    web::compare::{
        CompareReport,
        figures::{LegAddedLatency, Repeated},
        leg_report::LegReport,
    },
};

pub(super) struct CompareTable<'a>(pub(super) &'a CompareReport);

impl fmt::Display for CompareTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report) = *self;
        writeln!(f, "{} at {}, median of {} repeats\n", report.model, report.provider, report.repeats)?;
        write!(f, "{}", results(report))?;
        let errors = report.legs.iter().filter_map(|leg| Some((&leg.label, leg.error.as_ref()?)));
        for (label, error) in errors {
            writeln!(f, "  {label}: {error}")?;
        }
        if report.legs.iter().any(|leg| leg.added_total_us.is_some()) {
            writeln!(
                f,
                "\nAdded to the provider's own time, and how far the repeats lie apart (first row: the provider against itself)\n"
            )?;
            write!(f, "{}", added_latencies(report))?;
        }
        let verdict = &report.recommended;
        match verdict.leg {
            Some(leg) => writeln!(f, "\nRecommended: {} — {}", leg.label(), verdict.reason)?,
            None => writeln!(f, "\nRecommended: none — {}", verdict.reason)?,
        }
        verdict.how.iter().try_for_each(|how| writeln!(f, "  {how}"))
    }
}

fn results(report: &CompareReport) -> Table {
    let head =
        ["", "works", "status", "chunks", "bytes", "first byte", "first token", "total", "interval", "zero"];
    let mut table = Table::new(head);
    for leg in &report.legs {
        table.push([
            leg.label.clone(),
            if leg.works { "yes" } else { "NO" }.to_owned(),
            leg.status.map_or_else(dash, |status| status.to_string()),
            Count(leg.chunks).to_string(),
            Count(leg.bytes).to_string(),
            median(leg.ttfb_us),
            median(leg.ttft_us),
            median(leg.total_us),
            median(leg.interval_us),
            leg.zero_interval_share.map_or_else(dash, |share| Share(share).to_string()),
        ]);
    }
    table
}

fn added_latencies(report: &CompareReport) -> Table {
    let head =
        ["", "token p50", "p99", "event p50", "p99", "total p50", "p99", "token spread", "total spread"];
    let mut table = Table::new(head);
    for leg in &report.legs {
        let LegReport { added_ttft_us: token, added_event_us: event, added_total_us: total, .. } = leg;
        let ([token, token99], [event, event99], [total, total99]) =
            (percentiles(*token), percentiles(*event), percentiles(*total));
        let spreads = [leg.ttft_us, leg.total_us].map(|repeated| spread(repeated, report.repeats));
        let [token_spread, total_spread] = spreads;
        table.push([
            leg.label.clone(),
            token,
            token99,
            event,
            event99,
            total,
            total99,
            token_spread,
            total_spread,
        ]);
    }
    table
}

fn dash() -> String {
    "-".to_owned()
}

fn median(repeated: Option<Repeated>) -> String {
    repeated.map_or_else(dash, |repeated| Micros(repeated.median).to_string())
}

fn spread(repeated: Option<Repeated>, repeats: u8) -> String {
    repeated.filter(|_| repeats > 1).map_or_else(dash, |repeated| Micros(repeated.spread()).to_string())
}

fn percentiles(added: Option<LegAddedLatency>) -> [String; 2] {
    added.map_or_else(
        || [dash(), dash()],
        |added| [added.p50, added.p99].map(|micros| format!("{:+}", Micros(micros))),
    )
}
