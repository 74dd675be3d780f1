//! The measured times of one answer. Times are nanoseconds since the request was sent on an open connection;
//! the time to connect is recorded separately.

use http::StatusCode;

use crate::load::{LoadInstant, Recorder, StreamOutcome};

/// Nanoseconds below which an interval counts as zero: both reads arrived together. 1 ms is the resolution of
/// the router that this gateway replaces, so the figures compare with its own.
const MIN_INTERVAL: u64 = 1_000_000;

#[derive(Clone, Debug)]
pub(super) struct LegRun {
    from: LoadInstant,
    pub(super) status: Option<StatusCode>,
    pub(super) first_byte: Option<u64>,
    pub(super) first_token: Option<u64>,
    /// Time of each read.
    pub(super) chunks: Vec<u64>,
    /// Time of each event's end.
    pub(super) events: Vec<u64>,
    pub(super) bytes: u64,
    pub(super) total: u64,
    pub(super) connect: u64,
    /// The observed end of the stream. `None`: the stream did not reach its end.
    pub(super) outcome: Option<StreamOutcome>,
    /// The error that broke the answer off.
    pub(super) fault: Option<String>,
}

impl LegRun {
    pub(super) const fn new(from: LoadInstant) -> Self {
        Self {
            from,
            status: None,
            first_byte: None,
            first_token: None,
            chunks: Vec::new(),
            events: Vec::new(),
            bytes: 0,
            total: 0,
            connect: 0,
            outcome: None,
            fault: None,
        }
    }

    /// A request that was not sent.
    pub(super) fn refused(why: String) -> Self {
        Self { fault: Some(why), ..Self::new(LoadInstant::now()) }
    }

    /// Records a complete answer, and subtracts the time to connect from all times.
    pub(super) fn close(&mut self, total: u64, connect: u64, outcome: StreamOutcome) {
        let after_connect = |at: &mut u64| *at = at.saturating_sub(connect);
        self.first_byte.iter_mut().chain(&mut self.first_token).for_each(after_connect);
        self.chunks.iter_mut().chain(&mut self.events).for_each(after_connect);
        self.total = total.saturating_sub(connect);
        self.connect = connect;
        self.outcome = Some(outcome);
    }

    /// Whether the answer is a success, complete and without an error event.
    pub(super) fn works(&self) -> bool {
        let is_clean = |outcome: &StreamOutcome| !outcome.error_event;
        self.status.is_some_and(|status| status.is_success()) && self.outcome.as_ref().is_some_and(is_clean)
    }

    /// The average interval between two reads. `None`: fewer than two reads.
    pub(super) fn average_interval(&self) -> Option<u64> {
        let intervals = u64::try_from(self.chunks.len()).ok()?.checked_sub(1).filter(|count| *count > 0)?;
        let span = self.chunks.last()?.saturating_sub(*self.chunks.first()?);
        Some(span / intervals)
    }

    /// The number of intervals between reads that count as zero, and of all intervals.
    pub(super) fn zero_intervals(&self) -> (usize, usize) {
        let intervals = self.chunks.iter().zip(self.chunks.iter().skip(1));
        let zero =
            intervals.filter(|(earlier, later)| later.saturating_sub(**earlier) < MIN_INTERVAL).count();
        (zero, self.chunks.len().saturating_sub(1))
    }
}

impl Recorder for LegRun {
    fn head(&mut self, _after: u64, status: StatusCode) {
        self.status = Some(status);
    }

    fn first_byte(&mut self, after: u64) {
        self.first_byte = Some(after);
    }

    fn first_token(&mut self, after: u64) {
        self.first_token = Some(after);
    }

    fn event(&mut self, at: LoadInstant, _gap: Option<u64>, _stamp: Option<LoadInstant>) {
        self.events.push(at.since(self.from));
    }

    fn frame(&mut self, at: LoadInstant, bytes: usize, _events: u64) {
        self.chunks.push(at.since(self.from));
        self.bytes += bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(chunks_ms: &[u64]) -> LegRun {
        let mut run = LegRun::new(LoadInstant::from_nanos(0));
        for at in chunks_ms {
            run.frame(LoadInstant::from_nanos(at * MIN_INTERVAL), 10, 1);
        }
        run
    }

    #[test]
    fn counts_intervals_and_those_that_are_zero() {
        let intervals = run(&[5, 10, 10, 10, 30]);
        assert_eq!((intervals.zero_intervals(), intervals.bytes), ((2, 4), 50));
        assert_eq!(intervals.average_interval(), Some(25 * MIN_INTERVAL / 4));
        assert_eq!((run(&[5]).average_interval(), run(&[]).zero_intervals()), (None, (0, 0)));
    }

    #[test]
    fn the_time_to_connect_is_recorded_separately() {
        let mut run = run(&[5, 10]);
        run.first_byte(5 * MIN_INTERVAL);
        run.close(12 * MIN_INTERVAL, 2 * MIN_INTERVAL, StreamOutcome::default());
        assert_eq!((run.first_byte, run.total), (Some(3 * MIN_INTERVAL), 10 * MIN_INTERVAL));
        assert_eq!(run.chunks, [3 * MIN_INTERVAL, 8 * MIN_INTERVAL]);
    }

    #[test]
    fn works_only_as_a_whole_success() {
        let mut run = run(&[1]);
        assert!(!run.works());
        run.status = Some(StatusCode::OK);
        assert!(!run.works(), "not complete");
        run.outcome = Some(StreamOutcome { error_event: true, done: true, usage: None });
        assert!(!run.works());
        run.outcome = Some(StreamOutcome { error_event: false, done: true, usage: None });
        assert!(run.works());
        run.status = Some(StatusCode::BAD_GATEWAY);
        assert!(!run.works());
    }
}
