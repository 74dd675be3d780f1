//! The life of a completion request, from first line to last: key, body, envelope, limits, plan, attempts,
//! commit. Each step may end it with a refusal; the record of the request is written on the way.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use tokio::time::Instant;

use super::{
    Gateway,
    admission::{self, ShownKey, accept},
    answer::{Answer, fault_event},
    attempts::{AttemptRecorder, run_attempts},
    body::Body,
    cache_key::KeyedRequest,
    call::Call,
    fault::Refusal,
    gemini_path,
    intake::{self, Incoming},
    planning::{own_response, strategy_name, stream_mode},
    query::with_query,
    recall::{Recalled, recall},
    request_context::{Payload, RequestContext},
    request_headers::RequestHeaders,
    snapshot::Snapshot,
};
use crate::{
    auth::Principal,
    base::{Endpoint, HandlerResponse, Moment, RequestHead},
    exchange::{BackgroundPart, ResponseMode},
    relay::Mode,
    wire::{self, ModelUse},
};

/// The destination of a request as its path says it.
#[derive(Clone, Copy, Debug)]
pub struct Addressed<'a> {
    pub endpoint: Endpoint,
    /// The path selects the ASGI mode (S0.4).
    pub asgi: bool,
    /// The model of Azure's paths, which takes precedence over the body's.
    pub model: Option<&'a str>,
    /// What follows the endpoint's own path: a response's id and the operation on it.
    pub rest: &'a str,
    /// Gemini's path says whether the answer streams. `None`: the body says it.
    pub streams: Option<bool>,
}

impl Gateway {
    /// Answers one completion. Dropping the future before the head, or the body after it, completes the
    /// request: its client has left.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` would keep its arguments twice in its future, and copy them"
    )]
    pub fn complete(
        &self,
        mut call: Call,
        head: &mut RequestHead,
        body: impl Incoming,
        addressed: Addressed<'_>,
    ) -> impl Future<Output = HandlerResponse<Body>> {
        async move {
            let snapshot = self.snapshot.load_full();
            self.trace(&mut call, head);
            let mut outcome = match accept(&snapshot, head, |_| true) {
                Ok((principal, shown)) => {
                    let owner = (principal, Some(shown));
                    // In its place, because an `await` of the future itself would copy it.
                    let answered = {
                        let answering = pin!(self.answer(&mut call, &snapshot, owner, head, body, addressed));
                        self.unless_ended(answering).await
                    };
                    answered.unwrap_or_else(|| Err(Refusal::shutting_down(call.completion.stage().get())))
                }
                Err(refusal) => Err(refusal),
            };
            if snapshot.compression.answers
                && let Ok(answer @ (Answer::Whole(..) | Answer::Cached(_))) = outcome
            {
                // Boxed: it must not enlarge the future of every request.
                outcome = Ok(Box::pin(answer.compress(&mut call, snapshot.compression, &head.headers)).await);
            }
            self.finish(call, &snapshot, head, outcome)
        }
    }

    /// As [`Gateway::complete`], for a key that is known without its secret.
    pub(super) async fn complete_for(
        &self,
        principal: Arc<Principal>,
        mut call: Call,
        head: &mut RequestHead,
        body: impl Incoming,
        addressed: Addressed<'_>,
    ) -> HandlerResponse<Body> {
        let snapshot = self.snapshot.load_full();
        self.trace(&mut call, head);
        let owner = (principal, None);
        let outcome = self.answer(&mut call, &snapshot, owner, head, body, addressed).await;
        self.finish(call, &snapshot, head, outcome)
    }

    /// The outcome of `answering`. `None`: there is none when the drain's time is over.
    pub(super) async fn unless_ended<T>(
        &self,
        mut answering: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        poll_fn(|cx| {
            let polled = answering.as_mut().poll(cx);
            if polled.is_pending() && self.completions.has_ended() {
                return Poll::Ready(None);
            }
            polled.map(Some)
        })
        .await
    }

    /// The response to a request with this outcome.
    pub(super) fn finish(
        &self,
        call: Call,
        snapshot: &Snapshot,
        head: &RequestHead,
        outcome: Result<Answer, Box<Refusal>>,
    ) -> HandlerResponse<Body> {
        match outcome {
            Ok(answer) => {
                let on_fault = fault_event(snapshot.stream.on_fault, head.version, call.dialect);
                answer
                    .commit(call, on_fault, || (self.hold_stream(snapshot.generation), self.detached.clone()))
            }
            Err(refusal) => call.refuse(&refusal),
        }
    }

    /// An answer that is good enough for the client. Nothing of it has been sent. The request's owner is its
    /// key, and the key as shown, if it was.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` would keep its arguments twice in its future, and copy them"
    )]
    fn answer(
        &self,
        call: &mut Call,
        snapshot: &Snapshot,
        (principal, shown): (Arc<Principal>, Option<ShownKey<'_>>),
        head: &RequestHead,
        body: impl Incoming,
        addressed: Addressed<'_>,
    ) -> impl Future<Output = Result<Answer, Box<Refusal>>> {
        async move {
            call.note_key(&principal);
            call.record().on_disconnect = snapshot.stream.on_disconnect;

            let headers = RequestHeaders::of(&head.headers);
            let trace = headers.trace_options(&snapshot.telemetry);
            call.digests = trace.digests && !self.gauges.meter.sheds();
            admission::enter(call, snapshot, &principal).await?;
            let memory = (&self.bodies, &principal.id);
            let read = intake::read(body, &head.headers, snapshot.intake, memory).await?;
            let body = &read.bytes;
            call.record().client.request_bytes = body.len() as u64;

            let endpoint = addressed.endpoint;
            let envelope = match addressed.streams {
                Some(streams) => {
                    wire::envelope::read_gemini(body, addressed.model.unwrap_or_default(), streams)?
                }
                None => wire::envelope::read_for(body, ModelUse::Required, addressed.model)?,
            };
            let mode = stream_mode(addressed.asgi, &headers, &envelope, snapshot)?;
            let record = call.record();
            record.model = Some(envelope.model().into());
            record.mode = Some(match (envelope.stream() == Some(true), mode) {
                (false, _) => ResponseMode::NonStreaming,
                (true, Mode::Asgi) => ResponseMode::Asgi,
                (true, Mode::Buffered) => ResponseMode::Buffered,
            });
            call.completion.show_model();

            admission::check_models(snapshot, &principal, envelope.model(), envelope.fallback_models())?;
            own_response(snapshot, &principal, endpoint, (&envelope, body))?;
            let key = Arc::clone(&principal.id);
            let is_charged = principal.is_charged();
            if endpoint == Endpoint::Responses {
                call.record().background = Some(BackgroundPart::new(&self.background, None));
            }
            let plan = self.candidates(snapshot, &headers, (endpoint, &envelope, body), &principal)?;
            let path = match addressed.streams {
                Some(streams) => gemini_path::method(endpoint, streams, head.uri.query()),
                None => with_query(endpoint.path().into(), head.uri.query()),
            };
            if snapshot.cache.is_in_use || headers.cache().next().is_some() {
                let keyed = KeyedRequest {
                    snapshot,
                    plan: &plan,
                    endpoint,
                    path: &path,
                    headers: &head.headers,
                    query: head.uri.query(),
                    envelope: &envelope,
                    body,
                    shown,
                    owner: &principal.id,
                };
                match recall(call, &keyed, &headers, &principal, trace.comment)? {
                    Recalled::Answer(answer) => return Ok(answer),
                    // Boxed: it must not enlarge the future of every request.
                    Recalled::Awaited(awaited) => {
                        if let Some(answer) = Box::pin(awaited.resolve(call, keyed)).await? {
                            return Ok(answer);
                        }
                    }
                    Recalled::Nothing => {}
                }
            }
            admission::grant(call, snapshot, principal, (body, &envelope), &plan).await?;
            self.check_ended()?;
            tracing::debug!(id = %call.id, path = endpoint.path(), model = envelope.model(), "request");
            let began = Instant::now();
            let now = Moment::at(began.into_std());
            let mut plan = self.attempts(snapshot, &headers, plan, now);
            call.record().strategy = Some(strategy_name(&plan));

            let (record, running, wasted) = call.completion.parts();
            record.race.is_race = plan.is_race();
            call.asked = Some(began);
            let context = RequestContext {
                upstream: &self.upstream,
                meter: &self.gauges.meter,
                snapshot,
                id: &call.id,
                started: call.started,
                head,
                path: &path,
                body,
                payload: Payload::Json(&envelope),
                endpoint,
                streams: envelope.stream() == Some(true),
                mode,
                trace,
                key: &key,
                running,
                wasted,
                is_sole: plan.plan().candidates().len() == 1
                    || (!snapshot.failover && !plan.may_run_several()),
                is_charged,
                deadline: plan.deadline(),
                model_commit: snapshot.commit_of(plan.plan()),
            };
            let mut recorder = AttemptRecorder { record, running, id: &call.id, snapshot, began };
            let chosen = run_attempts(&context, &mut plan, &mut recorder, now).await?;
            Ok(recorder.finish(chosen, &mut plan))
        }
    }
}
