//! A provider's answer that is an error: its first bytes are read for its class, and the rest can still be
//! given to the client, or dropped for another candidate.

use std::{future::poll_fn, time::SystemTime};

use bytes::Bytes;
use http::StatusCode;
use tokio::time::{Duration, Instant, timeout_at};

use super::{
    answer::Answer,
    attempt_result::{AttemptError, ErrorResponse, ErrorRest, Success},
    classify,
    failures::is_code,
    fault::Refusal,
    limit_headers,
    request_context::RequestContext,
    secret_mask::{SecretMask, Within},
    snapshot::Provider,
};
use crate::{
    base::{ByteList, Fault, FaultKind, HeaderFields, Moment, Sent, Stage},
    relay::{CommitPoint, collect::CollectedFrames},
    routing::{FailureClass, retry_after},
    upstream::{self, Deadline, Target},
    wire::{WireError, provider_error},
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
                self.endpoint.dialect().is_error_body(&response.text)
            }
            AttemptError::Error(_) | AttemptError::Fault(_) | AttemptError::Untranslated(_) => true,
        }
    }

    /// The error for the client: an error object as it came, anything else in the gateway's shape. Where the
    /// body breaks off, status and headers alone are still of use.
    ///
    /// # Errors
    /// There is no answer to pass on, or the error is about the gateway's own key.
    pub(super) async fn pass_error(
        &self,
        error: AttemptError,
        class: FailureClass,
        provider: &Provider,
    ) -> Result<Box<Success>, Box<Refusal>> {
        let ErrorResponse { mut status, mut headers, times, rest, deadline, text, translation } = match error
        {
            AttemptError::Fault(fault) => return Err(fault.into()),
            AttemptError::Untranslated(untranslated) => return Err(untranslated.refusal),
            AttemptError::Error(response) => *response,
        };
        let is_about_key = !status.is_success() && classify::is_about_key(status.as_u16(), class, &text);
        if class == FailureClass::RateLimited && !retry_after::is_readable(&headers) {
            // Codex gives up at once without one. If the provider says nothing in any form, the candidate's
            // rest is the best estimate there is.
            let said = retry_after::from_response(&headers, &text, true, SystemTime::now());
            limit_headers::write_retry(&mut headers, said.unwrap_or_else(|| class.consequence().rest));
        }
        let body = match rest {
            ErrorRest::Coming(before, mut body) => {
                let soon = Deadline { at: self.within(ERROR_REST_TIMEOUT, deadline.at), ..deadline };
                let mut frames = CollectedFrames::behind(before);
                self.collect(&mut body, &mut frames, soon).await.ok().map(|()| frames.take())
            }
            ErrorRest::Here(body) => Some(body),
            ErrorRest::Broken => None,
            // A configured wait for the first content asks for a status in place of a stream of one error.
            ErrorRest::Stream(_) if self.configured_commit() == Some(CommitPoint::FirstContent) => {
                return Err(Fault::provider(Stage::FirstToken, FaultKind::ErrorEvent, Sent::Some).into());
            }
            ErrorRest::Stream(stream) => {
                return Ok(Success::of(Answer::Stream(status, headers, stream), times));
            }
        };
        let body = body.map(|body| provider.secrets.mask(body, Within::Error));
        if is_about_key {
            let words = body.map(|body| provider_error::words(&body.join())).unwrap_or_default();
            // The words are decoded, and may hold what the bytes did not.
            let words = provider.secrets.mask_words(words);
            let Target { name, .. } = &*provider.target;
            return Err(Refusal::key_refused(name, provider.target.has_credential(), &words));
        }
        let body = match (translation, body) {
            (Some(translation), Some(body)) if !headers.contains("content-encoding") => {
                let (translated, body) = translation.error(status.as_u16(), &body.join(), wait_of(&headers));
                status = StatusCode::from_u16(translated).unwrap_or(status);
                headers.insert("content-type", "application/json");
                Some(provider.secrets.mask(body, Within::Error))
            }
            (_, body) => body,
        };
        let answer = match body {
            Some(body) if status.is_success() => Answer::Failed(status, headers, body),
            Some(body) if headers.contains("content-encoding") => Answer::Whole(status, headers, body),
            Some(body) => {
                let text = body.join();
                if provider_error::is_error_object(&text) {
                    Answer::Whole(status, headers, body)
                } else {
                    self.in_own_shape(status, headers, class, &text, &provider.secrets)
                }
            }
            None => self.without_text(status, headers),
        };
        Ok(Success::of(answer, times))
    }

    /// `timeout` from now, but not after `at` or the client's deadline.
    fn within(&self, timeout: Duration, at: Instant) -> Instant {
        let now = Instant::now();
        let own = self.deadline.map_or(at, |deadline| now + deadline.since(Moment::now()));
        at.min(now + timeout).min(own)
    }

    /// An error whose text is no error object of the APIs, in the gateway's shape: clients look for its words
    /// and its code there.
    fn in_own_shape(
        &self,
        status: StatusCode,
        headers: HeaderFields,
        class: FailureClass,
        text: &[u8],
        secrets: &SecretMask,
    ) -> Answer {
        let words = secrets.mask_words(provider_error::words(text));
        let separator = if words.is_empty() { "" } else { ": " };
        let message = format!("the provider answered {}{separator}{words}", status.as_u16());
        let error = provider_error::read(text);
        let known = [
            (FailureClass::ContextTooLong, "context_length_exceeded"),
            (FailureClass::RateLimited, "rate_limit_exceeded"),
        ];
        let known = known.into_iter().find_map(|(of, code)| (of == class).then_some(code));
        let code = known.or_else(|| [error.code, error.kind].into_iter().flatten().find(is_code));
        self.own_error(status, headers, &message, code)
    }

    /// An error without the provider's text, with one of the gateway's own.
    fn without_text(&self, status: StatusCode, headers: HeaderFields) -> Answer {
        let message = format!("the provider answered {}; what it said of it broke off", status.as_u16());
        self.own_error(status, headers, &message, None)
    }

    fn own_error(
        &self,
        status: StatusCode,
        mut headers: HeaderFields,
        message: &str,
        code: Option<&str>,
    ) -> Answer {
        let kind = Refusal::kind_of(status.as_u16());
        let code = code.or(Some("upstream_status"));
        let error = WireError {
            status: status.as_u16(),
            kind,
            message,
            param: None,
            code,
            retry_after: wait_of(&headers),
        };
        for other in ["content-encoding", "content-language", "content-disposition"] {
            headers.remove(other);
        }
        headers.insert("content-type", "application/json");
        Answer::Whole(status, headers, self.endpoint.dialect().error_body(&error).into())
    }
}

/// When to come again, by the header's whole seconds. `None`: it says no such thing.
fn wait_of(headers: &HeaderFields) -> Option<Duration> {
    headers.text("retry-after")?.parse().ok().map(Duration::from_secs)
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
