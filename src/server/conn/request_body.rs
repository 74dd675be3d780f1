//! A request's body as its handler sees it, of either protocol. HTTP/2 keeps the rest of a body that its
//! handler leaves.

use std::{
    error::Error as _,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::server::{h1::H1RequestBody, h2::UnreadBody};

/// A request's body. Its error is `UnexpectedEof` if the client has left, and `InvalidData` if its bytes are
/// no body.
#[derive(Debug)]
pub struct RequestBody(Source);

#[derive(Debug)]
enum Source {
    H1(H1RequestBody),
    /// `None` once it was dropped, which puts a body that has not ended into `unread`.
    H2 {
        body: Option<Incoming>,
        unread: UnreadBody,
    },
}

impl RequestBody {
    pub(in crate::server) const fn h1(body: H1RequestBody) -> Self {
        Self(Source::H1(body))
    }

    pub(in crate::server) const fn h2(body: Incoming, unread: UnreadBody) -> Self {
        Self(Source::H2 { body: Some(body), unread })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Source::H1(body) => body.poll_frame(cx),
            Source::H2 { body: None, .. } => Poll::Ready(None),
            Source::H2 { body: Some(body), .. } => {
                Poll::Ready(ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(body_error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::H1(body) => body.is_end_stream(),
            Source::H2 { body, .. } => body.as_ref().is_none_or(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::H1(body) => body.size_hint(),
            Source::H2 { body, .. } => body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint),
        }
    }
}

/// hyper's error is of one kind for all that may happen to a body over HTTP/2; its source, an error of h2,
/// has the reason. The client has left if its connection broke or it reset the stream.
fn body_error(error: hyper::Error) -> io::Error {
    let source = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    let has_left = source.is_some_and(|source| source.is_io() || source.is_reset() && source.is_remote());
    io::Error::new(if has_left { io::ErrorKind::UnexpectedEof } else { io::ErrorKind::InvalidData }, error)
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Source::H2 { body, unread } = &mut self.0
            && let Some(body) = body.take()
            && !body.is_end_stream()
        {
            unread.put(body);
        }
    }
}
