//! From hyper's request to the handler's response: refuses requests of ambiguous framing, counts the rest as
//! in flight until their response's body is dropped, hands streams over to `streamed`, and closes a
//! connection when its next request could not be trusted.

use std::{
    convert::Infallible,
    future::{Future, pending, ready},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, service::Service};

use super::{
    state::H1ConnState,
    streamed::{Handoff, Streamed, is_stream, persistence},
};
use crate::server::{
    conn::{
        RequestBody,
        content::Content,
        state::{ConnRecord, InFlight},
    },
    cut::Cuttable,
    handler::Handler,
    host::names_hosts_only,
    refusal::{Ambiguity, RefusalReason, SHOULD_RETRY},
};

/// The service of one connection.
#[derive(Debug)]
pub(super) struct H1Service<H: Handler> {
    pub(super) handler: H,
    pub(super) record: Rc<ConnRecord>,
    /// Where streamed responses are put.
    pub(super) handoff: Handoff<H1ResponseBody<H::Body>>,
}

/// A response's body; the request is in flight until it is dropped.
#[derive(Debug)]
pub(super) struct H1ResponseBody<B: Cuttable> {
    content: Content<B>,
    in_flight: InFlight,
}

impl<H: Handler> Service<Request<Incoming>> for H1Service<H> {
    type Response = Response<H1ResponseBody<H::Body>>;
    type Error = Infallible;
    // Boxed, so that the memory that a handler needs before its response head is freed with the head.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let in_flight = self.record.begin_request();
        if let Err(ambiguity) = check(&request, &self.record) {
            tracing::debug!(peer = %self.record.peer.address, ?ambiguity, "request refused");
            let reason = RefusalReason::Ambiguous(ambiguity);
            let body = self.handler.refuse(reason, Some(request.uri().path()));
            return Box::pin(ready(Ok(refuse(reason, body, in_flight))));
        }
        let handoff = persistence(&request).map(|persists| (self.handoff.clone(), persists));
        let (head, body) = request.into_parts();
        let body = RequestBody::h1(body, Rc::clone(&self.record));
        let answer = self.handler.handle(head, body, self.record.peer);
        Box::pin(async move {
            let mut response = answer.await;
            if in_flight.0.h1().is_some_and(H1ConnState::begin_response) {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            let response = response.map(|body| H1ResponseBody { content: Content::Handler(body), in_flight });
            match handoff {
                Some((handoff, persists)) if is_stream(&response) => {
                    let persists = persists && !response.headers().contains_key(header::CONNECTION);
                    handoff.put(Streamed { response, persists });
                    pending().await
                }
                Some(_) | None => Ok(response),
            }
        })
    }
}

/// Compares hyper's reading of the head with the bytes on the wire.
fn check(request: &Request<Incoming>, record: &ConnRecord) -> Result<(), Ambiguity> {
    let Some(h1) = record.h1() else { return Ok(()) };
    let coding = request.headers().get(header::TRANSFER_ENCODING);
    let length = if coding.is_some() { None } else { request.body().size_hint().exact() };
    let needs_host = request.version() == Version::HTTP_11;
    h1.framing.borrow_mut().begin_body(length, needs_host)?;
    if !names_hosts_only(request.uri(), request.headers()) {
        return Err(Ambiguity::Host);
    }
    match coding {
        Some(coding) if !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => {
            Err(Ambiguity::Coding)
        }
        Some(_) | None => Ok(()),
    }
}

fn refuse<B: Cuttable>(
    reason: RefusalReason,
    body: Bytes,
    in_flight: InFlight,
) -> Response<H1ResponseBody<B>> {
    let mut response = Response::new(H1ResponseBody { content: Content::Refusal(Some(body)), in_flight });
    *response.status_mut() = reason.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(SHOULD_RETRY, HeaderValue::from_static(reason.should_retry()));
    response
}

impl<B: Cuttable> Drop for H1ResponseBody<B> {
    fn drop(&mut self) {
        if let Some(cause) = self.in_flight.0.cut_cause() {
            self.content.cut(cause);
        }
    }
}

impl<B: Body<Data = Bytes> + Cuttable + Unpin> Body for H1ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(cause) = self.in_flight.0.end_cause() {
            self.content.end(cause);
        }
        Pin::new(&mut self.content).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}
