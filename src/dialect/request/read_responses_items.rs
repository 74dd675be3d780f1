//! Reads the items of a Responses request's `input`.
//!
//! Reasoning, a message and calls in a row are one turn of the assistant. Items that only OpenAI can read,
//! and that hold the conversation, are refused; steps of tools that it ran are dropped.

use std::borrow::Cow;

use super::{
    RequestError, content,
    conversation::{
        Arguments, Conversation, Media, Part, PastReasoning, Speaker, ToolCall, ToolResult, Turn,
    },
    place::MemberPlace,
    read_responses_tools::sent_name,
    write::take_error_mark,
};
use crate::dialect::reasoning;

pub(super) fn read<'t>(item: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    item.object()?;
    let kind = item.text("type")?.unwrap_or("message");
    let (speaker, part) = match kind {
        "message" => return read_message(item, talk),
        "function_call" | "custom_tool_call" | "local_shell_call" => {
            (Speaker::Assistant, Part::Call(tool_call(item, kind, talk)?))
        }
        "function_call_output" | "custom_tool_call_output" | "local_shell_call_output" => {
            (Speaker::User, Part::Result(tool_result(item, kind)?))
        }
        "reasoning" => (Speaker::Assistant, Part::Reasoning(past_reasoning(item)?)),
        // Steps of tools that OpenAI ran: their results stand in the message that follows.
        "web_search_call"
        | "file_search_call"
        | "code_interpreter_call"
        | "image_generation_call"
        | "mcp_list_tools"
        | "mcp_call"
        | "mcp_approval_request"
        | "mcp_approval_response"
        | "tool_search_call"
        | "tool_search_output" => {
            talk.dropped.note(&format!("input:{kind}"));
            return Ok(());
        }
        "item_reference" => return Err(item.unsayable("the item is kept at OpenAI; send it whole")),
        "compaction" | "compaction_summary" | "compaction_trigger" => {
            return Err(item.unsayable("compaction by the provider is OpenAI's own"));
        }
        _ => return Err(item.unsayable(&format!("it has no item of type `{}`", short(kind)))),
    };
    talk.say(speaker, part);
    Ok(())
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

fn read_message<'t>(item: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    let role = item.required("role")?;
    let speaker = match role.string()? {
        "user" => Speaker::User,
        "assistant" => Speaker::Assistant,
        "system" => Speaker::System,
        "developer" => Speaker::Developer,
        _ => return Err(role.invalid("expected `user`, `assistant`, `system` or `developer`")),
    };
    let content = item.required("content")?;
    let has_spoken = |turn: &Turn<'_>| turn.parts.iter().any(|part| !matches!(part, Part::Reasoning(_)));
    // Reasoning, a message and calls of one answer are items of their own, and one turn.
    if speaker != Speaker::Assistant || talk.turns.last().is_some_and(has_spoken) {
        talk.begin(speaker);
    }
    for part in read_content(&content)? {
        talk.say(speaker, part);
    }
    Ok(())
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
        "input_text" | "output_text" | "text" | "summary_text" => {
            Ok(Part::Text(Cow::Borrowed(part.required_text("text")?)))
        }
        "refusal" => Ok(Part::Refusal(part.required_text("refusal")?)),
        "input_image" => match part.member("image_url") {
            Some(url) => Ok(Part::Image(Media { detail: part.text("detail")?, ..content::by_url(&url)? })),
            None => Err(stored(part, "image_url")),
        },
        "input_file" => {
            let media = match (part.member("file_data"), part.member("file_url")) {
                (Some(data), _) => content::file_data(&data)?,
                (None, Some(url)) => content::by_url(&url)?,
                (None, None) => return Err(stored(part, "file_data")),
            };
            content::by_mime(part, Media { name: part.text("filename")?, ..media })
        }
        "input_audio" => audio(&part.required("input_audio")?),
        _ => Err(kind.unsayable("it has no such part")),
    }
}

fn stored(part: &MemberPlace<'_, '_>, expected: &str) -> RequestError {
    match part.member("file_id") {
        Some(id) => id.unsayable("the file is stored at OpenAI"),
        None => part.missing(expected),
    }
}

pub(super) fn audio<'t>(audio: &MemberPlace<'_, 't>) -> Result<Part<'t>, RequestError> {
    let (data, format) = (audio.required_text("data")?, audio.required_text("format")?);
    Ok(Part::Audio { data: data.into(), format, path: audio.path() })
}

fn tool_call<'t>(
    item: &MemberPlace<'_, 't>,
    kind: &str,
    talk: &Conversation<'t>,
) -> Result<ToolCall<'t>, RequestError> {
    let id = Cow::Borrowed(item.required_text("call_id")?);
    if kind == "local_shell_call" {
        let action = item.required("action")?;
        action.object()?;
        return Ok(ToolCall {
            id,
            name: Cow::Borrowed("local_shell"),
            arguments: Arguments::Value(action.value),
        });
    }
    let arguments = match kind {
        "custom_tool_call" => Arguments::Input(item.required_text("input")?),
        _ => Arguments::Text(item.required_text("arguments")?),
    };
    let name = sent_name(talk, item.text("namespace")?, item.required_text("name")?);
    Ok(ToolCall { id, name, arguments })
}

fn tool_result<'t>(item: &MemberPlace<'_, 't>, kind: &str) -> Result<ToolResult<'t>, RequestError> {
    // Older clients name a shell's call by `id`.
    let id = match item.text("call_id")? {
        None if kind == "local_shell_call_output" => item.required_text("id")?,
        None => return Err(item.missing("call_id")),
        Some(id) => id,
    };
    let mut parts = read_content(&item.required("output")?)?;
    let is_error = take_error_mark(&mut parts);
    let is_custom = kind == "custom_tool_call_output";
    Ok(ToolResult { id: Cow::Borrowed(id), parts, is_error, is_custom })
}

fn past_reasoning<'t>(item: &MemberPlace<'_, 't>) -> Result<PastReasoning<'t>, RequestError> {
    let signed = item.text("encrypted_content")?.and_then(reasoning::decode);
    let mut texts = Vec::new();
    for name in ["content", "summary"] {
        let Some(list) = item.member(name) else { continue };
        for part in list.elements()? {
            texts.push(part.required_text("text")?);
        }
        // The whole reasoning says more than its summary.
        if !texts.is_empty() {
            break;
        }
    }
    let text = match texts.as_slice() {
        [] => Cow::Borrowed(""),
        [text] => Cow::Borrowed(*text),
        texts => Cow::Owned(texts.join("\n\n")),
    };
    Ok(PastReasoning { text, signed })
}
