//! Makes blocks of facts: opens, grows and closes them so that every client's rules hold.
//!
//! - Empty pieces are dropped; a block opens with its first piece.
//! - A call closes when another block opens after its arguments are complete JSON, else at the answer's end,
//!   because providers may send the arguments of parallel calls in turns. So blocks are open side by side
//!   only then: most SDKs collect pieces by index, some take the last block that opened.
//! - A call without an id, or with the id of another, gets one that is unique in the conversation.
//! - The reason of the end fits the calls: clients run tools only on `ToolUse`.
//!
//! - [`calls`]: the calls that are open

mod calls;

use std::hash::RandomState;

use super::{
    block::{BlockKind, BlockSink, BlockStep, TooLarge},
    call::OpenCall,
    cited_text::CitedText,
    fact::{Citation, ErrorCode, Fact, Seal, StopReason, TokenUsage},
    json_read::Json,
};
use crate::dialect::{ApiDialect, context::ToolName, reasoning::ReasoningOrigin};

/// A rule of thumb for English and code.
const BYTES_PER_TOKEN: u64 = 4;

#[derive(Debug)]
pub(super) struct Sequencer {
    client: ApiDialect,
    /// Tools that have another name or kind at the provider.
    tools: Vec<ToolName>,
    /// The base of made-up ids.
    id: String,
    progress: AnswerProgress,
    next_block: u32,
    /// The open block that is no call.
    open: Option<OpenBlock>,
    calls: Vec<OpenCall>,
    /// For the ids of calls.
    hasher: RandomState,
    /// The place of a chat provider's reasoning, for the seal at its end.
    chat_origin: Option<ReasoningOrigin>,
    has_refusal: bool,
    usage: Option<TokenUsage>,
    finish: Option<(StopReason, Option<String>)>,
    /// The text so far: citations count its characters, or its bytes for Gemini's clients.
    text: CitedText,
    /// The size of the answer, for an estimate of its tokens.
    bytes: u64,
    estimated_input_tokens: u64,
    pub(super) has_unknown: bool,
}

#[derive(Clone, Copy, Debug)]
struct OpenBlock {
    block: u32,
    kind: BlockKind,
    started_at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerProgress {
    Waiting,
    Started,
    /// Content was written.
    Answering,
    Ended,
    Failed,
}

/// Bytes of a provider's id or model, which a client's stream repeats in each event; a longer one is left
/// out.
const MAX_NAME: usize = 1024;

impl Sequencer {
    pub(super) fn new(
        client: ApiDialect,
        tools: Vec<ToolName>,
        estimated_input_tokens: u64,
        id: &str,
    ) -> Self {
        Self {
            client,
            tools,
            id: id.to_owned(),
            progress: AnswerProgress::Waiting,
            next_block: 0,
            open: None,
            calls: Vec::new(),
            hasher: RandomState::new(),
            chat_origin: None,
            has_refusal: false,
            usage: None,
            finish: None,
            text: CitedText::new(client),
            bytes: 0,
            estimated_input_tokens,
            has_unknown: false,
        }
    }

    pub(super) const fn progress(&self) -> AnswerProgress {
        self.progress
    }

    /// The usage that the provider has reported. `None`: none so far.
    pub(super) const fn usage(&self) -> Option<TokenUsage> {
        self.usage
    }

    /// Passes the steps that `fact` causes to `sink`.
    pub(super) fn fact(&mut self, fact: Fact<'_>, sink: &mut dyn BlockSink) {
        if matches!(self.progress, AnswerProgress::Ended | AnswerProgress::Failed) {
            return;
        }
        if self.take(fact, sink).is_err() {
            let message = "the answer is too long to be translated into this dialect";
            self.fail(ErrorCode::Server, message, sink);
        }
    }

    fn take(&mut self, fact: Fact<'_>, sink: &mut dyn BlockSink) -> Result<(), TooLarge> {
        match fact {
            Fact::Started { id, model } => self.start(id, model, sink),
            Fact::Text { text, logprobs } => self.grow(BlockKind::Text, text, logprobs, sink),
            Fact::Refusal(text) => self.grow(BlockKind::Refusal, text, None, sink),
            Fact::Reasoning { text, origin } => {
                self.chat_origin = origin;
                self.grow(BlockKind::Reasoning, text, None, sink)
            }
            Fact::ReasoningPart => self.part(sink),
            Fact::ReasoningSealed(seal) => self.seal(seal, sink),
            Fact::CallBegun { key, id, name, is_custom } => self.begin_call(key, id, name, is_custom, sink),
            Fact::CallArguments { key, fragment } => self.grow_call(key, fragment, sink),
            Fact::CallEnded { key } => match self.calls.iter().position(|call| call.key == key) {
                Some(position) => self.close_call(position, false, sink),
                None => Ok(()),
            },
            Fact::Citation(citation) => self.cite(citation, sink),
            Fact::BlockEnded => self.close_open(false, sink),
            Fact::Usage(usage) => {
                self.usage = Some(usage);
                Ok(())
            }
            Fact::Finished { reason, sequence } => {
                self.finish = Some((reason, sequence.map(str::to_owned)));
                Ok(())
            }
            Fact::Ended => self.end(sink),
            Fact::Failed { code, message } => {
                self.fail(code, message, sink);
                Ok(())
            }
            Fact::Unknown => {
                self.has_unknown = true;
                Ok(())
            }
        }
    }

    fn start(&mut self, id: &str, model: &str, sink: &mut dyn BlockSink) -> Result<(), TooLarge> {
        if self.progress != AnswerProgress::Waiting {
            return Ok(());
        }
        self.progress = AnswerProgress::Started;
        let [id, model] = [id, model].map(|name| if name.len() > MAX_NAME { "" } else { name });
        sink.step(&BlockStep::Started { id, model, usage: self.usage })
    }

    /// Opens a block, unless one of its kind is open.
    fn open(&mut self, kind: BlockKind, sink: &mut dyn BlockSink) -> Result<u32, TooLarge> {
        if let Some(open) = self.open.filter(|open| open.kind == kind) {
            return Ok(open.block);
        }
        self.make_room(sink)?;
        let block = self.number_block();
        self.open = Some(OpenBlock { block, kind, started_at: self.text.characters() });
        sink.step(&BlockStep::Opened { block, kind, id: "", name: "", namespace: None })?;
        Ok(block)
    }

    /// Closes the blocks that are complete before another opens.
    fn make_room(&mut self, sink: &mut dyn BlockSink) -> Result<(), TooLarge> {
        self.start("", "", sink)?;
        self.progress = AnswerProgress::Answering;
        self.close_open(false, sink)?;
        for position in 0..self.calls.len() {
            if self.calls.get(position).is_some_and(OpenCall::is_complete) {
                self.close_call(position, false, sink)?;
            }
        }
        Ok(())
    }

    const fn number_block(&mut self) -> u32 {
        let block = self.next_block;
        self.next_block = block.saturating_add(1);
        block
    }

    fn grow(
        &mut self,
        kind: BlockKind,
        text: &str,
        logprobs: Option<Json<'_>>,
        sink: &mut dyn BlockSink,
    ) -> Result<(), TooLarge> {
        if text.is_empty() {
            return Ok(());
        }
        let block = self.open(kind, sink)?;
        self.bytes += text.len() as u64;
        match kind {
            BlockKind::Text => self.text.grow(text),
            BlockKind::Refusal => self.has_refusal = true,
            BlockKind::Reasoning | BlockKind::Function | BlockKind::Custom | BlockKind::LocalShell => {}
        }
        sink.step(&BlockStep::Grown { block, kind, text, logprobs })
    }

    fn part(&mut self, sink: &mut dyn BlockSink) -> Result<(), TooLarge> {
        match self.open {
            Some(OpenBlock { block, kind: BlockKind::Reasoning, .. }) => {
                sink.step(&BlockStep::Parted { block })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn seal(&mut self, seal: Seal<'_>, sink: &mut dyn BlockSink) -> Result<(), TooLarge> {
        // Redacted reasoning is a block of its own.
        if let Some(OpenBlock { block, kind: BlockKind::Reasoning, .. }) = self.open
            && seal.origin != ReasoningOrigin::RedactedThinking
        {
            self.open = None;
            return sink.step(&BlockStep::Closed {
                block,
                kind: BlockKind::Reasoning,
                seal: Some(seal),
                is_cut: false,
            });
        }
        if seal.payload.is_empty() {
            return Ok(());
        }
        self.make_room(sink)?;
        let block = self.number_block();
        sink.step(&BlockStep::Sealed { block, seal })
    }

    fn close_open(&mut self, is_cut: bool, sink: &mut dyn BlockSink) -> Result<(), TooLarge> {
        let Some(OpenBlock { block, kind, .. }) = self.open.take() else { return Ok(()) };
        let seal = (kind == BlockKind::Reasoning)
            .then_some(self.chat_origin)
            .flatten()
            .map(|origin| Seal { origin, payload: "".into() });
        sink.step(&BlockStep::Closed { block, kind, seal, is_cut })
    }

    fn cite(&mut self, citation: Citation<'_>, sink: &mut dyn BlockSink) -> Result<(), TooLarge> {
        let Some(OpenBlock { block, kind: BlockKind::Text, started_at }) = self.open else {
            self.has_unknown = true;
            return Ok(());
        };
        let (start, end) = match citation.range {
            Some((start, end)) if citation.is_in_block => {
                (start.saturating_add(started_at), end.saturating_add(started_at))
            }
            Some(range) => range,
            None => (started_at, self.text.characters()),
        };
        let place = |at: u64| match self.client {
            // A block is an item with a text of its own.
            ApiDialect::Responses => at.saturating_sub(started_at),
            ApiDialect::Gemini => self.text.bytes_before(at),
            ApiDialect::ChatCompletions | ApiDialect::Messages => at,
        };
        let range = Some((place(start), place(end)));
        sink.step(&BlockStep::Cited { block, citation: Citation { range, ..citation } })
    }

    fn end(&mut self, sink: &mut dyn BlockSink) -> Result<(), TooLarge> {
        self.start("", "", sink)?;
        let (reason, sequence) = self.finish.take().unwrap_or((StopReason::Stop, None));
        let (reason, sequence) = match (reason, self.calls.is_empty()) {
            (StopReason::Stop, false) => (StopReason::ToolUse, None),
            // A sequence inside a call's arguments ended the answer there; one behind them changes nothing.
            (StopReason::StopSequence, false) if !self.calls.iter().any(OpenCall::is_part) => {
                (StopReason::ToolUse, None)
            }
            (StopReason::ToolUse, true) => (StopReason::Stop, None),
            (reason, _) => (reason, sequence),
        };
        let is_cut = matches!(reason, StopReason::Length | StopReason::Filtered | StopReason::ContextWindow);
        self.close_open(is_cut, sink)?;
        for position in 0..self.calls.len() {
            self.close_call(position, is_cut, sink)?;
        }
        self.progress = AnswerProgress::Ended;
        sink.step(&BlockStep::Ended {
            reason,
            sequence: sequence.as_deref(),
            has_refusal: self.has_refusal,
            usage: self.usage,
            estimate: TokenUsage {
                input: self.estimated_input_tokens,
                output: self.bytes.div_ceil(BYTES_PER_TOKEN),
                ..TokenUsage::default()
            },
        })
    }

    pub(super) fn fail(&mut self, code: ErrorCode, message: &str, sink: &mut dyn BlockSink) {
        if !matches!(self.progress, AnswerProgress::Ended | AnswerProgress::Failed) {
            self.progress = AnswerProgress::Failed;
            // An error needs no room.
            let _ = sink.step(&BlockStep::Failed { code, message });
        }
    }
}
