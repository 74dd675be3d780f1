//! Reads the tools and the settings of a request of Gemini's `generateContent`.
//!
//! Both spellings of members are read. The model stands in the path of such a request, so the body need not
//! have one; whether the answer streams is said by the caller.

use std::borrow::Cow;

use super::{
    RequestError,
    conversation::{Conversation, HostedTool},
    place::MemberPlace,
    read_messages_tools::note_unknown,
    read_responses_tools::{offered_name, sent_name},
    wishes::{AnswerFormat, FunctionTool, ReasoningEffort, ToolChoice, ToolForm},
};

pub(super) fn read_tools<'t>(
    root: &MemberPlace<'_, 't>,
    talk: &mut Conversation<'t>,
) -> Result<(), RequestError> {
    if let Some(tools) = root.member("tools") {
        for tool in tools.one_or_elements()? {
            tool.object()?;
            for (kind, value) in tool.value.members() {
                let is_functions = matches!(kind, "functionDeclarations" | "function_declarations");
                if !is_functions && !value.is_null() {
                    talk.hosted_found.push(HostedTool { path: tool.path(), kind, name: None });
                }
            }
            let Some(functions) = tool.either("functionDeclarations", "function_declarations") else {
                continue;
            };
            for function in functions.one_or_elements()? {
                let function = read_function(&function, talk)?;
                talk.tools.push(function);
            }
        }
    }
    let config = root.either("toolConfig", "tool_config");
    let calling =
        config.as_ref().and_then(|config| config.either("functionCallingConfig", "function_calling_config"));
    calling.map_or(Ok(()), |calling| read_choice(&calling, talk))
}

fn read_function<'t>(
    function: &MemberPlace<'_, 't>,
    talk: &mut Conversation<'t>,
) -> Result<FunctionTool<'t>, RequestError> {
    let json = function.either("parametersJsonSchema", "parameters_json_schema");
    let own = function.member("parameters");
    for name in ["behavior", "response", "responseJsonSchema", "response_json_schema"] {
        if function.member(name).is_some() {
            talk.dropped.note(&format!("tools.functionDeclarations.{name}"));
        }
    }
    let form = match (json, own) {
        (Some(parameters), _) => ToolForm::Function { parameters: Some(parameters.value) },
        (None, Some(parameters)) => ToolForm::GeminiFunction { parameters: parameters.value },
        (None, None) => ToolForm::Function { parameters: None },
    };
    Ok(FunctionTool {
        name: offered_name(talk, function.required_text("name")?),
        description: function.text("description")?.map(Cow::Borrowed),
        form,
        strict: None,
    })
}

fn read_choice<'t>(calling: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    let names = calling.either("allowedFunctionNames", "allowed_function_names");
    let names = names.as_ref().map_or(Ok(Vec::new()), MemberPlace::strings)?;
    let mode = calling.member("mode");
    // Google's examples have small letters, too.
    let mode_name = mode.as_ref().map_or(Ok("AUTO"), MemberPlace::string)?.to_ascii_uppercase();
    talk.choice = match (&*mode_name, names.as_slice()) {
        ("NONE", _) => Some(ToolChoice::Never),
        ("ANY", [name]) => Some(ToolChoice::Named(sent_name(talk, None, name))),
        ("ANY", _) => Some(ToolChoice::Required),
        ("AUTO" | "VALIDATED" | "MODE_UNSPECIFIED", _) => None,
        _ => return Err(calling.required("mode")?.invalid("expected `AUTO`, `ANY`, `NONE` or `VALIDATED`")),
    };
    if names.len() > 1 || (!names.is_empty() && talk.choice.is_none()) {
        talk.allowed = Some(names.into_iter().map(|name| sent_name(talk, None, name).into_owned()).collect());
    }
    Ok(())
}

pub(super) fn read_settings<'t>(
    root: &MemberPlace<'_, 't>,
    talk: &mut Conversation<'t>,
) -> Result<(), RequestError> {
    // The path has the model; some clients repeat it.
    talk.settings.model = root.text("model")?.unwrap_or_default();
    talk.settings.wants_usage = true;
    if let Some(cached) = root.either("cachedContent", "cached_content") {
        return Err(cached.unsayable("the content is kept at Google"));
    }
    if root.either("safetySettings", "safety_settings").is_some_and(|settings| !settings.value.is_empty()) {
        talk.dropped.note("safetySettings");
    }
    note_unknown(root, &KNOWN, talk);
    let Some(config) = root.either("generationConfig", "generation_config") else { return Ok(()) };
    config.object()?;
    read_sampling(&config, talk)?;
    read_format(&config, talk)?;
    read_thinking(&config, talk)?;
    let modalities = config.either("responseModalities", "response_modalities");
    if let Some(modalities) = modalities
        && modalities.strings()?.iter().any(|kind| !kind.eq_ignore_ascii_case("text"))
    {
        return Err(modalities.unsayable("it answers in text"));
    }
    for (name, value) in config.value.members() {
        if !KNOWN_CONFIG.contains(&&*camel(name)) && !value.is_null() {
            talk.dropped.note(&format!("generationConfig.{name}"));
        }
    }
    Ok(())
}

const KNOWN: [&str; 14] = [
    "model",
    "contents",
    "tools",
    "toolConfig",
    "tool_config",
    "systemInstruction",
    "system_instruction",
    "generationConfig",
    "generation_config",
    "safetySettings",
    "safety_settings",
    "cachedContent",
    "cached_content",
    "generateContentRequest",
];
const KNOWN_CONFIG: [&str; 17] = [
    "temperature",
    "topP",
    "topK",
    "maxOutputTokens",
    "stopSequences",
    "seed",
    "presencePenalty",
    "frequencyPenalty",
    "candidateCount",
    "responseLogprobs",
    "logprobs",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "_responseJsonSchema",
    "thinkingConfig",
    "responseModalities",
];

fn camel(name: &str) -> Cow<'_, str> {
    if !name.contains('_') || name.starts_with('_') {
        return Cow::Borrowed(name);
    }
    let mut camel = String::with_capacity(name.len());
    for (at, word) in name.split('_').enumerate() {
        let mut letters = word.chars();
        let first = letters.next().filter(|_| at > 0).map(|first| first.to_ascii_uppercase());
        camel.extend(first);
        camel.push_str(if first.is_some() { letters.as_str() } else { word });
    }
    Cow::Owned(camel)
}

fn read_sampling<'t>(config: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    let number = |camel: &str, snake: &str| match config.number(camel)? {
        Some(number) => Ok(Some(number)),
        None => config.number(snake),
    };
    let settings = &mut talk.settings;
    settings.temperature = config.number("temperature")?;
    settings.top_p = number("topP", "top_p")?;
    settings.top_k = number("topK", "top_k")?.and_then(|top_k| top_k.as_u64());
    settings.max_tokens =
        config.either("maxOutputTokens", "max_output_tokens").map_or(Ok(None), |p| p.whole().map(Some))?;
    settings.seed = config.number("seed")?;
    settings.presence_penalty = number("presencePenalty", "presence_penalty")?;
    settings.frequency_penalty = number("frequencyPenalty", "frequency_penalty")?;
    if let Some(stop) = config.either("stopSequences", "stop_sequences") {
        settings.stop = stop.strings()?;
    }
    if let Some(count) = config.either("candidateCount", "candidate_count")
        && count.whole()? != 1
    {
        return Err(count.unsayable("it gives one answer"));
    }
    if let Some(wanted) = config.either("responseLogprobs", "response_logprobs")
        && wanted.value.as_bool() == Some(true)
    {
        return Err(wanted.unsayable("its log probabilities have another form"));
    }
    Ok(())
}

fn read_format<'t>(config: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    let json = config
        .either("responseJsonSchema", "response_json_schema")
        .or_else(|| config.member("_responseJsonSchema"));
    let own = config.either("responseSchema", "response_schema");
    let mime = config.either("responseMimeType", "response_mime_type");
    // It would come as a bare word, and comes as JSON elsewhere.
    if let Some(mime) = mime.as_ref().filter(|mime| mime.value.as_str() == Some("text/x.enum")) {
        return Err(mime.unsayable("it has no such format"));
    }
    let is_gemini = json.is_none();
    talk.settings.format = match (json.or(own), &mime) {
        (Some(schema), _) => {
            schema.object()?;
            let schema = schema.value;
            Some(AnswerFormat::Schema { name: None, description: None, schema, strict: None, is_gemini })
        }
        (None, Some(mime)) => match mime.string()? {
            "application/json" => Some(AnswerFormat::Json),
            "text/plain" => None,
            _ => return Err(mime.unsayable("it has no such format")),
        },
        (None, None) => None,
    };
    Ok(())
}

fn read_thinking<'t>(config: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    let Some(thinking) = config.either("thinkingConfig", "thinking_config") else { return Ok(()) };
    thinking.object()?;
    let level = thinking.either("thinkingLevel", "thinking_level");
    let budget = thinking.either("thinkingBudget", "thinking_budget");
    talk.settings.effort = match (level, budget) {
        (Some(level), _) => match level.string()? {
            word if word.eq_ignore_ascii_case("minimal") => Some(ReasoningEffort::Named("minimal")),
            word if word.eq_ignore_ascii_case("low") => Some(ReasoningEffort::Named("low")),
            word if word.eq_ignore_ascii_case("medium") => Some(ReasoningEffort::Named("medium")),
            word if word.eq_ignore_ascii_case("high") => Some(ReasoningEffort::Named("high")),
            _ => None,
        },
        // -1: the model decides.
        (None, Some(budget)) => match budget.value.as_u64() {
            Some(0) => Some(ReasoningEffort::Off),
            other => other.map(ReasoningEffort::Budget),
        },
        (None, None) => None,
    };
    let includes = thinking.either("includeThoughts", "include_thoughts");
    let is_wanted = includes.is_some_and(|wanted| wanted.value.as_bool() == Some(true));
    talk.settings.wants_reasoning =
        is_wanted || talk.settings.effort.is_some_and(|e| e != ReasoningEffort::Off);
    Ok(())
}
