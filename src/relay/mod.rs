//! Response bytes on their way down: the body that the client's connection pulls, what is observed as it passes, the
//! commit point and the buffered fallback. Writes the record of the request (`exchange`) and reports its completion.
//!
//! - [`body`]: what the client's connection is given
//! - [`commit`]: before and after the commit point
//! - [`stream`]: a stream that is pulled through `tap`, `holdback` and `coalesce` under its `deadlines`; `added_latency` times it
//! - [`digest`]: what bytes came and went; `trace_comment`: the comment that tells of a stream to whoever asked
//! - [`detached`]: a stream whose client has left, read on for its usage
//! - [`collect`]: a body that is collected within its limit
//! - `delayed_ack`: late acknowledgements of dense streams
//! - [`settings`]: modes, commit points and limits of the configuration

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
pub mod stream;
mod tap;
mod trace_comment;

pub use body::Body;
pub use commit::{Committed, OnFault, Uncommitted};
pub use delayed_ack::Acknowledge;
pub use detached::DetachedStreams;
pub use settings::{CommitPoint, Mode, StreamSettings};
pub use stream::{FrameSource, RelayOptions};
