//! Estimates of a prompt's tokens, for requests that ask for a count where no provider counts.

use bytes::Bytes;
use http::StatusCode;

use crate::{
    base::{Endpoint, HeaderFields},
    dialect::{ApiDialect, request},
    proxy::{answer::Answer, fault::Refusal, snapshot::Snapshot},
};

/// The dialect in which an endpoint counts the tokens of a prompt. `None`: it counts none.
pub(super) fn counting_dialect(endpoint: Endpoint) -> Option<ApiDialect> {
    let counting = [
        (Endpoint::CountTokens, ApiDialect::Messages),
        (Endpoint::InputTokens, ApiDialect::Responses),
        (Endpoint::GeminiCount, ApiDialect::Gemini),
    ];
    counting.into_iter().find(|(known, _)| *known == endpoint).map(|(_, dialect)| dialect)
}

/// The tokens of a prompt, estimated, where no provider counts them: agents ask for a count to decide when to
/// compact a conversation.
///
/// # Errors
/// The refusal, if it has another cause.
pub(super) fn estimated_count(
    refusal: Box<Refusal>,
    snapshot: &Snapshot,
    (endpoint, model): (Endpoint, &str),
    body: &[u8],
) -> Result<Answer, Box<Refusal>> {
    let Some(dialect) = counting_dialect(endpoint) else { return Err(refusal) };
    let may_estimate = refusal.code == "endpoint_not_found" && snapshot.catalog.translates(model);
    let tokens = may_estimate.then(|| request::count_tokens(dialect, body).ok()).flatten();
    let tokens = tokens.ok_or(refusal)?;
    let headers = HeaderFields::from_iter([("content-type", "application/json")]);
    let body = Bytes::from(request::count_answer(dialect, tokens));
    Ok(Answer::Whole(StatusCode::OK, headers, body.into()))
}
