//! The class of a failure (S1.14): maps faults, statuses and providers' error codes to one [`FailureClass`]
//! each. The consequences of a class are routing's.
//!
//! Precedence: codes that name one cause (a quota gone, a context too long) before the status, because
//! providers choose these by the case and statuses by habit; the status before codes that only repeat it. The
//! lists hold the codes of providers' documents and of recorded answers; an unknown code changes nothing.

use super::missing;
use crate::{
    base::{DeadlineKind, Fault, FaultKind, Side, Stage},
    routing::FailureClass,
    wire::provider_error,
};

/// Codes that name one cause, as `code`, `type` or `status`.
const CAUSE_CODES: &[(FailureClass, &[&str])] = &[
    (
        FailureClass::QuotaExhausted,
        &[
            "insufficient_quota",
            "insufficient_balance",
            "insufficient_credits",
            "billing_error",
            "billing_hard_limit_reached",
            "billing_not_active",
            "exceeded_current_quota_error",
            "quota_exceeded",
            "account_deactivated",
            "Arrearage",
        ],
    ),
    (
        FailureClass::ContextTooLong,
        &[
            "context_length_exceeded",
            "context_window_exceeded",
            "exceed_context_size_error",
            "model_max_prompt_tokens_exceeded",
            "string_above_max_length",
            "request_too_large",
        ],
    ),
    (
        FailureClass::ContentRefused,
        &[
            "content_filter",
            "content_policy_violation",
            "content_filtered",
            "moderation_blocked",
            "data_inspection_failed",
            "DataInspectionFailed",
            "sensitive_words_detected",
        ],
    ),
    (
        FailureClass::ModelMissing,
        &[
            "model_not_found",
            "model_not_available",
            "model_not_supported",
            "model_decommissioned",
            "invalid_model",
            "unknown_model",
            "DeploymentNotFound",
            "ModelNotFound",
        ],
    ),
    (
        FailureClass::RateLimited,
        &["rate_limit_exceeded", "rate_limit_error", "RateLimitReached", "too_many_requests"],
    ),
    (
        FailureClass::Overloaded,
        &[
            "overloaded_error",
            "engine_overloaded",
            "engine_overloaded_error",
            "server_overloaded",
            "slow_down",
        ],
    ),
    // Another provider may have made it.
    (FailureClass::Unsupported, &["previous_response_not_found", "invalid_encrypted_content"]),
    (FailureClass::KeyInvalid, &["invalid_api_key", "API_KEY_INVALID", "InvalidApiKey"]),
    // Google does not serve the gateway's country.
    (FailureClass::Forbidden, &["FAILED_PRECONDITION"]),
];

/// Codes that say no more than a status would.
const STATUS_CODES: &[(FailureClass, &[&str])] = &[
    (
        FailureClass::KeyInvalid,
        &["authentication_error", "permission_error", "UNAUTHENTICATED", "PERMISSION_DENIED"],
    ),
    (FailureClass::RateLimited, &["RESOURCE_EXHAUSTED"]),
    (FailureClass::Overloaded, &["UNAVAILABLE", "service_unavailable", "overloaded"]),
    (
        FailureClass::ServerError,
        &["server_error", "api_error", "internal_error", "internal_server_error", "INTERNAL"],
    ),
    (FailureClass::ModelMissing, &["not_found_error", "NOT_FOUND", "NotFoundError"]),
    (FailureClass::CallerMistake, &["invalid_request_error", "INVALID_ARGUMENT"]),
];

/// Sentences of providers that have no code for the cause. Searched where the status allows for a mistake of
/// the caller.
const SENTENCES: &[(FailureClass, &[&str])] = &[
    (
        FailureClass::ContextTooLong,
        &["maximum context length", "prompt is too long", "context window", "available context size"],
    ),
    // OpenRouter's 402: this request is too large for the rest of the credit.
    (FailureClass::Forbidden, &["fewer max_tokens"]),
    // TGI's 424, which is OpenAI's for a tool server of the caller.
    (FailureClass::ServerError, &["failed during generation", "unexpected error during processing"]),
];

/// The same of whole providers. Only at the start of the message, because words behind it may be quoted from
/// one client's request, and these rest the provider for all.
const FIRST_SENTENCES: &[(FailureClass, &[&str])] = &[
    (FailureClass::QuotaExhausted, &["Your credit balance is too low", "credit balance is too low"]),
    (FailureClass::KeyInvalid, &["API key not valid"]),
];

/// The class of an error response, by its status and the first bytes of its body. `model`: the model's name
/// at the provider.
#[must_use]
pub fn of_error(status: u16, text: &[u8], model: &str) -> FailureClass {
    let error = provider_error::read(text);
    let message = error.message.unwrap_or_default();
    // Before the codes, because these come with the code of a rate limit.
    if matches!(status, 200..=299 | 400 | 404 | 413 | 429) && missing::says_unsupported(message) {
        return FailureClass::Unsupported;
    }
    let codes = [error.code, error.kind, error.status, error.reason];
    if let Some(class) = by_code(CAUSE_CODES, codes) {
        return class;
    }
    if matches!(status, 200..=299 | 400 | 402 | 413 | 422 | 424 | 500)
        && let Some(class) = by_sentence(message)
    {
        return class;
    }
    if matches!(status, 200..=299 | 400) && missing::says_no_endpoint(message) {
        return FailureClass::EndpointMissing;
    }
    if matches!(status, 400 | 404) && missing::says_other_endpoint(message) {
        return FailureClass::ModelElsewhere;
    }
    if matches!(status, 200..=299 | 400 | 403 | 422) && missing::says_no_model(message, model) {
        return FailureClass::ModelMissing;
    }
    if matches!(status, 404 | 405 | 501) {
        return missing::of_not_found(status, &error, text, model);
    }
    if !(200..=299).contains(&status) {
        return of_status(status);
    }
    // Under a good status the code may hold the real status.
    let status = error.code.and_then(|code| code.parse().ok()).filter(|code| (400..=599).contains(code));
    status.map(of_status).or_else(|| by_code(STATUS_CODES, codes)).unwrap_or(FailureClass::ErrorEvent)
}

fn by_code(table: &[(FailureClass, &[&str])], codes: [Option<&str>; 4]) -> Option<FailureClass> {
    codes
        .into_iter()
        .flatten()
        .find_map(|code| table.iter().find(|(_, known)| known.contains(&code)).map(|(class, _)| *class))
}

fn by_sentence(message: &str) -> Option<FailureClass> {
    let is_in = |(_, known): &&(FailureClass, &[&str])| known.iter().any(|part| message.contains(part));
    let begins = |(_, known): &&(FailureClass, &[&str])| known.iter().any(|part| message.starts_with(part));
    FIRST_SENTENCES.iter().find(begins).or_else(|| SENTENCES.iter().find(is_in)).map(|(class, _)| *class)
}

/// Whether an error is about the gateway's own key, so that the client can do nothing about it. A 403 may be
/// about the request, too; then it says nothing of a key.
#[must_use]
pub fn is_about_key(status: u16, class: FailureClass, text: &[u8]) -> bool {
    const WORDS: [&str; 8] = [
        "api key",
        "api-key",
        "api_key",
        "apikey",
        "credential",
        "authenticat",
        "access token",
        "invalid token",
    ];
    let names_it = || {
        let message = provider_error::read(text).message.unwrap_or_default().to_ascii_lowercase();
        WORDS.iter().any(|word| message.contains(word))
    };
    class == FailureClass::KeyInvalid || status == 403 && names_it()
}

/// The class of a status by itself.
#[must_use]
pub const fn of_status(status: u16) -> FailureClass {
    match status {
        401 => FailureClass::KeyInvalid,
        403 => FailureClass::Forbidden,
        402 => FailureClass::QuotaExhausted,
        404 | 410 => FailureClass::ModelMissing,
        405 | 501 => FailureClass::EndpointMissing,
        413 => FailureClass::ContextTooLong,
        429 => FailureClass::RateLimited,
        // 529: Anthropic.
        503 | 529 => FailureClass::Overloaded,
        // The body came too slowly, two requests met, or the tier that the client chose is full.
        408 | 409 | 425 | 498 => FailureClass::Ambiguous,
        // Not the caller's fault: a server in between wants another connection.
        407 | 421 | 426 | 500..=599 => FailureClass::ServerError,
        400..=499 => FailureClass::CallerMistake,
        _ => FailureClass::Garbage,
    }
}

/// The class of a fault.
#[must_use]
pub const fn of_fault(fault: &Fault) -> FailureClass {
    match fault.side {
        // The gateway's own lack, as a full pool is: attempts that run go on.
        Side::Gateway if matches!((&fault.kind, fault.stage), (FaultKind::Refused(_), Stage::Connect)) => {
            return FailureClass::Timeout(DeadlineKind::Pool);
        }
        Side::Client | Side::Gateway => return FailureClass::Unattributed,
        Side::Provider => {}
    }
    match &fault.kind {
        FaultKind::Unreachable(_) => FailureClass::Unreachable,
        FaultKind::Tls(_) => FailureClass::Tls,
        // The pool was full until the deadline, whichever it was.
        FaultKind::Timeout(..) if matches!(fault.stage, Stage::Pool) => {
            FailureClass::Timeout(DeadlineKind::Pool)
        }
        FaultKind::Timeout(clock, _) => FailureClass::Timeout(*clock),
        FaultKind::Reset | FaultKind::Truncated | FaultKind::Gone => FailureClass::Reset,
        FaultKind::Garbage(_) | FaultKind::Empty(_) | FaultKind::Redirect(_) => FailureClass::Garbage,
        FaultKind::TooLarge { .. } => FailureClass::TooLarge,
        FaultKind::Status(status) => of_status(*status),
        FaultKind::ErrorEvent => FailureClass::ErrorEvent,
        FaultKind::Refused(_) => FailureClass::Unattributed,
    }
}

/// Whether a failure of this class shows that the provider is alive (S0.6). `None`: it shows neither.
#[must_use]
pub const fn is_alive(class: FailureClass) -> Option<bool> {
    match class {
        FailureClass::QuotaExhausted
        | FailureClass::RateLimited
        | FailureClass::ModelMissing
        | FailureClass::ModelElsewhere
        | FailureClass::Unsupported
        | FailureClass::ContextTooLong
        | FailureClass::ContentRefused
        | FailureClass::CallerMistake => Some(true),
        FailureClass::Overloaded
        | FailureClass::ServerError
        | FailureClass::Unreachable
        | FailureClass::Tls
        | FailureClass::Timeout(
            DeadlineKind::Connect | DeadlineKind::Send | DeadlineKind::FirstToken | DeadlineKind::Stream,
        )
        | FailureClass::Reset
        | FailureClass::Garbage
        | FailureClass::ErrorEvent => Some(false),
        // The cause may be the key, this model alone, or a wrong base URL. A probe finds out, and a sign of
        // life would delay the probe.
        FailureClass::KeyInvalid
        | FailureClass::EndpointMissing
        | FailureClass::Forbidden
        | FailureClass::Ambiguous
        | FailureClass::Timeout(
            DeadlineKind::Pool | DeadlineKind::Total | DeadlineKind::Body | DeadlineKind::Write,
        )
        | FailureClass::TooLarge
        | FailureClass::Unsayable
        | FailureClass::Unattributed => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::{Sent, Stage};

    fn class(status: u16, body: &str) -> FailureClass {
        of_error(status, body.as_bytes(), "nope")
    }

    #[test]
    fn google_says_the_cause_in_its_details_and_quoted_words_say_none() {
        for (status, body, wanted) in [
            (
                400,
                r#"{"error":{"code":400,"message":"API key expired. Please renew the API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}"#,
                FailureClass::KeyInvalid,
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"User location is not supported for the API use.","status":"FAILED_PRECONDITION"}}"#,
                FailureClass::Forbidden,
            ),
            // Words of the client's that the provider quotes.
            (
                400,
                r#"{"error":{"message":"Invalid value: 'API key not valid'. Supported values are: 'user'.","type":"invalid_request_error"}}"#,
                FailureClass::CallerMistake,
            ),
            (
                400,
                r#"{"error":{"message":"Invalid value: 'credit balance is too low'.","type":"invalid_request_error"}}"#,
                FailureClass::CallerMistake,
            ),
        ] {
            assert_eq!(class(status, body), wanted, "{body}");
        }
    }

    /// R18: the cause before the status, the status before a code that only repeats it.
    #[test]
    fn the_cause_is_found_whatever_the_status() {
        for (status, body, wanted) in [
            (
                429,
                r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#,
                FailureClass::QuotaExhausted,
            ),
            (
                429,
                r#"{"error":{"message":"Rate limit reached","type":"tokens","code":"rate_limit_exceeded"}}"#,
                FailureClass::RateLimited,
            ),
            (
                413,
                r#"{"error":{"message":"Request too large, tokens per minute","type":"tokens","code":"rate_limit_exceeded"}}"#,
                FailureClass::Unsupported,
            ),
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 8192 tokens","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
                FailureClass::ContextTooLong,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
                FailureClass::ContextTooLong,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API"}}"#,
                FailureClass::QuotaExhausted,
            ),
            (
                400,
                r#"{"error":{"message":"The response was filtered","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
                FailureClass::ContentRefused,
            ),
            (
                400,
                r#"{"error":{"message":"Model Not Exist","type":"invalid_request_error","code":"invalid_request_error"}}"#,
                FailureClass::ModelMissing,
            ),
            (
                400,
                r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]"#,
                FailureClass::KeyInvalid,
            ),
            (
                429,
                r#"[{"error":{"code":429,"message":"You exceeded your current quota","status":"RESOURCE_EXHAUSTED"}}]"#,
                FailureClass::RateLimited,
            ),
            (
                529,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                FailureClass::Overloaded,
            ),
            (
                503,
                r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
                FailureClass::Overloaded,
            ),
            (500, "oops", FailureClass::ServerError),
            (502, "<html>", FailureClass::ServerError),
            (403, "{}", FailureClass::Forbidden),
            (
                402,
                r#"{"error":{"code":402,"message":"This request requires more credits, or fewer max_tokens."}}"#,
                FailureClass::Forbidden,
            ),
            (422, r#"{"detail":"x"}"#, FailureClass::CallerMistake),
            (408, "", FailureClass::Ambiguous),
            (409, "{}", FailureClass::Ambiguous),
            (425, "{}", FailureClass::Ambiguous),
            (498, "{}", FailureClass::Ambiguous),
            (
                424,
                r#"{"error":{"message":"Error retrieving tool list from MCP server: 'x'","type":"external_connector_error"}}"#,
                FailureClass::CallerMistake,
            ),
            (
                424,
                r#"{"error":"Request failed during generation: Server error: CUDA","error_type":"generation"}"#,
                FailureClass::ServerError,
            ),
            (301, "", FailureClass::Garbage),
            // Under a 200.
            (200, r#"{"error":{"message":"Provider returned error","code":502}}"#, FailureClass::ServerError),
            (200, r#"{"error":{"message":"Token limit reached","code":400}}"#, FailureClass::CallerMistake),
            (
                200,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                FailureClass::Overloaded,
            ),
            (200, r#"{"error":{"message":"no","type":"server_error"}}"#, FailureClass::ServerError),
            (200, r#"{"error":"no"}"#, FailureClass::ErrorEvent),
        ] {
            assert_eq!(class(status, body), wanted, "{status} {body}");
        }
    }

    /// B1, B2: a missing model and a missing endpoint.
    #[test]
    fn a_missing_thing_is_known_by_the_words() {
        for (status, body, wanted) in [
            (404, "404 page not found", FailureClass::EndpointMissing),
            (404, r#"{"detail":"Not Found"}"#, FailureClass::EndpointMissing),
            (405, "", FailureClass::EndpointMissing),
            (501, "{}", FailureClass::EndpointMissing),
            (410, "", FailureClass::ModelMissing),
            (
                404,
                r#"{"error":{"code":404,"message":"No endpoints found that support tool use"}}"#,
                FailureClass::Unsupported,
            ),
            (
                404,
                r#"{"object":"error","message":"The model `nope` does not exist.","type":"NotFoundError"}"#,
                FailureClass::ModelMissing,
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"model 'nope' not found","type":"invalid_request_error"}}"#,
                FailureClass::ModelMissing,
            ),
            (
                400,
                r#"{"error":{"message":"{'error': '/chat/completions: Invalid model name passed in model=nope. Call `/v1/models` to view available models for your key.'}","type":"None","param":"None","code":"400"}}"#,
                FailureClass::ModelMissing,
            ),
            (
                403,
                r#"{"error":{"message":"You are not allowed to generate from this model","type":"invalid_request_error"}}"#,
                FailureClass::ModelMissing,
            ),
        ] {
            assert_eq!(class(status, body), wanted, "{status} {body}");
        }
    }

    #[test]
    fn a_fault_of_the_gateway_is_not_the_providers() {
        let second = Duration::from_secs(1);
        let fault = |kind| Fault::provider(Stage::Head, kind, Sent::Unknown);
        assert_eq!(
            of_fault(&fault(FaultKind::Timeout(DeadlineKind::Pool, second))),
            FailureClass::Timeout(DeadlineKind::Pool)
        );
        let late = fault(FaultKind::Timeout(DeadlineKind::FirstToken, second));
        assert_eq!(of_fault(&late), FailureClass::Timeout(DeadlineKind::FirstToken));
        let in_pool = Fault { stage: Stage::Pool, ..late };
        assert_eq!(of_fault(&in_pool), FailureClass::Timeout(DeadlineKind::Pool));
        assert_eq!(of_fault(&fault(FaultKind::Reset)), FailureClass::Reset);
        let own = Fault { side: Side::Gateway, ..fault(FaultKind::Garbage("x".into())) };
        assert_eq!(of_fault(&own), FailureClass::Unattributed);
    }

    #[test]
    fn a_refusal_of_the_key_is_known() {
        for (status, body, is) in [
            (401, "", true),
            (401, r#"{"error":{"message":"no"}}"#, true),
            (
                400,
                r#"[{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT"}}]"#,
                true,
            ),
            (
                403,
                r#"{"error":{"type":"permission_error","message":"Your API key does not have permission"}}"#,
                true,
            ),
            (403, r#"{"detail":"Not authenticated"}"#, true),
            (403, r#"{"error":{"message":"Your input was flagged"}}"#, false),
            (403, r#"{"error":{"message":"Country, region, or territory not supported"}}"#, false),
            (402, r#"{"error":{"code":402,"message":"fewer max_tokens, or another API key"}}"#, false),
            (429, r#"{"error":{"message":"limit of this API key","code":"rate_limit_exceeded"}}"#, false),
        ] {
            let text = body.as_bytes();
            assert_eq!(is_about_key(status, class(status, body), text), is, "{status} {body}");
        }
    }
}
