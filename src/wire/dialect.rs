//! The supported APIs: the path of each below a base URL, and the options that only some have.
//!
//! Knows no provider: a provider may support any of them. The error format of each is in [`super::error`].

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    ChatCompletions,
    Completions,
    Embeddings,
    Responses,
    Messages,
}

impl Dialect {
    pub const ALL: [Self; 5] =
        [Self::ChatCompletions, Self::Completions, Self::Embeddings, Self::Responses, Self::Messages];

    /// The path below the provider's base URL.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/chat/completions",
            Self::Completions => "/completions",
            Self::Embeddings => "/embeddings",
            Self::Responses => "/responses",
            Self::Messages => "/messages",
        }
    }

    /// Whether `stream_options.include_usage` exists in this dialect; the others always report usage.
    #[must_use]
    pub const fn has_stream_options(self) -> bool {
        match self {
            Self::ChatCompletions | Self::Completions => true,
            Self::Embeddings | Self::Responses | Self::Messages => false,
        }
    }
}
