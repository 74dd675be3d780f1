//! The facts of a request that the translation of its answer needs.

/// Made by `request::translate`, taken by `answer::*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerContext {
    /// The model's name as the client wrote it.
    pub model: String,
    pub streams: bool,
    /// A chat client asked for a usage chunk.
    pub wants_usage: bool,
    /// Tools that have another name or kind at the provider.
    pub tools: Vec<ToolName>,
    /// Members of the client's request that its answers repeat, as JSON text: a response repeats
    /// `instructions`, `tools`, `tool_choice`, `temperature`, `metadata` and others. Empty: none.
    pub echo: Vec<(&'static str, String)>,
    /// The dialect of the client's request wants reasoning as encrypted content, too (`include`).
    pub wants_encrypted_reasoning: bool,
    /// Tokens of the prompt, estimated, where a dialect wants a count at its start.
    pub estimated_input_tokens: u64,
}

/// A tool by the name that the provider knows it under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolName {
    pub sent: String,
    pub name: String,
    /// The namespace that it was flattened from.
    pub namespace: Option<String>,
    pub kind: ToolKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolKind {
    Function,
    /// A custom tool of the Responses API: its input is one string, sent as the member `input` of a function.
    Custom,
    /// `local_shell` of the Responses API, sent as a function with the members of its action.
    LocalShell,
}
