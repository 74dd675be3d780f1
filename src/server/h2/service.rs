//! From hyper's request to the handler's response on one HTTP/2 stream: notes whether the client reads, and
//! lets the response end only after the request has.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, service::Service};

use super::{
    activity::StreamActivity,
    flush_mark::FlushMark,
    state::H2ConnState,
    unread::{Discard, UnreadBody},
};
use crate::server::{
    conn::{
        RequestBody,
        state::{ConnRecord, InFlight},
    },
    cut::Cuttable,
    handler::{Handler, Peer},
};

/// The service of one connection.
#[derive(Debug)]
pub(super) struct H2Service<H> {
    pub(super) handler: H,
    pub(super) peer: Peer,
    pub(super) record: Rc<ConnRecord>,
}

/// A response's body; the request is in flight until it is dropped.
#[derive(Debug)]
pub(super) struct H2ResponseBody<B: Cuttable + Body> {
    body: B,
    /// The body has failed: the stream is reset after the frames that wait.
    broken: Option<Box<(FlushMark, B::Error)>>,
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
        let (head, body) = request.into_parts();
        let answer = self.handler.handle(head, RequestBody::h2(body, unread.clone()), self.peer);
        Box::pin(async move {
            let response = answer.await;
            Ok(response.map(|body| H2ResponseBody {
                body,
                broken: None,
                activity,
                unread,
                discard: None,
                in_flight,
            }))
        })
    }
}

impl<B: Cuttable + Body> Drop for H2ResponseBody<B> {
    fn drop(&mut self) {
        if let Some(cause) = self.activity.cut_cause().or_else(|| self.in_flight.0.cut_cause()) {
            self.body.cut(cause);
        }
    }
}

impl<B: Cuttable + Body> H2ResponseBody<B> {
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
        if let Some(broken) = &self.broken {
            // The client waits for nothing: it has the time of `write_timeout` to read what waits for it.
            ready!(broken.0.poll(cx));
            return Poll::Ready(self.broken.take().map(|broken| Err(broken.1)));
        }
        let mut polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = polled {
            let mark = FlushMark::default();
            polled = Poll::Ready(Some(Ok(Frame::data(mark.frame()))));
            self.broken = Some(Box::new((mark, error)));
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
