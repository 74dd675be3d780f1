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

/// The class of a `finish_reason`; `has_content`: the answer has content. Hosts add details to the word
/// (`content_filter: SAFETY`), write it in capitals or with hyphens, and have words of their own.
pub(super) fn stop_reason(reason: &str, has_content: bool) -> Result<StopReason, ErrorCode> {
    let end = reason.find(|character: char| character == ':' || character.is_whitespace());
    let word = reason.get(..end.unwrap_or(reason.len())).unwrap_or_default();
    if word.len() > MAX_WORD {
        return unknown(has_content);
    }
    match word.to_ascii_lowercase().replace('-', "_").as_str() {
        "stop" | "eos" | "eos_token" | "end" | "end_turn" | "done" | "complete" | "completed"
        | "finished" | "finish" | "normal" | "endoftext" | "end_of_text" | "end_of_turn"
        | "end_of_message" | "stop_sequence" => Ok(StopReason::Stop),
        "length" | "max_tokens" | "model_length" | "max_new_tokens" | "max_output_tokens" | "max_output"
        | "token_limit" | "out_of_tokens" | "repetition" | "continuation" => Ok(StopReason::Length),
        "model_context_window_exceeded" | "context_window_exceeded" | "context_length_exceeded" => {
            Ok(StopReason::ContextWindow)
        }
        "tool_calls" | "tool_call" | "tool_use" | "function_call" | "function_calls" => {
            Ok(StopReason::ToolUse)
        }
        word if word.starts_with("content_filter") => Ok(StopReason::Filtered),
        word if word.starts_with("function_call_filter") => Err(ErrorCode::Server),
        "refusal"
        | "sensitive"
        | "safety"
        | "recitation"
        | "prohibited_content"
        | "blocklist"
        | "spii"
        | "language"
        | "image_safety"
        | "model_armor"
        | "guardrails"
        | "guardrail_intervened" => Ok(StopReason::Filtered),
        "error"
        | "error_limit"
        | "internal_error"
        | "network_error"
        | "abort"
        | "aborted"
        | "cancelled"
        | "canceled"
        | "malformed_function_call"
        | "unexpected_tool_call"
        | "too_many_tool_calls"
        | "missing_thought_signature"
        | "malformed_response" => Err(ErrorCode::Server),
        "timeout" | "time_limit" => Err(ErrorCode::Timeout),
        "insufficient_system_resource" => Err(ErrorCode::Overloaded),
        _ => unknown(has_content),
    }
}

/// A word that is not known is no good end: the content may be a part of the answer, and none is an error.
const fn unknown(has_content: bool) -> Result<StopReason, ErrorCode> {
    if has_content { Ok(StopReason::Length) } else { Err(ErrorCode::Server) }
}

const MAX_WORD: usize = 64;

/// The sequence that ended the answer: vLLM's `stop_reason`, SGLang's `matched_stop`. Both may be the number
/// of a token, other servers write a reason there, and SGLang writes the marks of the model's own template.
pub(super) fn stop_sequence<'a>(choice: Json<'a>) -> Option<&'a str> {
    let is_reason = |text: &str| REASONS.contains(&text);
    let is_mark = |text: &str| {
        let inside = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or_default();
        let has_bars = |bar: char| inside.starts_with(bar) && inside.ends_with(bar);
        has_bars('|') || has_bars('\u{ff5c}') || ["/s", "eos", "end_of_turn"].contains(&inside)
    };
    let own = choice.text("stop_reason").filter(|text| !is_reason(text));
    own.or_else(|| choice.text("matched_stop").filter(|text| !is_reason(text) && !is_mark(text)))
        .filter(|text| !text.is_empty())
}

const REASONS: [&str; 12] = [
    "stop",
    "eos",
    "eos_token",
    "end_turn",
    "length",
    "max_tokens",
    "stop_sequence",
    "tool_calls",
    "tool_use",
    "function_call",
    "content_filter",
    "refusal",
];

/// `None`: not a usage object, or zeros, which stand in for counts that come later or never. Besides OpenAI's
/// members these are read: the ones of Anthropic beside them (LiteLLM) or in their place, and the ones of the
/// Responses API.
pub(super) fn usage(usage: Json<'_>) -> Option<TokenUsage> {
    let detail = |groups: [&str; 2], name: &str| {
        groups.iter().find_map(|group| usage.member(group).and_then(|details| details.count(name)))
    };
    let input_details = ["prompt_tokens_details", "input_tokens_details"];
    let (own_read, own_write) =
        (usage.count("cache_read_input_tokens"), usage.count("cache_creation_input_tokens"));
    let cache_read = detail(input_details, "cached_tokens")
        .or_else(|| usage.count("prompt_cache_hit_tokens"))
        .or_else(|| usage.count("cached_tokens"))
        .or(own_read)
        .unwrap_or(0);
    let cache_write = detail(input_details, "cache_write_tokens")
        .or_else(|| detail(input_details, "cache_creation_tokens"))
        .or(own_write)
        .unwrap_or(0);
    let input = match usage.count("prompt_tokens") {
        Some(input) => input,
        // Anthropic counts the cached tokens beside the others.
        None => {
            let beside = own_read.unwrap_or(0).saturating_add(own_write.unwrap_or(0));
            usage.count("input_tokens")?.saturating_add(beside)
        }
    };
    let output = usage.count("completion_tokens").or_else(|| usage.count("output_tokens")).unwrap_or(0);
    let reasoning = detail(["completion_tokens_details", "output_tokens_details"], "reasoning_tokens")
        .or_else(|| usage.count("reasoning_tokens"))
        .unwrap_or(0);
    // xAI and Gemini count reasoning in the total alone. Where it is a part of the completion, nothing of the
    // total is left over.
    let beside_input = usage.count("total_tokens").map_or(0, |total| total.saturating_sub(input));
    let output = output.max(beside_input);
    let usage = TokenUsage { input, cache_read, cache_write, cache_write_1h: 0, output, reasoning };
    (input > 0 || output > 0).then_some(usage)
}
