//! Writes a stream of chat completions.
//!
//! Reasoning is `reasoning_content`, as DeepSeek and most clients name it, and besides `reasoning_details` as
//! OpenRouter has them: clients join the elements of one `index`, and return them with the signature or the
//! encrypted data, which is the seal.

use super::{
    block::{BlockKind, BlockStep},
    error_body,
    fact::{Citation, StopReason, TokenUsage},
    ids,
    json_read::write_json,
};
use crate::dialect::{ApiDialect, json::JsonWrite};

#[derive(Debug)]
pub(super) struct ChatWriter {
    pub(super) model: String,
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) wants_usage: bool,
    /// Each chunk's start up to `choices`.
    pub(super) head: Vec<u8>,
    /// The blocks of the calls, in the order of their chat indexes.
    pub(super) calls: Vec<u32>,
    /// The `index` of the reasoning under way.
    pub(super) reasoning_index: u64,
}

impl ChatWriter {
    pub(super) fn step(&mut self, step: &BlockStep<'_>, out: &mut Vec<u8>) {
        match step {
            BlockStep::Started { id, model, .. } => self.start(id, model, out),
            BlockStep::Opened { block, kind, id, name, .. } if kind.is_call() => {
                self.open_call(*block, *kind, id, name, out);
            }
            BlockStep::Closed { kind: BlockKind::Reasoning, seal, .. } => {
                if let Some(seal) = seal {
                    self.seal(false, &seal.encode(), out);
                }
                self.reasoning_index += 1;
            }
            BlockStep::Opened { .. } | BlockStep::Closed { .. } => {}
            BlockStep::Grown { kind: BlockKind::Text, text, logprobs, .. } => {
                self.begin(out).raw(r#"{"content":"#).string(text).raw("}");
                if let Some(logprobs) = logprobs {
                    out.raw(r#","logprobs":{"content":"#);
                    write_json(*logprobs, out);
                    out.raw(r#","refusal":null}"#);
                }
                self.end(None, out);
            }
            BlockStep::Grown { kind: BlockKind::Refusal, text, .. } => self.delta("refusal", text, out),
            BlockStep::Grown { kind: BlockKind::Reasoning, text, .. } => self.think(text, out),
            BlockStep::Grown { block, kind, text, .. } => self.grow_call(*block, *kind, text, out),
            BlockStep::Parted { .. } => self.think("\n\n", out),
            BlockStep::Cited { citation, .. } => {
                self.begin(out).raw(r#"{"annotations":["#);
                write_citation(citation, out);
                out.raw("]}");
                self.end(None, out);
            }
            BlockStep::Sealed { seal, .. } => {
                self.seal(true, &seal.encode(), out);
                self.reasoning_index += 1;
            }
            BlockStep::Ended { reason, usage, .. } => {
                self.begin(out).raw("{}");
                self.end(Some(finish_reason(*reason)), out);
                if let Some(usage) = usage.filter(|_| self.wants_usage) {
                    out.raw(&self.head).raw(r#""choices":[],"usage":"#);
                    write_usage(usage, out);
                    out.raw("}\n\n");
                }
                out.raw("data: [DONE]\n\n");
            }
            BlockStep::Failed { code, message } => {
                out.raw("data: ");
                let names = error_body::OwnNames::default();
                error_body::write(ApiDialect::ChatCompletions, (*code, 0, None), message, names, out);
                out.raw("\n\n");
            }
        }
    }

    fn start(&mut self, id: &str, model: &str, out: &mut Vec<u8>) {
        let model = if self.model.is_empty() { model } else { &self.model };
        self.head.raw(r#"data: {"id":"#).string(&ids::completion_id(id, &self.id));
        self.head.raw(r#","object":"chat.completion.chunk","created":"#).number(self.created);
        self.head.raw(r#","model":"#).string(model).raw(",");
        self.begin(out).raw(r#"{"role":"assistant","content":""}"#);
        self.end(None, out);
    }

    /// A chunk up to its delta.
    fn begin<'a>(&self, out: &'a mut Vec<u8>) -> &'a mut Vec<u8> {
        out.raw(&self.head).raw(r#""choices":[{"index":0,"delta":"#)
    }

    fn end(&self, reason: Option<&str>, out: &mut Vec<u8>) {
        out.raw(r#","finish_reason":"#);
        match reason {
            Some(reason) => out.string(reason),
            None => out.raw("null"),
        };
        out.raw("}]");
        // With `include_usage` all chunks but the last have a null usage.
        out.raw(if self.wants_usage { ",\"usage\":null}\n\n" } else { "}\n\n" });
    }

    fn delta(&self, name: &str, text: &str, out: &mut Vec<u8>) {
        self.begin(out).raw("{\"").raw(name).raw("\":").string(text).raw("}");
        self.end(None, out);
    }

    fn think(&self, text: &str, out: &mut Vec<u8>) {
        self.begin(out).raw(r#"{"reasoning_content":"#).string(text);
        out.raw(r#","reasoning_details":["#);
        write_detail(self.reasoning_index, Some(text), None, out);
        out.raw("]}");
        self.end(None, out);
    }

    fn open_call(&mut self, block: u32, kind: BlockKind, id: &str, name: &str, out: &mut Vec<u8>) {
        self.begin(out).raw(r#"{"tool_calls":[{"index":"#).number(self.calls.len() as u64);
        self.calls.push(block);
        out.raw(r#","id":"#).string(id);
        if kind == BlockKind::Custom {
            out.raw(r#","type":"custom","custom":{"name":"#).string(name).raw(r#","input":""}}]}"#);
        } else {
            out.raw(r#","type":"function","function":{"name":"#).string(name).raw(r#","arguments":""}}]}"#);
        }
        self.end(None, out);
    }

    fn grow_call(&self, block: u32, kind: BlockKind, text: &str, out: &mut Vec<u8>) {
        let index = self.calls.iter().position(|call| *call == block).unwrap_or(0);
        self.begin(out).raw(r#"{"tool_calls":[{"index":"#).number(index as u64);
        out.raw(if kind == BlockKind::Custom {
            r#","custom":{"input":"#
        } else {
            r#","function":{"arguments":"#
        });
        out.string(text).raw("}}]}");
        self.end(None, out);
    }

    fn seal(&self, is_encrypted: bool, seal: &str, out: &mut Vec<u8>) {
        self.begin(out).raw(r#"{"reasoning_details":["#);
        if is_encrypted {
            write_encrypted(self.reasoning_index, seal, out);
        } else {
            write_detail(self.reasoning_index, None, Some(seal), out);
        }
        out.raw("]}");
        self.end(None, out);
    }
}

/// A `reasoning_details` element of a text, its signature, or both.
pub(super) fn write_detail(index: u64, text: Option<&str>, seal: Option<&str>, out: &mut Vec<u8>) {
    out.raw(r#"{"type":"reasoning.text","index":"#).number(index);
    if let Some(text) = text {
        out.raw(r#","text":"#).string(text);
    }
    if let Some(seal) = seal {
        out.raw(r#","signature":"#).string(seal);
    }
    out.raw("}");
}

/// A `reasoning_details` element without a text.
pub(super) fn write_encrypted(index: u64, seal: &str, out: &mut Vec<u8>) {
    out.raw(r#"{"type":"reasoning.encrypted","index":"#).number(index).raw(r#","data":"#).string(seal);
    out.raw("}");
}

pub(super) const fn finish_reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Stop | StopReason::StopSequence | StopReason::Paused => "stop",
        StopReason::Length | StopReason::ContextWindow => "length",
        StopReason::ToolUse => "tool_calls",
        StopReason::Filtered => "content_filter",
    }
}

pub(super) fn write_usage(usage: TokenUsage, out: &mut Vec<u8>) {
    out.raw(r#"{"prompt_tokens":"#).number(usage.input).raw(r#","completion_tokens":"#).number(usage.output);
    out.raw(r#","total_tokens":"#).number(usage.input.saturating_add(usage.output));
    out.raw(r#","prompt_tokens_details":{"cached_tokens":"#).number(usage.cache_read);
    if usage.cache_write > 0 {
        out.raw(r#","cache_write_tokens":"#).number(usage.cache_write);
    }
    out.raw(r#"},"completion_tokens_details":{"reasoning_tokens":"#).number(usage.reasoning).raw("}}");
}

pub(super) fn write_citation(citation: &Citation<'_>, out: &mut Vec<u8>) {
    let (start, end) = citation.range.unwrap_or_default();
    out.raw(r#"{"type":"url_citation","url_citation":{"start_index":"#).number(start);
    out.raw(r#","end_index":"#).number(end).raw(r#","url":"#).string(citation.url);
    out.raw(r#","title":"#).string(citation.title).raw("}}");
}
