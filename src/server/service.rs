//! The door to the handler: refuses requests whose framing is ambiguous, counts the rest as in flight until their
//! response's body is dropped, and closes connections whose next request could not be trusted.

use std::{
    convert::Infallible,
    future::{Future, pending},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::service::Service;

use super::{
    Cuttable, Handler, Peer,
    activity::StreamActivity,
    conn_table::{ConnState, InFlight},
    framing::Ambiguity,
    refusal::RefusalReason,
    streamed::{Handoff, Streamed, is_stream, persistence},
    unread::{Discard, RequestBody, UnreadBody},
};

/// The service of one connection.
#[derive(Debug)]
pub(super) struct HyperService<H: Handler> {
    pub(super) handler: H,
    pub(super) peer: Peer,
    pub(super) vital: Rc<ConnState>,
    /// Where streamed responses go on an HTTP/1.1 connection.
    pub(super) handoff: Option<Handoff<ResponseBody<H::Body>>>,
}

/// A response's body, and with it the request's place among those in flight.
#[derive(Debug)]
pub(super) struct ResponseBody<B: Cuttable> {
    content: Content<B>,
    /// HTTP/2 only.
    pulse: Option<Rc<StreamActivity>>,
    unread: Option<UnreadBody>,
    discard: Option<Box<Discard>>,
    busy: InFlight,
}

#[derive(Debug)]
enum Content<B> {
    Handler(B),
    Refusal(Option<Bytes>),
}

impl<H: Handler> Service<Request<hyper::body::Incoming>> for HyperService<H> {
    type Response = Response<ResponseBody<H::Body>>;
    type Error = Infallible;
    // Boxed, so that what a handler needs to come to its head is freed when the head is there.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>>>>;

    fn call(&self, request: Request<hyper::body::Incoming>) -> Self::Future {
        let busy = self.vital.begin_request();
        let pulse = self.vital.begin_stream();
        if let Err(ambiguity) = check(&request, &self.vital) {
            tracing::debug!(peer = %self.peer.address, ?ambiguity, "request refused");
            let body = self.handler.refuse(RefusalReason::Ambiguous(ambiguity));
            return Box::pin(std::future::ready(Ok(refuse(body, busy))));
        }
        let handoff = self.handoff.clone().zip(persistence(&request));
        let unread = pulse.is_some().then(UnreadBody::default);
        let (head, body) = request.into_parts();
        let answer = self.handler.handle(
            head,
            RequestBody::new(body, unread.clone(), Rc::clone(&self.vital)),
            self.peer,
        );
        Box::pin(async move {
            let mut response = answer.await;
            if busy.0.framing.borrow_mut().begin_response() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            let response = response.map(|body| ResponseBody {
                content: Content::Handler(body),
                pulse,
                unread,
                discard: None,
                busy,
            });
            match handoff {
                Some((handoff, persists)) if is_stream(&response) => {
                    let persists = persists && !response.headers().contains_key(header::CONNECTION);
                    handoff.lay(Streamed { response, persists });
                    pending().await
                }
                Some(_) | None => Ok(response),
            }
        })
    }
}

/// Compares what hyper understood with what was on the wire.
fn check(request: &Request<hyper::body::Incoming>, vital: &ConnState) -> Result<(), Ambiguity> {
    let coding = request.headers().get(header::TRANSFER_ENCODING);
    let length = if coding.is_some() { None } else { request.body().size_hint().exact() };
    let hosted = request.version() == Version::HTTP_11;
    vital.framing.borrow_mut().begin_body(length, hosted)?;
    match coding {
        Some(coding) if !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => {
            Err(Ambiguity::Coding)
        }
        Some(_) | None => Ok(()),
    }
}

fn refuse<B: Cuttable>(body: Bytes, busy: InFlight) -> Response<ResponseBody<B>> {
    let content = Content::Refusal(Some(body));
    let mut response =
        Response::new(ResponseBody { content, pulse: None, unread: None, discard: None, busy });
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

impl<B: Cuttable> Drop for ResponseBody<B> {
    fn drop(&mut self) {
        let cause = self.pulse.as_ref().and_then(|pulse| pulse.cause()).or_else(|| self.busy.0.cause());
        if let (Some(cause), Content::Handler(body)) = (cause, &mut self.content) {
            body.cut(cause);
        }
    }
}

impl<B: Cuttable> ResponseBody<B> {
    /// All has been said: what the client still sends is waited for.
    fn poll_unread(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.discard.is_none() {
            self.discard = self.unread.as_ref().and_then(UnreadBody::take);
        }
        let Some(discard) = &mut self.discard else { return Poll::Ready(()) };
        discard.poll(cx).map(|()| self.discard = None)
    }
}

impl<B: Body<Data = Bytes> + Cuttable + Unpin> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = match &mut self.content {
            Content::Handler(body) => Pin::new(body).poll_frame(cx),
            Content::Refusal(rest) => Poll::Ready(rest.take().map(|bytes| Ok(Frame::data(bytes)))),
        };
        // The rest concerns HTTP/2 alone.
        if self.pulse.is_none() {
            return polled;
        }
        let waits =
            polled.is_pending() || (matches!(polled, Poll::Ready(None)) && self.poll_unread(cx).is_pending());
        if let Some(pulse) = &self.pulse {
            if waits { pulse.asked() } else { pulse.given(self.busy.0.now()) }
        }
        if waits { Poll::Pending } else { polled }
    }

    fn is_end_stream(&self) -> bool {
        let is_over = match &self.content {
            Content::Handler(body) => body.is_end_stream(),
            Content::Refusal(rest) => rest.is_none(),
        };
        is_over && self.discard.is_none() && !self.unread.as_ref().is_some_and(UnreadBody::is_some)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Handler(body) => body.size_hint(),
            Content::Refusal(rest) => SizeHint::with_exact(rest.as_ref().map_or(0, |rest| rest.len() as u64)),
        }
    }
}
