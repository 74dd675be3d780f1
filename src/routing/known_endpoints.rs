//! The endpoints of well-known providers, by their address, so that no request has to find them out. A
//! provider's own answers take precedence, and the configuration over both, because providers change.

use crate::base::Endpoint;
use Endpoint::{ChatCompletions, Completions, Embeddings, Gemini, Messages, Responses};

/// The endpoints of [`Endpoint::MAIN`] that a provider has and those that it lacks. Of the rest nothing is
/// known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownEndpoints {
    /// The API in which the provider loses least comes first: requests of dialects that it lacks go there.
    pub has: &'static [Endpoint],
    pub lacks: &'static [Endpoint],
}

/// At any host, below this path.
const ANTHROPIC_PATH: &str = "/anthropic";
const MESSAGES_ALONE: KnownEndpoints =
    KnownEndpoints { has: &[Messages], lacks: &[ChatCompletions, Completions, Embeddings, Responses] };

const fn known(has: &'static [Endpoint], lacks: &'static [Endpoint]) -> KnownEndpoints {
    KnownEndpoints { has, lacks }
}

/// Hosts, the beginning of the path there, and the endpoints.
const ADDRESSES: &[(&str, &str, KnownEndpoints)] = &[
    // Chat returns no reasoning and refuses tools beside an effort for the newest models.
    // <https://platform.openai.com/docs/api-reference>
    ("api.openai.com", "", known(&[Responses, ChatCompletions, Completions, Embeddings], &[Messages])),
    // The compatible chat endpoint leaves out caching, thinking and strict schemas.
    // <https://docs.claude.com/en/api/openai-sdk>
    ("api.anthropic.com", "", known(&[Messages, ChatCompletions], &[Completions, Embeddings, Responses])),
    // Messages are below /anthropic. <https://api-docs.deepseek.com/guides/anthropic_api>
    ("api.deepseek.com", "", known(&[ChatCompletions], &[Embeddings, Messages, Responses])),
    // <https://openrouter.ai/docs/api/reference/overview>,
    // <https://openrouter.ai/docs/api/reference/responses>
    (
        "openrouter.ai",
        "/api/v1",
        known(&[ChatCompletions, Responses, Messages, Completions, Embeddings], &[]),
    ),
    // "Text completions" are listed as not supported. <https://console.groq.com/docs/openai>
    ("api.groq.com", "/openai", known(&[ChatCompletions, Responses], &[Completions, Embeddings, Messages])),
    // <https://docs.mistral.ai/api>
    ("api.mistral.ai", "", known(&[ChatCompletions, Embeddings], &[Completions, Messages, Responses])),
    // Chat returns no reasoning; the messages endpoint is given up.
    // <https://docs.x.ai/developers/model-capabilities/text/comparison>,
    // <https://docs.x.ai/developers/rest-api-reference/inference/legacy>
    ("api.x.ai", "", known(&[Responses, ChatCompletions], &[Messages])),
    // <https://docs.together.ai/docs/openai-api-compatibility>
    ("api.together.xyz", "", known(&[ChatCompletions, Completions, Embeddings], &[Messages, Responses])),
    ("api.together.ai", "", known(&[ChatCompletions, Completions, Embeddings], &[Messages, Responses])),
    // <https://docs.fireworks.ai/tools-sdks/anthropic-compatibility>,
    // <https://docs.fireworks.ai/guides/response-api>
    (
        "api.fireworks.ai",
        "/inference",
        known(&[ChatCompletions, Messages, Responses, Completions, Embeddings], &[]),
    ),
    // <https://inference-docs.cerebras.ai/resources/openai>
    ("api.cerebras.ai", "", known(&[ChatCompletions, Completions], &[Embeddings, Messages, Responses])),
    // <https://ai.google.dev/gemini-api/docs/openai>
    (
        "generativelanguage.googleapis.com",
        "/v1beta/openai",
        known(&[ChatCompletions, Embeddings, Gemini], &[Completions, Messages, Responses]),
    ),
];

impl KnownEndpoints {
    /// The endpoints at a base URL's host and path. `None`: the address is none of the known ones.
    #[must_use]
    pub fn of_address(host: &str, path: &str) -> Option<Self> {
        let below = path.strip_suffix("/v1").unwrap_or(path);
        if below.ends_with(ANTHROPIC_PATH) {
            return Some(MESSAGES_ALONE);
        }
        let is_at = |(known, start, _): &&(&str, &str, Self)| {
            host.eq_ignore_ascii_case(known) && path.starts_with(start)
        };
        ADDRESSES.iter().find(is_at).map(|(.., endpoints)| *endpoints)
    }

    /// Whether it has this endpoint. `None`: unknown.
    #[must_use]
    pub fn has(&self, endpoint: Endpoint) -> Option<bool> {
        let is_there = self.has.contains(&endpoint);
        (is_there || self.lacks.contains(&endpoint)).then_some(is_there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_tells_the_endpoints() {
        let at = |host, path| KnownEndpoints::of_address(host, path).unwrap();
        let openai = at("api.openai.com", "/v1");
        assert_eq!((openai.has(Responses), openai.has(Messages)), (Some(true), Some(false)));
        assert_eq!(at("API.Anthropic.com", "/v1").has.first(), Some(&Messages), "its own API first");
        assert_eq!(at("api.deepseek.com", "/v1").has(Messages), Some(false));
        assert_eq!(at("api.deepseek.com", "/beta").has(Completions), None);
        for path in ["/anthropic", "/anthropic/v1", "/api/anthropic/v1"] {
            assert_eq!(at("api.deepseek.com", path), MESSAGES_ALONE, "{path}");
            assert_eq!(at("any.example", path), MESSAGES_ALONE, "{path}");
        }
        assert_eq!(KnownEndpoints::of_address("generativelanguage.googleapis.com", "/v1beta"), None);
        assert_eq!(KnownEndpoints::of_address("localhost", "/v1"), None);
        assert_eq!(KnownEndpoints::of_address("api.openai.com.evil.example", "/v1"), None);
    }

    #[test]
    fn no_endpoint_is_both_there_and_missing() {
        for (host, _, endpoints) in ADDRESSES.iter().chain([&("", "", MESSAGES_ALONE)]) {
            for endpoint in endpoints.has.iter().chain(endpoints.lacks) {
                assert_eq!(endpoint.main(), Some(*endpoint), "{host}");
            }
            assert!(!endpoints.has.iter().any(|one| endpoints.lacks.contains(one)), "{host}");
            assert!(!endpoints.has.is_empty(), "{host}");
        }
    }
}
