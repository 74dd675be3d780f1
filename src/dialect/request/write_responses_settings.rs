//! Writes the tools and the settings of a Responses request.
//!
//! `strict` is always said: absent means strict there, and not strict elsewhere. A wish for reasoning asks
//! for its summary and its encrypted content, which the next request gives back.

use super::{
    EffortForm, RequestOptions,
    conversation::Conversation,
    schema::write_gemini_schema,
    value::JsonValue,
    wishes::{AnswerFormat, FunctionTool, ReasoningEffort, ToolChoice, ToolForm},
    write::{ArrayWriter, ObjectWriter},
    write_chat_settings::{effort_of, write_sampling},
};
use crate::dialect::json::JsonWrite;

pub(super) fn write_tools(talk: &mut Conversation<'_>, root: &mut ObjectWriter<'_>) {
    if !talk.has_tools() {
        return;
    }
    talk.write_tools_by(root, write_list);
    match &talk.choice {
        None => {}
        Some(ToolChoice::Auto) => _ = root.text("tool_choice", "auto"),
        Some(ToolChoice::Required) => _ = root.text("tool_choice", "required"),
        Some(ToolChoice::Never) => _ = root.text("tool_choice", "none"),
        Some(ToolChoice::Named(name)) => {
            let is_custom = |tool: &&_| is_custom(tool, name);
            let kind = if talk.tools.iter().any(|tool| is_custom(&tool)) { "custom" } else { "function" };
            let mut choice = root.object("tool_choice");
            choice.text("type", kind).text("name", name);
            choice.close();
        }
    }
    if let Some(parallel) = talk.parallel {
        root.flag("parallel_tool_calls", parallel);
    }
}

fn write_list(talk: &mut Conversation<'_>, tools: &mut ArrayWriter<'_>) {
    for tool in &talk.tools {
        let mut object = tools.object();
        if let ToolForm::Custom { grammar } = tool.form {
            object.text("type", "custom").text("name", &tool.name);
            object.maybe_text("description", tool.description.as_deref());
            if let Some((syntax, definition)) = grammar {
                let mut format = object.object("format");
                format.text("type", "grammar").text("syntax", syntax).text("definition", definition);
                format.close();
            }
        } else {
            object.text("type", "function").text("name", &tool.name);
            object.maybe_text("description", tool.description.as_deref());
            if !tool.write_parameters(&mut object) {
                object.key("parameters").raw("null");
            }
            // Absent means strict here, and not strict elsewhere.
            object.flag("strict", tool.strict.unwrap_or(false));
        }
        object.close();
    }
}

fn is_custom(tool: &FunctionTool<'_>, name: &str) -> bool {
    tool.name == name && matches!(tool.form, ToolForm::Custom { .. })
}

/// The least limit that OpenAI takes.
const MIN_TOKENS: u64 = 16;

pub(super) fn write_settings(
    talk: &mut Conversation<'_>,
    options: &RequestOptions<'_>,
    root: &mut ObjectWriter<'_>,
) {
    let settings = &talk.settings;
    if let Some(limit) = settings.max_tokens {
        root.number("max_output_tokens", limit.max(MIN_TOKENS));
    }
    let lost = write_sampling(settings, options, root);
    root.maybe_text("user", settings.user);
    if options.openai_members {
        root.maybe_text("prompt_cache_key", settings.cache_key.as_deref());
        settings.shared.iter().for_each(|(name, text)| _ = root.text(name, text));
    }
    if let Some(count) = settings.top_logprobs {
        root.number("top_logprobs", count);
    }
    if settings.format.is_some() || settings.verbosity.is_some() {
        let mut text = root.object("text");
        if let Some(format) = &settings.format {
            write_format(format, &mut text);
        }
        text.maybe_text("verbosity", settings.verbosity);
        text.close();
    }
    let is_set = |penalty: Option<JsonValue<'_>>| penalty.is_some_and(|p| p.as_f64() != Some(0.0));
    let cases = [
        ("top_k", settings.top_k.is_some()),
        ("seed", settings.seed.is_some()),
        ("presence_penalty", is_set(settings.presence_penalty)),
        ("frequency_penalty", is_set(settings.frequency_penalty)),
        ("max_tokens", settings.max_tokens.is_some_and(|limit| limit < MIN_TOKENS)),
    ];
    for (name, _) in cases.iter().chain(&lost).filter(|(_, is_said)| *is_said) {
        talk.dropped.note(name);
    }
    if !options.openai_members {
        talk.settings.shared.iter().for_each(|(name, _)| talk.dropped.note(name));
    }
}

fn write_format(format: &AnswerFormat<'_>, text: &mut ObjectWriter<'_>) {
    let mut object = text.object("format");
    match format {
        AnswerFormat::Json => _ = object.text("type", "json_object"),
        AnswerFormat::Schema { name, description, schema, strict, is_gemini } => {
            object.text("type", "json_schema").text("name", name.unwrap_or("answer"));
            object.maybe_text("description", *description);
            if *is_gemini {
                write_gemini_schema(*schema, object.key("schema"));
            } else {
                object.value("schema", *schema);
            }
            if let Some(strict) = strict {
                object.flag("strict", *strict);
            }
        }
    }
    object.close();
}

pub(super) fn write_reasoning_wish(
    talk: &mut Conversation<'_>,
    options: &RequestOptions<'_>,
    root: &mut ObjectWriter<'_>,
) {
    let settings = &talk.settings;
    let effort = match settings.effort {
        None | Some(ReasoningEffort::Off) => None,
        Some(ReasoningEffort::Named(name)) => Some(name),
        Some(ReasoningEffort::Budget(budget)) => Some(effort_of(budget)),
    };
    let is_wished = settings.wants_reasoning || effort.is_some();
    let is_asked = is_wished && options.effort != EffortForm::Never;
    let wants_logprobs = settings.logprobs;
    if is_asked {
        let summary = options.gives_summaries.then_some("auto");
        if effort.is_some() || summary.is_some() {
            let mut reasoning = root.object("reasoning");
            reasoning.maybe_text("effort", effort);
            reasoning.maybe_text("summary", summary);
            reasoning.close();
        }
        if summary.is_none() && settings.wants_reasoning {
            talk.dropped.note("reasoning_summary");
        }
    } else if is_wished || settings.effort == Some(ReasoningEffort::Off) {
        talk.dropped.note("reasoning_effort");
    }
    let wants_sealed = is_asked && options.seals_reasoning;
    if wants_sealed || wants_logprobs {
        let mut include = root.array("include");
        if wants_sealed {
            include.element().string("reasoning.encrypted_content");
        }
        if wants_logprobs {
            include.element().string("message.output_text.logprobs");
        }
        include.close();
    }
}
