//! The parts of a request that came with its key before, as [`talk_memo`](super::talk_memo) knows them.
//!
//! In the body that is read, an empty value stands for each: `{}` for a run of turns, `[]` for the tools. The
//! reader finds it by its place, so that a mark of the client's own is none.

use bytes::Bytes;

use super::shared_text::SharedText;
use crate::dialect::context::ToolName;

#[derive(Clone, Copy, Debug)]
pub(super) struct KnownParts<'m> {
    pub(super) turns: Option<KnownTurns<'m>>,
    pub(super) tools: Option<KnownTools<'m>>,
}

impl KnownParts<'_> {
    pub(super) const NONE: Self = KnownParts { turns: None, tools: None };
}

/// The turns after the system's words, up to a place at which nothing is open: no call waits for its result.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownTurns<'m> {
    /// Where the element begins that stands for them.
    pub(super) place: usize,
    /// In the provider's dialect, without a comma before or after: the text, and the length that is known.
    pub(super) written: (&'m SharedText, usize),
    /// The names of tools that they were read with.
    pub(super) names: &'m [ToolName],
    /// Notes of dropped members, of the reader and of the writer.
    pub(super) notes: (&'m [String], &'m [String]),
    /// The tools that they call, each once.
    pub(super) calls: &'m [String],
    pub(super) state: TurnsState,
}

/// The facts of turns that later ones, or the whole request, depend on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TurnsState {
    pub(super) tokens: u64,
    /// The last turn is the results of calls alone: the user's words after it are joined to it.
    pub(super) is_answer: bool,
    pub(super) has_detail: bool,
    pub(super) thinking: PastThinking,
}

/// Thinking in the assistant's turn that goes on, as the Messages API wants it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PastThinking {
    /// A message of it begins with thinking.
    pub(super) has_thought: bool,
    /// A call came before any such.
    pub(super) is_missing: bool,
    /// The last message began with other content, before any such.
    pub(super) is_behind: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct KnownTools<'m> {
    pub(super) place: usize,
    /// In the provider's dialect, with its brackets.
    pub(super) written: &'m Bytes,
    pub(super) names: &'m [ToolName],
    pub(super) notes: (&'m [String], &'m [String]),
    /// The kinds of tools among them that the client's provider would run.
    pub(super) hosted: &'m [String],
    pub(super) tokens: u64,
}
