//! Reads the answer of a provider of Anthropic's Messages API: stream events and whole messages.
//!
//! Blocks of server tools have no place in the neutral facts. The answer is complete with `message_stop`.
//! <https://docs.anthropic.com/en/docs/build-with-claude/streaming>

use super::{
    errors,
    fact::{Citation, Fact, FactSink, Seal, StopReason, TokenUsage},
    json_read::{Json, JsonRead, write_json},
};
use crate::dialect::reasoning::ReasoningOrigin;

#[derive(Debug, Default)]
pub(super) struct MessagesReader {
    usage: TokenUsage,
    /// The signature of the open thinking block.
    signature: String,
    /// Open tool blocks: the index, and the input that came at the start.
    tools: Vec<(u32, Vec<u8>)>,
    /// Citations of the open text block, which may come before its text.
    citations: Vec<HeldCitation>,
}

#[derive(Debug)]
struct HeldCitation {
    url: String,
    title: String,
    cited_text: String,
}

const MAX_SIGNATURE: usize = 1 << 20;
const MAX_TOOLS: usize = 1024;
const MAX_CITATIONS: usize = 64;

impl MessagesReader {
    /// `name`: the event's name, for data without a `type`.
    pub(super) fn event(&mut self, name: Option<&[u8]>, json: Json<'_>, sink: &mut dyn FactSink) {
        let name = name.and_then(|name| str::from_utf8(name).ok()).unwrap_or_default();
        match json.text("type").unwrap_or(name) {
            "message_start" => {
                let Some(message) = json.member("message") else { return };
                if let Some(usage) = message.member("usage") {
                    self.usage(usage, sink);
                }
                sink.fact(Fact::Started {
                    id: message.text_or_empty("id"),
                    model: message.text_or_empty("model"),
                });
            }
            "content_block_start" => {
                let Some(block) = json.member("content_block") else { return };
                self.block_start(index(json), block, sink);
            }
            "content_block_delta" => {
                let Some(delta) = json.member("delta") else { return };
                self.delta(index(json), delta, sink);
            }
            "content_block_stop" => self.block_stop(index(json), sink),
            "message_delta" => {
                if let Some(usage) = json.member("usage") {
                    self.usage(usage, sink);
                }
                if let Some(delta) = json.member("delta") {
                    finished(delta, sink);
                }
            }
            "message_stop" => sink.fact(Fact::Ended),
            "ping" => {}
            "error" => {
                errors::fact(true, json, sink);
            }
            _ => {
                if !errors::fact(false, json, sink) {
                    sink.fact(Fact::Unknown);
                }
            }
        }
    }

    /// A whole message.
    pub(super) fn whole(&mut self, json: Json<'_>, sink: &mut dyn FactSink) {
        if errors::fact(json.text("type") == Some("error"), json, sink) {
            return;
        }
        if let Some(usage) = json.member("usage") {
            self.usage(usage, sink);
        }
        if json.member("content").is_none() {
            return;
        }
        sink.fact(Fact::Started { id: json.text_or_empty("id"), model: json.text_or_empty("model") });
        for (index, block) in (0..).zip(json.elements("content")) {
            self.block_start(index, block, sink);
            if let Some(signature) = block.text("signature") {
                signature.clone_into(&mut self.signature);
            }
            self.block_stop(index, sink);
        }
        finished(json, sink);
        sink.fact(Fact::Ended);
    }

    fn block_start(&mut self, index: u32, block: Json<'_>, sink: &mut dyn FactSink) {
        match block.text_or_empty("type") {
            "text" => {
                sink.fact(Fact::Text { text: block.text_or_empty("text"), logprobs: None });
                block.elements("citations").for_each(|cited| self.cite(cited, sink));
            }
            "thinking" => {
                self.signature.clear();
                sink.fact(Fact::Reasoning { text: block.text_or_empty("thinking"), origin: None });
            }
            "redacted_thinking" => sink.fact(Fact::ReasoningSealed(Seal {
                origin: ReasoningOrigin::RedactedThinking,
                payload: block.text_or_empty("data").into(),
            })),
            "tool_use" if self.tools.len() < MAX_TOOLS => {
                let (id, name) = (block.text_or_empty("id"), block.text_or_empty("name"));
                sink.fact(Fact::CallBegun { key: index, id, name, is_custom: false });
                let mut input = Vec::new();
                if let Some(start) = block.member("input").filter(JsonRead::is_object_with_members) {
                    write_json(start, &mut input);
                }
                self.tools.push((index, input));
            }
            _ => sink.fact(Fact::Unknown),
        }
    }

    fn delta(&mut self, index: u32, delta: Json<'_>, sink: &mut dyn FactSink) {
        match delta.text_or_empty("type") {
            "text_delta" => sink.fact(Fact::Text { text: delta.text_or_empty("text"), logprobs: None }),
            "input_json_delta" => {
                let fragment = delta.text_or_empty("partial_json");
                if fragment.is_empty() {
                    return;
                }
                if let Some((_, input)) = self.tools.iter_mut().find(|(open, _)| *open == index) {
                    input.clear();
                }
                sink.fact(Fact::CallArguments { key: index, fragment });
            }
            "thinking_delta" => {
                sink.fact(Fact::Reasoning { text: delta.text_or_empty("thinking"), origin: None });
            }
            "signature_delta" => {
                let piece = delta.text_or_empty("signature");
                if self.signature.len() + piece.len() <= MAX_SIGNATURE {
                    self.signature.push_str(piece);
                }
            }
            "citations_delta" => {
                if let Some(citation) = delta.member("citation") {
                    self.cite(citation, sink);
                }
            }
            _ => sink.fact(Fact::Unknown),
        }
    }

    /// Keeps a citation of a search result or a page; one of a document has no address.
    fn cite(&mut self, citation: Json<'_>, sink: &mut dyn FactSink) {
        let url = citation.text("url").or_else(|| citation.text("source"));
        match url.filter(|_| self.citations.len() < MAX_CITATIONS) {
            Some(url) => self.citations.push(HeldCitation {
                url: url.to_owned(),
                title: citation.text_or_empty("title").to_owned(),
                cited_text: citation.text_or_empty("cited_text").to_owned(),
            }),
            None => sink.fact(Fact::Unknown),
        }
    }

    fn block_stop(&mut self, index: u32, sink: &mut dyn FactSink) {
        if let Some(position) = self.tools.iter().position(|(open, _)| *open == index) {
            let (_, input) = self.tools.swap_remove(position);
            if let Ok(fragment) = str::from_utf8(&input) {
                sink.fact(Fact::CallArguments { key: index, fragment });
            }
            return sink.fact(Fact::CallEnded { key: index });
        }
        for HeldCitation { url, title, cited_text } in self.citations.drain(..) {
            sink.fact(Fact::Citation(Citation {
                url: &url,
                title: &title,
                cited_text: &cited_text,
                range: None,
                is_in_block: false,
            }));
        }
        if self.signature.is_empty() {
            return sink.fact(Fact::BlockEnded);
        }
        let payload = std::mem::take(&mut self.signature).into();
        sink.fact(Fact::ReasoningSealed(Seal { origin: ReasoningOrigin::Thinking, payload }));
    }

    /// A later usage object holds the members that have changed, or all; some servers write zeros for the
    /// rest. Counts do not fall, so the larger one is the newer.
    fn usage(&mut self, usage: Json<'_>, sink: &mut dyn FactSink) {
        let known = self.usage;
        let later = |name: &str, known: u64| usage.count(name).unwrap_or(0).max(known);
        let cache_read = later("cache_read_input_tokens", known.cache_read);
        let cache_write = later("cache_creation_input_tokens", known.cache_write);
        let kept_for_an_hour =
            usage.member("cache_creation").and_then(|parts| parts.count("ephemeral_1h_input_tokens"));
        let beside = known.input.saturating_sub(known.cache_read.saturating_add(known.cache_write));
        let fresh = later("input_tokens", beside);
        let reasoning = usage.member("output_tokens_details").and_then(|details| {
            details.count("thinking_tokens").or_else(|| details.count("reasoning_tokens"))
        });
        self.usage = TokenUsage {
            input: fresh.saturating_add(cache_read).saturating_add(cache_write),
            cache_read,
            cache_write,
            cache_write_1h: kept_for_an_hour.unwrap_or(0).max(known.cache_write_1h),
            output: later("output_tokens", known.output),
            reasoning: reasoning.unwrap_or(known.reasoning),
        };
        sink.fact(Fact::Usage(self.usage));
    }
}

fn index(json: Json<'_>) -> u32 {
    json.count("index").and_then(|index| u32::try_from(index).ok()).unwrap_or(0)
}

fn finished(message: Json<'_>, sink: &mut dyn FactSink) {
    let reason = match message.text("stop_reason") {
        Some("max_tokens") => StopReason::Length,
        Some("tool_use") => StopReason::ToolUse,
        Some("stop_sequence") => StopReason::StopSequence,
        Some("refusal") => StopReason::Filtered,
        Some("pause_turn") => StopReason::Paused,
        Some("model_context_window_exceeded") => StopReason::ContextWindow,
        Some(_) => StopReason::Stop,
        None => return,
    };
    sink.fact(Fact::Finished { reason, sequence: message.text("stop_sequence") });
}
