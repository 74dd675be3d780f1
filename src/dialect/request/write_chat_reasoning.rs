//! The reasoning of an assistant's message, in the form in which its chat provider gave it.

use super::{
    RequestOptions,
    conversation::PastReasoning,
    write::{ArrayWriter, ObjectWriter},
};
use crate::dialect::{
    json::JsonWrite,
    reasoning::{self, ReasoningOrigin},
};

/// The reasoning of one message.
#[derive(Debug, Default)]
pub(super) struct ReturnedReasoning<'a> {
    /// A member of the message, and its text.
    member: Option<(&'static str, String)>,
    /// Elements of `reasoning_details`.
    details: Vec<String>,
    /// A part of the content.
    thoughts: String,
    /// The signature of the next call.
    pub(super) signature: Option<&'a str>,
}

impl<'a> ReturnedReasoning<'a> {
    /// `false`: the provider does not take it back.
    pub(super) fn add(&mut self, past: &'a PastReasoning<'_>, options: &RequestOptions<'_>) -> bool {
        let Some(signed) = &past.signed else { return false };
        if !options.reasoning_forms.contains(&signed.origin) {
            return false;
        }
        let payload = &*signed.payload;
        // A payload is the whole text; a text beside it may be a summary.
        let text = if payload.is_empty() { &*past.text } else { payload };
        match signed.origin {
            ReasoningOrigin::ChatReasoningContent => self.add_text("reasoning_content", text),
            ReasoningOrigin::ChatReasoning => self.add_text("reasoning", text),
            ReasoningOrigin::ChatThinkPart => self.thoughts.push_str(text),
            ReasoningOrigin::ChatDetails => {
                let Some(details) = reasoning::details_with_text(payload, &past.text) else { return false };
                self.details.push(details);
            }
            ReasoningOrigin::CallSignature => self.signature = Some(payload),
            ReasoningOrigin::Thinking
            | ReasoningOrigin::RedactedThinking
            | ReasoningOrigin::ReasoningItem => {
                return false;
            }
        }
        true
    }

    fn add_text(&mut self, name: &'static str, text: &str) {
        self.member.get_or_insert((name, String::new())).1.push_str(text);
    }

    /// Writes the content of these words, and the reasoning beside it.
    pub(super) fn write_with(&self, words: &str, message: &mut ObjectWriter<'_>) {
        if !self.thoughts.is_empty() {
            let mut content = message.array("content");
            let mut part = content.object();
            part.text("type", "thinking");
            let mut inner = part.array("thinking");
            write_text_part(&self.thoughts, &mut inner);
            inner.close();
            part.close();
            if !words.is_empty() {
                write_text_part(words, &mut content);
            }
            content.close();
        } else if words.is_empty() {
            message.key("content").raw("null");
        } else {
            message.text("content", words);
        }
        if let Some((name, text)) = &self.member {
            message.text(name, text);
        }
        if !self.details.is_empty() {
            message.key("reasoning_details").raw("[").raw(self.details.join(",")).raw("]");
        }
        write_signature(self.signature, message);
    }
}

fn write_text_part(text: &str, parts: &mut ArrayWriter<'_>) {
    let mut part = parts.object();
    part.text("type", "text").text("text", text);
    part.close();
}

/// The signature of a call, or of a message without calls after it.
pub(super) fn write_signature(signature: Option<&str>, object: &mut ObjectWriter<'_>) {
    if let Some(signature) = signature {
        let mut extra = object.object("extra_content");
        let mut google = extra.object("google");
        google.text("thought_signature", signature);
        google.close();
        extra.close();
    }
}
