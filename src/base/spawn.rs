//! The only access to the runtime's spawner. A task stays on the worker that spawned it and is counted while
//! it runs, so that a drain can wait for the last one and a test can prove that none is left.

use std::{
    cell::Cell,
    collections::HashMap,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::task::{Id, JoinHandle, JoinSet};

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

/// Tasks of the current worker that belong to one value: dropping it ends them. `K` names a task; its result
/// comes with its name.
#[derive(Debug)]
pub struct TaskSet<K, T> {
    running: JoinSet<T>,
    names: HashMap<Id, K>,
}

impl<K, T: 'static> Default for TaskSet<K, T> {
    fn default() -> Self {
        Self { running: JoinSet::new(), names: HashMap::new() }
    }
}

impl<K, T: 'static> TaskSet<K, T> {
    pub fn spawn(&mut self, name: K, future: impl Future<Output = T> + 'static) {
        let task = self.running.spawn_local(future);
        self.names.insert(task.id(), name);
    }

    /// Tasks whose results have not been taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.running.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// The next result, in the order in which tasks end; of a task that panicked `None`. Ready without one
    /// when no task is left.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(K, Option<T>)>> {
        loop {
            let (id, result) = match std::task::ready!(self.running.poll_join_next_with_id(cx)) {
                None => return Poll::Ready(None),
                Some(Ok((id, result))) => (id, Some(result)),
                Some(Err(error)) => {
                    if error.is_panic() {
                        tracing::error!("a task panicked");
                    }
                    (error.id(), None)
                }
            };
            if let Some(name) = self.names.remove(&id) {
                return Poll::Ready(Some((name, result)));
            }
        }
    }

    /// As [`TaskSet::poll_next`].
    pub async fn next(&mut self) -> Option<(K, Option<T>)> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Ends all tasks.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_end_with_their_set_and_a_panic_is_one_of_them() {
        let runtime = tokio::runtime::Builder::new_current_thread().build_local(Default::default()).unwrap();
        runtime.block_on(async {
            let alive = Rc::new(());
            let mut set = TaskSet::default();
            set.spawn("panics", async { panic!("of the test") });
            set.spawn("answers", async { 7 });
            let mut ended = [set.next().await.unwrap(), set.next().await.unwrap()];
            ended.sort_unstable();
            assert_eq!(ended, [("answers", Some(7)), ("panics", None)]);
            assert_eq!((set.next().await, set.is_empty()), (None, true));
            let held = Rc::clone(&alive);
            set.spawn("waits", async move {
                let _held = held;
                std::future::pending().await
            });
            tokio::task::yield_now().await;
            assert_eq!((set.len(), Rc::strong_count(&alive)), (1, 2));
            drop(set);
            tokio::task::yield_now().await;
            assert_eq!(Rc::strong_count(&alive), 1);
        });
    }
}
