//! In which order candidates of equal rank are asked: as configured, thrown by weight, by what was measured, or the one
//! that knows the conversation first.

use super::{
    plan::{Candidate, Line},
    record::{Admission, Manner},
    settings::{AdaptiveSettings, RoutingSettings},
    strategy::Strategy,
};
use crate::base::{Dice, Moment, dice::mix, moment::micros};

/// A candidate that fails all the time is not thought of as worse than this.
const LEAST_SUCCESS: f64 = 0.05;
/// Stands behind all that were measured, in microseconds: 11 days.
const UNMEASURED: f64 = 1e12;

/// What an order is made by.
#[derive(Debug)]
pub(super) struct By<'a> {
    pub(super) strategy: Strategy,
    pub(super) session: Option<u64>,
    pub(super) manner: Manner,
    pub(super) settings: &'a RoutingSettings,
    pub(super) now: Moment,
}

/// Orders by group, then by distance, then by `by`.
pub(super) fn arrange(candidates: &mut Line<'_>, by: &By<'_>, dice: &mut Dice) {
    let Line::Many(candidates) = candidates else { return };
    candidates.sort_by_key(|candidate| (candidate.group, candidate.distance));
    for equals in candidates.chunk_by_mut(|a, b| (a.group, a.distance) == (b.group, b.distance)) {
        if equals.len() < 2 {
            continue;
        }
        match by.strategy {
            Strategy::Priority | Strategy::Race { .. } | Strategy::Hedge { .. } => lead(equals, by),
            Strategy::Weighted => throw(equals, dice),
            Strategy::Adaptive => measure(equals, by, dice),
        }
        if let (Some(session), false) = (by.session, matches!(by.strategy, Strategy::Race { .. })) {
            stick(equals, session, by.now);
        }
    }
}

/// Until there are figures, who answered the pre-check first stands first (S1.5); then the configuration's order holds.
fn lead(equals: &mut [Candidate<'_>], by: &By<'_>) {
    let leads = |candidate: &Candidate<'_>| candidate.record.provider().leads(by.now);
    if let Some(place) = equals.iter().position(leads)
        && equals.iter().all(|candidate| candidate.record.pace(by.manner).peak().is_none())
        && let Some(front) = equals.get_mut(..=place)
    {
        front.rotate_right(1);
    }
}

/// A random order in which the chance of standing first is the weight's (Efraimidis and Spirakis 2006).
fn throw(equals: &mut [Candidate<'_>], dice: &mut Dice) {
    let mut keyed: Vec<(f64, Candidate<'_>)> = equals
        .iter()
        .map(|candidate| (-(1.0 - dice.unit()).ln() / f64::from(candidate.weight), *candidate))
        .collect();
    keyed.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    for (slot, (_, candidate)) in equals.iter_mut().zip(keyed) {
        *slot = candidate;
    }
}

/// The better of two chosen at random stands first, the rest by what they promise; now and then one that was not
/// measured lately (S3.3).
fn measure(equals: &mut [Candidate<'_>], by: &By<'_>, dice: &mut Dice) {
    let mut keyed: Vec<(f64, Candidate<'_>)> =
        equals.iter().map(|candidate| (promise(candidate, by, dice), *candidate)).collect();
    keyed.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let open = keyed.iter().take_while(|(promise, _)| promise.is_finite()).count();
    let first = match cold(&keyed, by, dice) {
        Some(cold) => cold,
        // Of two drawn from all that are open, the better is the one that stands further to the front.
        None if open > 2 => {
            let one = dice.below(open);
            let other = (one + 1 + dice.below(open - 1)) % open;
            one.min(other)
        }
        None => 0,
    };
    if let Some(front) = keyed.get_mut(..=first) {
        front.rotate_right(1);
    }
    for (slot, (_, candidate)) in equals.iter_mut().zip(keyed) {
        *slot = candidate;
    }
}

/// The time to a first token that is to be expected, in microseconds: the decaying peak, times the root of those that wait
/// there, over the share that succeeds. Infinite for who may not be asked.
fn promise(candidate: &Candidate<'_>, by: &By<'_>, dice: &mut Dice) -> f64 {
    let record = candidate.record;
    let seen = record.seen(by.now, by.settings.breaker.window);
    // A provider is many machines: twice the requests are not twice the wait.
    let load = (record.waiting() as f64 + 1.0).sqrt();
    match (record.admission(by.now), record.pace(by.manner).peak()) {
        (Admission::Closed { .. }, _) => f64::INFINITY,
        (Admission::Open | Admission::Probe, Some(peak)) => {
            micros(peak) as f64 * load / (1.0 - seen.failed()).max(LEAST_SUCCESS)
        }
        // Who was never measured is asked by one request at a time, until it has failed.
        (Admission::Open | Admission::Probe, None) if seen.bad == 0 && record.waiting() == 0 => dice.unit(),
        (Admission::Open | Admission::Probe, None) => UNMEASURED * load,
    }
}

/// A candidate to be measured for its own sake: it was not for long, or it comes back from a trip.
fn cold(keyed: &[(f64, Candidate<'_>)], by: &By<'_>, dice: &mut Dice) -> Option<usize> {
    let AdaptiveSettings { exploration, cold_after, .. } = by.settings.adaptive;
    let is_cold = |(promise, candidate): &(f64, Candidate<'_>)| {
        let record = candidate.record;
        let measured = record.pace(by.manner).measured();
        promise.is_finite()
            && (by.now.since(measured) > cold_after || record.admission(by.now) == Admission::Probe)
    };
    if !dice.happens(exploration) {
        return None;
    }
    keyed.iter().position(is_cold)
}

/// Rendezvous hashing over those that may be asked: a conversation moves only when its candidate is gone.
fn stick(equals: &mut [Candidate<'_>], session: u64, now: Moment) {
    let score = |candidate: &Candidate<'_>| {
        let open = !matches!(candidate.record.admission(now), Admission::Closed { .. });
        (open, mix(session ^ candidate.record.id()))
    };
    let chosen = equals.iter().enumerate().max_by_key(|(_, candidate)| score(candidate));
    if let Some((place, _)) = chosen
        && let Some(front) = equals.get_mut(..=place)
    {
        front.rotate_right(1);
    }
}
