//! Watches for the client to leave while its stream flows. The socket is asked only when it has rung: a stream's task is
//! woken for every frame from the provider, and asking each time costs as much as a tenth of the frame.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use tokio::io::{AsyncRead, ReadBuf};

/// Wakes the connection's task and says that it was the client.
struct ReadWaker {
    rung: AtomicBool,
    task: Waker,
}

impl Wake for ReadWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

#[derive(Debug)]
pub(super) struct ReadReadiness {
    bell: Arc<ReadWaker>,
    waker: Waker,
}

impl std::fmt::Debug for ReadWaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bell").field("rung", &self.rung).finish_non_exhaustive()
    }
}

impl ReadReadiness {
    /// Wakes `task` when there is something to read.
    pub(super) fn new(task: &Waker) -> Self {
        let bell = Arc::new(ReadWaker { rung: AtomicBool::new(true), task: task.clone() });
        Self { waker: Waker::from(Arc::clone(&bell)), bell }
    }

    /// Reads, or is pending without asking when nothing has come since it was pending before.
    pub(super) fn poll_read<R: AsyncRead + Unpin>(
        &self,
        socket: &mut R,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.bell.rung.swap(false, Ordering::Acquire) {
            return Poll::Pending;
        }
        let read = Pin::new(socket).poll_read(&mut Context::from_waker(&self.waker), buffer);
        if read.is_ready() {
            self.bell.rung.store(true, Ordering::Release);
        }
        read
    }
}
