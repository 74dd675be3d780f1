//! The life of a completion request, from first line to last: key, body, envelope, limits, plan, attempts,
//! commit. Each step may end it with a refusal; the record of the request is written on the way.

use std::sync::Arc;

use http::{Response, request::Parts};
use tokio::time::Instant;

use super::{
    Gateway,
    admission::{self, admit},
    answer::{Answer, fault_event},
    attempts::{AttemptRecorder, run_attempts},
    call::{Body, Call},
    fault::Refusal,
    intake::{self, Incoming},
    planning::{strategy_name, stream_mode},
    request_context::RequestContext,
    request_headers::RequestHeaders,
    snapshot::Snapshot,
};
use crate::{exchange::ResponseMode, relay::Mode, wire};

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
        let mut plan = self.plan(snapshot, &headers, (call.dialect, &envelope), &body)?;
        call.record().strategy = Some(strategy_name(&plan));

        let (record, stage, wasted) = call.completion.parts();
        record.race.is_race = plan.is_race();
        let began = Instant::now();
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
            wasted,
            is_sole: plan.plan().candidates().len() == 1 || (!snapshot.failover && !plan.may_run_several()),
            deadline: plan.deadline(),
            model_commit: snapshot.commit_of(plan.plan()),
        };
        let mut recorder = AttemptRecorder { record, id: &call.id, snapshot, began };
        let chosen = run_attempts(&context, &mut plan, &mut recorder).await?;
        call.answered = Some(chosen.success.times.answered);
        Ok(recorder.finish(chosen, &mut plan))
    }
}
