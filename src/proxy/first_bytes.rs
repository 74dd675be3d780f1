//! The first bytes of a body whose label is not of what was requested: they decide whether it has events,
//! because some servers label everything `application/json`, `text/plain` or `text/event-stream`.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use tokio::time::timeout_at;

use super::{attempt_result::AttemptError, request_context::RequestContext, response_headers::BodyKind};
use crate::{
    base::{DeadlineKind, Fault, FaultKind, HeaderFields, Sent, Stage},
    upstream::{self, Deadline},
    wire::BYTE_ORDER_MARK,
};

/// Bytes of white space in front of the first field, after which a body counts as one without events.
const MAX_BLANK: usize = 256;
/// How long a stream that was not requested may be without a byte.
const MISLABELLED_TIMEOUT: Duration = Duration::from_secs(5);
/// Beginnings of a line of an event stream.
const FIELDS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];

impl RequestContext<'_> {
    /// The first bytes of a body whose label is not of what was requested, and its kind by them. Events are
    /// labelled as such, and so is a document in place of events.
    pub(super) async fn read_first(
        &self,
        body: &mut upstream::Body,
        headers: &mut HeaderFields,
        announced: BodyKind,
        deadline: Deadline,
    ) -> Result<(Bytes, BodyKind), AttemptError> {
        let deadline = if self.streams || self.is_sole {
            deadline
        } else {
            // Another candidate is asked before the time for a whole answer has passed.
            Deadline::new(DeadlineKind::FirstToken, MISLABELLED_TIMEOUT)
        };
        let (bytes, has_events) = read(body, deadline).await.map_err(AttemptError::Fault)?;
        if has_events {
            headers.insert("content-type", "text/event-stream");
            return Ok((bytes, BodyKind::Events));
        }
        if bytes.is_empty() && self.streams && self.endpoint.is_main() {
            let kind = FaultKind::Empty("nothing");
            return Err(AttemptError::Fault(Fault::provider(Stage::FirstToken, kind, Sent::Some)));
        }
        // One document, or lines of them.
        let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes).trim_ascii_start();
        if !matches!(text.first(), Some(b'{' | b'[')) || !self.endpoint.is_main() {
            return Ok((bytes, announced));
        }
        if announced == BodyKind::Events {
            headers.insert("content-type", "application/json");
        }
        Ok((bytes, BodyKind::Whole))
    }
}

/// The first frames of `body`, as many as are needed to decide, and whether it has events.
///
/// # Errors
/// The body broke off, or the deadline passed.
async fn read(body: &mut upstream::Body, deadline: Deadline) -> Result<(Bytes, bool), Fault> {
    let reading = async {
        let mut first = Bytes::new();
        loop {
            if let Some(is_events) = are_events(&first) {
                return Ok((first, is_events));
            }
            let Some(frame) = poll_fn(|cx| body.poll_frame(cx)).await else { return Ok((first, false)) };
            first = match first.is_empty() {
                true => frame?,
                false => [first, frame?].concat().into(),
            };
        }
    };
    timeout_at(deadline.at, reading)
        .await
        .unwrap_or_else(|_| Err(Fault { sent: Sent::Some, ..deadline.fault(Stage::FirstToken) }))
}

/// Whether a body that begins so is an event stream (HTML standard, section 9.2.5). `None`: more bytes
/// decide.
fn are_events(bytes: &[u8]) -> Option<bool> {
    if BYTE_ORDER_MARK.starts_with(bytes) {
        return None;
    }
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes).trim_ascii_start();
    if FIELDS.iter().any(|field| text.starts_with(field)) {
        return Some(true);
    }
    let may_follow = FIELDS.iter().any(|field| field.starts_with(text)) && bytes.len() <= MAX_BLANK;
    (!may_follow).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_bytes_decide() {
        for (bytes, are) in [
            ("data: {}", Some(true)),
            ("\u{feff}\r\n\n event: x", Some(true)),
            (": ping", Some(true)),
            ("id:1", Some(true)),
            ("retry:", Some(true)),
            ("", None),
            ("\n \n", None),
            ("dat", None),
            ("retr", None),
            ("{\"id\":1}", Some(false)),
            (" [", Some(false)),
            ("date:", Some(false)),
            ("idle", Some(false)),
            ("<html>", Some(false)),
        ] {
            assert_eq!(are_events(bytes.as_bytes()), are, "{bytes:?}");
        }
        assert_eq!(are_events(b"\xef"), None);
        assert_eq!(are_events(&[b' '; MAX_BLANK + 1]), Some(false));
    }
}
