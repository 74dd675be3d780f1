//! Which bytes of a request became which bytes of its translation, so that [`talk_memo`](super::talk_memo)
//! can know them again; filled by [`recording`](super::recording).
//!
//! Elements of the list of turns are numbered from one; zero is all that stands outside of it. A turn knows
//! the elements that it was made of, because results move to their calls and turns of a speaker are joined.

use std::ops::Range;

use super::known::TurnsState;
use crate::dialect::context::ToolName;

#[derive(Debug, Default)]
pub(super) struct TalkRecord {
    pub(super) is_on: bool,
    pub(super) element: u32,
    /// The first element that the user or the assistant says.
    pub(super) first: Option<u32>,
    pub(super) ends: Vec<ElementEnd>,
    pub(super) marks: Vec<TurnMark>,
    /// Of the result: where the turns of the first element on begin.
    pub(super) written_from: Option<usize>,
    /// The names of tools that the turns were read with.
    pub(super) names: Vec<ToolName>,
    /// Notes of dropped members in the turns, of the reader and of the writer.
    pub(super) notes: (Vec<String>, Vec<String>),
    /// The tools that new turns call, each once.
    pub(super) calls: Vec<String>,
    pub(super) state: TurnsState,
    pub(super) tools: Option<ToolsRecord>,
    pub(super) has_taken_turns: bool,
    pub(super) has_taken_tools: bool,
}

/// The end of an element in the list of turns.
#[derive(Clone, Debug)]
pub(super) struct ElementEnd {
    pub(super) span: Range<usize>,
    /// Notes of the reader up to here.
    pub(super) notes: usize,
    /// It is an object, and the user said it.
    pub(super) can_end: bool,
}

/// The end of a turn in the result, and the facts of all turns up to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct TurnMark {
    pub(super) source: TurnSource,
    pub(super) is_user: bool,
    /// The user or the assistant says it.
    pub(super) is_said: bool,
    pub(super) written: usize,
    pub(super) notes: usize,
    pub(super) calls: usize,
    pub(super) state: TurnsState,
}

/// The elements that a turn was made of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TurnSource {
    pub(super) first: u32,
    pub(super) last: u32,
    /// It is the results of calls alone.
    pub(super) is_answer: bool,
    pub(super) tokens: u64,
}

impl TurnSource {
    pub(super) fn join(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.is_answer &= other.is_answer;
        self.tokens = self.tokens.saturating_add(other.tokens);
    }
}

/// The list of tools, and what became of it.
#[derive(Debug, Default)]
pub(super) struct ToolsRecord {
    pub(super) source: Range<usize>,
    pub(super) written: Range<usize>,
    pub(super) notes: (Vec<String>, Vec<String>),
    pub(super) hosted: Vec<String>,
    pub(super) tokens: u64,
}

impl TalkRecord {
    pub(super) fn start(&mut self) {
        self.is_on = true;
    }

    /// The turns are no list that only grows; known tools stay taken.
    pub(super) fn stop(&mut self) {
        *self = Self { has_taken_tools: self.has_taken_tools, ..Self::default() };
    }

    pub(super) fn place(&self) -> TurnSource {
        TurnSource { first: self.element, last: self.element, ..TurnSource::default() }
    }

    pub(super) fn forget_tools(&mut self) {
        self.tools = None;
    }

    pub(super) fn note_tool_tokens(&mut self, tokens: u64) {
        if let Some(tools) = &mut self.tools {
            tools.tokens = tokens;
        }
    }
}
