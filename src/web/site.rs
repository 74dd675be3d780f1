//! The handler of a worker: finds a request's route once, applies the access that the route requires and has the
//! route's operation answer. Completions go to [`Gateway`]; everything else is answered in this room.

use std::{fmt, net::IpAddr, rc::Rc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use serde_json::Value;

use super::{
    Body,
    admin::{self, ListenerRole},
    compare::{self, CompareStream, Gate, progress::ProgressQueue},
    events::{self, EventFeed},
    health, metrics, models, page,
    preflight::{allow_preflight, asks_for_websocket, refuse_upgrade},
    reload::{self, ReloadHandle, ReloadOutcome},
    routes::{self, Operation, Page, Route, RouteMatch},
    statistics,
};
use crate::{
    base::ByteList,
    exchange::Outcome,
    ledger::LedgerReader,
    proxy::{Call, Gateway, Incoming, Refusal, Snapshot},
    telemetry::Telemetry,
    upstream::Target,
};

/// Seconds after which a comparison that found another one running may be tried again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("15");

/// One worker's site.
#[derive(Debug)]
pub struct Site {
    gateway: Gateway,
    parts: SiteParts,
}

/// What a site needs beside the gateway.
pub struct SiteParts {
    /// The listener whose requests are answered.
    pub listener: ListenerRole,
    /// Whether the process still wants requests (`/readyz`).
    pub ready: Rc<dyn Fn() -> bool>,
    pub reload: ReloadHandle,
    pub telemetry: Telemetry,
    pub ledger: LedgerReader,
    /// This gateway, as its own client sees it.
    pub own: Target,
    /// Shared by all workers.
    pub gate: Gate,
}

impl fmt::Debug for SiteParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteParts").field("listener", &self.listener).finish_non_exhaustive()
    }
}

/// A page, ready to be given to the call.
enum Reply {
    Json(StatusCode, Value),
    /// Differs from request to request, so it may not be stored.
    Text(&'static str, String),
    /// The configuration is wrong.
    Invalid {
        message: String,
        errors: Vec<Value>,
    },
}

impl Site {
    #[must_use]
    pub const fn new(gateway: Gateway, parts: SiteParts) -> Self {
        Self { gateway, parts }
    }

    /// Answers one request. Dropping the future before the head, or the body after it, ends the request as one whose
    /// client has left.
    pub async fn answer(
        self: Rc<Self>,
        mut head: Parts,
        body: impl Incoming,
        peer: Option<IpAddr>,
    ) -> Response<Body> {
        let found = routes::find(head.uri.path()).filter(|found| self.has(found.route));
        let route = RouteMatch::recorded(found, &head.method);
        let call = self.gateway.open(&head, peer, route, RouteMatch::dialect(found));
        if head.method == Method::OPTIONS {
            let headers = allow_preflight(&head.headers);
            let response = call.whole(StatusCode::NO_CONTENT, headers, ByteList::new(), Outcome::Complete);
            return response.map(Body::Corridor);
        }
        let found = match self.accept(found, &head) {
            Ok(found) => found,
            Err(refusal) => return call.refuse(&refusal).map(Body::Corridor),
        };
        match found.route.operation {
            Operation::Complete { asgi } => {
                self.gateway.complete(call, &mut head, body, asgi).await.map(Body::Corridor)
            }
            // Boxed: rare requests must not enlarge the future of every request.
            Operation::Page(page) => Box::pin(self.page(page, call, found, &head)).await,
        }
    }

    /// The operators' listener does not know the comparison.
    fn has(&self, route: &Route) -> bool {
        self.is_public() || route.operation != Operation::Page(Page::Compare)
    }

    fn is_public(&self) -> bool {
        self.parts.listener == ListenerRole::Public
    }

    /// The route that answers the request, if path, method and listener agree on one.
    fn accept<'p>(
        &self,
        found: Option<RouteMatch<'p>>,
        head: &Parts,
    ) -> Result<RouteMatch<'p>, Box<Refusal>> {
        let ignores_upgrade = found.is_some_and(|found| found.route.ignores_upgrade(&head.method));
        if asks_for_websocket(&head.headers) && !ignores_upgrade {
            return Err(refuse_upgrade());
        }
        match found {
            Some(RouteMatch { route, .. }) if !route.takes(&head.method) => {
                let mut refusal = Refusal::request(405, "method_not_allowed", route.methods.message());
                refusal.allow = Some(route.methods.allow());
                Err(refusal)
            }
            Some(found) if self.is_public() || found.route.is_for_operators() => Ok(found),
            Some(_) | None => {
                Err(Refusal::request(404, "not_found", "there is no such path; GET / lists them"))
            }
        }
    }

    async fn page(
        self: Rc<Self>,
        page: Page,
        call: Call,
        found: RouteMatch<'_>,
        head: &Parts,
    ) -> Response<Body> {
        let (parts, snapshot) = (&self.parts, self.gateway.snapshot());
        if let Err(refusal) = admin::authorize(found.route.access, parts.listener, &snapshot, head) {
            return call.refuse(&refusal).map(Body::Corridor);
        }
        let reply = match page {
            Page::Service => Ok(Reply::ok(page::service())),
            Page::Live => Ok(Reply::ok(page::live())),
            Page::Ready => Ok(Reply::ready((parts.ready)())),
            Page::Models => Ok(Reply::ok(models::list(&snapshot))),
            Page::Model => models::one(&snapshot, found.model).map(Reply::ok),
            Page::Health => {
                let is_detailed = admin::is_known(parts.listener, &snapshot, head);
                Ok(Reply::ok(health::page(&snapshot, is_detailed)))
            }
            Page::Stats => {
                let query = head.uri.query().unwrap_or_default();
                statistics::page(parts.telemetry.clone(), parts.ledger.clone(), snapshot, query)
                    .await
                    .map(|text| Reply::Text("application/json", text))
            }
            Page::Metrics => metrics::page(parts.telemetry.clone(), parts.ledger.clone(), snapshot)
                .await
                .map(|text| Reply::Text(metrics::CONTENT_TYPE, text)),
            Page::Events if head.method == Method::HEAD => {
                Ok(Reply::Text(events::CONTENT_TYPE, String::new()))
            }
            Page::Events => return self.events(call, &snapshot, head),
            Page::Reload => parts.reload.reload(reload::is_check(head)).await.map(Reply::from),
            Page::Compare => return self.compare(call, &snapshot, head).await,
        };
        let response = match reply {
            Ok(Reply::Json(status, value)) => call.json(status, value.to_string().into()),
            Ok(Reply::Text(content_type, text)) => call.text(content_type, text.into()),
            Ok(Reply::Invalid { message, errors }) => {
                call.refuse_for(&Refusal::request(400, "invalid_configuration", message), errors)
            }
            Err(refusal) => call.refuse(&refusal),
        };
        response.map(Body::Corridor)
    }

    /// S3.7. The request ends with its head; the events go on.
    fn events(self: Rc<Self>, call: Call, snapshot: &Snapshot, head: &Parts) -> Response<Body> {
        let watched = admin::event_scope(self.parts.listener, snapshot, head).and_then(|scope| {
            let watcher = self.parts.telemetry.bus.watch(scope.clone());
            let refusal = || Refusal::request(429, "too_many_watchers", "too many watch already");
            Ok((watcher.ok_or_else(refusal)?, scope))
        });
        let (watcher, scope) = match watched {
            Ok(watched) => watched,
            Err(refusal) => return call.refuse(&refusal).map(Body::Corridor),
        };
        let head = head.clone();
        let may = move || {
            let snapshot = self.gateway.snapshot();
            admin::event_scope(self.parts.listener, &snapshot, &head).is_ok_and(|now| now == scope)
        };
        call.text(events::CONTENT_TYPE, Bytes::new()).map(|_| Body::Feed(EventFeed::new(watcher, may)))
    }

    async fn compare(&self, call: Call, snapshot: &Snapshot, head: &Parts) -> Response<Body> {
        let (params, context) = match compare::prepare(head, snapshot, &self.parts.own) {
            Ok(prepared) => prepared,
            Err(refusal) => return call.refuse(&refusal).map(Body::Corridor),
        };
        let Some(pass) = self.parts.gate.enter() else {
            let message = "a comparison is running already; one at a time";
            let refusal = Refusal::request(429, "comparison_running", message);
            let mut response = call.refuse(&refusal);
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
            return response.map(Body::Corridor);
        };
        if wants_events(&head.headers) {
            let queue = ProgressQueue::default();
            let steps = queue.clone();
            let run = async move {
                let _pass = pass;
                compare::run(params, context, |step| steps.put(step)).await
            };
            let mut response = call.json(StatusCode::OK, Bytes::new());
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(events::CONTENT_TYPE));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return response.map(|_| Body::Live(CompareStream::new(run, queue)));
        }
        let report = Box::pin(compare::run(params, context, |_| {})).await;
        drop(pass);
        let body = serde_json::to_vec(&report).unwrap_or_default();
        call.json(StatusCode::OK, body.into()).map(Body::Corridor)
    }
}

impl Reply {
    const fn ok(value: Value) -> Self {
        Self::Json(StatusCode::OK, value)
    }

    fn ready(is_ready: bool) -> Self {
        let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        Self::Json(status, page::ready(is_ready))
    }
}

impl From<ReloadOutcome> for Reply {
    fn from(outcome: ReloadOutcome) -> Self {
        match outcome {
            ReloadOutcome::Done(changes) => Self::ok(changes),
            ReloadOutcome::Wrong { message, errors } => Self::Invalid { message, errors },
        }
    }
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/event-stream"))
}
