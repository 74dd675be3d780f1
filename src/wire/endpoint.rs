//! What the bytes of an endpoint's requests and answers are: its dialect, the place of its model, and the
//! nature of its answer.
//!
//! Six endpoints generate text or embeddings, and all decisions about candidates are for them. The
//! others ("further endpoints") go the same way with their bodies as they came.

use super::Dialect;
use crate::base::Endpoint;

/// Whether a request names its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelUse {
    Required,
    /// The provider has a model of its own choice.
    Optional,
    /// There is no body.
    None,
}

impl Endpoint {
    /// The dialect of its events and errors. OpenAI's further endpoints name their events as the Responses
    /// API does.
    #[must_use]
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::ChatCompletions => Dialect::ChatCompletions,
            Self::Completions => Dialect::Completions,
            Self::Embeddings => Dialect::Embeddings,
            Self::Messages | Self::CountTokens => Dialect::Messages,
            Self::Gemini | Self::GeminiCount => Dialect::Gemini,
            Self::Responses
            | Self::InputTokens
            | Self::Compact
            | Self::StoredResponse
            | Self::Transcriptions
            | Self::Translations
            | Self::Speech
            | Self::ImageGenerations
            | Self::ImageEdits
            | Self::ImageVariations
            | Self::Moderations
            | Self::Rerank => Dialect::Responses,
        }
    }

    /// Whether it is one of the six that generate text or embeddings.
    #[must_use]
    pub const fn is_main(self) -> bool {
        matches!(
            self,
            Self::ChatCompletions
                | Self::Completions
                | Self::Embeddings
                | Self::Responses
                | Self::Messages
                | Self::Gemini
        )
    }

    #[must_use]
    pub const fn model_use(self) -> ModelUse {
        match self {
            Self::StoredResponse => ModelUse::None,
            Self::InputTokens
            | Self::ImageGenerations
            | Self::ImageEdits
            | Self::ImageVariations
            | Self::Moderations
            | Self::Rerank => ModelUse::Optional,
            Self::ChatCompletions
            | Self::Completions
            | Self::Embeddings
            | Self::Responses
            | Self::Messages
            | Self::CountTokens
            | Self::Compact
            | Self::Transcriptions
            | Self::Translations
            | Self::Speech
            | Self::Gemini
            | Self::GeminiCount => ModelUse::Required,
        }
    }

    /// Whether providers ask no money for it: such a request counts as one, but is charged no tokens.
    #[must_use]
    pub const fn is_free(self) -> bool {
        matches!(
            self,
            Self::CountTokens
                | Self::GeminiCount
                | Self::InputTokens
                | Self::StoredResponse
                | Self::Moderations
        )
    }

    /// Whether the length of an answer tells how many tokens it has.
    #[must_use]
    pub const fn answers_text(self) -> bool {
        match self {
            Self::ChatCompletions
            | Self::Completions
            | Self::Responses
            | Self::Messages
            | Self::Gemini
            | Self::Compact
            | Self::Transcriptions
            | Self::Translations => true,
            Self::Embeddings
            | Self::CountTokens
            | Self::GeminiCount
            | Self::InputTokens
            | Self::StoredResponse
            | Self::Speech
            | Self::ImageGenerations
            | Self::ImageEdits
            | Self::ImageVariations
            | Self::Moderations
            | Self::Rerank => false,
        }
    }

    /// Whether a good answer may be something else than JSON or events: sound, subtitles.
    #[must_use]
    pub const fn answers_files(self) -> bool {
        matches!(self, Self::Transcriptions | Self::Translations | Self::Speech)
    }
}
