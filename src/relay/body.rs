//! The one body type that is given to the client's connection: nothing, bytes at hand, or a stream that is pulled.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{
    commit::Committed,
    end::{Completion, Outcome},
    stream::FrameSource,
};
use crate::base::{ByteList, Fault, FaultKind, Sent, Side, Stage};

#[derive(Debug)]
pub enum Body<S: FrameSource + 'static> {
    /// All of it is here; the end is told when the last of it has been taken.
    Whole(ByteList, Completion),
    Stream(Committed<S>),
}

impl<S: FrameSource + 'static> Body<S> {
    /// The client will not be given the rest, though it has not left: the end is told as this.
    pub fn cut(&mut self, side: Side, kind: FaultKind) {
        let fault = |stage| Fault { side, stage, kind, sent: Sent::Some };
        match self {
            Self::Whole(_, ending) => ending.tell(Outcome::Fault(fault(Stage::Body))),
            Self::Stream(stream) => stream.cut(fault),
        }
    }
}

impl<S: FrameSource + 'static> http_body::Body for Body<S> {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.get_mut() {
            Self::Whole(list, ending) => {
                let bytes = list.pop();
                if list.is_empty() {
                    ending.tell(Outcome::Complete);
                }
                Poll::Ready(bytes.map(Frame::data).map(Ok))
            }
            Self::Stream(stream) => {
                stream.poll_frame(cx).map(|frame| frame.map(|frame| frame.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(list, _) => list.is_empty(),
            Self::Stream(stream) => stream.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(list, _) => SizeHint::with_exact(list.len() as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
