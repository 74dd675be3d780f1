//! Errors in a client's dialect: its types, codes, statuses and words.
//!
//! Clients act on them: Claude Code compacts on `prompt is too long: N tokens > M maximum`, lowers
//! `max_tokens` on `input length and max_tokens exceed context limit: N + M > L`, and repeats
//! `overloaded_error`; Codex reads `context_length_exceeded`, `rate_limit_exceeded` and `insufficient_quota`.
//! <https://docs.anthropic.com/en/api/errors>

use std::{borrow::Cow, time::Duration};

use super::{fact::ErrorCode, overflow};
use crate::dialect::{ApiDialect, json::JsonWrite};

/// The words of an error for the client.
pub(super) fn words<'a>(client: ApiDialect, code: ErrorCode, message: &'a str) -> Cow<'a, str> {
    if client != ApiDialect::Messages || code != ErrorCode::ContextOverflow {
        return message.into();
    }
    if let Some((prompt, output, maximum)) = overflow::by_output(message) {
        let words = "input length and `max_tokens` exceed context limit";
        let advice = "decrease input length or `max_tokens` and try again";
        return format!("{words}: {prompt} + {output} > {maximum}, {advice}").into();
    }
    match overflow::tokens(message) {
        Some((tokens, maximum)) => format!("prompt is too long: {tokens} tokens > {maximum} maximum").into(),
        None if message.to_ascii_lowercase().contains("prompt is too long") => message.into(),
        None => format!("prompt is too long: {message}").into(),
    }
}

/// `type` of an error in the Messages API.
pub(super) const fn messages_type(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidRequest | ErrorCode::ContextOverflow => "invalid_request_error",
        ErrorCode::Authentication => "authentication_error",
        ErrorCode::Billing => "billing_error",
        ErrorCode::Permission => "permission_error",
        ErrorCode::NotFound => "not_found_error",
        ErrorCode::TooLarge => "request_too_large",
        ErrorCode::RateLimit | ErrorCode::QuotaExceeded => "rate_limit_error",
        ErrorCode::Overloaded => "overloaded_error",
        ErrorCode::Timeout => "timeout_error",
        ErrorCode::Server => "api_error",
    }
}

/// `type` and `code` of an error of OpenAI's APIs; an empty code is null.
pub(super) const fn openai_type(code: ErrorCode) -> (&'static str, &'static str) {
    match code {
        ErrorCode::InvalidRequest | ErrorCode::TooLarge => ("invalid_request_error", ""),
        ErrorCode::ContextOverflow => ("invalid_request_error", "context_length_exceeded"),
        ErrorCode::Authentication => ("authentication_error", "invalid_api_key"),
        ErrorCode::Billing => ("billing_error", "insufficient_quota"),
        ErrorCode::Permission => ("permission_error", ""),
        ErrorCode::NotFound => ("invalid_request_error", "model_not_found"),
        ErrorCode::RateLimit => ("rate_limit_error", "rate_limit_exceeded"),
        ErrorCode::QuotaExceeded => ("insufficient_quota", "insufficient_quota"),
        ErrorCode::Overloaded | ErrorCode::Timeout | ErrorCode::Server => ("server_error", "server_error"),
    }
}

/// `code` and `status` of an error of Google's APIs.
pub(super) const fn gemini_status(code: ErrorCode) -> (u16, &'static str) {
    match code {
        ErrorCode::InvalidRequest | ErrorCode::ContextOverflow | ErrorCode::TooLarge => {
            (400, "INVALID_ARGUMENT")
        }
        ErrorCode::Authentication => (401, "UNAUTHENTICATED"),
        ErrorCode::Billing => (402, "FAILED_PRECONDITION"),
        ErrorCode::Permission => (403, "PERMISSION_DENIED"),
        ErrorCode::NotFound => (404, "NOT_FOUND"),
        ErrorCode::RateLimit | ErrorCode::QuotaExceeded => (429, "RESOURCE_EXHAUSTED"),
        ErrorCode::Overloaded => (503, "UNAVAILABLE"),
        ErrorCode::Timeout => (504, "DEADLINE_EXCEEDED"),
        ErrorCode::Server => (500, "INTERNAL"),
    }
}

/// The status that the client gets for a provider's `status`.
pub(super) const fn status(client: ApiDialect, code: ErrorCode, status: u16) -> u16 {
    match (code, client) {
        (ErrorCode::ContextOverflow, _) => 400,
        (ErrorCode::Overloaded, ApiDialect::Messages) => 529,
        (ErrorCode::Overloaded, _) => 503,
        (ErrorCode::InvalidRequest, ApiDialect::Messages | ApiDialect::Gemini) if status != 409 => 400,
        _ if status < 400 => gemini_status(code).0,
        _ => status,
    }
}

/// An error's own `type`, `code` and `param`, where both dialects are OpenAI's; else empty.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnNames<'a> {
    pub(super) kind: &'a str,
    pub(super) code: &'a str,
    pub(super) param: Option<&'a str>,
}

/// Appends the body of an error answer, which is the data of an error event, too, but for the Responses API.
pub(super) fn write(
    client: ApiDialect,
    (code, status, wait): (ErrorCode, u16, Option<Duration>),
    message: &str,
    own: OwnNames<'_>,
    out: &mut Vec<u8>,
) {
    let message = words(client, code, message);
    match client {
        ApiDialect::Messages => {
            out.raw(r#"{"type":"error","error":{"type":"#).string(messages_type(code));
            out.raw(r#","message":"#).string(&message).raw("}}");
        }
        ApiDialect::ChatCompletions | ApiDialect::Responses => {
            let (kind, name) = openai_type(code);
            let kind = if own.kind.is_empty() { kind } else { own.kind };
            // A number is no code that a client knows.
            let is_name = own.code.starts_with(|first: char| first.is_ascii_alphabetic());
            let is_known = matches!(code, ErrorCode::ContextOverflow | ErrorCode::RateLimit);
            let name = if is_name && !is_known { own.code } else { name };
            out.raw(r#"{"error":{"message":"#).string(&message).raw(r#","type":"#).string(kind);
            out.raw(r#","param":"#);
            write_or_null(own.param.unwrap_or_default(), out);
            out.raw(r#","code":"#);
            write_or_null(name, out);
            out.raw("}}");
        }
        ApiDialect::Gemini => {
            out.raw(r#"{"error":{"code":"#).number(u64::from(status)).raw(r#","message":"#).string(&message);
            out.raw(r#","status":"#).string(gemini_status(code).1);
            if let Some(wait) = wait {
                out.raw(r#","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":""#);
                out.number(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).raw(r#"s"}]"#);
            }
            out.raw("}}");
        }
    }
}

fn write_or_null(text: &str, out: &mut Vec<u8>) {
    if text.is_empty() {
        out.raw("null");
    } else {
        out.string(text);
    }
}
