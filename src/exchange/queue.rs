//! A worker's requests: those under way, and those that have completed and wait to be carried to the
//! settlement thread. Bounded: when settlement cannot keep up, completions are lost and counted, and no
//! request waits.

use std::cell::{Cell, RefCell};

use tokio::sync::Notify;

use super::{completed::Completed, running::RunningTable};

/// Completions that may wait; one more is lost.
const MAX_WAITING: usize = 16 * 1024;
/// The most turns of the worker in which `emptied` waits for aborted tasks.
const MAX_TURNS: usize = 10_000;

#[derive(Debug, Default)]
pub struct CompletionQueue {
    waiting: RefCell<Vec<Completed>>,
    lost: Cell<u64>,
    ready: Notify,
    full: Notify,
    running: RunningTable,
    /// The drain's time is over.
    has_ended: Cell<bool>,
}

impl CompletionQueue {
    /// The number of waiting completions at which they are sent at once. Where the settlement thread shares a
    /// core with the worker, the worker's streams wait for a batch, so a large one costs latency; a small one
    /// costs a wake-up for fewer requests.
    pub const BATCH_SIZE: usize = 64;

    pub(super) fn push(&self, completed: Completed) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() < MAX_WAITING {
            waiting.push(completed);
        } else {
            self.lost.set(self.lost.get() + 1);
        }
        match waiting.len() {
            1 => self.ready.notify_one(),
            Self::BATCH_SIZE => self.full.notify_one(),
            _ => {}
        }
    }

    /// The drain's time is over: a request that is dropped from now on is the gateway's doing.
    pub fn end(&self) {
        self.has_ended.set(true);
    }

    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.has_ended.get()
    }

    /// Those under way.
    pub(super) const fn running(&self) -> &RunningTable {
        &self.running
    }

    /// How many are under way.
    pub fn running_count(&self) -> usize {
        self.running.len()
    }

    /// Waits until no request is under way, at most `MAX_TURNS`. After a drain an aborted task ends, and
    /// has its request complete, in one of the next turns.
    pub async fn emptied(&self) {
        for _ in 0..MAX_TURNS {
            if self.running_count() == 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Waits until there is one.
    pub async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Waits until there is a batch.
    pub async fn full(&self) {
        while self.waiting.borrow().len() < Self::BATCH_SIZE {
            self.full.notified().await;
        }
    }

    /// All that are waiting, and how many were lost since the last call.
    pub fn take(&self) -> (Vec<Completed>, u64) {
        (self.waiting.take(), self.lost.take())
    }
}
