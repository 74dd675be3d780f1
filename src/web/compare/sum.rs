//! The report of a comparison from the runs of its legs: each leg's repeats, summed up and compared with the
//! control's.

use super::{
    figures::{LegAddedLatency, Repeated, difference, micros},
    leg::Leg,
    leg_report::{LegReport, MAX_TIMINGS},
    leg_run::LegRun,
    params::Params,
    recommendation,
    report::CompareReport,
};

/// The runs of one leg, in the order of the rounds.
#[derive(Debug)]
pub(super) struct Repeats {
    pub(super) leg: Leg,
    pub(super) runs: Vec<LegRun>,
}

pub(super) fn report(params: &Params, provider: &str, max_tokens: u32, legs: &[Repeats]) -> CompareReport {
    let control =
        legs.iter().find(|repeats| repeats.leg == Leg::Control).map_or(&[][..], |repeats| &repeats.runs);
    let legs: Vec<LegReport> = legs.iter().map(|repeats| leg_report(repeats, control)).collect();
    CompareReport {
        thalweg_compare: 1,
        id: None,
        model: params.model.clone(),
        provider: provider.to_owned(),
        repeats: params.repeats,
        max_tokens,
        recommended: recommendation::recommend(&legs),
        legs,
    }
}

fn leg_report(repeats: &Repeats, control: &[LegRun]) -> LegReport {
    let Repeats { leg, runs } = repeats;
    let working: Vec<&LegRun> = runs.iter().filter(|run| run.works()).collect();
    let repeated = |of: &dyn Fn(&LegRun) -> Option<u64>| {
        Repeated::of(working.iter().filter_map(|run| of(run)).map(micros).collect())
    };
    let median = |of: &dyn Fn(&LegRun) -> u64| {
        let mut counts: Vec<u64> = working.iter().map(|run| of(run)).collect();
        counts.sort_unstable();
        counts.get(counts.len().saturating_sub(1) / 2).copied().unwrap_or_default()
    };
    let (ours, theirs) = match leg {
        // The control is compared with its repeat before: the noise of the measurement.
        Leg::Control => (runs.get(1..).unwrap_or_default(), control),
        Leg::AsgiParameter | Leg::AsgiHeader | Leg::AsgiEndpoint | Leg::Buffered | Leg::NonStreaming => {
            (&runs[..], control)
        }
    };
    let added = |of: &dyn Fn(&LegRun) -> Option<u64>| {
        let pairs = pairs(ours, theirs);
        LegAddedLatency::of(
            pairs.filter_map(|(ours, theirs)| Some(difference(of(ours)?, of(theirs)?))).collect(),
        )
    };
    LegReport {
        leg: *leg,
        label: leg.label().to_owned(),
        how: leg.how().to_owned(),
        works: !runs.is_empty() && working.len() == runs.len(),
        status: runs.iter().rev().find_map(|run| run.status).map(|status| status.as_u16()),
        error: runs.iter().find_map(error),
        chunks: median(&|run| run.chunks.len() as u64),
        events: median(&|run| run.events.len() as u64),
        bytes: median(&|run| run.bytes),
        connect_us: repeated(&|run| Some(run.connect)),
        ttfb_us: repeated(&|run| run.first_byte),
        ttft_us: repeated(&|run| run.first_token),
        total_us: repeated(&|run| Some(run.total)),
        interval_us: repeated(&LegRun::average_interval),
        zero_interval_share: zero_share(&working),
        added_ttft_us: added(&|run| run.first_token),
        added_total_us: added(&|run| Some(run.total)),
        added_event_us: added_per_event(ours, theirs),
        events_at_us: working.last().map_or_else(Vec::new, |run| timings(run)),
    }
}

/// The runs of a leg, each with the control's of the same round, where both worked.
fn pairs<'a>(runs: &'a [LegRun], control: &'a [LegRun]) -> impl Iterator<Item = (&'a LegRun, &'a LegRun)> {
    runs.iter().zip(control).filter(|(ours, theirs)| ours.works() && theirs.works())
}

/// Differences of single events. `None`: the numbers of events differ in a round, so there is no pairing.
fn added_per_event(runs: &[LegRun], control: &[LegRun]) -> Option<LegAddedLatency> {
    let mut differences = Vec::new();
    for (ours, theirs) in pairs(runs, control) {
        if ours.events.len() != theirs.events.len() {
            return None;
        }
        differences
            .extend(ours.events.iter().zip(&theirs.events).map(|(at, control)| difference(*at, *control)));
    }
    LegAddedLatency::of(differences)
}

fn timings(run: &LegRun) -> Vec<f64> {
    run.events.iter().take(MAX_TIMINGS).map(|at| micros(*at)).collect()
}

fn zero_share(runs: &[&LegRun]) -> Option<f64> {
    let (zero, all) =
        runs.iter().map(|run| run.zero_intervals()).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    #[expect(clippy::cast_precision_loss, reason = "counts of reads")]
    let share = zero as f64 / all as f64;
    (all > 0).then_some(share)
}

fn error(run: &LegRun) -> Option<String> {
    if let Some(fault) = &run.fault {
        return Some(fault.clone());
    }
    if run.works() {
        return None;
    }
    Some(match run.status {
        Some(status) if !status.is_success() => format!("answered {}", status.as_u16()),
        Some(_) | None => "an error event in the stream".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::load::{LoadInstant, StreamOutcome};

    fn run(token_us: u64, events_us: &[u64]) -> LegRun {
        let mut run = LegRun::new(LoadInstant::from_nanos(0));
        run.status = Some(StatusCode::OK);
        run.first_token = Some(token_us * 1000);
        run.events = events_us.iter().map(|at| at * 1000).collect();
        run.chunks = run.events.clone();
        run.close(events_us.last().copied().unwrap_or_default() * 1000, 0, StreamOutcome::default());
        run
    }

    fn params() -> Params {
        Params::parse("model=m&repeats=2").unwrap()
    }

    #[test]
    fn compares_each_repeat_with_the_control_of_its_round() {
        let runs = [
            Repeats { leg: Leg::Control, runs: vec![run(100, &[100, 5000]), run(300, &[300, 5200])] },
            Repeats { leg: Leg::AsgiHeader, runs: vec![run(140, &[140, 5040]), run(320, &[320, 5260])] },
        ];
        let report = report(&params(), "p", 9, &runs);
        let [control, header] = &report.legs[..] else { panic!("two legs") };
        assert!(control.works && header.works);
        assert_eq!(
            control.added_ttft_us,
            Some(LegAddedLatency { p50: 200.0, p99: 200.0, count: 1 }),
            "its own noise"
        );
        assert_eq!(header.events_at_us, [320.0, 5260.0]);
        assert_eq!(header.added_ttft_us, Some(LegAddedLatency { p50: 20.0, p99: 40.0, count: 2 }));
        assert_eq!(header.added_event_us, Some(LegAddedLatency { p50: 40.0, p99: 60.0, count: 4 }));
        assert_eq!(header.ttft_us, Some(Repeated { median: 140.0, min: 140.0, max: 320.0 }));
        assert_eq!((header.chunks, header.zero_interval_share), (2, Some(0.0)));
    }

    #[test]
    fn events_are_not_paired_when_their_number_differs() {
        let runs = [
            Repeats { leg: Leg::Control, runs: vec![run(100, &[100, 200])] },
            Repeats { leg: Leg::Buffered, runs: vec![run(100, &[100])] },
        ];
        let legs = report(&params(), "p", 9, &runs).legs;
        assert_eq!(
            (legs[1].added_event_us, legs[1].added_total_us.map(|added| added.count)),
            (None, Some(1))
        );
    }

    #[test]
    fn a_failed_repeat_is_reported_and_not_counted() {
        let mut bad = run(1, &[1]);
        bad.status = Some(StatusCode::BAD_GATEWAY);
        let runs = [
            Repeats { leg: Leg::Control, runs: vec![run(100, &[100]), run(100, &[100])] },
            Repeats { leg: Leg::Buffered, runs: vec![run(100, &[100]), bad] },
        ];
        let leg = report(&params(), "p", 9, &runs).legs.remove(1);
        assert_eq!((leg.works, leg.status, leg.error.as_deref()), (false, Some(502), Some("answered 502")));
        assert_eq!(leg.added_total_us, Some(LegAddedLatency { p50: 0.0, p99: 0.0, count: 1 }));
        assert_eq!(leg.ttft_us, Some(Repeated { median: 100.0, min: 100.0, max: 100.0 }));
    }
}
