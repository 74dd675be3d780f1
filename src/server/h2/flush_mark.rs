//! A mark behind the frames of a stream that wait for the client's window: an empty frame that notices when
//! h2 has written it, and with it all frames before. A reset that came earlier would discard them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

#[derive(Debug, Default)]
enum MarkState {
    #[default]
    Unwritten,
    Awaited(Waker),
    Written,
}

/// Shared with its frame.
#[derive(Debug, Default)]
pub(super) struct FlushMark(Arc<Mutex<MarkState>>);

/// The content of the frame. h2 drops it when it has written the frame, or when the stream has ended.
struct MarkedFrame(Arc<Mutex<MarkState>>);

impl AsRef<[u8]> for MarkedFrame {
    fn as_ref(&self) -> &[u8] {
        &[]
    }
}

impl Drop for MarkedFrame {
    fn drop(&mut self) {
        let state = std::mem::replace(
            &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner),
            MarkState::Written,
        );
        if let MarkState::Awaited(waker) = state {
            waker.wake();
        }
    }
}

impl FlushMark {
    /// The empty frame, to be given once.
    pub(super) fn frame(&self) -> Bytes {
        Bytes::from_owner(MarkedFrame(Arc::clone(&self.0)))
    }

    /// Ready when the frame is written.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, MarkState::Written) {
            return Poll::Ready(());
        }
        *state = MarkState::Awaited(cx.waker().clone());
        Poll::Pending
    }
}
