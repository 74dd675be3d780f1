//! The names of members in the client's dialect. The writers know them by the names of chat completions.

use crate::dialect::ApiDialect;

/// The path by which the client said a member that a writer drops or refuses.
pub(super) fn own_name(client: ApiDialect, name: &str) -> &str {
    match (client, name) {
        (ApiDialect::ChatCompletions, "image_detail") => "messages.content.image_url.detail",
        (ApiDialect::Messages, "stop") => "stop_sequences",
        (ApiDialect::Messages, "response_format") => "output_config.format",
        (ApiDialect::Messages, "reasoning_effort") => "thinking",
        (ApiDialect::Messages, "prompt_cache_key") => "metadata",
        (ApiDialect::Messages, "reasoning_summary") => "thinking.display",
        (ApiDialect::Responses, "reasoning_summary") => "reasoning.summary",
        (ApiDialect::Gemini, "reasoning_summary") => "generationConfig.thinkingConfig.includeThoughts",
        (ApiDialect::Responses, "response_format") => "text.format",
        (ApiDialect::Responses, "verbosity") => "text.verbosity",
        (ApiDialect::Responses, "reasoning_effort") => "reasoning",
        (ApiDialect::Responses, "max_tokens") => "max_output_tokens",
        (ApiDialect::Responses, "logprobs") => "top_logprobs",
        (ApiDialect::Responses, "image_detail") => "input.content.detail",
        (ApiDialect::Gemini, "stop") => "generationConfig.stopSequences",
        (ApiDialect::Gemini, "response_format") => "generationConfig.responseMimeType",
        (ApiDialect::Gemini, "reasoning_effort") => "generationConfig.thinkingConfig",
        (ApiDialect::Gemini, "max_tokens") => "generationConfig.maxOutputTokens",
        (ApiDialect::Gemini, "temperature") => "generationConfig.temperature",
        (ApiDialect::Gemini, "top_p") => "generationConfig.topP",
        (ApiDialect::Gemini, "top_k") => "generationConfig.topK",
        (ApiDialect::Gemini, "seed") => "generationConfig.seed",
        (ApiDialect::Gemini, "presence_penalty") => "generationConfig.presencePenalty",
        (ApiDialect::Gemini, "frequency_penalty") => "generationConfig.frequencyPenalty",
        (
            ApiDialect::ChatCompletions | ApiDialect::Messages | ApiDialect::Responses | ApiDialect::Gemini,
            name,
        ) => name,
    }
}
