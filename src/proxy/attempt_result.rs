//! The result of one attempt: an answer that is good enough, a fault, or a provider's error that can still be
//! given to the client.

use bytes::Bytes;
use http::StatusCode;
use tokio::time::{Duration, Instant};

use super::{
    answer::Answer,
    translation::{AnswerBody, Translation, UntranslatedRequest},
};
use crate::{
    base::{ByteList, Fault, FaultKind, HeaderFields, Sent, Stage},
    relay::Uncommitted,
    upstream::{self, Deadline},
    wire::Usage,
};

/// Where the usage of a whole answer stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum UsagePlace {
    /// In its body.
    Body,
    /// The translation has read it; `None`: the provider reported none.
    Translation(Option<Usage>),
}

/// An attempt that succeeded. Boxed from its beginning, because it passes through many results and futures.
#[derive(Debug)]
pub(super) struct Success {
    pub(super) answer: Answer,
    pub(super) times: AttemptTimes,
    /// Of a whole answer.
    pub(super) usage: UsagePlace,
}

impl Success {
    /// An answer whose usage is in it.
    pub(super) fn of(answer: Answer, times: AttemptTimes) -> Box<Self> {
        Box::new(Self { answer, times, usage: UsagePlace::Body })
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptTimes {
    /// Time that the attempt waited for a connection.
    pub(super) connection_wait: Duration,
    /// When the provider's head came.
    pub(super) answered: Instant,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum AttemptError {
    Fault(Fault),
    /// The provider answered with an error.
    Error(Box<ErrorResponse>),
    /// The request is not understood, or cannot be said in the provider's dialect.
    Untranslated(UntranslatedRequest),
}

impl AttemptError {
    /// A body of no use to the client, under a good status.
    pub(super) fn garbage(reason: &'static str) -> Self {
        Self::Fault(Fault::provider(Stage::Body, FaultKind::Garbage(reason.into()), Sent::Some))
    }
}

/// A provider's answer that is an error.
#[derive(Debug)]
pub(super) struct ErrorResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderFields,
    pub(super) times: AttemptTimes,
    /// The provider's text, its first bytes.
    pub(super) text: Bytes,
    pub(super) rest: ErrorRest,
    pub(super) deadline: Deadline,
    /// `None`: the provider was asked in the client's dialect.
    pub(super) translation: Option<Translation>,
}

/// The body as far as it has come.
#[derive(Debug)]
pub(super) enum ErrorRest {
    /// These frames, and more to come.
    Coming(ByteList, upstream::Body),
    Here(ByteList),
    Broken,
    /// A stream that began as a success.
    Stream(Uncommitted<AnswerBody>),
}
