//! Writes a stream of Anthropic's Messages API.
//!
//! A block of the answer is a content block with the same index. Each event has its `event:` line.
//! <https://docs.anthropic.com/en/docs/build-with-claude/streaming>

use super::{
    block::{BlockKind, BlockStep},
    error_body,
    fact::{Citation, StopReason, TokenUsage},
    ids,
};
use crate::dialect::json::JsonWrite;

#[derive(Debug)]
pub(super) struct MessagesWriter {
    pub(super) model: String,
    pub(super) id: String,
    pub(super) estimated_input_tokens: u64,
}

impl MessagesWriter {
    pub(super) fn step(&mut self, step: &BlockStep<'_>, out: &mut Vec<u8>) {
        match step {
            BlockStep::Started { id, model, usage } => self.start(id, model, *usage, out),
            BlockStep::Opened { block, kind, id, name, .. } => open(*block, *kind, id, name, out),
            BlockStep::Grown { block, kind, text, .. } => grow(*block, *kind, text, out),
            BlockStep::Parted { block } => grow(*block, BlockKind::Reasoning, "\n\n", out),
            BlockStep::Cited { block, citation } => {
                begin("content_block_delta", out).raw(r#","index":"#).number(u64::from(*block));
                out.raw(r#","delta":{"type":"citations_delta","citation":"#);
                write_citation(citation, out);
                out.raw("}}\n\n");
            }
            BlockStep::Closed { block, seal, .. } => {
                if let Some(seal) = seal {
                    begin("content_block_delta", out).raw(r#","index":"#).number(u64::from(*block));
                    out.raw(r#","delta":{"type":"signature_delta","signature":"#).string(&seal.encode());
                    out.raw("}}\n\n");
                }
                stop(*block, out);
            }
            BlockStep::Sealed { block, seal } => {
                begin("content_block_start", out).raw(r#","index":"#).number(u64::from(*block));
                out.raw(r#","content_block":{"type":"redacted_thinking","data":"#).string(&seal.encode());
                out.raw("}}\n\n");
                stop(*block, out);
            }
            BlockStep::Ended { reason, sequence, has_refusal, usage, estimate } => {
                begin("message_delta", out).raw(r#","delta":"#);
                write_stop_reason(*reason, *sequence, *has_refusal, out);
                out.raw(r#"},"usage":"#);
                write_usage(usage.unwrap_or(*estimate), out);
                out.raw("}\n\n");
                begin("message_stop", out).raw("}\n\n");
            }
            BlockStep::Failed { code, message } => {
                out.raw("event: error\ndata: ");
                let names = error_body::OwnNames::default();
                error_body::write(
                    crate::dialect::ApiDialect::Messages,
                    (*code, 0, None),
                    message,
                    names,
                    out,
                );
                out.raw("\n\n");
            }
        }
    }

    fn start(&self, id: &str, model: &str, usage: Option<TokenUsage>, out: &mut Vec<u8>) {
        let model = if self.model.is_empty() { model } else { &self.model };
        begin("message_start", out).raw(r#","message":{"id":"#);
        out.string(&ids::message_id(id, &self.id)).raw(r#","type":"message","role":"assistant","model":"#);
        out.string(model).raw(r#","content":[],"stop_reason":null,"stop_sequence":null,"usage":"#);
        let estimate = TokenUsage { input: self.estimated_input_tokens, ..TokenUsage::default() };
        write_usage(usage.unwrap_or(estimate), out);
        out.raw("}}\n\n");
    }
}

fn begin<'a>(name: &str, out: &'a mut Vec<u8>) -> &'a mut Vec<u8> {
    out.raw("event: ").raw(name).raw("\ndata: {\"type\":\"").raw(name).raw("\"")
}

fn open(block: u32, kind: BlockKind, id: &str, name: &str, out: &mut Vec<u8>) {
    begin("content_block_start", out).raw(r#","index":"#).number(u64::from(block));
    out.raw(r#","content_block":"#);
    match kind {
        BlockKind::Text | BlockKind::Refusal => out.raw(r#"{"type":"text","text":""}"#),
        BlockKind::Reasoning => out.raw(r#"{"type":"thinking","thinking":"","signature":""}"#),
        BlockKind::Function | BlockKind::Custom | BlockKind::LocalShell => {
            out.raw(r#"{"type":"tool_use","id":"#).string(id).raw(r#","name":"#).string(name);
            out.raw(r#","input":{}}"#)
        }
    };
    out.raw("}\n\n");
}

fn grow(block: u32, kind: BlockKind, text: &str, out: &mut Vec<u8>) {
    begin("content_block_delta", out).raw(r#","index":"#).number(u64::from(block));
    out.raw(match kind {
        BlockKind::Text | BlockKind::Refusal => r#","delta":{"type":"text_delta","text":"#,
        BlockKind::Reasoning => r#","delta":{"type":"thinking_delta","thinking":"#,
        BlockKind::Function | BlockKind::Custom | BlockKind::LocalShell => {
            r#","delta":{"type":"input_json_delta","partial_json":"#
        }
    });
    out.string(text).raw("}}\n\n");
}

fn stop(block: u32, out: &mut Vec<u8>) {
    begin("content_block_stop", out).raw(r#","index":"#).number(u64::from(block)).raw("}\n\n");
}

/// Opens the object: `{"stop_reason":…,"stop_sequence":…`.
pub(super) fn write_stop_reason(
    reason: StopReason,
    sequence: Option<&str>,
    has_refusal: bool,
    out: &mut Vec<u8>,
) {
    let reason = match reason {
        StopReason::Stop if has_refusal => "refusal",
        StopReason::Stop => "end_turn",
        StopReason::StopSequence => "stop_sequence",
        StopReason::Length => "max_tokens",
        StopReason::ToolUse => "tool_use",
        StopReason::Filtered => "refusal",
        StopReason::Paused => "pause_turn",
        StopReason::ContextWindow => "model_context_window_exceeded",
    };
    out.raw(r#"{"stop_reason":"#).string(reason).raw(r#","stop_sequence":"#);
    match sequence {
        Some(sequence) => out.string(sequence),
        None => out.raw("null"),
    };
}

pub(super) fn write_usage(usage: TokenUsage, out: &mut Vec<u8>) {
    let cached = usage.cache_read.saturating_add(usage.cache_write);
    out.raw(r#"{"input_tokens":"#).number(usage.input.saturating_sub(cached));
    out.raw(r#","cache_creation_input_tokens":"#).number(usage.cache_write);
    out.raw(r#","cache_read_input_tokens":"#).number(usage.cache_read);
    out.raw(r#","output_tokens":"#).number(usage.output);
    if usage.reasoning > 0 {
        out.raw(r#","output_tokens_details":{"thinking_tokens":"#).number(usage.reasoning.min(usage.output));
        out.raw("}");
    }
    out.raw("}");
}

pub(super) fn write_citation(citation: &Citation<'_>, out: &mut Vec<u8>) {
    out.raw(r#"{"type":"web_search_result_location","url":"#).string(citation.url);
    out.raw(r#","title":"#).string(citation.title).raw(r#","encrypted_index":"","cited_text":"#);
    out.string(citation.cited_text).raw("}");
}
