//! The frames of a stream that h2 holds for the client's window. A reset that came before they are written
//! would discard them. An empty frame behind them would do as a mark, but clients count empty frames as an
//! attack (RFC 9113 section 10.5).

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

/// Shared with its frames.
#[derive(Debug, Default)]
pub(super) struct HeldFrames(Arc<FrameCount>);

#[derive(Debug, Default)]
struct FrameCount {
    held: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

/// The content of a frame. h2 drops it when it has written the frame, or when the stream has ended.
struct CountedBytes(Bytes, Arc<FrameCount>);

impl AsRef<[u8]> for CountedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for CountedBytes {
    fn drop(&mut self) {
        if self.1.held.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(waker) = self.1.waker().take()
        {
            waker.wake();
        }
    }
}

impl FrameCount {
    fn waker(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldFrames {
    /// The same bytes, which count until they are dropped.
    pub(super) fn count(&self, bytes: Bytes) -> Bytes {
        self.0.held.fetch_add(1, Ordering::AcqRel);
        Bytes::from_owner(CountedBytes(bytes, Arc::clone(&self.0)))
    }

    /// Ready when all frames are written.
    pub(super) fn poll_written(&self, cx: &Context<'_>) -> Poll<()> {
        // Before the look, because the last one may be dropped meanwhile.
        *self.0.waker() = Some(cx.waker().clone());
        match self.0.held.load(Ordering::Acquire) {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}
