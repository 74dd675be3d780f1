//! A request in the provider's dialect.

use bytes::Bytes;

use super::talk_record::TalkRecord;
use crate::dialect::context::AnswerContext;

#[derive(Clone, Debug)]
pub struct TranslatedRequest {
    /// In pieces: some are shared with other requests of the key.
    pub body: Vec<Bytes>,
    pub context: AnswerContext,
    /// Members that the provider does not get, as paths; each once, in visible ASCII.
    pub dropped: Vec<String>,
}

/// A request that was translated, and what is remembered of it.
#[derive(Debug)]
pub(super) struct WrittenRequest {
    /// Without the shared pieces.
    pub(super) body: Vec<u8>,
    /// In order; each stands before the byte of the body at this place.
    pub(super) shared: Vec<(usize, Bytes)>,
    pub(super) context: AnswerContext,
    pub(super) dropped: Vec<String>,
    pub(super) record: TalkRecord,
}

impl WrittenRequest {
    pub(super) fn translated(self) -> TranslatedRequest {
        let (mut body, mut rest, mut from) = (Vec::new(), Bytes::from(self.body), 0);
        for (place, piece) in self.shared {
            body.push(rest.split_to((place - from).min(rest.len())));
            body.push(piece);
            from = place;
        }
        body.push(rest);
        TranslatedRequest { body, context: self.context, dropped: self.dropped }
    }
}
