//! The body of an answer, on its way into the type that the connection polls. The two bodies of every day are
//! variants of their own there; those of the answer cache are boxed, so that they cost the others
//! nothing.

use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::{
    answer_place::RecordedAnswer, paced_answer::PacedAnswer, shared_stream::SharedStream,
    translation::AnswerBody,
};
use crate::{
    base::{Fault, Stage},
    relay::{Committed, WholeBody},
};

#[derive(Debug)]
pub enum Body {
    Whole(WholeBody),
    Stream(Committed<AnswerBody>),
    Cache(CacheBody),
}

/// A stream into the answer cache, or out of it.
#[derive(Debug)]
pub enum CacheBody {
    Recorded(Box<RecordedStream>),
    Paced(Box<PacedAnswer>),
    Shared(Box<SharedStream>),
}

impl CacheBody {
    /// The next bytes for the client. `None` at the end.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        match self {
            Self::Recorded(stream) => stream.poll_frame(cx),
            Self::Paced(paced) => paced.poll_frame(cx),
            Self::Shared(shared) => shared.poll_frame(cx),
        }
    }

    /// Nothing more follows for the client.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self {
            Self::Recorded(stream) => stream.stream.is_over(),
            Self::Paced(paced) => paced.is_over(),
            Self::Shared(shared) => shared.is_over(),
        }
    }

    /// The stream breaks off here, which its client sees.
    pub fn end(&mut self, fault: impl FnOnce(Stage) -> Fault) {
        match self {
            Self::Recorded(stream) => stream.stream.end(fault),
            Self::Paced(paced) => paced.end(fault),
            Self::Shared(shared) => shared.end(fault),
        }
    }

    /// The stream ends here; nothing in it reports this to the client.
    pub fn cut(&mut self, fault: impl FnOnce(Stage) -> Fault) {
        match self {
            Self::Recorded(stream) => stream.stream.cut(fault),
            Self::Paced(paced) => paced.cut(fault),
            Self::Shared(shared) => shared.cut(fault),
        }
    }
}

/// A provider's stream that is kept if it comes to a good end.
#[derive(Debug)]
pub struct RecordedStream {
    stream: Committed<AnswerBody>,
    /// `None`: it is not kept, or it has been.
    recorded: Option<RecordedAnswer>,
}

impl RecordedStream {
    pub(super) const fn new(stream: Committed<AnswerBody>, recorded: RecordedAnswer) -> Self {
        Self { stream, recorded: Some(recorded) }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        let frame = ready!(self.stream.poll_frame(cx));
        match (&frame, &mut self.recorded) {
            (Some(Ok(bytes)), Some(recorded)) => {
                if !recorded.add(bytes) {
                    self.recorded = None;
                }
            }
            (Some(Err(_)), _) => self.recorded = None,
            (Some(Ok(_)) | None, _) => {}
        }
        if self.stream.is_over() {
            self.keep();
        }
        Poll::Ready(frame)
    }

    fn keep(&mut self) {
        if self.recorded.is_some()
            && let Some(usage) = self.stream.whole_answer()
            && let Some(recorded) = self.recorded.take()
        {
            recorded.keep_stream(usage.total());
        }
    }
}

/// Clients close their connection once they have the last event, before the body ends.
impl Drop for RecordedStream {
    fn drop(&mut self) {
        self.keep();
    }
}
