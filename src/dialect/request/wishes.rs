//! The tools that a client offers and the settings that it wishes, in no dialect.
//!
//! Numbers that pass through are values of the body, so that they are written as they were read. A reader
//! leaves out a setting that is the default.

use std::borrow::Cow;

use super::value::JsonValue;

#[derive(Debug)]
pub(super) struct FunctionTool<'t> {
    pub(super) name: Cow<'t, str>,
    pub(super) description: Option<Cow<'t, str>>,
    pub(super) form: ToolForm<'t>,
    pub(super) strict: Option<bool>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum ToolForm<'t> {
    Function {
        parameters: Option<JsonValue<'t>>,
    },
    /// As above, in Gemini's own form of a schema.
    GeminiFunction {
        parameters: JsonValue<'t>,
    },
    /// One string, which a grammar may bind: its syntax and its definition.
    Custom {
        grammar: Option<(&'t str, &'t str)>,
    },
    LocalShell,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ToolChoice<'t> {
    Auto,
    Required,
    Never,
    Named(Cow<'t, str>),
}

/// Settings that the client wishes for its answer.
#[derive(Debug, Default)]
pub(super) struct Wishes<'t> {
    pub(super) model: &'t str,
    pub(super) streams: bool,
    pub(super) wants_usage: bool,
    pub(super) wants_encrypted_reasoning: bool,
    pub(super) max_tokens: Option<u64>,
    pub(super) temperature: Option<JsonValue<'t>>,
    pub(super) top_p: Option<JsonValue<'t>>,
    pub(super) top_k: Option<u64>,
    pub(super) stop: Vec<&'t str>,
    pub(super) seed: Option<JsonValue<'t>>,
    pub(super) presence_penalty: Option<JsonValue<'t>>,
    pub(super) frequency_penalty: Option<JsonValue<'t>>,
    pub(super) logit_bias: Option<JsonValue<'t>>,
    /// Answers to one prompt, where more than one.
    pub(super) choices: Option<u64>,
    pub(super) logprobs: bool,
    pub(super) top_logprobs: Option<u64>,
    pub(super) format: Option<AnswerFormat<'t>>,
    pub(super) effort: Option<ReasoningEffort<'t>>,
    /// Reasoning is wished, with or without an effort.
    pub(super) wants_reasoning: bool,
    pub(super) verbosity: Option<&'t str>,
    pub(super) user: Option<&'t str>,
    pub(super) cache_key: Option<Cow<'t, str>>,
    /// Members that OpenAI's two dialects have alike, and no other: names and values.
    pub(super) shared: Vec<(&'static str, &'t str)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum AnswerFormat<'t> {
    Json,
    Schema {
        name: Option<&'t str>,
        description: Option<&'t str>,
        schema: JsonValue<'t>,
        strict: Option<bool>,
        /// The schema is in Gemini's own form.
        is_gemini: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReasoningEffort<'t> {
    Named(&'t str),
    /// Tokens of thinking.
    Budget(u64),
    Off,
}
