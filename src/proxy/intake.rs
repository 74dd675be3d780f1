//! A client's request body, read whole within its limits. A body that came in one frame is not copied.
//! Dropping the read drops the body; nothing of it has been used.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::Body;
use std::{future::poll_fn, pin::Pin, time::Duration};
use tokio::time::timeout;

use crate::base::{DeadlineKind, Fault, FaultKind, Stage};

/// Memory that a `Content-Length` alone may reserve.
const MAX_RESERVE: usize = 1024 * 1024;

/// Limits of request bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intake {
    /// Bytes of a request body.
    pub body_size: usize,
    /// From the head to the last byte.
    pub body_timeout: Duration,
}

/// A request's body, as the server gives it.
pub trait Incoming: Body<Data = Bytes, Error = hyper::Error> + Unpin {}

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Incoming for B {}

/// Reads `body`.
///
/// # Errors
/// Too large (by its `Content-Length` or by the bytes themselves), too slow, or broken off.
pub(super) async fn read(body: impl Incoming, headers: &HeaderMap, limits: Intake) -> Result<Bytes, Fault> {
    let limit = limits.body_size;
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let mut reader = BodyReader { body, limit, reserve: declared.unwrap_or(0).min(MAX_RESERVE) };
    let first = match reader.poll_now().await {
        Some(outcome) => outcome?,
        None => return reader.within(limits.body_timeout, Bytes::new()).await,
    };
    if reader.body.is_end_stream() {
        return Ok(first);
    }
    reader.within(limits.body_timeout, first).await
}

struct BodyReader<B> {
    body: B,
    limit: usize,
    reserve: usize,
}

impl<B: Incoming> BodyReader<B> {
    /// The first frame, if it is here already, so that no timer is needed. `None`: it is not.
    async fn poll_now(&mut self) -> Option<Result<Bytes, Fault>> {
        poll_fn(|cx| {
            std::task::Poll::Ready(match Pin::new(&mut self.body).poll_frame(cx) {
                std::task::Poll::Ready(frame) => Some(self.accept(frame, 0)),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }

    /// The rest after `first`, under the body's timeout.
    async fn within(&mut self, time: Duration, first: Bytes) -> Result<Bytes, Fault> {
        let outcome = timeout(time, self.rest(first)).await;
        outcome.unwrap_or_else(|_| {
            Err(Fault::client(Stage::Intake, FaultKind::Timeout(DeadlineKind::Body, time)))
        })
    }

    async fn rest(&mut self, first: Bytes) -> Result<Bytes, Fault> {
        let mut whole = BytesMut::with_capacity(self.reserve.max(first.len()));
        whole.extend_from_slice(&first);
        while !self.body.is_end_stream() {
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await;
            if frame.is_none() {
                break;
            }
            whole.extend_from_slice(&self.accept(frame, whole.len())?);
        }
        Ok(whole.freeze())
    }

    fn accept(
        &self,
        frame: Option<Result<http_body::Frame<Bytes>, hyper::Error>>,
        before: usize,
    ) -> Result<Bytes, Fault> {
        let bytes = match frame {
            None => Bytes::new(),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(error)) if error.is_incomplete_message() || error.is_canceled() => {
                return Err(Fault::client(Stage::Intake, FaultKind::Gone));
            }
            Some(Err(_)) => {
                return Err(Fault::client(Stage::Intake, FaultKind::Garbage("bad request body".into())));
            }
        };
        if before + bytes.len() > self.limit { Err(too_large(self.limit)) } else { Ok(bytes) }
    }
}

fn too_large(limit: usize) -> Fault {
    Fault::client(Stage::Intake, FaultKind::TooLarge { limit: limit as u64 })
}
