//! Reads a request of OpenAI's Responses API: its settings, and what its answers repeat.
//!
//! Members that need the provider's memory (`previous_response_id`, `conversation`, `prompt`, `background`)
//! are refused: the model would answer without the conversation.

use std::borrow::Cow;

use super::{
    RequestError,
    conversation::{Conversation, Part, Speaker},
    place::MemberPlace,
    read_messages_tools::note_unknown,
    read_responses_items as items, read_responses_tools as tools,
    wishes::{AnswerFormat, ReasoningEffort},
};

pub(super) fn read<'t>(root: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    refuse_memory(root)?;
    tools::read(root, talk)?;
    if let Some(instructions) = root.member("instructions") {
        let text = Part::Text(Cow::Borrowed(instructions.string()?));
        talk.say(Speaker::System, text);
    }
    let input = root.required("input")?;
    if let Some(text) = input.value.as_str() {
        talk.say(Speaker::User, Part::Text(Cow::Borrowed(text)));
    } else {
        for item in input.elements()? {
            talk.read_element(&item, |talk| items::read(&item, talk))?;
        }
    }
    read_settings(root, talk)?;
    repeat_members(root, talk);
    Ok(())
}

fn refuse_memory(root: &MemberPlace<'_, '_>) -> Result<(), RequestError> {
    let memories = [
        (
            "previous_response_id",
            "the earlier response is not kept here; send the whole conversation as `input`",
        ),
        ("conversation", "conversations are not kept here; send the whole conversation as `input`"),
        ("prompt", "prompt templates are kept at OpenAI"),
    ];
    for (name, reason) in memories {
        if let Some(member) = root.member(name) {
            return Err(member.unsayable(reason));
        }
    }
    match root.member("background") {
        Some(background) if background.value.as_bool() != Some(false) => {
            Err(background.unsayable("responses are not kept here"))
        }
        _ => Ok(()),
    }
}

fn read_settings<'t>(root: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    talk.settings.model = if root.is_counted { "" } else { root.required_text("model")? };
    talk.settings.streams = root.flag("stream")?.unwrap_or(false);
    talk.settings.wants_usage = true;
    talk.settings.max_tokens = root.integer("max_output_tokens")?;
    talk.settings.temperature = root.number("temperature")?;
    talk.settings.top_p = root.number("top_p")?;
    talk.settings.user = root.text("user")?;
    talk.settings.cache_key = root.text("prompt_cache_key")?.map(Cow::Borrowed);
    talk.settings.top_logprobs = root.integer("top_logprobs")?.filter(|count| *count > 0);
    if let Some(include) = root.member("include") {
        for wanted in include.strings()? {
            match wanted {
                "reasoning.encrypted_content" => talk.settings.wants_encrypted_reasoning = true,
                "message.output_text.logprobs" => talk.settings.logprobs = true,
                _ => talk.dropped.note(&format!("include:{wanted}")),
            }
        }
    }
    if let Some(reasoning) = root.member("reasoning") {
        reasoning.object()?;
        talk.settings.effort = reasoning.text("effort")?.map(ReasoningEffort::Named);
        talk.settings.wants_reasoning = true;
    }
    if let Some(text) = root.member("text") {
        text.object()?;
        talk.settings.verbosity = text.text("verbosity")?;
        if let Some(format) = text.member("format") {
            talk.settings.format = read_format(&format)?;
        }
    }
    let store = root.flag("store")?;
    // A client that keeps the answers itself returns reasoning by this text alone. pi and opencode ask for it
    // only for the models that they know to reason.
    talk.settings.wants_encrypted_reasoning |= store == Some(false);
    let is_kept = store.unwrap_or(false);
    let is_cut = root.text("truncation")?.is_some_and(|value| value != "disabled");
    let is_limited = root.member("max_tool_calls").is_some();
    read_shared(root, talk)?;
    for (name, is_said) in [("store", is_kept), ("truncation", is_cut), ("max_tool_calls", is_limited)] {
        if is_said {
            talk.dropped.note(name);
        }
    }
    note_unknown(root, &KNOWN, talk);
    Ok(())
}

/// Members that OpenAI's two dialects have alike.
pub(super) fn read_shared<'t>(
    root: &MemberPlace<'_, 't>,
    talk: &mut Conversation<'t>,
) -> Result<(), RequestError> {
    for name in ["service_tier", "safety_identifier", "prompt_cache_retention"] {
        if let Some(text) = root.text(name)?.filter(|text| *text != "auto") {
            talk.settings.shared.push((name, text));
        }
    }
    Ok(())
}

/// Members that are read, or that the provider loses nothing by. `metadata` is for the answer to repeat.
const KNOWN: [&str; 28] = [
    "safety_identifier",
    "prompt_cache_retention",
    "model",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "stream",
    "max_output_tokens",
    "temperature",
    "top_p",
    "user",
    "prompt_cache_key",
    "top_logprobs",
    "include",
    "reasoning",
    "text",
    "store",
    "truncation",
    "max_tool_calls",
    "service_tier",
    "parallel_tool_calls",
    "metadata",
    "stream_options",
    "background",
    "previous_response_id",
    "conversation",
    "prompt",
];

fn read_format<'t>(format: &MemberPlace<'_, 't>) -> Result<Option<AnswerFormat<'t>>, RequestError> {
    let kind = format.required("type")?;
    Ok(match kind.string()? {
        "text" => None,
        "json_object" => Some(AnswerFormat::Json),
        "json_schema" => Some(read_schema(format)?),
        _ => return Err(kind.unsayable("it has no such format")),
    })
}

/// A named schema; chat completions has the same members, one level deeper.
pub(super) fn read_schema<'t>(place: &MemberPlace<'_, 't>) -> Result<AnswerFormat<'t>, RequestError> {
    let schema = place.required("schema")?;
    schema.object()?;
    Ok(AnswerFormat::Schema {
        name: Some(place.required_text("name")?),
        description: place.text("description")?,
        schema: schema.value,
        strict: place.flag("strict")?,
        is_gemini: false,
    })
}

/// Members that a response repeats.
const REPEATED: [&str; 17] = [
    "instructions",
    "tools",
    "tool_choice",
    "temperature",
    "top_p",
    "parallel_tool_calls",
    "metadata",
    "max_output_tokens",
    "max_tool_calls",
    "reasoning",
    "text",
    "truncation",
    "user",
    "store",
    "prompt_cache_key",
    "safety_identifier",
    "top_logprobs",
];
/// Bytes of repeated members, which are held as long as the answer streams. A member that has no room is not
/// repeated.
const MAX_REPEATED: usize = 3072;

fn repeat_members(root: &MemberPlace<'_, '_>, talk: &mut Conversation<'_>) {
    let mut room = MAX_REPEATED;
    for name in REPEATED {
        let Some(value) = root.value.get(name).filter(|value| !talk.is_known(*value)) else { continue };
        let length = value.size() * 4 + value.strings().map(str::len).sum::<usize>();
        if name == "tools" && length <= MAX_REPEATED {
            talk.record.forget_tools();
        }
        if length <= room {
            let text = value.to_text();
            room = room.saturating_sub(text.len());
            talk.echo.push((name, text.to_owned()));
        }
    }
}
