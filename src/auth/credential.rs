//! The header that carries a request's token: `Authorization: Bearer` (OpenAI), `x-api-key` (Anthropic),
//! `api-key` (Azure) or `x-goog-api-key` (Gemini). The first one in this order counts.

use http::{HeaderMap, header};

/// The token as presented. `None`: there is none.
#[must_use]
pub fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, token) = value.as_bytes().split_at_checked(b"Bearer ".len())?;
        return scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token.trim_ascii());
    }
    ["x-api-key", "api-key", "x-goog-api-key"]
        .iter()
        .find_map(|name| headers.get(*name))
        .map(|value| value.as_bytes().trim_ascii())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn finds_the_token_wherever_a_client_puts_it() {
        for (name, value, token) in [
            ("authorization", "Bearer sk-1", Some("sk-1")),
            ("authorization", "bearer  sk-1 ", Some("sk-1")),
            ("authorization", "Basic abc", None),
            ("authorization", "x", None),
            ("x-api-key", "sk-1", Some("sk-1")),
            ("api-key", "sk-1", Some("sk-1")),
            ("x-goog-api-key", "sk-1", Some("sk-1")),
            ("cookie", "sk-1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            assert_eq!(presented(&headers), token.map(str::as_bytes), "{name}: {value}");
        }
    }
}
