//! A request that has completed: its record, its outcome and its duration, for settlement.

use tokio::time::Duration;

use super::record::RequestRecord;
use crate::base::{Fault, Stage};

/// Status that is recorded for a client that left before its response was complete.
const CLIENT_GONE: u16 = 499;

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The last byte was handed to the client's connection.
    Complete,
    /// It was refused or broke off, and the response said so.
    Fault(Fault),
    /// The client left at this stage.
    Gone(Stage),
}

/// A request that has completed.
#[derive(Debug)]
pub struct Completed {
    pub record: Box<RequestRecord>,
    pub outcome: Outcome,
    /// From the request's arrival.
    pub total: Duration,
}

impl Completed {
    /// The status as it is recorded: of the head, 499 when the client left, 0 when no head was sent.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.outcome {
            Outcome::Gone(_) => CLIENT_GONE,
            Outcome::Complete | Outcome::Fault(_) => self.record.status.map_or(0, |status| status.as_u16()),
        }
    }
}
