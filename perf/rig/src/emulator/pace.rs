//! When the next event of a stream is due. Streams start at phases spread evenly over an interval, as
//! independent providers would; the runtime's clock ticks in milliseconds, so streams due within one go out
//! together.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::time::Instant;

use super::Workload;

/// The golden ratio's fraction of 2^32: successive multiples of it spread evenly.
const SPREAD: u32 = 2_654_435_769;

/// Hands every stream of the process a phase of its own.
#[derive(Clone, Debug, Default)]
pub struct Phases(Rc<Cell<u32>>);

#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    due: Instant,
}

impl Phases {
    /// The pace of a stream that begins now.
    pub fn start(&self, workload: Workload) -> Pace {
        let phase = self.0.get().wrapping_add(SPREAD);
        self.0.set(phase);
        let interval = Duration::from_micros(workload.interval_us);
        Pace { interval, due: Instant::now() + interval.mul_f64(f64::from(phase) / f64::from(u32::MAX)) }
    }
}

impl Pace {
    pub async fn wait(&mut self) {
        if self.interval.is_zero() {
            // One event of each stream in turn: no stream gathers a burst that a proxy could read at once.
            return tokio::task::yield_now().await;
        }
        self.due += self.interval;
        tokio::time::sleep_until(self.due).await;
    }
}
