//! Errors of a provider: read in any of their forms, and classed by the clients' reactions.
//!
//! Forms: `{"error": {message, type, code}}` with or without a `type` or an event name around it,
//! `{"error": "words"}`, `{"detail": …}`, `{"message": …}`.

use std::borrow::Cow;

use simd_json::prelude::Writable;

use super::{
    fact::{ErrorCode, Fact, FactSink},
    json_read::{Json, JsonRead},
    overflow,
};

/// An error as its provider wrote it; members that it does not have are empty.
#[derive(Debug)]
pub(super) struct ErrorText<'a> {
    pub(super) message: Cow<'a, str>,
    pub(super) kind: &'a str,
    pub(super) code: Cow<'a, str>,
    pub(super) param: Option<&'a str>,
    pub(super) status: Option<u16>,
}

/// Passes an error on: `true`. `is_error`: the event's name or type says that it is one.
pub(super) fn fact(is_error: bool, json: Json<'_>, sink: &mut dyn FactSink) -> bool {
    let Some(error) = read(is_error, json) else { return false };
    let code = classify(error.status, error.kind, &error.code, &error.message);
    sink.fact(Fact::Failed { code, message: &error.message });
    true
}

/// `None`: no error.
pub(super) fn read(is_error: bool, json: Json<'_>) -> Option<ErrorText<'_>> {
    let error = json.member("error");
    if let Some(message) = error.and_then(|error| error.own_text()) {
        return (is_error || !message.is_empty()).then(|| text(json, Some(message)));
    }
    match error {
        Some(error) if error.as_object().is_some() && (is_error || says_error(error)) => {
            Some(text(error, None))
        }
        _ if is_error || json.text("object") == Some("error") => Some(text(json, None)),
        _ => None,
    }
}

/// Some providers write an object beside content that is empty, or says that there is no error.
fn says_error(error: Json<'_>) -> bool {
    let members = || error.as_object().into_iter().flat_map(|object| object.iter());
    let is_code = |name: &str| matches!(name, "code" | "status" | "status_code");
    let is_success = |value: Json<'_>| {
        let said = plain(value);
        ["", "0", "200", "ok", "success"].iter().any(|word| said.eq_ignore_ascii_case(word))
    };
    let succeeds = members().any(|(name, value)| is_code(name) && is_success(value));
    members().any(|(name, value)| {
        // The words of a success are no error's.
        let may_be_good = is_code(name) || succeeds && matches!(name, "message" | "msg");
        let is_good = may_be_good && is_success(value);
        !is_good && !matches!(&*plain(value), "" | "null" | "false" | "0" | "[]" | "{}")
    })
}

fn text<'a>(error: Json<'a>, message: Option<&'a str>) -> ErrorText<'a> {
    let message = message
        .or_else(|| error.text("message"))
        .map(Cow::Borrowed)
        .or_else(|| error.member("detail").map(plain))
        .or_else(|| error.member("message").map(plain))
        .filter(|message| !message.is_empty())
        .unwrap_or(Cow::Borrowed("the provider reported an error"));
    let number = |name| error.count(name).and_then(|status| u16::try_from(status).ok());
    let code = error.member("code").map(plain).unwrap_or_default();
    ErrorText {
        message,
        // The envelope's own type says nothing.
        kind: error.text("type").filter(|kind| *kind != "error").unwrap_or_default(),
        param: error.text("param"),
        status: number("status_code").or_else(|| number("status")).or_else(|| code.parse().ok()),
        code,
    }
}

fn plain(value: Json<'_>) -> Cow<'_, str> {
    value.own_text().map_or_else(|| Cow::Owned(value.encode()), Cow::Borrowed)
}

/// The kind of an error by its code and type, its words, then its status.
pub(super) fn classify(status: Option<u16>, kind: &str, code: &str, message: &str) -> ErrorCode {
    // A limit of tokens per minute has the words of a prompt that is too long.
    let is_wait = matches!(status, Some(429 | 503 | 529)) || says_wait(message);
    if overflow::is_overflow(kind, code, if is_wait { "" } else { message }) {
        return ErrorCode::ContextOverflow;
    }
    for name in [code, kind] {
        if let Some(code) = by_name(name) {
            return code;
        }
    }
    match status {
        Some(401) => ErrorCode::Authentication,
        Some(402) => ErrorCode::Billing,
        Some(403) => ErrorCode::Permission,
        Some(404) => ErrorCode::NotFound,
        Some(408 | 504 | 524) => ErrorCode::Timeout,
        Some(413) => ErrorCode::TooLarge,
        Some(429) => ErrorCode::RateLimit,
        Some(503 | 529) => ErrorCode::Overloaded,
        Some(400..500) => ErrorCode::InvalidRequest,
        None if is_wait => ErrorCode::RateLimit,
        // The error of a stream has no status, and clients of Anthropic's API repeat an overload.
        None | Some(500 | 502) if says_overloaded(message) => ErrorCode::Overloaded,
        Some(_) => ErrorCode::Server,
        None if kind.eq_ignore_ascii_case("invalid_request_error") => ErrorCode::InvalidRequest,
        None => ErrorCode::Server,
    }
}

/// The words of Amazon Bedrock: "Too many tokens, please wait before trying again."
fn says_wait(message: &str) -> bool {
    message.to_ascii_lowercase().contains("please wait before trying again")
}

fn says_overloaded(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["overloaded", "over capacity"].iter().any(|words| message.contains(words))
}

fn by_name(name: &str) -> Option<ErrorCode> {
    Some(match name.to_ascii_lowercase().as_str() {
        "rate_limit_exceeded"
        | "rate_limit_error"
        | "ratelimitreached"
        | "resource_exhausted"
        | "too_many_requests" => ErrorCode::RateLimit,
        "insufficient_quota" | "exceeded_current_quota_error" => ErrorCode::QuotaExceeded,
        "overloaded_error"
        | "server_is_overloaded"
        | "slow_down"
        | "unavailable"
        | "service_unavailable_error" => ErrorCode::Overloaded,
        "authentication_error" | "invalid_api_key" | "unauthenticated" => ErrorCode::Authentication,
        "billing_error" => ErrorCode::Billing,
        "permission_error" | "permission_denied" => ErrorCode::Permission,
        "not_found_error" | "model_not_found" | "not_found" => ErrorCode::NotFound,
        "request_too_large" => ErrorCode::TooLarge,
        "timeout_error" | "deadline_exceeded" => ErrorCode::Timeout,
        "invalid_argument" | "invalid_prompt" => ErrorCode::InvalidRequest,
        "api_error" | "server_error" | "internal_server_error" | "internal" => return None,
        _ => return None,
    })
}
