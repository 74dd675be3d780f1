//! One request and its whole answer, observed frame by frame. Dropping the future closes the connection. The
//! body has no deadline here: the caller limits the whole exchange.

use std::{cell::RefCell, future::poll_fn, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode};

use super::{
    clock::LoadInstant,
    observer::{Observer, Recorder, StreamOutcome},
};
use crate::{
    base::{DeadlineKind, Fault, HeaderFields},
    upstream::{Deadline, JSON, Request, Target, Upstream},
    wire::Dialect,
};

/// A request to measure.
#[derive(Clone, Debug)]
pub struct LoadRequest<'a> {
    pub target: &'a Target,
    pub dialect: Dialect,
    /// Below the target's base URL.
    pub path: &'a str,
    pub headers: &'a HeaderFields,
    pub body: Bytes,
    /// From sending to the response head.
    pub first_token_timeout: Duration,
    /// Whether the request asks for a stream.
    pub stream: bool,
}

/// A whole answer. Its frames were observed only if the status is a success.
#[derive(Clone, Copy, Debug)]
pub struct LoadResponse {
    pub status: StatusCode,
    /// Time spent waiting for the pool and connecting.
    pub connected_after: Duration,
    pub outcome: StreamOutcome,
}

impl LoadRequest<'_> {
    /// Sends the request and records the answer; times count from `from`. `recorder` is not borrowed across
    /// an await.
    ///
    /// # Errors
    /// The fault that ended the exchange before the answer was complete.
    pub async fn perform(
        self,
        upstream: &Upstream,
        from: LoadInstant,
        recorder: &RefCell<impl Recorder>,
    ) -> Result<LoadResponse, Fault> {
        let accept = if self.stream { "text/event-stream" } else { "application/json" };
        let request = Request {
            method: Method::POST,
            path: self.path,
            headers: self.headers,
            accept,
            content_type: JSON,
        };
        let deadline = Deadline::new(DeadlineKind::FirstToken, self.first_token_timeout);
        let mut response = upstream.send(self.target, &request, self.body.into(), deadline).await?;
        recorder.borrow_mut().head(LoadInstant::now().since(from), response.status);
        let is_good = response.status.is_success();
        // A provider may stream without being asked to.
        let kind = response.headers.get("content-type").unwrap_or_default();
        let is_stream = self.stream || kind.starts_with(b"text/event-stream");
        let mut observer = Observer::new(self.dialect, from, is_stream);
        while let Some(frame) = poll_fn(|cx| response.body.poll_frame(cx)).await {
            let frame = frame?;
            if is_good {
                observer.observe(LoadInstant::now(), &frame, &mut *recorder.borrow_mut())?;
            }
        }
        Ok(LoadResponse {
            status: response.status,
            connected_after: response.connected_after,
            outcome: observer.finish(LoadInstant::now(), &mut *recorder.borrow_mut()),
        })
    }
}
