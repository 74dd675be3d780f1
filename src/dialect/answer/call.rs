//! A tool call under way: when its arguments are complete, and its text in the form that the client's tool
//! has.
//!
//! A custom tool of a Responses client is a function with the member `input` at the provider: here the string
//! is taken out of the JSON, piece by piece. The other way round, a provider's custom call becomes such a
//! function.

use std::borrow::Cow;

use super::{
    block::{BlockKind, BlockSink, BlockStep, TooLarge},
    input_string::InputString,
    json_extent::JsonExtent,
};
use crate::dialect::{ApiDialect, context::ToolKind, json::JsonWrite};

#[derive(Debug)]
pub(super) struct OpenCall {
    /// The provider's number of the call.
    pub(super) key: u32,
    block: u32,
    text: CallText,
    pub(super) is_closed: bool,
    /// The provider's id, which another call may have, too.
    pub(super) id_hash: u64,
    extent: JsonExtent,
    /// The arguments as long as they may be `null`, which some models write for a tool without parameters.
    held: Option<String>,
}

/// The way from the provider's arguments to the client's.
#[derive(Debug)]
pub(super) enum CallText {
    /// JSON, or a custom tool's input, passed as it is.
    Same(BlockKind),
    /// The member `input` of the JSON, unescaped.
    Unwrapped(InputString),
    /// A custom tool's input becomes `{"input": …}`. `true`: the object has begun.
    Wrapped(bool),
}

impl CallText {
    pub(super) fn new(tool: Option<ToolKind>, is_custom: bool, client: ApiDialect) -> Self {
        match tool {
            Some(ToolKind::Custom) if !is_custom => Self::Unwrapped(InputString::default()),
            Some(ToolKind::LocalShell) => Self::Same(BlockKind::LocalShell),
            Some(ToolKind::Custom | ToolKind::Function) | None => match client {
                _ if !is_custom => Self::Same(BlockKind::Function),
                ApiDialect::ChatCompletions | ApiDialect::Responses => Self::Same(BlockKind::Custom),
                ApiDialect::Messages | ApiDialect::Gemini => Self::Wrapped(false),
            },
        }
    }

    pub(super) const fn kind(&self) -> BlockKind {
        match self {
            Self::Same(kind) => *kind,
            Self::Unwrapped(_) => BlockKind::Custom,
            Self::Wrapped(_) => BlockKind::Function,
        }
    }
}

impl OpenCall {
    pub(super) fn new(key: u32, block: u32, id_hash: u64, text: CallText) -> Self {
        let held = matches!(&text, CallText::Same(kind) if *kind != BlockKind::Custom).then(String::new);
        Self { key, block, text, is_closed: false, id_hash, extent: JsonExtent::default(), held }
    }

    /// The provider's text is JSON. A custom tool's input is never known to be whole.
    fn is_json(&self) -> bool {
        match &self.text {
            CallText::Same(kind) => *kind != BlockKind::Custom,
            CallText::Unwrapped(input) => !input.is_plain(),
            CallText::Wrapped(_) => false,
        }
    }

    /// The arguments are a whole JSON object.
    pub(super) fn is_complete(&self) -> bool {
        self.is_json() && self.extent.is_complete()
    }

    /// The arguments have begun and are not whole.
    pub(super) fn is_part(&self) -> bool {
        self.is_json() && self.extent.is_open()
    }

    fn is_empty(&self) -> bool {
        self.extent.is_blank() || self.held.as_deref().map(str::trim) == Some(NULL)
    }

    /// Holds a fragment that may belong to a `null`; else gives the text that was held, and the fragment.
    fn hold(&mut self, fragment: &str) -> Option<String> {
        let mut held = self.held.take()?;
        held.push_str(fragment);
        let is_null = held.len() <= MAX_HELD && NULL.starts_with(held.trim());
        if is_null {
            self.held = Some(held);
            return Some(String::new());
        }
        Some(held)
    }

    pub(super) fn grow(&mut self, fragment: &str, sink: &mut dyn BlockSink) -> Result<(), TooLarge> {
        self.extent.read(fragment);
        let (block, kind) = (self.block, self.text.kind());
        let joined = if self.held.is_some() { self.hold(fragment) } else { None };
        let fragment = joined.as_deref().unwrap_or(fragment);
        let mut changed = Vec::new();
        let text = match &mut self.text {
            CallText::Same(_) => fragment,
            CallText::Unwrapped(input) => {
                let mut text = String::new();
                input.read(fragment, &mut text);
                changed = text.into_bytes();
                str::from_utf8(&changed).unwrap_or_default()
            }
            CallText::Wrapped(has_begun) => {
                if !std::mem::replace(has_begun, true) {
                    changed.raw("{\"input\":\"");
                }
                changed.string_part(fragment);
                str::from_utf8(&changed).unwrap_or_default()
            }
        };
        if text.is_empty() {
            return Ok(());
        }
        sink.step(&BlockStep::Grown { block, kind, text, logprobs: None })
    }

    pub(super) fn close(&mut self, is_cut: bool, sink: &mut dyn BlockSink) -> Result<(), TooLarge> {
        if std::mem::replace(&mut self.is_closed, true) {
            return Ok(());
        }
        let (block, kind) = (self.block, self.text.kind());
        let (is_part, is_empty) = (self.is_part(), self.is_empty());
        let held = self.held.take().unwrap_or_default();
        let rest: Cow<'_, str> = match &mut self.text {
            CallText::Wrapped(true) => "\"}".into(),
            CallText::Wrapped(false) => "{\"input\":\"\"}".into(),
            // Anthropic and some chat providers leave the arguments of a tool without parameters empty, and
            // clients of OpenAI's dialects parse them.
            CallText::Same(BlockKind::Function) if !is_cut && is_empty => "{}".into(),
            CallText::Same(_) if is_empty => "".into(),
            CallText::Same(_) => held.into(),
            CallText::Unwrapped(input) => input.rest().into(),
        };
        if !rest.is_empty() {
            sink.step(&BlockStep::Grown { block, kind, text: &rest, logprobs: None })?;
        }
        // The arguments may end before the reason is known.
        let is_cut = is_part || (is_cut && !self.extent.is_complete());
        sink.step(&BlockStep::Closed { block, kind, seal: None, is_cut })
    }
}

const NULL: &str = "null";
/// Bytes of a `null` with white space around it.
const MAX_HELD: usize = 16;
