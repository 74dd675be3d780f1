//! The rest of a request's body that its handler leaves. On HTTP/2 dropping a body before its end resets the
//! stream right behind the response (RFC 9113 section 8.1 allows that), and clients in use lose the response
//! to the reset. So the rest is read and dropped for a while, and the stream ends after that; the response's
//! bytes have left by then.

use std::{
    cell::RefCell,
    future::Future as _,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use crate::server::conn::discard::{DISCARD_IDLE_TIMEOUT, DISCARD_TIMEOUT, MAX_DISCARDED};

/// Where the request's body is put that was dropped before its end. Cloning shares the place.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct UnreadBody(Rc<RefCell<Option<Incoming>>>);

/// A body that is read and dropped.
#[derive(Debug)]
pub(super) struct Discard {
    body: Incoming,
    deadline: Instant,
    idle: Pin<Box<Sleep>>,
    left: usize,
}

impl UnreadBody {
    pub(in crate::server) fn put(&self, body: Incoming) {
        self.0.replace(Some(body));
    }

    pub(super) fn is_some(&self) -> bool {
        self.0.borrow().is_some()
    }

    pub(super) fn take(&self) -> Option<Box<Discard>> {
        let (deadline, idle) = (Instant::now() + DISCARD_TIMEOUT, Box::pin(sleep(DISCARD_IDLE_TIMEOUT)));
        self.0.take().map(|body| Box::new(Discard { body, deadline, idle, left: MAX_DISCARDED }))
    }
}

impl Discard {
    /// Ready at the body's end, or when one of the limits is reached.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.left = self.left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                    if self.left == 0 {
                        return Poll::Ready(());
                    }
                    self.idle.as_mut().reset(self.deadline.min(Instant::now() + DISCARD_IDLE_TIMEOUT));
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => {
                    ready!(self.idle.as_mut().poll(cx));
                    return Poll::Ready(());
                }
            }
        }
    }
}
