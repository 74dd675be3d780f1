//! The only access to the runtime's spawner. A task stays on the worker that spawned it and is counted while
//! it runs, so that a drain can wait for the last one and a test can prove that none is left.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::task::JoinHandle;

/// Spawns tasks and counts those that run. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    live: Rc<Cell<usize>>,
}

/// Not a [`Gauge`](super::Gauge): `Rc` makes it an error to send a worker's tasks to another thread.
struct TaskGuard(Rc<Cell<usize>>);

/// Logs that a task panicked: the runtime drops a task's future while its panic unwinds.
struct PanicNotice(&'static str);

impl Drop for PanicNotice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.0, "a background task panicked");
        }
    }
}

pin_project! {
    /// A counted future. Not an `async` block, because its state would hold the future twice: as captured and
    /// as awaited.
    struct Counted<F> {
        #[pin]
        future: F,
        live: TaskGuard,
    }
}

impl<F: Future<Output = ()>> Future for Counted<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().future.poll(cx)
    }
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Tasks {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn live(&self) -> usize {
        self.live.get()
    }

    /// [`Self::spawn`] for a task that nothing awaits: a panic of it is logged with its name and ends no
    /// other task.
    pub fn spawn_watched<F>(&self, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + 'static,
    {
        self.spawn(async move {
            let _notice = PanicNotice(name);
            future.await;
        })
    }

    /// Runs `future` on the current worker. Dropping the handle does not stop the task.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + 'static,
    {
        self.live.set(self.live.get() + 1);
        let live = TaskGuard(Rc::clone(&self.live));
        #[expect(clippy::disallowed_methods, reason = "this is the door")]
        tokio::task::spawn_local(Counted { future, live })
    }
}
