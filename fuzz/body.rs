//! Decodes a body with the crate's decoder and compares it with hyper's result for the same bytes.

use thalweg::http1::{DecodeError, Decoder, BodyFraming};

use crate::answer::{Answer, End};

#[derive(Debug, PartialEq)]
pub struct Body {
    pub payload: Vec<u8>,
    pub done: bool,
    /// The body is complete if the provider closes here.
    pub may_close: bool,
    pub excess: usize,
}

pub fn decode<'a>(framing: BodyFraming, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Body, DecodeError> {
    let mut decoder = Decoder::new(framing);
    let (mut payload, mut excess) = (Vec::new(), 0);
    for piece in pieces {
        let mut piece = piece.to_vec();
        let decoded = decoder.decode(&mut piece)?;
        payload.extend_from_slice(&piece[decoded.payload]);
        excess += decoded.excess;
    }
    Ok(Body { payload, done: decoder.is_done(), may_close: decoder.may_close(), excess })
}

/// Asserts the same payload, and the same end or none. A connection that the gateway keeps (`kept`) is one
/// that hyper keeps.
pub fn agree(ours: &Body, theirs: &Answer, kept: bool) {
    assert_eq!(ours.payload, theirs.payload);
    match &theirs.end {
        End::Whole { open } => assert!(ours.may_close && (*open || !kept)),
        // The gateway drops trailers, so it accepts more and longer ones; they end with the same CR LF.
        End::Failed(why) => assert!(!ours.may_close || is_about_trailers(why), "{why}"),
    }
}

fn is_about_trailers(why: &str) -> bool {
    ["HeaderName", "HeaderValue", "NewLine", "Partial header", "Invalid header", "chunk trailers"]
        .iter()
        .any(|reason| why.contains(reason))
}
