//! A response body of either protocol. Only dispatches: each protocol owns its connection's end.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::{h1, h2};
use crate::base::Fault;

/// A response body. Dropping it before its end cancels the request at the provider.
#[derive(Debug)]
pub enum Body {
    H1(h1::Body),
    H2(h2::Body),
}

impl Body {
    /// The next bytes, as they were received. `None` at the end, and after an error.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        match self {
            Self::H1(body) => body.poll_frame(cx),
            Self::H2(body) => body.poll_frame(cx),
        }
    }

    /// Lets the kernel acknowledge every second small packet instead of each, unless the provider was found
    /// to wait for acknowledgements. No effect on HTTP/2, because that protocol sends packets of its own
    /// back.
    pub fn acknowledge_late(&self) {
        match self {
            Self::H1(body) => body.acknowledge_late(),
            Self::H2(_) => {}
        }
    }

    /// The provider waits for acknowledgements: none to it is late from here on.
    pub fn acknowledge_at_once(&self) {
        match self {
            Self::H1(body) => body.acknowledge_at_once(),
            Self::H2(_) => {}
        }
    }

    /// All of it has been read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self {
            Self::H1(body) => body.is_done(),
            Self::H2(body) => body.is_done(),
        }
    }
}
