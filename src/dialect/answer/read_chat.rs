//! Reads the answer of a chat-completions provider: chunks and whole completions.
//!
//! Providers differ in much: reasoning as `reasoning_content`, `reasoning`, `reasoning_details` or a part of
//! `content`; calls whole or in pieces, with or without index and id; usage in the finish chunk, in its own
//! or in each. Choices but the first are not read: `n` above 1 is refused before.
//!
//! The answer is complete with a `finish_reason`, or with `[DONE]` after content (Snowflake sends no reason).
//! It ends when the usage is known, too, or with `[DONE]` or the stream.

use std::borrow::Cow;

use super::{
    chat_calls::ChatCalls,
    chat_reasoning::{ReasoningReader, is_thought},
    chat_values::{citation, sources, stop_reason, stop_sequence, usage},
    errors,
    fact::{Fact, FactSink, StopReason},
    json_read::{Json, JsonRead},
};
use crate::dialect::reasoning::ReasoningOrigin;

#[derive(Debug, Default)]
pub(super) struct ChatReader {
    has_content: bool,
    is_finished: bool,
    is_whole: bool,
    calls: ChatCalls,
    reasoning: ReasoningReader,
}

impl ChatReader {
    pub(super) fn event(&mut self, name: Option<&[u8]>, json: Json<'_>, sink: &mut dyn FactSink) {
        if errors::fact(name == Some(b"error"), json, sink) {
            return;
        }
        let choice = json.elements("choices").find(|choice| choice.count("index").unwrap_or(0) == 0);
        let usage = json
            .member("usage")
            .or_else(|| choice?.member("usage"))
            .or_else(|| json.member("x_groq")?.member("usage"))
            .and_then(usage);
        if let Some(usage) = usage {
            sink.fact(Fact::Usage(usage));
        }
        if let Some(choice) = choice {
            sink.fact(Fact::Started { id: json.text_or_empty("id"), model: json.text_or_empty("model") });
            // A `message` behind pieces would be the same text again.
            let message = || choice.member("message").filter(|_| !self.has_content);
            if !self.choice(choice, choice.member("delta").or_else(message), sink) {
                return;
            }
            if finish_reason(choice).is_some() {
                sources(json, sink);
            }
        }
        if self.is_finished && usage.is_some() {
            self.end(sink);
        }
    }

    /// `[DONE]`.
    pub(super) fn done(&mut self, sink: &mut dyn FactSink) {
        if self.is_finished || self.has_content {
            self.end(sink);
        }
    }

    /// The stream's end. A reason alone ends an answer at several providers.
    pub(super) fn finish(&mut self, sink: &mut dyn FactSink) {
        if self.is_finished {
            self.end(sink);
        }
    }

    /// A whole completion.
    pub(super) fn whole(&mut self, json: Json<'_>, sink: &mut dyn FactSink) {
        self.is_whole = true;
        if errors::fact(false, json, sink) {
            return;
        }
        if let Some(usage) = json.member("usage").and_then(usage) {
            sink.fact(Fact::Usage(usage));
        }
        let Some(choice) = json.elements("choices").find(|choice| choice.count("index").unwrap_or(0) == 0)
        else {
            return;
        };
        sink.fact(Fact::Started { id: json.text_or_empty("id"), model: json.text_or_empty("model") });
        if self.choice(choice, choice.member("message"), sink) && (self.is_finished || self.has_content) {
            sources(json, sink);
            self.end(sink);
        }
    }

    /// Whether further arguments of this call change nothing here.
    pub(super) fn forgets_arguments(&self, key: u32) -> bool {
        self.calls.has_id(key)
    }

    fn end(&mut self, sink: &mut dyn FactSink) {
        self.reasoning.flush(sink);
        self.calls.flush(sink);
        sink.fact(Fact::Ended);
    }

    /// `false`: the answer failed.
    fn choice(&mut self, choice: Json<'_>, delta: Option<Json<'_>>, sink: &mut dyn FactSink) -> bool {
        if let Some(delta) = delta {
            self.delta(choice, delta, sink);
        } else if let Some(text) = choice.text("text") {
            self.text(text, None, sink);
        }
        let Some(reason) = finish_reason(choice) else { return true };
        match stop_reason(reason, self.has_content) {
            Ok(reason) => {
                let sequence = stop_sequence(choice).filter(|_| reason == StopReason::Stop);
                let reason = if sequence.is_some() { StopReason::StopSequence } else { reason };
                sink.fact(Fact::Finished { reason, sequence });
            }
            Err(code) => {
                // OpenRouter puts the error into the choice.
                if !errors::fact(false, choice, sink) {
                    sink.fact(Fact::Failed { code, message: &failure(reason) });
                }
                return false;
            }
        }
        self.is_finished = true;
        true
    }

    fn delta(&mut self, choice: Json<'_>, delta: Json<'_>, sink: &mut dyn FactSink) {
        self.has_content |= self.reasoning.read(delta, sink);
        let logprobs = choice.member("logprobs").and_then(|logprobs| logprobs.member("content"));
        match delta.member("content") {
            Some(content) if content.as_array().is_some() => {
                content.own_elements().for_each(|part| self.content_part(part, sink));
            }
            Some(content) if is_thought(delta) => {
                let text = content.own_text().unwrap_or_default();
                let text = text.strip_prefix("<thought>").unwrap_or(text);
                let text = text.strip_suffix("</thought>").unwrap_or(text);
                self.has_content |= !text.is_empty();
                sink.fact(Fact::Reasoning { text, origin: None });
            }
            content => {
                let text = content.and_then(|content| content.own_text()).unwrap_or_default();
                self.text(text, logprobs, sink);
            }
        }
        if let Some(refusal) = delta.text("refusal").filter(|refusal| !refusal.is_empty()) {
            self.has_content = true;
            self.reasoning.flush(sink);
            sink.fact(Fact::Refusal(refusal));
        }
        for annotation in delta.elements("annotations") {
            sink.fact(citation(annotation));
        }
        for (place, call) in (0..).zip(delta.elements("tool_calls")) {
            self.has_content = true;
            self.reasoning.flush(sink);
            self.calls.read(call, self.is_whole.then_some(place), sink);
        }
        if let Some(function) = delta.member("function_call") {
            self.has_content = true;
            self.calls.read_legacy(function, sink);
        }
        if delta.member("audio").or_else(|| delta.member("images")).is_some() {
            sink.fact(Fact::Unknown);
        }
    }

    fn text(&mut self, text: &str, logprobs: Option<Json<'_>>, sink: &mut dyn FactSink) {
        if !text.is_empty() {
            self.has_content = true;
            self.reasoning.flush(sink);
            sink.fact(Fact::Text { text, logprobs });
        }
    }

    /// A part of a `content` that is a list (Mistral).
    fn content_part(&mut self, part: Json<'_>, sink: &mut dyn FactSink) {
        match part.text("type") {
            Some("text" | "output_text") => self.text(part.text_or_empty("text"), None, sink),
            Some("thinking") => {
                let origin = Some(ReasoningOrigin::ChatThinkPart);
                self.has_content = true;
                for text in part.elements("thinking").filter_map(|inner| inner.text("text")) {
                    sink.fact(Fact::Reasoning { text, origin });
                }
                if let Some(text) = part.text("thinking") {
                    sink.fact(Fact::Reasoning { text, origin });
                }
            }
            Some("refusal") => {
                self.has_content = true;
                sink.fact(Fact::Refusal(part.text_or_empty("refusal")));
            }
            Some(_) | None => sink.fact(Fact::Unknown),
        }
    }
}

fn finish_reason<'a>(choice: Json<'a>) -> Option<&'a str> {
    // Some servers write the word instead of null.
    choice.text("finish_reason").filter(|reason| !reason.is_empty() && !reason.eq_ignore_ascii_case("null"))
}

/// The words of an answer that ended with a reason that is an error.
fn failure(reason: &str) -> Cow<'static, str> {
    const WORDS: &str = "the provider ended the answer with an error";
    if reason.eq_ignore_ascii_case("error") {
        return WORDS.into();
    }
    let reason: String = reason.chars().take(MAX_REASON).collect();
    format!("{WORDS}: {reason}").into()
}

const MAX_REASON: usize = 200;
