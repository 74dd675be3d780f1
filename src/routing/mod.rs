//! Selects the candidates of a request, their order and how many run at once, and keeps the statistics behind
//! the choice. Pure: no socket, no clock, no task; the time and a random generator are arguments. Shared
//! state is atomics.
//!
//! - [`catalog`]: which provider serves which model; makes a [`plan`], which `order` sorts
//! - [`attempt_plan`]: runs one request through its plan, as [`strategy`] and [`settings`] say
//! - [`class`]: classes of failure and the consequence of each; [`retry_after`]: the provider's requested
//!   pause
//! - [`candidate_stats`]: the statistics of a candidate, with its `breaker`, `window`, `latency`,
//!   `caller_streak` and `endpoint_breakers`; [`provider_health`]: the state of a provider;
//!   [`endpoint_memory`]: the endpoints that either has; [`stats_registry`]: the map of both;
//!   [`model_details`]: the fields of listed models
//! - `refused_options`: options that models of a provider have refused
//! - `shared_fact`: the pauses that replicas report to each other
//! - [`known_endpoints`]: the endpoints of well-known providers
//! - [`budget`]: limits over all requests on races, hedges, failovers and repeats
//! - [`probe_schedule`]: when each provider is probed

pub mod attempt_plan;
pub mod breaker;
pub mod budget;
mod caller_streak;
pub mod candidate_stats;
pub mod catalog;
pub mod class;
mod endpoint_breakers;
pub mod endpoint_memory;
pub mod known_endpoints;
pub mod latency;
pub mod model_details;
mod order;
pub mod plan;
pub mod probe_schedule;
pub mod provider_health;
mod refused_options;
pub mod retry_after;
pub mod settings;
mod shared_fact;
pub mod stats_registry;
pub mod strategy;
pub mod window;

pub use attempt_plan::{Action, Attempt, AttemptPlan, Policy};
pub use breaker::BreakerState;
pub use budget::Budgets;
pub use candidate_stats::{CandidateStats, ResponseKind};
pub use catalog::{Catalog, Listing, OfferedModel, RoutedProvider};
pub use class::FailureClass;
pub use endpoint_memory::EndpointMemory;
pub use known_endpoints::KnownEndpoints;
pub use model_details::ModelDetails;
pub use plan::{Candidate, NoPlan, Plan, PlanRequest, UnknownModel};
pub use probe_schedule::{HealthSettings, Probe, ProbeSchedule};
pub use provider_health::{CheckMethod, ProviderHealth};
pub use refused_options::RefusedOptions;
pub use settings::RoutingSettings;
pub use shared_fact::SharedFact;
pub use stats_registry::StatsRegistry;
pub use strategy::Strategy;
