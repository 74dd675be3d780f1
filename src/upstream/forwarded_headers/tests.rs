//! The lists, and what a configuration can add to them.

use super::*;

fn with(pattern: &str) -> ForwardedHeaders {
    let patterns = || vec![HeaderPattern::parse(pattern).unwrap()];
    ForwardedHeaders { request: patterns(), response: patterns() }
}

/// Headers of recorded agents, and of providers' documents.
#[test]
fn headers_of_agents_go_up() {
    let headers = ForwardedHeaders::default();
    for header in [
        "user-agent",
        "anthropic-version",
        "anthropic-beta",
        "anthropic-dangerous-direct-browser-access",
        "openai-beta",
        "x-stainless-arch",
        "x-stainless-timeout",
        "x-app",
        "x-claude-code-session-id",
        "originator",
        "version",
        "session-id",
        "thread-id",
        "x-client-request-id",
        "x-codex-turn-metadata",
        "x-openai-subagent",
        "x-session-id",
        "x-session-affinity",
        "x-dashscope-cachecontrol",
        "http-referer",
        "x-title",
        "traceparent",
        "idempotency-key",
        "cf-aig-cache-ttl",
    ] {
        assert!(headers.pass_up(header), "{header}");
    }
}

/// Headers that a proxy in front adds, credentials and unknown headers stay; so do those of the client's
/// account with a provider.
#[test]
fn headers_of_proxies_and_log_ins_stay_below() {
    let (plain, all) = (ForwardedHeaders::default(), with("*"));
    for header in [
        "authorization",
        "proxy-authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "cookie",
        "host",
        "content-length",
        "content-encoding",
        "transfer-encoding",
        "te",
        "forwarded",
        "via",
        "x-forwarded-for",
        "x_forwarded_for",
        "x-forwarded-access-token",
        "x-real-ip",
        "cf-connecting-ip",
        "cf-ray",
        "cf-access-jwt-assertion",
        "true-client-ip",
        "x-client-ip",
        "x-amzn-oidc-accesstoken",
        "x-amzn-oidc-data",
        "x-amz-security-token",
        "x-auth-request-access-token",
        "x-auth-request-email",
        "x-goog-iap-jwt-assertion",
        "x-ms-client-principal-id",
        "x-ms-token-aad-access-token",
        "remote-user",
        "oidc_claim_sub",
        "x-original-url",
        "x-envoy-original-path",
        "sec-fetch-mode",
        "x-thalweg-strategy",
        "x-use-asgi-streaming",
        "x_use_asgi_streaming",
    ] {
        assert!(!plain.pass_up(header), "{header}");
        assert!(!all.pass_up(header), "{header} by a pattern");
        assert!(!with(header).pass_up(header), "{header} by its name");
        assert!(with(header).request[0].is_barred_up(), "{header}");
    }
    // By their names alone.
    for header in [
        "openai-organization",
        "openai-project",
        "x-litellm-api-key",
        "x-portkey-api-key",
        "helicone-auth",
        "cf-aig-authorization",
        "x-openai-auth-token",
        "x-session-token",
    ] {
        assert!(!plain.pass_up(header) && !all.pass_up(header), "{header}");
        assert!(with(header).pass_up(header), "{header}");
    }
    for header in ["x-custom", "x-user-email", "baggage", "referer", "if-none-match"] {
        assert!(!plain.pass_up(header), "{header}");
        assert!(with(header).pass_up(header) && all.pass_up(header), "{header}");
    }
    assert!(with("x-team-*").pass_up("x-team-name") && !with("x-team-*").pass_up("x-teams"));
}

/// Headers of recorded responses, and those that clients' libraries read.
#[test]
fn headers_that_clients_read_come_down() {
    let headers = ForwardedHeaders::default();
    for header in [
        "content-type",
        "content-encoding",
        "retry-after",
        "retry-after-ms",
        "x-should-retry",
        "request-id",
        "openai-processing-ms",
        "openai-organization",
        "openai-model",
        "anthropic-ratelimit-tokens-reset",
        "anthropic-organization-id",
        "x-ratelimit",
        "x-ratelimit-limit-tokens-minute",
        "ratelimit-policy",
        "cf-ray",
        "apim-request-id",
        "x-codex-turn-state",
        "x-codex-primary-used-percent",
        "llm_provider-x-ratelimit-limit-requests",
    ] {
        assert!(headers.pass_down(header), "{header}");
    }
}

#[test]
fn headers_that_make_others_act_stay_above() {
    let (plain, all) = (ForwardedHeaders::default(), with("*"));
    for header in [
        "x-accel-redirect",
        "x-accel-buffering",
        "x-accel-limit-rate",
        "x_accel_redirect",
        "x-sendfile",
        "x-sendfile2",
        "x-lighttpd-send-file",
        "x-litespeed-location",
        "x-reproxy-url",
        "x-envoy-immediate-health-check-fail",
        "surrogate-control",
        "cdn-cache-control",
        "cache-control",
        "x-thalweg-provider",
        "x-request-id",
        "server-timing",
        "location",
        "refresh",
        "clear-site-data",
        "set-cookie",
        "set-cookie2",
        "alt-svc",
        "strict-transport-security",
        "access-control-allow-origin",
        "content-security-policy",
        "www-authenticate",
        "content-length",
        "transfer-encoding",
        "keep-alive",
        "nel",
    ] {
        assert!(!plain.pass_down(header), "{header}");
        assert!(!all.pass_down(header), "{header} by a pattern");
        assert!(!with(header).pass_down(header), "{header} by its name");
        assert!(with(header).response[0].is_barred_down(), "{header}");
    }
    for header in ["server", "x-custom", "x-powered-by", "etag"] {
        assert!(!plain.pass_down(header), "{header}");
        assert!(with(header).pass_down(header) && all.pass_down(header), "{header}");
    }
}

#[test]
fn reads_names_and_beginnings() {
    assert_eq!(HeaderPattern::parse(" X-Team "), Some(HeaderPattern::Name("x-team".into())));
    assert_eq!(HeaderPattern::parse("X-Team-*"), Some(HeaderPattern::Prefix("x-team-".into())));
    assert_eq!(HeaderPattern::parse("*"), Some(HeaderPattern::Prefix("".into())));
    for text in ["", "x team", "x-*-team", "x:"] {
        assert_eq!(HeaderPattern::parse(text), None, "{text}");
    }
}

/// An SDK's headers go up by their names alone.
#[test]
fn other_headers_that_begin_like_an_sdks_stay() {
    let headers = ForwardedHeaders::default();
    for header in ["x-stainless-api-key", "x-stainless-internal-user", "x-stainless-"] {
        assert!(!headers.pass_up(header), "{header}");
    }
    for header in ["x-stainless-lang", "x-stainless-retry-count", "x-stainless-helper-method"] {
        assert!(headers.pass_up(header), "{header}");
    }
}
