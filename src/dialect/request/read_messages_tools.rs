//! Reads the tools and the settings of a request of Anthropic's Messages API.
//!
//! A tool with a versioned type is Anthropic's own: it is dropped beside other tools, and refused alone. A
//! budget of thinking and an effort are one wish.

use std::borrow::Cow;

use super::{
    RequestError,
    conversation::{Conversation, HostedTool},
    place::MemberPlace,
    read_responses_tools::{offered_name, sent_name},
    strict_schema,
    wishes::{AnswerFormat, FunctionTool, ReasoningEffort, ToolChoice, ToolForm},
};

pub(super) fn read_tools<'t>(
    root: &MemberPlace<'_, 't>,
    talk: &mut Conversation<'t>,
) -> Result<(), RequestError> {
    if let Some(tools) = root.member("tools") {
        talk.read_tools_by(&tools, |talk| tools.elements()?.try_for_each(|tool| read_tool(&tool, talk)))?;
    }
    if let Some(servers) = root.member("mcp_servers").filter(|servers| !servers.value.is_empty()) {
        return Err(servers.unsayable("its tools run at Anthropic"));
    }
    let Some(choice) = root.member("tool_choice") else { return Ok(()) };
    let kind = choice.required("type")?;
    talk.choice = Some(match kind.string()? {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::Never,
        "tool" => {
            let name = choice.required("name")?;
            if talk
                .hosted_found
                .iter()
                .any(|hosted| hosted.name.is_some() && hosted.name == name.value.as_str())
            {
                return Err(name.unsayable("the tool runs at Anthropic"));
            }
            ToolChoice::Named(sent_name(talk, None, name.string()?))
        }
        _ => return Err(kind.invalid("expected `auto`, `any`, `tool` or `none`")),
    });
    let is_disabled = choice.flag("disable_parallel_tool_use")?.unwrap_or(false);
    talk.parallel = is_disabled.then_some(false);
    Ok(())
}

fn read_tool<'t>(tool: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    tool.object()?;
    for mark in
        ["cache_control", "defer_loading", "allowed_callers", "input_examples", "eager_input_streaming"]
    {
        if tool.member(mark).is_some() {
            talk.dropped.note(&if mark == "cache_control" {
                mark.to_owned()
            } else {
                format!("tools.{mark}")
            });
        }
    }
    // A tool without a schema has a versioned type: Anthropic knows it, and runs it or has trained on it.
    if let Some(kind) = tool.text("type")?.filter(|kind| *kind != "custom") {
        talk.hosted_found.push(HostedTool { path: tool.path(), kind, name: tool.text("name")? });
        return Ok(());
    }
    let schema = tool.required("input_schema")?;
    schema.object()?;
    let name = offered_name(talk, tool.required_text("name")?);
    let is_strict = tool.flag("strict")?;
    let is_open = is_strict == Some(true) && !strict_schema::fits(schema.value);
    if is_open {
        talk.dropped.note("tools.strict");
    }
    talk.tools.push(FunctionTool {
        name,
        description: tool.text("description")?.map(Cow::Borrowed),
        form: ToolForm::Function { parameters: Some(schema.value) },
        strict: is_strict.filter(|_| !is_open),
    });
    Ok(())
}

pub(super) fn read_settings<'t>(
    root: &MemberPlace<'_, 't>,
    talk: &mut Conversation<'t>,
) -> Result<(), RequestError> {
    talk.settings.model = if root.is_counted { "" } else { root.required_text("model")? };
    talk.settings.streams = root.flag("stream")?.unwrap_or(false);
    talk.settings.wants_usage = true;
    talk.settings.max_tokens = root.integer("max_tokens")?;
    if talk.settings.max_tokens.is_none() && !root.is_counted {
        return Err(root.missing("max_tokens"));
    }
    talk.settings.temperature = root.number("temperature")?;
    talk.settings.top_p = root.number("top_p")?;
    talk.settings.top_k = root.integer("top_k")?;
    if let Some(stop) = root.member("stop_sequences") {
        talk.settings.stop = stop.strings()?;
    }
    if let Some(metadata) = root.member("metadata") {
        metadata.object()?;
        talk.settings.cache_key = metadata.text("user_id")?.and_then(session_id);
        talk.dropped.note("metadata");
    }
    read_effort(root, talk)?;
    read_format(root, talk)?;
    for name in ["context_management", "container", "service_tier", "inference_geo", "betas", "speed"] {
        if root.member(name).is_some() {
            talk.dropped.note(name);
        }
    }
    note_unknown(root, &KNOWN, talk);
    Ok(())
}

const KNOWN: [&str; 20] = [
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "stream",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "metadata",
    "thinking",
    "output_config",
    "output_format",
    "context_management",
    "container",
    "service_tier",
    "mcp_servers",
    "betas",
];

/// Members that the gateway itself reads.
const GATEWAY_MEMBERS: [&str; 2] = ["models", "x_use_asgi_streaming"];

/// Notes the members of the request that the reader does not know.
pub(super) fn note_unknown(root: &MemberPlace<'_, '_>, known: &[&str], talk: &mut Conversation<'_>) {
    for (name, value) in root.value.members() {
        if !known.contains(&name) && !value.is_null() && !GATEWAY_MEMBERS.contains(&name) {
            talk.dropped.note(name);
        }
    }
}

/// Claude Code's session, which `user_id` holds as JSON or after `_session_`, keeps its turns at one cache.
fn session_id(user_id: &str) -> Option<Cow<'_, str>> {
    let is_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let (_, rest) = user_id.split_once("session_id\":\"").or_else(|| user_id.split_once("_session_"))?;
    let id = rest.split(|c| !is_id(c)).next().filter(|id| (1..=64).contains(&id.len()))?;
    Some(Cow::Borrowed(id))
}

fn read_effort<'t>(root: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    let config = root.member("output_config");
    let effort = config.as_ref().map_or(Ok(None), |config| config.text("effort"))?;
    for (name, value) in config.iter().flat_map(|config| config.value.members()) {
        if !matches!(name, "effort" | "format") && !value.is_null() {
            talk.dropped.note(&format!("output_config.{name}"));
        }
    }
    // The two highest have no name that every provider knows.
    let is_beyond_high = matches!(effort, Some("xhigh" | "max"));
    if is_beyond_high {
        talk.dropped.note("output_config.effort");
    }
    let named = if is_beyond_high { Some("high") } else { effort };
    let mut wish = named.map(ReasoningEffort::Named);
    if let Some(thinking) = root.member("thinking") {
        let kind = thinking.required("type")?;
        talk.settings.wants_reasoning = !matches!(kind.value.as_str(), Some("disabled" | "between_tools"));
        if thinking.member("display").is_some() {
            talk.dropped.note("thinking.display");
        }
        match kind.string()? {
            "enabled" => {
                let budget = thinking.required("budget_tokens")?.whole()?;
                wish = wish.or(Some(ReasoningEffort::Budget(budget)));
            }
            // The model decides; an effort bounds it.
            "adaptive" => {}
            "disabled" | "between_tools" => wish = Some(ReasoningEffort::Off),
            _ => {
                let expected = "expected `enabled`, `adaptive`, `between_tools` or `disabled`";
                return Err(kind.invalid(expected));
            }
        }
    }
    talk.settings.effort = wish;
    Ok(())
}

fn read_format<'t>(root: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    let config = root.member("output_config");
    let newer = config.as_ref().and_then(|config| config.member("format"));
    let Some(format) = newer.or_else(|| root.member("output_format")) else { return Ok(()) };
    let kind = format.required("type")?;
    if kind.string()? != "json_schema" {
        return Err(kind.unsayable("it has no such format"));
    }
    let schema = format.required("schema")?;
    schema.object()?;
    let is_strict = strict_schema::fits(schema.value);
    if !is_strict {
        talk.dropped.note("schema:strict");
    }
    talk.settings.format = Some(AnswerFormat::Schema {
        name: format.text("name")?,
        description: None,
        schema: schema.value,
        strict: is_strict.then_some(true),
        is_gemini: false,
    });
    Ok(())
}
