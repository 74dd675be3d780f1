//! The last minute and the last hour in steps of equal length, for charts: requests by their end, tokens, and
//! times to the first token, between frames and added to frames. Only of all requests together. What ends
//! goes into one open slot; a closed one is kept as a step of the minute and added to its step of the hour. A
//! slot holds the buckets that have counts alone, so that an idle process keeps almost nothing.
//!
//! `now` is the time since the start of the process; it must not run backwards.

use std::{collections::VecDeque, time::Duration};

use serde_json::{Value, json};

use super::{
    facts::{RequestFacts, RequestOutcome},
    sums::{micros, millis},
};
use crate::base::scale::LogScale;

/// A range of time, and its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistorySpan {
    /// Steps of two seconds.
    Minute,
    /// Steps of a minute.
    Hour,
}

const MINUTE_STEP: u64 = 2;
const HOUR_STEP: u64 = 60;
/// Steps of either.
const MINUTE_STEPS: u64 = 30;
const HOUR_STEPS: u64 = 60;

/// Sixteen buckets to each power of two of nanoseconds: a time is known to a thirtieth of itself.
const SCALE: LogScale = LogScale::from_octave(4, 10, 16 * 32);

/// Buckets that have counts, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SparseTimes(Vec<(u16, u32)>);

impl SparseTimes {
    fn note(&mut self, time: Duration, count: u64) {
        let bucket = SCALE.bucket(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        let (Ok(bucket), count) = (u16::try_from(bucket), u32::try_from(count).unwrap_or(u32::MAX)) else {
            return;
        };
        self.add(bucket, count);
    }

    fn add(&mut self, bucket: u16, count: u32) {
        match self.0.binary_search_by_key(&bucket, |(known, _)| *known) {
            Ok(at) => {
                if let Some((_, known)) = self.0.get_mut(at) {
                    *known = known.saturating_add(count);
                }
            }
            Err(at) => self.0.insert(at, (bucket, count)),
        }
    }

    fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(bucket, count)| self.add(*bucket, *count));
    }

    fn report(&self, scale: fn(Duration) -> f64) -> Value {
        let count: u64 = self.0.iter().map(|(_, count)| u64::from(*count)).sum();
        let at = |share: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
            let wanted = ((count as f64 * share).ceil() as u64).max(1);
            let mut reached = 0;
            let found = self.0.iter().find(|(_, count)| {
                reached += u64::from(*count);
                reached >= wanted
            });
            let bucket = found.or_else(|| self.0.last()).map(|(bucket, _)| usize::from(*bucket));
            bucket.map(|bucket| scale(Duration::from_nanos(SCALE.middle(bucket))))
        };
        match count {
            0 => json!({"count": 0}),
            _ => json!({"count": count, "p50": at(0.5), "p95": at(0.95)}),
        }
    }
}

/// What ended in one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct HistorySlot {
    requests: u64,
    done: u64,
    refused: u64,
    failed: u64,
    gone: u64,
    tokens_out: u64,
    first_token: SparseTimes,
    gaps: SparseTimes,
    added: SparseTimes,
}

impl HistorySlot {
    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.done += other.done;
        self.refused += other.refused;
        self.failed += other.failed;
        self.gone += other.gone;
        self.tokens_out += other.tokens_out;
        self.first_token.merge(&other.first_token);
        self.gaps.merge(&other.gaps);
        self.added.merge(&other.added);
    }

    fn report(&self, seconds: f64) -> Value {
        json!({
            "seconds": (seconds * 1000.0).round() / 1000.0,
            "requests": self.requests,
            "done": self.done,
            "refused": self.refused,
            "failed": self.failed,
            "client_gone": self.gone,
            "tokens_out": self.tokens_out,
            "first_token_ms": self.first_token.report(millis),
            "inter_frame_ms": self.gaps.report(millis),
            "added_frame_us": self.added.report(micros),
        })
    }
}

/// Both ranges.
#[derive(Debug, Default)]
pub struct History {
    /// The number of the open step of the minute, since the start.
    step: u64,
    open: HistorySlot,
    /// Closed steps in which anything ended, each with its number, the newest last.
    minute: VecDeque<(u64, HistorySlot)>,
    hour: VecDeque<(u64, HistorySlot)>,
}

impl History {
    /// Adds a completed request.
    pub fn add(&mut self, now: Duration, facts: &RequestFacts<'_>) {
        self.advance(now);
        let open = &mut self.open;
        open.requests += 1;
        match facts.outcome {
            RequestOutcome::Done => open.done += 1,
            RequestOutcome::Refused => open.refused += 1,
            RequestOutcome::Failed => open.failed += 1,
            RequestOutcome::Gone(_) => open.gone += 1,
        }
        open.tokens_out += facts.tokens.output;
        if facts.attempts == 0 {
            return;
        }
        if let Some(first_token) = facts.first_token {
            open.first_token.note(first_token, 1);
        }
        for (gap, count) in facts.frame_timings.iter().flat_map(|timings| timings.gaps.iter()) {
            open.gaps.note(gap, count);
        }
    }

    /// Adds times that frames have stayed here.
    pub fn add_added(&mut self, now: Duration, time: Duration, count: u64) {
        self.advance(now);
        self.open.added.note(time, count);
    }

    /// Closes the open step when it is over.
    fn advance(&mut self, now: Duration) {
        let step = now.as_secs() / MINUTE_STEP;
        let before = std::mem::replace(&mut self.step, step);
        if before == step {
            return;
        }
        let closed = std::mem::take(&mut self.open);
        if closed != HistorySlot::default() {
            let minute = before * MINUTE_STEP / HOUR_STEP;
            match self.hour.back_mut() {
                Some((number, slot)) if *number == minute => slot.merge(&closed),
                Some(_) | None => self.hour.push_back((minute, closed.clone())),
            }
            self.minute.push_back((before, closed));
        }
        let forget = |ring: &mut VecDeque<(u64, HistorySlot)>, from: u64| {
            while ring.front().is_some_and(|(number, _)| *number < from) {
                ring.pop_front();
            }
        };
        forget(&mut self.minute, step.saturating_sub(MINUTE_STEPS));
        forget(&mut self.hour, (step * MINUTE_STEP / HOUR_STEP).saturating_sub(HOUR_STEPS));
    }

    /// The steps of a range, the oldest first, and the length of a step in seconds. The last one is the open
    /// one. A step before the start of the process is `null`.
    pub fn report(&mut self, now: Duration, span: HistorySpan) -> Value {
        self.advance(now);
        let (ring, length, count) = match span {
            HistorySpan::Minute => (&self.minute, MINUTE_STEP, MINUTE_STEPS),
            HistorySpan::Hour => (&self.hour, HOUR_STEP, HOUR_STEPS),
        };
        let last = now.as_secs() / length;
        let steps = (0..count).map(|back| {
            let Some(number) = last.checked_sub(count - 1 - back) else { return Value::Null };
            let found = ring.iter().find(|(known, _)| *known == number).map(|(_, slot)| slot);
            let mut slot = found.cloned().unwrap_or_default();
            let mut seconds = length as f64;
            if number == last {
                slot.merge(&self.open);
                seconds = (now.as_secs_f64() - (number * length) as f64).max(0.0);
            }
            slot.report(seconds)
        });
        json!({"step_s": length, "steps": steps.collect::<Vec<_>>()})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{facts::tests::done, stream_histogram::FrameTimings};

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn requests(report: &Value) -> Vec<Option<u64>> {
        report["steps"].as_array().unwrap().iter().map(|step| step["requests"].as_u64()).collect()
    }

    #[test]
    fn each_request_is_in_its_step_of_both_ranges() {
        let mut history = History::default();
        for second in [1.0, 1.5, 3.0, 62.0, 121.0] {
            history.add(at(second), &done());
        }
        let minute = requests(&history.report(at(121.5), HistorySpan::Minute));
        assert_eq!((minute.len(), minute[29], minute[0]), (30, Some(1), Some(1)));
        assert_eq!(minute.iter().flatten().sum::<u64>(), 2);
        let hour = history.report(at(121.5), HistorySpan::Hour);
        let counts = requests(&hour);
        assert_eq!((counts.len(), &counts[57..]), (60, &[Some(3), Some(1), Some(1)][..]));
        assert!(counts[..57].iter().all(Option::is_none), "before the start nothing is known");
        assert_eq!((&hour["step_s"], &hour["steps"][59]["seconds"]), (&60.into(), &1.5.into()));
        assert_eq!(hour["steps"][57]["tokens_out"], 9);
    }

    #[test]
    fn steps_have_ends_and_times() {
        let mut history = History::default();
        let mut timings = FrameTimings::default();
        (0..10).for_each(|_| timings.gaps.note(Duration::from_millis(20)));
        history.add(SECOND, &RequestFacts { frame_timings: Some(&timings), ..done() });
        for outcome in [RequestOutcome::Failed, RequestOutcome::Refused, RequestOutcome::Gone("pool")] {
            history.add(SECOND, &RequestFacts { outcome, attempts: 0, ..done() });
        }
        history.add_added(SECOND, Duration::from_micros(50), 7);
        for (now, span, place) in [(1.0, HistorySpan::Minute, 29), (70.0, HistorySpan::Hour, 58)] {
            let step = &history.report(at(now), span)["steps"][place];
            let ends = ["done", "failed", "refused", "client_gone"].map(|name| step[name].as_u64().unwrap());
            assert_eq!((ends, &step["requests"]), ([1; 4], &4.into()));
            assert_eq!(
                (&step["first_token_ms"]["count"], &step["inter_frame_ms"]["count"]),
                (&1.into(), &10.into())
            );
            for (name, wanted) in
                [("first_token_ms", 100.0), ("inter_frame_ms", 20.0), ("added_frame_us", 50.0)]
            {
                let found = step[name]["p95"].as_f64().unwrap();
                assert!((found / wanted - 1.0).abs() < 0.1, "{name}: {found}");
            }
        }
    }

    /// However long it runs, it keeps the steps of an hour and a minute.
    #[test]
    fn what_is_kept_is_bounded() {
        let mut history = History::default();
        for second in 0..3 * 3600 {
            history.add(SECOND * second, &done());
        }
        assert!(history.minute.len() <= 31 && history.hour.len() <= 61);
        let sum = |history: &mut History, span| -> u64 {
            requests(&history.report(SECOND * (3 * 3600 - 1), span)).into_iter().flatten().sum()
        };
        assert_eq!([HistorySpan::Minute, HistorySpan::Hour].map(|span| sum(&mut history, span)), [60, 3600]);
        let later = history.report(SECOND * 9 * 3600, HistorySpan::Hour);
        assert!(requests(&later).iter().all(|count| *count == Some(0)));
    }
}
