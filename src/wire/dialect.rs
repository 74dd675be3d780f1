//! The supported APIs: the endpoint of each, and the options that only some have.
//!
//! Knows no provider: a provider may support any of them. The error format of each is in [`super::error`].

use crate::base::Endpoint;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    ChatCompletions,
    Completions,
    Embeddings,
    Responses,
    Messages,
    Gemini,
}

impl Dialect {
    pub const ALL: [Self; 6] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Embeddings,
        Self::Responses,
        Self::Messages,
        Self::Gemini,
    ];

    /// The path below the provider's base URL.
    #[must_use]
    pub const fn path(self) -> &'static str {
        self.endpoint().path()
    }

    /// The endpoint that takes requests of this dialect.
    #[must_use]
    pub const fn endpoint(self) -> Endpoint {
        match self {
            Self::ChatCompletions => Endpoint::ChatCompletions,
            Self::Completions => Endpoint::Completions,
            Self::Embeddings => Endpoint::Embeddings,
            Self::Responses => Endpoint::Responses,
            Self::Messages => Endpoint::Messages,
            Self::Gemini => Endpoint::Gemini,
        }
    }

    /// Whether `stream_options.include_usage` exists in this dialect; the others always report usage.
    #[must_use]
    pub const fn has_stream_options(self) -> bool {
        match self {
            Self::ChatCompletions | Self::Completions => true,
            Self::Embeddings | Self::Responses | Self::Messages | Self::Gemini => false,
        }
    }
}
