//! The life of a completion request, from first line to last: key, body, envelope, limits, plan, attempts,
//! commit. Each step may end it with a refusal; the record of the request is written on the way.

use std::{cell::Cell, sync::Arc};

use http::{HeaderValue, Response, request::Parts};
use tokio::time::Instant;

use super::{
    Gateway,
    admission::{self, admit},
    answer::{Answer, fault_event},
    attempts::{AttemptRecorder, run_attempts},
    call::{Body, Call},
    fault::Refusal,
    intake::{self, Incoming},
    request_context::RequestContext,
    request_headers::RequestHeaders,
    snapshot::Snapshot,
};
use crate::{
    base::Moment,
    exchange::ResponseMode,
    relay::Mode,
    routing::{AttemptPlan, PlanRequest, Policy, ResponseKind, Strategy},
    telemetry::Trace,
    wire::{self, Envelope},
};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

impl Gateway {
    /// Answers one completion; `asgi`: its path selects the ASGI mode (S0.4). Dropping the future before the
    /// head, or the body after it, completes the request: its client has left.
    pub async fn complete(
        &self,
        mut call: Call,
        head: &mut Parts,
        body: impl Incoming,
        asgi: bool,
    ) -> Response<Body> {
        let snapshot = self.snapshot.load_full();
        self.trace(&mut call, head);
        match self.answer(&mut call, &snapshot, head, body, asgi).await {
            Ok(answer) => {
                let on_fault = fault_event(snapshot.stream.on_fault, head.version);
                answer
                    .commit(call, on_fault, || (self.hold_stream(snapshot.generation), self.detached.clone()))
            }
            Err(refusal) => call.refuse(&refusal),
        }
    }

    /// An answer that is good enough for the client. Nothing of it has been sent.
    async fn answer(
        &self,
        call: &mut Call,
        snapshot: &Snapshot,
        head: &Parts,
        body: impl Incoming,
        asgi: bool,
    ) -> Result<Answer, Box<Refusal>> {
        let principal = admit(snapshot, &head.headers)?;
        let record = call.record();
        record.key_name = Some(Arc::clone(&principal.name));
        record.key_id = Some(Arc::clone(&principal.id));
        record.on_disconnect = snapshot.stream.on_disconnect;

        let headers = RequestHeaders::of(&head.headers);
        let trace = headers.trace_options(&snapshot.telemetry);
        call.digests = trace.digests && !self.gauges.meter.sheds();
        let body = intake::read(body, &head.headers, snapshot.intake).await?;
        call.record().client.request_bytes = body.len() as u64;

        let envelope = wire::envelope::read(&body)?;
        let mode = stream_mode(asgi, &headers, &envelope, snapshot)?;
        let record = call.record();
        record.model = Some(envelope.model().into());
        record.mode = Some(match (envelope.stream() == Some(true), mode) {
            (false, _) => ResponseMode::NonStreaming,
            (true, Mode::Asgi) => ResponseMode::Asgi,
            (true, Mode::Buffered) => ResponseMode::Buffered,
        });

        admission::grant(call, snapshot, principal, &body, &envelope)?;
        tracing::debug!(id = %call.id, path = call.dialect.path(), model = %envelope.model(), "request");
        let mut plan = self.plan(snapshot, &headers, &envelope, &body)?;
        call.record().strategy = Some(strategy_name(&plan));

        let (record, stage) = call.completion.parts();
        record.race.is_race = plan.is_race();
        let (began, wasted_tokens) = (Instant::now(), Cell::new(0));
        call.asked = Some(began);
        let context = RequestContext {
            upstream: &self.upstream,
            meter: &self.gauges.meter,
            snapshot,
            id: &call.id,
            started: call.started,
            head,
            body: &body,
            envelope: &envelope,
            dialect: call.dialect,
            mode,
            trace,
            stage,
            wasted_tokens: &wasted_tokens,
            is_sole: plan.plan().candidates().len() == 1 || (!snapshot.failover && !plan.may_run_several()),
            deadline: plan.deadline(),
            model_commit: snapshot.commit_of(plan.plan()),
        };
        let mut recorder = AttemptRecorder { record, id: &call.id, snapshot, began };
        let chosen = run_attempts(&context, &mut plan, &mut recorder).await;
        recorder.record.wasted_tokens = wasted_tokens.get();
        let chosen = chosen?;
        call.answered = Some(chosen.success.times.answered);
        Ok(recorder.finish(chosen, &mut plan))
    }

    /// Continues the client's trace or begins one, and makes the provider's request a part of it. Without
    /// traces the client's own header passes as it came.
    fn trace(&self, call: &mut Call, head: &mut Parts) {
        let Some(share) = self.traces else { return };
        let parent = head.headers.get(TRACEPARENT).map(HeaderValue::as_bytes);
        let trace = Trace::of(parent, share, &mut self.rng.borrow_mut());
        if trace.parent.is_none() {
            head.headers.remove(TRACESTATE);
        }
        if let Ok(value) = HeaderValue::from_str(&trace.traceparent()) {
            head.headers.insert(TRACEPARENT, value);
        }
        call.record().trace = Some(trace);
    }

    /// The candidates of the request, and the policy of its attempts.
    fn plan<'a>(
        &self,
        snapshot: &'a Snapshot,
        headers: &RequestHeaders<'_>,
        envelope: &'a Envelope,
        body: &[u8],
    ) -> Result<AttemptPlan<'a>, Box<Refusal>> {
        let (settings, now) = (snapshot.catalog.settings(), Moment::now());
        let request = PlanRequest {
            model: envelope.model(),
            fallback_models: envelope.fallback_models(),
            strategy: headers.strategy(settings.strategy_defaults)?,
            session: headers.session(settings.sticky, envelope, body),
            kind: ResponseKind::of(envelope.stream() == Some(true)),
        };
        let mut rng = self.rng.borrow_mut();
        let plan = snapshot
            .catalog
            .plan(&request, now, &mut rng)
            .map_err(|none| Refusal::no_plan(&none, request.model))?;
        let policy = Policy {
            settings,
            budgets: snapshot.catalog.registry().budgets(),
            failover: snapshot.failover,
            deadline: headers.timeout().map(|timeout| now + timeout),
        };
        Ok(AttemptPlan::new(plan, policy, rng.fork(), now))
    }
}

/// The strategy's name for the record: a race that is not allowed, or has one candidate, counts as
/// `priority`.
const fn strategy_name(plan: &AttemptPlan<'_>) -> &'static str {
    let strategy = plan.plan().strategy;
    let falls_back = matches!(strategy, Strategy::Race { .. }) && !plan.is_race();
    if falls_back { Strategy::Priority.as_str() } else { strategy.as_str() }
}

/// How a stream is passed to the client. Precedence: endpoint, header, body field, configuration (S0.2–S0.5).
fn stream_mode(
    asgi: bool,
    headers: &RequestHeaders<'_>,
    envelope: &Envelope,
    snapshot: &Snapshot,
) -> Result<Mode, Box<Refusal>> {
    if asgi {
        return Ok(Mode::Asgi);
    }
    Ok(match headers.asgi()?.or_else(|| envelope.x_use_asgi_streaming()) {
        Some(true) => Mode::Asgi,
        Some(false) => Mode::Buffered,
        None => snapshot.stream.mode,
    })
}
