//! Reads the tools of a Responses request.
//!
//! Functions of a namespace become functions of their own, `namespace__name`. A custom tool becomes a
//! function of one string and `local_shell` a function of its action where the provider has no such kinds.
//! The answer's context keeps the names and kinds.

use std::borrow::Cow;

use super::{
    RequestError,
    conversation::{Conversation, HostedTool},
    ids::fnv,
    place::MemberPlace,
    wishes::{FunctionTool, ToolChoice, ToolForm},
};
use crate::dialect::context::{ToolKind, ToolName};

pub(super) fn read<'t>(root: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    talk.parallel = root.flag("parallel_tool_calls")?;
    if let Some(tools) = root.member("tools") {
        talk.read_tools_by(&tools, |talk| {
            tools.elements()?.try_for_each(|tool| read_tool(&tool, None, talk))
        })?;
    }
    if let Some(choice) = root.member("tool_choice") {
        read_choice(&choice, talk)?;
    }
    Ok(())
}

fn read_tool<'t>(
    tool: &MemberPlace<'_, 't>,
    namespace: Option<&'t str>,
    talk: &mut Conversation<'t>,
) -> Result<(), RequestError> {
    let kind = tool.required_text("type")?;
    let (kind, form) = match kind {
        "function" => {
            let parameters = tool.member("parameters");
            parameters.as_ref().map_or(Ok(()), MemberPlace::object)?;
            (ToolKind::Function, ToolForm::Function { parameters: parameters.map(|place| place.value) })
        }
        "custom" => {
            let format = tool.member("format");
            let grammar = format.as_ref().map_or(Ok(None), read_grammar)?;
            (ToolKind::Custom, ToolForm::Custom { grammar })
        }
        "local_shell" => (ToolKind::LocalShell, ToolForm::LocalShell),
        "namespace" if namespace.is_none() => {
            let place = tool.required("name")?;
            let name = place.string()?;
            if name.len() > MAX_NAMESPACE {
                return Err(place.invalid("expected at most 256 bytes"));
            }
            if tool.member("description").is_some() {
                talk.dropped.note("tools:namespace.description");
            }
            let inner = tool.required("tools")?;
            for function in inner.elements()? {
                read_tool(&function, Some(name), talk)?;
            }
            return Ok(());
        }
        _ => {
            talk.hosted_found.push(HostedTool { path: tool.path(), kind, name: None });
            return Ok(());
        }
    };
    let name = if kind == ToolKind::LocalShell { "local_shell" } else { tool.required_text("name")? };
    if tool.member("defer_loading").is_some() {
        talk.dropped.note("tools.defer_loading");
    }
    if talk.tools.len() >= MAX_TOOLS {
        return Err(tool.invalid("expected at most 4096 tools"));
    }
    let sent = free_name(talk, namespace, name);
    if kind != ToolKind::Function || sent != name {
        talk.names.push(ToolName {
            sent: sent.clone().into_owned(),
            name: name.to_owned(),
            namespace: namespace.map(str::to_owned),
            kind,
        });
    }
    let (description, strict) = (tool.text("description")?.map(Cow::Borrowed), tool.flag("strict")?);
    talk.tools.push(FunctionTool { name: sent, description, form, strict });
    Ok(())
}

/// The grammar of a custom tool: `{type: grammar, syntax, definition}`.
pub(super) fn read_grammar<'t>(
    format: &MemberPlace<'_, 't>,
) -> Result<Option<(&'t str, &'t str)>, RequestError> {
    Ok(match format.required_text("type")? {
        "grammar" => Some((format.required_text("syntax")?, format.required_text("definition")?)),
        _ => None,
    })
}

const MAX_NAME: usize = 64;
/// Each tool of a namespace has its name.
const MAX_NAMESPACE: usize = 256;
/// Each name is compared with all before it.
const MAX_TOOLS: usize = 4096;

/// A name that chat providers accept: letters, digits, `_` and `-`, at most 64.
fn flat_name<'t>(namespace: Option<&'t str>, name: &'t str) -> Cow<'t, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let joined = match namespace {
        Some(namespace) if namespace.ends_with("__") => Cow::Owned(format!("{namespace}{name}")),
        Some(namespace) => Cow::Owned(format!("{namespace}__{name}")),
        None => Cow::Borrowed(name),
    };
    if joined.len() <= MAX_NAME && joined.chars().all(is_plain) {
        return joined;
    }
    let start: String =
        joined.chars().map(|c| if is_plain(c) { c } else { '_' }).take(MAX_NAME - 17).collect();
    Cow::Owned(format!("{start}_{:016x}", fnv(&joined, 0)))
}

fn free_name<'t>(talk: &Conversation<'_>, namespace: Option<&'t str>, name: &'t str) -> Cow<'t, str> {
    let flat = flat_name(namespace, name);
    if namespace.is_none() || !talk.tools.iter().any(|tool| tool.name == flat) {
        return flat;
    }
    let start: String = flat.chars().take(MAX_NAME - 17).collect();
    Cow::Owned(format!("{start}_{:016x}", fnv(namespace.unwrap_or_default(), 1)))
}

/// The name of a function for the provider; the context keeps the client's where it differs.
pub(super) fn offered_name<'t>(talk: &mut Conversation<'t>, name: &'t str) -> Cow<'t, str> {
    let sent = flat_name(None, name);
    if sent != name {
        talk.names.push(ToolName {
            sent: sent.clone().into_owned(),
            name: name.to_owned(),
            namespace: None,
            kind: ToolKind::Function,
        });
    }
    sent
}

/// The name that the provider knows a tool by.
pub(super) fn sent_name<'t>(
    talk: &Conversation<'t>,
    namespace: Option<&'t str>,
    name: &'t str,
) -> Cow<'t, str> {
    // Without a namespace no name gives way to another.
    if namespace.is_none() {
        return flat_name(None, name);
    }
    let known = talk.names.iter().find(|tool| tool.name == name && tool.namespace.as_deref() == namespace);
    known.map_or_else(|| flat_name(namespace, name), |tool| Cow::Owned(tool.sent.clone()))
}

fn read_choice<'t>(choice: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    if let Some(word) = choice.value.as_str() {
        talk.choice =
            Some(choice_word(word).ok_or_else(|| choice.invalid("expected `auto`, `none` or `required`"))?);
        return Ok(());
    }
    let kind = choice.required("type")?;
    match kind.string()? {
        "function" | "custom" => {
            let name = sent_name(talk, choice.text("namespace")?, choice.required_text("name")?);
            talk.choice = Some(ToolChoice::Named(name));
        }
        "local_shell" => talk.choice = Some(ToolChoice::Named(Cow::Borrowed("local_shell"))),
        "allowed_tools" => {
            let mode = choice.required("mode")?;
            let word = choice_word(mode.string()?);
            talk.choice = Some(word.ok_or_else(|| mode.invalid("expected `auto` or `required`"))?);
            let tools = choice.required("tools")?;
            let mut allowed = Vec::new();
            for tool in tools.elements()? {
                if let Some(name) = tool.text("name")? {
                    allowed.push(sent_name(talk, tool.text("namespace")?, name).into_owned());
                }
            }
            talk.allowed = Some(allowed);
        }
        _ => return Err(kind.unsayable("the tool runs at OpenAI")),
    }
    Ok(())
}

pub(super) fn choice_word<'t>(word: &str) -> Option<ToolChoice<'t>> {
    match word {
        "auto" => Some(ToolChoice::Auto),
        "none" => Some(ToolChoice::Never),
        "required" => Some(ToolChoice::Required),
        _ => None,
    }
}
