//! Writes the content blocks of a Messages request.
//!
//! Texts of white space alone are left out, as Anthropic refuses them. Ids of calls get the form that it asks
//! for.

use super::{
    RequestError,
    conversation::{Media, MediaSource, Part, PastReasoning, ToolCall, ToolResult},
    ids,
    members::Dropped,
    write::ArrayWriter,
};
use crate::dialect::{json::JsonWrite, reasoning::ReasoningOrigin};

pub(super) fn write_text(text: &str, blocks: &mut ArrayWriter<'_>) {
    if !text.trim().is_empty() {
        let mut block = blocks.object();
        block.text("type", "text").text("text", text);
        block.close();
    }
}

pub(super) fn write_block(part: &Part<'_>, blocks: &mut ArrayWriter<'_>) -> Result<(), RequestError> {
    match part {
        Part::Text(_) | Part::Refusal(_) => write_text(part.words().unwrap_or_default(), blocks),
        Part::Image(media) => write_source("image", media, blocks),
        Part::Document(media) => {
            if let MediaSource::Inline { mime, .. } = &media.source
                && *mime != "application/pdf"
            {
                return Err(media.unsayable("the Messages API takes PDF and text files"));
            }
            write_source("document", media, blocks);
        }
        Part::Audio { path, .. } => {
            return Err(RequestError::unsayable_member(path, "the Messages API takes no sound"));
        }
        Part::Call(_) | Part::Result(_) | Part::Reasoning(_) => {}
        Part::Known => return Err(RequestError::unfit()),
    }
    Ok(())
}

fn write_source(kind: &str, media: &Media<'_>, blocks: &mut ArrayWriter<'_>) {
    let mut block = blocks.object();
    let mut source = block.text("type", kind).object("source");
    match &media.source {
        MediaSource::Inline { mime, data } => {
            source.text("type", "base64").text("media_type", mime).text("data", data);
        }
        MediaSource::Url(url) => _ = source.text("type", "url").text("url", url),
    }
    source.close();
    block.maybe_text("title", media.name.filter(|_| kind == "document"));
    block.close();
}

pub(super) fn write_call(call: &ToolCall<'_>, blocks: &mut ArrayWriter<'_>) {
    let mut block = blocks.object();
    block.text("type", "tool_use").text("id", &ids::for_messages(&call.id)).text("name", &call.name);
    block.key("input").raw(&*call.arguments.to_object());
    block.close();
}

pub(super) fn write_result(
    result: &ToolResult<'_>,
    blocks: &mut ArrayWriter<'_>,
) -> Result<(), RequestError> {
    let mut block = blocks.object();
    block.text("type", "tool_result").text("tool_use_id", &ids::for_messages(&result.id));
    match result.parts.as_slice() {
        [] => {}
        [Part::Text(text)] => _ = block.text("content", text),
        parts => {
            let mut content = block.array("content");
            parts.iter().try_for_each(|part| write_block(part, &mut content))?;
            content.close();
        }
    }
    if result.is_error {
        block.flag("is_error", true);
    }
    block.close();
    Ok(())
}

/// The signature or the data that Anthropic gave, and whether it is the data of hidden thinking.
pub(super) fn block_of<'a>(past: &'a PastReasoning<'_>) -> Option<(&'a str, bool)> {
    let signed = past.signed.as_ref()?;
    match signed.origin {
        ReasoningOrigin::Thinking => Some((&signed.payload, false)),
        ReasoningOrigin::RedactedThinking => Some((&signed.payload, true)),
        ReasoningOrigin::ChatReasoning
        | ReasoningOrigin::ChatReasoningContent
        | ReasoningOrigin::ChatDetails
        | ReasoningOrigin::ChatThinkPart
        | ReasoningOrigin::CallSignature => None,
        ReasoningOrigin::ReasoningItem => None,
    }
}

pub(super) fn write_reasoning(past: &PastReasoning<'_>, dropped: &mut Dropped, blocks: &mut ArrayWriter<'_>) {
    match block_of(past) {
        None => dropped.note("reasoning"),
        Some((data, true)) => {
            let mut block = blocks.object();
            block.text("type", "redacted_thinking").text("data", data);
            block.close();
        }
        Some((signature, false)) => {
            let mut block = blocks.object();
            block.text("type", "thinking").text("thinking", &past.text).text("signature", signature);
            block.close();
        }
    }
}
