//! Writes a request of OpenAI's Responses API.
//!
//! Nothing is stored at the provider: reasoning comes and goes back as encrypted content.

use super::{
    RequestError, RequestOptions,
    conversation::{
        Arguments, Conversation, Media, MediaSource, Part, PastReasoning, Speaker, ToolResult, Turn,
    },
    ids,
    write::{ArrayWriter, ERROR_MARK, ObjectWriter, all_words},
    write_responses_settings as settings,
};
use crate::dialect::reasoning::ReasoningOrigin;

pub(super) fn write(
    talk: &mut Conversation<'_>,
    options: &RequestOptions<'_>,
    out: &mut Vec<u8>,
) -> Result<(), RequestError> {
    refuse(talk)?;
    let turns = std::mem::take(&mut talk.turns);
    // A picture has no place in the instructions, but one in a message of the system.
    let is_instruction =
        |turn: &&Turn<'_>| turn.speaker == Speaker::System && all_words(&turn.parts).is_some();
    let leading = turns.iter().take_while(is_instruction).count();
    let (systems, rest) = turns.split_at_checked(leading).unwrap_or_default();
    let mut root = ObjectWriter::over(talk.document, out);
    root.text("model", options.model);
    let blocks: Vec<&str> = systems.iter().flat_map(|turn| &turn.parts).filter_map(Part::words).collect();
    if !blocks.is_empty() {
        root.joined("instructions", &blocks, "\n\n");
    }
    let mut items = root.array("input");
    for turn in rest {
        talk.write_turn(turn, &mut items, |talk, items| match turn.speaker {
            Speaker::System => write_said("system", &turn.parts, items),
            Speaker::Developer => write_said("developer", &turn.parts, items),
            Speaker::User => write_user(turn, items),
            Speaker::Assistant => write_assistant(turn, talk, items),
        })?;
    }
    items.close();
    talk.end_turns();
    settings::write_tools(talk, &mut root);
    settings::write_settings(talk, options, &mut root);
    settings::write_reasoning_wish(talk, options, &mut root);
    root.flag("store", false);
    if talk.settings.streams {
        root.flag("stream", true);
    }
    root.close();
    Ok(())
}

fn refuse(talk: &Conversation<'_>) -> Result<(), RequestError> {
    let settings = &talk.settings;
    let cases = [
        ("n", settings.choices.is_some(), "it gives one answer"),
        ("stop", !settings.stop.is_empty(), "it cannot stop at a text"),
        ("logit_bias", settings.logit_bias.is_some(), "it has no such setting"),
    ];
    match cases.iter().find(|(_, is_said, _)| *is_said) {
        Some((name, _, reason)) => Err(RequestError::unsayable_member(name, reason)),
        None => Ok(()),
    }
}

fn write_user(turn: &Turn<'_>, items: &mut ArrayWriter<'_>) -> Result<(), RequestError> {
    let mut rest = Vec::new();
    for part in &turn.parts {
        if let Part::Result(result) = part {
            write_result(result, items)?;
        } else {
            rest.push(part.clone());
        }
    }
    if rest.is_empty() { Ok(()) } else { write_said("user", &rest, items) }
}

fn write_said(role: &str, parts: &[Part<'_>], items: &mut ArrayWriter<'_>) -> Result<(), RequestError> {
    let mut message = items.object();
    message.text("type", "message").text("role", role);
    let mut content = message.array("content");
    parts.iter().try_for_each(|part| write_part(part, &mut content))?;
    content.close();
    message.close();
    Ok(())
}

fn write_part(part: &Part<'_>, content: &mut ArrayWriter<'_>) -> Result<(), RequestError> {
    let mut object = content.object();
    match part {
        Part::Text(text) => _ = object.text("type", "input_text").text("text", text),
        Part::Refusal(text) => _ = object.text("type", "input_text").text("text", text),
        Part::Image(media) => {
            object.text("type", "input_image").text("detail", media.detail.unwrap_or("auto"));
            media.write_url(object.key("image_url"));
        }
        Part::Document(media) => write_file(media, &mut object),
        Part::Audio { path, .. } => {
            return Err(RequestError::unsayable_member(path, "the Responses API takes no sound"));
        }
        Part::Call(_) | Part::Result(_) | Part::Reasoning(_) => {
            return Err(RequestError::unsayable(
                "a call of a tool cannot stand in another speaker's message",
            ));
        }
        Part::Known => return Err(RequestError::unfit()),
    }
    object.close();
    Ok(())
}

fn write_file(media: &Media<'_>, object: &mut ObjectWriter<'_>) {
    object.text("type", "input_file");
    match &media.source {
        MediaSource::Url(url) => _ = object.text("file_url", url),
        MediaSource::Inline { mime, .. } => {
            let fallback = if *mime == "application/pdf" { "document.pdf" } else { "document" };
            object.text("filename", media.name.unwrap_or(fallback));
            media.write_url(object.key("file_data"));
        }
    }
}

/// A text where there are texts alone, else a list of parts.
fn write_result(result: &ToolResult<'_>, items: &mut ArrayWriter<'_>) -> Result<(), RequestError> {
    let mut item = items.object();
    item.text("type", if result.is_custom { "custom_tool_call_output" } else { "function_call_output" });
    item.text("call_id", &ids::for_openai(&result.id));
    if result.media().next().is_none() {
        item.text("output", &result.words());
    } else {
        let mut output = item.array("output");
        if result.is_error {
            write_part(&Part::Text(ERROR_MARK.trim_end().into()), &mut output)?;
        }
        result.parts.iter().try_for_each(|part| write_part(part, &mut output))?;
        output.close();
    }
    item.close();
    Ok(())
}

fn write_assistant(
    turn: &Turn<'_>,
    talk: &mut Conversation<'_>,
    items: &mut ArrayWriter<'_>,
) -> Result<(), RequestError> {
    let is_text = |part: &Part<'_>| part.words().is_some();
    for run in turn.parts.chunk_by(|one, next| is_text(one) && is_text(next)) {
        match run {
            [Part::Call(call)] => {
                let mut item = items.object();
                let is_custom = matches!(call.arguments, Arguments::Input(_));
                item.text("type", if is_custom { "custom_tool_call" } else { "function_call" });
                item.text("call_id", &ids::for_openai(&call.id)).text("name", &call.name);
                if let Arguments::Input(input) = &call.arguments {
                    item.text("input", input);
                } else {
                    item.text("arguments", &call.arguments.to_json());
                }
                item.close();
            }
            [Part::Reasoning(past)] => write_past_reasoning(past, talk, items),
            texts => write_words(texts, items)?,
        }
    }
    Ok(())
}

fn write_words(texts: &[Part<'_>], items: &mut ArrayWriter<'_>) -> Result<(), RequestError> {
    let words = all_words(texts);
    let words = words.ok_or_else(|| RequestError::unsayable("an assistant's message can hold text only"))?;
    if words.iter().all(|text| text.is_empty()) {
        return Ok(());
    }
    // A list of `output_text` would need the item's id and status.
    let mut item = items.object();
    item.text("type", "message").text("role", "assistant").joined("content", &words, "");
    item.close();
    Ok(())
}

fn write_past_reasoning(past: &PastReasoning<'_>, talk: &mut Conversation<'_>, items: &mut ArrayWriter<'_>) {
    let own = past.signed.as_ref().filter(|signed| signed.origin == ReasoningOrigin::ReasoningItem);
    let Some((id, encrypted)) = own.and_then(|signed| signed.payload.split_once('\n')) else {
        return talk.dropped.note("reasoning");
    };
    let mut item = items.object();
    item.text("type", "reasoning").text("id", id);
    let mut summary = item.array("summary");
    if !past.text.is_empty() {
        let mut part = summary.object();
        part.text("type", "summary_text").text("text", &past.text);
        part.close();
    }
    summary.close();
    if !encrypted.is_empty() {
        item.text("encrypted_content", encrypted);
    }
    item.close();
}
