//! Edits a request body as slices of the original around a few new bytes: nothing is copied or serialised
//! again, so unknown fields, number formats, spacing and key order survive.
//!
//! The result is valid JSON and equals the original except for the edits. With an envelope of other bytes the
//! result is meaningless, but there is no panic.

use std::ops::Range;

use bytes::Bytes;

use super::envelope::{Envelope, GatewayMember, StreamOptions, StreamOptionsSpan};
use crate::base::ByteList;

/// The edits to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edits<'a> {
    /// The model's new name.
    pub model: Option<&'a str>,
    /// Remove the members that only the gateway reads: `x_use_asgi_streaming` and `models`.
    pub drop_gateway_members: bool,
    /// Add `"stream_options":{"include_usage":true}`, in place of the client's value if there is one.
    /// Providers accept it on streams only.
    pub request_usage: bool,
}

/// `body` with `edits` applied. `envelope` must have been read from the same bytes.
#[must_use]
pub fn splice(body: &Bytes, envelope: &Envelope, edits: &Edits<'_>) -> ByteList {
    let spans = &envelope.spans;
    let rename = edits.model.filter(|name| !envelope.names(name));
    if rename.is_none() && !edits.request_usage && spans.asgi.is_none() && spans.models.is_none() {
        return body.clone().into();
    }
    let rename = match (rename, &spans.model, &spans.models) {
        (Some(name), Some(span), _) => Some((span.clone(), quoted(name))),
        (Some(name), None, None) => Some(added_model(body, spans.close, name)),
        (Some(_), None, Some(_)) | (None, _, _) => None,
    };
    let (models, model_for_models) = match &spans.model {
        Some(_) => (spans.models.as_ref(), None),
        None => (None, spans.models.as_ref().filter(|_| edits.drop_gateway_members || edits.model.is_some())),
    };
    let model_for_models = model_for_models.map(|gateway_member| {
        let name = quoted(edits.model.unwrap_or_else(|| envelope.model()));
        (gateway_member.span.clone(), [b"\"model\":", &name[..]].concat().into())
    });
    let [asgi, models] =
        if edits.drop_gateway_members { removals([spans.asgi.as_ref(), models]) } else { [None, None] };
    let usage_option =
        if edits.request_usage { request_usage(&spans.stream_options, spans.close) } else { None };
    let removal = |span: Option<Range<usize>>| span.map(|span| (span, Bytes::new()));
    let mut changes = [rename, model_for_models, removal(asgi), removal(models), usage_option];
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

/// The edit that names the model in a body without one.
fn added_model(body: &Bytes, close: usize, name: &str) -> (Range<usize>, Bytes) {
    let before = body.get(..close).unwrap_or_default().trim_ascii_end();
    let comma = if before.ends_with(b"{") { "" } else { "," };
    (close..close, format!("{comma}\"model\":{}", serde_json::Value::from(name)).into())
}

/// The spans to remove so that the object stays valid: each member and one comma. Members at the beginning of
/// the object go with the comma after them, all others with the comma before.
fn removals(mut members: [Option<&GatewayMember>; 2]) -> [Option<Range<usize>>; 2] {
    members.sort_by_key(|member| member.map(|member| member.span.start));
    let mut opening = None;
    members.map(|member| {
        let GatewayMember { span, before, after } = member?;
        if *before == opening {
            opening = *after;
            return Some(span.start..after.map_or(span.end, |comma| comma + 1));
        }
        Some(before.unwrap_or(span.start)..span.end)
    })
}

/// The edit that makes the provider report usage: the span to replace and the new bytes. `None`: it does.
fn request_usage(options: &StreamOptions, close: usize) -> Option<(Range<usize>, Bytes)> {
    let (span, text): (_, &'static [u8]) = match options {
        // A body has a model by now, so there is a member before this one.
        StreamOptions::Absent => (close..close, br#","stream_options":{"include_usage":true}"#),
        StreamOptions::Null(span) => (span.clone(), br#"{"include_usage":true}"#),
        StreamOptions::Object(StreamOptionsSpan {
            include_usage: Some((None | Some(false), span)), ..
        }) => (span.clone(), b"true"),
        StreamOptions::Object(StreamOptionsSpan { include_usage: Some((Some(true), _)), .. }) => return None,
        StreamOptions::Object(StreamOptionsSpan { include_usage: None, empty: true, close }) => {
            (*close..*close, br#""include_usage":true"#)
        }
        StreamOptions::Object(StreamOptionsSpan { include_usage: None, empty: false, close }) => {
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
