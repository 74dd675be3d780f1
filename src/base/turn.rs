//! Numbers the polls of tasks that write to clients, per worker. If the poll that asks a body for its next
//! frame has the same number as the one that took the last frame, the write completed at once; otherwise it
//! waited for the client. Thread-local, because each worker is one thread.

use std::cell::Cell;

thread_local! {
    static TURN: Cell<u64> = const { Cell::new(0) };
}

/// Marks the start of a poll of a task that writes to a client.
pub fn begin() {
    TURN.set(TURN.get().wrapping_add(1));
}

/// The number of this worker's current poll.
#[must_use]
pub fn current() -> u64 {
    TURN.get()
}
