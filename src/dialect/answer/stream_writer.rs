//! The writer of a client's stream, by its dialect.

use super::{
    block::{BlockSink, BlockStep, TooLarge},
    findings::Translated,
    write_chat::ChatWriter,
    write_gemini::GeminiWriter,
    write_messages::MessagesWriter,
    write_responses::ResponsesWriter,
};
use crate::dialect::{ApiDialect, context::AnswerContext};

#[derive(Debug)]
pub(super) enum AnswerWriter {
    Chat(ChatWriter),
    Messages(MessagesWriter),
    Responses(Box<ResponsesWriter>),
    Gemini(Box<GeminiWriter>),
}

impl AnswerWriter {
    pub(super) fn new(to: ApiDialect, context: AnswerContext, id: &str, created: u64) -> Self {
        let id = id.to_owned();
        match to {
            ApiDialect::ChatCompletions => Self::Chat(ChatWriter {
                model: context.model,
                id,
                created,
                wants_usage: context.wants_usage,
                head: Vec::new(),
                calls: Vec::new(),
                reasoning_index: 0,
            }),
            ApiDialect::Messages => Self::Messages(MessagesWriter {
                model: context.model,
                id,
                estimated_input_tokens: context.estimated_input_tokens,
            }),
            ApiDialect::Responses => Self::Responses(Box::new(ResponsesWriter::new(context, &id, created))),
            ApiDialect::Gemini => Self::Gemini(Box::new(GeminiWriter::new(context.model, id))),
        }
    }
}

/// Appends the steps of an event to the client's stream.
pub(super) struct StreamOutput<'a> {
    pub(super) writer: &'a mut AnswerWriter,
    pub(super) out: &'a mut Vec<u8>,
    pub(super) seen: &'a mut Translated,
}

impl BlockSink for StreamOutput<'_> {
    fn step(&mut self, step: &BlockStep<'_>) -> Result<(), TooLarge> {
        match step {
            BlockStep::Opened { .. } | BlockStep::Grown { .. } | BlockStep::Sealed { .. } => {
                self.seen.is_content = true;
            }
            BlockStep::Ended { .. } => self.seen.is_end = true,
            BlockStep::Failed { .. } => self.seen.is_error = true,
            BlockStep::Started { .. }
            | BlockStep::Parted { .. }
            | BlockStep::Cited { .. }
            | BlockStep::Closed { .. } => {}
        }
        match self.writer {
            AnswerWriter::Chat(writer) => writer.step(step, self.out),
            AnswerWriter::Messages(writer) => writer.step(step, self.out),
            AnswerWriter::Responses(writer) => writer.step(step, self.out)?,
            AnswerWriter::Gemini(writer) => writer.step(step, self.out)?,
        }
        Ok(())
    }
}
