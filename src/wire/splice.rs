//! Edits of a request body as slices of the original around a few new bytes: nothing is copied or serialised again, so
//! unknown fields, number formats, spacing and key order survive.
//!
//! The result is valid JSON and equals the original but for what was asked. Given without the envelope read from the
//! same bytes, it is some list of bytes, never a panic.

use std::ops::Range;

use bytes::Bytes;

use super::envelope::{Envelope, Options, StreamOptions};
use crate::base::ByteList;

/// What to change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edits<'a> {
    /// The model's new name.
    pub model: Option<&'a str>,
    /// Take `x_use_asgi_streaming` out, if it is there.
    pub drop_asgi: bool,
    /// Put `"stream_options":{"include_usage":true}` in, unless the client said true or false itself. Providers accept
    /// it on streams only.
    pub ask_usage: bool,
}

/// `body` with `edits` made. `envelope` must have been read from the same bytes.
#[must_use]
pub fn splice(body: &Bytes, envelope: &Envelope, edits: &Edits<'_>) -> ByteList {
    let spans = &envelope.spans;
    let rename = edits.model.filter(|name| *name != envelope.model());
    let rename = rename.map(|name| (spans.model.clone(), quoted(name)));
    let drop = spans.asgi.clone().filter(|_| edits.drop_asgi).map(|cut| (cut, Bytes::new()));
    let ask = if edits.ask_usage { ask_usage(&spans.stream_options, spans.close) } else { None };
    let mut changes = [rename, drop, ask];
    changes.sort_by_key(|change| change.as_ref().map(|(span, _)| span.start));

    let mut list = ByteList::new();
    let mut at = 0;
    for (span, replacement) in changes.into_iter().flatten() {
        list.push(slice(body, at..span.start));
        list.push(replacement);
        at = span.end;
    }
    list.push(slice(body, at..body.len()));
    list
}

/// Where and what to write so that the provider tells its usage.
fn ask_usage(options: &StreamOptions, close: usize) -> Option<(Range<usize>, Bytes)> {
    let (span, text): (_, &'static [u8]) = match options {
        // A body always has its model, so there is a member before this one.
        StreamOptions::Absent => (close..close, br#","stream_options":{"include_usage":true}"#),
        StreamOptions::Null(span) => (span.clone(), br#"{"include_usage":true}"#),
        StreamOptions::Object(Options { include_usage: Some((None, span)), .. }) => (span.clone(), b"true"),
        StreamOptions::Object(Options { include_usage: Some((Some(_), _)), .. }) => return None,
        StreamOptions::Object(Options { include_usage: None, empty: true, close }) => {
            (*close..*close, br#""include_usage":true"#)
        }
        StreamOptions::Object(Options { include_usage: None, empty: false, close }) => {
            (*close..*close, br#","include_usage":true"#)
        }
    };
    Some((span, Bytes::from_static(text)))
}

fn quoted(name: &str) -> Bytes {
    serde_json::Value::from(name).to_string().into()
}

fn slice(body: &Bytes, span: Range<usize>) -> Bytes {
    if span.start <= span.end && span.end <= body.len() { body.slice(span) } else { Bytes::new() }
}
