//! From courses to the report: each leg's repeats summed up and set against the control's.

use super::{
    figures::{LegAddedLatency, Repeated, difference, micros},
    leg::Leg,
    leg_run::LegRun,
    params::Params,
    recommendation,
    report::{CompareReport, LegReport, MAX_TIMINGS},
};

/// One leg's repeats, in order.
#[derive(Debug)]
pub(super) struct Repeats {
    pub(super) leg: Leg,
    pub(super) courses: Vec<LegRun>,
}

pub(super) fn report(params: &Params, provider: &str, max_tokens: u32, runs: &[Repeats]) -> CompareReport {
    let control = runs.iter().find(|run| run.leg == Leg::Control).map_or(&[][..], |run| &run.courses);
    let legs: Vec<LegReport> = runs.iter().map(|run| leg_report(run, control)).collect();
    CompareReport {
        thalweg_compare: 1,
        model: params.model.clone(),
        provider: provider.to_owned(),
        repeats: params.repeats,
        max_tokens,
        recommended: recommendation::recommend(&legs),
        legs,
    }
}

fn leg_report(run: &Repeats, control: &[LegRun]) -> LegReport {
    let Repeats { leg, courses } = run;
    let good: Vec<&LegRun> = courses.iter().filter(|course| course.works()).collect();
    let across = |of: &dyn Fn(&LegRun) -> Option<u64>| {
        Repeated::of(good.iter().filter_map(|course| of(course)).map(micros).collect())
    };
    let middle = |of: &dyn Fn(&LegRun) -> u64| {
        let mut counts: Vec<u64> = good.iter().map(|course| of(course)).collect();
        counts.sort_unstable();
        counts.get(counts.len().saturating_sub(1) / 2).copied().unwrap_or_default()
    };
    let (ours, theirs) = match leg {
        // Against its own repeat before: the noise of the measurement.
        Leg::Control => (courses.get(1..).unwrap_or_default(), control),
        Leg::AsgiParameter | Leg::AsgiHeader | Leg::AsgiEndpoint | Leg::Buffered | Leg::NonStreaming => {
            (&courses[..], control)
        }
    };
    let against = |of: &dyn Fn(&LegRun) -> Option<u64>| {
        let pairs = pairs(ours, theirs);
        LegAddedLatency::of(
            pairs.filter_map(|(ours, theirs)| Some(difference(of(ours)?, of(theirs)?))).collect(),
        )
    };
    LegReport {
        leg: *leg,
        label: leg.label().to_owned(),
        how: leg.how().to_owned(),
        works: !courses.is_empty() && good.len() == courses.len(),
        status: courses.iter().rev().find_map(|course| course.status).map(|status| status.as_u16()),
        error: courses.iter().find_map(error),
        chunks: middle(&|course| course.chunks.len() as u64),
        events: middle(&|course| course.events.len() as u64),
        bytes: middle(&|course| course.bytes),
        connect_us: across(&|course| Some(course.connect)),
        ttfb_us: across(&|course| course.first_byte),
        ttft_us: across(&|course| course.first_token),
        total_us: across(&|course| Some(course.total)),
        interval_us: across(&LegRun::average_interval),
        zero_interval_share: zero_share(&good),
        added_ttft_us: against(&|course| course.first_token),
        added_total_us: against(&|course| Some(course.total)),
        added_event_us: added_per_event(ours, theirs),
        events_at_us: good.last().map_or_else(Vec::new, |course| timings(course)),
    }
}

/// Repeats of a leg beside the control's of the same round, where both worked.
fn pairs<'a>(courses: &'a [LegRun], control: &'a [LegRun]) -> impl Iterator<Item = (&'a LegRun, &'a LegRun)> {
    courses.iter().zip(control).filter(|(ours, theirs)| ours.works() && theirs.works())
}

/// Pairing events is meaningful only when every round had as many of them on both legs.
fn added_per_event(courses: &[LegRun], control: &[LegRun]) -> Option<LegAddedLatency> {
    let mut differences = Vec::new();
    for (ours, theirs) in pairs(courses, control) {
        if ours.events.len() != theirs.events.len() {
            return None;
        }
        differences
            .extend(ours.events.iter().zip(&theirs.events).map(|(at, control)| difference(*at, *control)));
    }
    LegAddedLatency::of(differences)
}

fn timings(course: &LegRun) -> Vec<f64> {
    course.events.iter().take(MAX_TIMINGS).map(|at| micros(*at)).collect()
}

fn zero_share(courses: &[&LegRun]) -> Option<f64> {
    let (zero, all) = courses
        .iter()
        .map(|course| course.zero_intervals())
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    #[expect(clippy::cast_precision_loss, reason = "counts of reads")]
    let share = zero as f64 / all as f64;
    (all > 0).then_some(share)
}

fn error(course: &LegRun) -> Option<String> {
    if let Some(fault) = &course.fault {
        return Some(fault.clone());
    }
    if course.works() {
        return None;
    }
    Some(match course.status {
        Some(status) if !status.is_success() => format!("answered {}", status.as_u16()),
        Some(_) | None => "an error event in the stream".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::load::{LoadInstant, StreamOutcome};

    fn course(token_us: u64, events_us: &[u64]) -> LegRun {
        let mut course = LegRun::new(LoadInstant::from_nanos(0));
        course.status = Some(StatusCode::OK);
        course.first_token = Some(token_us * 1000);
        course.events = events_us.iter().map(|at| at * 1000).collect();
        course.chunks = course.events.clone();
        course.close(events_us.last().copied().unwrap_or_default() * 1000, 0, StreamOutcome::default());
        course
    }

    fn params() -> Params {
        Params::parse("model=m&repeats=2").unwrap()
    }

    #[test]
    fn sets_each_repeat_against_the_control_of_its_round() {
        let runs = [
            Repeats {
                leg: Leg::Control,
                courses: vec![course(100, &[100, 5000]), course(300, &[300, 5200])],
            },
            Repeats {
                leg: Leg::AsgiHeader,
                courses: vec![course(140, &[140, 5040]), course(320, &[320, 5260])],
            },
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
            Repeats { leg: Leg::Control, courses: vec![course(100, &[100, 200])] },
            Repeats { leg: Leg::Buffered, courses: vec![course(100, &[100])] },
        ];
        let legs = report(&params(), "p", 9, &runs).legs;
        assert_eq!(
            (legs[1].added_event_us, legs[1].added_total_us.map(|added| added.count)),
            (None, Some(1))
        );
    }

    #[test]
    fn a_repeat_that_failed_is_told_and_not_counted() {
        let mut bad = course(1, &[1]);
        bad.status = Some(StatusCode::BAD_GATEWAY);
        let runs = [
            Repeats { leg: Leg::Control, courses: vec![course(100, &[100]), course(100, &[100])] },
            Repeats { leg: Leg::Buffered, courses: vec![course(100, &[100]), bad] },
        ];
        let leg = report(&params(), "p", 9, &runs).legs.remove(1);
        assert_eq!((leg.works, leg.status, leg.error.as_deref()), (false, Some(502), Some("answered 502")));
        assert_eq!(leg.added_total_us, Some(LegAddedLatency { p50: 0.0, p99: 0.0, count: 1 }));
        assert_eq!(leg.ttft_us, Some(Repeated { median: 100.0, min: 100.0, max: 100.0 }));
    }
}
