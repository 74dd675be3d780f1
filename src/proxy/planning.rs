//! Decisions of a request before its first attempt: its trace, its candidates with the policy of its
//! attempts, the strategy's name and the stream's mode. Sends nothing; `handle` calls these in order.

use super::{Gateway, call::Call, fault::Refusal, request_headers::RequestHeaders, snapshot::Snapshot};
use crate::{
    auth::Principal,
    base::{Endpoint, Moment, RequestHead},
    relay::Mode,
    routing::{AttemptPlan, Plan, PlanRequest, Policy, ResponseKind, Strategy},
    telemetry::Trace,
    wire::{Dialect, Envelope},
};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

impl Gateway {
    /// Continues the client's trace or begins one, and makes the provider's request a part of it. Without
    /// traces the client's own header passes as it came.
    pub(super) fn trace(&self, call: &mut Call, head: &mut RequestHead) {
        let Some(share) = self.traces else { return };
        let parent = head.headers.get(TRACEPARENT);
        let trace = Trace::of(parent, share, &mut self.rng.borrow_mut());
        if trace.parent.is_none() {
            head.headers.remove(TRACESTATE);
        }
        head.headers.insert(TRACEPARENT, trace.traceparent());
        call.record().trace = Some(Box::new((trace, head.uri.path().into())));
    }

    /// The candidates of the request in order.
    pub(super) fn candidates<'a>(
        &self,
        snapshot: &'a Snapshot,
        headers: &RequestHeaders<'_>,
        (endpoint, envelope, body): (Endpoint, &'a Envelope, &[u8]),
        principal: &Principal,
    ) -> Result<Plan<'a>, Box<Refusal>> {
        let settings = snapshot.catalog.settings();
        let strategy = headers.strategy(settings.strategy_defaults)?;
        if let Some(strategy) = strategy {
            permit(
                strategy,
                principal.limits.strategies.as_deref().or(settings.client_strategies.as_deref()),
            )?;
        }
        let request = PlanRequest {
            model: envelope.model(),
            fallback_models: envelope.fallback_models(),
            strategy,
            session: headers.session(settings.sticky, envelope, body),
            kind: ResponseKind::of(envelope.stream() == Some(true)),
            endpoint,
            caller: principal.number(),
            may_translate: true,
        };
        let maker = || snapshot.maker(endpoint.dialect(), envelope, body);
        let planned = snapshot.catalog.plan_for(&request, maker, Moment::now(), &mut self.rng.borrow_mut());
        planned.map_err(|none| Refusal::no_plan(&snapshot.told_to(&principal.limits, none), request.model))
    }

    /// The attempts at these candidates, by their policy.
    pub(super) fn attempts<'a>(
        &self,
        snapshot: &'a Snapshot,
        headers: &RequestHeaders<'_>,
        plan: Plan<'a>,
        now: Moment,
    ) -> AttemptPlan<'a> {
        let policy = Policy {
            settings: snapshot.catalog.settings(),
            budgets: snapshot.catalog.registry().budgets(),
            failover: snapshot.failover,
            deadline: headers.timeout().map(|timeout| now + timeout),
        };
        AttemptPlan::new(plan, policy, self.rng.borrow_mut().fork(), now)
    }
}

/// A request follows a response of its own key only.
///
/// # Errors
/// The response is another key's, or its key is not known while there are several.
pub(super) fn own_response(
    snapshot: &Snapshot,
    principal: &Principal,
    endpoint: Endpoint,
    (envelope, body): (&Envelope, &[u8]),
) -> Result<(), Box<Refusal>> {
    let previous = Some(envelope).filter(|_| endpoint.dialect() == Dialect::Responses);
    let Some(id) = previous.and_then(|envelope| envelope.previous_response(body)) else { return Ok(()) };
    if snapshot.may_name(principal, id) {
        return Ok(());
    }
    let message = format!("Previous response with id '{}' not found.", String::from_utf8_lossy(id));
    Err(Refusal::request(400, "previous_response_not_found", message).of(Some("previous_response_id")))
}

/// Checks a strategy that a client has chosen. `permitted`: the strategies that it may choose, `None`: all.
fn permit(strategy: Strategy, permitted: Option<&[String]>) -> Result<(), Box<Refusal>> {
    let Some(permitted) = permitted else { return Ok(()) };
    if permitted.iter().any(|permission| strategy.is_permitted_by(permission)) {
        return Ok(());
    }
    let choice = match permitted {
        [] => "none may be chosen".to_owned(),
        permitted => format!("it may choose {}", permitted.join(", ")),
    };
    let message = format!("this API key may not choose the strategy `{}`; {choice}", strategy.as_str());
    Err(Refusal::request(403, "strategy_not_allowed", message).of(Some("x-thalweg-strategy")))
}

/// The strategy's name for the record: a race that is not allowed, or has one candidate, counts as
/// `priority`.
pub(super) const fn strategy_name(plan: &AttemptPlan<'_>) -> &'static str {
    let strategy = plan.plan().strategy;
    let falls_back = matches!(strategy, Strategy::Race { .. }) && !plan.is_race();
    if falls_back { Strategy::Priority.as_str() } else { strategy.as_str() }
}

/// How a stream is passed to the client. Precedence: endpoint, header, body field, configuration (S0.2 to
/// S0.5).
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
