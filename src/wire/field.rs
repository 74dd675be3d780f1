//! The request fields that the gateway reads, how their names are recognised and which values each may have.
//!
//! `null` means "not given" for all of them but `model`, as it does for the providers.

use std::{borrow::Cow, fmt, ops::Range};

/// Names are shown in errors and logs, so they are short; the longest model id seen has 90 bytes.
pub const MAX_MODEL: usize = 256;
/// Names that one request may list.
pub const MAX_MODELS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Model,
    /// The gateway's own: names to try in order.
    Models,
    Stream,
    /// The gateway's own. A boolean, or for clients that cannot say one, `"true"` or `"false"`.
    Asgi,
    StreamOptions,
    /// Inside `stream_options`.
    IncludeUsage,
    MaxTokens,
    MaxCompletionTokens,
    MaxOutputTokens,
    /// How many answers are wanted, and out of how many the best.
    N,
    BestOf,
}

/// What is wrong with a field that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldError {
    Type,
    Twice,
    /// The right letters in the wrong case.
    Case,
}

impl Field {
    pub(super) const TOP: [Self; 10] = [
        Self::Model,
        Self::Models,
        Self::Stream,
        Self::Asgi,
        Self::StreamOptions,
        Self::MaxTokens,
        Self::MaxCompletionTokens,
        Self::MaxOutputTokens,
        Self::N,
        Self::BestOf,
    ];

    /// As written in a request and named as `param` in an error.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Models => "models",
            Self::Stream => "stream",
            Self::Asgi => "x_use_asgi_streaming",
            Self::StreamOptions => "stream_options",
            Self::IncludeUsage => "stream_options.include_usage",
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::MaxOutputTokens => "max_output_tokens",
            Self::N => "n",
            Self::BestOf => "best_of",
        }
    }

    const fn key(self) -> &'static str {
        if matches!(self, Self::IncludeUsage) { "include_usage" } else { self.path() }
    }

    const fn expected(self) -> &'static str {
        match self {
            Self::Model => "a string of 1 to 256 bytes",
            Self::Models => "an array of 1 to 16 strings of 1 to 256 bytes",
            Self::Stream | Self::Asgi | Self::IncludeUsage => "a boolean",
            Self::StreamOptions => "an object",
            Self::MaxTokens | Self::MaxCompletionTokens | Self::MaxOutputTokens | Self::N | Self::BestOf => {
                "a number"
            }
        }
    }

    /// Which of `known` a key names, letter case aside, and whether the case is right.
    pub(super) fn named(known: &[Self], key: &[u8]) -> Option<(Self, bool)> {
        let field = known.iter().copied().find(|field| field.key().as_bytes().eq_ignore_ascii_case(key))?;
        Some((field, field.key().as_bytes() == key))
    }

    pub(super) fn describe(self, mistake: FieldError) -> Cow<'static, str> {
        match mistake {
            FieldError::Type => format!("`{}` must be {}", self.path(), self.expected()).into(),
            FieldError::Twice => format!("`{}` is given twice", self.path()).into(),
            FieldError::Case => format!("`{}` must be written in lower case", self.path()).into(),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

/// A key or value that stands in the body as a string, unescaped. `None` if it holds a lone surrogate.
pub(super) fn unescape(body: &[u8], quoted: Range<usize>) -> Option<Cow<'_, str>> {
    let text = body.get(quoted)?;
    if memchr::memchr(b'\\', text).is_some() {
        return serde_json::from_slice(text).ok().map(Cow::Owned);
    }
    let inner = text.get(1..text.len().checked_sub(1)?)?;
    std::str::from_utf8(inner).ok().map(Cow::Borrowed)
}

/// A boolean or `null` (`Some(None)`).
pub(super) const fn boolean(value: &[u8]) -> Option<Option<bool>> {
    match value {
        b"true" => Some(Some(true)),
        b"false" => Some(Some(false)),
        b"null" => Some(None),
        _ => None,
    }
}

/// A boolean, its name as a string, or `null`.
pub(super) const fn lenient_boolean(value: &[u8]) -> Option<Option<bool>> {
    match value {
        br#""true""# => Some(Some(true)),
        br#""false""# => Some(Some(false)),
        other => boolean(other),
    }
}

/// A whole number. What else a provider may take for one is not understood here.
pub(super) fn whole(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}
