//! Reads the answer of a provider of OpenAI's Responses API: stream events and whole responses.
//!
//! An item's pieces are read from its deltas; an item that had none is read from its `.done` event, and an
//! answer without items from the `output` of `response.completed`. Items of hosted tools have no place in the
//! neutral facts. The answer is complete with `response.completed` or `response.incomplete`.

use super::{
    errors,
    fact::{Citation, Fact, FactSink, Seal, StopReason, TokenUsage},
    json_read::{Json, JsonRead},
};
use crate::dialect::reasoning::{self, ReasoningOrigin};

#[derive(Debug, Default)]
pub(super) struct ResponsesReader {
    /// The items that are open: few at a time.
    items: Vec<OpenItem>,
    has_items: bool,
}

#[derive(Clone, Copy, Debug)]
struct OpenItem {
    index: u32,
    has_begun: bool,
    has_pieces: bool,
}

const MAX_ITEMS: usize = 1024;

impl ResponsesReader {
    /// `name`: the event's name, for data without a `type`.
    pub(super) fn event(&mut self, name: Option<&[u8]>, json: Json<'_>, sink: &mut dyn FactSink) {
        let name = name.and_then(|name| str::from_utf8(name).ok()).unwrap_or_default();
        let kind = json.text("type").unwrap_or(name);
        let index = output_index(json);
        match kind.strip_prefix("response.").unwrap_or(kind) {
            "created" | "in_progress" | "queued" => {
                if let Some(response) = json.member("response") {
                    started(response, sink);
                }
            }
            "output_item.added" => {
                if let Some(item) = json.member("item") {
                    self.item_added(index, item, sink);
                }
            }
            "output_text.delta" => {
                self.mark(index);
                let logprobs = json.member("logprobs").filter(|_| json.elements("logprobs").next().is_some());
                sink.fact(Fact::Text { text: json.text_or_empty("delta"), logprobs });
            }
            "refusal.delta" => {
                self.mark(index);
                sink.fact(Fact::Refusal(json.text_or_empty("delta")));
            }
            "reasoning_summary_text.delta" | "reasoning_text.delta" => {
                self.mark(index);
                sink.fact(Fact::Reasoning { text: json.text_or_empty("delta"), origin: None });
            }
            "reasoning_summary_part.added" => sink.fact(Fact::ReasoningPart),
            "function_call_arguments.delta" | "custom_tool_call_input.delta" => {
                self.mark(index);
                sink.fact(Fact::CallArguments { key: index, fragment: json.text_or_empty("delta") });
            }
            "output_text.annotation.added" => {
                sink.fact(json.member("annotation").map_or(Fact::Unknown, citation));
            }
            "output_item.done" => {
                if let Some(item) = json.member("item") {
                    self.item_done(index, item, sink);
                }
            }
            "completed" | "incomplete" => {
                if let Some(response) = json.member("response") {
                    self.completed(response, sink);
                }
            }
            "failed" | "cancelled" => {
                errors::fact(true, json.member("response").unwrap_or(json), sink);
            }
            "error" => {
                errors::fact(true, json, sink);
            }
            // Indexes of citations count from the start of their part.
            "content_part.done" if json.member("part").is_some_and(is_text) => sink.fact(Fact::BlockEnded),
            "content_part.added"
            | "content_part.done"
            | "output_text.done"
            | "refusal.done"
            | "reasoning_summary_text.done"
            | "reasoning_text.done"
            | "reasoning_summary_part.done"
            | "function_call_arguments.done"
            | "custom_tool_call_input.done"
            | "keepalive" => {}
            _ => sink.fact(Fact::Unknown),
        }
    }

    /// A whole response.
    pub(super) fn whole(&mut self, json: Json<'_>, sink: &mut dyn FactSink) {
        let has_failed = matches!(json.text("status"), Some("failed" | "cancelled"));
        if errors::fact(has_failed, json, sink) {
            return;
        }
        let is_under_way = matches!(json.text("status"), Some("queued" | "in_progress"));
        if json.member("output").is_some() && !is_under_way {
            started(json, sink);
            self.completed(json, sink);
        }
    }

    fn item(&mut self, index: u32) -> Option<&mut OpenItem> {
        self.has_items = true;
        if let Some(position) = self.items.iter().position(|item| item.index == index) {
            return self.items.get_mut(position);
        }
        if self.items.len() >= MAX_ITEMS {
            return None;
        }
        self.items.push(OpenItem { index, has_begun: false, has_pieces: false });
        self.items.last_mut()
    }

    fn mark(&mut self, index: u32) {
        if let Some(item) = self.item(index) {
            item.has_pieces = true;
        }
    }

    fn item_added(&mut self, index: u32, item: Json<'_>, sink: &mut dyn FactSink) {
        let Some(open) = self.item(index) else { return };
        let has_begun = std::mem::replace(&mut open.has_begun, true);
        match item.text_or_empty("type") {
            kind @ ("function_call" | "custom_tool_call") if !has_begun => sink.fact(Fact::CallBegun {
                key: index,
                id: item.text("call_id").or_else(|| item.text("id")).unwrap_or_default(),
                name: item.text_or_empty("name"),
                is_custom: kind == "custom_tool_call",
            }),
            "function_call" | "custom_tool_call" | "message" | "reasoning" => {}
            _ => sink.fact(Fact::Unknown),
        }
    }

    fn item_done(&mut self, index: u32, item: Json<'_>, sink: &mut dyn FactSink) {
        self.item_added(index, item, sink);
        let position = self.items.iter().position(|open| open.index == index);
        let has_pieces = position.is_some_and(|position| self.items.swap_remove(position).has_pieces);
        match item.text_or_empty("type") {
            "function_call" | "custom_tool_call" => {
                let fragment = item.text("arguments").or_else(|| item.text("input")).unwrap_or_default();
                if !has_pieces {
                    sink.fact(Fact::CallArguments { key: index, fragment });
                }
                sink.fact(Fact::CallEnded { key: index });
            }
            "message" => {
                if !has_pieces {
                    item.elements("content").for_each(|part| message_part(part, sink));
                }
                sink.fact(Fact::BlockEnded);
            }
            "reasoning" => {
                if !has_pieces {
                    reasoning_parts(item, sink);
                }
                reasoning_end(item, sink);
            }
            _ => {}
        }
    }

    fn completed(&mut self, response: Json<'_>, sink: &mut dyn FactSink) {
        if let Some(usage) = response.member("usage").and_then(usage) {
            sink.fact(Fact::Usage(usage));
        }
        started(response, sink);
        if !self.has_items {
            for (index, item) in (0..).zip(response.elements("output")) {
                self.item_done(index, item, sink);
            }
        }
        let is_incomplete = response.text("status") == Some("incomplete");
        let reason = match response.member("incomplete_details").and_then(|details| details.text("reason")) {
            Some("content_filter") => StopReason::Filtered,
            Some(_) => StopReason::Length,
            None if is_incomplete => StopReason::Length,
            None => StopReason::Stop,
        };
        sink.fact(Fact::Finished { reason, sequence: None });
        sink.fact(Fact::Ended);
    }
}

fn output_index(json: Json<'_>) -> u32 {
    json.count("output_index").and_then(|index| u32::try_from(index).ok()).unwrap_or(0)
}

fn started(response: Json<'_>, sink: &mut dyn FactSink) {
    sink.fact(Fact::Started { id: response.text_or_empty("id"), model: response.text_or_empty("model") });
}

fn message_part(part: Json<'_>, sink: &mut dyn FactSink) {
    match part.text_or_empty("type") {
        "output_text" => {
            let logprobs = part.member("logprobs").filter(|_| part.elements("logprobs").next().is_some());
            sink.fact(Fact::Text { text: part.text_or_empty("text"), logprobs });
            part.elements("annotations").for_each(|annotation| sink.fact(citation(annotation)));
            sink.fact(Fact::BlockEnded);
        }
        "refusal" => sink.fact(Fact::Refusal(part.text_or_empty("refusal"))),
        _ => sink.fact(Fact::Unknown),
    }
}

fn is_text(part: Json<'_>) -> bool {
    part.text("type") == Some("output_text")
}

/// The text of a reasoning item: its content if it has one, else its summary.
fn reasoning_parts(item: Json<'_>, sink: &mut dyn FactSink) {
    let name = if item.elements("content").next().is_some() { "content" } else { "summary" };
    for part in item.elements(name) {
        sink.fact(Fact::ReasoningPart);
        sink.fact(Fact::Reasoning { text: part.text_or_empty("text"), origin: None });
    }
}

fn reasoning_end(item: Json<'_>, sink: &mut dyn FactSink) {
    let Some(encrypted) = item.text("encrypted_content") else { return sink.fact(Fact::BlockEnded) };
    let payload = reasoning::item_payload(item.text_or_empty("id"), encrypted).into();
    sink.fact(Fact::ReasoningSealed(Seal { origin: ReasoningOrigin::ReasoningItem, payload }));
}

fn citation(annotation: Json<'_>) -> Fact<'_> {
    let Some(url) = annotation.text("url") else { return Fact::Unknown };
    let range = annotation.count("start_index").zip(annotation.count("end_index"));
    let title = annotation.text_or_empty("title");
    Fact::Citation(Citation { url, title, cited_text: "", range, is_in_block: true })
}

fn usage(usage: Json<'_>) -> Option<TokenUsage> {
    let detail = |group: &str, name: &str| usage.member(group).and_then(|details| details.count(name));
    Some(TokenUsage {
        input: usage.count("input_tokens")?,
        cache_read: detail("input_tokens_details", "cached_tokens").unwrap_or(0),
        cache_write: detail("input_tokens_details", "cache_write_tokens").unwrap_or(0),
        cache_write_1h: 0,
        output: usage.count("output_tokens").unwrap_or(0),
        reasoning: detail("output_tokens_details", "reasoning_tokens").unwrap_or(0),
    })
}
