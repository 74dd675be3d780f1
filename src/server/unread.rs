//! A request's body, and what its handler leaves of it on HTTP/2. There, dropping a body that is still coming resets its
//! stream right behind the answer (RFC 9113 section 8.1 allows that), and clients in use lose the answer to the reset. So
//! the end of the answer waits until the rest was read and thrown away, for a while; the answer itself has left by then.

use std::{
    cell::RefCell,
    future::Future as _,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::{
    conn_table::ConnState,
    linger::{LONGEST, MOST, SILENCE},
};

/// Where a body lies that was not read to its end. Cloning shares the place.
#[derive(Clone, Debug, Default)]
pub(super) struct UnreadBody(Rc<RefCell<Option<hyper::body::Incoming>>>);

/// A request's body.
#[derive(Debug)]
pub struct RequestBody {
    /// `None` once it was dropped.
    body: Option<hyper::body::Incoming>,
    unread: Option<UnreadBody>,
    vital: Rc<ConnState>,
}

impl RequestBody {
    pub(super) const fn new(
        body: hyper::body::Incoming,
        unread: Option<UnreadBody>,
        vital: Rc<ConnState>,
    ) -> Self {
        Self { body: Some(body), unread, vital }
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
        if frame.is_none() {
            self.vital.framing.borrow_mut().end_body();
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
        if let (Some(unread), Some(body)) = (&self.unread, self.body.take())
            && !body.is_end_stream()
        {
            unread.0.replace(Some(body));
        }
    }
}

/// A body that is read and thrown away.
#[derive(Debug)]
pub(super) struct Discard {
    body: hyper::body::Incoming,
    deadline: Instant,
    silence: Pin<Box<Sleep>>,
    left: usize,
}

impl UnreadBody {
    pub(super) fn is_some(&self) -> bool {
        self.0.borrow().is_some()
    }

    pub(super) fn take(&self) -> Option<Box<Discard>> {
        let (deadline, silence) = (Instant::now() + LONGEST, Box::pin(sleep(SILENCE)));
        self.0.take().map(|body| Box::new(Discard { body, deadline, silence, left: MOST }))
    }
}

impl Discard {
    /// Ready when nothing more will come, or nobody waits for it any longer.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.left = self.left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                    if self.left == 0 {
                        return Poll::Ready(());
                    }
                    self.silence.as_mut().reset(self.deadline.min(Instant::now() + SILENCE));
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => {
                    ready!(self.silence.as_mut().poll(cx));
                    return Poll::Ready(());
                }
            }
        }
    }
}
