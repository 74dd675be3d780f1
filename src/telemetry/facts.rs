//! The facts of one completed request, as the statistics take them. Plain numbers and names, because this
//! room has no types of providers and dialects. Never sent anywhere: the ledger's row and the log line are
//! made elsewhere.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::stream_histogram::FrameTimings;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestOutcome {
    Done,
    /// The client caused it.
    Refused,
    /// The provider or the gateway caused it.
    Failed,
    /// The client left, in this phase.
    Gone(&'static str),
}

impl RequestOutcome {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Gone(_) => "client_gone",
        }
    }
}

/// Token counts; 0 where unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCounts {
    pub input: u64,
    pub output: u64,
    pub cached: u64,
}

/// The parallel attempts of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RaceFacts {
    /// Several attempts started at once.
    pub is_race: bool,
    /// Hedges that were started.
    pub hedges: u8,
    /// Whether a hedge won.
    pub by_hedge: bool,
    /// From the first attempt's start to the commit of the winner. `None`: no attempt won.
    pub won: Option<Duration>,
    /// The race's time ran out before an attempt won, or every attempt was too slow.
    pub late: bool,
}

/// One completed request. Names come from the configuration; `None` where only the client named one.
#[derive(Clone, Debug)]
pub struct RequestFacts<'a> {
    /// The route's template.
    pub path: &'static str,
    pub outcome: RequestOutcome,
    pub status: u16,
    pub provider: Option<&'a str>,
    pub model: Option<&'a str>,
    /// The key's name.
    pub key: Option<&'a str>,
    /// Attempts.
    pub attempts: u8,
    pub race: RaceFacts,
    /// A provider's success reached the client, or would have if the client had stayed.
    pub served: bool,
    pub total: Duration,
    pub first_token: Option<Duration>,
    /// Added latency before the first byte.
    pub added_first: Option<Duration>,
    /// The wait for a provider's connection: pool and dial.
    pub waited: Option<Duration>,
    pub frame_timings: Option<&'a FrameTimings>,
    pub frames: u32,
    pub bytes: u64,
    pub tokens: TokenCounts,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A request of model `m` at provider `p` by key `k` that went well.
    pub(crate) fn done() -> RequestFacts<'static> {
        RequestFacts {
            path: "/v1/chat/completions",
            outcome: RequestOutcome::Done,
            status: 200,
            provider: Some("p"),
            model: Some("m"),
            key: Some("k"),
            attempts: 1,
            race: RaceFacts::default(),
            served: true,
            total: Duration::from_millis(500),
            first_token: Some(Duration::from_millis(100)),
            added_first: Some(Duration::from_micros(80)),
            waited: Some(Duration::ZERO),
            frame_timings: None,
            frames: 10,
            bytes: 1000,
            tokens: TokenCounts { input: 7, output: 3, cached: 0 },
        }
    }
}
