//! The body of every response that a worker gives.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{compare::CompareStream, events::EventFeed};
use crate::{base::Fault, proxy};

/// The body of a site's response.
#[derive(Debug)]
pub enum Body {
    Corridor(proxy::Body),
    Live(CompareStream),
    Feed(EventFeed),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.get_mut() {
            Self::Corridor(body) => Pin::new(body).poll_frame(cx),
            Self::Live(body) => Pin::new(body).poll_frame(cx).map_err(|never: Infallible| match never {}),
            Self::Feed(body) => Pin::new(body).poll_frame(cx).map_err(|never: Infallible| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Corridor(body) => body.is_end_stream(),
            Self::Live(_) | Self::Feed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Corridor(body) => body.size_hint(),
            Self::Live(_) | Self::Feed(_) => SizeHint::default(),
        }
    }
}
