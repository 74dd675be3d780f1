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

pub(super) fn tokens(talk: &mut Conversation<'_>) -> u64 {
    let known = talk.document.known;
    for turn in &mut talk.turns {
        turn.source.tokens = match (turn.parts.as_slice(), known.turns) {
            ([Part::Known], Some(known)) => known.state.tokens,
            (said, _) => FRAME.saturating_add(parts(said)),
        };
    }
    let turns = talk.turns.iter().map(|turn| turn.source.tokens).fold(0, u64::saturating_add);
    let tools = match known.tools {
        Some(known) => known.tokens,
        None => talk.tools.iter().map(tool).fold(0, u64::saturating_add),
    };
    talk.record.note_tool_tokens(tools);
    turns.saturating_add(tools)
}

fn text(text: &str) -> u64 {
    let wide = high_bits(text.as_bytes());
    let narrow = text.len() as u64 - wide;
    narrow.div_ceil(4) + wide.div_ceil(3)
}

/// Counts the bytes of at least 0x80, eight at a time.
fn high_bits(bytes: &[u8]) -> u64 {
    if bytes.is_ascii() {
        return 0;
    }
    const ONES: u64 = 0x0101_0101_0101_0101;
    const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
    let (words, rest) = bytes.as_chunks::<8>();
    // So many words whose sums fit in bytes.
    let of_run = |run: &[[u8; 8]]| {
        let lanes: u64 = run.iter().map(|word| u64::from_le_bytes(*word) >> 7 & ONES).sum();
        let pairs = (lanes & EVEN) + (lanes >> 8 & EVEN);
        pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48
    };
    let of_rest = rest.iter().map(|byte| u64::from(byte >> 7)).sum::<u64>();
    words.chunks(255).map(of_run).sum::<u64>() + of_rest
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
        // Counted before.
        Part::Known => 0,
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

#[cfg(test)]
mod tests {
    #[test]
    fn high_bits_are_counted() {
        for text in ["", "a", "é", "river — bed", &"流".repeat(5000), &"aé".repeat(3000)] {
            let expected = text.bytes().filter(|byte| *byte >= 0x80).count() as u64;
            assert_eq!(super::high_bits(text.as_bytes()), expected);
        }
    }
}
