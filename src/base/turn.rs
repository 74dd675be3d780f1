//! Turns of a worker: one poll of a task that writes to a client. Whoever hands bytes out and is asked for more within
//! the same turn knows that they were taken at once; in a later turn, that the client had to be waited for.

use std::cell::Cell;

thread_local! {
    static TURN: Cell<u64> = const { Cell::new(0) };
}

/// A task that writes to a client is being polled.
pub fn begin() {
    TURN.set(TURN.get().wrapping_add(1));
}

/// The turn that this worker is in.
#[must_use]
pub fn current() -> u64 {
    TURN.get()
}
