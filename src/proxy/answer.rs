//! A good answer on its way to the client: a whole body, or a stream that is committed here.

use http::{StatusCode, Version};

use super::{
    answer_place::{AnswerPlace, CACHE, CachedAnswer, JoinedAnswer, JoinedBody},
    body::Body,
    call::Call,
    committed_attempt::CommittedAttempt,
    encode::{CompressionSettings, compress},
    fault,
    response_headers::sign,
    translation::AnswerBody,
};
use crate::{
    base::{ByteList, Fault, FaultKind, HandlerResponse, HeaderFields, Sent, Stage},
    cache::{
        ReplayPace, StoredAnswer,
        flight::{FlightEnd, FlightHead},
    },
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
    Whole(StatusCode, HeaderFields, ByteList),
    /// An error under a good status, passed on: nothing of it is an answer.
    Failed(StatusCode, HeaderFields, ByteList),
    /// A whole answer in a content coding; what it says has been noted.
    Coded(StatusCode, HeaderFields, ByteList),
    Stream(StatusCode, HeaderFields, Uncommitted<AnswerBody>),
    /// An answer that was given before.
    Cached(Box<CachedAnswer>),
    /// The answer of an equal request under way.
    Joined(Box<JoinedAnswer>),
}

impl Answer {
    /// The commit: from here on the client sees it. `on_fault`: see [`fault_event`]; `stream_parts`: the
    /// guard that counts the stream, and the worker's detached streams.
    pub(super) fn commit(
        self,
        mut call: Call,
        on_fault: Option<OnFault>,
        stream_parts: impl FnOnce() -> (GaugeGuard, DetachedStreams),
    ) -> HandlerResponse<Body> {
        let dialect = call.dialect;
        match self {
            Self::Whole(status, mut headers, body) => {
                note_whole(&mut call, status, &mut headers, &body);
                call.whole(status, headers, body, Outcome::Complete)
            }
            Self::Failed(status, headers, body) => {
                if call.digests {
                    call.record().stats.digests = Some(Box::new(Digests::of(&body)));
                }
                let fault = Fault::provider(Stage::Body, FaultKind::ErrorEvent, Sent::Some);
                call.whole(status, headers, body, Outcome::Fault(fault))
            }
            Self::Coded(status, headers, body) => call.whole(status, headers, body, Outcome::Complete),
            Self::Stream(status, mut headers, stream) => {
                let place = call.place.take().filter(|_| status == StatusCode::OK);
                let recorded = place.and_then(|place| {
                    headers.insert(CACHE, "miss");
                    place.record(&headers, call.record())
                });
                let flight = call.flight.take().filter(|_| is_shareable(status, &headers));
                let (counted, detached) = stream_parts();
                let (own, shows_fault) = (detached.clone(), on_fault.is_some());
                let commit = |completion, in_flight| {
                    stream.commit(dialect, on_fault, completion, [in_flight, counted], own)
                };
                match flight {
                    Some(leader) => call.lead(headers, *leader, recorded, (shows_fault, &detached), commit),
                    None => call.stream(status, headers, recorded, commit),
                }
            }
            Self::Joined(joined) => {
                let JoinedAnswer { headers, body } = *joined;
                let tokens_saved = if let JoinedBody::Whole(_, tokens) = body { tokens } else { 0 };
                let reuse = ReusedAnswer { kind: ReuseKind::Coalesced, tokens_saved };
                call.record().reuse = Some(Box::new(reuse));
                match body {
                    JoinedBody::Whole(body, _) => {
                        call.whole(StatusCode::OK, headers, body, Outcome::Complete)
                    }
                    JoinedBody::Stream(follower) => {
                        call.follow(headers, follower, on_fault.is_some(), stream_parts().0)
                    }
                }
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
        request: &HeaderFields,
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
            other @ (Self::Failed(..)
            | Self::Coded(..)
            | Self::Stream(..)
            | Self::Cached(_)
            | Self::Joined(_)) => other,
        }
    }

    /// How far a request with this answer has come.
    pub(super) const fn stage(&self) -> Stage {
        match self {
            Self::Whole(..) | Self::Failed(..) | Self::Coded(..) | Self::Cached(_) | Self::Joined(_) => {
                Stage::Body
            }
            Self::Stream(..) => Stage::FirstToken,
        }
    }

    /// Names the provider and the number of attempts in the headers.
    pub(super) fn sign(&mut self, provider: Option<&str>, attempts: u8) {
        match self {
            Self::Whole(_, headers, _)
            | Self::Failed(_, headers, _)
            | Self::Coded(_, headers, _)
            | Self::Stream(_, headers, _) => sign(headers, provider, attempts),
            Self::Cached(_) | Self::Joined(_) => {}
        }
    }

    /// Has `attempt` observe the stream. A whole answer has nothing left to observe.
    pub(super) fn observe(&mut self, mut attempt: CommittedAttempt) {
        if let Self::Stream(_, _, stream) = self {
            attempt.is_well = true;
            stream.observe(attempt);
        }
    }
}

/// Whether other clients may be given the same bytes.
fn is_shareable(status: StatusCode, headers: &HeaderFields) -> bool {
    status == StatusCode::OK && !headers.contains("content-encoding")
}

/// Notes that the answer is another request's.
fn note_reuse(call: &mut Call, answer: &StoredAnswer) {
    let reuse = ReusedAnswer { kind: ReuseKind::Cached, tokens_saved: answer.tokens };
    call.record().reuse = Some(Box::new(reuse));
}

/// Notes what a whole answer says of its usage, and its digests where they are wanted, and keeps it for equal
/// requests.
fn note_whole(call: &mut Call, status: StatusCode, headers: &mut HeaderFields, body: &ByteList) {
    let (dialect, digests) = (call.dialect, call.digests);
    let record = call.record();
    let (stats, usage_is_read) = (&mut record.stats, record.usage_is_read);
    if status.is_success() {
        stats.note_whole(dialect, body, usage_is_read);
        if dialect == Dialect::Responses && stats.usage.is_none() {
            stats.background = minted::background_response(&body.join());
        }
    }
    if digests {
        stats.digests = Some(Box::new(Digests::of(body)));
    }
    // Before the flight ends, so that an equal request finds one or the other.
    if let Some(place) = call.place.take().filter(|_| status == StatusCode::OK) {
        place.keep_whole(headers, body, call.record());
        headers.insert(CACHE, "miss");
    }
    if let Some(mut leader) = call.flight.take().filter(|_| is_shareable(status, headers)) {
        leader.begin(FlightHead { headers: AnswerPlace::kept_headers(headers), is_stream: false });
        body.iter().for_each(|part| leader.add(part, None));
        leader.end(FlightEnd::Complete(call.record().stats.usage.unwrap_or_default().total()));
    }
}
