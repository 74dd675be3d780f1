//! Writes a stream of Gemini's `streamGenerateContent` (`alt=sse`).
//!
//! A function call is one part with whole arguments, so they are kept until they are a whole object
//! (bounded). A seal goes with the next call, where Gemini's clients return it; with the reasoning's text,
//! because they do not return thoughts.
//! <https://ai.google.dev/api/generate-content>

use super::{
    block::{BlockKind, BlockStep, MAX_KEPT, TooLarge},
    error_body,
    fact::{Citation, Seal, StopReason, TokenUsage},
    gemini_values::{finish_reason, seal_with_text, write_call, write_citation, write_logprobs, write_usage},
    json_extent::JsonExtent,
};
use crate::dialect::{ApiDialect, json::JsonWrite};

#[derive(Debug, Default)]
pub(super) struct GeminiWriter {
    model: String,
    id: String,
    calls: Vec<KeptCall>,
    kept: usize,
    /// Reasoning since the last seal, for the next one.
    reasoning: String,
    thought_signature: Option<String>,
    has_malformed_call: bool,
    citations: Vec<u8>,
}

#[derive(Debug)]
struct KeptCall {
    block: u32,
    id: String,
    name: String,
    arguments: String,
    extent: JsonExtent,
    signature: Option<String>,
    is_written: bool,
}

impl GeminiWriter {
    pub(super) fn new(model: String, id: String) -> Self {
        Self { model, id, ..Self::default() }
    }

    pub(super) fn step(&mut self, step: &BlockStep<'_>, out: &mut Vec<u8>) -> Result<(), TooLarge> {
        match step {
            BlockStep::Started { id, model, .. } => {
                if self.model.is_empty() {
                    (*model).clone_into(&mut self.model);
                }
                if !id.is_empty() {
                    (*id).clone_into(&mut self.id);
                }
            }
            BlockStep::Opened { block, kind, id, name, .. } if kind.is_call() => {
                self.calls.push(KeptCall {
                    block: *block,
                    id: (*id).to_owned(),
                    name: (*name).to_owned(),
                    arguments: String::new(),
                    extent: JsonExtent::default(),
                    signature: self.thought_signature.take(),
                    is_written: false,
                });
            }
            BlockStep::Opened { .. } => {}
            BlockStep::Grown { kind: BlockKind::Text | BlockKind::Refusal, text, logprobs, .. } => {
                self.begin(out).raw(r#"{"text":"#).string(text).raw("}]}");
                if let Some(logprobs) = logprobs {
                    write_logprobs(*logprobs, out);
                }
                self.end(out);
            }
            BlockStep::Grown { kind: BlockKind::Reasoning, text, .. } => self.think(text, out)?,
            BlockStep::Grown { block, text, .. } => self.grow_call(*block, text, out)?,
            BlockStep::Parted { .. } => self.think("\n\n", out)?,
            BlockStep::Cited { citation, .. } => self.cite(citation)?,
            BlockStep::Closed { block, kind, seal, .. } => {
                if let Some(seal) = seal {
                    self.seal(seal);
                }
                if kind.is_call() {
                    self.close_call(*block, out);
                }
            }
            BlockStep::Sealed { seal, .. } => self.seal(seal),
            BlockStep::Ended { reason, has_refusal, usage, .. } => {
                self.finish(*reason, *has_refusal, *usage, out);
            }
            BlockStep::Failed { code, message } => {
                out.raw("data: ");
                let (status, names) = (error_body::gemini_status(*code).0, error_body::OwnNames::default());
                error_body::write(ApiDialect::Gemini, (*code, status, None), message, names, out);
                out.raw("\r\n\r\n");
            }
        }
        Ok(())
    }

    fn begin<'a>(&self, out: &'a mut Vec<u8>) -> &'a mut Vec<u8> {
        out.raw(r#"data: {"candidates":[{"index":0,"content":{"role":"model","parts":["#)
    }

    fn end(&self, out: &mut Vec<u8>) {
        out.raw("}]");
        self.tail(out);
    }

    fn tail(&self, out: &mut Vec<u8>) {
        out.raw(r#","modelVersion":"#).string(&self.model).raw(r#","responseId":"#).string(&self.id);
        out.raw("}\r\n\r\n");
    }

    fn keep(&mut self, length: usize) -> Result<(), TooLarge> {
        self.kept = self.kept.saturating_add(length);
        if self.kept > MAX_KEPT { Err(TooLarge) } else { Ok(()) }
    }

    fn think(&mut self, text: &str, out: &mut Vec<u8>) -> Result<(), TooLarge> {
        self.keep(text.len())?;
        self.reasoning.push_str(text);
        self.begin(out).raw(r#"{"text":"#).string(text).raw(r#","thought":true}]}"#);
        self.end(out);
        Ok(())
    }

    fn seal(&mut self, seal: &Seal<'_>) {
        let before = self.thought_signature.take();
        self.thought_signature = Some(seal_with_text(before, seal, &self.reasoning));
        self.reasoning.clear();
    }

    fn cite(&mut self, citation: &Citation<'_>) -> Result<(), TooLarge> {
        let before = self.citations.len();
        if before > 0 {
            self.citations.push(b',');
        }
        write_citation(citation, &mut self.citations);
        self.keep(self.citations.len() - before)
    }

    fn grow_call(&mut self, block: u32, text: &str, out: &mut Vec<u8>) -> Result<(), TooLarge> {
        self.keep(text.len())?;
        let open = self.calls.iter_mut().find(|call| call.block == block && !call.is_written);
        let Some(call) = open else { return Ok(()) };
        call.extent.read(text);
        call.arguments.push_str(text);
        if call.extent.is_complete() {
            self.close_call(block, out);
        }
        Ok(())
    }

    fn close_call(&mut self, block: u32, out: &mut Vec<u8>) {
        let Some(call) = self.calls.iter_mut().find(|call| call.block == block && !call.is_written) else {
            return;
        };
        call.is_written = true;
        let arguments = std::mem::take(&mut call.arguments);
        let start = out.len();
        out.raw(r#"data: {"candidates":[{"index":0,"content":{"role":"model","parts":["#);
        if write_call(&call.id, &call.name, &arguments, call.signature.as_deref(), out) {
            out.raw("]}");
            self.end(out);
            self.kept = self.kept.saturating_sub(arguments.len());
        } else {
            out.truncate(start);
            self.has_malformed_call = true;
        }
    }

    fn finish(&self, reason: StopReason, has_refusal: bool, usage: Option<TokenUsage>, out: &mut Vec<u8>) {
        self.begin(out).raw(r#"{"text":""}]},"finishReason":"#);
        out.string(finish_reason(reason, has_refusal, self.has_malformed_call));
        if !self.citations.is_empty() {
            out.raw(r#","citationMetadata":{"citationSources":["#).raw(&self.citations).raw("]}");
        }
        out.raw("}]");
        if let Some(usage) = usage {
            out.raw(r#","usageMetadata":"#);
            write_usage(usage, out);
        }
        self.tail(out);
    }
}
