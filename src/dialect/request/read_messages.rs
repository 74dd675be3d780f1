//! Reads a request of Anthropic's Messages API: its system prompt and its turns.
//!
//! Marks that only steer Anthropic's own cache and context (`cache_control`, `context_management`) are
//! dropped. So is Claude Code's billing header, a system block that changes with each build and so spoils
//! prefix caches.

use std::borrow::Cow;

use super::{
    RequestError, content,
    conversation::{Arguments, Conversation, Media, Part, PastReasoning, Speaker, ToolCall, ToolResult},
    ids,
    place::MemberPlace,
    read_messages_tools as tools,
    read_responses_tools::sent_name,
};
use crate::dialect::reasoning;

pub(super) fn read<'t>(root: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    tools::read_tools(root, talk)?;
    if let Some(system) = root.member("system") {
        read_system(&system, talk)?;
    }
    let messages = root.required("messages")?;
    for message in messages.elements()? {
        talk.read_element(&message, |talk| read_message(&message, talk))?;
    }
    tools::read_settings(root, talk)
}

fn read_system<'t>(system: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    if let Some(text) = system.value.as_str() {
        talk.say(Speaker::System, Part::Text(Cow::Borrowed(text)));
        return Ok(());
    }
    for block in system.elements()? {
        let text = block.required_text("text")?;
        note_cache_control(&block, talk);
        if text.starts_with("x-anthropic-billing-header:") {
            talk.dropped.note("x-anthropic-billing-header");
        } else {
            talk.say(Speaker::System, Part::Text(Cow::Borrowed(text)));
        }
    }
    Ok(())
}

fn note_cache_control(block: &MemberPlace<'_, '_>, talk: &mut Conversation<'_>) {
    if block.member("cache_control").is_some() {
        talk.dropped.note("cache_control");
    }
}

fn read_message<'t>(message: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    let speaker = match message.required_text("role")? {
        "user" => Speaker::User,
        "assistant" => Speaker::Assistant,
        "system" => Speaker::System,
        _ => return Err(message.required("role")?.invalid("expected `user`, `assistant` or `system`")),
    };
    talk.begin(speaker);
    if message.member("output_config").is_some() {
        talk.dropped.note("messages.output_config");
    }
    let content = message.required("content")?;
    if let Some(text) = content.value.as_str() {
        talk.say(speaker, Part::Text(Cow::Borrowed(text)));
        return Ok(());
    }
    for block in content.elements()? {
        read_block(&block, speaker, talk)?;
    }
    Ok(())
}

fn read_block<'t>(
    block: &MemberPlace<'_, 't>,
    speaker: Speaker,
    talk: &mut Conversation<'t>,
) -> Result<(), RequestError> {
    let kind = block.required_text("type")?;
    note_cache_control(block, talk);
    let is_of = |expected: Speaker| {
        let fits = speaker == expected;
        if fits {
            Ok(())
        } else {
            Err(block.invalid(&format!("a block of type `{kind}` is not this role's")))
        }
    };
    let part = match kind {
        "tool_use" => {
            is_of(Speaker::Assistant)?;
            Part::Call(tool_use(block, talk)?)
        }
        "tool_result" => {
            is_of(Speaker::User)?;
            Part::Result(tool_result(block, talk)?)
        }
        "thinking" | "redacted_thinking" => {
            is_of(Speaker::Assistant)?;
            Part::Reasoning(thinking(block, kind)?)
        }
        // Their answers stand in the text that follows; the sources are encrypted for Anthropic alone.
        "server_tool_use" | "mcp_tool_use" | "container_upload" => {
            talk.dropped.note(&format!("messages.content:{kind}"));
            return Ok(());
        }
        _ if kind.ends_with("_tool_result") => {
            talk.dropped.note(&format!("messages.content:{kind}"));
            return Ok(());
        }
        "compaction" => {
            is_of(Speaker::Assistant)?;
            if let Some(summary) = block.text("content")? {
                begin_after(summary, talk);
            }
            return Ok(());
        }
        _ => return read_content(block, kind, talk).map(|parts| say_all(parts, speaker, talk)),
    };
    talk.say(speaker, part);
    Ok(())
}

/// The summary stands for all turns before it, as Anthropic reads it.
fn begin_after<'t>(summary: &'t str, talk: &mut Conversation<'t>) {
    talk.turns.retain(|turn| turn.speaker == Speaker::System);
    talk.record.stop();
    talk.begin(Speaker::User);
    talk.say(Speaker::User, Part::Text(Cow::Borrowed(summary)));
    talk.begin(Speaker::Assistant);
}

fn say_all<'t>(parts: Vec<Part<'t>>, speaker: Speaker, talk: &mut Conversation<'t>) {
    for part in parts {
        talk.say(speaker, part);
    }
}

/// The blocks that stand in a message as well as in a tool's result.
fn read_content<'t>(
    block: &MemberPlace<'_, 't>,
    kind: &str,
    talk: &mut Conversation<'t>,
) -> Result<Vec<Part<'t>>, RequestError> {
    let text = |text: &'t str| Part::Text(Cow::Borrowed(text));
    match kind {
        "text" => {
            if block.member("citations").is_some_and(|citations| !citations.value.is_empty()) {
                talk.dropped.note("messages.content.citations");
            }
            Ok(vec![text(block.required_text("text")?)])
        }
        "image" => Ok(vec![Part::Image(media(&block.required("source")?)?)]),
        "document" => document(block, talk),
        "search_result" => {
            let (title, source) = (block.required_text("title")?, block.required_text("source")?);
            let mut parts = vec![Part::Text(Cow::Owned(format!("{title}\n{source}")))];
            let content = block.required("content")?;
            for inner in content.elements()? {
                parts.push(text(inner.required_text("text")?));
            }
            Ok(parts)
        }
        "tool_reference" => {
            let name = block.required_text("tool_name")?;
            Ok(vec![Part::Text(Cow::Owned(format!("The tool `{name}` is available.")))])
        }
        _ => Err(block.required("type")?.unsayable("it has no such block")),
    }
}

/// A source of base64 or by its address; the ids of files are Anthropic's own.
fn media<'t>(source: &MemberPlace<'_, 't>) -> Result<Media<'t>, RequestError> {
    let kind = source.required("type")?;
    match kind.string()? {
        "base64" => {
            let mime = content::mime(&source.required("media_type")?)?;
            Ok(content::inline(source, mime, source.required_text("data")?))
        }
        "url" => content::by_url(&source.required("url")?),
        "file" => Err(kind.unsayable("the file is stored at Anthropic")),
        _ => Err(kind.invalid("expected `base64`, `url` or `file`")),
    }
}

fn document<'t>(
    block: &MemberPlace<'_, 't>,
    talk: &mut Conversation<'t>,
) -> Result<Vec<Part<'t>>, RequestError> {
    let source = block.required("source")?;
    let title = block.text("title")?;
    let mut parts = Vec::new();
    if let Some(context) = block.text("context")? {
        parts.push(Part::Text(Cow::Borrowed(context)));
    }
    if block.member("citations").and_then(|citations| citations.flag("enabled").ok()?).unwrap_or(false) {
        talk.dropped.note("messages.content.citations");
    }
    let title_part = || title.map(|title| Part::Text(Cow::Borrowed(title)));
    match source.required_text("type")? {
        "text" => {
            parts.extend(title_part());
            parts.push(Part::Text(Cow::Borrowed(source.required_text("data")?)));
        }
        "content" => {
            parts.extend(title_part());
            let inner = source.required("content")?;
            parts.extend(read_list(&inner, talk)?);
        }
        _ => parts.push(Part::Document(Media { name: title, ..media(&source)? })),
    }
    Ok(parts)
}

/// A text, or a list of blocks.
fn read_list<'t>(
    content: &MemberPlace<'_, 't>,
    talk: &mut Conversation<'t>,
) -> Result<Vec<Part<'t>>, RequestError> {
    if let Some(text) = content.value.as_str() {
        return Ok(vec![Part::Text(Cow::Borrowed(text))]);
    }
    let mut parts = Vec::new();
    for block in content.elements()? {
        note_cache_control(&block, talk);
        let kind = block.required_text("type")?;
        parts.extend(read_content(&block, kind, talk)?);
    }
    Ok(parts)
}

fn tool_use<'t>(block: &MemberPlace<'_, 't>, talk: &Conversation<'t>) -> Result<ToolCall<'t>, RequestError> {
    let input = block.required("input")?;
    input.object()?;
    Ok(ToolCall {
        id: ids::from_messages(block.required_text("id")?),
        name: sent_name(talk, None, block.required_text("name")?),
        arguments: Arguments::Value(input.value),
    })
}

fn tool_result<'t>(
    block: &MemberPlace<'_, 't>,
    talk: &mut Conversation<'t>,
) -> Result<ToolResult<'t>, RequestError> {
    let content = block.member("content");
    Ok(ToolResult {
        id: ids::from_messages(block.required_text("tool_use_id")?),
        parts: content.map_or(Ok(Vec::new()), |content| read_list(&content, talk))?,
        is_error: block.flag("is_error")?.unwrap_or(false),
        is_custom: false,
    })
}

fn thinking<'t>(block: &MemberPlace<'_, 't>, kind: &str) -> Result<PastReasoning<'t>, RequestError> {
    if kind == "redacted_thinking" {
        let signed = reasoning::decode(block.required_text("data")?);
        return Ok(PastReasoning { text: Cow::Borrowed(""), signed });
    }
    let signed = block.text("signature")?.and_then(reasoning::decode);
    Ok(PastReasoning { text: Cow::Borrowed(block.required_text("thinking")?), signed })
}
