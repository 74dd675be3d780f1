//! The parts of a whole answer, as they were gathered.

use super::{
    block::BlockKind,
    fact::{ErrorCode, StopReason, TokenUsage},
    write_responses::ResponsesWriter,
};
use crate::dialect::{ApiDialect, reasoning::ReasoningOrigin};

#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) to: ApiDialect,
    /// The request's id, and the provider's of the answer.
    pub(super) own_id: String,
    pub(super) id: String,
    pub(super) model: String,
    pub(super) created: u64,
    pub(super) blocks: Vec<GatheredBlock>,
    pub(super) end: Option<GatheredEnd>,
    pub(super) failure: Option<(ErrorCode, String)>,
    pub(super) responses: Option<Box<ResponsesWriter>>,
    pub(super) kept: usize,
}

#[derive(Debug)]
pub(super) struct GatheredEnd {
    pub(super) reason: StopReason,
    pub(super) sequence: Option<String>,
    pub(super) has_refusal: bool,
    pub(super) usage: Option<TokenUsage>,
    pub(super) estimate: TokenUsage,
}

#[derive(Debug)]
pub(super) struct GatheredBlock {
    pub(super) kind: BlockKind,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) text: String,
    pub(super) seal: Option<(ReasoningOrigin, String)>,
    /// Citations in the client's form, joined by commas.
    pub(super) citations: Vec<u8>,
    /// The tokens' arrays as the provider has them.
    pub(super) logprobs: Vec<Vec<u8>>,
}
