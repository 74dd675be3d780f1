//! Ids of answers in a client's dialect.
//!
//! The provider's id is kept behind the prefix that the client's dialect gives it, so that both logs can be
//! joined.

use std::borrow::Cow;

const PREFIXES: [&str; 5] = ["chatcmpl-", "resp_", "msg_", "gen-", "cmpl-"];

fn with_prefix<'a>(prefix: &str, provider: &'a str, own: &str) -> Cow<'a, str> {
    if !provider.is_empty() && provider.starts_with(prefix) {
        return provider.into();
    }
    let bare = PREFIXES.iter().find_map(|known| provider.strip_prefix(known)).unwrap_or(provider);
    let bare = if bare.is_empty() { own.strip_prefix(prefix).unwrap_or(own) } else { bare };
    format!("{prefix}{bare}").into()
}

pub(super) fn message_id<'a>(provider: &'a str, own: &str) -> Cow<'a, str> {
    with_prefix("msg_", provider, own)
}

pub(super) fn completion_id<'a>(provider: &'a str, own: &str) -> Cow<'a, str> {
    with_prefix("chatcmpl-", provider, own)
}

pub(super) fn response_id<'a>(provider: &'a str, own: &str) -> Cow<'a, str> {
    with_prefix("resp_", provider, own)
}
