//! The two operations that answer with a stream: the events (S3.7) and the comparison. Their requests
//! complete with the head; the stream is no part of the request record.

use std::{rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;

use super::{
    Body, admin,
    compare::{self, CompareReport, CompareStream, Params, picture, progress::ProgressQueue},
    events::{self, EventFeed},
    runs,
    site::Site,
    statistics::{asks_for_all, asks_for_running},
};
use crate::{
    base::{HandlerResponse, HeaderFields, RequestHead},
    proxy::{Call, Refusal, Snapshot},
};

/// When to try again a comparison that was refused because another one runs.
const RETRY_AFTER: Duration = Duration::from_secs(15);

impl Site {
    /// `GET /events`. The request completes with its head; the events go on until the client leaves.
    pub(super) fn events(
        self: Rc<Self>,
        call: Call,
        snapshot: &Snapshot,
        head: &RequestHead,
    ) -> HandlerResponse<Body> {
        let subscribed = admin::event_scope(self.parts.listener, snapshot, head).and_then(|scope| {
            let bus = &self.parts.telemetry.bus;
            let query = head.uri.query().unwrap_or_default();
            let (of_all, with_running) = (asks_for_all(query)?, asks_for_running(query)?);
            let subscriber =
                if of_all { bus.subscribe_to_all(scope.clone()) } else { bus.subscribe(scope.clone()) };
            let refusal = || Refusal::request(429, "too_many_watchers", "too many watch already");
            let subscriber = subscriber.ok_or_else(refusal)?;
            Ok((if with_running { bus.with_running(subscriber) } else { subscriber }, scope))
        });
        let (subscriber, scope) = match subscribed {
            Ok(subscribed) => subscribed,
            Err(refusal) => return call.refuse(&refusal).map(Body::from),
        };
        let watched = Rc::new((self, head.clone(), scope));
        let may_watch = move || {
            let watched = Rc::clone(&watched);
            async move {
                let (site, head, scope) = &*watched;
                // Another gateway may have ended the session.
                if let Some(asked) = site.gateway.refreshed_session(head) {
                    asked.await;
                }
                let snapshot = site.gateway.snapshot();
                admin::event_scope(site.parts.listener, &snapshot, head).is_ok_and(|now| now == *scope)
            }
        };
        let mut response = call.text(events::CONTENT_TYPE, Bytes::new());
        forbid_buffering(&mut response.headers);
        response.map(|_| Body::Events(EventFeed::new(subscriber, may_watch)))
    }

    /// `GET /streaming-compare`: events of progress if the client accepts them, else the report alone, or its
    /// picture.
    pub(super) async fn compare(
        self: Rc<Self>,
        mut call: Call,
        snapshot: &Snapshot,
        head: &RequestHead,
    ) -> HandlerResponse<Body> {
        let mut params = match compare::parameters(head) {
            Ok(params) => params,
            Err(refusal) => return call.refuse(&refusal).map(Body::from),
        };
        let Some(pass) = self.parts.gate.enter() else {
            let message = "a comparison is running already; one at a time";
            let mut refusal = Refusal::request(429, "comparison_running", message);
            refusal.retry_after = Some(RETRY_AFTER);
            return call.refuse(&refusal).map(Body::from);
        };
        let context = match self.targets(snapshot, head, &mut params).await {
            Ok(context) => context,
            Err(refusal) => return call.refuse(&refusal).map(Body::from),
        };
        let (site, own, client) = (Rc::clone(&self), head.clone(), call.record().client.clone());
        let (provider, model) = (Arc::clone(&context.control.name), context.control_model.clone());
        let admit = async move |body: &Bytes| {
            let to = (&provider, &*model);
            let admitted = site.gateway.direct((&own, &client), compare::PATH, body, to).await;
            admitted.map_err(|refusal| refusal.message.to_string())
        };
        let (width, runs) = (params.picture, self.parts.runs.clone());
        if wants_events(&head.headers) {
            let queue = ProgressQueue::default();
            let steps = queue.clone();
            let run = async move {
                let _pass = pass;
                let draw = |report: &CompareReport| {
                    if let Some(width) = width {
                        steps.put_picture(&picture::svg(report, width));
                    }
                };
                let mut report = compare::run(params, context, admit, |step, so_far| {
                    steps.put(step);
                    if step.done > 0 && width.is_some() {
                        draw(&so_far());
                    }
                })
                .await;
                runs.keep(&mut report);
                draw(&report);
                report
            };
            let mut response = call.json(StatusCode::OK, Bytes::new());
            let headers = &mut response.headers;
            headers.insert("content-type", events::CONTENT_TYPE);
            forbid_buffering(headers);
            return response.map(|_| Body::Compare(CompareStream::new(run, queue)));
        }
        let mut report = Box::pin(compare::run(params, context, admit, |_, _| {})).await;
        drop(pass);
        runs.keep(&mut report);
        if let Some(width) = width {
            return runs::answer(call, runs::PICTURE, picture::svg(&report, width).into());
        }
        let body = serde_json::to_vec(&report).unwrap_or_default();
        call.text("application/json", body.into()).map(Body::from)
    }
}

/// Proxies in front pass each event of a stream of the gateway's own at once, and keep none.
pub(super) fn forbid_buffering(headers: &mut HeaderFields) {
    headers.insert("cache-control", "no-store, no-transform");
    headers.insert("x-accel-buffering", "no");
}

impl Site {
    /// The targets of a comparison. Without a model in its query the first one that answers is taken.
    async fn targets(
        &self,
        snapshot: &Snapshot,
        head: &RequestHead,
        params: &mut Params,
    ) -> Result<compare::Context, Box<Refusal>> {
        let own = &self.parts.own;
        if params.model.is_empty() {
            let gateway = compare::own_target(head, snapshot, own)?;
            let models = compare::offered_models(head, snapshot)?;
            let found = compare::first_that_answers(models, &gateway).await;
            params.model = found.ok_or_else(|| {
                Refusal::gateway(503, "no_model_answers", "no model answers; name one: ?model=…")
            })?;
        }
        compare::prepare(head, snapshot, own, params)
    }
}

/// Whether the client accepts server-sent events.
fn wants_events(headers: &HeaderFields) -> bool {
    headers.text("accept").is_some_and(|accept| accept.contains("text/event-stream"))
}
