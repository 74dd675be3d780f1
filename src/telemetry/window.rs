//! Times over the last minute, five minutes and hour, as HdrHistograms of two digits. New values go into one
//! live histogram; every ten seconds it is emptied into sparse slots, and each window keeps a ring of them.
//! Reading merges a window's slots, so that sums cost nothing between reads, and an idle label holds no
//! histogram but its live one.
//!
//! `now` is the time since a start of the caller's choice; it must not run backwards.

use std::{collections::VecDeque, time::Duration};

use hdrhistogram::Histogram;

/// The shortest slot.
const TICK: Duration = Duration::from_secs(10);

/// The length of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeWindow {
    Minute,
    FiveMinutes,
    Hour,
}

impl TimeWindow {
    pub const ALL: [Self; 3] = [Self::Minute, Self::FiveMinutes, Self::Hour];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Minute => "1m",
            Self::FiveMinutes => "5m",
            Self::Hour => "1h",
        }
    }

    /// Ticks per slot, and slots per window besides the open one.
    const fn slots(self) -> (u64, usize) {
        match self {
            Self::Minute => (1, 6),
            Self::FiveMinutes => (6, 5),
            Self::Hour => (30, 12),
        }
    }
}

/// Recorded values in order, each with its count.
type Sparse = Vec<(u64, u64)>;

/// The slots of one window.
#[derive(Debug)]
struct WindowRing {
    span: TimeWindow,
    /// Newest last, each with its number since the start.
    slots: VecDeque<(u64, Sparse)>,
}

impl WindowRing {
    fn add(&mut self, tick: u64, counts: &Sparse) {
        let (ticks, keep) = self.span.slots();
        let number = tick / ticks;
        match self.slots.back_mut() {
            Some((last, open)) if *last == number => *open = merge(open, counts),
            Some(_) | None => self.slots.push_back((number, counts.clone())),
        }
        while self.slots.front().is_some_and(|(first, _)| first + (keep as u64) < number) {
            self.slots.pop_front();
        }
    }

    /// The values within the window at `tick`.
    fn within(&self, tick: u64) -> impl Iterator<Item = &(u64, u64)> {
        let (ticks, keep) = self.span.slots();
        let oldest = (tick / ticks).saturating_sub(keep as u64);
        self.slots.iter().filter(move |(number, _)| *number >= oldest).flat_map(|(_, counts)| counts)
    }
}

fn merge(one: &Sparse, other: &Sparse) -> Sparse {
    let mut merged: Sparse = one.iter().chain(other).copied().collect();
    merged.sort_unstable_by_key(|(value, _)| *value);
    merged.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
    // Slots are kept for up to an hour.
    merged.shrink_to_fit();
    merged
}

/// One quantity over all windows.
#[derive(Debug)]
pub struct Windows {
    /// `None` until something is recorded.
    live: Option<Histogram<u64>>,
    tick: u64,
    rings: [WindowRing; 3],
}

impl Default for Windows {
    fn default() -> Self {
        let rings = TimeWindow::ALL.map(|span| WindowRing { span, slots: VecDeque::new() });
        Self { live: None, tick: 0, rings }
    }
}

/// Times of one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    pub count: u64,
    pub p50: Duration,
    pub p90: Duration,
    pub p95: Duration,
    pub p99: Duration,
    pub max: Duration,
}

/// An empty histogram of two digits that grows with its values.
fn histogram() -> Option<Histogram<u64>> {
    Histogram::new(2).ok()
}

impl Windows {
    pub fn record(&mut self, now: Duration, time: Duration, count: u64) {
        self.advance(now);
        if self.live.is_none() {
            self.live = histogram();
        }
        if let Some(live) = &mut self.live {
            // Cannot fail: two digits hold every u64 of nanoseconds.
            let _ = live.record_n(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), count);
        }
    }

    /// Empties the live histogram into the rings when its tick is over.
    fn advance(&mut self, now: Duration) {
        let tick = now.as_secs() / TICK.as_secs();
        let before = std::mem::replace(&mut self.tick, tick);
        if before == tick {
            return;
        }
        if let Some(live) = self.live.as_mut().filter(|live| !live.is_empty()) {
            let counts: Sparse =
                live.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect();
            live.reset();
            self.rings.iter_mut().for_each(|ring| ring.add(before, &counts));
        }
    }

    /// The quantiles of a window, up to the newest value.
    pub fn read(&mut self, now: Duration, span: TimeWindow) -> Quantiles {
        self.advance(now);
        let Some(mut merged) = histogram() else { return Quantiles::default() };
        for ring in self.rings.iter().filter(|ring| ring.span == span) {
            for (value, count) in ring.within(self.tick) {
                let _ = merged.record_n(*value, *count);
            }
        }
        if let Some(live) = &self.live {
            let _ = merged.add(live);
        }
        let at = |share| Duration::from_nanos(merged.value_at_quantile(share));
        Quantiles {
            count: merged.len(),
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            max: Duration::from_nanos(merged.max()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    fn near(found: Duration, wanted: Duration) {
        let ratio = found.as_secs_f64() / wanted.as_secs_f64();
        assert!((0.98..1.02).contains(&ratio), "{found:?} for {wanted:?}");
    }

    #[test]
    fn quantiles_of_what_came_within_the_window() {
        let mut windows = Windows::default();
        for number in 1..=100 {
            windows.record(SECOND, MS * number, 1);
        }
        let read = windows.read(2 * SECOND, TimeWindow::Minute);
        assert_eq!(read.count, 100);
        for (found, wanted) in
            [(read.p50, 50), (read.p90, 90), (read.p95, 95), (read.p99, 99), (read.max, 100)]
        {
            near(found, MS * wanted);
        }
    }

    #[test]
    fn what_is_older_than_the_window_is_gone_from_it_alone() {
        let mut windows = Windows::default();
        windows.record(SECOND, 10 * MS, 3);
        let count = |windows: &mut Windows, at: u32| {
            TimeWindow::ALL.map(|span| windows.read(SECOND * at, span).count)
        };
        assert_eq!(count(&mut windows, 60), [3, 3, 3]);
        assert_eq!(count(&mut windows, 71), [0, 3, 3]);
        assert_eq!(count(&mut windows, 359), [0, 3, 3]);
        assert_eq!(count(&mut windows, 361), [0, 0, 3]);
        assert_eq!(count(&mut windows, 3899), [0, 0, 3]);
        assert_eq!(count(&mut windows, 3901), [0, 0, 0]);
    }

    #[test]
    fn a_day_of_traffic_keeps_an_hour() {
        let mut windows = Windows::default();
        for second in 0..86_400_u32 {
            windows.record(SECOND * second, MS * (1 + second % 7), 1);
        }
        let hour = windows.read(SECOND * 86_400, TimeWindow::Hour).count;
        assert!((3600..=3900).contains(&hour), "{hour}");
        let minute = windows.read(SECOND * 86_400, TimeWindow::Minute).count;
        assert!((60..=70).contains(&minute), "{minute}");
        assert!(windows.rings.iter().all(|ring| ring.slots.len() <= 13));
        assert!(windows.rings.iter().flat_map(|ring| &ring.slots).all(|(_, counts)| counts.len() <= 7));
    }
}
