//! The headers that pass from a client to a provider, and from a provider to a client: lists of those that
//! agents send and libraries read, and patterns by which a configuration extends them. A header on neither
//! list stays on its side.
//!
//! Invariant: no pattern lets the headers of a connection, a log-in or a proxy in front of the gateway pass
//! up, or those that speak for the gateway or make a proxy or a browser act pass down.

use http::HeaderName;

/// The headers that pass besides the built-in ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardedHeaders {
    /// From clients to the provider.
    pub request: Vec<HeaderPattern>,
    /// From the provider to clients.
    pub response: Vec<HeaderPattern>,
}

/// Headers by name, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderPattern {
    Name(Box<str>),
    /// All names that begin so. Empty: all names.
    Prefix(Box<str>),
}

impl HeaderPattern {
    /// Parses a header's name, or the beginning of names with a `*` behind it. `None`: it is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let is_valid = |text: &str| HeaderName::try_from(text).is_ok() && !text.contains('*');
        match text.strip_suffix('*') {
            Some(start) => (start.is_empty() || is_valid(start)).then(|| Self::Prefix(start.into())),
            None => is_valid(&text).then(|| Self::Name(text.into())),
        }
    }

    /// Whether it names one header, and that header never passes to a provider.
    #[must_use]
    pub fn is_barred_up(&self) -> bool {
        matches!(self, Self::Name(name) if stays_below(name))
    }

    /// Whether it names one header, and that header never passes to a client.
    #[must_use]
    pub fn is_barred_down(&self) -> bool {
        matches!(self, Self::Name(name) if stays_above(name))
    }
}

impl ForwardedHeaders {
    /// Whether a client's header of this name, in lower case, goes to the provider.
    #[must_use]
    pub fn pass_up(&self, name: &str) -> bool {
        is_listed_up(name) || !self.request.is_empty() && self.extends_up(name)
    }

    fn extends_up(&self, name: &str) -> bool {
        let is_matched = self.request.iter().any(|pattern| match pattern {
            HeaderPattern::Name(known) => **known == *name,
            HeaderPattern::Prefix(start) => name.starts_with(&**start) && !names_a_secret(name),
        });
        is_matched && !stays_below(name)
    }

    /// Whether a provider's header of this name, in lower case, goes to the client.
    #[must_use]
    pub fn pass_down(&self, name: &str) -> bool {
        let is_extended = || {
            self.response.iter().any(|pattern| match pattern {
                HeaderPattern::Name(known) => **known == *name,
                HeaderPattern::Prefix(start) => name.starts_with(&**start),
            })
        };
        is_listed_down(name) || is_extended() && !stays_above(name)
    }
}

/// Headers of requests by which providers and agents know each other: versions and features of an API, the
/// client and its session, traces. Where a pass is by its beginning, no header that names a secret or an
/// account is meant.
fn is_listed_up(name: &str) -> bool {
    match name {
        "user-agent"
        | "accept-language"
        | "traceparent"
        | "tracestate"
        | "idempotency-key"
        | "x-idempotency-key"
        | "x-request-id"
        | "x-client-request-id"
        | "x-correlation-id"
        | "x-trace-id"
        // Sessions, by which providers keep a conversation with its cache.
        | "session-id"
        | "session_id"
        | "thread-id"
        | "thread_id"
        | "conversation-id"
        | "conversation_id"
        | "x-session-id"
        | "x-session-affinity"
        | "x-multi-turn-session-id"
        | "x-prompt-cache-isolation-key"
        | "x-grok-conv-id"
        // Codex, Claude Code, OpenRouter, Copilot, Cohere, Azure, Google, vLLM.
        | "originator"
        | "version"
        | "x-app"
        | "x-initiator"
        | "http-referer"
        | "x-title"
        | "editor-version"
        | "editor-plugin-version"
        | "x-client-name"
        | "x-ms-client-request-id"
        | "azureml-model-deployment"
        | "extra-parameters"
        | "x-goog-api-client"
        | "x-data-parallel-rank"
        // Half of an SDK's headers.
        | "x-stainless-lang"
        | "x-stainless-package-version"
        | "x-stainless-os"
        | "x-stainless-arch"
        | "x-stainless-runtime"
        | "x-stainless-runtime-version"
        | "x-stainless-retry-count"
        | "x-stainless-timeout"
        | "x-stainless-read-timeout"
        | "x-stainless-async"
        | "x-stainless-raw-response"
        | "x-stainless-helper"
        | "x-stainless-helper-method"
        | "x-stainless-poll-helper"
        | "x-stainless-custom-poll-interval"
        | "x-stainless-streaming" => true,
        _ => begins_as_listed_up(name) && !names_a_secret(name),
    }
}

fn begins_as_listed_up(name: &str) -> bool {
    const X: &[&str] = &[
        "codex-",
        "claude-code-",
        "openai-",
        "responsesapi-",
        "oai-",
        "opencode-",
        "openrouter-",
        "dashscope-",
        "litellm-",
        "portkey-",
        "fireworks-",
        "ms-oai-",
        "amzn-bedrock-",
    ];
    const OTHERS: &[&str] = &["anthropic-", "openai-", "copilot-", "helicone-", "cf-aig-"];
    let begins = |starts: &[&str], name: &str| starts.iter().any(|start| name.starts_with(start));
    match name.strip_prefix("x-") {
        Some(rest) => begins(X, rest),
        None => begins(OTHERS, name),
    }
}

/// Whether a name, of a header in lower case or of a parameter, says that the value is a credential, or names
/// the client's own account. Only its whole name lets such a header pass.
#[must_use]
pub fn names_a_secret(name: &str) -> bool {
    const WORDS: [&str; 20] = [
        "key",
        "keys",
        "apikey",
        "token",
        "secret",
        "secrets",
        "auth",
        "authorization",
        "authentication",
        "authtoken",
        "accesstoken",
        "oauth",
        "password",
        "passwd",
        "credential",
        "credentials",
        "jwt",
        "assertion",
        "cookie",
        "signature",
    ];
    matches!(name, "openai-organization" | "openai-project" | "x-goog-user-project" | "chatgpt-account-id")
        || name.split(['-', '_']).any(|word| WORDS.contains(&word))
}

/// Headers of requests that never go to a provider: those of the connection and its framing, the credentials
/// that the gateway reads, its own controls, and those that a proxy in front of it adds: addresses, and
/// proofs of a log-in. Servers read an underscore as a hyphen, so both count alike.
fn stays_below(name: &str) -> bool {
    let name = &*name.replace('_', "-");
    is_hop_by_hop(name)
        || matches!(
            name,
            "host"
                | "content-length"
                | "content-type"
                | "content-encoding"
                | "accept"
                | "accept-encoding"
                | "authorization"
                | "x-api-key"
                | "api-key"
                | "x-goog-api-key"
                | "cookie"
                | "cookie2"
                | "expect"
                | "origin"
                | "x-use-asgi-streaming"
                | "forwarded"
                | "via"
                | "max-forwards"
                | "client-ip"
                | "true-client-ip"
                | "incap-client-ip"
                | "x-client-ip"
                | "x-cluster-client-ip"
                | "x-proxyuser-ip"
                | "x-sucuri-clientip"
                | "x-cloud-trace-context"
                | "front-end-https"
                | "early-data"
        )
        || BELOW.iter().any(|start| name.starts_with(start))
            && !["cf-aig-", "x-amzn-bedrock-"].iter().any(|start| name.starts_with(start))
}

/// Beginnings of the headers of proxies, balancers and log-in services.
const BELOW: [&str; 38] = [
    "x-thalweg-",
    "proxy-",
    "x-proxy-",
    "sec-",
    "x-forwarded",
    "x-real-",
    "x-original-",
    "x-envoy-",
    "x-nginx-",
    "cf-",
    "cdn-",
    "cloudfront-",
    "fastly-",
    "fly-",
    "akamai-",
    "x-akamai-",
    "x-azure-",
    "x-arr-",
    "x-appgw-",
    "x-amzn-",
    "x-amz-",
    "x-auth-",
    "x-authenticated-",
    "x-authentik-",
    "x-goog-authenticated-",
    "x-goog-iap-",
    "x-ms-client-principal",
    "x-ms-token-",
    "x-client-cert",
    "x-ssl-",
    "ssl-client-",
    "remote-",
    "x-remote-",
    "x-webauth-",
    "x-pomerium-",
    "x-vouch-",
    "tailscale-",
    "oidc-",
];

/// Headers of responses that clients read: the body's kind, limits, the time to come again, ids, and figures
/// of the provider about its answer.
fn is_listed_down(name: &str) -> bool {
    match name {
        "content-type"
        | "content-encoding"
        | "content-language"
        | "content-disposition"
        | "retry-after"
        | "retry-after-ms"
        | "x-should-retry"
        | "ratelimit"
        | "x-ratelimit"
        | "request-id"
        | "requestid"
        | "apim-request-id"
        | "x-amzn-requestid"
        | "x-ms-request-id"
        | "x-ms-client-request-id"
        | "x-client-request-id"
        | "x-generation-id"
        | "x-correlation-id"
        | "x-trace-id"
        | "trace-id"
        | "cf-ray"
        | "deprecation"
        | "sunset"
        | "azureml-model-session"
        | "azureml-model-group"
        | "x-ms-region"
        | "x-ms-deployment-name"
        | "x-ms-rai-invoked"
        | "x-gemini-service-tier"
        | "x-inference-id"
        | "x-reasoning-included"
        | "x-models-etag"
        | "x-envoy-upstream-service-time" => true,
        _ => begins_as_listed_down(name),
    }
}

fn begins_as_listed_down(name: &str) -> bool {
    const X: &[&str] = &[
        "ratelimit-",
        "rate-limit-",
        "codex-",
        "openai-",
        "oai-",
        "openrouter-",
        "litellm-",
        "portkey-",
        "groq-",
        "together-",
        "fireworks-",
        "mistral-",
        "dashscope-",
        "grok-",
        "compute-",
        "kong-",
        "amzn-bedrock-",
    ];
    const OTHERS: &[&str] = &[
        "anthropic-",
        "openai-",
        "ratelimit-",
        "mistral-",
        "fireworks-",
        "helicone-",
        "llm_provider-",
        "cf-aig-",
    ];
    let begins = |starts: &[&str], name: &str| starts.iter().any(|start| name.starts_with(start));
    match name.strip_prefix("x-") {
        Some(rest) => begins(X, rest),
        None => begins(OTHERS, name),
    }
}

/// Headers of responses that never go to a client: those of the connection and its framing, those that the
/// gateway gives itself, and those on which a proxy in front of it or a browser acts.
fn stays_above(name: &str) -> bool {
    let name = &*name.replace('_', "-");
    is_hop_by_hop(name)
        || matches!(
            name,
            "content-length"
                | "date"
                | "server-timing"
                | "x-request-id"
                | "x-content-type-options"
                | "location"
                | "content-location"
                | "refresh"
                | "status"
                | "clear-site-data"
                | "alt-svc"
                | "alt-used"
                | "strict-transport-security"
                | "www-authenticate"
                | "authentication-info"
                | "cache-control"
                | "expires"
                | "vary"
                | "pragma"
                | "edge-control"
                | "cache-tag"
                | "nel"
                | "report-to"
                | "reporting-endpoints"
                | "link"
                | "sourcemap"
                | "x-sourcemap"
                | "service-worker-allowed"
                | "x-reproxy-url"
        )
        || ABOVE.iter().any(|start| name.starts_with(start))
}

/// Beginnings of the headers on which web servers, caches and browsers act.
const ABOVE: [&str; 17] = [
    "x-thalweg-",
    "set-cookie",
    "proxy-",
    "sec-",
    "x-accel-",
    "x-sendfile",
    "x-lighttpd-",
    "x-litespeed-",
    "lsc-",
    "x-middleware-",
    "x-envoy-",
    "x-reproxy-",
    "surrogate-",
    "cdn-",
    "access-control-",
    "cross-origin-",
    "content-security-policy",
];

/// Hop-by-hop headers: RFC 9110 section 7.6.1, and those that older software adds.
#[must_use]
pub fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-authentication-info"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

#[cfg(test)]
mod tests;
