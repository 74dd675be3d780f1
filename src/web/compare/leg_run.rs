//! What one answer did, moment by moment. Times are nanoseconds since the request was sent on an open connection: the
//! time to connect is told apart.

use http::StatusCode;

use crate::load::{LoadInstant, Recorder, StreamOutcome};

/// Intervals shorter than this count as zero: reads that came together (1 ms in nanoseconds, the step of the figures
/// that users know from the router that this gateway replaces).
const ZERO: u64 = 1_000_000;

#[derive(Clone, Debug)]
pub(super) struct LegRun {
    from: LoadInstant,
    pub(super) status: Option<StatusCode>,
    pub(super) first_byte: Option<u64>,
    pub(super) first_token: Option<u64>,
    /// When each read came.
    pub(super) chunks: Vec<u64>,
    /// When each event was complete.
    pub(super) events: Vec<u64>,
    pub(super) bytes: u64,
    pub(super) total: u64,
    pub(super) connect: u64,
    /// What the stream turned out to be, when it came to its end.
    pub(super) hearing: Option<StreamOutcome>,
    /// What broke it off.
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
            hearing: None,
            fault: None,
        }
    }

    /// The answer is complete: takes the time to connect out of all times.
    pub(super) fn close(&mut self, total: u64, connect: u64, hearing: StreamOutcome) {
        let after_connect = |at: &mut u64| *at = at.saturating_sub(connect);
        self.first_byte.iter_mut().chain(&mut self.first_token).for_each(after_connect);
        self.chunks.iter_mut().chain(&mut self.events).for_each(after_connect);
        self.total = total.saturating_sub(connect);
        self.connect = connect;
        self.hearing = Some(hearing);
    }

    /// A success, heard to its end, without an error inside.
    pub(super) fn works(&self) -> bool {
        let good = |hearing: &StreamOutcome| !hearing.error_event;
        self.status.is_some_and(|status| status.is_success()) && self.hearing.as_ref().is_some_and(good)
    }

    /// Between two reads, on average; `None` for fewer than two.
    pub(super) fn average_interval(&self) -> Option<u64> {
        let intervals = u64::try_from(self.chunks.len()).ok()?.checked_sub(1).filter(|count| *count > 0)?;
        let span = self.chunks.last()?.saturating_sub(*self.chunks.first()?);
        Some(span / intervals)
    }

    /// How many intervals between reads count as zero, and how many there are.
    pub(super) fn zero_intervals(&self) -> (usize, usize) {
        let intervals = self.chunks.iter().zip(self.chunks.iter().skip(1));
        let zero = intervals.filter(|(earlier, later)| later.saturating_sub(**earlier) < ZERO).count();
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

    fn course(chunks_ms: &[u64]) -> LegRun {
        let mut course = LegRun::new(LoadInstant::from_nanos(0));
        for at in chunks_ms {
            course.frame(LoadInstant::from_nanos(at * ZERO), 10, 1);
        }
        course
    }

    #[test]
    fn counts_intervals_and_those_that_are_zero() {
        let intervals = course(&[5, 10, 10, 10, 30]);
        assert_eq!((intervals.zero_intervals(), intervals.bytes), ((2, 4), 50));
        assert_eq!(intervals.average_interval(), Some(25 * ZERO / 4));
        assert_eq!((course(&[5]).average_interval(), course(&[]).zero_intervals()), (None, (0, 0)));
    }

    #[test]
    fn connecting_is_told_apart() {
        let mut course = course(&[5, 10]);
        course.first_byte(5 * ZERO);
        course.close(12 * ZERO, 2 * ZERO, StreamOutcome::default());
        assert_eq!((course.first_byte, course.total), (Some(3 * ZERO), 10 * ZERO));
        assert_eq!(course.chunks, [3 * ZERO, 8 * ZERO]);
    }

    #[test]
    fn works_only_as_a_whole_success() {
        let mut course = course(&[1]);
        assert!(!course.works());
        course.status = Some(StatusCode::OK);
        assert!(!course.works(), "not heard to its end");
        course.hearing = Some(StreamOutcome { error_event: true, done: true });
        assert!(!course.works());
        course.hearing = Some(StreamOutcome { error_event: false, done: true });
        assert!(course.works());
        course.status = Some(StatusCode::BAD_GATEWAY);
        assert!(!course.works());
    }
}
