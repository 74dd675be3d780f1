//! Who may serve a request, in which order and how many at once, and what was learnt of them. Pure: no socket, no clock,
//! no task; the time and a generator are given. Shared state is atomics.
//!
//! - [`catalog`]: which provider serves which model; makes a [`plan`], whose order comes from `order`
//! - [`attempt_plan`]: one request's way through its plan; [`strategy`] and [`settings`] say how
//! - [`class`]: kinds of failure and the table of what follows from each; [`hint`]: when to come back
//! - [`candidate_stats`]: what was learnt of a candidate, of its `breaker`, `window` and `latency`; [`provider_health`]: of a provider;
//!   [`stats_registry`]: where they are kept
//! - [`budget`]: what is rationed
//! - [`probe_schedule`]: when which provider is asked whether it is well

pub mod attempt_plan;
pub mod breaker;
pub mod budget;
pub mod candidate_stats;
pub mod catalog;
pub mod class;
pub mod hint;
pub mod latency;
mod order;
pub mod plan;
pub mod probe_schedule;
pub mod provider_health;
pub mod settings;
pub mod stats_registry;
pub mod strategy;
pub mod window;

pub use attempt_plan::{Action, Attempt, AttemptPlan, Policy};
pub use breaker::BreakerState;
pub use budget::Budgets;
pub use candidate_stats::{CandidateStats, ResponseKind};
pub use catalog::{Catalog, Listing, Offered, Served};
pub use class::FailureClass;
pub use plan::{Candidate, NoPlan, Plan, PlanRequest, UnknownModel};
pub use probe_schedule::{HealthSettings, Probe, ProbeSchedule};
pub use provider_health::{CheckMethod, ProviderHealth};
pub use settings::RoutingSettings;
pub use stats_registry::StatsRegistry;
pub use strategy::Strategy;
