//! The background runtime: one thread for all tasks that serve no request and do not block. It gives each
//! task a name, waits for it on request, and logs a panic of it. Blocking work belongs elsewhere: in
//! `spawn_blocking`, or in a thread of its own (ledger, log), and so does settlement, which must not wait for
//! others. Invariant: the runtime lives until the last task has ended, also if the process does not wait for
//! it.

use std::{
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    sync::{Mutex, PoisonError, mpsc as blocking},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    runtime::{Builder, LocalRuntime},
    sync::mpsc::{self, Receiver, Sender},
};

use crate::base::spawn::Tasks;

/// Tasks that may wait to be started. The process starts fewer.
const MAX_WAITING: usize = 16;

type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// A task on its way to the runtime. Its future is made there, because it stays on that thread.
struct BackgroundJob {
    name: &'static str,
    make: Box<dyn FnOnce() -> LocalFuture + Send>,
    ended: blocking::SyncSender<Infallible>,
}

/// Where tasks are started. The runtime takes tasks until this is dropped.
#[derive(Debug)]
pub struct Background(Sender<BackgroundJob>);

/// Runs the tasks, on a [`runtime`].
#[derive(Debug)]
pub struct BackgroundRunner(Receiver<BackgroundJob>);

/// A task that was started. Dropping this lets it run on.
#[derive(Debug)]
pub(super) struct BackgroundTask {
    /// Closed when the task has ended. In a mutex, because a process is shared between threads.
    ended: Mutex<blocking::Receiver<Infallible>>,
}

/// The runtime for [`BackgroundRunner`]. A thread of `spawn_blocking` ends with its work: the configuration
/// file is read there once a second, and tokio's keep-alive of ten seconds would keep a thread for ever.
/// Starting one costs some 50 µs.
///
/// # Errors
/// The system gave no event queue.
pub fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread()
        .enable_all()
        .thread_name("blocking")
        .thread_keep_alive(Duration::ZERO)
        .build_local(Default::default())
}

impl Background {
    /// For a caller that runs the tasks on its own thread.
    #[must_use]
    pub fn open() -> (Self, BackgroundRunner) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        (Self(sender), BackgroundRunner(receiver))
    }

    /// With a thread of its own, which ends after the last task.
    pub(super) fn on_thread() -> io::Result<(Self, JoinHandle<()>)> {
        let (background, runner) = Self::open();
        let (started, outcome) = blocking::sync_channel(1);
        let thread = thread::Builder::new().name("background".to_owned()).spawn(move || match runtime() {
            Ok(runtime) => {
                // The other end waits for it below.
                let _ = started.send(Ok(()));
                runtime.block_on(runner.run());
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        })?;
        outcome.recv().unwrap_or_else(|_| Err(io::Error::other("the background thread ended")))?;
        Ok((background, thread))
    }

    /// Starts the task that `make` makes.
    ///
    /// # Errors
    /// The runtime has ended.
    pub(super) fn spawn<F>(
        &self,
        name: &'static str,
        make: impl FnOnce() -> F + Send + 'static,
    ) -> io::Result<BackgroundTask>
    where
        F: Future<Output = ()> + 'static,
    {
        let (ending, ended) = blocking::sync_channel(0);
        let make = Box::new(move || -> LocalFuture { Box::pin(make()) });
        let job = BackgroundJob { name, make, ended: ending };
        self.0.try_send(job).map_err(|_| io::Error::other("the background runtime takes no task"))?;
        Ok(BackgroundTask { ended: Mutex::new(ended) })
    }
}

impl BackgroundRunner {
    /// Runs tasks until no more can come and all have ended.
    pub async fn run(mut self) {
        let (tasks, mut running) = (Tasks::new(), Vec::new());
        while let Some(BackgroundJob { name, make, ended }) = self.0.recv().await {
            let future = make();
            running.push(tasks.spawn_watched(name, async move {
                let _ended = ended;
                future.await;
            }));
        }
        for task in running {
            // A panic has been logged by the task.
            let _ = task.await;
        }
    }
}

impl BackgroundTask {
    /// Blocks until the task has ended, well or by a panic.
    pub(super) fn join(self) {
        let _ = self.ended.into_inner().unwrap_or_else(PoisonError::into_inner).recv();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn a_panic_of_one_task_ends_no_other() {
        let (background, thread) = Background::on_thread().unwrap();
        let (panics, waits) = (tokio::sync::oneshot::channel::<()>(), sync_channel(1));
        let broken = background.spawn("broken", || async { panic!("of the test") }).unwrap();
        let whole = background.spawn("whole", move || async move {
            let _ = panics.1.await;
            let _ = waits.0.try_send(7);
        });
        drop(background);
        broken.join();
        assert!(!thread.is_finished(), "the runtime lives as long as a task");
        panics.0.send(()).unwrap();
        whole.unwrap().join();
        assert_eq!(waits.1.recv(), Ok(7));
        thread.join().unwrap();
    }
}
