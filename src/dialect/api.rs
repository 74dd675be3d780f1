//! The dialects that are translated.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApiDialect {
    ChatCompletions,
    Responses,
    Messages,
    /// Google's `generateContent`; only clients speak it, because providers pass it natively.
    Gemini,
}

impl ApiDialect {
    /// The word in the `x-thalweg-dialect` header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::Gemini => "gemini",
        }
    }
}
