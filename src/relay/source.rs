//! The source of a stream: the provider's body as `relay` sees it, without knowledge of its connection.

use std::{
    fmt,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::delayed_ack::Acknowledge;
use crate::{
    base::{ByteList, Fault},
    wire::Usage,
};

/// The provider's body.
pub trait FrameSource: Unpin {
    /// Kept beside the source from the commit on, and dropped with it.
    type Observer: FailureObserver;

    /// The next bytes. `None` at the end.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>>;

    /// All has been read: the next poll would give `None`.
    fn is_done(&self) -> bool;

    /// The usage that the provider has reported so far. `in_frames`: usage in the frames so far, which in a
    /// translation may be an estimate, or come later than the provider's.
    fn reported_usage(&self, in_frames: Option<Usage>) -> Option<Usage> {
        in_frames
    }

    /// How the provider's connection is to acknowledge bytes from now on.
    fn acknowledge(&mut self, when: Acknowledge);

    /// Whether these bytes of an event that is not complete have a secret of the provider, or end with the
    /// beginning of one. The rest of the event decides whether it is an error event, which is masked.
    fn may_quote_secret(&self, part: &[u8]) -> bool {
        let _ = part;
        false
    }

    /// The bytes that wait, the last of them with an error event, as they may leave.
    fn mask_error(&self, waiting: ByteList) -> ByteList {
        waiting
    }
}

/// Observes the failure of a committed stream.
pub trait FailureObserver: fmt::Debug {
    /// The first failure: the source's own fault, a deadline's or an error event. Consumed, so it is reported
    /// once.
    fn failed(self, fault: &Fault);
}
