//! The handler of a worker: finds a request's route once, checks the access that the route requires and runs
//! its operation. Completions go to [`Gateway`]; this room answers everything else.
//!
//! Invariant: a [`Call`] is opened for every request, so every request has a completion.

use std::{fmt, future::Future, net::IpAddr, pin::pin, rc::Rc};

use http::{Method, StatusCode};
use serde_json::Value;

use super::{
    Body,
    admin::{self, ListenerRole},
    compare::{Gate, KeptRuns},
    events, health, metrics, models, page,
    pages::{Document, prefers_html},
    preflight::{allow_preflight, asks_for_websocket, refuse_upgrade},
    reload::{self, ReloadHandle, ReloadOutcome, ReloadWork},
    routes::{self, Operation, Page, Route, RouteMatch},
    statistics::{self, StatsParts},
};
use crate::{
    auth::{KeyDesk, credential},
    base::{ByteList, Endpoint, HandlerResponse, RequestHead},
    batch::{BatchDesk, BatchSettings},
    cluster::DocumentBoard,
    exchange::{Outcome, RunningBoard},
    ledger::LedgerReader,
    proxy::{Addressed, Call, Gateway, Incoming, Refusal, admission::admit, gemini_path},
    telemetry::Telemetry,
    upstream::Target,
    wire::Dialect,
};

/// The handler of one worker and one listener.
#[derive(Debug)]
pub struct Site {
    pub(super) gateway: Gateway,
    pub(super) parts: SiteParts,
}

/// The parts of a site beside the gateway.
pub struct SiteParts {
    pub listener: ListenerRole,
    /// Whether the process accepts requests and does not drain (`/readyz`).
    pub ready: Rc<dyn Fn() -> bool>,
    pub reload: ReloadHandle,
    pub telemetry: Telemetry,
    pub ledger: LedgerReader,
    /// The statistics of other replicas. `None`: there is no Redis.
    pub board: Option<DocumentBoard>,
    pub batch: BatchSettings,
    /// The way to files and batches. `None`: none are kept.
    pub desk: Option<BatchDesk>,
    /// Where running requests are looked at.
    pub running: RunningBoard,
    /// The way to keys of the database.
    pub keys: KeyDesk,
    /// This gateway's own address, for the requests of a comparison.
    pub own: Target,
    /// Shared by all workers.
    pub gate: Gate,
    /// The last comparisons, shared by all workers.
    pub runs: KeptRuns,
}

impl fmt::Debug for SiteParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteParts").field("listener", &self.listener).finish_non_exhaustive()
    }
}

/// The content of a page.
enum Reply {
    Json(StatusCode, Value),
    /// Content type and text; `no-store`, because it differs from request to request.
    Text(&'static str, String),
    /// A reload found the configuration wrong.
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

    /// The drain's time is over.
    pub fn end(&self) {
        self.gateway.end();
    }

    /// Answers one request. If the future is dropped before the head, or the body after it, the request
    /// completes as one that its client left.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` would keep its arguments twice in its future, and copy them"
    )]
    pub fn answer(
        self: Rc<Self>,
        mut head: RequestHead,
        body: impl Incoming,
        peer: Option<IpAddr>,
    ) -> impl Future<Output = HandlerResponse<Body>> {
        async move {
            let found = routes::find(head.uri.path()).filter(|found| self.has(found.route));
            let route = RouteMatch::recorded(found, &head.method);
            let dialect = RouteMatch::dialect(found, head.uri.path());
            let dialect = if is_googles_client(dialect, found, &head) { Dialect::Gemini } else { dialect };
            if dialect == Dialect::Gemini {
                credential::present_parameter(&mut head.headers, head.uri.query());
            }
            let call = self.gateway.open(&head, peer, route, dialect);
            if head.method == Method::OPTIONS {
                let headers = allow_preflight(&head.headers);
                let response =
                    call.whole(StatusCode::NO_CONTENT, headers, ByteList::new(), Outcome::Complete);
                return response.map(Body::from);
            }
            let found = match self.accept(found, &head) {
                Ok(found) => found,
                Err(refusal) => return call.refuse(&refusal).map(Body::from),
            };
            if let Some(refreshed) = self.gateway.refreshed_session(&head) {
                Box::pin(refreshed).await;
            }
            match found.route.operation {
                Operation::Complete { endpoint, asgi } => {
                    let model = found.model();
                    let addressed =
                        Addressed { endpoint, asgi, model: model.as_deref(), rest: "", streams: None };
                    // In its place, because an `await` of the future itself would copy it.
                    pin!(self.gateway.complete(call, &mut head, body, addressed)).await.map(Body::from)
                }
                Operation::Generate { streams } => {
                    Box::pin(self.generate(call, (found.model(), streams), head, body)).await
                }
                Operation::Batch => Box::pin(self.batch(call, head, body)).await,
                Operation::Managed(page) => {
                    let rest = found.rest.to_owned();
                    Box::pin(self.managed((page, &rest), call, head, body)).await
                }
                Operation::Stored(page) => {
                    let rest = found.rest.to_owned();
                    Box::pin(self.stored((page, rest), call, head, body)).await
                }
                Operation::Forward(endpoint) => {
                    let (model, rest) = (found.model(), found.rest.to_owned());
                    let model = model.as_deref();
                    let addressed = Addressed { endpoint, asgi: false, model, rest: &rest, streams: None };
                    Box::pin(self.gateway.forward(call, &mut head, body, addressed)).await.map(Body::from)
                }
                // Boxed: rare requests must not enlarge the future of every request.
                Operation::Page(page) => Box::pin(self.page(page, call, found, &head)).await,
            }
        }
    }

    /// Answers one completion of Gemini's API, a stream in the form that the query asks for.
    async fn generate(
        &self,
        call: Call,
        (model, streams): (Option<String>, bool),
        mut head: RequestHead,
        body: impl Incoming,
    ) -> HandlerResponse<Body> {
        let is_array = streams && !gemini_path::asks_for_events(head.uri.query());
        let (endpoint, streams) = (Endpoint::Gemini, Some(streams));
        let addressed = Addressed { endpoint, asgi: false, model: model.as_deref(), rest: "", streams };
        let response = self.gateway.complete(call, &mut head, body, addressed).await.map(Body::from);
        if is_array {
            Body::array_in_place_of_events(response, self.gateway.snapshot().stream.max_line)
        } else {
            response
        }
    }

    /// Whether this listener has the path at all: the operators' listener has no comparison.
    fn has(&self, route: &Route) -> bool {
        self.is_public() || route.operation != Operation::Page(Page::Compare)
    }

    fn is_public(&self) -> bool {
        self.parts.listener == ListenerRole::Public
    }

    /// The route of a request, if its path, method and listener fit together.
    ///
    /// # Errors
    /// No such path on this listener (404), a method that the path does not take (405), a WebSocket (426).
    fn accept<'p>(
        &self,
        found: Option<RouteMatch<'p>>,
        head: &RequestHead,
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
        mut call: Call,
        found: RouteMatch<'_>,
        head: &RequestHead,
    ) -> HandlerResponse<Body> {
        let (parts, snapshot) = (&self.parts, self.gateway.snapshot());
        let compression = snapshot.compression;
        if matches!(page, Page::Models | Page::Model)
            && call.dialect != Dialect::Gemini
            && models::is_for_anthropic(head)
        {
            call.dialect = Dialect::Messages;
        }
        if let Err(refusal) = admin::authorize(found.route.access, parts.listener, &snapshot, head) {
            return call.refuse(&refusal).map(Body::from);
        }
        let reply = match page {
            Page::Service if prefers_html(&head.headers) => {
                return self.document(call, Document::Start, head);
            }
            Page::Comparison => return self.document(call, Document::Compare, head),
            Page::Dashboard => return self.document(call, Document::Dashboard, head),
            Page::Usage => return self.document(call, Document::Usage, head),
            Page::Keys => return self.document(call, Document::Keys, head),
            Page::Configuration => return self.document(call, Document::Configuration, head),
            Page::KeptRun => return self.kept_run(call, found.rest, head),
            Page::Asset => return self.asset(call, found.rest, head),
            Page::Service => Ok(Reply::ok(page::service())),
            Page::Live => Ok(Reply::ok(page::live())),
            Page::Hello => Ok(Reply::ok(page::hello())),
            Page::Ready => Ok(Reply::ready((parts.ready)())),
            Page::Models => admit(&snapshot, head)
                .and_then(|principal| models::list(&snapshot, &principal.limits, (call.dialect, head)))
                .map(Reply::ok),
            Page::Model => admit(&snapshot, head)
                .and_then(|principal| models::one(&snapshot, &principal.limits, call.dialect, found.rest))
                .map(Reply::ok),
            Page::Health => {
                let detail = admin::detail(parts.listener, &snapshot, head);
                Ok(Reply::ok(health::page(&snapshot, &detail, &parts.telemetry.instance)))
            }
            Page::Stats => {
                let query = head.uri.query().unwrap_or_default();
                let stats = StatsParts {
                    telemetry: parts.telemetry.clone(),
                    ledger: parts.ledger.clone(),
                    snapshot,
                    board: parts.board.clone(),
                    running: parts.running.clone(),
                };
                statistics::page(stats, query).await.map(|text| Reply::Text("application/json", text))
            }
            Page::Metrics => metrics::page(parts.telemetry.clone(), parts.ledger.clone(), snapshot)
                .await
                .map(|text| Reply::Text(metrics::CONTENT_TYPE, text)),
            Page::Events if head.method == Method::HEAD => {
                Ok(Reply::Text(events::CONTENT_TYPE, String::new()))
            }
            Page::Events => return self.events(call, &snapshot, head),
            Page::Reload => parts.reload.reload(reload::work(head)).await.map(Reply::from),
            Page::InForce => parts.reload.reload(ReloadWork::Show).await.map(Reply::unstored),
            Page::Compare => return self.compare(call, &snapshot, head).await,
        };
        let response = match reply {
            Ok(Reply::Json(status, value)) => {
                let document = (status, "application/json", value.to_string());
                // All others differ by key, or from one moment to the next.
                let is_stored = matches!(page, Page::Service | Page::Hello);
                call.document(document, is_stored, &head.headers, compression).await
            }
            Ok(Reply::Text(content_type, text)) => {
                let document = (StatusCode::OK, content_type, text);
                call.document(document, false, &head.headers, compression).await
            }
            Ok(Reply::Invalid { message, errors }) => {
                call.refuse_for(&Refusal::request(400, "invalid_configuration", message), errors)
            }
            Err(refusal) => call.refuse(&refusal),
        };
        let mut response = response.map(Body::from);
        if page == Page::Service {
            response.headers.append("vary", "accept");
        }
        response
    }
}

/// Whether a request that is no completion comes from a client of Google's, which asks for models and unknown
/// methods at OpenAI's paths, too.
fn is_googles_client(dialect: Dialect, found: Option<RouteMatch<'_>>, head: &RequestHead) -> bool {
    let names = ["x-goog-api-client", "x-goog-api-key"];
    dialect == Dialect::ChatCompletions
        && found.is_none_or(|found| matches!(found.route.operation, Operation::Page(_)))
        && names.iter().any(|name| head.headers.contains(*name))
}

impl Reply {
    const fn ok(value: Value) -> Self {
        Self::Json(StatusCode::OK, value)
    }

    /// The answer must not be stored.
    fn unstored(outcome: ReloadOutcome) -> Self {
        match outcome.into() {
            Self::Json(_, value) => Self::Text("application/json", value.to_string()),
            other @ (Self::Text(..) | Self::Invalid { .. }) => other,
        }
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
