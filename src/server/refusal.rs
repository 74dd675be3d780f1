//! What the server itself answers to a request that the handler never sees: no dialect is known yet, so the shape is
//! OpenAI's.

/// What cannot be said by a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnreadRest {
    /// Not a request.
    Bad,
    /// A head beyond its limits.
    TooLarge,
}

impl UnreadRest {
    pub(super) fn of(error: &hyper::Error) -> Self {
        if error.is_parse_too_large() { Self::TooLarge } else { Self::Bad }
    }

    /// The whole answer, as it goes over the wire. The connection ends with it.
    pub(super) fn render(self) -> String {
        let (status, message, code) = match self {
            Self::Bad => {
                ("400 Bad Request", "this is not an HTTP request that can be trusted", "bad_request")
            }
            Self::TooLarge => (
                "431 Request Header Fields Too Large",
                "the request's head is larger, or has more headers, than is allowed",
                "request_header_fields_too_large",
            ),
        };
        let body = format!(
            r#"{{"error":{{"message":"{message}","type":"invalid_request_error","param":null,"code":"{code}"}}}}"#
        );
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
    }
}
