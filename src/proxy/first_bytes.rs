//! The first bytes of a body whose label is not of what was requested: they decide whether it has events,
//! because some servers label everything `application/json`, `text/plain` or `text/event-stream`.

use std::future::poll_fn;

use bytes::Bytes;
use tokio::time::timeout_at;

use crate::{
    base::{Fault, Sent, Stage},
    upstream::{self, Deadline},
    wire::BYTE_ORDER_MARK,
};

/// Bytes of white space in front of the first field, after which a body counts as one without events.
const MAX_BLANK: usize = 256;
/// Beginnings of a line of an event stream.
const FIELDS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];

/// The first frames of `body`, as many as are needed to decide, and whether it has events.
///
/// # Errors
/// The body broke off, or the deadline passed.
pub(super) async fn read(body: &mut upstream::Body, deadline: Deadline) -> Result<(Bytes, bool), Fault> {
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
