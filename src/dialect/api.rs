//! The dialects that are translated.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApiDialect {
    ChatCompletions,
    Responses,
    Messages,
    /// Google's `generateContent`; only clients speak it, because providers pass it natively.
    Gemini,
}
