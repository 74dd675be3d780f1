//! Decisions of a request before its first attempt: its trace, its candidates with the policy of its
//! attempts, the strategy's name and the stream's mode. Sends nothing; `handle` calls these in order.

use http::{HeaderValue, request::Parts};

use super::{Gateway, call::Call, fault::Refusal, request_headers::RequestHeaders, snapshot::Snapshot};
use crate::{
    base::{Endpoint, Moment},
    relay::Mode,
    routing::{AttemptPlan, PlanRequest, Policy, ResponseKind, Strategy},
    telemetry::Trace,
    wire::Envelope,
};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

impl Gateway {
    /// Continues the client's trace or begins one, and makes the provider's request a part of it. Without
    /// traces the client's own header passes as it came.
    pub(super) fn trace(&self, call: &mut Call, head: &mut Parts) {
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
    pub(super) fn plan<'a>(
        &self,
        snapshot: &'a Snapshot,
        headers: &RequestHeaders<'_>,
        (endpoint, envelope): (Endpoint, &'a Envelope),
        body: &[u8],
    ) -> Result<AttemptPlan<'a>, Box<Refusal>> {
        let (settings, now) = (snapshot.catalog.settings(), Moment::now());
        let request = PlanRequest {
            model: envelope.model(),
            fallback_models: envelope.fallback_models(),
            strategy: headers.strategy(settings.strategy_defaults)?,
            session: headers.session(settings.sticky, envelope, body),
            kind: ResponseKind::of(envelope.stream() == Some(true)),
            endpoint,
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
pub(super) const fn strategy_name(plan: &AttemptPlan<'_>) -> &'static str {
    let strategy = plan.plan().strategy;
    let falls_back = matches!(strategy, Strategy::Race { .. }) && !plan.is_race();
    if falls_back { Strategy::Priority.as_str() } else { strategy.as_str() }
}

/// How a stream is passed to the client. Precedence: endpoint, header, body field, configuration (S0.2–S0.5).
pub(super) fn stream_mode(
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
