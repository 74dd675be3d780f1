//! The completion of a request, reported exactly once: [`Completion::complete`] consumes it, and one that is
//! dropped reports that the client left, or that the drain's time is over. A report is a push to the worker's
//! queue.
//!
//! Invariant: a [`Completion`] gives one [`Completed`], whatever happens.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use super::{
    completed::{Completed, Outcome},
    queue::CompletionQueue,
    record::RequestRecord,
    running::RunningRequest,
    stats::StreamStats,
    wasted::WastedAttempt,
};
use crate::base::{Fault, Stage};

/// The duty to report one completion.
#[derive(Debug)]
pub struct Completion {
    /// `None` only while it is consumed: a type with `Drop` cannot move a field out otherwise.
    record: Option<Box<RequestRecord>>,
    /// Its part in the view of running requests. Its stage is reported if the client leaves.
    running: Rc<RunningRequest>,
    /// Attempts that ended without an answer for the client. A cell, because an attempt that is cancelled
    /// returns nothing.
    wasted: RefCell<Vec<WastedAttempt>>,
    queue: Rc<CompletionQueue>,
}

impl Completion {
    #[must_use]
    pub fn new(record: impl Into<Box<RequestRecord>>, queue: Rc<CompletionQueue>) -> Self {
        let record = record.into();
        let running = queue.running().enter(&record);
        Self { record: Some(record), running, wasted: RefCell::default(), queue }
    }

    /// The record so far.
    pub fn record(&mut self) -> &mut RequestRecord {
        self.parts().0
    }

    /// The record so far, its part that is looked at, and its wasted attempts.
    #[expect(
        clippy::expect_used,
        reason = "only `report` takes the record, and only from a completion that ends"
    )]
    pub fn parts(&mut self) -> (&mut RequestRecord, &RunningRequest, &RefCell<Vec<WastedAttempt>>) {
        let Self { record, running, wasted, queue: _ } = self;
        (record.as_deref_mut().expect("a completion that is not consumed has its record"), running, wasted)
    }

    /// How far the request has come.
    #[must_use]
    pub fn stage(&self) -> &Cell<Stage> {
        self.running.stage()
    }

    /// Its part in the view of running requests.
    #[must_use]
    pub fn running(&self) -> &RunningRequest {
        &self.running
    }

    /// Shows the record's key to the view of running requests.
    pub fn show_key(&self) {
        if let Some(record) = &self.record {
            self.running.show_key(record);
        }
    }

    /// Shows the record's model to the view of running requests.
    pub fn show_model(&self) {
        if let Some(record) = &self.record {
            self.running.show_model(record);
        }
    }

    /// Shows the names in the record to the view of running requests.
    pub fn show(&self) {
        if let Some(record) = &self.record {
            self.running.show(record);
        }
    }

    /// Settles the limits of the request's key, when all of a good answer has come and before its last bytes
    /// go down: the client's next request finds them given back.
    pub fn settle(&mut self, outcome: &Outcome, stats: StreamStats) {
        let Some(record) = self.record.as_deref_mut().filter(|record| record.lease.is_some()) else { return };
        record.wasted.extend(self.wasted.take());
        record.stats = stats;
        let elapsed = record.started.elapsed();
        record.settle(outcome, elapsed);
    }

    /// Reports how the request ended.
    pub fn complete(mut self, outcome: Outcome) {
        self.report(outcome);
    }

    fn report(&mut self, outcome: Outcome) {
        if let Some(mut record) = self.record.take() {
            self.queue.running().leave(&self.running);
            let total = record.started.elapsed();
            record.wasted.extend(self.wasted.take());
            record.account(&outcome, total);
            self.queue.push(Completed { record, outcome, total });
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if self.record.is_some() {
            let stage = self.running.stage().get();
            self.report(match self.queue.has_ended() {
                true => Outcome::Fault(Fault::shutting_down(stage)),
                false => Outcome::Gone(stage),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::{base::id::IdSource, exchange::RequestRoute};

    fn completion() -> (Completion, Rc<CompletionQueue>) {
        let queue = Rc::<CompletionQueue>::default();
        (completion_in(&queue), queue)
    }

    fn completion_in(queue: &Rc<CompletionQueue>) -> Completion {
        let record = RequestRecord::new(IdSource::default().make(), Instant::now(), RequestRoute::Unknown);
        Completion::new(record, Rc::clone(queue))
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_does_not_wait_for_more() {
        let queue = Rc::<CompletionQueue>::default();
        let is_full =
            async |queue: &CompletionQueue| timeout(Duration::from_secs(1), queue.full()).await.is_ok();
        (1..CompletionQueue::BATCH_SIZE).for_each(|_| drop(completion_in(&queue)));
        assert!(!is_full(&queue).await);
        drop(completion_in(&queue));
        assert!(is_full(&queue).await);
        assert_eq!(queue.take().0.len(), CompletionQueue::BATCH_SIZE);
        assert!(!is_full(&queue).await, "those of the next batch are to come");
    }

    #[test]
    fn one_that_is_completed_is_reported_once() {
        let (mut completion, queue) = completion();
        completion.record().status = Some(http::StatusCode::OK);
        completion.complete(Outcome::Complete);
        let (completed, lost) = queue.take();
        assert_eq!((completed.len(), lost, completed[0].status()), (1, 0, 200));
        assert_eq!(completed[0].outcome, Outcome::Complete);
    }

    #[test]
    fn one_that_is_dropped_reports_that_the_client_left_and_when() {
        let (mut completion, queue) = completion();
        completion.record().status = Some(http::StatusCode::OK);
        completion.stage().set(Stage::FirstToken);
        drop(completion);
        let (completed, _) = queue.take();
        assert_eq!(completed[0].outcome, Outcome::Gone(Stage::FirstToken));
        assert_eq!((completed.len(), completed[0].status()), (1, 499));
    }
}
