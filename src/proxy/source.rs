//! Where the relay's streams come from: the provider's body. The one place where the two rooms are joined.

use std::task::{Context, Poll};

use bytes::Bytes;

use crate::{base::Fault, relay::Source, upstream};

impl Source for upstream::Body {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        Self::poll_frame(self, cx)
    }

    fn is_done(&self) -> bool {
        Self::is_done(self)
    }
}
