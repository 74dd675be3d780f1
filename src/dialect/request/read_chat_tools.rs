//! Reads the tools and the settings of a chat completions request.
//!
//! Functions and custom tools, and the choice among them; the older `functions` are refused. Members that are
//! known here and in no other dialect are refused if they change the answer's meaning, else dropped.

use std::borrow::Cow;

use super::{
    RequestError,
    conversation::{Conversation, HostedTool},
    place::MemberPlace,
    read_messages_tools::note_unknown,
    read_responses::{read_schema, read_shared},
    read_responses_tools::{choice_word, read_grammar},
    wishes::{AnswerFormat, FunctionTool, ReasoningEffort, ToolChoice, ToolForm},
};
use crate::dialect::context::{ToolKind, ToolName};

pub(super) fn read_tools<'t>(
    root: &MemberPlace<'_, 't>,
    talk: &mut Conversation<'t>,
) -> Result<(), RequestError> {
    for name in ["functions", "function_call"] {
        if let Some(legacy) = root.member(name).filter(|legacy| !legacy.value.is_empty()) {
            return Err(legacy.unsayable("say it as `tools` and `tool_choice`"));
        }
    }
    talk.parallel = root.flag("parallel_tool_calls")?;
    if let Some(tools) = root.member("tools") {
        talk.read_tools_by(&tools, |talk| tools.elements()?.try_for_each(|tool| read_tool(&tool, talk)))?;
    }
    if let Some(choice) = root.member("tool_choice") {
        read_choice(&choice, talk)?;
    }
    Ok(())
}

fn read_tool<'t>(tool: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    let kind = tool.required_text("type")?;
    let (inner, form) = match kind {
        "function" => {
            let function = tool.required("function")?;
            let parameters = function.member("parameters");
            parameters.as_ref().map_or(Ok(()), MemberPlace::object)?;
            (function, ToolForm::Function { parameters: parameters.map(|place| place.value) })
        }
        "custom" => {
            let custom = tool.required("custom")?;
            let format = custom.member("format");
            let inner = format.as_ref().and_then(|format| format.member("grammar"));
            let grammar = match (&inner, &format) {
                (Some(grammar), _) => {
                    Some((grammar.required_text("syntax")?, grammar.required_text("definition")?))
                }
                (None, Some(format)) => read_grammar(format)?,
                (None, None) => None,
            };
            (custom, ToolForm::Custom { grammar })
        }
        _ => {
            talk.hosted_found.push(HostedTool { path: tool.path(), kind, name: None });
            return Ok(());
        }
    };
    let name = inner.required_text("name")?;
    if matches!(form, ToolForm::Custom { .. }) {
        let (sent, name) = (name.to_owned(), name.to_owned());
        talk.names.push(ToolName { sent, name, namespace: None, kind: ToolKind::Custom });
    }
    talk.tools.push(FunctionTool {
        name: Cow::Borrowed(name),
        description: inner.text("description")?.map(Cow::Borrowed),
        form,
        strict: inner.flag("strict")?,
    });
    Ok(())
}

fn read_choice<'t>(choice: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    if let Some(word) = choice.value.as_str() {
        talk.choice =
            Some(choice_word(word).ok_or_else(|| choice.invalid("expected `auto`, `none` or `required`"))?);
        return Ok(());
    }
    let kind = choice.required("type")?;
    match kind.string()? {
        name @ ("function" | "custom") => {
            let inner = choice.required(name)?;
            talk.choice = Some(ToolChoice::Named(Cow::Borrowed(inner.required_text("name")?)));
        }
        "allowed_tools" => {
            let inner = choice.required("allowed_tools")?;
            let mode = inner.required("mode")?;
            let word = choice_word(mode.string()?);
            talk.choice = Some(word.ok_or_else(|| mode.invalid("expected `auto` or `required`"))?);
            let mut allowed = Vec::new();
            for tool in inner.required("tools")?.elements()? {
                let kind = tool.required_text("type")?;
                allowed.push(tool.required(kind)?.required_text("name")?.to_owned());
            }
            talk.allowed = Some(allowed);
        }
        _ => return Err(kind.invalid("expected `function`, `custom` or `allowed_tools`")),
    }
    Ok(())
}

pub(super) fn read_settings<'t>(
    root: &MemberPlace<'_, 't>,
    talk: &mut Conversation<'t>,
) -> Result<(), RequestError> {
    let settings = &mut talk.settings;
    settings.model = if root.is_counted { "" } else { root.required_text("model")? };
    settings.streams = root.flag("stream")?.unwrap_or(false);
    if let Some(options) = root.member("stream_options") {
        settings.wants_usage = options.flag("include_usage")?.unwrap_or(false);
    }
    // A whole answer has its usage in any case.
    settings.wants_usage |= !settings.streams;
    settings.max_tokens = root.integer("max_completion_tokens")?.or(root.integer("max_tokens")?);
    settings.temperature = root.number("temperature")?;
    settings.top_p = root.number("top_p")?;
    settings.top_k = root.integer("top_k")?;
    settings.seed = root.number("seed")?;
    settings.presence_penalty = root.number("presence_penalty")?;
    settings.frequency_penalty = root.number("frequency_penalty")?;
    settings.logit_bias = root.member("logit_bias").map(|bias| bias.value).filter(|bias| !bias.is_empty());
    settings.choices = root.integer("n")?.filter(|count| *count != 1);
    settings.logprobs = root.flag("logprobs")?.unwrap_or(false);
    settings.top_logprobs = root.integer("top_logprobs")?.filter(|count| *count > 0);
    settings.verbosity = root.text("verbosity")?;
    settings.user = root.text("user")?;
    settings.cache_key = root.text("prompt_cache_key")?.map(Cow::Borrowed);
    if let Some(stop) = root.member("stop") {
        settings.stop = if let Some(word) = stop.value.as_str() { vec![word] } else { stop.strings()? };
    }
    let nested = root.member("reasoning").filter(|nested| nested.value.is_object());
    let nested = nested.as_ref().map_or(Ok(None), |nested| read_reasoning(nested, talk))?;
    let settings = &mut talk.settings;
    settings.effort = root.text("reasoning_effort")?.map(ReasoningEffort::Named).or(nested);
    settings.wants_reasoning = settings.effort.is_some_and(|effort| effort != ReasoningEffort::Off);
    if let Some(format) = root.member("response_format") {
        talk.settings.format = read_format(&format)?;
    }
    refuse_sounds(root)?;
    refuse_bounds(root)?;
    let is_kept = root.flag("store")?.unwrap_or(false);
    read_shared(root, talk)?;
    let has_prediction = root.member("prediction").is_some();
    for (name, is_said) in [("store", is_kept), ("prediction", has_prediction)] {
        if is_said {
            talk.dropped.note(name);
        }
    }
    note_unknown(root, &KNOWN, talk);
    Ok(())
}

/// `reasoning` as OpenRouter has it: an effort, a budget, or a switch.
fn read_reasoning<'t>(
    reasoning: &MemberPlace<'_, 't>,
    talk: &mut Conversation<'t>,
) -> Result<Option<ReasoningEffort<'t>>, RequestError> {
    for (name, value) in reasoning.value.members() {
        if !matches!(name, "effort" | "max_tokens" | "enabled") && !value.is_null() {
            talk.dropped.note(&format!("reasoning.{name}"));
        }
    }
    let effort = reasoning.text("effort")?.map(ReasoningEffort::Named);
    let budget = reasoning.integer("max_tokens")?.map(ReasoningEffort::Budget);
    // Without an effort it is a medium one there.
    let named = |is_on| if is_on { ReasoningEffort::Named("medium") } else { ReasoningEffort::Off };
    let switch = reasoning.flag("enabled")?.map(named);
    Ok(effort.or(budget).or(switch))
}

const KNOWN: [&str; 36] = [
    "safety_identifier",
    "prompt_cache_retention",
    "model",
    "messages",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "stream",
    "stream_options",
    "max_completion_tokens",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "n",
    "logprobs",
    "top_logprobs",
    "verbosity",
    "user",
    "prompt_cache_key",
    "stop",
    "reasoning",
    "reasoning_effort",
    "response_format",
    "modalities",
    "audio",
    "web_search_options",
    "store",
    "service_tier",
    "prediction",
    "functions",
    "function_call",
];

/// Members by which vLLM, SGLang and llama.cpp bind an answer to a form.
fn refuse_bounds(root: &MemberPlace<'_, '_>) -> Result<(), RequestError> {
    let names =
        ["guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "grammar"];
    let is_said = |bound: &MemberPlace<'_, '_>| match bound.value.as_str() {
        Some(text) => !text.is_empty(),
        None => !bound.value.is_empty(),
    };
    match names.iter().find_map(|name| root.member(name).filter(is_said)) {
        Some(bound) => Err(bound.unsayable("it has no such bound; say `response_format`")),
        None => Ok(()),
    }
}

fn refuse_sounds(root: &MemberPlace<'_, '_>) -> Result<(), RequestError> {
    if let Some(modalities) = root.member("modalities")
        && modalities.strings()?.iter().any(|kind| *kind != "text")
    {
        return Err(modalities.unsayable("it answers in text"));
    }
    for (name, reason) in [("audio", "it answers in text"), ("web_search_options", "it has no such search")] {
        if let Some(member) = root.member(name) {
            return Err(member.unsayable(reason));
        }
    }
    Ok(())
}

fn read_format<'t>(format: &MemberPlace<'_, 't>) -> Result<Option<AnswerFormat<'t>>, RequestError> {
    let kind = format.required("type")?;
    Ok(match kind.string()? {
        "text" => None,
        "json_object" => Some(AnswerFormat::Json),
        "json_schema" => Some(read_schema(&format.required("json_schema")?)?),
        _ => return Err(kind.unsayable("it has no such format")),
    })
}
