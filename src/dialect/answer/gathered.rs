//! A whole answer, gathered from its steps and written in a client's dialect.
//!
//! A response is gathered by the writer of its stream, which keeps its items anyway.

use super::{
    block::{BlockKind, BlockSink, BlockStep, MAX_KEPT, TooLarge},
    error_body,
    fact::Citation,
    findings::WholeError,
    gathered_answer::{Gathered, GatheredBlock, GatheredEnd},
    json_read::write_json,
    write_responses::ResponsesWriter,
    write_whole,
};
use crate::dialect::{ApiDialect, context::AnswerContext};

impl Gathered {
    pub(super) fn new(to: ApiDialect, context: &AnswerContext, id: &str, created: u64) -> Self {
        let responses = (to == ApiDialect::Responses)
            .then(|| Box::new(ResponsesWriter::new(context.clone(), id, created)));
        Self {
            to,
            own_id: id.to_owned(),
            id: String::new(),
            model: context.model.clone(),
            created,
            blocks: Vec::new(),
            end: None,
            failure: None,
            responses,
            kept: 0,
        }
    }

    /// Appends the client's body.
    pub(super) fn write(self, out: &mut Vec<u8>) -> Result<(), WholeError> {
        if let Some((code, message)) = self.failure {
            let status = error_body::status(self.to, code, 0);
            return Err(WholeError::Failed { code, status, message });
        }
        let Some(end) = &self.end else { return Err(WholeError::Incomplete) };
        match (self.to, &self.responses) {
            (_, Some(responses)) => responses.whole(end.reason, end.usage.unwrap_or(end.estimate), out),
            (ApiDialect::Messages, None) => write_whole::messages(&self, end, out),
            (ApiDialect::Gemini, None) => write_whole::gemini(&self, end, out),
            (ApiDialect::ChatCompletions | ApiDialect::Responses, None) => write_whole::chat(&self, end, out),
        }
        Ok(())
    }

    fn open(&mut self, block: u32, kind: BlockKind, id: &str, name: &str) {
        debug_assert_eq!(block as usize, self.blocks.len());
        self.blocks.push(GatheredBlock {
            kind,
            id: id.to_owned(),
            name: name.to_owned(),
            text: String::new(),
            seal: None,
            citations: Vec::new(),
            logprobs: Vec::new(),
        });
    }

    fn grow(&mut self, block: u32, text: &str) -> Result<(), TooLarge> {
        self.kept = self.kept.saturating_add(text.len());
        if self.kept > MAX_KEPT {
            return Err(TooLarge);
        }
        if let Some(block) = self.blocks.get_mut(block as usize) {
            block.text.push_str(text);
        }
        Ok(())
    }

    fn cite(&mut self, block: u32, citation: &Citation<'_>) {
        let to = self.to;
        let Some(block) = self.blocks.get_mut(block as usize) else { return };
        if !block.citations.is_empty() {
            block.citations.push(b',');
        }
        write_whole::citation(to, citation, &mut block.citations);
    }
}

impl BlockSink for Gathered {
    fn step(&mut self, step: &BlockStep<'_>) -> Result<(), TooLarge> {
        if let Some(responses) = &mut self.responses
            && !matches!(step, BlockStep::Ended { .. } | BlockStep::Failed { .. })
        {
            return responses.step(step, &mut Vec::new());
        }
        match step {
            BlockStep::Started { id, model, .. } => {
                (*id).clone_into(&mut self.id);
                if self.model.is_empty() {
                    (*model).clone_into(&mut self.model);
                }
            }
            BlockStep::Opened { block, kind, id, name, .. } => self.open(*block, *kind, id, name),
            BlockStep::Grown { block, text, logprobs, .. } => {
                self.grow(*block, text)?;
                if let (Some(logprobs), Some(block)) = (logprobs, self.blocks.get_mut(*block as usize)) {
                    let mut json = Vec::new();
                    write_json(*logprobs, &mut json);
                    block.logprobs.push(json);
                }
            }
            BlockStep::Parted { block } => self.grow(*block, "\n\n")?,
            BlockStep::Cited { block, citation } => self.cite(*block, citation),
            BlockStep::Closed { block, seal, .. } => {
                if let (Some(seal), Some(block)) = (seal, self.blocks.get_mut(*block as usize)) {
                    block.seal = Some((seal.origin, seal.payload.clone().into_owned()));
                }
            }
            BlockStep::Sealed { block, seal } => {
                self.open(*block, BlockKind::Reasoning, "", "");
                if let Some(block) = self.blocks.last_mut() {
                    block.seal = Some((seal.origin, seal.payload.clone().into_owned()));
                }
            }
            BlockStep::Ended { reason, sequence, has_refusal, usage, estimate } => {
                self.end = Some(GatheredEnd {
                    reason: *reason,
                    sequence: sequence.map(str::to_owned),
                    has_refusal: *has_refusal,
                    usage: *usage,
                    estimate: *estimate,
                });
            }
            BlockStep::Failed { code, message } => self.failure = Some((*code, (*message).to_owned())),
        }
        Ok(())
    }
}
