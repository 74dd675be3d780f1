//! The one clock of the rig: `CLOCK_MONOTONIC` in nanoseconds, the same in every process of a machine, so
//! that an event can carry the moment of its sending. `std::time::Instant` reads this clock but does not tell
//! the number.

use rustix::time::{ClockId, clock_gettime};

pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // Monotonic time starts at zero with the machine.
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
