//! Answers that do not depend on the path: CORS preflight and the refusal of a WebSocket.

use crate::{base::HeaderFields, proxy::Refusal};

/// The headers of the answer to a CORS preflight (Fetch, "CORS protocol"): any origin, all requested headers.
pub(super) fn allow_preflight(request: &HeaderFields) -> HeaderFields {
    let mut headers = HeaderFields::new();
    let wanted = request.get("access-control-request-headers");
    headers.insert("access-control-allow-headers", wanted.unwrap_or(b"authorization, content-type"));
    headers.insert("access-control-allow-methods", "GET, HEAD, POST, DELETE, OPTIONS");
    headers.insert("access-control-max-age", "86400");
    headers.insert("allow", "GET, HEAD, POST, DELETE, OPTIONS");
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
