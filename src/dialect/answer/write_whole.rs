//! Whole answers in the dialects of clients, but for responses.

use super::{
    block::BlockKind,
    fact::{Citation, Seal, TokenUsage},
    gathered_answer::{Gathered, GatheredBlock, GatheredEnd},
    gemini_values, ids,
    json_read::{JsonReader, write_json},
    write_chat, write_messages,
};
use crate::dialect::{ApiDialect, json::JsonWrite};

pub(super) fn citation(to: ApiDialect, citation: &Citation<'_>, out: &mut Vec<u8>) {
    match to {
        ApiDialect::Messages => write_messages::write_citation(citation, out),
        ApiDialect::Gemini => gemini_values::write_citation(citation, out),
        ApiDialect::ChatCompletions | ApiDialect::Responses => write_chat::write_citation(citation, out),
    }
}

fn seal(block: &GatheredBlock) -> Option<Seal<'_>> {
    block.seal.as_ref().map(|(origin, payload)| Seal { origin: *origin, payload: payload.into() })
}

fn separate(out: &mut Vec<u8>) {
    if !matches!(out.last(), Some(b'[' | b'{')) {
        out.push(b',');
    }
}

pub(super) fn messages(answer: &Gathered, end: &GatheredEnd, out: &mut Vec<u8>) {
    out.raw(r#"{"id":"#).string(&ids::message_id(&answer.id, &answer.own_id));
    out.raw(r#","type":"message","role":"assistant","model":"#).string(&answer.model);
    out.raw(r#","content":["#);
    for block in &answer.blocks {
        separate(out);
        messages_block(block, out);
    }
    out.raw("],");
    let start = out.len();
    write_messages::write_stop_reason(end.reason, end.sequence.as_deref(), end.has_refusal, out);
    // Its members belong to the message.
    out.remove(start);
    out.raw(r#","usage":"#);
    write_messages::write_usage(end.usage.unwrap_or(end.estimate), out);
    out.raw("}");
}

fn messages_block(block: &GatheredBlock, out: &mut Vec<u8>) {
    match block.kind {
        BlockKind::Text | BlockKind::Refusal => {
            out.raw(r#"{"type":"text","text":"#).string(&block.text);
            if !block.citations.is_empty() {
                out.raw(r#","citations":["#).raw(&block.citations).raw("]");
            }
        }
        BlockKind::Reasoning => {
            let seal = seal(block).map(|seal| seal.encode()).unwrap_or_default();
            if block.text.is_empty() {
                out.raw(r#"{"type":"redacted_thinking","data":"#).string(&seal);
            } else {
                out.raw(r#"{"type":"thinking","thinking":"#).string(&block.text);
                out.raw(r#","signature":"#).string(&seal);
            }
        }
        BlockKind::Function | BlockKind::Custom | BlockKind::LocalShell => {
            out.raw(r#"{"type":"tool_use","id":"#).string(&block.id).raw(r#","name":"#).string(&block.name);
            out.raw(r#","input":"#);
            write_input(&block.text, out);
        }
    }
    out.raw("}");
}

/// A tool's input. One that is no object is given as Anthropic's own API advises for such.
fn write_input(arguments: &str, out: &mut Vec<u8>) {
    if arguments.trim().is_empty() {
        out.raw("{}");
        return;
    }
    let start = out.len();
    let is_object = JsonReader::new().read(arguments.as_bytes(), |json| {
        write_json(json, out);
        json.as_object().is_some()
    });
    if is_object != Some(true) {
        out.truncate(start);
        out.raw(r#"{"INVALID_JSON":"#).string(arguments).raw("}");
    }
}

pub(super) fn chat(answer: &Gathered, end: &GatheredEnd, out: &mut Vec<u8>) {
    out.raw(r#"{"id":"#).string(&ids::completion_id(&answer.id, &answer.own_id));
    out.raw(r#","object":"chat.completion","created":"#).number(answer.created);
    out.raw(r#","model":"#).string(&answer.model);
    out.raw(r#","choices":[{"index":0,"message":{"role":"assistant","content":"#);
    let has_text = chat_text(answer, BlockKind::Text, out);
    if !has_text {
        out.raw("null");
    }
    out.raw(r#","refusal":"#);
    if !chat_text(answer, BlockKind::Refusal, out) {
        out.raw("null");
    }
    chat_reasoning(answer, out);
    chat_calls(answer, out);
    chat_lists(answer, end, out);
    if let Some(usage) = end.usage {
        out.raw(r#","usage":"#);
        write_chat::write_usage(usage, out);
    }
    out.raw("}");
}

/// All text of a kind as one string. `false`: there is none.
fn chat_text(answer: &Gathered, kind: BlockKind, out: &mut Vec<u8>) -> bool {
    let mut texts = answer.blocks.iter().filter(|block| block.kind == kind).peekable();
    if texts.peek().is_none() {
        return false;
    }
    out.push(b'"');
    texts.for_each(|block| {
        out.string_part(&block.text);
    });
    out.push(b'"');
    true
}

fn chat_reasoning(answer: &Gathered, out: &mut Vec<u8>) {
    let has_reasoning =
        answer.blocks.iter().any(|block| block.kind == BlockKind::Reasoning && !block.text.is_empty());
    if has_reasoning {
        out.raw(r#","reasoning_content":"#);
        chat_text(answer, BlockKind::Reasoning, out);
    }
    let mut blocks = answer.blocks.iter().filter(|block| block.kind == BlockKind::Reasoning).peekable();
    if blocks.peek().is_none() {
        return;
    }
    out.raw(r#","reasoning_details":["#);
    for (index, block) in (0..).zip(blocks) {
        separate(out);
        let seal = seal(block).map(|seal| seal.encode());
        match &seal {
            Some(seal) if block.text.is_empty() => write_chat::write_encrypted(index, seal, out),
            seal => write_chat::write_detail(index, Some(&block.text), seal.as_deref(), out),
        }
    }
    out.raw("]");
}

fn chat_calls(answer: &Gathered, out: &mut Vec<u8>) {
    let mut calls = answer.blocks.iter().filter(|block| block.kind.is_call()).peekable();
    if calls.peek().is_none() {
        return;
    }
    out.raw(r#","tool_calls":["#);
    for block in calls {
        separate(out);
        out.raw(r#"{"id":"#).string(&block.id);
        let is_custom = block.kind == BlockKind::Custom;
        let (kind, text) = if is_custom { ("custom", "input") } else { ("function", "arguments") };
        out.raw(r#","type":"#).string(kind).raw(",").string(kind).raw(r#":{"name":"#).string(&block.name);
        out.raw(",").string(text).raw(":").string(&block.text).raw("}}");
    }
    out.raw("]");
}

/// Annotations; then, after the message, the reason and log probabilities.
fn chat_lists(answer: &Gathered, end: &GatheredEnd, out: &mut Vec<u8>) {
    if answer.blocks.iter().any(|block| !block.citations.is_empty()) {
        out.raw(r#","annotations":["#);
        for block in answer.blocks.iter().filter(|block| !block.citations.is_empty()) {
            separate(out);
            out.raw(&block.citations);
        }
        out.raw("]");
    }
    out.raw(r#"},"logprobs":"#);
    if answer.blocks.iter().any(|block| !block.logprobs.is_empty()) {
        out.raw(r#"{"content":["#);
        for tokens in answer.blocks.iter().flat_map(|block| &block.logprobs) {
            let elements = tokens.get(1..tokens.len().saturating_sub(1)).unwrap_or_default();
            if !elements.is_empty() {
                separate(out);
                out.raw(elements);
            }
        }
        out.raw(r#"],"refusal":null}"#);
    } else {
        out.raw("null");
    }
    out.raw(r#","finish_reason":"#).string(write_chat::finish_reason(end.reason)).raw("}]");
}

pub(super) fn gemini(answer: &Gathered, end: &GatheredEnd, out: &mut Vec<u8>) {
    out.raw(r#"{"candidates":[{"index":0,"content":{"role":"model","parts":["#);
    let mut signature = None;
    let mut has_malformed_call = false;
    for block in &answer.blocks {
        let start = out.len();
        separate(out);
        match block.kind {
            BlockKind::Text | BlockKind::Refusal => {
                out.raw(r#"{"text":"#).string(&block.text).raw("}");
            }
            BlockKind::Reasoning => {
                if let Some(seal) = seal(block) {
                    let sealed = gemini_values::seal_with_text(signature.take(), &seal, &block.text);
                    signature = Some(sealed);
                }
                if block.text.is_empty() {
                    out.truncate(start);
                } else {
                    out.raw(r#"{"text":"#).string(&block.text).raw(r#","thought":true}"#);
                }
            }
            BlockKind::Function | BlockKind::Custom | BlockKind::LocalShell => {
                let signature = signature.take();
                let (id, name) = (&block.id, &block.name);
                if !gemini_values::write_call(id, name, &block.text, signature.as_deref(), out) {
                    out.truncate(start);
                    has_malformed_call = true;
                }
            }
        }
    }
    out.raw(r#"]},"finishReason":"#);
    out.string(gemini_values::finish_reason(end.reason, end.has_refusal, has_malformed_call));
    gemini_lists(answer, out);
    out.raw("}]");
    let usage: Option<TokenUsage> = end.usage;
    if let Some(usage) = usage {
        out.raw(r#","usageMetadata":"#);
        gemini_values::write_usage(usage, out);
    }
    let id = if answer.id.is_empty() { &answer.own_id } else { &answer.id };
    out.raw(r#","modelVersion":"#).string(&answer.model).raw(r#","responseId":"#).string(id).raw("}");
}

fn gemini_lists(answer: &Gathered, out: &mut Vec<u8>) {
    if answer.blocks.iter().any(|block| !block.citations.is_empty()) {
        out.raw(r#","citationMetadata":{"citationSources":["#);
        for block in answer.blocks.iter().filter(|block| !block.citations.is_empty()) {
            separate(out);
            out.raw(&block.citations);
        }
        out.raw("]}");
    }
    let mut tokens = vec![b'['];
    for list in answer.blocks.iter().flat_map(|block| &block.logprobs) {
        let elements = list.get(1..list.len().saturating_sub(1)).unwrap_or_default();
        if !elements.is_empty() {
            separate(&mut tokens);
            tokens.extend_from_slice(elements);
        }
    }
    tokens.push(b']');
    if tokens.len() > 2 {
        JsonReader::new().read(&tokens, |tokens| gemini_values::write_logprobs(tokens, out));
    }
}
