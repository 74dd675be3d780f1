//! The facts of one request, written while it is served and read when it has completed. Values that are not
//! known yet are `None`; the text for them ("-", 0) belongs to the place that prints it.

use std::sync::Arc;

use http::StatusCode;
use tokio::time::{Duration, Instant};

use super::{
    background::{BackgroundCharge, BackgroundPart},
    client::ClientInfo,
    reuse::ReusedAnswer,
    route::RequestRoute,
    stats::StreamStats,
    wasted::WastedAttempt,
};
use crate::{
    auth::limit::Lease,
    base::{Endpoint, RequestId},
    ledger::Prices,
    telemetry::{RaceFacts, Trace},
};

/// How a response is delivered to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseMode {
    /// As a whole.
    NonStreaming,
    /// Frames as they arrive.
    Asgi,
    /// Frames gathered into larger ones.
    Buffered,
}

impl ResponseMode {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NonStreaming => "non-streaming",
            Self::Asgi => "asgi",
            Self::Buffered => "buffered",
        }
    }
}

/// The policy for a provider's stream after its client has left (B6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDisconnect {
    /// It is ended at once, and usage that the provider had reported by then is booked.
    #[default]
    Cancel,
    /// It is read on for its usage, for so long and for so many tokens at most; past that it is ended and
    /// estimated.
    Drain { time: Duration, tokens: u32 },
    /// It is ended at once, and its usage is estimated from the part that passed.
    Estimate,
}

#[derive(Debug)]
pub struct RequestRecord {
    pub id: RequestId,
    pub started: Instant,
    pub route: RequestRoute,
    pub client: ClientInfo,
    /// The model's name in the request. `None`: not read so far. Shared with the view of running requests.
    pub model: Option<Arc<str>>,
    /// The model's name at the provider of the last attempt, then of the answer. `None`: no attempt.
    pub upstream_model: Option<Box<str>>,
    /// The configured name of that provider. A name and not an index: a reload may renumber providers before
    /// settlement.
    pub provider: Option<Arc<str>>,
    pub mode: Option<ResponseMode>,
    /// The endpoint that the provider of the last attempt, then of the answer, was asked at in another
    /// dialect than the client's. `None`: in the client's own.
    pub translated_to: Option<Endpoint>,
    /// Status of the head that was sent. `None`: no head was sent.
    pub status: Option<StatusCode>,
    /// The strategy's name. `None`: no candidates were planned.
    pub strategy: Option<&'static str>,
    /// Requests sent to providers.
    pub attempts: u8,
    /// Attempts cancelled because another won.
    pub cancelled_attempts: u8,
    /// Attempts without an answer for the client that their providers may count all the same.
    pub wasted: Vec<WastedAttempt>,
    pub race: RaceFacts,
    /// From the request's arrival to the first attempt. `None`: no attempt, or no head was sent.
    pub intake: Option<Duration>,
    /// Time that the answer's attempt waited for a provider's connection. `None`: no answer.
    pub connection_wait: Option<Duration>,
    /// From the first attempt to the head of the answer. `None`: no answer.
    pub answered_after: Option<Duration>,
    pub stats: StreamStats,
    /// The translation of a whole answer has read the usage that its provider reported. The body may have an
    /// estimate in its place, and has no member for each price.
    pub usage_is_read: bool,
    /// The key's name and id. `None`: no known key was shown.
    pub key_name: Option<Arc<str>>,
    pub key_id: Option<Arc<str>>,
    /// Estimated tokens of the request.
    pub prompt_tokens: u32,
    pub on_disconnect: OnDisconnect,
    /// The client left, and the stream was read to its end all the same.
    pub drained: bool,
    /// The request's share of its key's limits; settled by the accounting. `None`: the key has no limits, or
    /// it is settled. Boxed, because few keys have limits.
    pub lease: Option<Box<Lease>>,
    /// The prices that the key's budget is charged by. `None`: the key has no budget.
    pub prices: Option<Arc<Prices>>,
    /// `None`: it can neither make nor read a background response.
    pub background: Option<Box<BackgroundPart>>,
    /// The answer is an equal request's, so that it costs nothing. `None`: it is the request's own.
    pub reuse: Option<Box<ReusedAnswer>>,
    /// The trace, and the path as the client wrote it, for its span. `None`: traces are off. Boxed, because
    /// they rarely are on.
    pub trace: Option<Box<(Trace, Box<str>)>>,
}

impl RequestRecord {
    /// A request that has just arrived.
    #[must_use]
    pub fn new(id: RequestId, started: Instant, route: RequestRoute) -> Self {
        Self {
            id,
            started,
            route,
            client: ClientInfo::default(),
            model: None,
            upstream_model: None,
            provider: None,
            mode: None,
            translated_to: None,
            status: None,
            strategy: None,
            attempts: 0,
            cancelled_attempts: 0,
            wasted: Vec::new(),
            race: RaceFacts::default(),
            intake: None,
            connection_wait: None,
            answered_after: None,
            stats: StreamStats::default(),
            usage_is_read: false,
            key_name: None,
            key_id: None,
            prompt_tokens: 0,
            on_disconnect: OnDisconnect::default(),
            drained: false,
            lease: None,
            prices: None,
            background: None,
            reuse: None,
            trace: None,
        }
    }

    /// The charge that this request corrects.
    #[must_use]
    pub fn corrected(&self) -> Option<&BackgroundCharge> {
        self.background.as_ref()?.corrected.as_ref()
    }

    /// The client's dialect and the provider's: `messages>chat`. `None`: they are the same.
    #[must_use]
    pub fn dialects(&self) -> Option<String> {
        let (client, provider) = (self.route.endpoint()?, self.translated_to?);
        Some(format!("{}>{}", client.as_str(), provider.as_str()))
    }

    /// The gateway's own share of the time to the client's first byte: until the first attempt, and from the
    /// commit to the first write (B2). `None`: not measured.
    #[must_use]
    pub fn added_first(&self) -> Option<Duration> {
        self.stats.first_added.map(|added| self.intake.unwrap_or_default() + added)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A size that the allocator has; the next is 768.
    #[test]
    fn a_record_is_small() {
        assert!(size_of::<RequestRecord>() <= 640);
    }
}
