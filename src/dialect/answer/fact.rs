//! The neutral facts between a provider's dialect and a client's.
//!
//! A reader turns an event into facts, in the order in which the event has them; `Sequencer` makes blocks of
//! them. A fact borrows its text from the event: nothing is copied on its way.

use std::borrow::Cow;

use super::json_read::Json;
use crate::dialect::reasoning::{self, ReasoningOrigin};

#[derive(Debug)]
pub(super) enum Fact<'a> {
    Started {
        id: &'a str,
        model: &'a str,
    },
    Text {
        text: &'a str,
        logprobs: Option<Json<'a>>,
    },
    Refusal(&'a str),
    /// `origin`: the place of a chat provider's reasoning, for the seal at its end.
    Reasoning {
        text: &'a str,
        origin: Option<ReasoningOrigin>,
    },
    /// A further paragraph or summary part of the reasoning begins.
    ReasoningPart,
    /// The reasoning so far is complete, with the text that gives it back to its provider.
    ReasoningSealed(Seal<'a>),
    CallBegun {
        key: u32,
        id: &'a str,
        name: &'a str,
        is_custom: bool,
    },
    CallArguments {
        key: u32,
        fragment: &'a str,
    },
    CallEnded {
        key: u32,
    },
    Citation(Citation<'a>),
    /// The provider ended a block of text or reasoning; the next one is another.
    BlockEnded,
    Usage(TokenUsage),
    Finished {
        reason: StopReason,
        sequence: Option<&'a str>,
    },
    /// The answer is complete.
    Ended,
    Failed {
        code: ErrorCode,
        message: &'a str,
    },
    /// A part of the answer that the neutral facts cannot say.
    Unknown,
}

/// Takes facts in their order.
pub(super) trait FactSink {
    fn fact(&mut self, fact: Fact<'_>);
}

/// The facts that give reasoning back to its provider.
#[derive(Clone, Debug)]
pub(super) struct Seal<'a> {
    pub(super) origin: ReasoningOrigin,
    pub(super) payload: Cow<'a, str>,
}

impl Seal<'_> {
    /// The opaque text that a client returns.
    pub(super) fn encode(&self) -> String {
        reasoning::encode(self.origin, &self.payload)
    }
}

/// A web page that the text before it refers to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Citation<'a> {
    pub(super) url: &'a str,
    pub(super) title: &'a str,
    pub(super) cited_text: &'a str,
    /// Characters of the answer's text; `None`: the whole block so far.
    pub(super) range: Option<(u64, u64)>,
    /// The range counts from the start of the open block.
    pub(super) is_in_block: bool,
}

/// Tokens of a request and its answer. `input` holds the cached ones, `output` the reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenUsage {
    pub input: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    /// The part of them that the cache keeps for an hour, which costs more.
    pub cache_write_1h: u64,
    pub output: u64,
    pub reasoning: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopReason {
    Stop,
    StopSequence,
    Length,
    ToolUse,
    Filtered,
    /// A server tool of the provider is not done; the client continues the turn.
    Paused,
    ContextWindow,
}

/// The kinds of error that clients act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    InvalidRequest,
    ContextOverflow,
    Authentication,
    Billing,
    Permission,
    NotFound,
    TooLarge,
    RateLimit,
    QuotaExceeded,
    Overloaded,
    Timeout,
    Server,
}
