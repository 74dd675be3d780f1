//! Turns of a worker: one poll of one client connection's task. hyper asks a response's body again within the turn in
//! which it said that it had nothing; nothing can have come since, because a worker has one thread and its sockets are
//! looked at between turns. Who remembers the turn answers such a question without asking its own socket again.
//!
//! Outside of a turn there is none, and nothing may be skipped: HTTP/2 polls its streams from tasks of their own.

use std::{cell::Cell, num::NonZeroU64};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static CURRENT: Cell<Option<NonZeroU64>> = const { Cell::new(None) };
}

/// Ends the turn, also when a poll panics.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

/// Runs `poll` as one turn.
pub fn take<T>(poll: impl FnOnce() -> T) -> T {
    COUNT.set(COUNT.get() + 1);
    CURRENT.set(NonZeroU64::new(COUNT.get()));
    let _end = End;
    poll()
}

/// The turn that is being taken.
#[must_use]
pub fn current() -> Option<NonZeroU64> {
    CURRENT.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_differ_and_end_with_their_poll() {
        let (first, second) = (take(current), take(current));
        assert!(first.is_some() && second.is_some() && first != second);
        assert_eq!(current(), None);
        let broken = std::panic::catch_unwind(|| take(|| panic!("a poll that panics")));
        assert!(broken.is_err());
        assert_eq!(current(), None);
    }
}
