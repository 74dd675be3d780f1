//! Error answers, and errors that the gateway itself reports.

use super::*;

fn error_of(from: ApiDialect, to: ApiDialect, status: u16, body: &str) -> (u16, serde_json::Value) {
    let mut out = Vec::new();
    let status = error(from, to, status, body.as_bytes(), &mut out);
    (status, serde_json::from_slice(&out).unwrap())
}

#[test]
fn messages_clients_get_anthropics_errors() {
    for (status, body, expected, kind, message) in [
        (
            429,
            r#"{"error":{"message":"slow","type":"requests","code":"rate_limit_exceeded"}}"#,
            429,
            "rate_limit_error",
            "slow",
        ),
        (503, r#"{"error":{"message":"busy"}}"#, 529, "overloaded_error", "busy"),
        (
            429,
            r#"{"error":{"message":"Too many tokens, please wait before trying again.","code":"429"}}"#,
            429,
            "rate_limit_error",
            "Too many tokens, please wait before trying again.",
        ),
        (429, r#"{"error":{"message":"too many tokens"}}"#, 429, "rate_limit_error", "too many tokens"),
        (503, "<html>", 529, "overloaded_error", "the provider answered with status 503"),
        (
            400,
            r#"{"error":{"message":"This model's maximum context length is 128000 tokens. However, your messages resulted in 210000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
            400,
            "invalid_request_error",
            "prompt is too long: 210000 tokens > 128000 maximum",
        ),
        (
            413,
            r#"{"error":{"code":"context_length_exceeded","message":"x"}}"#,
            400,
            "invalid_request_error",
            "prompt is too long: x",
        ),
        (
            400,
            r#"{"error":{"message":"'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context length is 32768 tokens and your request has 5000 input tokens (32000 > 32768 - 5000)."}}"#,
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 5000 + 32000 > 32768, decrease input length or `max_tokens` and try again",
        ),
        (
            400,
            r#"{"error":{"message":"This model's maximum context length is 131072 tokens. However, you requested 150000 tokens (100000 in the messages, 50000 in the completion)."}}"#,
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 100000 + 50000 > 131072, decrease input length or `max_tokens` and try again",
        ),
        (400, r#"{"error":{"message":"bad tool","code":null}}"#, 400, "invalid_request_error", "bad tool"),
        (422, r#"{"detail":[{"loc":["body"]}]}"#, 400, "invalid_request_error", r#"[{"loc":["body"]}]"#),
        (401, r#"{"detail":"Invalid API Key"}"#, 401, "authentication_error", "Invalid API Key"),
        (401, r#"{"error":{"message":"Missing","code":401}}"#, 401, "authentication_error", "Missing"),
        (
            404,
            r#"{"error":{"message":"no model","code":"model_not_found"}}"#,
            404,
            "not_found_error",
            "no model",
        ),
        (500, r#"{"error":{"code":500,"message":"jinja","type":"server_error"}}"#, 500, "api_error", "jinja"),
        (502, "bad gateway", 502, "api_error", "bad gateway"),
        (
            400,
            r#"[{"error":{"code":400,"message":"gemini","status":"INVALID_ARGUMENT"}}]"#,
            400,
            "invalid_request_error",
            "gemini",
        ),
        (200, r#"{"error":{"message":"late","code":502}}"#, 502, "api_error", "late"),
    ] {
        let (status, json) = error_of(ApiDialect::ChatCompletions, ApiDialect::Messages, status, body);
        let expected_json = serde_json::json!({"type": "error", "error": {"type": kind, "message": message}});
        assert_eq!((status, json), (expected, expected_json), "{body}");
    }
}

#[test]
fn openai_clients_get_codes() {
    for (from, status, body, expected, code) in [
        (
            ApiDialect::Messages,
            529,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
            503,
            "server_error",
        ),
        (
            ApiDialect::Messages,
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"m"}}"#,
            429,
            "rate_limit_exceeded",
        ),
        (
            ApiDialect::Messages,
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 3 tokens > 2 maximum"}}"#,
            400,
            "context_length_exceeded",
        ),
        (
            ApiDialect::ChatCompletions,
            429,
            r#"{"error":{"message":"m","code":"insufficient_quota"}}"#,
            429,
            "insufficient_quota",
        ),
        (
            ApiDialect::ChatCompletions,
            400,
            r#"{"error":{"message":"m","code":"unsupported_parameter","param":"p"}}"#,
            400,
            "unsupported_parameter",
        ),
        (
            ApiDialect::ChatCompletions,
            429,
            r#"{"error":{"message":"m","code":429}}"#,
            429,
            "rate_limit_exceeded",
        ),
    ] {
        let (status, json) = error_of(from, ApiDialect::Responses, status, body);
        assert_eq!((status, json["error"]["code"].as_str()), (expected, Some(code)), "{body}");
        assert!(json["error"]["message"].is_string() && json["error"]["type"].is_string());
    }
}

#[test]
fn gemini_clients_get_googles_errors() {
    let (status, json) =
        error_of(ApiDialect::ChatCompletions, ApiDialect::Gemini, 429, r#"{"error":{"message":"m"}}"#);
    assert_eq!(status, 429);
    assert_eq!(
        json,
        serde_json::json!({"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}})
    );
}

#[test]
fn own_errors_have_a_status() {
    let mut out = Vec::new();
    assert_eq!(own_error(ApiDialect::Messages, ErrorCode::Overloaded, "busy", &mut out), 529);
    assert_eq!(own_error(ApiDialect::Responses, ErrorCode::Overloaded, "busy", &mut out), 503);
    assert_eq!(own_error(ApiDialect::Gemini, ErrorCode::InvalidRequest, "busy", &mut out), 400);
}

/// qwen and Claude Code repeat an overload that is named so, and give up at other errors of a stream.
#[test]
fn an_overload_in_a_stream_is_known_by_its_words() {
    for (message, code, messages_type) in [
        ("The server is overloaded.", "null", "overloaded_error"),
        ("m is currently over capacity", "null", "overloaded_error"),
        ("engine is overloaded", "\"rate_limit_exceeded\"", "rate_limit_error"),
        ("The server had an error", "null", "api_error"),
    ] {
        let event = format!(r#"{{"error":{{"message":"{message}","type":"server_error","code":{code}}}}}"#);
        let events = [&chunk(r#"{"content":"a"}"#), &event];
        let events: Vec<_> = events.iter().map(|event| (None, event.as_bytes())).collect();
        let run = run_with(ApiDialect::ChatCompletions, ApiDialect::Messages, context(), &events);
        let out = String::from_utf8(run.output).unwrap();
        assert!(out.contains(&format!(r#""error":{{"type":"{messages_type}""#)), "{out}");
    }
}

#[test]
fn the_gateways_error_ends_a_stream() {
    for to in CLIENTS {
        let mut translator = StreamTranslator::new(ApiDialect::ChatCompletions, to, context(), "r", 1);
        let mut out = Vec::new();
        translator.event(None, chunk(r#"{"content":"a"}"#).as_bytes(), &mut out);
        translator.error(ErrorCode::Timeout, "no event for 60 s", &mut out);
        assert!(accumulate::stream(to, &out).error.unwrap().contains("no event for 60 s"));
        let length = out.len();
        translator.event(None, finish_chunk("stop").as_bytes(), &mut out);
        translator.error(ErrorCode::Timeout, "again", &mut out);
        assert_eq!((translator.finish(&mut out), out.len()), (Err(BrokenAnswer::Failed), length));
    }
}

#[test]
fn whole_errors_are_told_apart() {
    let of = |body: &str| {
        whole(
            ApiDialect::ChatCompletions,
            ApiDialect::Messages,
            body.as_bytes(),
            &context(),
            "r",
            1,
            &mut Vec::new(),
        )
    };
    assert_eq!(of("<html>"), Err(WholeError::NotJson));
    assert_eq!(of("{}"), Err(WholeError::Incomplete));
    let failed = |code, status, message: &str| {
        let message = message.to_owned();
        Err(WholeError::Failed { code, status, message })
    };
    assert_eq!(of(r#"{"error":{"message":"m","code":429}}"#), failed(ErrorCode::RateLimit, 429, "m"));
    let in_choice = r#"{"choices":[{"index":0,"message":{"content":"ha"},"finish_reason":"error","error":{"code":503,"message":"busy"}}]}"#;
    assert_eq!(of(in_choice), failed(ErrorCode::Overloaded, 529, "busy"));
}

#[test]
fn a_response_that_failed_or_is_under_way_is_no_answer() {
    let of = |body: &str| {
        let (from, to) = (ApiDialect::Responses, ApiDialect::Messages);
        whole(from, to, body.as_bytes(), &context(), "r", 1, &mut Vec::new())
    };
    let message = "long: 3 tokens > 2 maximum".to_owned();
    assert_eq!(
        of(
            r#"{"id":"r","status":"failed","error":{"code":"context_length_exceeded","message":"long: 3 tokens > 2 maximum"},"output":[]}"#
        ),
        Err(WholeError::Failed { code: ErrorCode::ContextOverflow, status: 400, message })
    );
    let message = "the provider reported an error".to_owned();
    assert_eq!(
        of(r#"{"id":"r","status":"cancelled","error":null,"output":[]}"#),
        Err(WholeError::Failed { code: ErrorCode::Server, status: 500, message })
    );
    for status in ["queued", "in_progress"] {
        let body = format!(r#"{{"id":"r","status":"{status}","error":null,"output":[]}}"#);
        assert_eq!(of(&body), Err(WholeError::Incomplete));
    }
}

/// Clients of the Responses API take no event before `response.created`.
#[test]
fn an_error_at_the_start_follows_the_response_that_it_ends() {
    for event in
        [r#"{"error":{"message":"no","code":500}}"#, r#"{"choices":[{"delta":{},"finish_reason":"error"}]}"#]
    {
        let out = run(ApiDialect::ChatCompletions, ApiDialect::Responses, &[event]).output;
        assert!(accumulate::stream(ApiDialect::Responses, &out).error.is_some());
        let names: Vec<_> = accumulate::events(&out).into_iter().filter_map(|(name, _)| name).collect();
        assert_eq!(names, ["response.created", "response.in_progress", "response.failed"], "{event}");
    }
}
