//! Times over the last minute, five minutes and hour, as HdrHistograms of two digits. New values go into one
//! live histogram; every ten seconds it is emptied into sparse slots, and each window keeps a ring of them.
//! Reading merges a window's slots, so that sums cost nothing between reads, and an idle label holds no
//! histogram but its live one. Counts that were read can be merged with those of other processes, because
//! all have the same buckets.
//!
//! `now` is the time since a start of the caller's choice; it must not run backwards.

use std::{collections::VecDeque, time::Duration};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

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
    in_order(one.iter().chain(other).copied().collect())
}

/// Each value once.
fn in_order(mut counts: Sparse) -> Sparse {
    counts.sort_unstable_by_key(|(value, _)| *value);
    counts.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 = kept.1.saturating_add(next.1);
        }
        same
    });
    // Slots are kept for up to an hour.
    counts.shrink_to_fit();
    counts
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

/// The counts of one quantity over all windows, which can be merged with those of others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowCounts([Sparse; 3]);

impl WindowCounts {
    /// Adds the counts of others, bucket by bucket.
    pub fn merge(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(&other.0).filter(|(_, other)| !other.is_empty()) {
            *own = merge(own, other);
        }
    }

    #[must_use]
    pub fn read(&self, span: TimeWindow) -> Quantiles {
        let counts = TimeWindow::ALL.iter().zip(&self.0).find(|(known, _)| **known == span);
        counts.map_or_else(Quantiles::default, |(_, counts)| Quantiles::of(counts))
    }
}

impl Quantiles {
    /// A quantile is the first value up to which at least its share of the counts lies.
    fn of(counts: &Sparse) -> Self {
        let count = counts.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        let at = |share: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
            let wanted = ((count as f64 * share).ceil() as u64).max(1);
            let mut reached = 0_u64;
            let found = counts.iter().find(|(_, count)| {
                reached = reached.saturating_add(*count);
                reached >= wanted
            });
            Duration::from_nanos(found.or_else(|| counts.last()).map_or(0, |(value, _)| *value))
        };
        let max = Duration::from_nanos(counts.last().map_or(0, |(value, _)| *value));
        Self { count, p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99), max }
    }
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
            let counts: Sparse = recorded(live).collect();
            live.reset();
            self.rings.iter_mut().for_each(|ring| ring.add(before, &counts));
        }
    }

    /// The counts of all windows, up to the newest value.
    pub fn counts(&mut self, now: Duration) -> WindowCounts {
        self.advance(now);
        WindowCounts(TimeWindow::ALL.map(|span| self.counts_of(span)))
    }

    /// The quantiles of a window, up to the newest value.
    pub fn read(&mut self, now: Duration, span: TimeWindow) -> Quantiles {
        self.advance(now);
        Quantiles::of(&self.counts_of(span))
    }

    fn counts_of(&self, span: TimeWindow) -> Sparse {
        let rings = self.rings.iter().filter(|ring| ring.span == span);
        let kept = rings.flat_map(|ring| ring.within(self.tick)).copied();
        in_order(kept.chain(self.live.iter().flat_map(recorded)).collect())
    }
}

/// The values of a histogram, each with its count.
fn recorded(live: &Histogram<u64>) -> impl Iterator<Item = (u64, u64)> {
    live.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()))
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

    /// Values of two processes, counted apart and merged, are as if one had counted all.
    #[test]
    fn merged_counts_are_those_of_one_that_saw_all() {
        let (mut one, mut two, mut all) = (Windows::default(), Windows::default(), Windows::default());
        for number in 1..=1000_u32 {
            let (at, time) = (SECOND * (number / 100), MS * (number * number % 7919));
            let half = if number.is_multiple_of(3) { &mut one } else { &mut two };
            half.record(at, time, u64::from(number % 5));
            all.record(at, time, u64::from(number % 5));
        }
        let mut merged = one.counts(20 * SECOND);
        merged.merge(&two.counts(20 * SECOND));
        assert_eq!(merged, all.counts(20 * SECOND));
        let mut reference = histogram().unwrap();
        for (value, count) in &merged.0[0] {
            reference.record_n(*value, *count).unwrap();
        }
        let read = merged.read(TimeWindow::Minute);
        for (found, share) in [(read.p50, 0.5), (read.p90, 0.9), (read.p95, 0.95), (read.p99, 0.99)] {
            assert_eq!(found, Duration::from_nanos(reference.value_at_quantile(share)), "{share}");
        }
        assert_eq!((read.count, read.max), (reference.len(), Duration::from_nanos(reference.max())));
    }
}
