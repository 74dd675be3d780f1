//! Who may serve a request, in which order and how many at once, and what was learnt of them. Pure: no socket, no clock,
//! no task; the time and a generator are given. Shared state is atomics.
//!
//! - [`catalog`]: which provider serves which model; makes a [`plan`], whose order comes from `order`
//! - [`course`]: one request's way through its plan; [`strategy`] and [`settings`] say how
//! - [`class`]: kinds of failure and the table of what follows from each; [`hint`]: when to come back
//! - [`record`]: what was learnt of a candidate, of its `breaker`, `window` and `pace`; [`standing`]: of a provider;
//!   [`records`]: where they are kept
//! - [`budget`]: what is rationed
//! - [`prober`]: when which provider is asked whether it is well

pub mod breaker;
pub mod budget;
pub mod catalog;
pub mod class;
pub mod course;
pub mod hint;
mod order;
pub mod pace;
pub mod plan;
pub mod prober;
pub mod record;
pub mod records;
pub mod settings;
pub mod standing;
pub mod strategy;
pub mod window;

pub use breaker::State;
pub use budget::Budgets;
pub use catalog::{Catalog, Listing, Offered, Served};
pub use class::Class;
pub use course::{Course, Move, Terms, Turn};
pub use plan::{Ask, Candidate, NoPlan, Plan, UnknownModel};
pub use prober::{Errand, HealthSettings, Looks};
pub use record::{Manner, Record};
pub use records::Records;
pub use settings::RoutingSettings;
pub use standing::{Means, Standing};
pub use strategy::Strategy;
