//! Streams of an HTTP/2 connection that their client has stopped reading while it reads others. The socket tells
//! nothing of it; but hyper asks a body for its next frame only when the stream's window has room, so a stream that was
//! given a frame and has not been asked for another is waiting for its client.

use std::{
    cell::{Cell, OnceCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use tokio::time::Instant;

use super::cut::CutCause;
use crate::base::turn;

/// What a stream's body, its task and the sweep know of one another.
#[derive(Debug, Default)]
pub(super) struct StreamActivity {
    /// When it was given a frame, unless it has been asked for another since.
    given: Cell<Option<Instant>>,
    cut: Cell<Option<CutCause>>,
    waker: OnceCell<Waker>,
}

impl StreamActivity {
    pub(super) fn given(&self, now: Instant) {
        self.given.set(Some(now));
    }

    pub(super) fn asked(&self) {
        self.given.set(None);
    }

    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.given.get()
    }

    pub(super) fn cause(&self) -> Option<CutCause> {
        self.cut.get()
    }

    pub(super) fn cut(&self, cause: CutCause) {
        self.cut.set(Some(cause));
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }
}

/// A stream's task, ended when it is cut; h2 then resets the stream.
#[derive(Debug)]
pub(super) struct ActivityTracked<F> {
    pub(super) stream: Pin<Box<F>>,
    pub(super) pulse: Rc<StreamActivity>,
}

impl<F: Future<Output = ()>> Future for ActivityTracked<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        turn::begin();
        self.pulse.waker.get_or_init(|| cx.waker().clone());
        if self.pulse.cut.get().is_some() { Poll::Ready(()) } else { self.stream.as_mut().poll(cx) }
    }
}
