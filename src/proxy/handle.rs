//! The life of a request, top to bottom.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderValue, Response, StatusCode, request::Parts};

use super::{
    Gateway,
    admission::{self, admit},
    answer::{allow_preflight, asks_for_websocket, refuse_upgrade},
    attempt::Answer,
    attempts::Wish,
    call::{Body, Call},
    fault::Refusal,
    intake::{self, Incoming},
    page,
    reload::ReloadOutcome,
    request_headers::RequestHeaders,
    routes::{self, NoRoute, Page, Route},
    snapshot::Snapshot,
};
use crate::{
    base::{ByteList, Moment},
    relay::{Mode, Outcome},
    routing::{AttemptPlan, PlanRequest, Policy, ResponseKind, Strategy},
    telemetry::Trace,
    wire::{self, Dialect, Envelope},
};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

impl Gateway {
    /// Answers one request. Dropping the future before the head, or the body after it, tells that the client has left.
    pub async fn answer(&self, mut head: Parts, body: impl Incoming, peer: Option<IpAddr>) -> Response<Body> {
        let mut call = self.open(&head, peer);
        let route = match routes::find(&head.method, head.uri.path()) {
            _ if head.method == http::Method::OPTIONS => {
                return call.whole(
                    StatusCode::NO_CONTENT,
                    allow_preflight(&head.headers),
                    ByteList::new(),
                    Outcome::Complete,
                );
            }
            _ if asks_for_websocket(&head.headers) => {
                return call.refuse(&refuse_upgrade());
            }
            Ok(route) if self.serves(route) => route,
            Ok(_) | Err(NoRoute::Path) => {
                return call.refuse(&Refusal::request(
                    404,
                    "not_found",
                    "there is no such path; GET / lists them",
                ));
            }
            Err(NoRoute::Method { allow }) => {
                let message = format!("this path takes {allow}");
                let mut refusal = Refusal::request(405, "method_not_allowed", message);
                refusal.allow = Some(allow);
                return call.refuse(&refusal);
            }
        };
        let snapshot = self.snapshot.load_full();
        match route {
            Route::Page(page) => match self.page(page, &snapshot, &head) {
                Ok((status, body)) => call.json(status, body),
                Err(refusal) => call.refuse(&refusal),
            },
            // Boxed: what is rare must not make every request's future larger.
            Route::Statistics(view) => match Box::pin(self.statistics(view, &snapshot, &head)).await {
                Ok((content_type, text)) => call.text(content_type, text),
                Err(refusal) => call.refuse(&refusal),
            },
            Route::Reload => match Box::pin(self.reload(&head)).await {
                Ok(ReloadOutcome::Done(told)) => call.json(StatusCode::OK, told.to_string().into()),
                Ok(ReloadOutcome::Wrong { message, errors }) => call.refuse_for(&message, errors),
                Err(refusal) => call.refuse(&refusal),
            },
            Route::Complete { dialect, asgi } => {
                self.trace(&mut call, &mut head);
                match self.complete(&mut call, &snapshot, &head, body, (dialect, asgi)).await {
                    Ok(answer) => {
                        answer.give(call, || (self.hold_stream(snapshot.generation), self.orphans.clone()))
                    }
                    Err(refusal) => call.refuse(&refusal),
                }
            }
        }
    }

    /// Goes on with the client's trace or begins one, and has the provider go on with it. Without traces the client's own
    /// header passes as it came.
    fn trace(&self, call: &mut Call, head: &mut Parts) {
        let Some(share) = self.board.traces else { return };
        let said = head.headers.get(TRACEPARENT).map(HeaderValue::as_bytes);
        let trace = Trace::of(said, share, &mut self.dice.borrow_mut());
        if trace.parent.is_none() {
            head.headers.remove(TRACESTATE);
        }
        if let Ok(value) = HeaderValue::from_str(&trace.traceparent()) {
            head.headers.insert(TRACEPARENT, value);
        }
        call.note(|story| story.trace = Some(trace));
    }

    fn page(
        &self,
        page: Page,
        snapshot: &Snapshot,
        head: &Parts,
    ) -> Result<(StatusCode, bytes::Bytes), Box<Refusal>> {
        let known = match page {
            Page::Models | Page::Model => admit(snapshot, &head.headers).map(|_| true)?,
            Page::Health => admit(snapshot, &head.headers).is_ok() || self.administrate(head).is_ok(),
            Page::Service | Page::Live | Page::Ready => false,
        };
        let reader = page::PageRequest { path: head.uri.path(), ready: (self.ready)(), known };
        page::render(page, reader, snapshot)
    }

    /// S2.6. `?check=true` tells what would change, and changes nothing.
    async fn reload(&self, head: &Parts) -> Result<ReloadOutcome, Box<Refusal>> {
        self.administrate(head)?;
        let mut asked = head.uri.query().unwrap_or_default().split('&');
        self.desk.reload(asked.any(|part| matches!(part, "check" | "check=true" | "check=1"))).await
    }

    /// Who may serve the request, and in which manner they are asked.
    fn plan<'a>(&self, wish: &Wish<'a>) -> Result<AttemptPlan<'a>, Box<Refusal>> {
        let (settings, now) = (wish.snapshot.catalog.settings(), Moment::now());
        let Wish { preference, envelope, .. } = wish;
        let ask = PlanRequest {
            model: envelope.model(),
            others: envelope.fallback_models(),
            strategy: preference.strategy(settings.figures)?,
            session: preference.session(settings.sticky, envelope, wish.body),
            manner: ResponseKind::of(envelope.stream() == Some(true)),
        };
        let mut dice = self.dice.borrow_mut();
        let plan = wish
            .snapshot
            .catalog
            .plan(&ask, now, &mut dice)
            .map_err(|none| Refusal::no_plan(&none, ask.model))?;
        let terms = Policy {
            settings,
            budgets: wish.snapshot.catalog.records().budgets(),
            failover: wish.snapshot.failover,
            deadline: preference.patience().map(|patience| now + patience),
        };
        Ok(AttemptPlan::new(plan, terms, dice.fork(), now))
    }

    async fn complete(
        &self,
        call: &mut Call,
        snapshot: &Snapshot,
        head: &Parts,
        body: impl Incoming,
        (dialect, asgi): (Dialect, bool),
    ) -> Result<Answer, Box<Refusal>> {
        let principal = admit(snapshot, &head.headers)?;
        call.note(|story| {
            story.principal = Some(Arc::clone(&principal.name));
            story.key = Some(Arc::clone(&principal.id));
            story.on_disconnect = snapshot.stream.on_disconnect;
        });
        let preference = RequestHeaders::of(&head.headers);
        call.digests = preference.telling(&snapshot.telemetry).digests && !self.gauges.meter.sheds();
        let body = intake::read(body, &head.headers, snapshot.intake).await?;
        call.note(|story| story.caller.bytes = body.len() as u64);
        let envelope = wire::envelope::read(&body)?;
        let mode = mode(asgi, &preference, &envelope, snapshot)?;
        call.note(|story| {
            story.model = envelope.model().into();
            story.mode = match (envelope.stream() == Some(true), mode) {
                (false, _) => "non-streaming",
                (true, Mode::Asgi) => "asgi",
                (true, Mode::Buffered) => "buffered",
            };
        });
        admission::grant(call, snapshot, principal, &body, &envelope)?;
        tracing::debug!(id = %call.id, path = dialect.path(), model = %envelope.model(), "request");
        let wish = Wish { snapshot, head, body: &body, envelope: &envelope, mode, preference };
        let course = self.plan(&wish)?;
        call.note(|story| story.strategy = manner(&course));
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
