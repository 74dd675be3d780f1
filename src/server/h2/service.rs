//! From hyper's request to the handler's response on one HTTP/2 stream: notes whether the client reads, and
//! lets the response end only after the request has.

use std::{
    convert::Infallible,
    future::{Future, ready as ready_now},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, service::Service};

use super::{
    activity::StreamActivity,
    content::Content,
    held_frames::HeldFrames,
    state::H2ConnState,
    unread::{Discard, UnreadBody},
};
use crate::server::{
    conn::{
        RequestBody,
        state::{ConnRecord, InFlight},
    },
    cut::{CutCause, Cuttable},
    handler::Handler,
    host::{is_same_host, names_hosts_only},
    refusal::{Ambiguity, RefusalReason, SHOULD_RETRY},
};

/// The service of one connection.
#[derive(Debug)]
pub(super) struct H2Service<H> {
    pub(super) handler: H,
    pub(super) record: Rc<ConnRecord>,
    /// Header fields of a request.
    pub(super) header_count: usize,
}

/// A response's body; the request is in flight until it is dropped.
#[derive(Debug)]
pub(super) struct H2ResponseBody<B: Cuttable + Body<Data = Bytes> + Unpin> {
    body: Content<B>,
    /// The body has failed: the stream is reset after the frames that wait.
    broken: Option<Box<B::Error>>,
    /// `None` until there is a frame before the last.
    held: Option<HeldFrames>,
    activity: Rc<StreamActivity>,
    unread: UnreadBody,
    /// `None` until the response has ended before its request.
    discard: Option<Box<Discard>>,
    in_flight: InFlight,
}

impl<H: Handler> Service<Request<Incoming>> for H2Service<H> {
    type Response = Response<H2ResponseBody<H::Body>>;
    type Error = Infallible;
    // Boxed, so that the memory that a handler needs before its response head is freed with the head.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let in_flight = self.record.begin_request();
        let activity = self.record.h2().map(H2ConnState::begin_stream).unwrap_or_default();
        let unread = UnreadBody::default();
        let reason = self.reason_to_refuse(&request);
        let (head, body) = request.into_parts();
        let body = RequestBody::h2(body, unread.clone());
        let response = move |response: Response<Content<H::Body>>| {
            response.map(|body| H2ResponseBody {
                body,
                broken: None,
                held: None,
                activity,
                unread,
                discard: None,
                in_flight,
            })
        };
        if let Some(reason) = reason {
            tracing::debug!(peer = %self.record.peer.address, ?reason, "request refused");
            drop(body);
            let body = self.handler.refuse(reason, Some(head.uri.path()));
            return Box::pin(ready_now(Ok(response(refuse(reason, body)))));
        }
        let answer = self.handler.handle(head.into(), body, self.record.peer);
        Box::pin(async move { Ok(response(answer.await.map(Content::Handler).into())) })
    }
}

impl<H: Handler> H2Service<H> {
    /// Why the handler is not asked. `None`: it is.
    fn reason_to_refuse(&self, request: &Request<Incoming>) -> Option<RefusalReason> {
        if request.headers().len() > self.header_count {
            return Some(RefusalReason::HeadTooLarge);
        }
        let hosts = request.headers().get_all(header::HOST);
        let hosts = || hosts.iter().map(HeaderValue::as_bytes);
        let is_clear = hosts().nth(1).is_none()
            && names_hosts_only(request.uri(), hosts())
            && hosts().all(|host| is_same_host(request.uri(), host));
        (!is_clear).then_some(RefusalReason::Ambiguous(Ambiguity::Host))
    }
}

fn refuse<B>(reason: RefusalReason, body: Bytes) -> Response<Content<B>> {
    let mut response = Response::new(Content::Refusal(Some(body)));
    *response.status_mut() = reason.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(SHOULD_RETRY, HeaderValue::from_static(reason.should_retry()));
    response
}

impl<B: Cuttable + Body<Data = Bytes> + Unpin> Drop for H2ResponseBody<B> {
    fn drop(&mut self) {
        let cause = self.activity.cut_cause().or_else(|| self.in_flight.0.cut_cause());
        if let Some(cause) = cause.filter(|cause| *cause != CutCause::Drain || !self.body.is_end_stream()) {
            self.body.cut(cause);
        }
    }
}

impl<B: Cuttable + Body<Data = Bytes> + Unpin> H2ResponseBody<B> {
    /// The error of a body that has failed, after the frames that wait: the client has the time of
    /// `write_timeout` to read them.
    fn poll_break(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(held) = &self.held {
            ready!(held.poll_written(cx));
        }
        Poll::Ready(self.broken.take().map(|error| Err(*error)))
    }

    /// Ready when the rest of the request has been read and dropped, after the response's last frame.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.discard.is_none() {
            self.discard = self.unread.take();
        }
        let Some(discard) = &mut self.discard else { return Poll::Ready(()) };
        discard.poll(cx).map(|()| self.discard = None)
    }
}

impl<B: Body<Data = Bytes> + Cuttable + Unpin> Body for H2ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.broken.is_some() {
            return self.poll_break(cx);
        }
        if let Some(cause) = self.in_flight.0.end_cause() {
            self.body.end(cause);
        }
        let mut polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = polled {
            self.broken = Some(Box::new(error));
            self.activity.frame_given(self.in_flight.0.swept_at());
            return self.poll_break(cx);
        }
        if let Poll::Ready(Some(Ok(frame))) = polled {
            let is_last = self.body.is_end_stream();
            let held = &mut self.held;
            let frame = frame.map_data(|data| match is_last {
                true => data,
                false => held.get_or_insert_default().count(data),
            });
            polled = Poll::Ready(Some(Ok(frame)));
        }
        let waits = polled.is_pending()
            || (matches!(polled, Poll::Ready(None)) && self.poll_discard(cx).is_pending());
        if waits {
            self.activity.frame_awaited();
            return Poll::Pending;
        }
        self.activity.frame_given(self.in_flight.0.swept_at());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none() && self.body.is_end_stream() && self.discard.is_none() && !self.unread.is_some()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
