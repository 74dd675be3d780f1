//! Writes the tools of a Messages request.
//!
//! Anthropic asks for an `input_schema` of a type, and for a definition of each tool that a past turn called.

use super::{
    closed_schema::write_closed,
    conversation::Conversation,
    wishes::{FunctionTool, ToolChoice, ToolForm},
    write::{ArrayWriter, ObjectWriter},
};
use crate::dialect::json::JsonWrite;

pub(super) fn write_tools(talk: &mut Conversation<'_>, calls: &[&str], root: &mut ObjectWriter<'_>) {
    if !talk.has_tools() {
        return write_past_tools(calls, root);
    }
    talk.write_tools_by(root, write_list);
    let choice = match (&talk.choice, talk.parallel) {
        (None, Some(false)) => &ToolChoice::Auto,
        (None, _) => return,
        (Some(choice), _) => choice,
    };
    let mut object = root.object("tool_choice");
    match choice {
        ToolChoice::Auto => _ = object.text("type", "auto"),
        ToolChoice::Required => _ = object.text("type", "any"),
        ToolChoice::Never => _ = object.text("type", "none"),
        ToolChoice::Named(name) => _ = object.text("type", "tool").text("name", name),
    }
    if talk.parallel == Some(false) && *choice != ToolChoice::Never {
        object.flag("disable_parallel_tool_use", true);
    }
    object.close();
}

fn write_list(talk: &mut Conversation<'_>, tools: &mut ArrayWriter<'_>) {
    for tool in &talk.tools {
        let mut object = tools.object();
        object.text("name", &tool.name).maybe_text("description", tool.full_description().as_deref());
        if let (Some(true), ToolForm::Function { parameters: Some(schema) }) = (tool.strict, tool.form)
            && tool.has_typed_schema()
        {
            write_closed(schema, false, &mut talk.dropped, object.key("input_schema"));
        } else if tool.has_typed_schema() {
            tool.write_schema("input_schema", &mut object);
        } else {
            write_typed(tool, object.key("input_schema"));
        }
        if tool.strict == Some(true) {
            object.flag("strict", true);
        }
        object.close();
    }
}

const OPEN_SCHEMA: &str = r#"{"type":"object","properties":{}}"#;

/// Writes a schema that lacks a type, which Anthropic asks for.
fn write_typed(tool: &FunctionTool<'_>, out: &mut Vec<u8>) {
    let ToolForm::Function { parameters: Some(parameters) } = tool.form else {
        out.raw(OPEN_SCHEMA);
        return;
    };
    if parameters.is_empty() {
        out.raw(OPEN_SCHEMA);
        return;
    }
    let mut schema = ObjectWriter::open(out);
    schema.text("type", "object");
    parameters.members().for_each(|(name, value)| schema.value(name, value));
    schema.close();
}

/// Anthropic wants the tools of past calls to be defined.
fn write_past_tools(calls: &[&str], root: &mut ObjectWriter<'_>) {
    let names: std::collections::BTreeSet<&str> = calls.iter().copied().collect();
    if names.is_empty() {
        return;
    }
    let mut tools = root.array("tools");
    for name in names {
        let mut object = tools.object();
        object.text("name", name).key("input_schema").raw(OPEN_SCHEMA);
        object.close();
    }
    tools.close();
    let mut choice = root.object("tool_choice");
    choice.text("type", "none");
    choice.close();
}
