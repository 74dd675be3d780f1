//! A response's body, with the request in flight until it is dropped.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::server::{
    conn::state::InFlight,
    cut::{CutCause, Cuttable},
};

#[derive(Debug)]
pub(super) struct H1ResponseBody<B: Body + Cuttable> {
    pub(super) content: B,
    pub(super) in_flight: InFlight,
}

impl<B: Body + Cuttable> Drop for H1ResponseBody<B> {
    fn drop(&mut self) {
        // An answer that has gone on in full was not cut by the drain.
        let is_cut = |cause: &CutCause| *cause != CutCause::Drain || !self.content.is_end_stream();
        if let Some(cause) = self.in_flight.0.cut_cause().filter(is_cut) {
            self.content.cut(cause);
        }
    }
}

impl<B: Body<Data = Bytes> + Cuttable + Unpin> Body for H1ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(cause) = self.in_flight.0.end_cause() {
            self.content.end(cause);
        }
        Pin::new(&mut self.content).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}
