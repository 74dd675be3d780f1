//! Reads a chat completions request: its messages.
//!
//! A tool's message becomes a result in a turn of the user. Reasoning that a client returns, bare or with a
//! signature in `reasoning_details`, becomes a part of the assistant's turn.

use std::borrow::Cow;

use super::{
    RequestError, content,
    conversation::{Arguments, Conversation, Media, Part, PastReasoning, Speaker, ToolCall, ToolResult},
    place::MemberPlace,
    read_chat_tools as tools,
    read_responses_items::audio,
    write::take_error_mark,
};
use crate::dialect::reasoning::{self, ReasoningOrigin, SignedReasoning};

pub(super) fn read<'t>(root: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    tools::read_tools(root, talk)?;
    let messages = root.required("messages")?;
    for message in messages.elements()? {
        talk.read_element(&message, |talk| read_message(&message, talk))?;
    }
    tools::read_settings(root, talk)
}

fn read_message<'t>(message: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    let role = message.required("role")?;
    let speaker = match role.string()? {
        "system" => Speaker::System,
        "developer" => Speaker::Developer,
        "user" => Speaker::User,
        "assistant" => return read_assistant(message, talk),
        "tool" => {
            let result = tool_result(message)?;
            talk.say(Speaker::User, Part::Result(result));
            return Ok(());
        }
        "function" => return Err(role.unsayable("functions are called as `tools` there")),
        _ => return Err(role.invalid("expected `system`, `developer`, `user`, `assistant` or `tool`")),
    };
    note_marks(message, talk);
    // A user's words after a tool's results are a turn of their own; they are joined where a dialect asks for
    // it.
    talk.begin(speaker);
    let content = message.required("content")?;
    note_part_marks(&content, talk);
    for part in read_content(&content)? {
        talk.say(speaker, part);
    }
    Ok(())
}

/// A speaker's name, and the mark of caches that clients of other APIs set here.
fn note_marks(message: &MemberPlace<'_, '_>, talk: &mut Conversation<'_>) {
    if message.member("name").is_some() {
        talk.dropped.note("messages.name");
    }
    if message.member("cache_control").is_some() {
        talk.dropped.note("cache_control");
    }
}

fn note_part_marks(content: &MemberPlace<'_, '_>, talk: &mut Conversation<'_>) {
    if content.value.elements().any(|part| part.get("cache_control").is_some()) {
        talk.dropped.note("cache_control");
    }
}

fn read_assistant<'t>(
    message: &MemberPlace<'_, 't>,
    talk: &mut Conversation<'t>,
) -> Result<(), RequestError> {
    talk.begin(Speaker::Assistant);
    note_marks(message, talk);
    for reasoning in past_reasoning(message)? {
        talk.say(Speaker::Assistant, Part::Reasoning(reasoning));
    }
    if let Some(content) = message.member("content") {
        for part in read_content(&content)? {
            talk.say(Speaker::Assistant, part);
        }
    }
    if let Some(refusal) = message.text("refusal")? {
        talk.say(Speaker::Assistant, Part::Refusal(refusal));
    }
    if let Some(call) = message.member("function_call") {
        return Err(call.unsayable("functions are called as `tools` there"));
    }
    if let Some(audio) = message.member("audio") {
        return Err(audio.unsayable("the sound is kept at OpenAI"));
    }
    if let Some(calls) = message.member("tool_calls") {
        for call in calls.elements()? {
            let call = tool_call(&call)?;
            talk.say(Speaker::Assistant, Part::Call(call));
        }
    }
    Ok(())
}

/// Reasoning that a client returns: signed details as OpenRouter has them, else the bare text.
fn past_reasoning<'t>(message: &MemberPlace<'_, 't>) -> Result<Vec<PastReasoning<'t>>, RequestError> {
    let (mut past, mut has_foreign) = (Vec::new(), false);
    if let Some(details) = message.member("reasoning_details").filter(|details| details.value.is_array()) {
        // The text and its signature may be elements of their own, of one `index`.
        let (mut index, mut text) = (None, String::new());
        for detail in details.elements()? {
            let own = detail.integer("index")?;
            if own.is_none() || own != index {
                text.clear();
            }
            index = own;
            text.push_str(detail.text("text")?.or(detail.text("summary")?).unwrap_or_default());
            let seal = detail.text("signature")?.or(detail.text("data")?);
            let signed = seal.and_then(reasoning::decode);
            let signed_elsewhere = seal.is_some() && signed.is_none();
            if signed.is_some() {
                past.push(PastReasoning { text: Cow::Owned(std::mem::take(&mut text)), signed });
            }
            has_foreign |= signed_elsewhere;
        }
    }
    let members = [
        ("reasoning_content", ReasoningOrigin::ChatReasoningContent),
        ("reasoning", ReasoningOrigin::ChatReasoning),
    ];
    for (name, origin) in members {
        if let Some(text) = message.text(name)?.filter(|text| !text.is_empty() && past.is_empty()) {
            let signed = Some(SignedReasoning { origin, payload: String::new() });
            past.push(PastReasoning { text: Cow::Borrowed(text), signed });
        }
    }
    if past.is_empty() && has_foreign {
        past.push(PastReasoning { text: Cow::Borrowed(""), signed: None });
    }
    Ok(past)
}

/// A text, or a list of parts.
fn read_content<'t>(content: &MemberPlace<'_, 't>) -> Result<Vec<Part<'t>>, RequestError> {
    if let Some(text) = content.value.as_str() {
        return Ok(vec![Part::Text(Cow::Borrowed(text))]);
    }
    content.elements()?.map(|part| read_part(&part)).collect()
}

fn read_part<'t>(part: &MemberPlace<'_, 't>) -> Result<Part<'t>, RequestError> {
    let kind = part.required("type")?;
    match kind.string()? {
        "text" => Ok(Part::Text(Cow::Borrowed(part.required_text("text")?))),
        "refusal" => Ok(Part::Refusal(part.required_text("refusal")?)),
        "image_url" => {
            let image = part.required("image_url")?;
            let url = image.required("url")?;
            Ok(Part::Image(Media { detail: image.text("detail")?, ..content::by_url(&url)? }))
        }
        "input_audio" => audio(&part.required("input_audio")?),
        "file" => {
            let file = part.required("file")?;
            if let Some(id) = file.member("file_id") {
                return Err(id.unsayable("the file is stored at OpenAI"));
            }
            let media = content::file_data(&file.required("file_data")?)?;
            content::by_mime(&file, Media { name: file.text("filename")?, ..media })
        }
        _ => Err(kind.unsayable("it has no such part")),
    }
}

fn tool_call<'t>(call: &MemberPlace<'_, 't>) -> Result<ToolCall<'t>, RequestError> {
    let id = Cow::Borrowed(call.required_text("id")?);
    let kind = call.member("type");
    let kind = kind.as_ref().map_or(Ok("function"), MemberPlace::string)?;
    if kind == "custom" {
        let custom = call.required("custom")?;
        let arguments = Arguments::Input(custom.required_text("input")?);
        return Ok(ToolCall { id, name: Cow::Borrowed(custom.required_text("name")?), arguments });
    }
    let function = call.required("function")?;
    let arguments = Arguments::Text(function.text("arguments")?.unwrap_or_default());
    Ok(ToolCall { id, name: Cow::Borrowed(function.required_text("name")?), arguments })
}

fn tool_result<'t>(message: &MemberPlace<'_, 't>) -> Result<ToolResult<'t>, RequestError> {
    let id = Cow::Borrowed(message.required_text("tool_call_id")?);
    let content = message.member("content");
    let mut parts = content.map_or(Ok(Vec::new()), |content| read_content(&content))?;
    let is_error = take_error_mark(&mut parts);
    Ok(ToolResult { id, parts, is_error, is_custom: false })
}
