//! Writes a stream of OpenAI's Responses API, and whole responses.
//!
//! Each block of the answer is an item of `output` with the block's number as `output_index`. Items are kept,
//! bounded, for their `.done` events and `response.completed`, which repeat them.
//! <https://platform.openai.com/docs/api-reference/responses-streaming>

use super::{
    block::{BlockKind, BlockStep, MAX_KEPT, TooLarge},
    fact::{Citation, Seal, StopReason, TokenUsage},
    ids,
    json_read::{Json, JsonReader, write_json},
    response_item::ResponseItem,
    response_object::{AnswerOutcome, ResponseObject, incomplete_reason},
};
use crate::dialect::{context::AnswerContext, json::JsonWrite};

#[derive(Debug)]
pub(super) struct ResponsesWriter {
    context: AnswerContext,
    /// The response's id, once it is known; before, the request's.
    id: String,
    created: u64,
    sequence: u64,
    items: Vec<ResponseItem>,
    kept: usize,
}

impl ResponsesWriter {
    pub(super) fn new(mut context: AnswerContext, id: &str, created: u64) -> Self {
        context.echo.iter_mut().for_each(|(_, json)| compact(json));
        Self { context, id: id.to_owned(), created, sequence: 0, items: Vec::new(), kept: 0 }
    }

    pub(super) fn step(&mut self, step: &BlockStep<'_>, out: &mut Vec<u8>) -> Result<(), TooLarge> {
        match step {
            BlockStep::Started { id, model, .. } => self.start(id, model, out),
            BlockStep::Opened { block, kind, id, name, namespace } => {
                self.keep(id.len() + name.len() + size_of::<ResponseItem>())?;
                let base = self.id.strip_prefix("resp_").unwrap_or(&self.id);
                self.items.push(ResponseItem::new(*kind, base, *block, id, name, *namespace));
                self.announce(out);
            }
            BlockStep::Grown { block, kind, text, logprobs } => {
                self.grow(*block, *kind, text, *logprobs, out)?;
            }
            BlockStep::Parted { block } => {
                self.close_summary_part(*block, out);
                self.with_item(*block, ResponseItem::next_part);
                self.open_summary_part(*block, out);
            }
            BlockStep::Cited { block, citation } => self.cite(*block, citation, out)?,
            BlockStep::Closed { block, seal, is_cut, .. } => {
                self.seal(*block, seal.as_ref())?;
                self.close(*block, if *is_cut { "incomplete" } else { "completed" }, out)?;
            }
            BlockStep::Sealed { block, seal } => {
                let base = self.id.strip_prefix("resp_").unwrap_or(&self.id);
                self.items.push(ResponseItem::new(BlockKind::Reasoning, base, *block, "", "", None));
                self.item_event("output_item.added", *block, false, out);
                self.seal(*block, Some(seal))?;
                self.finish_item(*block, "completed", out)?;
            }
            BlockStep::Ended { reason, usage, estimate, .. } => {
                self.end(*reason, usage.unwrap_or(*estimate), out);
            }
            BlockStep::Failed { code, message } => {
                // Clients take no event before the one that begins the response.
                if self.sequence == 0 {
                    self.start("", "", out);
                }
                self.event("response.failed", out).raw(r#","response":"#);
                self.response(&AnswerOutcome::Failed(*code, message), out);
                out.raw("}\n\n");
            }
        }
        Ok(())
    }

    fn keep(&mut self, length: usize) -> Result<(), TooLarge> {
        self.kept = self.kept.saturating_add(length);
        if self.kept > MAX_KEPT { Err(TooLarge) } else { Ok(()) }
    }

    /// An event up to its own members.
    fn event<'a>(&mut self, name: &str, out: &'a mut Vec<u8>) -> &'a mut Vec<u8> {
        out.raw("event: ").raw(name).raw("\ndata: {\"type\":\"").raw(name);
        out.raw("\",\"sequence_number\":").number(self.sequence);
        self.sequence += 1;
        out
    }

    /// An event of an item, up to its own members.
    fn part_event<'a>(&mut self, name: &str, block: u32, out: &'a mut Vec<u8>) -> &'a mut Vec<u8> {
        self.event(name, out).raw(r#","item_id":"#);
        let item = self.items.get(block as usize);
        out.string(item.map_or("", |item| &item.id)).raw(r#","output_index":"#).number(u64::from(block));
        match item.map(|item| (item.kind, item.summary_index())) {
            Some((BlockKind::Text | BlockKind::Refusal, _)) => out.raw(r#","content_index":0"#),
            Some((BlockKind::Reasoning, index)) => out.raw(r#","summary_index":"#).number(index),
            Some((BlockKind::Function | BlockKind::Custom | BlockKind::LocalShell, _)) | None => out,
        }
    }

    fn with_item(&mut self, block: u32, change: impl FnOnce(&mut ResponseItem)) {
        if let Some(item) = self.items.get_mut(block as usize) {
            change(item);
        }
    }

    fn start(&mut self, id: &str, model: &str, out: &mut Vec<u8>) {
        self.id = ids::response_id(id, &self.id).into_owned();
        if self.context.model.is_empty() {
            model.clone_into(&mut self.context.model);
        }
        for name in ["response.created", "response.in_progress"] {
            self.event(name, out).raw(r#","response":"#);
            self.response(&AnswerOutcome::InProgress, out);
            out.raw("}\n\n");
        }
    }

    /// Announces the last item and opens its part.
    fn announce(&mut self, out: &mut Vec<u8>) {
        let Some(kind) = self.items.last().map(|item| item.kind) else { return };
        let block = (self.items.len() - 1) as u32;
        self.item_event("output_item.added", block, false, out);
        match kind {
            BlockKind::Text | BlockKind::Refusal => {
                self.part_event("response.content_part.added", block, out);
                self.write_part(block, out);
            }
            BlockKind::Reasoning => self.open_summary_part(block, out),
            BlockKind::Function | BlockKind::Custom | BlockKind::LocalShell => {}
        }
    }

    fn item_event(&mut self, name: &str, block: u32, is_done: bool, out: &mut Vec<u8>) {
        self.event(&["response.", name].concat(), out).raw(r#","output_index":"#).number(u64::from(block));
        out.raw(r#","item":"#);
        match self.items.get(block as usize) {
            Some(item) if is_done => {
                out.raw(item.done.as_deref().unwrap_or(b"null"));
            }
            Some(item) => item.write_announced(out),
            None => {}
        }
        out.raw("}\n\n");
    }

    /// `"part": …` and the event's end.
    fn write_part(&self, block: u32, out: &mut Vec<u8>) {
        out.raw(r#","part":"#);
        if let Some(item) = self.items.get(block as usize) {
            item.write_part(out);
        }
        out.raw("}\n\n");
    }

    fn open_summary_part(&mut self, block: u32, out: &mut Vec<u8>) {
        self.part_event("response.reasoning_summary_part.added", block, out);
        self.write_part(block, out);
    }

    fn close_summary_part(&mut self, block: u32, out: &mut Vec<u8>) {
        self.text_done("response.reasoning_summary_text.done", "text", block, out);
        self.part_event("response.reasoning_summary_part.done", block, out);
        self.write_part(block, out);
    }

    fn grow(
        &mut self,
        block: u32,
        kind: BlockKind,
        text: &str,
        logprobs: Option<Json<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<(), TooLarge> {
        // Kept in the item and again in its whole form.
        self.keep(text.len().saturating_mul(2))?;
        let name = match kind {
            BlockKind::Text => "response.output_text.delta",
            BlockKind::Refusal => "response.refusal.delta",
            BlockKind::Reasoning => "response.reasoning_summary_text.delta",
            BlockKind::Function => "response.function_call_arguments.delta",
            BlockKind::Custom => "response.custom_tool_call_input.delta",
            // The action has no deltas.
            BlockKind::LocalShell => {
                self.with_item(block, |item| {
                    item.text.string_part(text);
                });
                return Ok(());
            }
        };
        self.part_event(name, block, out).raw(r#","delta":""#);
        let start = out.len();
        out.string_part(text);
        let Some(item) = self.items.get_mut(block as usize) else { return Ok(()) };
        item.text.extend_from_slice(out.get(start..).unwrap_or_default());
        out.raw("\"");
        if kind == BlockKind::Text {
            out.raw(r#","logprobs":"#);
            let start = out.len();
            match logprobs {
                Some(logprobs) => write_json(logprobs, out),
                None => {
                    out.raw("[]");
                }
            }
            let elements = out.get(start + 1..out.len() - 1).unwrap_or_default();
            if !elements.is_empty() {
                if !item.logprobs.is_empty() {
                    item.logprobs.push(b',');
                }
                item.logprobs.extend_from_slice(elements);
                let length = elements.len() * 2;
                self.keep(length)?;
            }
        }
        out.raw("}\n\n");
        Ok(())
    }

    fn cite(&mut self, block: u32, citation: &Citation<'_>, out: &mut Vec<u8>) -> Result<(), TooLarge> {
        let mut annotation = Vec::new();
        write_citation(citation, &mut annotation);
        self.keep(annotation.len().saturating_mul(2))?;
        let count = self.items.get(block as usize).map_or(0, |item| item.annotation_count);
        self.part_event("response.output_text.annotation.added", block, out);
        out.raw(r#","annotation_index":"#).number(count).raw(r#","annotation":"#).raw(&annotation);
        out.raw("}\n\n");
        self.with_item(block, |item| {
            item.annotation_count += 1;
            if !item.annotations.is_empty() {
                item.annotations.push(b',');
            }
            item.annotations.extend_from_slice(&annotation);
        });
        Ok(())
    }

    fn seal(&mut self, block: u32, seal: Option<&Seal<'_>>) -> Result<(), TooLarge> {
        // DeepSeek, Kimi and Gemini 3 refuse the next request without the reasoning of a call. The text
        // stands in the summary, so that the seal is short.
        let is_wanted = |seal: &&Seal<'_>| self.context.wants_encrypted_reasoning || seal.origin.is_of_chat();
        let Some(seal) = seal.filter(is_wanted) else { return Ok(()) };
        self.keep(seal.payload.len().saturating_mul(3))?;
        self.with_item(block, |item| item.encrypted_content = Some(seal.encode()));
        Ok(())
    }

    fn text_done(&mut self, name: &str, member: &str, block: u32, out: &mut Vec<u8>) {
        self.part_event(name, block, out).raw(",\"").raw(member).raw("\":\"");
        if let Some(item) = self.items.get(block as usize) {
            out.raw(&item.text).raw("\"");
            if item.kind == BlockKind::Text {
                out.raw(r#","logprobs":["#).raw(&item.logprobs).raw("]");
            }
        }
        out.raw("}\n\n");
    }

    fn close(&mut self, block: u32, status: &str, out: &mut Vec<u8>) -> Result<(), TooLarge> {
        let Some(kind) = self.items.get(block as usize).map(|item| item.kind) else { return Ok(()) };
        match kind {
            BlockKind::Text | BlockKind::Refusal => {
                let (name, member) = if kind == BlockKind::Refusal {
                    ("response.refusal.done", "refusal")
                } else {
                    ("response.output_text.done", "text")
                };
                self.text_done(name, member, block, out);
                self.part_event("response.content_part.done", block, out);
                self.write_part(block, out);
            }
            BlockKind::Reasoning => self.close_summary_part(block, out),
            BlockKind::Function => {
                self.text_done("response.function_call_arguments.done", "arguments", block, out);
            }
            BlockKind::Custom => {
                self.text_done("response.custom_tool_call_input.done", "input", block, out);
            }
            BlockKind::LocalShell => {}
        }
        self.finish_item(block, status, out)
    }

    fn finish_item(&mut self, block: u32, status: &str, out: &mut Vec<u8>) -> Result<(), TooLarge> {
        self.with_item(block, |item| {
            let mut done = Vec::with_capacity(item.text.len() + 200);
            item.write_done(status, &mut done);
            // Only the whole form is needed from here.
            item.text = Vec::new();
            item.logprobs = Vec::new();
            item.annotations = Vec::new();
            item.done = Some(done);
        });
        self.item_event("output_item.done", block, true, out);
        Ok(())
    }

    fn end(&mut self, reason: StopReason, usage: TokenUsage, out: &mut Vec<u8>) {
        let name = match incomplete_reason(reason) {
            Some(_) => "response.incomplete",
            None => "response.completed",
        };
        self.event(name, out).raw(r#","response":"#);
        self.response(&AnswerOutcome::Ended(reason, usage), out);
        out.raw("}\n\n");
    }

    /// The response of an answer that is complete.
    pub(super) fn whole(&self, reason: StopReason, usage: TokenUsage, out: &mut Vec<u8>) {
        self.response(&AnswerOutcome::Ended(reason, usage), out);
    }

    fn response(&self, outcome: &AnswerOutcome<'_>, out: &mut Vec<u8>) {
        ResponseObject { id: &self.id, created: self.created, context: &self.context, items: &self.items }
            .write(outcome, out);
    }
}

fn write_citation(citation: &Citation<'_>, out: &mut Vec<u8>) {
    let (start, end) = citation.range.unwrap_or_default();
    out.raw(r#"{"type":"url_citation","start_index":"#).number(start).raw(r#","end_index":"#).number(end);
    out.raw(r#","url":"#).string(citation.url).raw(r#","title":"#).string(citation.title).raw("}");
}

/// Makes JSON of the client one line, because it becomes a part of an event's data.
fn compact(json: &mut String) {
    if json.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) {
        let mut line = Vec::with_capacity(json.len());
        JsonReader::new().read(json.as_bytes(), |value| write_json(value, &mut line));
        *json = String::from_utf8(line).unwrap_or_default();
    }
    if json.is_empty() {
        "null".clone_into(json);
    }
}
