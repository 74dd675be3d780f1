//! Answers that were given before, for equal requests: opt-in, complete and good ones only. Owns the keys,
//! the entries, the memory that holds them, bounded in bytes, and their layer in Redis; decides nothing about
//! a request and sends nothing: `proxy` asks it.
//!
//! - [`settings`]: the configuration's `cache`
//! - [`key`]: the digest of all that can change an answer
//! - [`directive`]: a request's wishes about the cache
//! - [`entry`]: one stored answer; [`gathering`]: an answer on its way into one; `stored_form`: its bytes in
//!   Redis
//! - [`flight`]: an answer under way, for equal requests at once
//! - [`memory`]: the entries of the process, and their figures; [`tier`]: those that replicas share in Redis

pub mod directive;
pub mod entry;
pub mod flight;
pub mod gathering;
pub mod key;
pub mod memory;
pub mod settings;
mod stored_form;
pub mod tier;

pub use directive::{CacheDirective, UnknownDirective};
pub use entry::{AnswerMaker, FrameMark, MakerPlace, StoredAnswer};
pub use flight::{FlightRegistry, FlightRole};
pub use gathering::AnswerGathering;
pub use key::{AnswerKey, AnswerKeyBuilder};
pub use memory::{AnswerCache, AnswerCacheFigures};
pub use settings::{CachePolicy, CacheSettings, ReplayPace};
pub use tier::{AnswerTier, TierFigures, TierWriter};
