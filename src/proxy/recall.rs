//! The answer cache on a request's way: whether the request is concerned, the answer that it is given from
//! there, and the place where its own answer is kept.
//!
//! Invariant: an answer that is given from the cache was made by a candidate of the request's own plan, so
//! that no key is given what it could not have asked for itself.

use bytes::Bytes;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    answer::Answer,
    answer_place::{AnswerPlace, CachedAnswer},
    cache_key::KeyedRequest,
    call::Call,
    fault::Refusal,
    gemini_path,
    request_headers::RequestHeaders,
};
use crate::{
    auth::Principal,
    base::Endpoint,
    cache::{AnswerMaker, CacheDirective},
};

/// Looks for an answer; one with a trace comment (`has_comment`) is a request's own. `None`: the request
/// goes to a provider; its answer is kept if `call` has a place.
///
/// # Errors
/// The header is wrong (400), or only a stored answer is wanted and there is none (504).
pub(super) fn recall(
    call: &mut Call,
    request: &KeyedRequest<'_>,
    headers: &RequestHeaders<'_>,
    principal: &Principal,
    has_comment: bool,
) -> Result<Option<Answer>, Box<Refusal>> {
    let directive = directive(headers)?;
    let (policy, answers) = (&request.snapshot.cache, &request.snapshot.answers);
    let model = request.plan.rule.and_then(|rule| request.snapshot.catalog.settings().models.get(rule));
    let by_model = model.map(|rule| &*rule.name);
    let is_concerned = policy.is_in_use
        && policy.concerns(principal.limits.cache, by_model)
        && !directive.no_store
        && !has_comment
        && may_be_cached(request);
    if is_concerned {
        let key = request.key();
        let max_age = directive.max_age.unwrap_or(policy.settings.max_age).min(policy.settings.max_age);
        let found = answers.find(&key, max_age, |answer| is_candidate(request, &answer.maker));
        if let Some(answer) = found {
            answers.note_hit(answer.tokens);
            return Ok(Some(Answer::Cached(Box::new(CachedAnswer::new(answer, policy.settings.pace)))));
        }
        answers.note_miss();
        let (cache, settings) = (answers.clone(), policy.settings.clone());
        let dialect = request.endpoint.dialect();
        call.place = Some(Box::new(AnswerPlace { key, cache, settings, dialect }));
    }
    if directive.only_if_cached {
        let message = "no stored answer fits this request (x-thalweg-cache: only-if-cached)";
        return Err(Refusal::request(504, "not_cached", message));
    }
    Ok(None)
}

fn directive(headers: &RequestHeaders<'_>) -> Result<CacheDirective, Box<Refusal>> {
    let Some(value) = headers.cache() else { return Ok(CacheDirective::default()) };
    CacheDirective::parse(value.as_bytes()).map_err(|_| {
        let message =
            "the header `x-thalweg-cache` must be `no-store`, `only-if-cached` or `max-age=SECONDS`";
        Refusal::request(400, "invalid_header", message)
    })
}

/// Whether the provider is one that the request may be sent to, under the same name of the model.
fn is_candidate(request: &KeyedRequest<'_>, maker: &AnswerMaker) -> bool {
    request.plan.candidates().iter().any(|candidate| {
        let provider = request.snapshot.providers.get(candidate.provider);
        *candidate.model == *maker.model
            && provider.is_some_and(|provider| provider.target.name == maker.provider)
    })
}

/// Whether an equal request may be given the same answer: nothing is left at the provider by it, and all of
/// its answer is the provider's.
fn may_be_cached(request: &KeyedRequest<'_>) -> bool {
    let is_array = request.endpoint.is_gemini()
        && request.envelope.stream() == Some(true)
        && !gemini_path::asks_for_events(request.query);
    // A provider may answer a key that it has seen with the answer to another body.
    let is_once =
        ["idempotency-key", "x-idempotency-key"].iter().any(|name| request.headers.contains_key(*name));
    !is_array && !is_once && (request.endpoint != Endpoint::Responses || leaves_nothing(request.body))
}

/// Members of a request for a response that act at the provider.
#[derive(Deserialize)]
struct ActingMembers {
    #[serde(default)]
    background: Option<bool>,
    #[serde(default)]
    conversation: Option<IgnoredAny>,
}

/// Whether a response is made before its answer ends, and is added to no conversation.
fn leaves_nothing(body: &Bytes) -> bool {
    let members: Result<ActingMembers, _> = serde_json::from_slice(body);
    members.is_ok_and(|members| members.background != Some(true) && members.conversation.is_none())
}
