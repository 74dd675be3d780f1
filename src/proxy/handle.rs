//! The life of a request, top to bottom.

use std::sync::Arc;

use http::{HeaderValue, Response, request::Parts};

use super::{
    Gateway,
    admission::{self, admit},
    attempt::Answer,
    attempts::Wish,
    call::{Body, Call},
    fault::Refusal,
    intake::{self, Incoming},
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
    /// Answers one completion; `asgi`: its path selects the ASGI mode (S0.4). Dropping the future before the head, or
    /// the body after it, tells that the client has left.
    pub async fn complete(
        &self,
        mut call: Call,
        head: &mut Parts,
        body: impl Incoming,
        asgi: bool,
    ) -> Response<Body> {
        let snapshot = self.snapshot.load_full();
        self.trace(&mut call, head);
        match self.commit(&mut call, &snapshot, head, body, asgi).await {
            Ok(answer) => answer.give(call, || (self.hold_stream(snapshot.generation), self.orphans.clone())),
            Err(refusal) => call.refuse(&refusal),
        }
    }

    /// Goes on with the client's trace or begins one, and has the provider go on with it. Without traces the client's own
    /// header passes as it came.
    fn trace(&self, call: &mut Call, head: &mut Parts) {
        let Some(share) = self.traces else { return };
        let said = head.headers.get(TRACEPARENT).map(HeaderValue::as_bytes);
        let trace = Trace::of(said, share, &mut self.dice.borrow_mut());
        if trace.parent.is_none() {
            head.headers.remove(TRACESTATE);
        }
        if let Ok(value) = HeaderValue::from_str(&trace.traceparent()) {
            head.headers.insert(TRACEPARENT, value);
        }
        call.record().trace = Some(trace);
    }

    /// Who may serve the request, and in which manner they are asked.
    fn plan<'a>(&self, wish: &Wish<'a>) -> Result<AttemptPlan<'a>, Box<Refusal>> {
        let (settings, now) = (wish.snapshot.catalog.settings(), Moment::now());
        let Wish { preference, envelope, .. } = wish;
        let ask = PlanRequest {
            model: envelope.model(),
            fallback_models: envelope.fallback_models(),
            strategy: preference.strategy(settings.strategy_defaults)?,
            session: preference.session(settings.sticky, envelope, wish.body),
            kind: ResponseKind::of(envelope.stream() == Some(true)),
        };
        let mut dice = self.dice.borrow_mut();
        let plan = wish
            .snapshot
            .catalog
            .plan(&ask, now, &mut dice)
            .map_err(|none| Refusal::no_plan(&none, ask.model))?;
        let terms = Policy {
            settings,
            budgets: wish.snapshot.catalog.registry().budgets(),
            failover: wish.snapshot.failover,
            deadline: preference.patience().map(|patience| now + patience),
        };
        Ok(AttemptPlan::new(plan, terms, dice.fork(), now))
    }

    async fn commit(
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
        let preference = RequestHeaders::of(&head.headers);
        call.digests = preference.telling(&snapshot.telemetry).digests && !self.gauges.meter.sheds();
        let body = intake::read(body, &head.headers, snapshot.intake).await?;
        call.record().client.request_bytes = body.len() as u64;
        let envelope = wire::envelope::read(&body)?;
        let mode = mode(asgi, &preference, &envelope, snapshot)?;
        let record = call.record();
        record.model = Some(envelope.model().into());
        record.mode = Some(match (envelope.stream() == Some(true), mode) {
            (false, _) => ResponseMode::NonStreaming,
            (true, Mode::Asgi) => ResponseMode::Asgi,
            (true, Mode::Buffered) => ResponseMode::Buffered,
        });
        admission::grant(call, snapshot, principal, &body, &envelope)?;
        tracing::debug!(id = %call.id, path = call.dialect.path(), model = %envelope.model(), "request");
        let wish = Wish { snapshot, head, body: &body, envelope: &envelope, mode, preference };
        let course = self.plan(&wish)?;
        call.record().strategy = Some(manner(&course));
        self.attempt(call, &wish, course).await
    }
}

/// How candidates are asked, as the story tells it: a race that may not be one, or has one runner, is none.
const fn manner(course: &AttemptPlan<'_>) -> &'static str {
    let strategy = course.plan().strategy;
    let falls_back = matches!(strategy, Strategy::Race { .. }) && !course.is_race();
    if falls_back { Strategy::Priority.as_str() } else { strategy.as_str() }
}

/// How a stream is to travel: the endpoint says, else the header, else the body, else the configuration (S0.2–S0.5).
fn mode(
    asgi: bool,
    preference: &RequestHeaders<'_>,
    envelope: &Envelope,
    snapshot: &Snapshot,
) -> Result<Mode, Box<Refusal>> {
    if asgi {
        return Ok(Mode::Asgi);
    }
    Ok(match preference.asgi()?.or_else(|| envelope.x_use_asgi_streaming()) {
        Some(true) => Mode::Asgi,
        Some(false) => Mode::Buffered,
        None => snapshot.stream.mode,
    })
}
