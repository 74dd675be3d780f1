//! The handler of a worker: the comparison is answered here, everything else by the corridor. A comparison needs what a
//! completion needs: a token.

use std::{convert::Infallible, net::IpAddr, pin::Pin, rc::Rc, task::Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body::{Frame, SizeHint};

use super::{
    compare::{self, CompareStream, Context, Gate, Params, progress::ProgressQueue},
    event_feed::EventFeed,
};
use crate::{
    auth,
    base::{Fault, Moment, Rng, Secret},
    proxy::{self, Gateway, Incoming, Refusal, statistics},
    routing::PlanRequest,
    upstream::Target,
};

/// Where the comparison lives.
pub const COMPARE: &str = "/streaming-compare";
/// Where news is told.
const EVENTS: &str = "/events";
/// Seconds after which a comparison that found another one running may be tried again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("15");

/// One worker's site.
#[derive(Debug)]
pub struct Site {
    corridor: Gateway,
    /// This gateway, as its own client sees it.
    own: Target,
    gate: Gate,
}

/// What a site answers with.
#[derive(Debug)]
pub enum Body {
    Corridor(proxy::Body),
    Live(CompareStream),
    Feed(EventFeed),
}

impl Site {
    /// `gate` is shared by all workers.
    #[must_use]
    pub fn new(corridor: Gateway, own: Target, gate: Gate) -> Self {
        Self { corridor, own, gate }
    }

    /// Answers one request, as [`Gateway::answer`] does.
    pub async fn answer(
        self: Rc<Self>,
        head: Parts,
        body: impl Incoming,
        peer: Option<IpAddr>,
    ) -> Response<Body> {
        let compares = self.corridor.is_public() && head.uri.path() == COMPARE;
        if compares && head.method != Method::OPTIONS {
            return Box::pin(self.compare(head, peer)).await;
        }
        if head.uri.path() == EVENTS && head.method == Method::GET {
            return self.events(head, peer);
        }
        self.corridor.answer(head, body, peer).await.map(Body::Corridor)
    }

    /// S3.7. The request has ended with its head; the news go on.
    fn events(&self, head: Parts, peer: Option<IpAddr>) -> Response<Body> {
        let call = self.corridor.open(&head, peer);
        match self.corridor.watch(head) {
            Ok((watcher, may)) => {
                call.text(statistics::EVENTS, Bytes::new()).map(|_| Body::Feed(EventFeed::new(watcher, may)))
            }
            Err(refusal) => call.refuse(&refusal).map(Body::Corridor),
        }
    }

    async fn compare(&self, head: Parts, peer: Option<IpAddr>) -> Response<Body> {
        let call = self.corridor.open(&head, peer);
        let begun = match self.begin(&head) {
            Ok(begun) => begun,
            Err(refusal) => return call.refuse(&refusal).map(Body::Corridor),
        };
        let Some(pass) = self.gate.enter() else {
            let message = "a comparison is running already; one at a time";
            let mut refusal = Refusal::request(429, "comparison_running", message);
            refusal.kind = "rate_limit_error";
            let mut response = call.refuse(&refusal);
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
            return response.map(Body::Corridor);
        };
        let (params, context) = begun;
        if wants_events(&head.headers) {
            let desk = ProgressQueue::default();
            let told = desk.clone();
            let run = async move {
                let _pass = pass;
                compare::run(params, context, |step| told.put(step)).await
            };
            let mut response = call.json(StatusCode::OK, Bytes::new());
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return response.map(|_| Body::Live(CompareStream::new(run, desk)));
        }
        let report = Box::pin(compare::run(params, context, |_| {})).await;
        drop(pass);
        let body = serde_json::to_vec(&report).unwrap_or_default();
        call.json(StatusCode::OK, body.into()).map(Body::Corridor)
    }

    /// Everything that can refuse a comparison, before it costs anything.
    fn begin(&self, head: &Parts) -> Result<(Params, Context), Box<Refusal>> {
        if head.method != Method::GET {
            let mut refusal = Refusal::request(405, "method_not_allowed", "this path takes GET");
            refusal.allow = Some("GET, OPTIONS");
            return Err(refusal);
        }
        self.corridor.admit(&head.headers)?;
        let params = Params::parse(head.uri.query().unwrap_or_default())
            .map_err(|error| Refusal::request(400, "invalid_query", error.to_string()))?;
        let snapshot = self.corridor.snapshot();
        let plan =
            snapshot.catalog.plan(&PlanRequest::stream(&params.model), Moment::now(), &mut Rng::random());
        let plan = plan.map_err(|none| Refusal::no_plan(&none, &params.model))?;
        let first = plan.candidates().first();
        let nobody = || Refusal::request(404, "model_not_found", "nobody serves this model");
        let first = first.ok_or_else(nobody)?;
        let control = snapshot.providers.get(first.provider).ok_or_else(nobody)?;
        let key = auth::presented(&head.headers).and_then(|token| std::str::from_utf8(token).ok());
        let context = Context {
            gateway: Target { key: key.map(|key| Secret::new(key.to_owned())), ..Target::clone(&self.own) },
            control: Target::clone(&control.target),
            control_model: first.model.to_owned(),
            control_first_token_timeout: control.deadlines.first_token,
        };
        Ok((params, context))
    }
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/event-stream"))
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.get_mut() {
            Self::Corridor(body) => Pin::new(body).poll_frame(cx),
            Self::Live(body) => Pin::new(body).poll_frame(cx).map_err(|never: Infallible| match never {}),
            Self::Feed(body) => Pin::new(body).poll_frame(cx).map_err(|never: Infallible| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Corridor(body) => body.is_end_stream(),
            Self::Live(_) | Self::Feed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Corridor(body) => body.size_hint(),
            Self::Live(_) | Self::Feed(_) => SizeHint::default(),
        }
    }
}
