//! Writes a chat completions request.
//!
//! It keeps to members that every provider knows, and to texts rather than lists of parts where there are
//! texts alone.

use std::borrow::Cow;

use super::{
    RequestError, RequestOptions,
    conversation::{Conversation, Part, Speaker, ToolCall, Turn},
    ids, order,
    write::{ArrayWriter, ObjectWriter, all_words, system_words},
    write_chat_parts::write_part,
    write_chat_reasoning::{ReturnedReasoning, write_signature},
    write_chat_settings as settings,
};
pub(super) fn write(
    talk: &mut Conversation<'_>,
    options: &RequestOptions<'_>,
    out: &mut Vec<u8>,
) -> Result<(), RequestError> {
    let mut root = ObjectWriter::over(talk.document, out);
    root.text("model", options.model);
    let mut messages = root.array("messages");
    let mut turns = std::mem::take(&mut talk.turns);
    if options.strict_turns {
        order::alternate(&mut turns);
    }
    for turn in &turns {
        talk.write_turn(turn, &mut messages, |talk, messages| match turn.speaker {
            Speaker::System | Speaker::Developer => write_system(turn, options, messages),
            Speaker::User => write_user(turn, options, messages),
            Speaker::Assistant => write_assistant(turn, talk, options, messages),
        })?;
    }
    messages.close();
    talk.end_turns();
    settings::write_tools(talk, &mut root);
    settings::write_settings(talk, options, &mut root);
    settings::write_effort(talk, options, &mut root);
    root.close();
    Ok(())
}

fn write_system(
    turn: &Turn<'_>,
    options: &RequestOptions<'_>,
    messages: &mut ArrayWriter<'_>,
) -> Result<(), RequestError> {
    let is_developer = turn.speaker == Speaker::Developer && options.developer_role;
    let words = turn.parts.iter().map(system_words).collect::<Result<Vec<_>, _>>()?;
    if matches!(*words, [] | [""]) {
        return Ok(());
    }
    let mut message = messages.object();
    message.text("role", if is_developer { "developer" } else { "system" });
    message.joined("content", &words, "\n\n");
    message.close();
    Ok(())
}

/// Results of tools become messages of their own; their pictures follow in the user's message, because a
/// tool's message holds text only.
fn write_user(
    turn: &Turn<'_>,
    options: &RequestOptions<'_>,
    messages: &mut ArrayWriter<'_>,
) -> Result<(), RequestError> {
    let mut media = Vec::new();
    let mut rest = Vec::new();
    for part in &turn.parts {
        let Part::Result(result) = part else {
            rest.push(part.clone());
            continue;
        };
        let mut words = result.words();
        let before = media.len();
        media.extend(result.media().cloned());
        if media.len() > before && words.is_empty() {
            words = Cow::Borrowed("The result is in the user's next message.");
        }
        let mut message = messages.object();
        message
            .text("role", "tool")
            .text("tool_call_id", &ids::for_chat(&result.id, options.short_ids))
            .text("content", &words);
        message.close();
    }
    media.append(&mut rest);
    if media.is_empty() {
        return Ok(());
    }
    let mut message = messages.object();
    message.text("role", "user");
    match all_words(&media) {
        Some(words) => _ = message.joined("content", &words, "\n\n"),
        None => {
            let mut content = message.array("content");
            media.iter().try_for_each(|part| write_part(part, &mut content))?;
            content.close();
        }
    }
    message.close();
    Ok(())
}

fn write_assistant(
    turn: &Turn<'_>,
    talk: &mut Conversation<'_>,
    options: &RequestOptions<'_>,
    messages: &mut ArrayWriter<'_>,
) -> Result<(), RequestError> {
    let (mut words, mut is_cut) = (Cow::Borrowed(""), false);
    let mut calls = Vec::new();
    let mut past = ReturnedReasoning::default();
    for part in &turn.parts {
        match part {
            Part::Text(_) | Part::Refusal(_) => {
                let text = part.words().unwrap_or_default();
                // Pieces of one text are parts in a row; a call between them ends a paragraph.
                if words.is_empty() {
                    words = Cow::Borrowed(text);
                } else if !text.is_empty() {
                    let words = words.to_mut();
                    words.push_str(if is_cut { "\n\n" } else { "" });
                    words.push_str(text);
                }
                is_cut = false;
            }
            Part::Call(call) => {
                calls.push((call, past.signature.take()));
                is_cut = true;
            }
            Part::Reasoning(part) => {
                if !past.add(part, options) {
                    talk.dropped.note("reasoning");
                }
            }
            Part::Image(media) | Part::Document(media) => {
                return Err(media.unsayable("an assistant's message can hold text only"));
            }
            Part::Audio { path, .. } => {
                let reason = "an assistant's message can hold text only";
                return Err(RequestError::unsayable_member(path, reason));
            }
            Part::Result(_) => {
                return Err(RequestError::unsayable("an assistant's message can hold text only"));
            }
            Part::Known => return Err(RequestError::unfit()),
        }
    }
    if words.is_empty() && calls.is_empty() {
        return Ok(());
    }
    let mut message = messages.object();
    message.text("role", "assistant");
    past.write_with(&words, &mut message);
    write_calls(&calls, options, &mut message);
    message.close();
    Ok(())
}

/// Google's word for a call whose signature is lost, or was never given.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

fn write_calls(
    calls: &[(&ToolCall<'_>, Option<&str>)],
    options: &RequestOptions<'_>,
    message: &mut ObjectWriter<'_>,
) {
    if calls.is_empty() {
        return;
    }
    let mut list = message.array("tool_calls");
    for (at, (call, signature)) in calls.iter().enumerate() {
        // The first of parallel calls has the signature of all.
        let stand_in = (options.signs_calls && at == 0).then_some(NO_SIGNATURE);
        let mut object = list.object();
        object.text("id", &ids::for_chat(&call.id, options.short_ids)).text("type", "function");
        let mut function = object.object("function");
        function.text("name", &call.name).text("arguments", &call.arguments.to_json());
        function.close();
        write_signature(signature.or(stand_in), &mut object);
        object.close();
    }
    list.close();
}
