//! One attempt at one provider: from the spliced request to an answer that is good enough for the client, or to the
//! reason why it is not. Knows nothing of the other attempts, so that several may run at once; nothing has reached the
//! client while it runs, and dropping it cancels it at the provider.
//!
//! Invariant: an attempt only reads what all attempts share; what it learns it returns.

use std::{cell::Cell, future::poll_fn};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
    request::Parts,
};
use tokio::time::{Duration, Instant, timeout_at};

use super::{
    answer::{BodyKind, carriage, declared_length, forbid_buffering, is_page, pass_down},
    fault::Refusal,
    request_headers::TraceOptions,
    snapshot::{Provider, Snapshot},
    tracked_body::TrackedBody,
};
use crate::{
    base::{ByteList, DeadlineKind, Fault, FaultKind, Moment, RequestId, Sent, Stage},
    relay::{CommitPoint, Mode, RelayOptions, Uncommitted, collect},
    telemetry::LatencyMeter,
    upstream::{self, Deadline, Request, Upstream},
    wire::{Dialect, Edits, Envelope, provider_error, splice},
};

/// Bytes of an error that are looked at (S1.3).
const ERROR_HEAD: usize = 1024;
/// How long they may take: the status line has already said that it is one.
const ERROR_TIME: Duration = Duration::from_millis(250);
/// How long the rest of one that is the client's may take.
const ERROR_REST: Duration = Duration::from_secs(5);

/// What all attempts of one request have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Errand<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) snapshot: &'a Snapshot,
    pub(super) head: &'a Parts,
    pub(super) body: &'a Bytes,
    pub(super) envelope: &'a Envelope,
    pub(super) dialect: Dialect,
    pub(super) mode: Mode,
    pub(super) telling: TraceOptions,
    pub(super) id: &'a RequestId,
    /// When the request arrived.
    pub(super) started: Instant,
    /// How far the request has come, by whichever attempt moved last.
    pub(super) stage: &'a Cell<Stage>,
    /// Tokens that attempts which came to nothing are known to have taken.
    pub(super) waste: &'a Cell<u64>,
    /// Where the frames' own times are noted.
    pub(super) meter: &'a LatencyMeter,
    /// Nobody else can be asked: the answer passes as it comes.
    pub(super) sole: bool,
    /// When the client's time is up, or the race's.
    pub(super) until: Option<Moment>,
    /// What the configuration says of the model's commit point.
    pub(super) commit: Option<CommitPoint>,
}

/// What goes to the client.
#[derive(Debug)]
pub enum Answer {
    Whole(StatusCode, HeaderMap, ByteList),
    Stream(StatusCode, HeaderMap, Uncommitted<TrackedBody>),
}

/// An attempt that succeeded.
#[derive(Debug)]
pub(super) struct Success {
    pub(super) answer: Answer,
    pub(super) times: AttemptTimes,
}

/// When a provider answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptTimes {
    /// Time spent waiting for its connection.
    pub(super) connected_after: Duration,
    /// When its head came.
    pub(super) answered: Instant,
}

/// Why an attempt came to nothing.
#[derive(Debug)]
pub(super) enum AttemptError {
    Fault(Fault),
    /// It answered an error.
    Error(Box<ErrorResponse>),
}

/// An answer that tells of an error. It can still be given to the client, or given up.
#[derive(Debug)]
pub(super) struct ErrorResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) times: AttemptTimes,
    /// The error as the provider put it, its first bytes.
    pub(super) told: Bytes,
    rest: ErrorRest,
    deadline: Deadline,
}

/// What the client would be given.
#[derive(Debug)]
enum ErrorRest {
    /// These frames, and what is still to come.
    Coming(ByteList, upstream::Body),
    Here(ByteList),
    Broken,
    /// A stream that began as a success.
    Stream(Uncommitted<TrackedBody>),
}

impl Errand<'_> {
    pub(super) fn streams(&self) -> bool {
        self.envelope.stream() == Some(true)
    }

    /// Asks `provider` for `model`.
    pub(super) async fn ask(&self, provider: &Provider, model: &str) -> Result<Success, AttemptError> {
        let target = &*provider.target;
        let (kind, given, accept) = if self.streams() {
            (DeadlineKind::FirstToken, provider.deadlines.first_token, "text/event-stream")
        } else {
            (DeadlineKind::Total, provider.deadlines.non_stream, "application/json")
        };
        let deadline = Deadline::new(kind, given);
        let edits =
            Edits { model: Some(model), drop_gateway_members: true, request_usage: self.asks_usage() };
        let body = splice(self.body, self.envelope, &edits);
        let request =
            Request { method: Method::POST, path: self.dialect.path(), headers: &self.head.headers, accept };
        tracing::debug!(id = %self.id, provider = %target.name, "connecting");
        let sent = self.upstream.send_noting(target, &request, body, deadline, self.stage).await;
        let response = sent.map_err(AttemptError::Fault)?;
        tracing::debug!(id = %self.id, provider = %target.name, status = response.status.as_u16(), "connected");
        self.judge(response, provider, deadline).await
    }

    /// Reads on until the answer is good enough or is not.
    async fn judge(
        &self,
        response: upstream::Response,
        provider: &Provider,
        deadline: Deadline,
    ) -> Result<Success, AttemptError> {
        let upstream::Response { status, mut headers, body, connected_after } = response;
        let times = AttemptTimes { connected_after, answered: Instant::now() };
        let declared = declared_length(&headers);
        let carried = carriage(&headers, self.streams());
        pass_down(&mut headers);
        if !status.is_success() {
            self.stage.set(Stage::Body);
            self.refuse_beyond(declared)?;
            let (told, rest) = peek(body, deadline).await;
            return Err(AttemptError::Error(Box::new(ErrorResponse {
                status,
                headers,
                times,
                told,
                rest,
                deadline,
            })));
        }
        if carried == BodyKind::Whole {
            self.stage.set(Stage::Body);
            self.refuse_beyond(declared)?;
            let body = self.collect(body, ByteList::new(), deadline).await.map_err(AttemptError::Fault)?;
            if !self.sole && !headers.contains_key(CONTENT_ENCODING) {
                let told = body.join();
                if !provider_error::is_json(&told) {
                    return Err(garbage("neither an answer nor an error"));
                }
                if told.len() <= provider_error::MAX_ERROR_BODY && provider_error::is_error(&told) {
                    let rest = ErrorRest::Here(body);
                    return Err(AttemptError::Error(Box::new(ErrorResponse {
                        status,
                        headers,
                        times,
                        told,
                        rest,
                        deadline,
                    })));
                }
            }
            return Ok(Success { answer: Answer::Whole(status, headers, body), times });
        }
        self.stage.set(Stage::FirstToken);
        if !self.sole && is_page(&headers) {
            return Err(garbage("a page for people"));
        }
        let events = carried == BodyKind::Events;
        if events {
            forbid_buffering(&mut headers);
        }
        let mut doubtful =
            WastedUsage { stream: Some(self.stream(body, provider, events, deadline)), waste: self.waste };
        let reached = match &mut doubtful.stream {
            Some(stream) => stream.reach(self.commit_point()).await,
            None => Ok(()),
        };
        let Some(mut stream) = doubtful.stream.take() else { return Err(garbage("nothing")) };
        match reached {
            Ok(()) => Ok(Success { answer: Answer::Stream(status, headers, stream), times }),
            Err(fault) if fault.kind == FaultKind::ErrorEvent => {
                let told = stream.told();
                let rest = ErrorRest::Stream(stream);
                Err(AttemptError::Error(Box::new(ErrorResponse {
                    status,
                    headers,
                    times,
                    told,
                    rest,
                    deadline,
                })))
            }
            Err(fault) => Err(AttemptError::Fault(fault)),
        }
    }

    fn stream(
        &self,
        body: upstream::Body,
        provider: &Provider,
        events: bool,
        deadline: Deadline,
    ) -> Uncommitted<TrackedBody> {
        let deadlines = &provider.deadlines;
        let manner = RelayOptions {
            dialect: self.dialect,
            mode: self.mode,
            events,
            strip_usage: self.asks_usage(),
            first_token: (deadline.at, deadline.after),
            stream_timeout: deadlines.stream,
            stream_total: deadlines.stream_total.map(|given| (self.started + given, given)),
            meter: self.snapshot.telemetry.frame_latency.then(|| self.meter.clone()),
            digests: self.telling.digests && !self.meter.sheds(),
            comment: self.telling.comment,
        };
        Uncommitted::new(
            TrackedBody::new(body),
            &manner,
            &self.snapshot.stream,
            self.started,
            self.id.clone(),
        )
    }

    /// Where nobody else can be asked, holding back past the first frame would only delay.
    fn commit_point(&self) -> CommitPoint {
        let usual = if self.sole { CommitPoint::FirstFrame } else { CommitPoint::FirstContent };
        self.commit.or(self.snapshot.stream.commit).unwrap_or(usual)
    }

    /// Usage is asked for on the client's behalf where that exists and the client did not say (B24).
    fn asks_usage(&self) -> bool {
        self.streams()
            && self.snapshot.stream.include_usage
            && self.dialect.has_stream_options()
            && self.envelope.include_usage().is_none()
    }

    /// S2.9: its length says that the body is beyond the limit.
    fn refuse_beyond(&self, declared: Option<u64>) -> Result<(), AttemptError> {
        let limit = self.snapshot.stream.max_response_size;
        if declared.is_some_and(|length| length > limit) {
            let fault = Fault::provider(Stage::Body, FaultKind::TooLarge { limit }, Sent::Some);
            return Err(AttemptError::Fault(fault));
        }
        Ok(())
    }

    /// The whole of a body that began with `before`, within its limit (S2.9).
    async fn collect(
        &self,
        body: upstream::Body,
        before: ByteList,
        deadline: Deadline,
    ) -> Result<ByteList, Fault> {
        let collecting = collect::collect(body, before, self.snapshot.stream.max_response_size);
        timeout_at(deadline.at, collecting).await.unwrap_or_else(|_| Err(deadline.fault(Stage::Body)))
    }

    /// An error as it came, for the client; as much of it as there is: its status and what its head says are worth having
    /// without the words.
    ///
    /// # Errors
    /// There is no answer to be passed on.
    pub(super) async fn pass(&self, bad: AttemptError) -> Result<Success, Fault> {
        let ErrorResponse { status, headers, times, rest, deadline, .. } = match bad {
            AttemptError::Fault(fault) => return Err(fault),
            AttemptError::Error(lament) => *lament,
        };
        let answer = match rest {
            ErrorRest::Coming(before, body) => {
                let soon = Deadline { at: self.no_later_than(deadline.at, ERROR_REST), ..deadline };
                match self.collect(body, before, soon).await {
                    Ok(body) => Answer::Whole(status, headers, body),
                    Err(_) => self.without_words(status, headers),
                }
            }
            ErrorRest::Here(body) => Answer::Whole(status, headers, body),
            ErrorRest::Broken => self.without_words(status, headers),
            // Whoever waits for the first content by configuration wants a status instead of a stream of one error.
            ErrorRest::Stream(_)
                if self.commit.or(self.snapshot.stream.commit) == Some(CommitPoint::FirstContent) =>
            {
                return Err(Fault::provider(Stage::FirstToken, FaultKind::ErrorEvent, Sent::Some));
            }
            ErrorRest::Stream(stream) => Answer::Stream(status, headers, stream),
        };
        Ok(Success { answer, times })
    }
}

impl Errand<'_> {
    /// The earliest of: `at`, so long from now, when the client's time is up.
    fn no_later_than(&self, at: Instant, pause: Duration) -> Instant {
        let now = Instant::now();
        let own = self.until.map_or(at, |until| now + until.since(Moment::now()));
        at.min(now + pause).min(own)
    }

    /// An error whose words did not come, in ours.
    fn without_words(&self, status: StatusCode, mut headers: HeaderMap) -> Answer {
        let message = format!("the provider answered {}; what it said of it broke off", status.as_u16());
        let mut refusal = Refusal::request(status.as_u16(), "upstream_status", message);
        if status.is_server_error() {
            refusal.kind = "server_error";
        }
        headers.remove(CONTENT_ENCODING);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Answer::Whole(status, headers, refusal.body(self.dialect).into())
    }
}

/// A stream that may be overtaken. What it has told of its tokens by then, which few providers do, is waste (S3.10, R19).
struct WastedUsage<'a> {
    /// `None` once it is known what becomes of it.
    stream: Option<Uncommitted<TrackedBody>>,
    waste: &'a Cell<u64>,
}

impl Drop for WastedUsage<'_> {
    fn drop(&mut self) {
        if let Some(usage) = self.stream.as_mut().and_then(Uncommitted::usage) {
            let tokens = usage.input.unwrap_or(0).saturating_add(usage.output.unwrap_or(0));
            self.waste.set(self.waste.get().saturating_add(tokens));
        }
    }
}

/// What came with a good status is of no use to anybody.
fn garbage(what: &'static str) -> AttemptError {
    AttemptError::Fault(Fault::provider(Stage::Body, FaultKind::Garbage(what.into()), Sent::Some))
}

/// The first bytes of an error's body, as far as they come soon.
async fn peek(mut body: upstream::Body, deadline: Deadline) -> (Bytes, ErrorRest) {
    let mut list = ByteList::new();
    let soon = deadline.at.min(Instant::now() + ERROR_TIME);
    let reading = async {
        while list.len() < ERROR_HEAD && !body.is_done() {
            match poll_fn(|cx| body.poll_frame(cx)).await {
                Some(frame) => list.push(frame?),
                None => return Ok(true),
            }
        }
        Ok(body.is_done())
    };
    let ended: Result<bool, Fault> = timeout_at(soon, reading).await.unwrap_or(Ok(false));
    let mut told = list.join();
    told.truncate(ERROR_HEAD);
    let rest = match ended {
        Ok(true) => ErrorRest::Here(list),
        Ok(false) => ErrorRest::Coming(list, body),
        Err(_broken) => ErrorRest::Broken,
    };
    (told, rest)
}
