//! The body of every response that a worker gives.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{compare::CompareStream, events::EventFeed, file_body::FileBody, json_array::JsonArray};
use crate::{
    base::{Fault, FaultKind, HandlerResponse, Sent, Side},
    batch::BatchAnswer,
    proxy,
    relay::{Committed, WholeBody},
};

/// The body of a site's response.
#[derive(Debug)]
pub enum Body {
    Whole(WholeBody),
    /// A provider's stream.
    Stream(Committed<proxy::AnswerBody>),
    /// A stream into the answer cache, or out of it.
    Cache(proxy::CacheBody),
    /// The same as one JSON array.
    Array(Box<JsonArray>),
    Batch(Box<BatchAnswer>),
    File(Box<FileBody>),
    Compare(CompareStream),
    Events(EventFeed),
}

impl Body {
    /// A stream breaks off by itself, which shows its client this fault. Any other body is short, or is cut.
    pub fn end(&mut self, side: Side, kind: FaultKind) {
        match self {
            Self::Stream(stream) => stream.end(|stage| Fault { side, stage, kind, sent: Sent::Some }),
            Self::Cache(body) => body.end(|stage| Fault { side, stage, kind, sent: Sent::Some }),
            Self::Array(array) => array.events.end(|stage| Fault { side, stage, kind, sent: Sent::Some }),
            Self::Batch(batch) => batch.end(|stage| Fault { side, stage, kind, sent: Sent::Some }),
            Self::Whole(_) | Self::File(_) | Self::Compare(_) | Self::Events(_) => {}
        }
    }

    /// The client is not given the rest, although it has not left: the request completes with this fault.
    /// Comparison and events have no request record: their requests completed with the head.
    pub fn break_off(&mut self, side: Side, kind: FaultKind) {
        let fault = |stage| Fault { side, stage, kind, sent: Sent::Some };
        match self {
            Self::Whole(body) => body.cut(fault),
            Self::Stream(stream) => stream.cut(fault),
            Self::Cache(body) => body.cut(fault),
            Self::Array(array) => array.events.cut(fault),
            Self::Batch(batch) => batch.cut(fault),
            Self::File(file) => file.cut(fault),
            Self::Compare(_) | Self::Events(_) => {}
        }
    }
}

impl Body {
    /// A response whose body, if it is a stream of events, is one array. `max_line`: bytes of a line of it.
    pub(super) fn array_in_place_of_events(
        response: HandlerResponse<Self>,
        max_line: usize,
    ) -> HandlerResponse<Self> {
        let HandlerResponse { status, mut headers, body } = response;
        let content_type = headers.get("content-type");
        let is_events = content_type.is_some_and(|value| value.starts_with(b"text/event-stream"));
        let body = match (body, is_events) {
            (Self::Stream(events), true) => {
                let json = "application/json; charset=UTF-8";
                headers.insert("content-type", json);
                Self::Array(Box::new(JsonArray::new(events, max_line)))
            }
            (body, _) => body,
        };
        HandlerResponse { status, headers, body }
    }
}

impl From<proxy::Body> for Body {
    fn from(body: proxy::Body) -> Self {
        match body {
            proxy::Body::Whole(body) => Self::Whole(body),
            proxy::Body::Stream(stream) => Self::Stream(stream),
            proxy::Body::Cache(body) => Self::Cache(body),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.get_mut() {
            Self::Stream(stream) => {
                stream.poll_frame(cx).map(|frame| frame.map(|frame| frame.map(Frame::data)))
            }
            Self::Cache(body) => body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map(Frame::data))),
            Self::Array(array) => array.poll_frame(cx).map(|frame| frame.map(|frame| frame.map(Frame::data))),
            Self::Whole(body) => Poll::Ready(body.pop().map(Frame::data).map(Ok)),
            Self::Batch(body) => Pin::new(&mut **body).poll_frame(cx),
            Self::File(body) => Pin::new(&mut **body).poll_frame(cx),
            Self::Compare(body) => Pin::new(body).poll_frame(cx).map_err(|never: Infallible| match never {}),
            Self::Events(body) => Pin::new(body).poll_frame(cx).map_err(|never: Infallible| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_empty(),
            Self::Stream(stream) => stream.is_over(),
            Self::Cache(body) => body.is_over(),
            Self::Array(array) => array.has_ended(),
            Self::File(file) => file.is_end_stream(),
            Self::Batch(_) | Self::Compare(_) | Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.len() as u64),
            Self::File(file) => file.size_hint(),
            Self::Stream(_)
            | Self::Cache(_)
            | Self::Array(_)
            | Self::Batch(_)
            | Self::Compare(_)
            | Self::Events(_) => SizeHint::default(),
        }
    }
}
