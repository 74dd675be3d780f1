//! A provider's answer on its way to the client: which of its headers pass, and whether its body is relayed as a stream
//! or given whole.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::upstream::head::{is_hop_by_hop, named_by_connection};

/// How a body travels down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// Server-sent events.
    Events,
    /// Some other body that is produced as it goes.
    Frames,
    /// Collected first.
    Whole,
}

/// How an answer with these headers travels, if a stream was asked for or not.
#[must_use]
pub fn carriage(headers: &HeaderMap, stream_asked: bool) -> BodyKind {
    let is = |wanted| is_of_type(headers, wanted);
    let plain = !headers.contains_key(header::CONTENT_ENCODING);
    if is(b"text/event-stream") && plain {
        BodyKind::Events
    } else if stream_asked && !is(b"application/json") {
        BodyKind::Frames
    } else {
        BodyKind::Whole
    }
}

/// A web page: what a proxy or a portal in between says, under whatever status.
#[must_use]
pub fn is_page(headers: &HeaderMap) -> bool {
    is_of_type(headers, b"text/html")
}

fn is_of_type(headers: &HeaderMap, wanted: &[u8]) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    content_type.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted))
}

/// What `Content-Length` says of a body.
#[must_use]
pub fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Takes out what concerns only the provider's connection or its own site; the rest passes as it came (R33).
pub fn pass_down(headers: &mut HeaderMap) {
    let named: Vec<String> = named_by_connection(headers).map(str::to_ascii_lowercase).collect();
    for name in &named {
        headers.remove(name.as_str());
    }
    let stays: Vec<HeaderName> =
        headers.keys().filter(|name| is_hop_by_hop(name) || is_of_the_site(name)).cloned().collect();
    for name in &stays {
        headers.remove(name);
    }
}

/// Says who answered, and after how many attempts.
pub fn sign(headers: &mut HeaderMap, provider: Option<&str>, attempts: u8) {
    if let Some(name) = provider.and_then(|name| HeaderValue::from_str(name).ok()) {
        headers.insert(HeaderName::from_static("x-thalweg-provider"), name);
    }
    headers.insert(HeaderName::from_static("x-thalweg-attempts"), HeaderValue::from(u16::from(attempts)));
}

/// What a provider's web front says of itself, and the framing that we do anew.
fn is_of_the_site(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-length"
            | "set-cookie"
            | "alt-svc"
            | "strict-transport-security"
            | "server-timing"
            | "x-request-id"
            | "nel"
            | "report-to"
    ) || name.as_str().starts_with("access-control-")
}

/// What keeps proxies in front of us from holding an event stream back (R1).
pub fn forbid_buffering(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(content_type: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))])
    }

    #[test]
    fn the_content_type_decides_how_a_body_travels() {
        for (content_type, stream_asked, carried) in [
            ("text/event-stream", true, BodyKind::Events),
            ("text/event-stream; charset=utf-8", false, BodyKind::Events),
            ("Text/Event-Stream;charset=UTF-8", true, BodyKind::Events),
            ("application/json", true, BodyKind::Whole),
            ("application/x-ndjson", true, BodyKind::Frames),
            ("application/x-ndjson", false, BodyKind::Whole),
            ("", true, BodyKind::Frames),
        ] {
            assert_eq!(carriage(&headers(content_type), stream_asked), carried, "{content_type}");
        }
        let mut compressed = headers("text/event-stream");
        compressed.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(carriage(&compressed, true), BodyKind::Frames);
    }
}
