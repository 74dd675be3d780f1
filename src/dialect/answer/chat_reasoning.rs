//! The reasoning of a chat provider in each of its forms, and the seal that gives it back in that form:
//! `reasoning_content` and `reasoning`, OpenRouter's `reasoning_details`, Mistral's parts of `content`,
//! Google's signatures of thoughts.
//!
//! An element of `reasoning_details` comes in pieces of one type and index; its signature comes last. The
//! seal has the element without its text, which stands beside the seal, so a stream keeps only its head.
//! <https://openrouter.ai/docs/use-cases/reasoning-tokens>,
//! <https://ai.google.dev/gemini-api/docs/thought-signatures>

use super::{
    fact::{Fact, FactSink, Seal},
    json_read::{Json, JsonRead, write_json},
};
use crate::dialect::{
    json::JsonWrite,
    reasoning::{ReasoningOrigin, TEXT_PLACE},
};

/// Bytes of an element that is kept as it came. A longer one is left out.
const MAX_ELEMENT: usize = 256 << 10;

#[derive(Debug, Default)]
pub(super) struct ReasoningReader {
    open: Option<OpenDetail>,
}

/// The element of `reasoning_details` whose text is under way.
#[derive(Debug)]
struct OpenDetail {
    is_summary: bool,
    index: Option<u64>,
    id: String,
    format: String,
}

impl ReasoningReader {
    /// The reasoning of a delta or a message. `true`: there is some.
    pub(super) fn read(&mut self, delta: Json<'_>, sink: &mut dyn FactSink) -> bool {
        let (mut has_text, mut has_any) = (false, false);
        for detail in delta.elements("reasoning_details") {
            has_text |= self.detail(detail, sink);
            has_any = true;
        }
        if !has_text && let Some((text, origin)) = plain_text(delta) {
            sink.fact(Fact::Reasoning { text, origin: Some(origin) });
            return true;
        }
        if let Some(signature) = thought_signature(delta) {
            self.flush(sink);
            call_signature(signature, sink);
        }
        has_any
    }

    /// `true`: the element has a text.
    fn detail(&mut self, detail: Json<'_>, sink: &mut dyn FactSink) -> bool {
        let (is_summary, name) = match detail.text_or_empty("type") {
            "reasoning.text" => (false, "text"),
            "reasoning.summary" => (true, "summary"),
            _ => {
                self.seal(None, Some(detail), sink);
                return false;
            }
        };
        let (text, index) = (detail.text_or_empty(name), detail.count("index"));
        let is_other = |open: &OpenDetail| (open.is_summary, open.index) != (is_summary, index);
        if !text.is_empty() && self.open.as_ref().is_some_and(is_other) {
            self.seal(None, None, sink);
        }
        let open = self.open.get_or_insert_with(|| OpenDetail {
            is_summary,
            index,
            id: String::new(),
            format: String::new(),
        });
        for (name, kept) in [("id", &mut open.id), ("format", &mut open.format)] {
            if kept.is_empty() {
                detail.text_or_empty(name).clone_into(kept);
            }
        }
        if !text.is_empty() {
            // Should the answer end here, the text goes back by itself.
            sink.fact(Fact::Reasoning { text, origin: Some(ReasoningOrigin::ChatReasoning) });
        }
        if let Some(signature) = detail.text("signature").filter(|signature| !signature.is_empty()) {
            self.seal(Some(signature), None, sink);
        }
        !text.is_empty()
    }

    /// The reasoning so far is complete.
    pub(super) fn flush(&mut self, sink: &mut dyn FactSink) {
        if self.open.is_some() {
            self.seal(None, None, sink);
        }
    }

    /// Seals the element under way, with its signature, and a further element that is kept as it came.
    fn seal(&mut self, signature: Option<&str>, further: Option<Json<'_>>, sink: &mut dyn FactSink) {
        let mut json = Vec::from(*b"[");
        if let Some(open) = self.open.take() {
            let (kind, name) =
                if open.is_summary { ("reasoning.summary", "summary") } else { ("reasoning.text", "text") };
            json.raw(r#"{"type":"#).string(kind).raw(",\"").raw(name).raw("\":").raw(TEXT_PLACE);
            for (name, value) in
                [("signature", signature.unwrap_or_default()), ("id", &open.id), ("format", &open.format)]
            {
                if !value.is_empty() {
                    json.raw(",\"").raw(name).raw("\":").string(value);
                }
            }
            if let Some(index) = open.index {
                json.raw(r#","index":"#).number(index);
            }
            json.raw("}");
        }
        if let Some(further) = further {
            let mut element = Vec::new();
            write_json(further, &mut element);
            if element.len() > MAX_ELEMENT {
                sink.fact(Fact::Unknown);
            } else {
                json.raw(if json.len() > 1 { "," } else { "" }).raw(element);
            }
        }
        json.raw("]");
        if let Ok(payload) = String::from_utf8(json).map(Into::into)
            && payload != "[]"
        {
            sink.fact(Fact::ReasoningSealed(Seal { origin: ReasoningOrigin::ChatDetails, payload }));
        }
    }
}

fn plain_text(delta: Json<'_>) -> Option<(&str, ReasoningOrigin)> {
    let members = [
        ("reasoning_content", ReasoningOrigin::ChatReasoningContent),
        ("reasoning", ReasoningOrigin::ChatReasoning),
    ];
    members.iter().find_map(|(name, origin)| {
        delta.text(name).filter(|text| !text.is_empty()).map(|text| (text, *origin))
    })
}

/// Google's signature of the thought before a call, or before a text.
pub(super) fn thought_signature<'a>(part: Json<'a>) -> Option<&'a str> {
    let google = part.member("extra_content")?.member("google")?;
    google.text("thought_signature").filter(|signature| !signature.is_empty())
}

/// Whether Google's compatible endpoint marks the content of a delta as a thought.
pub(super) fn is_thought(delta: Json<'_>) -> bool {
    let google = delta.member("extra_content").and_then(|extra| extra.member("google"));
    google.and_then(|google| google.member("thought")).is_some_and(|thought| {
        let mut json = Vec::new();
        write_json(thought, &mut json);
        json == b"true"
    })
}

pub(super) fn call_signature(signature: &str, sink: &mut dyn FactSink) {
    sink.fact(Fact::ReasoningSealed(Seal {
        origin: ReasoningOrigin::CallSignature,
        payload: signature.into(),
    }));
}
