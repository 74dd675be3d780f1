//! Where the relay's streams come from: the provider's body. The one place where the two rooms are joined.

use std::task::{Context, Poll};

use bytes::Bytes;

use crate::{
    base::Fault,
    relay::{Acknowledge, Source},
    upstream,
};

impl Source for upstream::Body {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        Self::poll_frame(self, cx)
    }

    fn acknowledge(&mut self, when: Acknowledge) {
        match when {
            Acknowledge::Late => self.acknowledge_late(),
            Acknowledge::AtOnce => self.acknowledge_at_once(),
        }
    }

    fn is_done(&self) -> bool {
        Self::is_done(self)
    }
}
