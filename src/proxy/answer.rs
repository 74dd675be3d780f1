//! A good answer on its way to the client: a whole body, or a stream that is committed here.

use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};

use super::{
    answer_place::{CACHE, CachedAnswer},
    body::Body,
    call::Call,
    committed_attempt::CommittedAttempt,
    encode::{CompressionSettings, compress},
    fault,
    response_headers::sign,
    translation::AnswerBody,
};
use crate::{
    base::{ByteList, Stage},
    cache::{ReplayPace, StoredAnswer},
    exchange::{Digests, Outcome, ReuseKind, ReusedAnswer},
    relay::{DetachedStreams, FaultDisplay, OnFault, Uncommitted},
    telemetry::GaugeGuard,
    wire::{Dialect, minted},
};

/// The event that shows a fault after the commit. `None`: the broken framing alone shows it. HTTP/1.0 ends a
/// body by closing the connection, so a client of it sees no other sign. Clients of Gemini's API repeat after
/// an error event, and give up where a connection ends without one.
pub(super) fn fault_event(display: FaultDisplay, version: Version, dialect: Dialect) -> Option<OnFault> {
    let is_shown = display == FaultDisplay::Event || version < Version::HTTP_11 || dialect == Dialect::Gemini;
    is_shown.then_some(fault::event as OnFault)
}

/// An answer that is good enough for the client.
#[derive(Debug)]
pub(super) enum Answer {
    Whole(StatusCode, HeaderMap, ByteList),
    /// The same in a content coding; what it says has been noted.
    Coded(StatusCode, HeaderMap, ByteList),
    Stream(StatusCode, HeaderMap, Uncommitted<AnswerBody>),
    /// An answer that was given before.
    Cached(Box<CachedAnswer>),
}

impl Answer {
    /// The commit: from here on the client sees it. `on_fault`: see [`fault_event`]; `stream_parts`: the
    /// guard that counts the stream, and the worker's detached streams.
    pub(super) fn commit(
        self,
        mut call: Call,
        on_fault: Option<OnFault>,
        stream_parts: impl FnOnce() -> (GaugeGuard, DetachedStreams),
    ) -> Response<Body> {
        let dialect = call.dialect;
        match self {
            Self::Whole(status, mut headers, body) => {
                note_whole(&mut call, status, &mut headers, &body);
                call.whole(status, headers, body, Outcome::Complete)
            }
            Self::Coded(status, headers, body) => call.whole(status, headers, body, Outcome::Complete),
            Self::Stream(status, mut headers, stream) => {
                let place = call.place.take().filter(|_| status == StatusCode::OK);
                let recorded = place.and_then(|place| {
                    headers.insert(CACHE, HeaderValue::from_static("miss"));
                    place.record(&headers, call.record())
                });
                call.stream(status, headers, recorded, |completion, in_flight| {
                    let (counted, detached) = stream_parts();
                    stream.commit(dialect, on_fault, completion, [in_flight, counted], detached)
                })
            }
            Self::Cached(cached) => {
                let CachedAnswer { headers, answer, pace } = *cached;
                note_reuse(&mut call, &answer);
                if answer.is_stream() && pace == ReplayPace::Recorded {
                    return call.replay(headers, answer, stream_parts().0);
                }
                call.whole(StatusCode::OK, headers, answer.body.clone().into(), Outcome::Complete)
            }
        }
    }

    /// A whole answer in a coding that the request accepts.
    pub(super) async fn compress(
        self,
        call: &mut Call,
        settings: CompressionSettings,
        request: &HeaderMap,
    ) -> Self {
        match self {
            Self::Whole(status, mut headers, body) => {
                note_whole(call, status, &mut headers, &body);
                let body = compress(settings, request, &mut headers, body).await;
                Self::Coded(status, headers, body)
            }
            Self::Cached(cached) if !cached.answer.is_stream() => {
                let CachedAnswer { mut headers, answer, .. } = *cached;
                note_reuse(call, &answer);
                let body = compress(settings, request, &mut headers, answer.body.clone().into()).await;
                Self::Coded(StatusCode::OK, headers, body)
            }
            other @ (Self::Coded(..) | Self::Stream(..) | Self::Cached(_)) => other,
        }
    }

    /// How far a request with this answer has come.
    pub(super) const fn stage(&self) -> Stage {
        match self {
            Self::Whole(..) | Self::Coded(..) | Self::Cached(_) => Stage::Body,
            Self::Stream(..) => Stage::FirstToken,
        }
    }

    /// Names the provider and the number of attempts in the headers.
    pub(super) fn sign(&mut self, provider: Option<&str>, attempts: u8) {
        match self {
            Self::Whole(_, headers, _) | Self::Coded(_, headers, _) | Self::Stream(_, headers, _) => {
                sign(headers, provider, attempts);
            }
            Self::Cached(_) => {}
        }
    }

    /// Has `attempt` observe the stream. A whole answer has nothing left to observe.
    pub(super) fn observe(&mut self, attempt: CommittedAttempt) {
        if let Self::Stream(_, _, stream) = self {
            stream.observe(attempt);
        }
    }
}

/// Notes that the answer is another request's.
fn note_reuse(call: &mut Call, answer: &StoredAnswer) {
    let reuse = ReusedAnswer { kind: ReuseKind::Cached, tokens_saved: answer.tokens };
    call.record().reuse = Some(Box::new(reuse));
}

/// Notes what a whole answer says of its usage, and its digests where they are wanted, and keeps it for equal
/// requests.
fn note_whole(call: &mut Call, status: StatusCode, headers: &mut HeaderMap, body: &ByteList) {
    let (dialect, digests) = (call.dialect, call.digests);
    let stats = &mut call.record().stats;
    if status.is_success() {
        stats.note_whole(body);
        if dialect == Dialect::Responses && stats.usage.is_none() {
            stats.background = minted::background_response(&body.join());
        }
    }
    if digests {
        stats.digests = Some(Box::new(Digests::of(body)));
    }
    if let Some(place) = call.place.take().filter(|_| status == StatusCode::OK) {
        place.keep_whole(headers, body, call.record());
        headers.insert(CACHE, HeaderValue::from_static("miss"));
    }
}
