//! Bytes in, facts out: what a request asks for and what a response says, read from the bytes that are forwarded
//! unchanged. No I/O, no async, no clock; every fact that an edit needs is a span of the original.
//!
//! - [`dialect`]: the APIs spoken, their paths and their errors
//! - [`envelope`]: the few request fields that the gateway needs ([`field`]), by way of
//!   [`index`] (members by span), [`cursor`] (JSON's grammar) and [`text`] (runs of plain string bytes)
//! - [`splice`]: edits of a request body around slices of the original
//! - [`sse`]: events in a relayed stream, by way of [`block`] (the fields of one event)
//! - [`classify`]: what an event means to the relay, read properly ([`meaning`]) or searched for ([`needle`])
//! - [`provider_error`]: what a provider's error says of itself
//! - [`usage`]: token counts; [`estimate`]: how many a request is thought to have

mod block;
pub mod classify;
mod cursor;
pub mod dialect;
pub mod envelope;
pub mod estimate;
pub mod field;
mod index;
mod meaning;
mod needle;
pub mod position;
pub mod provider_error;
pub mod splice;
pub mod sse;
#[cfg(test)]
mod tests;
mod text;
pub mod usage;

pub use classify::{EventClass, EventFacts, classify, classify_committed, concludes};
pub use dialect::{Dialect, WireError};
pub use envelope::{Envelope, EnvelopeError};
pub use provider_error::ProviderError;
pub use splice::{Edits, splice};
pub use sse::{Event, LineTooLong, Scanner};
pub use usage::Usage;
