//! Everything that can be configured about the choice of candidates. The defaults are those of the documentation.

use std::{sync::Arc, time::Duration};

use super::strategy::{Strategy, StrategyDefaults};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoutingSettings {
    pub strategy: Strategy,
    /// What `race` and `hedge` mean without figures.
    pub figures: StrategyDefaults,
    pub race: RaceSettings,
    pub hedge: Ration,
    pub retry: RetrySettings,
    pub breaker: BreakerSettings,
    pub adaptive: AdaptiveSettings,
    pub sticky: Sticky,
    /// Nearest first: candidates there are asked before those of later ones, and those before the rest (S1.12).
    pub regions: Vec<Arc<str>>,
    pub all_tripped: AllTripped,
    pub models: Vec<ModelRule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaceSettings {
    /// Races at once, over all workers; past it a request falls back to priority (S3.11).
    pub max_races: usize,
    /// A race is over after this (`PARALLEL_TIMEOUT`, S3.4).
    pub timeout: Duration,
}

/// How many further calls requests may bring about. The default is that of hedges (B4).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ration {
    /// Further calls per request, at most.
    pub share: f64,
    /// Further calls saved up while none were needed.
    pub burst: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetrySettings {
    /// Calls to other candidates because one failed, over all requests: so that a bad day does not multiply the load. What
    /// is under way may fail all at once, so one for each is saved up beside `burst`.
    pub failovers: Ration,
    /// How often the same candidate is asked again when there is nobody else.
    pub repeats: u8,
    /// Repeats under way, as a share of the requests under way at the candidate.
    pub share: f64,
    /// And so many in any case.
    pub least: u32,
    /// The first pause; each following is twice as long.
    pub pause: Duration,
    pub longest_pause: Duration,
    /// A request that may have reached a provider is not sent again, to nobody (`retry: safe`).
    pub safe: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerSettings {
    /// Trips after so many failures in a row.
    pub failures: u32,
    /// Or when this share of the window's requests failed,
    pub share: f64,
    /// if there were so many of them at least.
    pub least: u32,
    pub window: Duration,
    /// How long the first trip lasts; each following is twice as long.
    pub cool_down: Duration,
    pub longest_cool_down: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveSettings {
    /// The share of requests that measure a candidate that was not measured lately.
    pub exploration: f64,
    /// So long without a sample, and a candidate is cold.
    pub cold_after: Duration,
    /// Requests that race, to have measures of all to begin with (S3.3).
    pub first_races: u32,
}

/// Whether the same conversation goes to the same candidate, and what it is recognised by (B21). Never in a race.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sticky {
    Off,
    /// By `x-session-id`, `x-session-affinity` or `prompt_cache_key`.
    #[default]
    Session,
    /// And without one, by the beginning of the prompt.
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

/// What becomes of a request whose candidates are all tripped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AllTripped {
    #[default]
    TryLeastBad,
    Refuse,
}

/// What is special about one model's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelRule {
    pub name: Arc<str>,
    /// What it is called elsewhere: `model` or `provider/model`, tried in order. Empty: its own name.
    pub stands_for: Vec<Arc<str>>,
    /// Only these providers, in this order. Empty: all that serve it.
    pub providers: Vec<Arc<str>>,
    pub strategy: Option<Strategy>,
}

impl Default for RaceSettings {
    fn default() -> Self {
        Self { max_races: 100, timeout: Duration::from_secs(30) }
    }
}

impl Default for Ration {
    fn default() -> Self {
        Self { share: 0.05, burst: 10 }
    }
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            failovers: Ration { share: 1.0, burst: 100 },
            repeats: 0,
            share: 0.2,
            least: 3,
            pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(4),
            safe: false,
        }
    }
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures: 5,
            share: 0.5,
            least: 20,
            window: Duration::from_secs(30),
            cool_down: Duration::from_secs(5),
            longest_cool_down: Duration::from_secs(300),
        }
    }
}

impl Default for AdaptiveSettings {
    fn default() -> Self {
        Self { exploration: 0.02, cold_after: Duration::from_secs(60), first_races: 0 }
    }
}
