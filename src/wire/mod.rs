//! Reads requests and responses from the bytes that are forwarded unchanged. No I/O, no async, no clock;
//! every fact that an edit needs is a span of the original.
//!
//! - [`dialect`]: the supported APIs and their paths; [`error`]: the JSON of errors in each; [`endpoint`]:
//!   the dialect of each endpoint
//! - [`envelope`]: the few request fields that the gateway needs ([`field`]), found by [`index`] (members by
//!   span), [`cursor`] (JSON grammar) and [`text`] (bytes as bit masks); [`position`]: line and
//!   column of an error
//! - [`form`]: the fields of a multipart body that the gateway needs
//! - [`batch_item`]: the items of a batch
//! - [`splice`]: edits of a request body around slices of the original
//! - [`sse`]: events in a relayed stream, split into fields by [`block`]
//! - [`classify`]: the class of an event ([`event_class`]) and its counts ([`event_usage`]), from its parsed
//!   JSON ([`event_json`], as much of it as is looked at: [`kept_members`]) or from a search for member names
//!   ([`member_search`])
//! - [`content_shape`]: the bytes that content events have in common
//! - [`answer_end`]: whether a stream has come to the end of its answer
//! - [`minted`]: ids and sealed texts that only their maker understands
//! - [`own_seals`]: reasoning that the gateway itself has sealed, taken out of a request
//! - `response_id`: the id of a response, from its first event
//! - [`provider_error`]: code, type and message of a provider's error
//! - [`usage`]: token counts; [`estimate`]: the estimated token count of a request

pub mod answer_end;
pub mod batch_item;
mod block;
pub mod classify;
pub mod content_shape;
mod cursor;
pub mod dialect;
pub mod endpoint;
pub mod envelope;
pub mod error;
pub mod estimate;
mod event_class;
mod event_json;
mod event_usage;
pub mod field;
pub mod form;
mod index;
mod kept_members;
mod member_search;
pub mod minted;
pub mod own_seals;
pub mod position;
pub mod provider_error;
mod response_id;
pub mod splice;
pub mod sse;
#[cfg(test)]
mod tests;
mod text;
pub mod usage;

pub use answer_end::AnswerEnd;
pub use classify::{EventFacts, classify, classify_committed, ends_answer, is_idle};
pub use content_shape::ContentShape;
pub use dialect::Dialect;
pub use endpoint::ModelUse;
pub use envelope::{Envelope, EnvelopeError};
pub use error::{FailedStream, WireError};
pub use event_class::EventClass;
pub use event_usage::EventUsage;
pub use form::{Form, FormError};
pub use provider_error::ProviderError;
pub use response_id::response_id;
pub use splice::{Edits, splice};
pub use sse::{BYTE_ORDER_MARK, Event, LineTooLong, Scanner};
pub use usage::Usage;
