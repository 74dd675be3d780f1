//! One attempt at one provider: from the spliced request to an answer that is good enough for the client, or
//! to the reason why it is not. Does not depend on other attempts, so that several may run at once; nothing
//! has reached the client while it runs, and dropping it cancels it at the provider.
//!
//! Invariant: an attempt only reads the shared context; it returns its findings.

use std::{
    borrow::Cow,
    future::{Future, poll_fn},
    mem::take,
    pin::pin,
    sync::Arc,
    task::Poll,
};

use bytes::Bytes;
use http::StatusCode;
use memchr::memmem;
use tokio::time::{Instant, timeout_at};

use super::{
    answer::{Answer, fault_event},
    attempt_result::{AttemptError, AttemptTimes, ErrorResponse, ErrorRest, Success},
    classify,
    error_response::read_error_start,
    refused_options,
    request_context::RequestContext,
    response_headers::{
        ATTEMPTS, AnnouncedBody, BodyKind, forbid_buffering, retain_passed_headers, status_of_hop,
    },
    running_attempt::RunningAttempt,
    secret_mask::Within,
    snapshot::Provider,
    translation::{AnswerBody, NoAnswer, Translation},
};
use crate::{
    base::{DeadlineKind, Endpoint, Fault, FaultKind, Sent, Stage},
    relay::{
        RelayOptions, Uncommitted,
        collect::{self, CollectedFrames},
    },
    routing::FailureClass,
    upstream::{self, Deadline, Request},
    wire::{BYTE_ORDER_MARK, provider_error, usage},
};

/// Refusals of options after each of which a translated request is sent again without them.
const MAX_REFUSALS: usize = 5;

impl RequestContext<'_> {
    /// Sends the request to `endpoint` of `provider` for `model` and reads until the answer is good enough.
    /// At another endpoint than the request's own it is translated.
    pub(super) async fn attempt(
        &self,
        provider: &Provider,
        (model, endpoint): (&str, Endpoint),
    ) -> Result<Box<Success>, AttemptError> {
        let mut running = RunningAttempt::new(self, provider, (model, endpoint));
        running.requests_usage = self.requests_usage(provider, endpoint);
        let mut result = self.run(&mut running, provider, (model, endpoint)).await;
        if running.requests_usage && is_about_usage(&result) {
            // The client never sent the option that is refused.
            running.requests_usage = false;
            result = self.run(&mut running, provider, (model, endpoint)).await;
            if result.is_ok() {
                provider.standing.note_refused_usage_option();
            }
        }
        if endpoint != self.endpoint {
            let mut repeats = 0..MAX_REFUSALS;
            while repeats.next().is_some()
                && let Err(error) = &result
                && let Some(refused) = refused_options::find(error, model, self.body)
                && let Some(refused) = running.refused.and(refused)
            {
                running.refused = refused;
                result = self.run(&mut running, provider, (model, endpoint)).await;
                if result.is_ok() {
                    provider.standing.note_refused_options(model, refused);
                }
            }
        }
        running.end(&result);
        result
    }

    async fn run(
        &self,
        running: &mut RunningAttempt<'_>,
        provider: &Provider,
        (model, endpoint): (&str, Endpoint),
    ) -> Result<Box<Success>, AttemptError> {
        let target = provider.target_of(endpoint);
        let (kind, timeout, accept) = if self.streams {
            (DeadlineKind::FirstToken, provider.deadlines.first_token, "text/event-stream")
        } else {
            let accept = if self.endpoint.answers_files() { "*/*" } else { "application/json" };
            (DeadlineKind::Total, provider.deadlines.non_stream, accept)
        };
        let deadline = Deadline::new(kind, timeout);
        let translated = self
            .translated_for(provider, (model, endpoint), running.requests_usage, running.refused)
            .map_err(AttemptError::Untranslated)?;
        let (path, headers, body, translation) = match translated {
            Some(call) => {
                (endpoint.path().into(), Cow::Owned(call.headers), call.body, Some(call.translation))
            }
            None => {
                let (body, dropped) = self.native_body(provider, model, running.requests_usage);
                running.dropped = dropped;
                (self.path_for(model), Cow::Borrowed(&self.head.headers), body, None)
            }
        };
        let request = Request {
            method: self.head.method.clone(),
            path: &path,
            headers: &headers,
            accept,
            content_type: self.content_type(),
        };
        tracing::debug!(id = %self.id, provider = %target.name, "connecting");
        let stage = running.stage.cell();
        // In their places, because an `await` of the futures themselves would copy them.
        let may_repeat = !self.snapshot.catalog.settings().retry.safe;
        let sent = self.upstream.send_noting(target, &request, body, deadline, (stage, may_repeat));
        let sent = pin!(sent).await;
        let response = sent.map_err(AttemptError::Fault)?;
        tracing::debug!(
            id = %self.id, provider = %target.name, status = response.status.as_u16(),
            connected_ms = response.connected_after.as_secs_f64() * 1e3,
            // The deadline counts from the beginning of the attempt.
            latency_ms = (deadline.at - timeout).elapsed().as_secs_f64() * 1e3, "connected"
        );
        pin!(self.judge(running, response, provider, (deadline, translation))).await
    }

    // No `async fn`, because its future would keep the response twice, and copy it.
    fn judge(
        &self,
        running: &mut RunningAttempt<'_>,
        response: upstream::Response,
        provider: &Provider,
        (deadline, translation): (Deadline, Option<Translation>),
    ) -> impl Future<Output = Result<Box<Success>, AttemptError>> {
        let upstream::Response { status, mut headers, mut body, connected_after } = response;
        async move {
            let times = AttemptTimes { connection_wait: connected_after, answered: Instant::now() };
            provider.secrets.mask_headers(&mut headers);
            if let Some(fault) = status_of_hop(status, &headers) {
                return Err(AttemptError::Fault(fault));
            }
            let announced = AnnouncedBody::of(&headers, self.streams, self.endpoint);
            let mut kind = announced.kind;
            if headers.contains(ATTEMPTS) {
                provider.standing.note_thalweg();
            }
            retain_passed_headers(&mut headers, &provider.target.forwarded);
            running.sign(&mut headers, translation.as_ref());
            let error = |headers, text, rest, translation| {
                let text = provider.secrets.mask_text(text);
                let response = ErrorResponse { status, headers, times, text, rest, deadline, translation };
                Err(AttemptError::Error(Box::new(response)))
            };
            if !status.is_success() {
                running.stage.cell().set(Stage::Body);
                self.refuse_beyond(announced.length)?;
                let (text, rest) = read_error_start(body, deadline).await;
                running.reported = usage::find(running.endpoint.dialect(), &text);
                return error(headers, text, rest, translation);
            }
            if announced.is_page {
                return Err(AttemptError::garbage("a page for people"));
            }
            let mut first = Bytes::new();
            let is_expected = self.streams == (kind == BodyKind::Events) || announced.is_coded;
            if !is_expected && !self.endpoint.answers_files() {
                running.stage.cell().set(Stage::FirstToken);
                (first, kind) = self.read_first(&mut body, &mut headers, kind, deadline).await?;
            }
            if kind == BodyKind::Events && !self.streams && !self.is_sole && self.endpoint.is_main() {
                return Err(AttemptError::garbage("an event stream, which was not requested"));
            }
            if kind == BodyKind::Whole {
                running.stage.cell().set(Stage::Body);
                self.refuse_beyond(announced.length)?;
                running.body = CollectedFrames::behind(first.into());
                self.collect(&mut body, &mut running.body, deadline).await.map_err(AttemptError::Fault)?;
                let body = provider.secrets.mask(running.body.take(), Within::Answer);
                if !announced.is_coded && self.is_searched(provider, running.endpoint, body.len()) {
                    let text = without_mark(body.join());
                    if self.is_error_document(running, status, &text)? {
                        return error(headers, text, ErrorRest::Here(body), translation);
                    }
                }
                self.note_whole(provider, &body);
                let (body, usage) = match running.whole(translation.as_ref(), body) {
                    Ok(whole) => whole,
                    Err(NoAnswer::Fault(fault)) => return Err(AttemptError::Fault(fault)),
                    Err(NoAnswer::Error(text)) => {
                        return error(headers, text.clone(), ErrorRest::Here(text.into()), translation);
                    }
                };
                let answer = Answer::Whole(status, headers, body);
                return Ok(Box::new(Success { answer, times, usage }));
            }
            running.stage.cell().set(Stage::FirstToken);
            let is_events = kind == BodyKind::Events;
            let strips_usage =
                if translation.is_some() { self.hides_usage() } else { running.requests_usage };
            let body = match translation {
                Some(_) if !is_events => return Err(AttemptError::garbage("no event stream")),
                Some(translation) => {
                    let (first, secrets) = (take(&mut first), Arc::clone(&provider.secrets));
                    translation.stream(first, body, self.snapshot.stream.max_line, secrets)
                }
                None => AnswerBody::Native(body, Arc::clone(&provider.secrets)),
            };
            if is_events {
                forbid_buffering(&mut headers);
            }
            let (reached, mut stream) = running
                .reach_commit(
                    self.stream(body, provider, is_events, strips_usage, deadline).beginning_with(first),
                    self.commit_point(),
                )
                .await?;
            match reached {
                Ok(()) => Ok(Success::of(Answer::Stream(status, headers, stream), times)),
                Err(fault) if fault.kind == FaultKind::ErrorEvent => {
                    let text = stream.error_text();
                    error(headers, text, ErrorRest::Stream(stream), None)
                }
                Err(fault) if matches!(fault.kind, FaultKind::Empty(_)) => {
                    // A document under a stream's label.
                    let text = stream.error_text();
                    if provider_error::is_json(&text) && self.is_error_document(running, status, &text)? {
                        headers.insert("content-type", "application/json");
                        return error(headers, text.clone(), ErrorRest::Here(text.into()), None);
                    }
                    Err(AttemptError::Fault(fault))
                }
                Err(fault) => Err(AttemptError::Fault(fault)),
            }
        }
    }

    /// Whether a whole answer of so many bytes is searched for an error.
    fn is_searched(&self, provider: &Provider, endpoint: Endpoint, length: usize) -> bool {
        // LM Studio says under a good status that it lacks an endpoint.
        let is_untried = || !provider.standing.endpoints().has_answered(endpoint);
        let is_short = length <= provider_error::MAX_ERROR_BODY;
        self.streams || !self.is_sole || is_short && self.endpoint.is_main() || is_untried()
    }

    /// Whether a whole answer under a good status is an error.
    ///
    /// # Errors
    /// It is neither an answer nor an error, or a document where the client wants events.
    fn is_error_document(
        &self,
        running: &mut RunningAttempt<'_>,
        status: StatusCode,
        text: &[u8],
    ) -> Result<bool, AttemptError> {
        let is_short = text.len() <= provider_error::MAX_ERROR_BODY;
        let is_error = is_short && provider_error::is_error(text);
        let is_main = self.endpoint.is_main();
        if is_error {
            let lacks_endpoint = || {
                let class = classify::of_error(status.as_u16(), text, running.model);
                class == FailureClass::EndpointMissing
            };
            let fails = !self.is_sole || is_main || lacks_endpoint();
            running.reported = if fails { usage::find(running.endpoint.dialect(), text) } else { None };
            return Ok(fails);
        }
        if self.is_sole && !self.streams {
            return Ok(false);
        }
        let is_json = provider_error::is_json(text);
        let lacks_answer = is_main && is_short && !self.streams && {
            let dialect = running.endpoint.dialect();
            !provider_error::has_answer(dialect, text)
        };
        if !self.is_sole && (!is_json || lacks_answer) && !self.endpoint.answers_files() {
            return Err(AttemptError::garbage("neither an answer nor an error"));
        }
        // A client that reads events finds none in a document, and some ask again at once without end. The
        // models behind further endpoints may know no streams.
        let answers_events = is_main && self.endpoint != Endpoint::Embeddings;
        let is_document = is_json || text.trim_ascii_start().starts_with(b"{");
        if self.streams && answers_events && is_document {
            running.reported = usage::find(running.endpoint.dialect(), text);
            let kind = FaultKind::Empty("a document");
            return Err(AttemptError::Fault(Fault::provider(Stage::Body, kind, Sent::Some)));
        }
        Ok(false)
    }

    fn stream(
        &self,
        body: AnswerBody,
        provider: &Provider,
        events: bool,
        strip_usage: bool,
        deadline: Deadline,
    ) -> Uncommitted<AnswerBody> {
        let deadlines = &provider.deadlines;
        let options = RelayOptions {
            dialect: self.endpoint.dialect(),
            mode: self.mode,
            events,
            strip_usage,
            first_token: (deadline.at, deadline.after),
            stream_timeout: deadlines.stream,
            stream_total: deadlines.stream_total.map(|timeout| (self.started + timeout, timeout)),
            meter: self.snapshot.telemetry.frame_latency.then(|| self.meter.clone()),
            digests: self.trace.digests && !self.meter.sheds(),
            comment: self.trace.comment,
            shows_fault: fault_event(
                self.snapshot.stream.on_fault,
                self.head.version,
                self.endpoint.dialect(),
            )
            .is_some(),
            origin: self.origin(provider),
        };
        Uncommitted::new(body, &options, &self.snapshot.stream, self.started, self.id.clone())
    }

    /// S2.9: a body beyond the limit by its `Content-Length` is refused before it is read.
    fn refuse_beyond(&self, declared: Option<u64>) -> Result<(), AttemptError> {
        let limit = self.snapshot.stream.max_response_size;
        if declared.is_some_and(|length| length > limit) {
            let fault = Fault::provider(Stage::Body, FaultKind::TooLarge { limit }, Sent::Some);
            return Err(AttemptError::Fault(fault));
        }
        Ok(())
    }

    /// Reads a body to its end, behind the bytes in `frames` and within its limit (S2.9).
    pub(super) async fn collect(
        &self,
        body: &mut upstream::Body,
        frames: &mut CollectedFrames,
        deadline: Deadline,
    ) -> Result<(), Fault> {
        let limit = self.snapshot.stream.max_response_size;
        let mut collecting = pin!(collect::collect_into(body, frames, limit));
        // A short answer has come with its head, and needs no timer.
        let at_once = poll_fn(|cx| Poll::Ready(collecting.as_mut().poll(cx))).await;
        if let Poll::Ready(collected) = at_once {
            return collected;
        }
        timeout_at(deadline.at, collecting).await.unwrap_or_else(|_| Err(deadline.fault(Stage::Body)))
    }
}

fn without_mark(text: Bytes) -> Bytes {
    if text.starts_with(BYTE_ORDER_MARK) { text.slice(BYTE_ORDER_MARK.len()..) } else { text }
}

/// Whether a provider refuses a request because of the option that requests usage.
fn is_about_usage(result: &Result<Box<Success>, AttemptError>) -> bool {
    let Err(AttemptError::Error(error)) = result else { return false };
    let names_it = |word: &[u8]| memmem::find(&error.text, word).is_some();
    matches!(error.status.as_u16(), 400 | 422) && (names_it(b"stream_options") || names_it(b"include_usage"))
}
