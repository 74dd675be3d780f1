//! The endpoints that a provider may have. Each has an index, so that a fact about every endpoint fits into
//! one array, and a set of them into one word.

/// One endpoint of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    ChatCompletions,
    Completions,
    Embeddings,
    Responses,
    Messages,
    CountTokens,
    InputTokens,
    Compact,
    /// A response by its id: to read, cancel or delete it.
    StoredResponse,
    Transcriptions,
    Translations,
    Speech,
    ImageGenerations,
    ImageEdits,
    ImageVariations,
    Moderations,
    Rerank,
    /// Gemini's `generateContent` and `streamGenerateContent`.
    Gemini,
    GeminiCount,
}

impl Endpoint {
    /// In the order of the enum: the position is the index.
    pub const ALL: [Self; 19] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Embeddings,
        Self::Responses,
        Self::Messages,
        Self::CountTokens,
        Self::InputTokens,
        Self::Compact,
        Self::StoredResponse,
        Self::Transcriptions,
        Self::Translations,
        Self::Speech,
        Self::ImageGenerations,
        Self::ImageEdits,
        Self::ImageVariations,
        Self::Moderations,
        Self::Rerank,
        Self::Gemini,
        Self::GeminiCount,
    ];
    pub const COUNT: usize = Self::ALL.len();
    /// Those that `dialects` names.
    pub const MAIN: [Self; 6] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Embeddings,
        Self::Responses,
        Self::Messages,
        Self::Gemini,
    ];

    /// The path below the provider's base URL. A response's id comes after it, and Gemini's model and method.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/chat/completions",
            Self::Completions => "/completions",
            Self::Embeddings => "/embeddings",
            Self::Responses | Self::StoredResponse => "/responses",
            Self::Messages => "/messages",
            Self::CountTokens => "/messages/count_tokens",
            Self::InputTokens => "/responses/input_tokens",
            Self::Compact => "/responses/compact",
            Self::Transcriptions => "/audio/transcriptions",
            Self::Translations => "/audio/translations",
            Self::Speech => "/audio/speech",
            Self::ImageGenerations => "/images/generations",
            Self::ImageEdits => "/images/edits",
            Self::ImageVariations => "/images/variations",
            Self::Moderations => "/moderations",
            Self::Rerank => "/rerank",
            Self::Gemini | Self::GeminiCount => "/models",
        }
    }

    /// The word in `dialects`, `/health`, the ledger and traces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
            Self::InputTokens => "input_tokens",
            Self::Compact => "compact",
            Self::StoredResponse => "stored_response",
            Self::Transcriptions => "transcriptions",
            Self::Translations => "translations",
            Self::Speech => "speech",
            Self::ImageGenerations => "image_generations",
            Self::ImageEdits => "image_edits",
            Self::ImageVariations => "image_variations",
            Self::Moderations => "moderations",
            Self::Rerank => "rerank",
            Self::Gemini => "gemini",
            Self::GeminiCount => "gemini_count_tokens",
        }
    }

    /// The endpoint by whose word in `dialects` a provider has this one. `None`: `dialects` does not speak of
    /// it.
    #[must_use]
    pub const fn main(self) -> Option<Self> {
        match self {
            Self::ChatCompletions
            | Self::Completions
            | Self::Embeddings
            | Self::Responses
            | Self::Messages
            | Self::Gemini => Some(self),
            Self::CountTokens => Some(Self::Messages),
            Self::GeminiCount => Some(Self::Gemini),
            Self::InputTokens | Self::Compact | Self::StoredResponse => Some(Self::Responses),
            Self::Transcriptions
            | Self::Translations
            | Self::Speech
            | Self::ImageGenerations
            | Self::ImageEdits
            | Self::ImageVariations
            | Self::Moderations
            | Self::Rerank => None,
        }
    }

    /// Whether it is one of Gemini's API: the path names the model and the form of the answer, and the body
    /// names neither.
    #[must_use]
    pub const fn is_gemini(self) -> bool {
        matches!(self, Self::Gemini | Self::GeminiCount)
    }

    /// Its position in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// A set of endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointSet(u32);

impl EndpointSet {
    #[must_use]
    pub const fn contains(self, endpoint: Endpoint) -> bool {
        self.0 & (1 << endpoint.index()) != 0
    }
}

impl FromIterator<Endpoint> for EndpointSet {
    fn from_iter<T: IntoIterator<Item = Endpoint>>(endpoints: T) -> Self {
        Self(endpoints.into_iter().fold(0, |set, endpoint| set | 1 << endpoint.index()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_the_place_in_the_list() {
        for (place, endpoint) in Endpoint::ALL.into_iter().enumerate() {
            assert_eq!(endpoint.index(), place);
            let set = EndpointSet::from_iter([endpoint]);
            assert!(Endpoint::ALL.into_iter().all(|other| set.contains(other) == (other == endpoint)));
        }
        const { assert!(Endpoint::COUNT <= 32, "a set is one word") };
        assert!(Endpoint::MAIN.into_iter().all(|endpoint| endpoint.main() == Some(endpoint)));
    }
}
