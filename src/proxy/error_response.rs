//! A provider's answer that is an error: its first bytes are read for its class, and the rest can still be
//! given to the client, or dropped for another candidate.

use std::future::poll_fn;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER},
};
use tokio::time::{Duration, Instant, timeout_at};

use super::{
    answer::Answer,
    attempt_result::{AttemptError, ErrorResponse, ErrorRest, Success},
    fault::Refusal,
    limit_headers,
    request_context::RequestContext,
};
use crate::{
    base::{ByteList, Fault, FaultKind, Moment, Sent, Stage},
    relay::CommitPoint,
    routing::FailureClass,
    upstream::{self, Deadline},
};

/// Bytes of an error that are read for its class (S1.3).
const MAX_ERROR_START: usize = 1024;
/// Timeout of these bytes: the status line has already shown that the answer is an error.
const ERROR_START_TIMEOUT: Duration = Duration::from_millis(250);
/// Timeout of the rest, if the error is the client's.
const ERROR_REST_TIMEOUT: Duration = Duration::from_secs(5);

impl RequestContext<'_> {
    /// Whether the client understands the error as it came. A path that a provider lacks is answered by its
    /// web server, in another form than the API's, or in the form of another dialect.
    pub(super) fn understands(&self, class: FailureClass, error: &AttemptError) -> bool {
        match error {
            AttemptError::Error(response) if class == FailureClass::EndpointMissing => {
                self.dialect.is_error_body(&response.text)
            }
            AttemptError::Error(_) | AttemptError::Fault(_) => true,
        }
    }

    /// The error as it came, for the client. A body that breaks off is replaced, because status and headers
    /// alone are still of use.
    ///
    /// # Errors
    /// There is no answer to pass on.
    pub(super) async fn pass_error(
        &self,
        error: AttemptError,
        class: FailureClass,
    ) -> Result<Success, Fault> {
        let ErrorResponse { status, mut headers, times, rest, deadline, .. } = match error {
            AttemptError::Fault(fault) => return Err(fault),
            AttemptError::Error(response) => *response,
        };
        if class == FailureClass::RateLimited && !headers.contains_key(RETRY_AFTER) {
            // Codex gives up at once without one. The candidate's rest is the best estimate there is.
            limit_headers::write_retry(&mut headers, class.consequence().rest);
        }
        let answer = match rest {
            ErrorRest::Coming(before, body) => {
                let soon = Deadline { at: self.within(ERROR_REST_TIMEOUT, deadline.at), ..deadline };
                match self.collect(body, before, soon).await {
                    Ok(body) => Answer::Whole(status, headers, body),
                    Err(_) => self.without_text(status, headers),
                }
            }
            ErrorRest::Here(body) => Answer::Whole(status, headers, body),
            ErrorRest::Broken => self.without_text(status, headers),
            // A configured wait for the first content asks for a status in place of a stream of one error.
            ErrorRest::Stream(_) if self.configured_commit() == Some(CommitPoint::FirstContent) => {
                return Err(Fault::provider(Stage::FirstToken, FaultKind::ErrorEvent, Sent::Some));
            }
            ErrorRest::Stream(stream) => Answer::Stream(status, headers, stream),
        };
        Ok(Success { answer, times })
    }

    /// `timeout` from now, but not after `at` or the client's deadline.
    fn within(&self, timeout: Duration, at: Instant) -> Instant {
        let now = Instant::now();
        let own = self.deadline.map_or(at, |deadline| now + deadline.since(Moment::now()));
        at.min(now + timeout).min(own)
    }

    /// An error without the provider's text, with one of the gateway's own.
    fn without_text(&self, status: StatusCode, mut headers: HeaderMap) -> Answer {
        let message = format!("the provider answered {}; what it said of it broke off", status.as_u16());
        let mut refusal = Refusal::request(status.as_u16(), "upstream_status", message);
        if status.is_server_error() {
            refusal.kind = "server_error";
        }
        headers.remove(CONTENT_ENCODING);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Answer::Whole(status, headers, refusal.body(self.dialect).into())
    }
}

/// The first bytes of an error's body, as far as they come in time.
pub(super) async fn read_error_start(mut body: upstream::Body, deadline: Deadline) -> (Bytes, ErrorRest) {
    let mut list = ByteList::new();
    let soon = deadline.at.min(Instant::now() + ERROR_START_TIMEOUT);
    let reading = async {
        while list.len() < MAX_ERROR_START && !body.is_done() {
            match poll_fn(|cx| body.poll_frame(cx)).await {
                Some(frame) => list.push(frame?),
                None => return Ok(true),
            }
        }
        Ok(body.is_done())
    };
    let ended: Result<bool, Fault> = timeout_at(soon, reading).await.unwrap_or(Ok(false));
    let mut text = list.join();
    text.truncate(MAX_ERROR_START);
    let rest = match ended {
        Ok(true) => ErrorRest::Here(list),
        Ok(false) => ErrorRest::Coming(list, body),
        Err(_broken) => ErrorRest::Broken,
    };
    (text, rest)
}
