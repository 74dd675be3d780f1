//! Strategies against scenarios: the table of docs/ROUTING.md.

use std::{fmt, time::Duration};

use thalweg::{
    base::Moment,
    routing::{FailureClass, RoutingSettings, Strategy, strategy::HedgeDelay},
};

use super::{
    provider::{Limit, Provider, Trouble},
    world::{End, Outcome, Plot, percentile, play},
};

pub const STRATEGIES: [Strategy; 5] = [
    Strategy::Priority,
    Strategy::Weighted,
    Strategy::Adaptive,
    Strategy::Hedge { delay: HedgeDelay::Percentile(95) },
    Strategy::Race { width: 3 },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    AllWell,
    /// The first refuses connections.
    OneDead,
    /// The first swallows connections.
    OneHole,
    /// The first takes eight times as long.
    OneSlow,
    /// A thousand a second, each candidate taking 450 of them.
    Thousand,
    /// Of the first's answers, in the middle third, four in ten are errors.
    BrownOut,
}

pub const SCENARIOS: [Scenario; 6] = [
    Scenario::AllWell,
    Scenario::OneDead,
    Scenario::OneHole,
    Scenario::OneSlow,
    Scenario::Thousand,
    Scenario::BrownOut,
];

impl Scenario {
    const fn as_str(self) -> &'static str {
        match self {
            Self::AllWell => "all well",
            Self::OneDead => "one dead",
            Self::OneHole => "one swallows",
            Self::OneSlow => "one slow",
            Self::Thousand => "1000 req/s",
            Self::BrownOut => "brown-out",
        }
    }
}

/// Three candidates of 400, 450 and 500 ms.
pub fn plot(scenario: Scenario, strategy: Strategy, requests: u32) -> Plot {
    let per_second = if scenario == Scenario::Thousand { 1000.0 } else { 20.0 };
    let length = Duration::from_secs_f64(f64::from(requests) / per_second);
    let (begin, end) = (Moment::NEVER, Moment(u64::MAX));
    let mut providers: Vec<Provider> = [400, 450, 500].map(Provider::usual).into();
    let first = providers.remove(0);
    let first = match scenario {
        Scenario::AllWell => first,
        Scenario::OneDead => first.in_trouble(begin, end, Trouble::Dead),
        Scenario::OneHole => first.in_trouble(begin, end, Trouble::Hole),
        Scenario::OneSlow => first.in_trouble(begin, end, Trouble::Slow { times: 8.0 }),
        Scenario::Thousand => {
            providers.iter_mut().for_each(|provider| provider.limit = Some(Limit::new(450.0)));
            Provider { limit: Some(Limit::new(450.0)), ..first }
        }
        Scenario::BrownOut => first.in_trouble(
            Moment(1) + length / 3,
            Moment(1) + length * 2 / 3,
            Trouble::Failing { share: 0.4, class: FailureClass::ServerError },
        ),
    };
    providers.insert(0, first);
    Plot {
        seed: 42,
        requests,
        per_second,
        providers,
        settings: RoutingSettings { strategy, ..RoutingSettings::default() },
        failover: true,
        disconnects: 0.0,
        sessions: 0.0,
        patience: None,
    }
}

/// One line of the table.
pub struct Row {
    scenario: Scenario,
    strategy: Strategy,
    pub outcome: Outcome,
}

pub fn rows(requests: u32) -> Vec<Row> {
    let cells = SCENARIOS.into_iter().flat_map(|scenario| STRATEGIES.map(|strategy| (scenario, strategy)));
    let row =
        |(scenario, strategy)| Row { scenario, strategy, outcome: play(&plot(scenario, strategy, requests)) };
    cells.map(row).collect()
}

pub const HEAD: &str =
    "| scenario | strategy | mean | p50 | p95 | p99 | success | calls per request | wasted |
|---|---|---|---|---|---|---|---|---|";

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = self.outcome.first_tokens(0);
        let millis = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1000.0);
        let mean = times.iter().sum::<Duration>() / (times.len() as u32).max(1);
        let at = |share| millis(percentile(&times, share));
        write!(
            f,
            "| {} | `{}` | {} | {} | {} | {} | {:.3} % | {:.3} | {:.3} |",
            self.scenario.as_str(),
            self.strategy,
            millis(mean),
            at(0.5),
            at(0.95),
            at(0.99),
            self.outcome.share_of(End::Good) * 100.0,
            self.outcome.calls(),
            self.outcome.wasted(),
        )
    }
}
