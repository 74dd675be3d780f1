//! One stored answer: its headers, its bytes as they once went down, and, of a stream, when.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use crate::base::HeaderFields;

/// Bytes that an entry takes beside its own: map, order, counters.
const OVERHEAD: usize = 512;

/// By which clocks of replicas may differ.
const CLOCK_DIFFERENCE: Duration = Duration::from_secs(60);

/// Where a frame of a stream ended, and when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameMark {
    pub end: u32,
    /// Milliseconds after the first frame.
    pub after: u32,
}

/// The provider that gave an answer, and its name of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerMaker {
    pub provider: Arc<str>,
    pub place: MakerPlace,
    pub model: Box<str>,
}

/// Where a provider is asked, and by which headers of the configuration: a digest, because two gateways, or
/// one before and after a reload, may have two providers of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MakerPlace(pub [u8; 16]);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    pub headers: HeaderFields,
    pub body: Bytes,
    /// Empty: the answer does not stream.
    pub marks: Box<[FrameMark]>,
    /// When its last byte came.
    pub at: SystemTime,
    /// Tokens that its provider counted for it.
    pub tokens: u64,
    pub maker: AnswerMaker,
}

impl StoredAnswer {
    /// One that is a little from the future is another replica's, and new. Otherwise the clock was set back,
    /// and the age is not known: no request wants such an answer.
    #[must_use]
    pub fn age(&self, now: SystemTime) -> Duration {
        match now.duration_since(self.at) {
            Ok(age) => age,
            Err(early) if early.duration() <= CLOCK_DIFFERENCE => Duration::ZERO,
            Err(_) => Duration::MAX,
        }
    }

    #[must_use]
    pub const fn is_stream(&self) -> bool {
        !self.marks.is_empty()
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len() + 16);
        OVERHEAD
            + self.body.len()
            + self.marks.len() * size_of::<FrameMark>()
            + self.maker.model.len()
            + headers.sum::<usize>()
    }
}
