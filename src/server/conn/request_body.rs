//! A request's body as its handler sees it. Passes hyper's body on, and does the one thing that each protocol
//! needs at its end: HTTP/1.1 notes that the body was read, HTTP/2 keeps the rest of one that was not.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::state::ConnRecord;
use crate::server::h2::UnreadBody;

/// A request's body.
#[derive(Debug)]
pub struct RequestBody {
    /// `None` once it was dropped.
    body: Option<Incoming>,
    end: BodyEnd,
}

#[derive(Debug)]
enum BodyEnd {
    /// `framing` has to know that the body was read to its end.
    H1(Rc<ConnRecord>),
    /// A body dropped before its end is put here.
    H2(UnreadBody),
}

impl RequestBody {
    pub(in crate::server) const fn h1(body: Incoming, record: Rc<ConnRecord>) -> Self {
        Self { body: Some(body), end: BodyEnd::H1(record) }
    }

    pub(in crate::server) const fn h2(body: Incoming, unread: UnreadBody) -> Self {
        Self { body: Some(body), end: BodyEnd::H2(unread) }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if let (None, BodyEnd::H1(record)) = (&frame, &self.end)
            && let Some(h1) = record.h1()
        {
            h1.framing.borrow_mut().end_body();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let (BodyEnd::H2(unread), Some(body)) = (&self.end, self.body.take())
            && !body.is_end_stream()
        {
            unread.put(body);
        }
    }
}
