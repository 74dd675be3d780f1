//! What the statistics are told of one request when it has ended. Plain terms: this room knows no provider and no dialect.

use std::time::Duration;

use super::stream_histogram::FrameTimings;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestOutcome {
    Done,
    /// The client's own doing.
    Refused,
    /// Anybody else's.
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

/// Tokens, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenCounts {
    pub input: u64,
    pub output: u64,
    pub cached: u64,
}

/// How asking several candidates for one request went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RaceFacts {
    /// Several were asked at once from the start.
    pub is_race: bool,
    /// How many were asked beside one that was slow,
    pub hedges: u8,
    /// and whether one of these won.
    pub by_hedge: bool,
    /// From the first one's being asked to the answer that was good enough. `None`: nobody's was.
    pub won: Option<Duration>,
    /// Time was up while some were still being asked, or every one was too slow.
    pub late: bool,
}

/// One request's end. Names are those of the configuration: `None` where the client's word is all there is.
#[derive(Clone, Debug)]
pub struct RequestFacts<'a> {
    /// The route's template.
    pub path: &'static str,
    pub verdict: RequestOutcome,
    pub status: u16,
    pub provider: Option<&'a str>,
    pub model: Option<&'a str>,
    /// The key's name.
    pub key: Option<&'a str>,
    /// Requests sent to providers.
    pub attempts: u8,
    pub contest: RaceFacts,
    /// A provider's success was given to the client, or would have been had it stayed.
    pub served: bool,
    pub total: Duration,
    pub first_token: Option<Duration>,
    /// What the gateway added before the first byte.
    pub added_first: Option<Duration>,
    /// Waiting for a provider's connection: a place in the pool, dialling.
    pub waited: Option<Duration>,
    pub shape: Option<&'a FrameTimings>,
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
            verdict: RequestOutcome::Done,
            status: 200,
            provider: Some("p"),
            model: Some("m"),
            key: Some("k"),
            attempts: 1,
            contest: RaceFacts::default(),
            served: true,
            total: Duration::from_millis(500),
            first_token: Some(Duration::from_millis(100)),
            added_first: Some(Duration::from_micros(80)),
            waited: Some(Duration::ZERO),
            shape: None,
            frames: 10,
            bytes: 1000,
            tokens: TokenCounts { input: 7, output: 3, cached: 0 },
        }
    }
}
