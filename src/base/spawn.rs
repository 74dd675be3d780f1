//! The only door to the runtime's spawner: tasks of a worker stay on that worker and are counted while they live, so
//! that a drain knows when the last one has ended and a test can see that none was left behind.

use std::{cell::Cell, future::Future, rc::Rc};

use tokio::task::JoinHandle;

/// Counts the tasks it spawned that still live. Cloning shares the count.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    live: Rc<Cell<usize>>,
}

struct Live(Rc<Cell<usize>>);

impl Drop for Live {
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

    /// Runs `future` on the current worker. Dropping the handle does not stop it.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + 'static,
    {
        self.live.set(self.live.get() + 1);
        let live = Live(Rc::clone(&self.live));
        #[expect(clippy::disallowed_methods, reason = "this is the door")]
        tokio::task::spawn_local(async move {
            let _live = live;
            future.await;
        })
    }
}
