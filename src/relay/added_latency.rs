//! The gateway's own share of a stream's time (B2): from the read that brought bytes to the write that took
//! them. It is known at the next poll, which comes when the client's connection has taken the frame. A frame
//! that had to wait for the client is counted apart, because that time is the client's.
//!
//! Costs one reading of the clock per frame. While the overload guard sheds, one frame in [`SAMPLE_INTERVAL`]
//! is measured, so that the guard can see when the worker has caught up.

use tokio::time::Instant;

use crate::{
    base::turn,
    exchange::StreamStats,
    telemetry::{LatencyMeter, stream_histogram::Resolution},
};

/// Frames per measured one while the guard sheds.
const SAMPLE_INTERVAL: u32 = 16;

#[derive(Debug)]
pub(super) struct FrameTimer {
    /// `None`: frames are not measured.
    meter: Option<LatencyMeter>,
    /// Time at which the oldest bytes that may leave were read.
    since: Option<Instant>,
    /// The frame that is with the client's connection: the time from which it could have left, and the turn
    /// in which it was given.
    given: Option<(Instant, u64)>,
    /// Frames given.
    frames: u32,
    /// A frame was the first one, or slower than all before.
    is_news: bool,
}

impl FrameTimer {
    pub(super) const fn new(meter: Option<LatencyMeter>) -> Self {
        Self { meter, since: None, given: None, frames: 0, is_news: false }
    }

    /// Whether optional work is to be left out.
    pub(super) fn sheds(&self) -> bool {
        self.meter.as_ref().is_some_and(LatencyMeter::sheds)
    }

    /// Bytes that came at `now` may leave.
    pub(super) fn read(&mut self, now: Instant) {
        if self.meter.is_some() && self.since.is_none() {
            self.since = Some(now);
        }
    }

    /// The stream is committed: bytes that were held back until now were held on purpose.
    pub(super) fn commit(&mut self) {
        if self.since.is_some() {
            self.since = Some(Instant::now());
        }
    }

    /// A frame is given to the client's connection; `more`: bytes that were read with it stay.
    pub(super) fn give(&mut self, more: bool) {
        let since = if more { self.since } else { self.since.take() };
        self.frames = self.frames.wrapping_add(1);
        let measured = self.frames % SAMPLE_INTERVAL == 1 || !self.sheds();
        self.given = since.filter(|_| measured).map(|since| (since, turn::current()));
    }

    /// The client's connection polls again, or drops the stream.
    pub(super) fn taken(&mut self, stats: &mut StreamStats) {
        let Some((since, turn)) = self.given.take() else { return };
        if turn != turn::current() {
            stats.waited_for_client += 1;
            return;
        }
        let time = since.elapsed();
        let bucket = Resolution::Fine.bucket(time);
        if let Some(meter) = &self.meter {
            meter.note_at(bucket);
        }
        let added = &mut stats.frame_timings.get_or_insert_default().added;
        self.is_news |= stats.first_added.is_none() || time > added.max();
        added.note_at(bucket, time);
        stats.first_added.get_or_insert(time);
    }

    /// The first or the largest time has changed since the last call.
    pub(super) const fn take_news(&mut self) -> bool {
        std::mem::replace(&mut self.is_news, false)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, advance};

    use super::*;
    use crate::telemetry::MeterReading;

    /// Reads a frame, gives it, and takes it after `stay`, in another turn if the client `waits`.
    async fn pass(timer: &mut FrameTimer, stats: &mut StreamStats, stay: Duration, waits: bool) {
        timer.read(Instant::now());
        timer.give(false);
        advance(stay).await;
        if waits {
            turn::begin();
        }
        timer.taken(stats);
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_is_timed_from_its_read_to_its_write() {
        let (meter, mut stats) = (LatencyMeter::default(), StreamStats::default());
        let mut timer = FrameTimer::new(Some(meter.clone()));
        for (micros, waits, is_news) in
            [(30, false, true), (20, false, false), (60, false, true), (9_000_000, true, false)]
        {
            pass(&mut timer, &mut stats, Duration::from_micros(micros), waits).await;
            assert_eq!((timer.take_news(), timer.take_news()), (is_news, false), "{micros}");
        }
        // Polled again without a frame given.
        timer.taken(&mut stats);
        let added = stats.added_latency().unwrap();
        assert_eq!((added.max.as_micros(), stats.waited_for_client), (60, 1));
        assert_eq!(stats.first_added.unwrap().as_micros(), 30);
        assert_eq!(MeterReading::of(&[meter]).count(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn time_held_back_until_the_commit_does_not_count() {
        let mut stats = StreamStats::default();
        let mut timer = FrameTimer::new(Some(LatencyMeter::default()));
        timer.read(Instant::now());
        advance(Duration::from_secs(1)).await;
        timer.commit();
        timer.give(true);
        timer.taken(&mut stats);
        timer.give(false);
        timer.taken(&mut stats);
        assert_eq!(stats.added_latency().unwrap().max, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn one_in_sixteen_is_measured_while_the_guard_sheds_and_none_when_it_is_off() {
        let (meter, mut stats) = (LatencyMeter::default(), StreamStats::default());
        let mut timer = FrameTimer::new(Some(meter.clone()));
        meter.shed(true);
        for _ in 0..32 {
            pass(&mut timer, &mut stats, Duration::from_micros(1), false).await;
        }
        assert_eq!(MeterReading::of(&[meter]).count(), 2);
        let (mut timer, mut stats) = (FrameTimer::new(None), StreamStats::default());
        pass(&mut timer, &mut stats, Duration::from_micros(1), false).await;
        assert!(stats.frame_timings.is_none());
    }
}
