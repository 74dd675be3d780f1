//! Citations, stop reasons and usage of chat providers in their forms.

use super::{
    fact::{Citation, ErrorCode, Fact, FactSink, StopReason, TokenUsage},
    json_read::{Json, JsonRead},
};

pub(super) fn citation(annotation: Json<'_>) -> Fact<'_> {
    let Some(page) = annotation.member("url_citation") else { return Fact::Unknown };
    let range = page.count("start_index").zip(page.count("end_index")).filter(|(_, end)| *end > 0);
    Fact::Citation(Citation {
        url: page.text_or_empty("url"),
        title: page.text_or_empty("title"),
        cited_text: page.text_or_empty("content"),
        range,
        is_in_block: false,
    })
}

/// The pages of a whole answer (Perplexity), which refer to all of its text.
pub(super) fn sources(answer: Json<'_>, sink: &mut dyn FactSink) {
    let mut has_results = false;
    for page in answer.elements("search_results").take(MAX_SOURCES) {
        has_results = true;
        let (url, title) = (page.text_or_empty("url"), page.text_or_empty("title"));
        sink.fact(Fact::Citation(Citation { url, title, cited_text: "", range: None, is_in_block: false }));
    }
    if !has_results {
        let urls = answer.elements("citations").take(MAX_SOURCES).filter_map(|url| url.own_text());
        for url in urls {
            sink.fact(Fact::Citation(Citation {
                url,
                title: "",
                cited_text: "",
                range: None,
                is_in_block: false,
            }));
        }
    }
}

const MAX_SOURCES: usize = 64;

pub(super) fn stop_reason(reason: &str) -> Result<StopReason, ErrorCode> {
    let is = |names: &[&str]| names.iter().any(|name| reason.eq_ignore_ascii_case(name));
    if is(&["length", "max_tokens", "model_length"]) {
        Ok(StopReason::Length)
    } else if is(&["tool_calls", "function_call", "tool_use"]) {
        Ok(StopReason::ToolUse)
    } else if is(&["content_filter", "refusal", "safety", "recitation", "prohibited_content", "blocklist"]) {
        Ok(StopReason::Filtered)
    } else if is(&["error", "abort", "malformed_function_call"]) {
        Err(ErrorCode::Server)
    } else if is(&["insufficient_system_resource"]) {
        Err(ErrorCode::Overloaded)
    } else {
        Ok(StopReason::Stop)
    }
}

/// `None`: not a usage object.
pub(super) fn usage(usage: Json<'_>) -> Option<TokenUsage> {
    let input = usage.count("prompt_tokens")?;
    let output = usage.count("completion_tokens").unwrap_or(0);
    let details = usage.member("prompt_tokens_details");
    let detail = |name: &str| details.and_then(|details| details.count(name));
    let cache_read = detail("cached_tokens")
        .or_else(|| usage.count("prompt_cache_hit_tokens"))
        .or_else(|| usage.count("cached_tokens"))
        .unwrap_or(0);
    let cache_write = detail("cache_write_tokens").or_else(|| detail("cache_creation_tokens")).unwrap_or(0);
    let reasoning = usage
        .member("completion_tokens_details")
        .and_then(|details| details.count("reasoning_tokens"))
        .or_else(|| usage.count("reasoning_tokens"))
        .unwrap_or(0);
    // xAI and Gemini count reasoning in the total alone. Where it is a part of the completion, nothing of the
    // total is left over.
    let beside_input = usage.count("total_tokens").map_or(0, |total| total.saturating_sub(input));
    let output = output.max(beside_input);
    Some(TokenUsage { input, cache_read, cache_write, output, reasoning })
}
