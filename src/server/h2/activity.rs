//! HTTP/2 streams that their client has stopped reading while it reads others. The socket shows nothing of
//! it; but hyper polls a body for its next frame only when the stream's window has room, so a stream that
//! gave a frame and has not been polled for another waits for its client.

use std::{
    cell::{Cell, OnceCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use tokio::time::Instant;

use crate::{base::turn, server::cut::CutCause};

/// Shared by a stream's body, its task and the sweep.
#[derive(Debug, Default)]
pub(super) struct StreamActivity {
    /// When the last frame was given. `None`: polled for another since.
    unread_since: Cell<Option<Instant>>,
    cut_cause: Cell<Option<CutCause>>,
    waker: OnceCell<Waker>,
}

impl StreamActivity {
    /// The body gave a frame or its end, at `now`.
    pub(super) fn frame_given(&self, now: Instant) {
        self.unread_since.set(Some(now));
    }

    /// The body was polled and has nothing: the client waits, not the stream.
    pub(super) fn frame_awaited(&self) {
        self.unread_since.set(None);
    }

    pub(super) fn unread_since(&self) -> Option<Instant> {
        self.unread_since.get()
    }

    pub(super) fn cut_cause(&self) -> Option<CutCause> {
        self.cut_cause.get()
    }

    pub(super) fn cut(&self, cause: CutCause) {
        self.cut_cause.set(Some(cause));
        self.wake();
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }
}

/// A stream's task, which ends when the stream is cut; h2 then resets the stream.
#[derive(Debug)]
pub(super) struct ActivityTracked<F> {
    pub(super) stream: Pin<Box<F>>,
    pub(super) activity: Rc<StreamActivity>,
}

impl<F: Future<Output = ()>> Future for ActivityTracked<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        turn::begin();
        self.activity.waker.get_or_init(|| cx.waker().clone());
        if self.activity.cut_cause.get().is_some() { Poll::Ready(()) } else { self.stream.as_mut().poll(cx) }
    }
}
