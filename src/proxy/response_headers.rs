//! The headers of a provider's response: those that pass to the client, and the kind of body that they
//! announce.

use http::StatusCode;

use super::encode;
use crate::{
    base::{Endpoint, Fault, FaultKind, HeaderFields, Sent, Stage, field_number},
    upstream::{ForwardedHeaders, head::named_by_connection},
};

/// Characters of a redirection's target that an error shows.
const MAX_LOCATION: usize = 200;
/// The number of attempts, by which another thalweg knows this one.
pub(super) const ATTEMPTS: &str = "x-thalweg-attempts";

/// How a body is passed to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// Server-sent events.
    Events,
    /// Another body, relayed as it comes.
    Frames,
    /// Collected before any of it leaves.
    Whole,
}

/// A body as its headers announce it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AnnouncedBody {
    pub(super) kind: BodyKind,
    /// A web page, as a proxy or a portal in between sends it, under any status.
    pub(super) is_page: bool,
    /// It has a content coding.
    pub(super) is_coded: bool,
    /// Its length. `None`: absent or no number.
    pub(super) length: Option<u64>,
}

impl AnnouncedBody {
    /// The body with these headers. `is_stream`: the client requested a stream. Sound of a known end is
    /// relayed like a stream: it may be long, and players begin before its end.
    #[must_use]
    pub(super) fn of(headers: &HeaderFields, is_stream: bool, endpoint: Endpoint) -> Self {
        let content_type = headers.get("content-type").unwrap_or_default();
        let is = |wanted: &[u8]| {
            content_type.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted))
        };
        let is_coded = headers.contains("content-encoding");
        let kind = if is(b"text/event-stream") && !is_coded {
            BodyKind::Events
        } else if (is_stream || endpoint == Endpoint::Speech) && !is(b"application/json") {
            BodyKind::Frames
        } else {
            BodyKind::Whole
        };
        let length = headers.get("content-length").and_then(field_number);
        Self { kind, is_page: is(b"text/html"), is_coded, length }
    }
}

/// The fault of a status that concerns only the hop to the provider: a redirection, which would carry the
/// prompt elsewhere, or a demand of a proxy or a server in between. `None`: another status.
#[must_use]
pub(super) fn status_of_hop(status: StatusCode, headers: &HeaderFields) -> Option<Fault> {
    let location = if status.is_redirection() { headers.get("location") } else { None };
    let kind = match location {
        Some(location) => FaultKind::Redirect(shown_location(location)),
        None if status.is_redirection() || matches!(status.as_u16(), 407 | 421 | 426) => {
            FaultKind::Status(status.as_u16())
        }
        None => return None,
    };
    Some(Fault::provider(Stage::Head, kind, Sent::Some))
}

/// A location as an error may show it: without user information, query and fragment, which may hold keys.
fn shown_location(location: &[u8]) -> Box<str> {
    let text = String::from_utf8_lossy(location);
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let (before, rest) = text.split_once("//").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let authority = rest.split('/').next().unwrap_or_default();
    let user = authority.rfind('@').map_or(0, |at| at + 1);
    let slashes = if rest.len() < text.len() { "//" } else { "" };
    let shown = [before, slashes, rest.get(user..).unwrap_or_default()].concat();
    shown.chars().filter(|letter| !letter.is_control()).take(MAX_LOCATION).collect()
}

/// Leaves in the headers that are known to concern the client (R33). The provider's own id of the request
/// goes under another name, because `x-request-id` is the gateway's.
pub(super) fn retain_passed_headers(headers: &mut HeaderFields, forwarded: &ForwardedHeaders) {
    let named: Vec<String> = named_by_connection(headers).map(str::to_ascii_lowercase).collect();
    for name in &named {
        headers.remove(name);
    }
    let id = headers.get("x-request-id").map(<[u8]>::to_vec);
    let is_fixed = encode::forbids_change(headers);
    headers.retain(|name, _| name != "x-request-id" && forwarded.pass_down(name));
    if let Some(id) = id {
        headers.insert("x-thalweg-provider-request-id", id);
    }
    if is_fixed {
        headers.insert("cache-control", "no-transform");
    }
}

/// Names the provider and the number of attempts.
pub(super) fn sign(headers: &mut HeaderFields, provider: Option<&str>, attempts: u8) {
    if let Some(name) = provider.filter(|name| name.is_ascii()) {
        headers.insert("x-thalweg-provider", name);
    }
    headers.insert(ATTEMPTS, itoa::Buffer::new().format(attempts));
}

/// Keeps proxies in front of the gateway from holding an event stream back (R1).
pub(super) fn forbid_buffering(headers: &mut HeaderFields) {
    headers.insert("cache-control", "no-cache, no-transform");
    headers.insert("x-accel-buffering", "no");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(content_type: &'static str) -> HeaderFields {
        HeaderFields::from_iter([("content-type", content_type)])
    }

    #[test]
    fn the_content_type_decides_how_a_body_is_passed() {
        for (content_type, is_stream, kind) in [
            ("text/event-stream", true, BodyKind::Events),
            ("text/event-stream; charset=utf-8", false, BodyKind::Events),
            ("Text/Event-Stream;charset=UTF-8", true, BodyKind::Events),
            ("application/json", true, BodyKind::Whole),
            ("application/x-ndjson", true, BodyKind::Frames),
            ("application/x-ndjson", false, BodyKind::Whole),
            ("", true, BodyKind::Frames),
        ] {
            let found = AnnouncedBody::of(&headers(content_type), is_stream, Endpoint::ChatCompletions);
            assert_eq!(found.kind, kind, "{content_type}");
        }
        let mut compressed = headers("text/event-stream");
        compressed.insert("content-encoding", "gzip");
        let coded = AnnouncedBody::of(&compressed, true, Endpoint::ChatCompletions);
        assert_eq!((coded.kind, coded.is_coded), (BodyKind::Frames, true));
        let sound = AnnouncedBody::of(&headers("audio/mpeg"), false, Endpoint::Speech);
        assert_eq!(sound.kind, BodyKind::Frames, "sound may be long, and is heard as it comes");
    }

    #[test]
    fn a_location_is_shown_without_secrets() {
        for (location, shown) in [
            ("https://new.test/v1/chat/completions?key=sk-1#x", "https://new.test/v1/chat/completions"),
            ("https://user:sk-1@new.test:8443/v1", "https://new.test:8443/v1"),
            ("//user@new.test/v1", "//new.test/v1"),
            ("/v1/chat/completions/", "/v1/chat/completions/"),
            ("/mail/a@b", "/mail/a@b"),
            ("?key=sk-1", ""),
        ] {
            assert_eq!(&*shown_location(location.as_bytes()), shown);
        }
        assert_eq!(shown_location(&[b'x'; 5000]).len(), MAX_LOCATION);
    }
}
