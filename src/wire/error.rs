//! The JSON of every error that the gateway answers, in the dialect of the request: a body before the commit
//! point, a typed event after it. No other file renders an error.
//!
//! Shapes: OpenAI's error object `{"error":{"message","type","param","code"}}` (API reference, "Error
//! codes"), the Responses stream's `response.failed` event, Anthropic's
//! `{"type":"error","error":{"type","message"}}` ("Errors"), Google's
//! `{"error":{"code","message","status","details"}}` (google.rpc.Status).

use std::time::Duration;

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
    /// When to come again. `None`: it is not known.
    pub retry_after: Option<Duration>,
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

/// The members are in this order, because Google's clients know an error event by its beginning.
#[derive(Serialize)]
struct Google<'a> {
    code: u16,
    message: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<[RetryInfo; 1]>,
}

#[derive(Serialize)]
struct RetryInfo {
    #[serde(rename = "@type")]
    tag: &'static str,
    #[serde(rename = "retryDelay")]
    retry_delay: String,
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
            Self::Gemini => json(&Wrapped { error: Google::from(error) }, &[], &[]),
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
            Self::Gemini => has_member(text, b"\"error\"", b"{") && has_member(text, b"\"status\"", b"\""),
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
            // As Google's servers send it: a text beside the events.
            Self::Gemini => json(&Wrapped { error: Google::from(error) }, &[], b"\n\n"),
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

impl<'a> From<&WireError<'a>> for Google<'a> {
    fn from(error: &WireError<'a>) -> Self {
        let info = |wait: Duration| RetryInfo {
            tag: "type.googleapis.com/google.rpc.RetryInfo",
            retry_delay: retry_delay(wait),
        };
        Self {
            code: error.status,
            message: error.message,
            status: google_status(error.status),
            details: error.retry_after.map(|wait| [info(wait)]),
        }
    }
}

/// A wait in the form of google.protobuf.Duration, in whole seconds and not too short.
fn retry_delay(wait: Duration) -> String {
    format!("{}s", wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

/// The name of Google's status for a status of HTTP.
const fn google_status(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        402 => "FAILED_PRECONDITION",
        403 => "PERMISSION_DENIED",
        404 | 410 => "NOT_FOUND",
        405 | 501 => "UNIMPLEMENTED",
        408 | 504 => "DEADLINE_EXCEEDED",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        502 | 503 | 529 => "UNAVAILABLE",
        400..=498 => "INVALID_ARGUMENT",
        _ => "INTERNAL",
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
        retry_after: None,
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
    fn googles_errors_name_status_and_wait() {
        let body =
            |error: &WireError<'_>| String::from_utf8(Dialect::Gemini.error_body(error).to_vec()).unwrap();
        assert_eq!(
            body(&ERROR),
            r#"{"error":{"code":404,"message":"no model \"gpt\"\n","status":"NOT_FOUND"}}"#
        );
        let wait = Some(Duration::from_millis(1500));
        assert_eq!(
            body(&WireError { status: 429, message: "slow down", retry_after: wait, ..ERROR }),
            r#"{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2s"}]}}"#
        );
        for (status, name) in [
            (400, "INVALID_ARGUMENT"),
            (401, "UNAUTHENTICATED"),
            (403, "PERMISSION_DENIED"),
            (413, "INVALID_ARGUMENT"),
            (502, "UNAVAILABLE"),
            (503, "UNAVAILABLE"),
            (504, "DEADLINE_EXCEEDED"),
            (500, "INTERNAL"),
        ] {
            assert_eq!(google_status(status), name);
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
                Dialect::ChatCompletions | Dialect::Completions | Dialect::Embeddings | Dialect::Gemini => {
                    b""
                }
            };
            let data = body.strip_prefix(name).unwrap();
            let data = if dialect == Dialect::Gemini { data } else { data.strip_prefix(b"data: ").unwrap() };
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
