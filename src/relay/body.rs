//! The body of a response as the client's connection pulls it: bytes at hand, or a stream. Reports the request's
//! completion with the last byte.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{commit::Committed, source::FrameSource};
use crate::{
    base::{ByteList, Fault, FaultKind, Sent, Side, Stage},
    exchange::{Completion, Outcome},
    telemetry::GaugeGuard,
};

#[derive(Debug)]
pub enum Body<S: FrameSource + 'static> {
    /// All of it is here; the completion is reported when the last of it has been taken. `None`: it has been reported.
    Whole(ByteList, Option<Completion>, GaugeGuard),
    Stream(Committed<S>),
}

impl<S: FrameSource + 'static> Body<S> {
    /// The client is not given the rest, although it has not left: the request completes with this fault.
    pub fn cut(&mut self, side: Side, kind: FaultKind) {
        let fault = |stage| Fault { side, stage, kind, sent: Sent::Some };
        match self {
            Self::Whole(_, completion, _) => {
                if let Some(completion) = completion.take() {
                    completion.complete(Outcome::Fault(fault(Stage::Body)));
                }
            }
            Self::Stream(stream) => stream.cut(fault),
        }
    }
}

impl<S: FrameSource + 'static> http_body::Body for Body<S> {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.get_mut() {
            Self::Whole(list, completion, _) => {
                let bytes = list.pop();
                if list.is_empty()
                    && let Some(completion) = completion.take()
                {
                    completion.complete(Outcome::Complete);
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
            Self::Whole(list, ..) => list.is_empty(),
            Self::Stream(stream) => stream.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(list, ..) => SizeHint::with_exact(list.len() as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::poll_fn, rc::Rc};

    use http_body::Body as _;
    use tokio::time::Instant;

    use super::*;
    use crate::{
        base::id::IdSource,
        exchange::{CompletionQueue, RequestRecord, RequestRoute},
        relay::{Acknowledge, FailureObserver},
        telemetry::Gauge,
    };

    /// A source that is never made.
    #[derive(Debug)]
    struct NoSource(Infallible);

    impl FrameSource for NoSource {
        type Observer = Self;

        fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
            match self.0 {}
        }

        fn is_done(&self) -> bool {
            match self.0 {}
        }

        fn acknowledge(&mut self, _: Acknowledge) {
            match self.0 {}
        }
    }

    impl FailureObserver for NoSource {
        fn failed(self, _: &Fault) {}
    }

    #[tokio::test]
    async fn a_whole_body_completes_with_its_last_byte_and_counts_until_it_is_dropped() {
        let (queue, gauge) = (Rc::<CompletionQueue>::default(), Gauge::default());
        let record = RequestRecord::new(IdSource::default().make(), Instant::now(), RequestRoute::Unknown);
        let completion = Completion::new(record, Rc::clone(&queue));
        let list = Bytes::from_static(b"{}").into();
        let mut body = Body::<NoSource>::Whole(list, Some(completion), gauge.hold());
        assert!(poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.is_some());
        body.cut(Side::Client, FaultKind::Gone);
        assert_eq!(gauge.read(), 1);
        drop(body);
        let (completed, lost) = queue.take();
        assert_eq!((completed.len(), lost, gauge.read()), (1, 0, 0));
        assert_eq!(completed[0].outcome, Outcome::Complete);
    }
}
