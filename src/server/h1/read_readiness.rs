//! Notices that the client leaves while its stream flows. The socket is read only after it has become
//! readable, because a stream's task wakes for every frame of the provider's, and one read each time costs a
//! tenth of the frame.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// Wakes the connection's task and notes that the socket was the cause.
struct ReadWaker {
    is_readable: AtomicBool,
    task: Waker,
}

impl Wake for ReadWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_readable.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

#[derive(Debug)]
pub(super) struct ReadReadiness {
    socket: Arc<ReadWaker>,
    /// Wakes through `socket`.
    waker: Waker,
}

impl std::fmt::Debug for ReadWaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadWaker").field("is_readable", &self.is_readable).finish_non_exhaustive()
    }
}

impl ReadReadiness {
    /// Wakes `task` when there is something to read.
    pub(super) fn new(task: &Waker) -> Self {
        let socket = Arc::new(ReadWaker { is_readable: AtomicBool::new(true), task: task.clone() });
        Self { waker: Waker::from(Arc::clone(&socket)), socket }
    }

    /// Reads by `read`. Pending without a system call when nothing has come since it was pending before.
    pub(super) fn poll_read<T>(&self, read: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        if !self.socket.is_readable.swap(false, Ordering::Acquire) {
            return Poll::Pending;
        }
        let read = read(&mut Context::from_waker(&self.waker));
        if read.is_ready() {
            self.socket.is_readable.store(true, Ordering::Release);
        }
        read
    }
}
