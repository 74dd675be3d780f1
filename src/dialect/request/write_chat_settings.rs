//! Writes the tools and the settings of a chat completions request.
//!
//! A member is written only if the client's request has it, because providers refuse members that they do not
//! know, some of them with a 400.

use super::{
    EffortForm, RequestOptions,
    conversation::Conversation,
    schema::write_gemini_schema,
    wishes::{AnswerFormat, ReasoningEffort, ToolChoice, Wishes},
    write::{ArrayWriter, ObjectWriter},
};
use crate::dialect::json::JsonWrite;

/// A choice without tools is refused by providers, so neither is written.
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
            let mut choice = root.object("tool_choice");
            let mut function = choice.text("type", "function").object("function");
            function.text("name", name);
            function.close();
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
        let mut function = object.text("type", "function").object("function");
        function.text("name", &tool.name).maybe_text("description", tool.full_description().as_deref());
        tool.write_parameters(&mut function);
        if let Some(strict) = tool.strict {
            function.flag("strict", strict);
        }
        function.close();
        object.close();
    }
}

pub(super) fn write_settings(
    talk: &mut Conversation<'_>,
    options: &RequestOptions<'_>,
    root: &mut ObjectWriter<'_>,
) {
    let settings = &talk.settings;
    if let Some(limit) = settings.max_tokens {
        root.number(options.max_tokens_member, limit);
    }
    let lost = write_sampling(settings, options, root);
    root.maybe_value(options.seed_member, settings.seed);
    root.maybe_value("presence_penalty", settings.presence_penalty);
    root.maybe_value("frequency_penalty", settings.frequency_penalty);
    if !settings.stop.is_empty() {
        let mut stop = root.array("stop");
        settings.stop.iter().for_each(|word| _ = stop.element().string(word));
        stop.close();
    }
    if settings.logprobs || settings.top_logprobs.is_some() {
        root.flag("logprobs", true);
    }
    if let Some(count) = settings.top_logprobs {
        root.number("top_logprobs", count);
    }
    if let Some(format) = &settings.format {
        write_format(format, root);
    }
    root.maybe_text("user", settings.user.filter(|_| options.takes_user));
    if options.openai_members {
        root.maybe_text("verbosity", settings.verbosity);
        root.maybe_text("prompt_cache_key", settings.cache_key.as_deref());
        settings.shared.iter().for_each(|(name, text)| _ = root.text(name, text));
    }
    if settings.streams {
        root.flag("stream", true);
        if options.stream_usage {
            let mut stream = root.object("stream_options");
            stream.flag("include_usage", true);
            stream.close();
        }
    }
    let unshared = if options.openai_members { Vec::new() } else { settings.shared.clone() };
    for (name, is_said) in [
        ("top_k", settings.top_k.is_some()),
        ("user", settings.user.is_some() && !options.takes_user),
        ("verbosity", settings.verbosity.is_some() && !options.openai_members),
        ("prompt_cache_key", settings.cache_key.is_some() && !options.openai_members),
    ]
    .into_iter()
    .chain(lost)
    {
        if is_said {
            talk.dropped.note(name);
        }
    }
    unshared.iter().for_each(|(name, _)| talk.dropped.note(name));
}

/// What is left out where the model takes neither, and whether it is a loss: 1 is what such a model takes in
/// any case.
pub(super) fn write_sampling(
    settings: &Wishes<'_>,
    options: &RequestOptions<'_>,
    root: &mut ObjectWriter<'_>,
) -> [(&'static str, bool); 2] {
    let wishes = [("temperature", settings.temperature), ("top_p", settings.top_p)];
    let is_wished =
        settings.wants_reasoning || settings.effort.is_some_and(|effort| effort != ReasoningEffort::Off);
    let takes = options.takes_sampling && (options.takes_sampling_beside_reasoning || !is_wished);
    wishes.map(|(name, wish)| {
        if takes {
            root.maybe_value(name, wish);
            return (name, false);
        }
        (name, wish.is_some_and(|number| number.as_f64() != Some(1.0)))
    })
}

fn write_format(format: &AnswerFormat<'_>, root: &mut ObjectWriter<'_>) {
    let mut object = root.object("response_format");
    match format {
        AnswerFormat::Json => _ = object.text("type", "json_object"),
        AnswerFormat::Schema { name, description, schema, strict, is_gemini } => {
            let mut inner = object.text("type", "json_schema").object("json_schema");
            inner.text("name", name.unwrap_or("answer")).maybe_text("description", *description);
            if *is_gemini {
                write_gemini_schema(*schema, inner.key("schema"));
            } else {
                inner.value("schema", *schema);
            }
            if let Some(strict) = strict {
                inner.flag("strict", *strict);
            }
            inner.close();
        }
    }
    object.close();
}

/// The effort that a budget of thinking comes closest to.
pub(super) fn effort_of(budget: u64) -> &'static str {
    match budget {
        0..4096 => "low",
        4096..16384 => "medium",
        _ => "high",
    }
}

pub(super) fn write_effort(
    talk: &mut Conversation<'_>,
    options: &RequestOptions<'_>,
    root: &mut ObjectWriter<'_>,
) {
    let effort = match talk.settings.effort {
        None => return,
        Some(ReasoningEffort::Named(name)) => Some(name),
        Some(ReasoningEffort::Budget(budget)) => Some(effort_of(budget)),
        Some(ReasoningEffort::Off) => None,
    };
    match (options.effort, effort) {
        (EffortForm::Named, Some(effort)) => _ = root.text("reasoning_effort", effort),
        // The dialect has no word for it that every provider knows.
        (EffortForm::Named, None) => talk.dropped.note("reasoning_effort"),
        (EffortForm::Structured, effort) => {
            let mut reasoning = root.object("reasoning");
            match effort {
                Some(effort) => _ = reasoning.text("effort", effort),
                None => _ = reasoning.flag("enabled", false),
            }
            reasoning.close();
        }
        (EffortForm::Never, Some(_)) => talk.dropped.note("reasoning_effort"),
        (EffortForm::Never, None) => {}
    }
}
