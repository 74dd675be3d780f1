//! A client's request body, read whole within its limits, and decoded. A body that came in one frame is
//! neither copied nor counted. Dropping the read drops the body; nothing of it has been used.

use std::{cell::Cell, future::poll_fn, io, pin::Pin, sync::Arc, task::Poll, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use tokio::time::timeout;

use super::{
    body_memory::{BodyBound, BodyBounds, BodyMemory, HeldBody},
    decode::{self, CodedBodyError},
    fault::Refusal,
};
use crate::base::{
    DeadlineKind, Fault, FaultKind, HeaderFields, Stage,
    content_coding::{CODINGS, Coding},
};

/// Memory that a `Content-Length` alone may reserve.
const MAX_RESERVE: usize = 1024 * 1024;
/// When a client whose body had no room may come again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Limits of request bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intake {
    /// Bytes of a request body, coded and decoded.
    pub body_size: usize,
    /// From the head to the last byte.
    pub body_timeout: Duration,
    pub bounds: BodyBounds,
}

/// A request's body, as the server gives it. Its error is `UnexpectedEof` if the client has left.
pub trait Incoming: Body<Data = Bytes, Error = io::Error> + Unpin {}

impl<B: Body<Data = Bytes, Error = io::Error> + Unpin> Incoming for B {}

/// A body that was read, and its memory. `None`: it is not counted.
#[derive(Debug)]
pub struct ReadBody {
    pub bytes: Bytes,
    _held: Option<HeldBody>,
}

impl ReadBody {
    /// The body of a request that has none.
    pub(super) const EMPTY: Self = Self { bytes: Bytes::new(), _held: None };
}

/// Reads `body`, whose memory counts for `key`.
///
/// # Errors
/// Too large (by its `Content-Length` or by the bytes themselves), too slow, broken off, of an unknown
/// coding; or there is no memory for it in time.
pub(super) async fn read(
    body: impl Incoming,
    headers: &HeaderFields,
    limits: Intake,
    (memory, key): (&BodyMemory, &Arc<str>),
) -> Result<ReadBody, Box<Refusal>> {
    let limit = limits.body_size;
    let coding = match headers.contains("content-encoding") {
        true => Coding::of(headers).map_err(|_| unknown_coding())?,
        false => None,
    };
    // The `Content-Length` as the server has checked it.
    let declared = usize::try_from(body.size_hint().exact().unwrap_or(0)).unwrap_or(usize::MAX);
    if declared > limit {
        return Err(too_large(limit).into());
    }
    let mut reader = BodyReader { body, limits, declared, waits_for: Cell::new(None) };
    let first = match reader.poll_now().await {
        Some(outcome) => outcome?,
        None => return reader.within(Bytes::new(), coding, memory.open(key)).await,
    };
    if reader.body.is_end_stream() && coding.is_none() {
        return Ok(ReadBody { bytes: first, _held: None });
    }
    reader.within(first, coding, memory.open(key)).await
}

struct BodyReader<B> {
    body: B,
    limits: Intake,
    /// The length that the head declares.
    declared: usize,
    /// The bound of memory for which it waits. `None`: it waits for the client.
    waits_for: Cell<Option<BodyBound>>,
}

impl<B: Incoming> BodyReader<B> {
    /// The first frame, if it is here already, so that no timer is needed. `None`: it is not.
    async fn poll_now(&mut self) -> Option<Result<Bytes, Fault>> {
        poll_fn(|cx| {
            Poll::Ready(match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(frame) => Some(self.accept(frame, 0)),
                Poll::Pending => None,
            })
        })
        .await
    }

    /// The rest after `first`, decoded, under the body's timeout.
    async fn within(
        &mut self,
        first: Bytes,
        coding: Option<Coding>,
        mut held: HeldBody,
    ) -> Result<ReadBody, Box<Refusal>> {
        let time = self.limits.body_timeout;
        let reading = async {
            let bytes = self.rest(first, &mut held).await?;
            let bytes = match coding {
                Some(coding) => self.decoded(coding, bytes, &mut held).await?,
                None => bytes,
            };
            held.finish();
            Ok(bytes)
        };
        match timeout(time, Box::pin(reading)).await {
            Ok(Ok(bytes)) => Ok(ReadBody { bytes, _held: Some(held) }),
            Ok(Err(refusal)) => Err(refusal),
            Err(_) => Err(self.late()),
        }
    }

    async fn rest(&mut self, first: Bytes, held: &mut HeldBody) -> Result<Bytes, Fault> {
        let bounds = self.limits.bounds;
        held.grow(first.len(), &bounds, |bound| self.waits_for.set(bound)).await;
        let mut whole = BytesMut::with_capacity(self.declared.min(MAX_RESERVE).max(first.len()));
        whole.extend_from_slice(&first);
        drop(first);
        while !self.body.is_end_stream() {
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await;
            if frame.is_none() {
                break;
            }
            let part = self.accept(frame, whole.len())?;
            held.grow(part.len(), &bounds, |bound| self.waits_for.set(bound)).await;
            if whole.capacity() - whole.len() < part.len() {
                // Pages that have not been written to are not in memory.
                whole.reserve(self.declared.saturating_sub(whole.len()).max(part.len()));
            }
            whole.extend_from_slice(&part);
        }
        Ok(whole.freeze())
    }

    async fn decoded(
        &self,
        coding: Coding,
        coded: Bytes,
        held: &mut HeldBody,
    ) -> Result<Bytes, Box<Refusal>> {
        let (limit, bounds) = (self.limits.body_size, self.limits.bounds);
        let grow = async |bytes: usize| held.grow(bytes, &bounds, |bound| self.waits_for.set(bound)).await;
        let decoded = decode::decode(coding, &coded, limit, grow).await.map_err(|error| match error {
            CodedBodyError::TooLarge => too_large(limit).into(),
            CodedBodyError::Broken => {
                let message = "the body is not of the coding that its content-encoding names";
                Refusal::request(400, "invalid_request", message)
            }
        })?;
        held.shrink(coded.len());
        Ok(decoded)
    }

    fn accept(&self, frame: Option<Result<Frame<Bytes>, io::Error>>, before: usize) -> Result<Bytes, Fault> {
        let bytes = match frame {
            None => Bytes::new(),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Fault::client(Stage::Intake, FaultKind::Gone));
            }
            Some(Err(_)) => {
                return Err(Fault::client(Stage::Intake, FaultKind::Garbage("bad request body".into())));
            }
        };
        let limit = self.limits.body_size;
        if before + bytes.len() > limit { Err(too_large(limit)) } else { Ok(bytes) }
    }

    /// The body has not arrived in time.
    fn late(&self) -> Box<Refusal> {
        let mut refusal = match self.waits_for.get() {
            None => {
                let kind = FaultKind::Timeout(DeadlineKind::Body, self.limits.body_timeout);
                return Fault::client(Stage::Intake, kind).into();
            }
            Some(BodyBound::Key) => {
                let message =
                    "the bodies of this API key's other requests fill the memory that a key may use";
                Refusal::request(429, "rate_limit_exceeded", message).of(Some("body_memory"))
            }
            Some(BodyBound::All) => {
                let message = "the bodies of other requests fill the memory for bodies";
                Refusal::gateway(503, "body_memory_full", message)
            }
        };
        refusal.retry_after = Some(RETRY_AFTER);
        refusal
    }
}

fn too_large(limit: usize) -> Fault {
    Fault::client(Stage::Intake, FaultKind::TooLarge { limit: limit as u64 })
}

fn unknown_coding() -> Box<Refusal> {
    let message = format!("the body's content-encoding is not understood; these are: {}", CODINGS);
    Refusal::request(415, "unsupported_content_encoding", message)
}
