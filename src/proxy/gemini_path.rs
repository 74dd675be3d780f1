//! The paths of Gemini's API, which name the model and the method.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::query::{decoded, with_query};
use crate::base::Endpoint;

/// Bytes of a model's name that are not encoded in a path.
const NAME: AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'@');
/// The collections that a name may begin with; without one it is a model of the first.
const COLLECTIONS: [&str; 2] = ["models/", "tunedModels/"];

/// The part of the path behind the model: the method, and the query that goes along. A stream is asked for as
/// events, whatever form the client is given.
pub(super) fn method(endpoint: Endpoint, streams: bool, query: Option<&str>) -> Cow<'static, str> {
    let method = match (endpoint, streams) {
        (Endpoint::GeminiCount, _) => ":countTokens",
        (_, true) => ":streamGenerateContent?alt=sse",
        (_, false) => ":generateContent",
    };
    let mut others = query.unwrap_or_default().split('&').filter(|parameter| passes(parameter)).peekable();
    if others.peek().is_none_or(|first| first.is_empty()) {
        return method.into();
    }
    let query = others.collect::<Vec<_>>().join("&");
    let built = with_query(method.into(), Some(&query)).into_owned();
    // The method has a query of its own.
    match (streams, built.strip_prefix(method)) {
        (true, Some(rest)) => format!("{method}{}", rest.replacen('?', "&", 1)).into(),
        (true | false, _) => built.into(),
    }
}

/// Whether a parameter goes along. One that says the form of the answer does not, nor a filter of its
/// members: without its end and its usage an answer would look cut off, and cost nothing.
fn passes(parameter: &str) -> bool {
    let name = name_of(parameter);
    let is_own = |own: &str| name.trim_start_matches('$').eq_ignore_ascii_case(own);
    !["alt", "fields", "callback"].into_iter().any(is_own)
}

/// The decoded name of a parameter; empty if it cannot be decoded.
fn name_of(parameter: &str) -> Cow<'_, str> {
    decoded(parameter.split('=').next().unwrap_or_default()).unwrap_or_default()
}

/// Whether the query asks for a stream of events. Without that, a stream is one JSON array.
#[must_use]
pub fn asks_for_events(query: Option<&str>) -> bool {
    let mut parameters = query.unwrap_or_default().split('&');
    parameters.any(|parameter| matches!(&*name_of(parameter), "alt" | "$alt") && parameter.ends_with("=sse"))
}

/// The path below a base URL: the provider's name of the model, and what [`method`] made.
pub(super) fn of_model(model: &str, method: &str) -> String {
    let collection = COLLECTIONS.iter().find(|collection| model.starts_with(*collection));
    let name = collection.and_then(|collection| model.strip_prefix(*collection)).unwrap_or(model);
    let collection = collection.copied().unwrap_or("models/");
    // A name with slashes stays readable, unless it would lead elsewhere.
    let is_plain = name.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
    let encoded: Vec<String> =
        name.split('/').map(|segment| utf8_percent_encode(segment, &NAME).to_string()).collect();
    let name = encoded.join(if is_plain { "/" } else { "%2F" });
    format!("/{collection}{name}{method}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_keeps_the_query_without_keys_and_form() {
        for (query, streams, path) in [
            (None, false, ":generateContent"),
            (Some(""), false, ":generateContent"),
            (Some("key=sk-1"), false, ":generateContent"),
            (Some("alt=json&key=sk-1&$fields=a"), false, ":generateContent"),
            (Some("%61lt=proto&fields=candidates&%24fields=x&callback=f&a=b"), false, ":generateContent?a=b"),
            (None, true, ":streamGenerateContent?alt=sse"),
            (Some("alt=sse"), true, ":streamGenerateContent?alt=sse"),
            (Some("alt=sse&key=sk-1"), true, ":streamGenerateContent?alt=sse"),
            (Some("a=b&%24alt=sse&c=?"), true, ":streamGenerateContent?alt=sse&a=b&c=?"),
        ] {
            assert_eq!(method(Endpoint::Gemini, streams, query), path, "{query:?}");
        }
        assert_eq!(method(Endpoint::GeminiCount, false, Some("key=k")), ":countTokens");
        assert!(
            asks_for_events(Some("key=k&alt=sse"))
                && asks_for_events(Some("$alt=json;enum-encoding=int&alt=sse"))
        );
        assert!(!asks_for_events(None) && !asks_for_events(Some("alt=json&x=sse")));
    }

    #[test]
    fn a_model_stands_in_its_collection() {
        for (model, path) in [
            ("gemini-2.5-pro", "/models/gemini-2.5-pro:m"),
            ("models/gemini-2.5-pro", "/models/gemini-2.5-pro:m"),
            ("tunedModels/a-1", "/tunedModels/a-1:m"),
            ("openai/gpt-4o", "/models/openai/gpt-4o:m"),
            ("qwen2.5:7b", "/models/qwen2.5:7b:m"),
            ("a b?c#d%2f", "/models/a%20b%3Fc%23d%252f:m"),
            ("../files", "/models/..%2Ffiles:m"),
            ("a//b", "/models/a%2F%2Fb:m"),
            ("é", "/models/%C3%A9:m"),
        ] {
            assert_eq!(of_model(model, ":m"), path);
        }
    }
}
