//! The record of one request, from its arrival to its completion: client and key, route and model, the
//! answer's provider, the stream's figures, the usage. Owns no socket and no settings; the work that follows
//! from a completion (log, ledger, statistics, traces) is `settlement`'s.
//!
//! Invariant: every request gives exactly one [`Completed`].
//!
//! - [`record`]: the facts of one request, with its [`client`] ([`client_address`]: behind
//!   proxies) and its [`route`]
//! - [`stats`]: the figures of a response; [`digests`]: its checksums
//! - `usage`: the tokens that a request used, their cost, and its key's lease settled with them
//! - [`reuse`]: an answer that no provider was paid for
//! - [`background`]: charges of responses that are made in the background, until they are read
//! - [`wasted`]: attempts that gave the client no answer
//! - [`phase`]: the words for a stage
//! - [`progress`]: how far a stream has come; [`running`]: the requests under way; [`running_view`]: those
//!   that a viewer sees, from all workers over the [`running_board`], and with [`replica_views`] of others
//! - [`completion`]: the duty to report that a request has [`completed`]; [`queue`]: a worker's completions
//!   that wait for settlement

pub mod background;
pub mod client;
pub mod client_address;
pub mod completed;
pub mod completion;
pub mod digests;
pub mod phase;
pub mod progress;
pub mod queue;
pub mod record;
pub mod replica_views;
pub mod reuse;
pub mod route;
pub mod running;
pub mod running_board;
pub mod running_view;
pub mod stats;
mod usage;
pub mod wasted;

pub use background::{BackgroundCharge, BackgroundCharges, BackgroundPart};
pub use client::ClientInfo;
pub use completed::{Completed, Outcome};
pub use completion::Completion;
pub use digests::Digests;
pub use phase::phase;
pub use progress::{AddedSoFar, PassedText, StreamProgress};
pub use queue::CompletionQueue;
pub use record::{OnDisconnect, RequestRecord, ResponseMode};
pub use replica_views::{JoinedView, ReplicaViews};
pub use reuse::{ReuseKind, ReusedAnswer};
pub use route::RequestRoute;
pub use running::{AttemptStage, RunningRequest};
pub use running_board::RunningBoard;
pub use stats::{AddedLatency, StreamStats, UsageSource};
pub use wasted::WastedAttempt;
