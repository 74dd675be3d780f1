//! Memory that the allocator keeps for a thread.

use std::hint::black_box;

/// mimalloc looks through a thread's pages once in so many allocations above 1 KiB
/// (`mi_option_generic_collect`).
const ALLOCATIONS_PER_COLLECTION: usize = 10_000;

/// Looks of an idle thread. The second gives back the pages that the first has found empty, because the
/// allocator keeps a page for a moment; the later ones those with values that other threads free, as the
/// ledger does once it has been idle for some seconds.
const LOOKS: u32 = 12;

/// Gives memory back when a thread becomes idle.
#[derive(Debug, Default)]
pub struct IdleMemory {
    /// Looks of the idle thread at which there is something to give back.
    looks: u32,
}

impl IdleMemory {
    /// To be called every second or less often, by the thread itself. True: memory was given back.
    pub fn look(&mut self, is_busy: bool) -> bool {
        let gives = !is_busy && self.looks > 0;
        if gives {
            give_back();
        }
        self.looks = if is_busy { LOOKS } else { self.looks.saturating_sub(1) };
        gives
    }
}

/// Gives back the pages that this thread has emptied. mimalloc keeps the last one of each size for the
/// thread's next allocation; after a busy time they are megabytes, and an idle thread would keep them for
/// ever. The allocator's own call for it is not safe Rust, so the allocations are made that bring it about:
/// half a millisecond.
fn give_back() {
    for _ in 0..ALLOCATIONS_PER_COLLECTION {
        drop(black_box(Vec::<u8>::with_capacity(2048)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_thread_gives_memory_back_after_busy_times_alone() {
        let mut memory = IdleMemory::default();
        let mut looks = |is_busy, count| (0..count).filter(|_| memory.look(is_busy)).count() as u32;
        assert_eq!([looks(false, 20), looks(true, 2), looks(false, 5)], [0, 0, 5]);
        assert_eq!([looks(true, 1), looks(false, 20), looks(false, 20)], [0, LOOKS, 0]);
    }
}
