//! A simulated setup from a seed: providers with troubles, settings, load.

use std::time::Duration;

use thalweg::{
    base::{Moment, Rng},
    routing::{
        FailureClass, RoutingSettings, Strategy,
        settings::{AllTripped, BudgetSettings, Sticky},
        strategy::HedgeDelay,
    },
};

use super::{
    provider::{Episode, Limit, Provider, Trouble},
    world::{Outcome, Plot},
};

const CLASSES: [FailureClass; 9] = [
    FailureClass::ServerError,
    FailureClass::Overloaded,
    FailureClass::Reset,
    FailureClass::ErrorEvent,
    FailureClass::KeyInvalid,
    FailureClass::ModelMissing,
    FailureClass::ContextTooLong,
    FailureClass::CallerMistake,
    FailureClass::RateLimited,
];

/// The share of the time in which troubles occur; all providers are well for the rest.
const TROUBLED: f64 = 0.6;
/// The longest rest of a provider ends within the last part.
const LONGEST_REST: Duration = Duration::from_secs(120);

pub fn plot(seed: u64, requests: u32) -> Plot {
    let mut dice = Rng::new(seed);
    let per_second = 10_f64.powf(dice.unit() * 3.3);
    let length = Duration::from_secs_f64(f64::from(requests) / per_second);
    let providers = (0..=dice.below(5)).map(|_| provider(length, per_second, &mut dice)).collect();
    Plot {
        seed,
        requests,
        per_second,
        providers,
        settings: settings(&mut dice),
        failover: !dice.happens(0.1),
        disconnects: if dice.happens(0.5) { 0.05 } else { 0.0 },
        sessions: if dice.happens(0.3) { 0.7 } else { 0.0 },
        patience: dice.happens(0.3).then(|| Duration::from_millis(500 + dice.below(60_000) as u64)),
    }
}

fn provider(length: Duration, per_second: f64, dice: &mut Rng) -> Provider {
    let mut provider = Provider {
        spread: 0.1 + dice.unit(),
        stalls: dice.unit() * 0.05,
        ..Provider::usual(50 + dice.below(1500) as u64)
    };
    for _ in 0..dice.below(4) {
        let (one, other) = (dice.unit() * TROUBLED, dice.unit() * TROUBLED);
        let moment = |share: f64| Moment(1) + length.mul_f64(share);
        let trouble = match dice.below(4) {
            0 => Trouble::Dead,
            1 => Trouble::Hole,
            2 => Trouble::Slow { times: 1.0 + dice.unit() * 20.0 },
            _ => Trouble::Failing { share: dice.unit(), class: CLASSES[dice.below(CLASSES.len())] },
        };
        provider = provider.in_trouble(moment(one.min(other)), moment(one.max(other)), trouble);
    }
    if dice.happens(0.2) {
        provider.limit = Some(Limit::new(1.0 + per_second * (0.2 + dice.unit())));
    }
    provider
}

fn settings(dice: &mut Rng) -> RoutingSettings {
    let mut settings = RoutingSettings { strategy: strategy(dice), ..RoutingSettings::default() };
    settings.race.max_races = 1 + dice.below(150);
    settings.hedge.share = dice.unit() * 0.2;
    settings.retry.failovers = BudgetSettings { share: dice.unit(), burst: dice.below(200) as u32 };
    settings.retry.repeats = dice.below(3) as u8;
    settings.retry.safe = dice.happens(0.2);
    settings.breaker.failures = 1 + dice.below(10) as u32;
    settings.breaker.max_cool_down = LONGEST_REST / 2;
    settings.adaptive.first_races = dice.below(50) as u32;
    settings.adaptive.cold_after = Duration::from_secs(1 + dice.below(60) as u64);
    settings.sticky = if dice.happens(0.2) { Sticky::Off } else { Sticky::Session };
    if dice.happens(0.2) {
        settings.regions = vec!["odd".into(), "even".into()];
    }
    if dice.happens(0.2) {
        settings.all_tripped = AllTripped::Refuse;
    }
    settings
}

fn strategy(dice: &mut Rng) -> Strategy {
    match dice.below(6) {
        0 => Strategy::Race { width: 2 + dice.below(3) as u8 },
        1 => Strategy::Hedge { delay: HedgeDelay::Percentile(50 + dice.below(49) as u8) },
        2 => Strategy::Hedge { delay: HedgeDelay::Fixed(Duration::from_millis(1 + dice.below(2000) as u64)) },
        3 => Strategy::Weighted,
        4 => Strategy::Adaptive,
        _ => Strategy::Priority,
    }
}

/// No candidate is starved for ever: each one that this strategy would use when all are well gets requests
/// again after its trouble. `Err` has the starved candidate.
pub fn starved(plot: &Plot, outcome: &Outcome) -> Result<(), usize> {
    let length = Duration::from_secs_f64(f64::from(plot.requests) / plot.per_second);
    let from = Moment(1) + length.mul_f64(TROUBLED) + LONGEST_REST + Duration::from_secs(60);
    let late = outcome.told.iter().filter(|told| told.at >= from).count();
    let rests_longer = |episode: &Episode| match episode.trouble {
        Trouble::Failing { class, .. } => class.consequence().rest > LONGEST_REST,
        Trouble::Dead | Trouble::Hole | Trouble::Slow { .. } => false,
    };
    let spoils = |provider: &Provider| provider.limit.is_some() || provider.episodes.iter().any(rests_longer);
    // The history is too short for a verdict, or limits and long rests decide instead.
    if late < 5000 || plot.providers.iter().any(spoils) {
        return Ok(());
    }
    let spared = !plot.settings.regions.is_empty() || plot.sessions > 0.0;
    let first = usize::from(!plot.settings.regions.is_empty() && plot.providers.len() > 1);
    let wanted: Vec<usize> = match plot.settings.strategy {
        Strategy::Weighted | Strategy::Adaptive if !spared => (0..plot.providers.len()).collect(),
        Strategy::Race { .. } | Strategy::Hedge { .. } | Strategy::Priority if plot.sessions == 0.0 => {
            vec![first]
        }
        Strategy::Race { .. }
        | Strategy::Hedge { .. }
        | Strategy::Priority
        | Strategy::Weighted
        | Strategy::Adaptive => Vec::new(),
    };
    match wanted.into_iter().find(|place| outcome.asked[*place].iter().all(|at| *at < from)) {
        Some(place) => Err(place),
        None => Ok(()),
    }
}
