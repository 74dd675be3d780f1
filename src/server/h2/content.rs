//! The content of a response: the handler's, or a refusal by the server itself.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::server::cut::{CutCause, Cuttable};

#[derive(Debug)]
pub(super) enum Content<B> {
    Handler(B),
    /// `None` once it was given.
    Refusal(Option<Bytes>),
}

impl<B: Cuttable> Content<B> {
    pub(super) fn end(&mut self, cause: CutCause) {
        if let Self::Handler(body) = self {
            body.end(cause);
        }
    }

    pub(super) fn cut(&mut self, cause: CutCause) {
        if let Self::Handler(body) = self {
            body.cut(cause);
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Content<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut *self {
            Self::Handler(body) => Pin::new(body).poll_frame(cx),
            Self::Refusal(text) => Poll::Ready(text.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Handler(body) => body.is_end_stream(),
            Self::Refusal(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Handler(body) => body.size_hint(),
            Self::Refusal(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
        }
    }
}
