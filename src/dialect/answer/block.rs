//! The steps of an answer as a sequence of blocks, which every client dialect is written from.
//!
//! Blocks are numbered from 0 in the order in which they open. A block of text, refusal or reasoning is
//! closed before the next block opens; calls may be open side by side. No block is empty, but for calls.

use super::{
    fact::{Citation, ErrorCode, Seal, StopReason, TokenUsage},
    json_read::Json,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockKind {
    Text,
    Refusal,
    Reasoning,
    /// A call of a function: its text is JSON.
    Function,
    /// A call of a custom tool: its text is the tool's input.
    Custom,
    /// A call of `local_shell`: its text is the JSON of the action's members.
    LocalShell,
}

impl BlockKind {
    pub(super) const fn is_call(self) -> bool {
        matches!(self, Self::Function | Self::Custom | Self::LocalShell)
    }
}

#[derive(Debug)]
pub(super) enum BlockStep<'a> {
    /// `usage`: as far as it is known at the start.
    Started {
        id: &'a str,
        model: &'a str,
        usage: Option<TokenUsage>,
    },
    Opened {
        block: u32,
        kind: BlockKind,
        id: &'a str,
        name: &'a str,
        namespace: Option<&'a str>,
    },
    Grown {
        block: u32,
        kind: BlockKind,
        text: &'a str,
        logprobs: Option<Json<'a>>,
    },
    /// A further part of the reasoning begins.
    Parted {
        block: u32,
    },
    Cited {
        block: u32,
        citation: Citation<'a>,
    },
    Closed {
        block: u32,
        kind: BlockKind,
        seal: Option<Seal<'a>>,
        /// The answer ended inside the block.
        is_cut: bool,
    },
    /// Reasoning without a text.
    Sealed {
        block: u32,
        seal: Seal<'a>,
    },
    /// The answer is complete.
    Ended {
        reason: StopReason,
        sequence: Option<&'a str>,
        has_refusal: bool,
        /// As the provider counted.
        usage: Option<TokenUsage>,
        /// By the bytes, for dialects that cannot do without.
        estimate: TokenUsage,
    },
    /// The answer ends with an error, its blocks open or not.
    Failed {
        code: ErrorCode,
        message: &'a str,
    },
}

/// Takes steps in their order.
pub(super) trait BlockSink {
    /// `Err`: the answer is larger than the sink may keep.
    fn step(&mut self, step: &BlockStep<'_>) -> Result<(), TooLarge>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// Bytes of an answer that may be kept, where a dialect repeats them at its end.
pub(super) const MAX_KEPT: usize = 16 << 20;
