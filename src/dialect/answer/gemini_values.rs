//! Calls, reasons, usage, citations and log probabilities in Gemini's form.

use super::{
    fact::{Citation, Seal, StopReason, TokenUsage},
    json_read::{Json, JsonRead, JsonReader, write_json},
};
use crate::dialect::{json::JsonWrite, reasoning};

/// The text for `thoughtSignature`, with the one `before` that no call took. A chat provider's reasoning is
/// its text.
pub(super) fn seal_with_text(before: Option<String>, seal: &Seal<'_>, text: &str) -> String {
    let payload = reasoning::payload_with_text(seal.origin, &seal.payload, text);
    let joined = before.and_then(|before| reasoning::joined_payload(&before, seal.origin, &payload));
    reasoning::encode(seal.origin, joined.as_deref().unwrap_or(&payload))
}

/// `false`: the arguments are no JSON object, and `out` has no whole part.
pub(super) fn write_call(
    id: &str,
    name: &str,
    arguments: &str,
    signature: Option<&str>,
    out: &mut Vec<u8>,
) -> bool {
    out.raw(r#"{"functionCall":{"id":"#).string(id).raw(r#","name":"#).string(name).raw(r#","args":"#);
    let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
    let is_object = JsonReader::new().read(arguments.as_bytes(), |json| {
        let is_object = json.as_object().is_some();
        write_json(json, out);
        is_object
    });
    out.raw("}");
    if let Some(signature) = signature {
        out.raw(r#","thoughtSignature":"#).string(signature);
    }
    out.raw("}");
    is_object == Some(true)
}

pub(super) const fn finish_reason(
    reason: StopReason,
    has_refusal: bool,
    has_malformed_call: bool,
) -> &'static str {
    match reason {
        StopReason::Length | StopReason::ContextWindow => "MAX_TOKENS",
        StopReason::Filtered => "SAFETY",
        StopReason::ToolUse if has_malformed_call => "MALFORMED_FUNCTION_CALL",
        StopReason::Stop if has_refusal => "SAFETY",
        StopReason::Stop | StopReason::StopSequence | StopReason::ToolUse | StopReason::Paused => "STOP",
    }
}

pub(super) fn write_usage(usage: TokenUsage, out: &mut Vec<u8>) {
    out.raw(r#"{"promptTokenCount":"#).number(usage.input);
    if usage.cache_read > 0 {
        out.raw(r#","cachedContentTokenCount":"#).number(usage.cache_read);
    }
    out.raw(r#","candidatesTokenCount":"#).number(usage.output.saturating_sub(usage.reasoning));
    if usage.reasoning > 0 {
        out.raw(r#","thoughtsTokenCount":"#).number(usage.reasoning);
    }
    out.raw(r#","totalTokenCount":"#).number(usage.input.saturating_add(usage.output)).raw("}");
}

pub(super) fn write_citation(citation: &Citation<'_>, out: &mut Vec<u8>) {
    let (start, end) = citation.range.unwrap_or_default();
    out.raw(r#"{"startIndex":"#).number(start).raw(r#","endIndex":"#).number(end);
    out.raw(r#","uri":"#).string(citation.url).raw(r#","title":"#).string(citation.title).raw("}");
}

/// `logprobsResult` from the tokens of a chat or Responses answer.
pub(super) fn write_logprobs(tokens: Json<'_>, out: &mut Vec<u8>) {
    out.raw(r#","logprobsResult":{"chosenCandidates":["#);
    write_tokens(tokens, out);
    out.raw(r#"],"topCandidates":["#);
    for (index, token) in tokens.own_elements().enumerate() {
        out.raw(if index > 0 { ",{\"candidates\":[" } else { "{\"candidates\":[" });
        if let Some(top) = token.member("top_logprobs") {
            write_tokens(top, out);
        }
        out.raw("]}");
    }
    out.raw("]}");
}

fn write_tokens(tokens: Json<'_>, out: &mut Vec<u8>) {
    for (index, token) in tokens.own_elements().enumerate() {
        out.raw(if index > 0 { ",{\"token\":" } else { "{\"token\":" });
        out.string(token.text_or_empty("token"));
        if let Some(logprob) = token.member("logprob") {
            out.raw(r#","logProbability":"#);
            write_json(logprob, out);
        }
        out.raw("}");
    }
}
