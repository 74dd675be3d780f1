//! The settings of routing. The defaults are the documented ones; the `config` room reads and checks the
//! values.
//!
//! Shared by all workers and replaced as a whole by a reload.

use std::{sync::Arc, time::Duration};

use super::strategy::{Strategy, StrategyDefaults};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoutingSettings {
    pub strategy: Strategy,
    /// The strategies that a client may choose, as [`Strategy::is_permitted_by`] reads them. `None`: all.
    pub client_strategies: Option<Vec<String>>,
    /// The width of `race` and the delay of `hedge` if a strategy gives none.
    pub strategy_defaults: StrategyDefaults,
    pub race: RaceSettings,
    pub hedge: BudgetSettings,
    pub retry: RetrySettings,
    pub breaker: BreakerSettings,
    pub adaptive: AdaptiveSettings,
    pub sticky: Sticky,
    /// Nearest first: candidates in a region come before those in later regions, unknown regions last
    /// (S1.12).
    pub regions: Vec<Arc<str>>,
    pub all_tripped: AllTripped,
    /// A provider without the endpoint of a request is not asked at another one, in another dialect.
    pub native_only: bool,
    /// A response that no key is known to have made may be named by every key.
    pub unknown_responses: bool,
    pub models: Vec<ModelRule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaceSettings {
    /// Races at once over all workers; past the limit a request falls back to priority (S3.11).
    pub max_races: usize,
    /// A race ends after this (`PARALLEL_TIMEOUT`, S3.4).
    pub timeout: Duration,
}

/// A budget of extra attempts. The default is the one of hedges (B4).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetSettings {
    /// Extra attempts per request, on average.
    pub share: f64,
    /// Extra attempts that the budget can hold.
    pub burst: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetrySettings {
    /// Failovers over all requests, so that an outage does not multiply the load. All requests in flight may
    /// fail at once, so the budget holds one for each of them in addition to `burst`.
    pub failovers: BudgetSettings,
    /// How often the same candidate is tried again if no other is left.
    pub repeats: u8,
    /// Limit of repeats in progress, as a share of the requests in flight at the candidate.
    pub share: f64,
    /// Repeats in progress that are always allowed.
    pub min_repeats: u32,
    /// The first pause; each following one is twice as long.
    pub pause: Duration,
    pub max_pause: Duration,
    /// A request that a provider may have received is not sent again, to any candidate (`retry: safe`).
    pub safe: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerSettings {
    /// Failures in a row that trip the breaker.
    pub failures: u32,
    /// The share of failed requests in the window that trips it too,
    pub share: f64,
    /// if the window has at least this many requests.
    pub min_requests: u32,
    pub window: Duration,
    /// The length of the first trip; each following one is twice as long.
    pub cool_down: Duration,
    pub max_cool_down: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveSettings {
    /// The share of requests that go to a cold candidate to measure it.
    pub exploration: f64,
    /// A candidate is cold after this long without a sample.
    pub cold_after: Duration,
    /// The first requests race, so that all candidates are measured (S3.3).
    pub first_races: u32,
}

/// Whether a conversation stays at one candidate, and how it is recognised (B21). Never in a race.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sticky {
    Off,
    /// By `x-session-id`, `x-session-affinity` or `prompt_cache_key`.
    #[default]
    Session,
    /// The same, or by the beginning of the prompt if there is none of these.
    Prefix,
}

impl Sticky {
    #[must_use]
    pub const fn is_on(self) -> bool {
        match self {
            Self::Off => false,
            Self::Session | Self::Prefix => true,
        }
    }
}

/// How a request is handled while all its candidates are tripped or resting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AllTripped {
    #[default]
    TryLeastBad,
    Refuse,
}

/// The rule for one model name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelRule {
    pub name: Arc<str>,
    /// The names that an alias stands for, `model` or `provider/model`, tried in order. Empty: it is no
    /// alias.
    pub targets: Vec<Arc<str>>,
    /// Only these providers, in this order. Empty: all that list the model.
    pub providers: Vec<Arc<str>>,
    pub strategy: Option<Strategy>,
    /// Whether its providers may be asked in another dialect than the client's. `None`: as each provider's
    /// setting says.
    pub translate: Option<bool>,
}

impl Default for RaceSettings {
    fn default() -> Self {
        Self { max_races: 100, timeout: Duration::from_secs(30) }
    }
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self { share: 0.05, burst: 10 }
    }
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            failovers: BudgetSettings { share: 1.0, burst: 100 },
            repeats: 0,
            share: 0.2,
            min_repeats: 3,
            pause: Duration::from_millis(250),
            max_pause: Duration::from_secs(4),
            safe: false,
        }
    }
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures: 5,
            share: 0.5,
            min_requests: 20,
            window: Duration::from_secs(30),
            cool_down: Duration::from_secs(5),
            max_cool_down: Duration::from_secs(300),
        }
    }
}

impl Default for AdaptiveSettings {
    fn default() -> Self {
        Self { exploration: 0.02, cold_after: Duration::from_secs(60), first_races: 3 }
    }
}
