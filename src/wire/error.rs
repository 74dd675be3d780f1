//! The JSON of every error that the gateway answers, in the dialect of the request: a body before the commit
//! point, a typed event after it. No other file renders an error.
//!
//! Shapes: OpenAI's error object `{"error":{"message","type","param","code"}}` (API reference, "Error
//! codes"), the Responses stream's `response.failed` event, Anthropic's
//! `{"type":"error","error":{"type","message"}}` ("Errors").

use bytes::Bytes;
use memchr::memmem;
use serde::Serialize;
use serde_json::Value;

use super::Dialect;

/// An error as the client sees it: holds no secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireError<'a> {
    pub status: u16,
    /// OpenAI's error type: `invalid_request_error`, `authentication_error`, `rate_limit_error`,
    /// `server_error`, … Anthropic's type is derived from the status.
    pub kind: &'a str,
    pub message: &'a str,
    /// The request field at fault.
    pub param: Option<&'a str>,
    pub code: Option<&'a str>,
}

#[derive(Serialize)]
struct Wrapped<T> {
    error: T,
}

#[derive(Serialize)]
struct OpenAi<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    param: Option<&'a str>,
    code: Option<&'a str>,
}

#[derive(Serialize)]
struct Anthropic<'a> {
    #[serde(rename = "type")]
    tag: &'static str,
    error: AnthropicDetail<'a>,
}

#[derive(Serialize)]
struct AnthropicDetail<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
}

/// `response.failed` of the Responses API: clients pass over its `error` event, and read the reason here.
#[derive(Serialize)]
struct ResponseFailed<'a> {
    #[serde(rename = "type")]
    tag: &'static str,
    sequence_number: u32,
    response: FailedResponse<'a>,
}

#[derive(Serialize)]
struct FailedResponse<'a> {
    id: &'a str,
    object: &'static str,
    created_at: u64,
    status: &'static str,
    error: ResponseError<'a>,
    incomplete_details: Option<()>,
    output: [(); 0],
    usage: Option<()>,
}

#[derive(Serialize)]
struct ResponseError<'a> {
    code: &'a str,
    message: &'a str,
}

/// The stream that an error event ends, as far as the event has to name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedStream<'a> {
    /// The id of the answer, as its first event gave it, or of the request.
    pub id: &'a str,
    /// Events before this one.
    pub events: u32,
    /// Seconds since 1970.
    pub at: u64,
}

impl Dialect {
    /// The body of an error response (`application/json`).
    #[must_use]
    pub fn error_body(self, error: &WireError<'_>) -> Bytes {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Embeddings | Self::Responses => {
                json(&Wrapped { error: OpenAi::from(error) }, &[], &[])
            }
            Self::Messages => json(&Anthropic::from(error), &[], &[]),
        }
    }

    /// Whether these first bytes of a body are an error in this dialect.
    #[must_use]
    pub fn is_error_body(self, text: &[u8]) -> bool {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Embeddings | Self::Responses => {
                has_member(text, b"\"error\"", b"{")
            }
            Self::Messages => {
                has_member(text, b"\"error\"", b"{") && has_member(text, b"\"type\"", b"\"error\"")
            }
        }
    }

    /// The body of an error response that lists single problems in `error.errors`. Its members are in the
    /// order of their names.
    #[must_use]
    pub fn error_body_with(self, error: &WireError<'_>, problems: Vec<Value>) -> Bytes {
        let mut body: Value = serde_json::from_slice(&self.error_body(error)).unwrap_or_default();
        body["error"]["errors"] = problems.into();
        body.to_string().into()
    }

    /// The event that ends a stream after the commit point, with its blank line. An unfinished event before
    /// it must be terminated first: [`crate::wire::sse::Scanner::event_terminator`].
    #[must_use]
    pub fn error_event(self, error: &WireError<'_>, stream: &FailedStream<'_>) -> Bytes {
        const NAMED: &[u8] = b"event: error\ndata: ";
        match self {
            Self::ChatCompletions | Self::Completions | Self::Embeddings => {
                json(&Wrapped { error: OpenAi::from(error) }, b"data: ", b"\n\n")
            }
            Self::Responses => {
                let WireError { message, code, kind, .. } = *error;
                let response = FailedResponse {
                    id: stream.id,
                    object: "response",
                    created_at: stream.at,
                    status: "failed",
                    error: ResponseError { code: code.unwrap_or(kind), message },
                    incomplete_details: None,
                    output: [],
                    usage: None,
                };
                let event =
                    ResponseFailed { tag: "response.failed", sequence_number: stream.events, response };
                json(&event, b"event: response.failed\ndata: ", b"\n\n")
            }
            Self::Messages => json(&Anthropic::from(error), NAMED, b"\n\n"),
        }
    }
}

impl<'a> From<&WireError<'a>> for OpenAi<'a> {
    fn from(error: &WireError<'a>) -> Self {
        Self { message: error.message, kind: error.kind, param: error.param, code: error.code }
    }
}

impl<'a> From<&WireError<'a>> for Anthropic<'a> {
    fn from(error: &WireError<'a>) -> Self {
        let detail = AnthropicDetail { kind: anthropic_kind(error.status), message: error.message };
        Self { tag: "error", error: detail }
    }
}

/// Anthropic's documented error types, by status.
const fn anthropic_kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        408 | 504 => "timeout_error",
        503 | 529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

/// Whether the text has a member of this quoted name with a value that begins so.
fn has_member(text: &[u8], name: &[u8], value: &[u8]) -> bool {
    memmem::find_iter(text, name).any(|at| {
        let rest = text.get(at + name.len()..).unwrap_or_default().trim_ascii_start();
        rest.strip_prefix(b":").is_some_and(|rest| rest.trim_ascii_start().starts_with(value))
    })
}

fn json(value: &impl Serialize, before: &[u8], after: &[u8]) -> Bytes {
    // Serialising strings into a `Vec` cannot fail.
    let body = serde_json::to_vec(value).unwrap_or_default();
    [before, &body, after].concat().into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ERROR: WireError<'_> = WireError {
        status: 404,
        kind: "invalid_request_error",
        message: "no model \"gpt\"\n",
        param: Some("model"),
        code: Some("model_not_found"),
    };

    fn parse(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn openai_errors_carry_all_four_fields_even_when_null() {
        let error = WireError { param: None, code: None, ..ERROR };
        for dialect in [Dialect::ChatCompletions, Dialect::Responses] {
            assert_eq!(
                parse(&dialect.error_body(&error)),
                json!({"error": {"message": "no model \"gpt\"\n", "type": "invalid_request_error", "param": null, "code": null}})
            );
        }
    }

    #[test]
    fn anthropic_errors_take_their_type_from_the_status() {
        let body = parse(&Dialect::Messages.error_body(&ERROR));
        assert_eq!(
            body,
            json!({"type": "error", "error": {"type": "not_found_error", "message": ERROR.message}})
        );
        for (status, kind) in [
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (403, "permission_error"),
            (413, "request_too_large"),
            (429, "rate_limit_error"),
            (499, "invalid_request_error"),
            (500, "api_error"),
            (502, "api_error"),
            (503, "overloaded_error"),
            (504, "timeout_error"),
            (529, "overloaded_error"),
        ] {
            assert_eq!(anthropic_kind(status), kind);
        }
    }

    #[test]
    fn knows_its_own_errors() {
        for (text, openai, anthropic) in [
            (r#"{"error":{"message":"Invalid URL (POST /v1/messages)"}}"#, true, false),
            (r#"{"type": "error", "error": {"type":"not_found_error","message":"Not F"#, true, true),
            (r#"{"detail":"Not Found"}"#, false, false),
            (r#"{"error":"Not Found","status":404}"#, false, false),
            ("404 page not found", false, false),
            ("", false, false),
        ] {
            assert_eq!(Dialect::Responses.is_error_body(text.as_bytes()), openai, "{text}");
            assert_eq!(Dialect::Messages.is_error_body(text.as_bytes()), anthropic, "{text}");
        }
    }

    #[test]
    fn error_events_are_one_whole_event_each() {
        for dialect in Dialect::ALL {
            let event = dialect.error_event(&ERROR, &FailedStream { id: "resp_1", events: 7, at: 1 });
            let body = event.strip_suffix(b"\n\n").unwrap();
            let name = match dialect {
                Dialect::Responses => &b"event: response.failed\n"[..],
                Dialect::Messages => b"event: error\n",
                Dialect::ChatCompletions | Dialect::Completions | Dialect::Embeddings => b"",
            };
            let data = body.strip_prefix(name).unwrap().strip_prefix(b"data: ").unwrap();
            assert!(!data.contains(&b'\n'));
            let data = parse(data);
            if dialect == Dialect::Responses {
                assert_eq!((&data["type"], &data["sequence_number"]), (&"response.failed".into(), &7.into()));
                let response = &data["response"];
                assert_eq!((&response["id"], &response["status"]), (&"resp_1".into(), &"failed".into()));
                assert_eq!(response["error"], json!({"code": "model_not_found", "message": ERROR.message}));
            } else {
                assert_eq!(data["type"] == "error", dialect == Dialect::Messages);
                assert_eq!(data["error"]["message"], ERROR.message);
            }
        }
    }
}
