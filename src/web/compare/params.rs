//! The query string of a comparison: `?[model=…][&prompt=…][&repeats=n][&format=svg[&width=n]]`, within
//! bounds that keep a run cheap.

use std::borrow::Cow;

use super::picture;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_decode_str, utf8_percent_encode};

/// All but the unreserved characters of RFC 3986 section 2.3.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// More repeats cost tokens and add no information.
pub const MAX_REPEATS: u8 = 10;
const DEFAULT_REPEATS: u8 = 3;
/// The largest prompt, in bytes.
const MAX_PROMPT: usize = 4096;
const DEFAULT_PROMPT: &str = "Tell me about the thalweg of a river, in about a hundred words.";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// Empty: the first model that answers.
    pub model: String,
    pub prompt: String,
    /// 1 to [`MAX_REPEATS`].
    pub repeats: u8,
    /// The width of the picture. `None`: the report is wanted as JSON.
    pub picture: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    #[error("`repeats` must be 1 to {MAX_REPEATS}")]
    Repeats,
    #[error("`prompt` must not be longer than {MAX_PROMPT} bytes")]
    PromptTooLong,
    /// Not percent-encoded UTF-8.
    #[error("the query is not percent-encoded UTF-8")]
    Encoding,
    #[error("`format` must be json or svg")]
    Format,
    #[error("`width` must be {} to {}", picture::MIN_WIDTH, picture::MAX_WIDTH)]
    Width,
    #[error("`{0}` is none of model, prompt, repeats, format, width")]
    Unknown(String),
}

impl Params {
    /// Parameters with the default prompt.
    #[must_use]
    pub fn new(model: String, repeats: u8) -> Self {
        Self { model, prompt: DEFAULT_PROMPT.to_owned(), repeats, picture: None }
    }

    /// Parses a query string.
    ///
    /// # Errors
    /// The first wrong parameter.
    pub fn parse(query: &str) -> Result<Self, ParamsError> {
        let (mut model, mut prompt, mut repeats) =
            (String::new(), DEFAULT_PROMPT.to_owned(), DEFAULT_REPEATS);
        let (mut is_picture, mut width) = (false, picture::DEFAULT_WIDTH);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value).ok_or(ParamsError::Encoding)?;
            match name {
                "model" => model = value,
                "prompt" => prompt = value,
                "repeats" => {
                    let bounded = value.parse().ok().filter(|repeats| (1..=MAX_REPEATS).contains(repeats));
                    repeats = bounded.ok_or(ParamsError::Repeats)?;
                }
                "format" => {
                    is_picture = match &*value {
                        "svg" => true,
                        "json" => false,
                        _ => return Err(ParamsError::Format),
                    };
                }
                "width" => width = pixels(&value).ok_or(ParamsError::Width)?,
                _ => return Err(ParamsError::Unknown(name.chars().take(32).collect())),
            }
        }
        if prompt.len() > MAX_PROMPT {
            return Err(ParamsError::PromptTooLong);
        }
        Ok(Self { model, prompt, repeats, picture: is_picture.then_some(width) })
    }

    /// The parameters as a query string.
    #[must_use]
    pub fn query(&self) -> String {
        format!("model={}&prompt={}&repeats={}", encode(&self.model), encode(&self.prompt), self.repeats)
    }
}

/// A width within the bounds.
fn pixels(value: &str) -> Option<u16> {
    value.parse().ok().filter(|width| (picture::MIN_WIDTH..=picture::MAX_WIDTH).contains(width))
}

/// The width that the query of a picture's address asks for, or the default.
pub(in crate::web) fn wanted_width(query: Option<&str>) -> u16 {
    let pairs = query.unwrap_or_default().split('&');
    let width = pairs.filter_map(|pair| pair.strip_prefix("width=")).find_map(pixels);
    width.unwrap_or(picture::DEFAULT_WIDTH)
}

/// Decodes `application/x-www-form-urlencoded` (WHATWG URL §5.1). `None`: a percent sign without two
/// hexadecimal digits, which the library would accept, or not UTF-8.
fn decode(text: &str) -> Option<String> {
    let is_encoded =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if !text.split('%').skip(1).all(is_encoded) {
        return None;
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(Cow::into_owned)
}

fn encode(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, ENCODED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_query_and_writes_it_again() {
        let params = Params::parse("model=a%2Fb&prompt=h%C3%A9+you%26me&repeats=2").unwrap();
        assert_eq!((&*params.model, &*params.prompt, params.repeats), ("a/b", "hé you&me", 2));
        assert_eq!(Params::parse(&params.query()), Ok(params));
        assert_eq!(Params::parse("model=m").map(|params| params.repeats), Ok(DEFAULT_REPEATS));
        assert_eq!(Params::parse("").map(|params| params.model), Ok(String::new()));
        assert_eq!(Params::parse("width=400").map(|params| params.picture), Ok(None));
        assert_eq!(Params::parse("format=svg&width=400").map(|params| params.picture), Ok(Some(400)));
        assert_eq!((wanted_width(Some("a=b&width=400")), wanted_width(Some("width=1"))), (400, 960));
    }

    #[test]
    fn refuses_values_out_of_bounds() {
        let long = format!("model=m&prompt={}", "a".repeat(MAX_PROMPT + 1));
        for (query, error) in [
            ("model=m&repeats=0", ParamsError::Repeats),
            ("model=m&repeats=11", ParamsError::Repeats),
            ("model=m&prompt=%ff", ParamsError::Encoding),
            ("model=m&prompt=%4", ParamsError::Encoding),
            ("model=m&format=png", ParamsError::Format),
            ("model=m&width=9", ParamsError::Width),
            ("model=m&stream=1", ParamsError::Unknown("stream".into())),
            (&long, ParamsError::PromptTooLong),
        ] {
            assert_eq!(Params::parse(query), Err(error), "{query}");
        }
    }
}
