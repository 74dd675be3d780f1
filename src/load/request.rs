//! One request and its whole answer, heard frame by frame as it comes. Dropping the future closes the connection. It
//! sets no deadline on the body: who calls it bounds the whole.

use std::{cell::RefCell, future::poll_fn, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_TYPE};

use super::{
    clock::LoadInstant,
    observer::{Observer, Recorder, StreamOutcome},
};
use crate::{
    base::{DeadlineKind, Fault},
    upstream::{Deadline, Request, Target, Upstream},
    wire::Dialect,
};

/// What is asked of whom.
#[derive(Clone, Debug)]
pub struct LoadRequest<'a> {
    pub target: &'a Target,
    pub dialect: Dialect,
    /// Below the target's base URL.
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    pub body: Bytes,
    /// From sending to the response head.
    pub first_token_timeout: Duration,
    /// Whether a stream is asked for.
    pub stream: bool,
}

/// A whole answer. Only one with a status of success was listened to.
#[derive(Clone, Copy, Debug)]
pub struct LoadResponse {
    pub status: StatusCode,
    /// Time spent waiting for the pool and connecting.
    pub connected_after: Duration,
    pub hearing: StreamOutcome,
}

impl LoadRequest<'_> {
    /// Asks, and takes notes of the answer; times count from `from`. No borrow of `notes` is held while waiting.
    ///
    /// # Errors
    /// Whatever ended the exchange before the answer was complete.
    pub async fn perform(
        self,
        upstream: &Upstream,
        from: LoadInstant,
        notes: &RefCell<impl Recorder>,
    ) -> Result<LoadResponse, Fault> {
        let accept = if self.stream { "text/event-stream" } else { "application/json" };
        let request = Request { method: Method::POST, path: self.path, headers: self.headers, accept };
        let deadline = Deadline::new(DeadlineKind::FirstToken, self.first_token_timeout);
        let mut response = upstream.send(self.target, &request, self.body.into(), deadline).await?;
        notes.borrow_mut().head(LoadInstant::now().since(from), response.status);
        let is_good = response.status.is_success();
        // A provider may stream though it was not asked to.
        let kind = response.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let is_stream = self.stream || kind.starts_with(b"text/event-stream");
        let mut ear = Observer::new(self.dialect, from, is_stream);
        while let Some(frame) = poll_fn(|cx| response.body.poll_frame(cx)).await {
            let frame = frame?;
            if is_good {
                ear.hear(LoadInstant::now(), &frame, &mut *notes.borrow_mut())?;
            }
        }
        Ok(LoadResponse {
            status: response.status,
            connected_after: response.connected_after,
            hearing: ear.finish(LoadInstant::now(), &mut *notes.borrow_mut()),
        })
    }
}
