//! Response bytes on their way down: the body that the client's connection pulls, the observation of its
//! frames, the commit point and the buffered mode. Writes the record of the request (`exchange`) and reports
//! its completion; knows no provider, key or price.
//!
//! - [`body`]: a body of bytes at hand
//! - [`commit`]: a stream before and after the commit point
//! - [`stream`]: pulls frames from its [`source`] through `tap`, `holdback` and `coalesce` under its
//!   `deadlines`; `added_latency` times them, `digest` sums them, `delayed_ack` chooses how they are
//!   acknowledged
//! - `trace_comment`: the comment at a stream's end, on request
//! - [`detached`]: streams without a client, read on for their usage
//! - [`collect`]: a body that is collected within its limit
//! - [`settings`]: how streams are relayed, by configuration

mod added_latency;
pub mod body;
mod coalesce;
pub mod collect;
pub mod commit;
mod deadlines;
mod delayed_ack;
pub mod detached;
mod digest;
mod holdback;
pub mod settings;
pub mod source;
pub mod stream;
mod tap;
mod trace_comment;

pub use body::WholeBody;
pub use commit::{Committed, OnFault, Uncommitted};
pub use delayed_ack::Acknowledge;
pub use detached::DetachedStreams;
pub use settings::{CommitPoint, FaultDisplay, Mode, StreamSettings};
pub use source::{FailureObserver, FrameSource};
pub use stream::RelayOptions;
