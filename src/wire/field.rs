//! The request fields that the gateway reads: their names and their valid values.
//!
//! `null` means "not given" for all of them except `model`, as it does for the providers.

use std::{borrow::Cow, fmt, ops::Range};

/// Bytes of a model's name. Names appear in errors and logs, so they are short; the longest known model id
/// has 90 bytes.
pub const MAX_MODEL: usize = 256;
/// Names in one request's `models`.
pub const MAX_MODELS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Model,
    /// A gateway field: names to try in order.
    Models,
    Stream,
    /// A gateway field: a boolean, or `"true"` or `"false"` for clients that cannot send a boolean.
    Asgi,
    StreamOptions,
    /// Inside `stream_options`.
    IncludeUsage,
    MaxTokens,
    MaxCompletionTokens,
    MaxOutputTokens,
    /// The number of answers returned; `BestOf`: the number generated.
    N,
    BestOf,
    /// The id of a response; any other value means nothing.
    PreviousResponse,
}

/// The object that a field is a member of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldObject {
    Body,
    /// The value of `stream_options`.
    StreamOptions,
}

/// Why a field is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldError {
    Type,
    Duplicate,
    /// The right letters in the wrong case.
    Case,
}

impl Field {
    /// The name in a request, and `param` in an error.
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
            Self::PreviousResponse => "previous_response_id",
        }
    }

    const LONGEST_KEY: usize = "max_completion_tokens".len();

    /// The field with this key. Compared by length first and without a call for each field, because every
    /// member of every request is.
    const fn of_key(key: &[u8]) -> Option<Self> {
        Some(match key {
            b"model" => Self::Model,
            b"models" => Self::Models,
            b"stream" => Self::Stream,
            b"x_use_asgi_streaming" => Self::Asgi,
            b"stream_options" => Self::StreamOptions,
            b"include_usage" => Self::IncludeUsage,
            b"max_tokens" => Self::MaxTokens,
            b"max_completion_tokens" => Self::MaxCompletionTokens,
            b"max_output_tokens" => Self::MaxOutputTokens,
            b"n" => Self::N,
            b"best_of" => Self::BestOf,
            b"previous_response_id" => Self::PreviousResponse,
            _ => return None,
        })
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
            Self::PreviousResponse => "a string",
        }
    }

    /// The field with this key in that object, ignoring letter case, and whether the case is right.
    pub(super) fn by_key(object: FieldObject, key: &[u8]) -> Option<(Self, bool)> {
        let is_there = |field: &Self| field.object() == object;
        if let Some(field) = Self::of_key(key).filter(is_there) {
            return Some((field, true));
        }
        // In lower case it would have been found, and nearly every key is.
        if !key.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        let mut lower = [0; Self::LONGEST_KEY];
        let lower = lower.get_mut(..key.len())?;
        lower.copy_from_slice(key);
        lower.make_ascii_lowercase();
        Self::of_key(lower).filter(is_there).map(|field| (field, false))
    }

    const fn object(self) -> FieldObject {
        if matches!(self, Self::IncludeUsage) { FieldObject::StreamOptions } else { FieldObject::Body }
    }

    pub(super) fn describe(self, error: FieldError) -> Cow<'static, str> {
        match error {
            FieldError::Type => format!("`{}` must be {}", self.path(), self.expected()).into(),
            FieldError::Duplicate => format!("`{}` is given twice", self.path()).into(),
            FieldError::Case => format!("`{}` must be written in lower case", self.path()).into(),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

/// A string of the body (a key or a value), unescaped. `None`: it holds a lone surrogate.
pub(super) fn unescape(body: &[u8], quoted: Range<usize>) -> Option<Cow<'_, str>> {
    let text = body.get(quoted)?;
    if memchr::memchr(b'\\', text).is_some() {
        return serde_json::from_slice(text).ok().map(Cow::Owned);
    }
    let inner = text.get(1..text.len().checked_sub(1)?)?;
    std::str::from_utf8(inner).ok().map(Cow::Borrowed)
}

/// A boolean or `null` (`Some(None)`). `None`: another type.
pub(super) const fn boolean(value: &[u8]) -> Option<Option<bool>> {
    match value {
        b"true" => Some(Some(true)),
        b"false" => Some(Some(false)),
        b"null" => Some(None),
        _ => None,
    }
}

/// A boolean, its name as a string, or `null` (`Some(None)`). `None`: another value.
pub(super) const fn lenient_boolean(value: &[u8]) -> Option<Option<bool>> {
    match value {
        br#""true""# => Some(Some(true)),
        br#""false""# => Some(Some(false)),
        other => boolean(other),
    }
}

/// A whole number. `None`: any other form, also one that a provider may accept as a number.
pub(super) fn integer(value: &[u8]) -> Option<u64> {
    let more = |number: u64, digit: &u8| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 { None } else { number.checked_mul(10)?.checked_add(digit.into()) }
    };
    if value.is_empty() { None } else { value.iter().try_fold(0, more) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_has_digits_alone() {
        for (text, number) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("99999999999999999999", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.0", None),
            ("\"1\"", None),
        ] {
            assert_eq!(integer(text.as_bytes()), number, "{text}");
        }
    }

    #[test]
    fn every_field_has_its_key_and_no_other_case_of_it() {
        for field in [
            Field::Model,
            Field::Models,
            Field::Stream,
            Field::Asgi,
            Field::StreamOptions,
            Field::IncludeUsage,
            Field::MaxTokens,
            Field::MaxCompletionTokens,
            Field::MaxOutputTokens,
            Field::N,
            Field::BestOf,
            Field::PreviousResponse,
        ] {
            let (key, object) = (field.path().rsplit('.').next().unwrap(), field.object());
            assert_eq!(Field::by_key(object, key.as_bytes()), Some((field, true)));
            let upper = key.to_ascii_uppercase();
            assert_eq!(Field::by_key(object, upper.as_bytes()), Some((field, false)));
            assert_eq!(Field::by_key(object, format!("{key}s ").as_bytes()), None);
            let other = match object {
                FieldObject::Body => FieldObject::StreamOptions,
                FieldObject::StreamOptions => FieldObject::Body,
            };
            assert_eq!(Field::by_key(other, key.as_bytes()), None);
            assert_eq!(Field::by_key(other, upper.as_bytes()), None);
        }
    }
}
