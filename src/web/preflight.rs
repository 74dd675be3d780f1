//! Answers that do not depend on the path: CORS preflight and the refusal of a WebSocket.

use http::{HeaderMap, HeaderValue, header};

use crate::{base::HeaderFields, proxy::Refusal};

/// The headers of the answer to a CORS preflight (Fetch, "CORS protocol"): any origin, all requested headers.
pub(super) fn allow_preflight(request: &HeaderFields) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let wanted = request
        .get(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .and_then(|value| HeaderValue::from_bytes(value).ok());
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        wanted.unwrap_or(HeaderValue::from_static("authorization, content-type")),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, POST, DELETE, OPTIONS"),
    );
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST, DELETE, OPTIONS"));
    headers
}

/// Whether the request asks for a WebSocket. Offers of other protocols are ignored, as RFC 9110 section 7.8
/// permits.
pub(super) fn asks_for_websocket(headers: &HeaderFields) -> bool {
    headers.get("upgrade").is_some_and(|offered| offered.eq_ignore_ascii_case(b"websocket"))
}

/// The refusal of a WebSocket: on a 426, clients that try a WebSocket first fall back to HTTP at once (R37).
pub(super) fn refuse_upgrade() -> Box<Refusal> {
    Refusal::request(426, "websocket_not_supported", "no WebSocket here: use HTTP")
}
