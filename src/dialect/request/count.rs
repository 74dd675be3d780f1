//! Estimates the tokens of a conversation.
//!
//! The tokenizers of today take about four bytes of English or code, and about one character of Chinese,
//! Japanese or Korean, per token. The estimate is a little high: a client that compacts by it does so too
//! early, never too late.

use super::{
    conversation::{Arguments, Conversation, Part},
    value::JsonValue,
    wishes::{FunctionTool, ToolForm},
};

/// A picture at full size, as Anthropic counts it.
const IMAGE: u64 = 1600;
/// A page or two of a file.
const DOCUMENT: u64 = 3000;
/// The marks around a message, a call or a tool.
const FRAME: u64 = 5;

pub(super) fn tokens(talk: &Conversation<'_>) -> u64 {
    let turns = talk.turns.iter().map(|turn| FRAME + parts(&turn.parts));
    let tools = talk.tools.iter().map(tool);
    turns.chain(tools).fold(0, u64::saturating_add)
}

fn text(text: &str) -> u64 {
    // Short runs, so that the sums fit in bytes and are made many at a time.
    let high_bits = |run: &[u8]| u64::from(run.iter().map(|byte| byte >> 7).sum::<u8>());
    let wide: u64 = text.as_bytes().chunks(128).map(high_bits).sum();
    let narrow = text.len() as u64 - wide;
    narrow.div_ceil(4) + wide.div_ceil(3)
}

fn json(value: JsonValue<'_>) -> u64 {
    value.strings().map(text).sum::<u64>() + value.size() as u64 / 2
}

fn parts(all: &[Part<'_>]) -> u64 {
    all.iter().map(part).sum()
}

fn part(part: &Part<'_>) -> u64 {
    match part {
        Part::Text(words) => text(words),
        Part::Refusal(words) => text(words),
        Part::Image(_) => IMAGE,
        Part::Document(_) => DOCUMENT,
        Part::Audio { data, .. } => data.len() as u64 / 400,
        Part::Call(call) => FRAME + text(&call.name) + arguments(&call.arguments),
        Part::Result(result) => FRAME + parts(&result.parts),
        Part::Reasoning(past) => {
            if past.signed.is_some() {
                text(&past.text)
            } else {
                0
            }
        }
    }
}

fn arguments(arguments: &Arguments<'_>) -> u64 {
    match arguments {
        Arguments::Text(words) | Arguments::Input(words) => text(words),
        Arguments::Value(value) => json(*value),
    }
}

fn tool(tool: &FunctionTool<'_>) -> u64 {
    let form = match tool.form {
        ToolForm::Function { parameters } => parameters.map_or(0, json),
        ToolForm::GeminiFunction { parameters } => json(parameters),
        ToolForm::Custom { grammar } => grammar.map_or(0, |(_, definition)| text(definition)),
        ToolForm::LocalShell => 100,
    };
    FRAME + text(&tool.name) + tool.description.as_deref().map_or(0, text) + form
}
