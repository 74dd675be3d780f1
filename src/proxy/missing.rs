//! Whether a provider's error says that the model is missing, or the endpoint. Providers have no common code
//! for either, and a 404 may mean both; the words of their documents and of recorded answers decide.
//!
//! Text of the provider may quote the request, so a sentence counts only with the model's name, or by words
//! that no request holds.

use crate::{routing::FailureClass, wire::ProviderError};

/// Sentences about a model, in lower case, with its name and quotes left out. Each stands for a missing model
/// under any status of a caller's mistake.
const MODEL_SENTENCES: &[&str] = &[
    "model not found",
    "model does not exist",
    "model not exist",
    "model is not found",
    "model is not available",
    "model is not supported",
    "model not supported",
    "no such model",
    "invalid model",
    "unknown model",
    "unsupported model",
    "is not a valid model",
    "model identifier is invalid",
    "you are not allowed to generate from this model",
];

/// Sentences about a model that its provider serves at another endpoint, in lower case.
const ELSEWHERE_SENTENCES: &[&str] =
    &["this is a chat model", "this is not a chat model", "this model is only supported in"];

/// Sentences about a path under a status that does not say it, in lower case: LM Studio has 200, a few
/// gateways 400.
const ENDPOINT_SENTENCES_OF_ANY_STATUS: &[&str] = &[
    "unexpected endpoint or method",
    "unknown endpoint",
    "unknown request url",
    "unsupported endpoint",
    "endpoint not found",
    "endpoint is not supported",
    "endpoint not supported",
    "no route matched",
    "route not found",
    "invalid url (post",
    "cannot post /",
];

/// Sentences about a path, in lower case.
const ENDPOINT_SENTENCES: &[&str] = &[
    "invalid url",
    "unknown request url",
    "unexpected endpoint",
    "unknown endpoint",
    "page not found",
    "no route matched",
    "route not found",
    "file not found",
    "cannot post",
    "method not allowed",
    "this server does not support",
];

/// Sentences about a request that this provider cannot serve, while another may, in lower case.
const UNSUPPORTED_SENTENCES: &[&str] = &[
    // OpenRouter: the filters of the request leave none of its own providers.
    "no endpoints found that",
    "no endpoints found matching",
    "no allowed providers",
    // OpenAI and Groq: this request alone is above the limit of tokens per minute.
    "request too large",
    // OpenAI and Anthropic: another provider made the thing that the request sends back.
    "previous response with id",
    "the encrypted content for item",
    "invalid `signature` in `thinking` block",
];

/// Whether the message of a 400 or 422 says that the model, here called `model`, is missing.
pub(super) fn says_no_model(message: &str, model: &str) -> bool {
    let plain = without_name(&message.to_lowercase(), &model.to_lowercase());
    MODEL_SENTENCES.iter().any(|sentence| plain.contains(sentence)) || names_unsupported_api(&plain)
}

/// Whether the message of an error says that the model is served at another endpoint. Words that the provider
/// quotes from the request do not stand at the message's start.
pub(super) fn says_other_endpoint(message: &str) -> bool {
    starts_with_any(message, ELSEWHERE_SENTENCES)
}

/// The same for a message that there is no such endpoint, whatever its status.
pub(super) fn says_no_endpoint(message: &str) -> bool {
    starts_with_any(message, ENDPOINT_SENTENCES_OF_ANY_STATUS)
}

fn starts_with_any(message: &str, sentences: &[&str]) -> bool {
    let message = message.trim_start().to_lowercase();
    sentences.iter().any(|sentence| message.starts_with(sentence))
}

/// vLLM: "the model does not support Embeddings API".
fn names_unsupported_api(plain: &str) -> bool {
    plain
        .split_once("model does not support ")
        .is_some_and(|(_, rest)| rest.split_once(" api").is_some_and(|(api, _)| !api.contains('.')))
}

/// Whether a message says that this provider cannot serve such a request.
pub(super) fn says_unsupported(message: &str) -> bool {
    contains_any(&message.to_lowercase(), UNSUPPORTED_SENTENCES)
}

/// The class of a 404, 405 or 501: a missing model if the text speaks of the model, the client's mistake if
/// it speaks of another thing that the request names, else a missing endpoint.
pub(super) fn of_not_found(status: u16, error: &ProviderError<'_>, text: &[u8], model: &str) -> FailureClass {
    let whole = String::from_utf8_lossy(text).to_lowercase();
    // The words of a page for people are about its site.
    if whole.trim_start().starts_with('<') {
        return FailureClass::EndpointMissing;
    }
    let said = error.message.map_or_else(|| whole.clone(), str::to_lowercase);
    let (code, model) = (error.code.unwrap_or_default(), model.to_lowercase());
    if code == "unknown_url" || contains_any(&said, ENDPOINT_SENTENCES) {
        return FailureClass::EndpointMissing;
    }
    let is_about_model = said.contains("model")
        || said.contains("deployment")
        || replace_word(&said, &model) != said
        || names_param(&whole, "model");
    if is_about_model {
        return FailureClass::ModelMissing;
    }
    if status == 404 && names_another_thing(code, &said) {
        return FailureClass::CallerMistake;
    }
    FailureClass::EndpointMissing
}

/// Whether the error is about a thing that the request names by its id: a response, a file, a conversation.
fn names_another_thing(code: &str, said: &str) -> bool {
    let of_thing =
        code.strip_suffix("_not_found").is_some_and(|thing| !matches!(thing, "page" | "url" | "route"));
    of_thing || contains_any(said, &[" with id ", "no such ", "previous_response", "previous response"])
}

/// Whether `param` has this value.
fn names_param(text: &str, name: &str) -> bool {
    let mut parts = text.split("\"param\"").skip(1);
    parts.any(|rest| rest.trim_start_matches([':', ' ', '"']).starts_with(name))
}

fn contains_any(text: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| text.contains(part))
}

/// The message without the model's name and its quotes, so that one sentence stands for all names.
fn without_name(message: &str, name: &str) -> String {
    let without = replace_word(message, name);
    let plain =
        without.replace(['`', '\'', '"', '\\', '“', '”', '‘', '’', '='], "").replace("model name", "model");
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The message without `name` where it is not a part of a longer word.
fn replace_word(message: &str, name: &str) -> String {
    if name.is_empty() {
        return message.to_owned();
    }
    let (mut plain, mut rest) = (String::with_capacity(message.len()), message);
    while let Some((before, after)) = rest.split_once(name) {
        plain.push_str(before);
        let is_word = !before.ends_with(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric);
        if !is_word {
            plain.push_str(name);
        }
        rest = after;
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::provider_error;

    /// B2: the sentences of servers that answer 400 for a model that they lack.
    #[test]
    fn a_missing_model_is_known_by_its_sentence() {
        for message in [
            "model 'nope' not found",
            r#"model \"nope\" not found, try pulling it first"#,
            "Invalid model name passed in model=nope. Call `/v1/models` to view available models for your key.",
            "{'error': '/chat/completions: Invalid model name passed in model=nope'}",
            "The model `nope` does not exist or you do not have access to it.",
            "Model Not Exist",
            "nope is not a valid model ID",
            "Invalid model: nope",
            "Unknown model: nope",
            "The requested model 'nope' does not exist.",
            "The provided model identifier is invalid.",
            "Model nope is not supported",
            "The model `nope` does not support Embeddings API",
        ] {
            assert!(says_no_model(message, "nope"), "{message}");
            assert!(says_no_model(&message.replace("nope", "m"), "m"), "{message}");
        }
        for message in [
            "The model 'nope' does not support image inputs.",
            "tool 'search' not found",
            "Invalid value: 'model'. Supported values are: 'user'",
            "'messages' is a required property",
            "`temperature` is not supported with this model",
            "image not found for model nope",
        ] {
            assert!(!says_no_model(message, "nope"), "{message}");
        }
    }

    /// B1: a 404 without a word about the model is about the endpoint.
    #[test]
    fn a_404_is_about_the_model_the_endpoint_or_another_thing() {
        for (text, class) in [
            (r#"{"detail":"Not Found"}"#, FailureClass::EndpointMissing),
            (r#"{"detail":"Method Not Allowed"}"#, FailureClass::EndpointMissing),
            (
                r#"{"error":{"message":"Invalid URL (POST /v1/messages)","type":"invalid_request_error","param":null,"code":null}}"#,
                FailureClass::EndpointMissing,
            ),
            (
                r#"{"error":{"message":"Unknown request URL: POST /openai/v1/nope/messages.","code":"unknown_url"}}"#,
                FailureClass::EndpointMissing,
            ),
            (
                r#"{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}"#,
                FailureClass::EndpointMissing,
            ),
            (
                r#"{"type":"error","error":{"type":"not_found_error","message":"Not Found"}}"#,
                FailureClass::EndpointMissing,
            ),
            (
                r#"{"error":{"code":501,"message":"This server does not support embeddings. Start it with `--embeddings` for this model","type":"not_supported_error"}}"#,
                FailureClass::EndpointMissing,
            ),
            ("404 page not found", FailureClass::EndpointMissing),
            ("<html><title>nope: no such model page</title>", FailureClass::EndpointMissing),
            ("", FailureClass::EndpointMissing),
            ("{}", FailureClass::EndpointMissing),
            (r#"{"error":{"message":"model: nope","type":"not_found_error"}}"#, FailureClass::ModelMissing),
            (r#"{"error":{"code":"404","message":"nope was not found"}}"#, FailureClass::ModelMissing),
            (
                r#"{"error":{"message":"not found","type":"invalid_request_error","param": "model","code":null}}"#,
                FailureClass::ModelMissing,
            ),
            ("no model called nope here", FailureClass::ModelMissing),
            (
                r#"{"error":{"message":"This is a chat model and not supported in the v1/completions endpoint. Did you mean to use v1/chat/completions?","type":"invalid_request_error","param":"model","code":null}}"#,
                FailureClass::ModelMissing,
            ),
            (
                r#"{"error":{"message":"Previous response with id 'resp_1' not found.","param":"previous_response_id","code":"previous_response_not_found"}}"#,
                FailureClass::CallerMistake,
            ),
            (
                r#"{"error":{"message":"No such File object: file-1","code":null}}"#,
                FailureClass::CallerMistake,
            ),
        ] {
            let error = provider_error::read(text.as_bytes());
            assert_eq!(of_not_found(404, &error, text.as_bytes(), "nope"), class, "{text}");
        }
    }

    #[test]
    fn an_unknown_endpoint_is_known_by_its_sentence() {
        for message in [
            "Unexpected endpoint or method. (POST /v1/messages)",
            "Unknown endpoint: POST /v1/responses",
            "no Route matched with those values",
            "Invalid URL (POST /v1/messages)",
        ] {
            assert!(says_no_endpoint(message), "{message}");
        }
        for message in ["Invalid URL for an image: /a.png", "'messages' is a required property", ""] {
            assert!(!says_no_endpoint(message), "{message}");
        }
        assert!(!says_no_endpoint("Invalid value: 'unknown endpoint'."), "quoted from the request");
        assert!(!says_other_endpoint("Invalid value: 'this is a chat model'."), "quoted from the request");
        let elsewhere = "This model is only supported in v1/responses and not in v1/chat/completions.";
        assert!(says_other_endpoint(elsewhere) && !says_no_endpoint(elsewhere));
    }

    #[test]
    fn a_request_that_one_provider_cannot_serve() {
        for message in [
            "No endpoints found that support tool use.",
            "No endpoints found matching your data policy.",
            "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 58123.",
        ] {
            assert!(says_unsupported(message), "{message}");
        }
        assert!(!says_unsupported("Rate limit reached for gpt-4o on tokens per min"));
    }
}
