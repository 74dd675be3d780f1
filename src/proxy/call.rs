//! One request on its way through the gateway: its id, its dialect and its completion. Every response is made
//! here, with the headers that all responses carry.

use std::{net::IpAddr, rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::{
    answer_place::{AnswerPlace, RecordedAnswer},
    body::{Body, CacheBody, RecordedStream},
    encode::{CompressionSettings, compress},
    fault::{KEY_REFUSED, Refusal},
    limit_headers::{self, LimitHeaders},
    paced_answer::PacedAnswer,
    response_headers::sign,
    shared_stream::{SharedStream, drive},
    translation::AnswerBody,
};
use crate::{
    auth::Principal,
    base::{ByteList, HandlerResponse, HeaderFields, RequestHead, RequestId, content_coding::CODINGS},
    cache::{
        StoredAnswer,
        flight::{FlightFollower, FlightHead, FlightLeader},
    },
    exchange::{ClientInfo, Completion, CompletionQueue, Outcome, RequestRecord, RequestRoute},
    relay::{self, DetachedStreams},
    telemetry::GaugeGuard,
    wire::Dialect,
};

/// The code of an error that the gateway answers itself; a provider's error has none.
const ERROR_CODE: &str = "x-thalweg-error";
const EXPOSED_HEADERS: &str = "x-request-id, server-timing, retry-after, retry-after-ms, x-should-retry, x-thalweg-provider, \
                       x-thalweg-attempts, x-thalweg-error, x-thalweg-cache, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, \
                       x-ratelimit-reset-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, \
                       x-ratelimit-reset-tokens";

#[derive(Debug)]
pub struct Call {
    pub id: RequestId,
    pub started: Instant,
    pub dialect: Dialect,
    /// The client is a page of another origin (`Origin` is present).
    has_origin: bool,
    /// The method is `HEAD`.
    head_only: bool,
    /// When the first attempt began.
    pub asked: Option<Instant>,
    /// Digests of the answer's bytes are wanted.
    pub(super) digests: bool,
    /// The key's limits for the response. `None`: it has none.
    pub(super) limits: Option<LimitHeaders>,
    /// Where the answer is kept. `None`: the request does not use the answer cache.
    pub(super) place: Option<Box<AnswerPlace>>,
    /// Equal requests may share the answer. `None`: they do not.
    pub(super) flight: Option<Box<FlightLeader>>,
    pub completion: Completion,
    in_flight: GaugeGuard,
}

impl Call {
    /// A request that has just arrived. Its id is the client's, if it gave a valid one.
    pub fn open(
        head: &RequestHead,
        peer: Option<IpAddr>,
        (route, dialect): (RequestRoute, Dialect),
        make_id: impl FnOnce() -> RequestId,
        completions: &Rc<CompletionQueue>,
        in_flight: GaugeGuard,
    ) -> Self {
        let started = Instant::now();
        let from_client = head.headers.get("x-request-id").and_then(RequestId::from_client);
        let id = from_client.unwrap_or_else(make_id);
        // Built in its box, because it is large.
        let mut record = Box::write(Box::new_uninit(), RequestRecord::new(id.clone(), started, route));
        record.client = ClientInfo::of(peer, &head.headers);
        Self {
            id,
            started,
            dialect,
            has_origin: head.headers.contains("origin"),
            head_only: head.method == Method::HEAD,
            asked: None,
            digests: false,
            limits: None,
            place: None,
            flight: None,
            completion: Completion::new(record, Rc::clone(completions)),
            in_flight,
        }
    }

    /// The record of the request so far.
    pub fn record(&mut self) -> &mut RequestRecord {
        self.completion.record()
    }

    /// Notes the key of the request.
    pub fn note_key(&mut self, principal: &Principal) {
        let record = self.record();
        record.key_name = Some(Arc::clone(&principal.name));
        record.key_id = Some(Arc::clone(&principal.id));
        // Waits for the key's limits are seen from here on.
        self.completion.show_key();
    }

    /// Answers with JSON of the gateway's own.
    pub fn json(self, status: StatusCode, body: Bytes) -> HandlerResponse<Body> {
        let mut headers = HeaderFields::new();
        headers.insert("content-type", "application/json");
        self.whole(status, headers, body.into(), Outcome::Complete)
    }

    /// Answers with text of the gateway's own, which differs from request to request, so it may not be
    /// stored.
    pub fn text(self, content_type: &'static str, body: Bytes) -> HandlerResponse<Body> {
        let mut headers = HeaderFields::new();
        headers.insert("content-type", content_type);
        headers.insert("cache-control", "no-store");
        self.whole(StatusCode::OK, headers, body.into(), Outcome::Complete)
    }

    /// Answers with a document of the gateway's own, in a coding that the request accepts. Text differs from
    /// request to request, so it may not be stored.
    pub async fn document(
        self,
        (status, content_type, text): (StatusCode, &'static str, String),
        is_stored: bool,
        request: &HeaderFields,
        compression: CompressionSettings,
    ) -> HandlerResponse<Body> {
        let mut headers = HeaderFields::new();
        headers.insert("content-type", content_type);
        if !is_stored {
            headers.insert("cache-control", "no-store");
        }
        let body = compress(compression, request, &mut headers, Bytes::from(text).into()).await;
        self.whole(status, headers, body, Outcome::Complete)
    }

    /// Answers with an error in the dialect of the request.
    pub fn refuse(self, refusal: &Refusal) -> HandlerResponse<Body> {
        let body = refusal.body(self.dialect);
        self.refuse_with(refusal, body)
    }

    /// Answers with an error that lists `problems` beside its message.
    pub fn refuse_for(self, refusal: &Refusal, problems: Vec<Value>) -> HandlerResponse<Body> {
        let body = refusal.body_with(self.dialect, problems);
        self.refuse_with(refusal, body)
    }

    fn refuse_with(mut self, refusal: &Refusal, body: Bytes) -> HandlerResponse<Body> {
        let mut headers = HeaderFields::new();
        let record = self.record();
        if record.attempts > 0 {
            // The message names them if several failed.
            let only = record.provider.as_deref().filter(|_| record.attempts == 1);
            sign(&mut headers, only, record.attempts);
        }
        headers.insert("content-type", "application/json");
        if let Some(allow) = refusal.allow {
            headers.insert("allow", allow);
        }
        if let Some(after) = refusal.retry_after {
            limit_headers::write_retry(&mut headers, after);
        }
        if let Some(retry) = refusal.should_retry() {
            headers.insert("x-should-retry", retry);
        }
        if refusal.status == 415 {
            headers.insert("accept-encoding", CODINGS);
        }
        headers.insert(ERROR_CODE, refusal.code);
        // The client's key is good where a provider refuses the gateway's.
        if refusal.status == 401 && refusal.code != KEY_REFUSED {
            headers.insert("www-authenticate", "Bearer");
        }
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.whole(status, headers, body.into(), Outcome::Fault(refusal.fault.clone()))
    }

    /// Answers with bytes that are at hand. An error completes the request now, a success when its last byte
    /// has been taken.
    pub fn whole(
        mut self,
        status: StatusCode,
        mut headers: HeaderFields,
        mut body: ByteList,
        outcome: Outcome,
    ) -> HandlerResponse<Body> {
        self.finish_head(status, &mut headers);
        if self.head_only {
            // A body would not be read: on HTTP/1.1 it would never end, on HTTP/2 it would be sent.
            headers.insert("content-length", itoa::Buffer::new().format(body.len()));
            body = ByteList::new();
        }
        self.record().stats.bytes = body.len() as u64;
        let completion = if outcome != Outcome::Complete || body.is_empty() {
            self.completion.complete(outcome);
            None
        } else {
            Some(self.completion)
        };
        HandlerResponse {
            status,
            headers,
            body: Body::Whole(relay::WholeBody::new(body, completion, self.in_flight)),
        }
    }

    /// Answers with a stored stream at its own pace.
    pub(super) fn replay(
        mut self,
        mut headers: HeaderFields,
        answer: Arc<StoredAnswer>,
        counted: GaugeGuard,
    ) -> HandlerResponse<Body> {
        self.finish_head(StatusCode::OK, &mut headers);
        let paced = PacedAnswer::new(answer, self.completion, [self.in_flight, counted]);
        HandlerResponse {
            status: StatusCode::OK,
            headers,
            body: Body::Cache(CacheBody::Paced(Box::new(paced))),
        }
    }

    /// Answers with the stream of an equal request. `shows_fault`: an event shows a fault.
    pub(super) fn follow(
        mut self,
        mut headers: HeaderFields,
        follower: FlightFollower,
        shows_fault: bool,
        counted: GaugeGuard,
    ) -> HandlerResponse<Body> {
        self.finish_head(StatusCode::OK, &mut headers);
        let id = shows_fault.then(|| self.id.as_str().into());
        let owned = Some((self.completion, [self.in_flight, counted]));
        let shared = SharedStream::new(follower, self.dialect, id, self.started, owned);
        HandlerResponse {
            status: StatusCode::OK,
            headers,
            body: Body::Cache(CacheBody::Shared(Box::new(shared))),
        }
    }

    /// Answers with a stream that has been committed and that equal requests share: a task reads it for all.
    pub(super) fn lead(
        mut self,
        mut headers: HeaderFields,
        mut leader: FlightLeader,
        recorded: Option<RecordedAnswer>,
        (shows_fault, detached): (bool, &DetachedStreams),
        commit: impl FnOnce(Completion, GaugeGuard) -> relay::Committed<AnswerBody>,
    ) -> HandlerResponse<Body> {
        leader.begin(FlightHead { headers: AnswerPlace::kept_headers(&headers), is_stream: true });
        self.finish_head(StatusCode::OK, &mut headers);
        let id = shows_fault.then(|| self.id.as_str().into());
        let shared = SharedStream::new(leader.follow(), self.dialect, id, self.started, None);
        detached.drive(drive(commit(self.completion, self.in_flight), leader, recorded));
        HandlerResponse {
            status: StatusCode::OK,
            headers,
            body: Body::Cache(CacheBody::Shared(Box::new(shared))),
        }
    }

    /// Answers with a stream that has been committed; `recorded`: it is kept, too.
    pub(super) fn stream(
        mut self,
        status: StatusCode,
        mut headers: HeaderFields,
        recorded: Option<RecordedAnswer>,
        commit: impl FnOnce(Completion, GaugeGuard) -> relay::Committed<AnswerBody>,
    ) -> HandlerResponse<Body> {
        self.finish_head(status, &mut headers);
        tracing::debug!(id = %self.id, status = status.as_u16(), "headers sent");
        let stream = commit(self.completion, self.in_flight);
        let body = match recorded {
            None => Body::Stream(stream),
            Some(recorded) => {
                Body::Cache(CacheBody::Recorded(Box::new(RecordedStream::new(stream, recorded))))
            }
        };
        HandlerResponse { status, headers, body }
    }

    /// Answers 200 with a body of another room, which `make` makes. The body reports the completion.
    pub fn with_body<B>(
        mut self,
        mut headers: HeaderFields,
        make: impl FnOnce(Completion, GaugeGuard) -> B,
    ) -> HandlerResponse<B> {
        self.finish_head(StatusCode::OK, &mut headers);
        let body = make(self.completion, self.in_flight);
        HandlerResponse { status: StatusCode::OK, headers, body }
    }

    fn finish_head(&mut self, status: StatusCode, headers: &mut HeaderFields) {
        let intake = self.asked.map(|asked| asked - self.started);
        let total = self.started.elapsed();
        let record = self.record();
        record.status = Some(status);
        record.intake = intake;
        let timing = TimingText::of(intake, record.answered_after, total);
        headers.insert("x-request-id", self.id.as_str());
        headers.insert("x-content-type-options", "nosniff");
        headers.insert("server-timing", timing.bytes());
        if let Some(limits) = &self.limits {
            limits.write(headers, total);
        }
        if self.has_origin {
            headers.insert("access-control-allow-origin", "*");
            headers.insert("access-control-expose-headers", EXPOSED_HEADERS);
        }
    }
}

/// The text of `Server-Timing`, of which every response has one: on the stack, and its fixed parts are copied
/// without a call.
struct TimingText {
    bytes: [u8; Self::MAX],
    length: usize,
}

impl Default for TimingText {
    fn default() -> Self {
        Self { bytes: [0; Self::MAX], length: 0 }
    }
}

impl TimingText {
    /// The fixed parts have 38 bytes, and each of the three times has 21 at most.
    const MAX: usize = 128;

    /// `Server-Timing` (W3C), in milliseconds: to the first attempt, from there to the provider's head, and
    /// in all. `intake`: `None` if there was no attempt.
    fn of(intake: Option<Duration>, upstream: Option<Duration>, total: Duration) -> Self {
        let mut text = Self::default();
        text.put(b"intake;dur=");
        text.put_millis(intake.unwrap_or(total));
        text.put(b", upstream;dur=");
        text.put_millis(upstream.unwrap_or_default());
        text.put(b", total;dur=");
        text.put_millis(total);
        text
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn put<const N: usize>(&mut self, part: &[u8; N]) {
        if let Some(place) = self.bytes.get_mut(self.length..).and_then(<[u8]>::first_chunk_mut) {
            *place = *part;
            self.length += N;
        }
    }

    /// Milliseconds, to the microsecond.
    fn put_millis(&mut self, time: Duration) {
        let micros = time.as_micros() as u64;
        let digit = |place: u64| (micros / place % 10) as u8 + b'0';
        if micros < 10_000 {
            self.put(&[digit(1000)]);
        } else {
            let mut millis = itoa::Buffer::new();
            for digit in millis.format(micros / 1000).bytes() {
                self.put(&[digit]);
            }
        }
        self.put(&[b'.', digit(100), digit(10), digit(1)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_milliseconds() {
        for micros in [0, 1, 45, 999, 1000, 9999, 10_000, 10_020, 12_345_678, u64::MAX] {
            let mut text = TimingText::default();
            for _ in 0..3 {
                text.put(b", upstream;dur=");
                text.put_millis(Duration::from_micros(micros));
            }
            let expected = format!(", upstream;dur={}.{:03}", micros / 1000, micros % 1000).repeat(3);
            assert_eq!(text.bytes(), expected.as_bytes());
        }
    }
}
