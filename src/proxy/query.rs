//! The query of a client's request, as it goes to the provider: unchanged, but without parameters by which a
//! client authorizes itself here.

use std::borrow::Cow;

use crate::upstream::forwarded_headers::names_a_secret;

/// `path` with the query of the client's request that goes along.
pub(super) fn with_query<'p>(path: Cow<'p, str>, query: Option<&str>) -> Cow<'p, str> {
    let Some(query) = query else { return path };
    let mut built = path.into_owned();
    let mut mark = '?';
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let name = parameter.split('=').next().unwrap_or_default();
        if is_public(name) {
            built.push(mark);
            built.push_str(parameter);
            mark = '&';
        }
    }
    built.into()
}

/// Whether an error may be about the query of the client's request: another one than SDKs add to each request
/// went along.
pub(super) fn may_be_at_fault(query: Option<&str>) -> bool {
    let parameters = query.unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty());
    let mut names = parameters.map(|parameter| parameter.split('=').next().unwrap_or_default());
    names.any(|name| is_public(name) && !matches!(name, "beta" | "alt"))
}

/// Whether a parameter's name says nothing of a credential. One that cannot be read might.
fn is_public(name: &str) -> bool {
    let Some(name) = decoded(name) else { return false };
    let name = name.to_ascii_lowercase();
    !names_a_secret(&name) && !matches!(&*name, "sig" | "code" | "pwd")
}

/// A percent-encoded name. `None`: it is not encoded as it should be.
pub(super) fn decoded(name: &str) -> Option<Cow<'_, str>> {
    if !name.contains('%') {
        return Some(name.into());
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_of_the_clients_own_may_be_at_fault() {
        for (query, may_be) in [
            (None, false),
            (Some(""), false),
            (Some("beta=true&alt=sse&key=sk-1"), false),
            (Some("beta=true&api-version=bogus"), true),
            (Some("x"), true),
        ] {
            assert_eq!(may_be_at_fault(query), may_be, "{query:?}");
        }
    }

    #[test]
    fn a_query_goes_along_without_its_keys() {
        for (query, path) in [
            (None, "/messages"),
            (Some(""), "/messages"),
            (Some("beta=true"), "/messages?beta=true"),
            (
                Some("api-version=2024-06-01&x=%20a&flag&a=b=c"),
                "/messages?api-version=2024-06-01&x=%20a&flag&a=b=c",
            ),
            (Some("key=sk-1"), "/messages"),
            (Some("a=1&&KEY=sk-1&b=2"), "/messages?a=1&b=2"),
            (
                Some("api_key=1&api-key=2&apiKey=3&access_token=4&accessToken=5&x-api-key=6&token=7&sig=8"),
                "/messages",
            ),
            (Some("%6bey=sk-1&api%5Fkey=sk-1&%zz=1&%=1&%ff=1"), "/messages"),
            (Some("%62eta=true&monkey=1&include[]=key"), "/messages?%62eta=true&monkey=1&include[]=key"),
        ] {
            assert_eq!(with_query("/messages".into(), query), path, "{query:?}");
        }
    }
}
