//! All counts of a run, in fixed memory. [`LoadTotals::forget`] drops the counts of the warm-up, except
//! errors and statuses, which are reported whenever they came.

use std::collections::BTreeMap;

use http::StatusCode;

use super::{
    clock::LoadInstant,
    latency::LatencyHistogram,
    observer::{Recorder, StreamOutcome},
};
use crate::base::{Fault, FaultKind};

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorClass {
    Unreachable,
    Tls,
    Timeout,
    /// The connection ended before the answer did.
    Reset,
    Garbage,
    TooLarge,
    /// The status of the answer is an error.
    Status,
    /// An error event in a stream that began as a success.
    ErrorEvent,
    Gone,
}

impl ErrorClass {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Garbage => "garbage",
            Self::TooLarge => "too_large",
            Self::Status => "status",
            Self::ErrorEvent => "error_event",
            Self::Gone => "gone",
        }
    }
}

impl From<&Fault> for ErrorClass {
    fn from(fault: &Fault) -> Self {
        match fault.kind {
            FaultKind::Unreachable(_) => Self::Unreachable,
            FaultKind::Tls(_) => Self::Tls,
            FaultKind::Timeout(..) => Self::Timeout,
            FaultKind::Reset | FaultKind::Truncated => Self::Reset,
            FaultKind::Garbage(_) | FaultKind::Empty(_) => Self::Garbage,
            FaultKind::TooLarge { .. } => Self::TooLarge,
            FaultKind::Status(_) | FaultKind::Redirect(_) => Self::Status,
            FaultKind::ErrorEvent => Self::ErrorEvent,
            FaultKind::Gone | FaultKind::Refused(_) => Self::Gone,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct LoadTotals {
    /// Request to first byte of the body.
    pub ttfb: LatencyHistogram,
    /// Request to first content or reasoning.
    pub ttft: LatencyHistogram,
    /// Request to the end of the body.
    pub total: LatencyHistogram,
    /// Between two events of a stream; 0 for those that came in one read.
    pub gap: LatencyHistogram,
    /// From the stamp inside an event to its arrival.
    pub delivery: LatencyHistogram,
    /// How late an open loop's request was sent.
    pub lag: LatencyHistogram,
    pub started: u64,
    pub completed: u64,
    pub events: u64,
    pub frames: u64,
    /// Events that came in one read with an earlier one.
    pub coalesced: u64,
    pub bytes: u64,
    /// Streams that ended without a `[DONE]`.
    pub without_done: u64,
    pub statuses: BTreeMap<u16, u64>,
    pub errors: BTreeMap<ErrorClass, u64>,
}

impl LoadTotals {
    /// Begins anew, except errors, statuses and requests in flight.
    pub fn forget(&mut self) {
        let in_flight = self.started - self.completed - self.failed();
        let kept = Self {
            started: in_flight + self.failed(),
            statuses: std::mem::take(&mut self.statuses),
            errors: std::mem::take(&mut self.errors),
            ..Self::default()
        };
        *self = kept;
    }

    pub fn fail(&mut self, class: ErrorClass) {
        *self.errors.entry(class).or_default() += 1;
    }

    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// A response was observed to its end.
    pub fn finish(&mut self, outcome: StreamOutcome, total: u64, is_stream: bool) {
        if outcome.error_event {
            self.fail(ErrorClass::ErrorEvent);
            return;
        }
        self.completed += 1;
        self.total.record(total);
        self.without_done += u64::from(is_stream && !outcome.done);
    }
}

impl Recorder for LoadTotals {
    fn head(&mut self, _after: u64, status: StatusCode) {
        *self.statuses.entry(status.as_u16()).or_default() += 1;
    }

    fn first_byte(&mut self, after: u64) {
        self.ttfb.record(after);
    }

    fn first_token(&mut self, after: u64) {
        self.ttft.record(after);
    }

    fn event(&mut self, at: LoadInstant, gap: Option<u64>, stamp: Option<LoadInstant>) {
        if let Some(gap) = gap {
            self.gap.record(gap);
        }
        if let Some(stamp) = stamp {
            self.delivery.record(at.since(stamp));
        }
    }

    fn frame(&mut self, _at: LoadInstant, bytes: usize, events: u64) {
        self.frames += 1;
        self.bytes += bytes as u64;
        self.events += events;
        self.coalesced += events.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgetting_keeps_errors_and_requests_in_flight() {
        let mut totals = LoadTotals { started: 10, completed: 4, events: 99, ..LoadTotals::default() };
        totals.fail(ErrorClass::Reset);
        totals.head(5, StatusCode::OK);
        totals.gap.record(5);
        totals.forget();
        assert_eq!((totals.started, totals.completed, totals.events, totals.failed()), (6, 0, 0, 1));
        assert_eq!((totals.statuses[&200], totals.gap.summary()), (1, None));
    }

    #[test]
    fn an_error_event_is_no_completion() {
        let mut totals = LoadTotals::default();
        totals.finish(StreamOutcome { error_event: true, ..StreamOutcome::default() }, 5, true);
        totals.finish(StreamOutcome { done: true, ..StreamOutcome::default() }, 5, true);
        totals.finish(StreamOutcome::default(), 5, true);
        totals.finish(StreamOutcome::default(), 5, false);
        assert_eq!((totals.completed, totals.without_done), (3, 1));
        assert_eq!(totals.errors, BTreeMap::from([(ErrorClass::ErrorEvent, 1)]));
    }

    #[test]
    fn events_beyond_the_first_of_a_read_are_coalesced() {
        let mut totals = LoadTotals::default();
        let now = LoadInstant::from_nanos(50);
        for events in [1, 3, 0] {
            totals.frame(now, 10, events);
        }
        totals.event(now, Some(7), Some(LoadInstant::from_nanos(20)));
        assert_eq!((totals.frames, totals.events, totals.coalesced, totals.bytes), (3, 4, 2, 30));
        assert_eq!(totals.delivery.summary().map(|summary| summary.count), Some(1));
    }
}
