//! The headers that carry a request's token: `Authorization: Bearer` (OpenAI), `x-api-key` (Anthropic),
//! `api-key` (Azure) and `x-goog-api-key` (Gemini, whose clients may also put it into the query as `key`).
//! Clients and proxies in front may show several, of which some are for others, so each is a candidate.

use crate::base::HeaderFields;

/// Tokens of a request that are looked at.
const MAX_PRESENTED: usize = 8;

/// The tokens as presented, in the order in which they count.
pub fn presented(headers: &HeaderFields) -> impl Iterator<Item = &[u8]> {
    let bearer = headers.get_all("authorization").filter_map(|value| {
        let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
    });
    let keys = ["x-api-key", "api-key", "x-goog-api-key"].into_iter().flat_map(|name| headers.get_all(name));
    let tokens = bearer.chain(keys.map(<[u8]>::trim_ascii));
    tokens.filter(|token| !token.is_empty()).take(MAX_PRESENTED)
}

/// Presents the parameter `key` of a query among the headers, after the tokens that are there.
pub fn present_parameter(headers: &mut HeaderFields, query: Option<&str>) {
    let mut pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, token)) = pairs.find(|(name, _)| *name == "key") else { return };
    let token: Vec<u8> = percent_encoding::percent_decode_str(token).collect();
    headers.append("x-goog-api-key", token);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_query_is_presented_last() {
        for (query, tokens) in [
            (None, &["sk-1"][..]),
            (Some("alt=sse"), &["sk-1"]),
            (Some("alt=sse&key=sk%2D2&key=sk-3"), &["sk-1", "sk-2"]),
            (Some("key="), &["sk-1"]),
            (Some("key=%0a"), &["sk-1"]),
        ] {
            let mut headers = HeaderFields::from_iter([("x-goog-api-key", "sk-1")]);
            present_parameter(&mut headers, query);
            let found: Vec<_> =
                presented(&headers).map(|token| std::str::from_utf8(token).unwrap()).collect();
            assert_eq!(found, tokens, "{query:?}");
        }
    }

    #[test]
    fn finds_the_tokens_wherever_a_client_puts_them() {
        for (pairs, tokens) in [
            (&[("authorization", "Bearer sk-1")][..], &["sk-1"][..]),
            (&[("authorization", "bearer  sk-1 ")], &["sk-1"]),
            (&[("authorization", "Basic abc")], &[]),
            (&[("authorization", "x")], &[]),
            (&[("authorization", "Bearer")], &[]),
            (&[("authorization", "Bearer  "), ("x-api-key", " ")], &[]),
            (&[("x-api-key", "sk-1")], &["sk-1"]),
            (&[("api-key", "sk-1")], &["sk-1"]),
            (&[("x-goog-api-key", "sk-1")], &["sk-1"]),
            (&[("cookie", "sk-1")], &[]),
            (&[("x-api-key", "sk-2"), ("authorization", "Bearer sk-1")], &["sk-1", "sk-2"]),
            (&[("authorization", "Basic abc"), ("authorization", "Bearer sk-1")], &["sk-1"]),
            (
                &[("authorization", "Basic abc"), ("api-key", "sk-3"), ("x-api-key", "sk-2")],
                &["sk-2", "sk-3"],
            ),
        ] {
            let headers: HeaderFields = pairs.iter().copied().collect();
            let found: Vec<_> =
                presented(&headers).map(|token| std::str::from_utf8(token).unwrap()).collect();
            assert_eq!(found, tokens, "{pairs:?}");
        }
        let many: HeaderFields = [("x-api-key", "sk"); 100].into_iter().collect();
        assert_eq!(presented(&many).count(), MAX_PRESENTED);
    }
}
