//! The providers' health: each provider is checked when it is due, and the result goes where requests and
//! `/health` read it. Runs on the background thread and never on a worker: a provider that stalls stalls no
//! request. When a check is due is decided in [`crate::routing`], which has no I/O; this room sends the check
//! and applies its result.
//!
//! In reading order:
//! - `runner`: [`Prober`], which providers are checked and when
//! - `precheck`: the first candidates, checked at start
//! - `provider`: one provider as the prober knows it
//! - `probe`: one check of one provider; `model_list`: the forms in which providers list their models
//! - `findings`: a check's result becomes health, list of models and state
//! - `sharing`: pauses and results, shared with other replicas by Redis; `known_facts`: the changes
//!   between two reports
//! - `state`: the state file, which keeps results over a restart

mod findings;
mod known_facts;
mod model_list;
mod precheck;
mod probe;
mod provider;
mod runner;
mod sharing;
mod state;

pub use runner::Prober;
pub use sharing::FactExchange;
pub use state::{SavedState, writer::StateFile};
