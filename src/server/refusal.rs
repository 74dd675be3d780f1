//! Reasons for which the server refuses a request or a connection before a handler sees it. The handler
//! renders the JSON body of such a response ([`Handler::refuse`](super::Handler::refuse)); status and headers
//! are the server's.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderName, StatusCode};

use crate::base::time::date;

pub(super) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Why the server itself answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// The head's framing is ambiguous: 400.
    Ambiguous(Ambiguity),
    /// The bytes are not an HTTP request: 400.
    BadHead,
    /// The head exceeds its limits: 431.
    HeadTooLarge,
    /// `limits.connections` is reached: 503.
    TooManyConnections,
}

/// Why a head cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    /// More than one `content-length`, or one and a `transfer-encoding` (RFC 9112 section 6.3).
    TwoLengths,
    /// No `host`, several, or one that is no host (RFC 9112 section 3.2).
    Host,
    /// A `transfer-encoding` other than `chunked`, which no code here decodes.
    Coding,
}

impl RefusalReason {
    /// The status of the response.
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Ambiguous(_) | Self::BadHead => StatusCode::BAD_REQUEST,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TooManyConnections => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The value of `x-should-retry`, which some clients obey: only a full server may serve it later.
    pub(super) const fn should_retry(self) -> &'static str {
        match self {
            Self::Ambiguous(_) | Self::BadHead | Self::HeadTooLarge => "false",
            Self::TooManyConnections => "true",
        }
    }

    /// The whole response, as it goes over the wire; the connection ends with it.
    pub(super) fn response(self, body: &Bytes) -> Vec<u8> {
        let status = self.status();
        let end = match self {
            Self::Ambiguous(_) | Self::BadHead | Self::HeadTooLarge => {
                format!("content-length: {}", body.len())
            }
            // Without a length: the body ends with the connection.
            Self::TooManyConnections => "retry-after: 1".to_owned(),
        };
        let head = format!(
            "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\n{end}\r\ndate: {}\r\nconnection: close\r\nx-should-retry: {}\r\n\r\n",
            status.as_str(),
            status.canonical_reason().unwrap_or_default(),
            date::http(SystemTime::now()),
            self.should_retry(),
        );
        [head.as_bytes(), body].concat()
    }
}
