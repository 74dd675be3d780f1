//! The body of a response whose bytes are at hand. It reports the request's completion with its last byte,
//! as a committed stream does. [`crate::web::Body`], which is the body type of the client's connection, has
//! both as variants of its own, so that a frame passes one enum and not two.

use bytes::Bytes;

use crate::{
    base::{ByteList, Fault, Stage},
    exchange::{Completion, Outcome},
    telemetry::GaugeGuard,
};

/// Bytes at hand.
#[derive(Debug)]
pub struct WholeBody {
    bytes: ByteList,
    /// `None`: it has been reported.
    completion: Option<Completion>,
    /// Counts the request until the body is dropped.
    _in_flight: GaugeGuard,
}

impl WholeBody {
    /// `completion` is reported when the last byte has been taken; `None`: it has been reported.
    #[must_use]
    pub const fn new(bytes: ByteList, completion: Option<Completion>, in_flight: GaugeGuard) -> Self {
        Self { bytes, completion, _in_flight: in_flight }
    }

    /// The next bytes. `None` at the end.
    pub fn pop(&mut self) -> Option<Bytes> {
        let bytes = self.bytes.pop();
        if self.bytes.is_empty()
            && let Some(completion) = self.completion.take()
        {
            completion.complete(Outcome::Complete);
        }
        bytes
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that have not been taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The client is not given the rest, although it has not left: the request completes with this fault.
    pub fn cut(&mut self, fault: impl FnOnce(Stage) -> Fault) {
        if let Some(completion) = self.completion.take() {
            completion.complete(Outcome::Fault(fault(Stage::Body)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::time::Instant;

    use super::*;
    use crate::{
        base::{FaultKind, id::IdSource},
        exchange::{CompletionQueue, RequestRecord, RequestRoute},
        telemetry::Gauge,
    };

    #[test]
    fn a_whole_body_completes_with_its_last_byte_and_counts_until_it_is_dropped() {
        let (queue, gauge) = (Rc::<CompletionQueue>::default(), Gauge::default());
        let record = RequestRecord::new(IdSource::default().make(), Instant::now(), RequestRoute::Unknown);
        let completion = Completion::new(record, Rc::clone(&queue));
        let list = Bytes::from_static(b"{}").into();
        let mut body = WholeBody::new(list, Some(completion), gauge.hold());
        assert!(body.pop().is_some());
        body.cut(|stage| Fault::client(stage, FaultKind::Gone));
        assert_eq!(gauge.read(), 1);
        drop(body);
        let (completed, lost) = queue.take();
        assert_eq!((completed.len(), lost, gauge.read()), (1, 0, 0));
        assert_eq!(completed[0].outcome, Outcome::Complete);
    }
}
