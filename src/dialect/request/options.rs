//! The peculiarities of providers, as a request's translation needs them.
//!
//! The defaults suit a provider of chat completions that knows the members of OpenAI's reference. They are
//! said per provider by the caller; the body's own contents decide all else.

use crate::dialect::reasoning::ReasoningOrigin;

/// All forms of reasoning in chat completions.
const CHAT_FORMS: &[ReasoningOrigin] = &[
    ReasoningOrigin::ChatReasoningContent,
    ReasoningOrigin::ChatReasoning,
    ReasoningOrigin::ChatDetails,
    ReasoningOrigin::ChatThinkPart,
    ReasoningOrigin::CallSignature,
];

/// The peculiarities of the provider.
#[derive(Clone, Copy, Debug)]
pub struct RequestOptions<'a> {
    /// The model as the provider knows it.
    pub model: &'a str,
    /// The key that the request came with: parts that came with it before are not translated again. `None`:
    /// nothing is remembered.
    pub key: Option<&'a str>,
    /// Gemini says by its path that an answer streams. Other dialects say it in the body, and this is not
    /// read.
    pub streams: bool,
    /// Chat: `max_tokens`, or `max_completion_tokens`, which OpenAI's reasoning models ask for.
    pub max_tokens_member: &'a str,
    /// The form in which the effort of reasoning is asked for.
    pub effort: EffortForm,
    /// Chat: the forms in which the provider takes reasoning back. Messages and responses have one of their
    /// own each.
    pub reasoning_forms: &'static [ReasoningOrigin],
    /// Chat: a call that has no signature gets one that Google takes instead, because Gemini 3 refuses a call
    /// without any. <https://ai.google.dev/gemini-api/docs/thought-signatures>
    pub signs_calls: bool,
    /// The model takes `temperature` and `top_p`, and with Messages `top_k`.
    pub takes_sampling: bool,
    /// Chat and responses: the model takes them beside a wish for reasoning.
    pub takes_sampling_beside_reasoning: bool,
    /// Responses: the model is asked for a summary of its reasoning.
    pub gives_summaries: bool,
    /// Responses: the model is asked for its reasoning in a sealed form.
    pub seals_reasoning: bool,
    /// Messages: the model leaves the text of its thinking out unless it is asked for.
    pub hides_thinking: bool,
    /// Chat: developer messages keep their role; else they become system messages.
    pub developer_role: bool,
    /// Chat: one system message at the start, then speakers that alternate, as some chat templates want it. A
    /// later system message becomes a marked text of the user.
    pub strict_turns: bool,
    /// Chat: a stream is asked for its usage.
    pub stream_usage: bool,
    /// Chat: the name of `seed`.
    pub seed_member: &'a str,
    /// Chat: the provider takes `user`.
    pub takes_user: bool,
    /// Chat: ids of calls are nine letters and digits.
    pub short_ids: bool,
    /// `prompt_cache_key`, `verbosity`: members that other providers than OpenAI may refuse.
    pub openai_members: bool,
    /// Tools that the client's own provider runs, beside functions.
    pub hosted_tools: HostedTools,
    /// Messages: `max_tokens` where the client gives none.
    pub default_max_tokens: u64,
    /// The longest answer that the model gives, where it refuses to be asked for a longer one.
    pub max_tokens_limit: Option<u64>,
}

impl<'a> RequestOptions<'a> {
    pub const fn new(model: &'a str) -> Self {
        Self {
            model,
            key: None,
            streams: false,
            max_tokens_member: "max_tokens",
            effort: EffortForm::Named,
            reasoning_forms: CHAT_FORMS,
            signs_calls: false,
            takes_sampling: true,
            takes_sampling_beside_reasoning: true,
            gives_summaries: true,
            seals_reasoning: true,
            hides_thinking: false,
            developer_role: false,
            strict_turns: false,
            stream_usage: true,
            seed_member: "seed",
            takes_user: true,
            short_ids: false,
            openai_members: true,
            hosted_tools: HostedTools::Drop,
            default_max_tokens: 8192,
            max_tokens_limit: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffortForm {
    /// Chat: `reasoning_effort`. Messages: `thinking: {type: adaptive}` and `output_config.effort`.
    Named,
    /// Chat: `reasoning: {effort}`, as OpenRouter has it. Messages: `thinking: {type: enabled,
    /// budget_tokens}`.
    Structured,
    /// The model does not reason, or refuses to be asked.
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostedTools {
    Refuse,
    /// Dropped and listed. Refused nevertheless if the request has no other tools or forces one of them.
    Drop,
}
