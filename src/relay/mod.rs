//! Response bytes on their way down: the body that the client's connection pulls, what is observed as it passes, the
//! commit point, the buffered fallback, and the one end of every request.
//!
//! - [`body`]: what the client's connection is given
//! - [`commit`]: before and after the commit point
//! - [`stream`]: a stream that is pulled through `tap`, `holdback` and `coalesce` under its `deadlines`; `added_latency` times it
//! - [`digest`]: what bytes came and went; `trace_comment`: the comment that tells of a stream to whoever asked
//! - [`detached`]: a stream whose client has left, read on for its usage
//! - [`collect`]: a body that is collected within its limit
//! - [`client_info`]: who asked
//! - [`end`]: the end, told once; [`usage_accounting`]: what the request used

mod added_latency;
pub mod body;
pub mod client_info;
mod coalesce;
pub mod collect;
pub mod commit;
mod deadlines;
mod delayed_ack;
pub mod detached;
pub mod digest;
pub mod end;
mod holdback;
pub mod settings;
pub mod stream;
mod tap;
mod trace_comment;
pub mod usage_accounting;

pub use body::Body;
pub use client_info::ClientInfo;
pub use commit::{Committed, OnFault, Uncommitted};
pub use delayed_ack::Acknowledge;
pub use detached::DetachedStreams;
pub use digest::Digests;
pub use end::{AddedLatency, Completed, Completion, CompletionQueue, Outcome, RequestRecord, StreamStats};
pub use settings::{CommitPoint, Mode, OnDisconnect, StreamSettings};
pub use stream::{FrameSource, RelayOptions};
pub use usage_accounting::UsageSource;
